# SPDX-License-Identifier: GPL-2.0
"""make others: other people's programs that work memory hard, base against series.

  make others LTP=<a configured tree of the Linux Test Project> GUEST="bare xen"

Parts: stress-ng (do its stressors fail, and do their operations get dearer), ltp (if LTP= is
given), programs (collectors and a database of Debian's, which check their own data). Each is
run on both kernels in the same kind of guest. A difference fails the target, unless it is
among the REASONS here, and so does a stressor that gets dearer by more than 1 %. Prints KTAP;
the last line counts the results. Each part's table is kept in build/others/<part>.txt.
"""
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import kernels
from bench.will_it_scale import commit
from checks import barriers, ltp, stress_ng
from checks.in_guest import begin
from checks.outcomes import Report, compare, row
from common.command import EXIT_USAGE, ToolError, build_dir, main, replaced, run
from common.settings import Parser
from common.tally import Tally
from guests.emulator import qemu_binary
from guests.kernel import CONFIG_SETS, KERNELS, build
from guests.qemu import KINDS, MACHINES, Guest

PARTS = ("stress-ng", "ltp", "programs")
TIMEOUT = 5400		# seconds of CPU time for each vCPU of a guest
# What differs, or costs more, and why that is no finding: {part: {"guest program": reason}}.
REASONS: dict[str, dict[str, str]] = {part: {} for part in (*PARTS, "counts")}


@dataclass
class Run:
	"""What the parts share: where results are counted, and what was asked for."""
	tally: Tally
	config: str
	kinds: Sequence[str]
	kernels: Sequence[str]
	pattern: str
	tree: Path | None

	def chosen(self, names: Sequence[str]) -> list[str]:
		"""Return those of @names that match; raise ToolError if none does."""
		found = [name for name in names if re.search(self.pattern, name)]
		if not found:
			raise ToolError(f"--tests {self.pattern}: no program here has such a name, "
					"say with --only where it is")
		return found

	def reasons(self, part: str, kind: str) -> dict[str, str]:
		"""Return {program: reason} of a @part in guests of @kind."""
		return {name.removeprefix(f"{kind} "): reason
			for name, reason in REASONS[part].items() if name.startswith(f"{kind} ")}


def complete(run_: Run, title: str, machine: Guest, name: str, may_warn: bool = False) -> list[str]:
	"""Run @machine, return its lines; its end counts as one result, @title.

	@name and @may_warn are as in Guest.run().
	"""
	lines: list[str] = []
	with run_.tally.step(f"{title}: complete run"):
		result = machine.run(name, timeout=TIMEOUT, may_warn=may_warn)
		lines = result.lines
		result.require()
	return lines


def beside(run_: Run, title: str, found: dict[str, dict[str, Report]],
	   reasons: dict[str, str]) -> list[str]:
	"""Return the table's lines of what was @found of the kernels; differences are findings.

	With one kernel alone, what fails is one.
	"""
	if len(run_.kernels) > 1:
		return compare(run_.tally, title, found["base"], found["series"], reasons)
	only = found[run_.kernels[0]]
	return compare(run_.tally, title, only, only, reasons)


def check_stress_ng(run_: Run) -> list[str]:
	"""Run stress-ng's stressors; return the lines of its tables."""
	lines = []
	names = run_.chosen(sorted({*stress_ng.STRESSORS, *stress_ng.OOM}))
	for kind in run_.kinds:
		costs, ends = {}, {}
		for kernel in run_.kernels:
			name = f"stress-ng-{kind}-{kernel}-{run_.config}"
			counting = stress_ng.machine(kind, kernel, run_.config, name,
						     stress_ng.runs(names), stress_ng.LIMIT,
						     icount=True, smp=1, mem=1024)
			title = f"stress-ng: {kind} {kernel}"
			costs[kernel] = stress_ng.parse(complete(
				run_, f"{title}, counted", counting, name))
			stressing = stress_ng.machine(kind, kernel, run_.config, f"{name}-2",
						      stress_ng.stresses(names),
						      stress_ng.OOM_LIMIT, smp=2,
						      mem=stress_ng.SMALL.get(kind, 2048))
			ends[kernel] = stress_ng.parse(complete(
				run_, f"{title}, two workers", stressing, f"{name}-2"))
		for what, found in (("counted", costs), ("two workers", ends)):
			reports = {kernel: {f"{name}, {what}": cost.report()
					    for name, cost in of_kernel.items()}
				   for kernel, of_kernel in found.items()}
			lines += beside(run_, kind, reports, run_.reasons("stress-ng", kind))
		if len(run_.kernels) > 1:
			lines += ["", *stress_ng.count(
				run_.tally, kind, costs["base"], costs["series"],
				run_.reasons("counts", kind)), ""]
	return lines


