# SPDX-License-Identifier: GPL-2.0
"""make profile: instructions per function, base beside series, kernel and hypervisor.

Under Xen also who enters the hypervisor: hypercalls and traps by the kernel's function.
Writes build/bench/profile.json and, as text, build/bench/breakdown.txt. A round of the
bench "everyday" is a fork(), exec() and exit() of a shell's; it is counted as a whole.
"""
import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from bench import kernels, matrix, report
from bench.facts import facts
from bench.insn_profile import (ROUNDS, Entries, Profile, Profiled, SymbolMap, backend, count,
				grouped, in_hypervisor, instructions, record, scratch)
from bench.programs import program
from bench.steps import Steps
from common.command import ToolError, build_dir, main, replaced
from common.result import Result, dump, load
from common.settings import Parser, setting
from guests.kernel import KERNELS, build, known_kernels
from guests.xen import symbols as xen_symbols

MARKER = "PROFILE-START"
PAGES = 512
# Again and again: on a fast host one run is over before it can be recorded.
PERF = "while /bin/mprotect_perf -b {bench} -c {case} -p {pages} -n 1000; do :; done"


@dataclass(frozen=True)
class Loop:
	"""What is profiled: a shell's @job, each round of which begins with the kernel's @start."""
	start: str
	job: str = PERF
	unit: str = "pte"	# what the figures are per
	rounds: int = ROUNDS	# to record


LOOPS = {
	"mprotect": Loop("do_mprotect_pkey"),
	# Of these, every other round sets up what two work on.
	"fork": Loop("kernel_clone"),
	"munmap": Loop("__x64_sys_munmap", rounds=2),
	"madv_dontneed": Loop("do_madvise", rounds=2),
	# What RCU frees is not of the same round.
	"everyday": Loop("kernel_clone", "while :; do /bin/true; done", "round", rounds=16),
}
EVERYDAY = ("everyday", "fork-exec", 1)		# bench, case, pages: rounds have none
# Locked: a lock prefix, or xchg with memory. As the kernel is on SMP; on one CPU it
# patches lock prefixes away, the instructions stay where they are.
LOCKED = r"lock |xchg .*\("
# Those of them that change page tables exchange eight bytes, or clear Accessed or Dirty, in
# these functions. What else is locked there has four bytes, or is a flag of a page.
PTE_LOCKED = re.compile(r"(?:xchg|lock cmpxchg) %r(?:[a-d]x|[sd]i|bp|\d+),|lock btrq? \$0x[56],")
PTE_FUNCTIONS = ("change_pte_range", "change_protection", "copy_page_range", "__zap_vma_range",
		 "ptep_", "__ptep_", "native_", "__native_", "modify_prot_", "wrprotect_ptes",
		 "clear_full_ptes", "get_and_clear_", "clear_flush_")
SET_UP = "handle_mm_fault"	# pages are faulted in before a run's first round
TRIES = 4
SHOWN = 0.0005		# share of all instructions: functions below are summed up
PER_PTE = 1 / 16	# what is executed less often than this per pte is work per call


def under_xen(name: str) -> bool:
	"""Return whether the kernel in the place @name changes page tables through Xen."""
	return matrix.places([name])[name].kind in ("xen", "domU")


def changes_ptes(function: str, insn: str) -> bool:
	"""Return whether the locked @insn of @function changes a page table."""
	return function.startswith(PTE_FUNCTIONS) and bool(PTE_LOCKED.match(insn))


def locked(found: Profile, symbols: SymbolMap, sites: dict[int, str], of_ptes: bool = False,
	   ) -> dict[str, float]:
	"""Return {"function: instruction": executions per unit} of the locked ones at @sites.

	Only those executed for each unit; with @of_ptes, only those that change page tables.
	"""
	table: dict[str, float] = {}
	for address, often in sorted(found.each(sites, PER_PTE).items()):
		function = symbols.name(address)
		if not of_ptes or changes_ptes(function, sites[address]):
			key = f"{function}: {sites[address]}"
			table[key] = table.get(key, 0) + often
	return table


