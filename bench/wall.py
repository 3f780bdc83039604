# SPDX-License-Identifier: GPL-2.0
"""make bench-wall: wall-clock time, base against series, boots in turn, with their spread.

No instruction count: the guest's clock follows the host's. Under TCG this is the time
that emulation takes, and with SMP=2 that of its vCPUs waiting for each other, too; with
ACCEL=kvm it is that of the machine. The host should have nothing else to do. One boot
gives one sample of each case, the median of its runs. Results go to build/bench/wall.json.
"""
import json
from functools import partial
from typing import NamedTuple

from bench import kernels, matrix, report
from bench.noise import ALPHA, Comparison, compare, verdict
from bench.programs import program
from bench.steps import Steps
from common.command import EXIT_GUEST, ToolError, build_dir, main, replaced
from common.result import Result, Row, parse
from common.settings import Parser
from guests.job import size

ROWS: tuple[matrix.PerfRow, ...] = (
	("mprotect", "anon-4k", "1,16,512,4096", 1),
	("fork", "anon-4k", "512", 1),
	("munmap", "anon-4k", "512", 1),
)
SMP_ROWS: tuple[matrix.PerfRow, ...] = (("mprotect", "anon-4k", "4096", 2),)
MIN_ROUNDS = 5		# of four each, the least p is 2 in 70
HEAD = f"""\
# ns per page table entry by the host's clock: median, least and most of one sample per boot,
# base and series in turn. A change has p < {ALPHA} in the two-sided Mann-Whitney test of ranks."""


class Timed(NamedTuple):
	"""What is timed: a row of the results, and the number of threads."""
	row: Row
	threads: int


Sample = dict[Timed, float]	# ns per page table entry, of one boot


def timings(results: list[Result]) -> Sample:
	"""Return {Timed: ns per pte} of what mprotect_perf printed."""
	return {Timed(r.row, r.threads): r.value for r in results if r.metric == "ns_per_pte"}


def sample(kernel: str, name: str, turn: int) -> Sample:
	"""Boot @kernel in the place @name once; return {Timed: ns per pte}."""
	smp = size()["smp"]
	job = "\n".join(matrix.perf_commands(ROWS + SMP_ROWS if smp > 1 else ROWS)) + "\n"
	log = f"wall-{kernel}-{name}"
	# On a busy host, the timer may seem dead to a guest that boots.
	guest = kernels.machine(kernel, matrix.PLACES[name], log, job, [program()], smp=smp)
	done = guest.run(f"{log}-{turn}", timeout=600).require()
	found = timings(parse(done.lines, kernel, name))
	if not found:
		raise ToolError(f"no result lines from mprotect_perf: see {done.log}", EXIT_GUEST)
	return found


def verdicts(samples: dict[str, list[Sample]]) -> list[Comparison]:
	"""Return the objects of wall.json: comparisons, what they are of, and all samples.

	@samples is {kernel: [what sample() returned]}.
	"""
	found = []
	for timed in samples["base"][0]:
		values = {k: [s[timed] for s in runs if timed in s] for k, runs in samples.items()}
		row = timed.row
		found.append({"guest": row.guest, "bench": row.bench,
			      "case": f"{row.bench} {row.case}", "pages": row.pages,
			      "threads": timed.threads,
			      **compare(values["base"], values["series"]), "samples": values})
	return found


def text(found: list[Comparison]) -> str:
	"""Return the text table of verdicts()."""
	lines = [f"{'guest':<6}{'case':<20}{'pages':>5}{'threads':>8}"
		 f"{'base':>9}{'least':>9}{'most':>9}"
		 f"{'series':>10}{'least':>9}{'most':>9}{'ratio':>7}{'p':>8}  verdict"]
	for r in found:
		lines.append(f"{r['guest']:<6}{r['case']:<20}{r['pages']:>5}{r['threads']:>8}"
			     f"{r['base']:>9.1f}{r['base_min']:>9.1f}{r['base_max']:>9.1f}"
			     f"{r['series']:>10.1f}{r['series_min']:>9.1f}{r['series_max']:>9.1f}"
			     f"{r['series'] / r['base']:>7.3f}{r['p']:>8.4f}  {verdict(r)}")
	return "\n".join(lines)


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("GUEST", list(matrix.TIMED_PLACES), matrix.PLACES, many=True)
	parser.setting("ROUNDS")
	args = parser.parse_args()
	if args.rounds < MIN_ROUNDS:
		raise ToolError(f"ROUNDS= below {MIN_ROUNDS} can show no change with p < {ALPHA}")
	args = parser.settled()
	chosen = matrix.places(args.guest)
	samples: dict[str, dict[str, list[Sample]]] = {}
	steps: Steps[None] = Steps("wall")

	def boot(kernel: str, name: str, turn: int) -> None:
		samples[name][kernel].append(sample(kernel, name, turn))

	for name, place in chosen.items():
		samples[name] = {"base": [], "series": []}
		for kernel in samples[name]:
			steps.add(f"build {kernel} {place.config}",
				  partial(kernels.prepare, kernel, place.config))
	for turn in range(1, args.rounds + 1):
		for name in chosen:
			# In turn, and the first of a pair changes, too.
			for kernel in ("base", "series") if turn % 2 else ("series", "base"):
				steps.add(f"{kernel} {name}, boot {turn}",
					  partial(boot, kernel, name, turn))
	steps.run()
	found = [v for name in chosen for v in verdicts(samples[name])]
	out = build_dir() / "bench"
	with replaced(out / "wall.json") as tmp:
		tmp.write_text(json.dumps(found, indent=1) + "\n")
	with replaced(out / "wall.txt") as tmp:
		tmp.write_text(f"{HEAD}\n{text(found)}\n")
	print(text(found))
	if (out / "results.json").is_file():
		report.write()
	return 0


if __name__ == "__main__":
	main(_main)