def check_ltp(run_: Run) -> list[str]:
	"""Run LTP's tests; return the lines of their table."""
	assert run_.tree
	programs, lines = ltp.build_tests(run_.tree), []
	for kind in run_.kinds:
		found = {}
		for kernel in run_.kernels:
			name = f"ltp-{kind}-{kernel}-{run_.config}"
			vm = ltp.machine(programs, kind, kernel, run_.config, ltp.LIMIT,
					 run_.pattern, run_.tree)
			found[kernel] = ltp.parse(complete(run_, f"LTP: {kind} {kernel}", vm, name,
							   may_warn=True))
		lines += [*beside(run_, kind, found, run_.reasons("ltp", kind)), ""]
	return lines


def check_programs(run_: Run) -> list[str]:
	"""Run the programs of Debian's; return the lines of their table."""
	lines = []
	for kind in run_.kinds:
		found: dict[str, dict[str, Report]] = {kernel: {} for kernel in run_.kernels}
		for kernel in run_.kernels:
			for name in run_.chosen(list(barriers.PROGRAMS)):
				log = f"others-{name}-{kind}-{kernel}-{run_.config}"
				vm = barriers.machine(name, kind, kernel, run_.config)
				ended = complete(run_, f"programs: {name}, {kind} {kernel}", vm,
						 log)
				found[kernel].update(barriers.parse(ended))
			for name, (word, *_) in found[kernel].items():
				run_.tally.result(f"programs: {name}, {kind} {kernel}: data whole",
						  word == "pass", word)
		lines += [*beside(run_, kind, found,
				  run_.reasons("programs", kind)), ""]
	return lines


CHECKS = {"stress-ng": check_stress_ng, "ltp": check_ltp, "programs": check_programs}


def versions(run_: Run, part: str) -> list[str]:
	"""Return lines that say what was run in @part, and on what."""
	found = [f"kernel {name}: {kernels.title(name)}, config {run_.config}"
		 for name in run_.kernels]
	found.append(run([qemu_binary(), "--version"]).stdout.splitlines()[0])
	if part == "stress-ng":
		found.append(f"Debian: {stress_ng.version()}")
	elif part == "programs":
		found += [f"Debian: {barriers.version(name)}"
			  for name in run_.chosen(list(barriers.PROGRAMS))]
	elif run_.tree:
		found.append(f"Linux Test Project: commit {commit(run_.tree)}")
	return [f"# {line}" for line in found]


def check_others(run_: Run, parts: Sequence[str]) -> None:
	"""Run @parts on both kernels, and keep the table of each."""
	for kernel in run_.kernels:
		with run_.tally.step(f"others: build: {kernel} kernel, config {run_.config}"):
			build(kernel, run_.config)
	if run_.tally.failed:
		return
	for part in parts:
		heading = row("guest", "program", run_.kernels[0], run_.kernels[-1])
		lines = [*versions(run_, part), "", heading, "", *CHECKS[part](run_)]
		out = build_dir() / "others" / f"{part}.txt"
		with replaced(out) as tmp:
			tmp.write_text("\n".join(lines).rstrip() + "\n")
		print(out, file=sys.stderr)


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("LTP")
	parser.setting("GUEST", list(MACHINES), KINDS, many=True)
	parser.setting("KERNEL", list(KERNELS), KERNELS, many=True)
	parser.setting("CONFIG", "lean", CONFIG_SETS)
	parser.add_argument("--only", choices=PARTS, action="append",
			    help="default all; ltp only with LTP=")
	parser.add_argument("--tests", default="", metavar="REGEXP",
			    help="programs and tests with such names; default all")
	args = parser.settled()
	parts = args.only or [part for part in PARTS if part != "ltp" or args.ltp]
	if "ltp" in parts:
		if not args.ltp:
			raise ToolError("LTP=<tree> says where the Linux Test Project is",
					EXIT_USAGE)
		ltp.check_tree(args.ltp)
	tally = begin()
	check_others(Run(tally, args.config, args.guest, args.kernel, args.tests, args.ltp), parts)
	return tally.close()


if __name__ == "__main__":
	main(_main)