def profile(kernel: str, name: str, bench: str = "mprotect", case: str = "anon-4k",
	    pages: int = PAGES) -> Profiled:
	"""Profile @bench on @kernel in the guest @name; return an object for profile.json."""
	place = matrix.places([name])[name]
	out = build(kernel, place.config)
	loop = LOOPS[bench]
	job = f"echo {MARKER}\n{loop.job.format(bench=bench, case=case, pages=pages)}\n"
	log = f"profile-{kernel}-{name}"
	guest = kernels.machine(kernel, place, log, job, [program()], icount=True, smp=1)
	symbols = SymbolMap((out / "System.map").read_text(),
			    xen_symbols() if under_xen(name) else "")
	if loop.start not in symbols.by_name:
		raise ToolError(f"{loop.start} is not in {out / 'System.map'}")
	start = symbols.by_name[loop.start]
	vmlinux = out / "vmlinux"
	with scratch() as tmp:
		for _ in range(TRIES):
			trace = record(guest.command(), tmp, MARKER, start, rounds=loop.rounds)
			entries = Entries(instructions(vmlinux, "syscall"),
					  lambda at: backend(symbols.name(at)))
			found = count(trace, start, pages, entries, even=bench == "mprotect",
				      set_up=None if bench in ("mprotect", EVERYDAY[0])
				      else symbols.by_name[SET_UP])
			functions = found.functions(symbols)
			if bench != "mprotect" or SET_UP not in functions:
				break
		else:
			raise ToolError(f"{TRIES} records of {kernel} in {name} have {SET_UP}, "
					"the set-up of a run")
	lock_sites = instructions(vmlinux, LOCKED)
	often = found.among(lock_sites, PER_PTE)
	of_ptes = locked(found, symbols, lock_sites, of_ptes=True)
	return {"kernel": kernel, "guest": name, "bench": bench, "case": case, "pages": pages,
		"units": found.units, "total": found.total(), "functions": functions,
		"hypervisor": sum(n for f, n in functions.items() if in_hypervisor(f)),
		"locked_per_pte": often, "pte_locked_per_pte": sum(of_ptes.values()),
		"locked": locked(found, symbols, lock_sites) if loop.unit == "pte" else {},
		"locked_per_call": (found.among(lock_sites) - often) * pages,
		"entries": found.kinds(), "callers": found.callers(symbols)}


def results(profiles: Iterable[Profiled]) -> list[Result]:
	"""Return what of profile.json belongs into results.json."""
	def result(item: Profiled, metric: str, value: float, digits: int) -> Result:
		return Result(item["kernel"], item["guest"], item["bench"], item["case"],
			      item["pages"], metric, round(value, digits))

	found = []
	for item in profiles:
		if LOOPS[item["bench"]].unit == "round":
			found.append(result(item, "instructions_per_round", item["total"], 0))
			kinds = ("hypercall", "trap") if under_xen(item["guest"]) else ()
			found += [result(item, f"{kind}s_per_round",
					 item["entries"].get(kind, 0), 2) for kind in kinds]
			continue
		# Not locked_per_call: an interrupt in the few rounds recorded would change it.
		found.append(result(item, "locked_per_pte", item["locked_per_pte"], 4))
		found.append(result(item, "pte_locked_per_pte", item["pte_locked_per_pte"], 4))
		if under_xen(item["guest"]):
			found.append(result(item, "hypervisor_instructions_per_pte",
					    item["hypervisor"], 2))
			found.append(result(item, "traps_to_hypervisor_per_pte",
					    item["entries"].get("trap", 0), 4))
	return found


