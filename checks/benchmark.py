# SPDX-License-Identifier: GPL-2.0
"""Checks of the benchmark: it repeats, the series keeps its promises, the tarball works."""
import tempfile
from pathlib import Path

from bench.dist import dist
from bench.matrix import SHORT
from bench.measure import TRACED_PAGES, count_hypercalls, measure
from bench.table import table
from common.command import run
from common.result import Result, one
from common.tally import Tally
from guests.kernel import KERNELS

# Instructions per pte, series to base, at most; 4096 pages.
RATIOS = {"bare": 0.16, "xen": 0.28}
# The series under Xen has to queue this many updates per hypercall at least: a call takes 63,
# because interrupts are off for as long as it takes. Each leaves the rest of a table for another.
BATCH = 50


def check_dist(tally: Tally) -> None:
	"""Unpack the tarball for real machines and run it on this one."""
	with tally.step("bench-dist: unpacked, it measures this machine"), \
	     tempfile.TemporaryDirectory() as tmp:
		run(["tar", "-xf", dist(), "-C", tmp])
		runner, = Path(tmp).glob("*/run.sh")
		done = run([runner, "1"], cwd=tmp, check=False)
		assert done.returncode == 0, (done.stdout + done.stderr)[-200:]
		for name in (" mprotect ", " workload ", "modify_prot_race: ok"):
			assert name in done.stdout, f"nothing of {name}"


def figure(results: list[Result], kernel: str, kind: str,
	   metric: str = "instructions_per_pte") -> float:
	"""Return one figure of the RO/RW toggle, at TRACED_PAGES.

	Raises ToolError if it is missing.
	"""
	return one(results, bench="mprotect", case="anon-4k", pages=TRACED_PAGES, metric=metric,
		   guest=kind, kernel=kernel).value


def check_bench(tally: Tally) -> None:
	"""Check the benchmark: it repeats to 0.5 %, and the series keeps its promises."""
	results: list[Result] = []
	for kind in RATIOS:
		for kernel in KERNELS:
			with tally.step(f"bench: {kernel} {kind}: complete run"):
				results += measure(kernel, kind, SHORT, ())
	with tally.step("bench: a second run gives the same figure"):
		again = measure("series", "bare", SHORT, ())
		first, second = figure(results, "series", "bare"), figure(again, "series", "bare")
		assert abs(first - second) < 0.005 * first, f"{first} and {second}"
	for kind, limit in RATIOS.items():
		with tally.step(f"bench: {kind}: series takes at most {limit} of the base's "
				"instructions"):
			base, series = (figure(results, kernel, kind) for kernel in KERNELS)
			assert 0 < series <= limit * base, f"base {base:.1f}, series {series:.1f}"
	with tally.step("bench: xen: base makes a hypercall per pte, series one per "
			f"{BATCH} or more"):
		for kernel in KERNELS:
			results += count_hypercalls(kernel, build_it=False)
		base, series = (figure(results, kernel, "xen", "hypercalls_per_pte")
				for kernel in KERNELS)
		assert base >= 1 and 0 < series <= 1 / BATCH, \
			f"base {base:.3f}, series {series:.4f}"
	for line in table(results).splitlines():
		print(f"# {line}")