def text(profiles: Iterable[Profiled]) -> str:
	"""Return profiles as text: for each guest and bench, functions of base and series."""
	lines = []

	def row(key: str, values: Iterable[float], digits: int = 2) -> None:
		lines.append("".join(f"{v:11.{digits}f}" for v in values) + f"  {key}")

	for (guest, bench, case, pages), items in grouped(profiles).items():
		unit = LOOPS[bench].unit
		size = f"{pages} pages, " if unit == "pte" else ""
		lines += [f"{bench} {case}, {size}{guest}: instructions per {unit}",
			  "".join(f"{i['kernel']:>11}" for i in items)]
		names = dict.fromkeys(n for i in items for n in i["functions"])
		row("total", [i["total"] for i in items])
		if under_xen(guest):
			row("of them in the hypervisor", [i["hypervisor"] for i in items])
			for kind in ("hypercall", "trap"):
				row(f"entries into the hypervisor: {kind}s",
				    [i["entries"].get(kind, 0) for i in items], 4)
		what = "locked instructions of the kernel"
		row(f"{what}, per {unit}", [i["locked_per_pte"] for i in items])
		if unit == "pte":
			row(f"{what}, of page tables, per pte",
			    [i["pte_locked_per_pte"] for i in items])
			row(f"{what}, per call", [i["locked_per_call"] for i in items])
		rest, shown = [0.0] * len(items), SHOWN * max(i["total"] for i in items)
		by_name = {n: [i["functions"].get(n, 0) for i in items] for n in names}
		for name, values in sorted(by_name.items(), key=lambda pair: -max(pair[1])):
			if max(values) >= shown:
				row(name, values)
			else:
				rest = [a + b for a, b in zip(rest, values)]
		row(f"functions below {shown:.2f}", rest)
		for site in dict.fromkeys(key for i in items for key in i["locked"]):
			row(f"locked: {site}", [i["locked"].get(site, 0) for i in items])
		for entry in dict.fromkeys(key for i in items for key in i["callers"]):
			row(f"entries into the hypervisor: {entry}",
			    [i["callers"].get(entry, 0) for i in items], 4)
		lines.append("")
	return "\n".join(lines)


def merged(old: list[Result], profiles: Iterable[Profiled]) -> list[Result]:
	"""Return the results @old with those of @profiles in place of their kind."""
	new = results(profiles)
	replaced_ones = {(r.kernel, r.row) for r in new}
	return [r for r in old if (r.kernel, r.row) not in replaced_ones] + new


def command() -> str:
	"""Return the command by which this is run, with the settings that are set."""
	return " ".join(["make profile", *(f"{v}={shlex.quote(' '.join(setting(v)))}"
					   for v in ("GUEST", "KERNEL", "BENCH") if setting(v))])


def write(profiles: list[Profiled]) -> str:
	"""Write profile.json and breakdown.txt, and return the latter's text."""
	breakdown = f"# {command()}\n" \
		    f"# instructions executed per pte and change, or per round\n\n{text(profiles)}"
	out = build_dir() / "bench"
	with replaced(out / "profile.json") as tmp:
		tmp.write_text(json.dumps(profiles, indent=1) + "\n")
	with replaced(out / "breakdown.txt") as tmp:
		tmp.write_text(breakdown)
	return breakdown


def keep(profiles: list[Profiled]) -> None:
	"""Put what of @profiles belongs there into results.json and the reports of build/bench."""
	out = build_dir() / "bench"
	old = load(out / "results.json") if (out / "results.json").is_file() else []
	found = merged(old, profiles)
	with replaced(out / "results.json") as tmp:
		tmp.write_text(dump(found))
	if not old:
		with replaced(out / "facts.json") as tmp:
			tmp.write_text(json.dumps({**facts(found), "command": command()},
						  indent=1) + "\n")
	report.write()


def add_steps(steps: Steps[Profiled], chosen: Iterable[str], name: str, bench: str,
	      what: tuple[str, int] = ("anon-4k", PAGES)) -> None:
	"""Add to @steps: profile @bench in the place @name on each of the kernels @chosen.

	@what is the case and its pages.
	"""
	case = EVERYDAY if bench == EVERYDAY[0] else (bench, *what)
	for kernel in chosen:
		steps.add(f"{bench} {kernel} {name}", partial(profile, kernel, name, *case))


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("GUEST", list(matrix.PROFILED), matrix.PROFILED, many=True)
	parser.setting("KERNEL", list(KERNELS), known_kernels(), many=True)
	parser.setting("BENCH", known=LOOPS, many=True)
	parser.add_argument("--case", default="anon-4k")
	parser.add_argument("--pages", type=int, default=PAGES)
	args = parser.settled()
	steps: Steps[Profiled] = Steps("profile")
	for name in args.guest:
		for bench in args.bench or matrix.PROFILED[name]:
			add_steps(steps, args.kernel, name, bench, (args.case, args.pages))
	profiles = steps.run()
	print(write(profiles), end="")
	keep(profiles)
	return 0


if __name__ == "__main__":
	main(_main)
