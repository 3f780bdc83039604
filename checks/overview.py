# SPDX-License-Identifier: GPL-2.0
"""make run: the main job. Boot base and series, bare and under Xen; KUnit, benchmark, report."""
import time
from collections.abc import Sequence

from bench.facts import facts
from bench.matrix import SHORT_PLACES
from bench.measure import bench
from bench.table import table
from common.command import EXIT_TESTS, build_dir, main, say
from common.settings import Parser
from common.tally import KUnitCase
from guests import kunit
from guests.kernel import build
from guests.qemu import MACHINES, check_tools
from guests.xen import hypervisor

STEPS = 6


def kunit_line(kernel: str, kind: str, results: Sequence[KUnitCase]) -> str:
	"""Return one line of the report for a KUnit run."""
	passed = sum(s == "PASS" for _, s in results)
	skipped = sum(s == "SKIP" for _, s in results)
	bad = [name for name, s in results if s not in ("PASS", "SKIP")]
	line = f"{kernel:<7}{kind:<5} {passed} passed, {len(bad)} failed, {skipped} skipped"
	return line + (f": {', '.join(bad)}" if bad else "")


def _main() -> int:
	Parser(__doc__).settled()
	start = time.monotonic()

	def step(number: int, what: str) -> None:
		say(f"[{number}/{STEPS}, {time.monotonic() - start:.0f} s] {what}")

	step(1, "tools and hypervisor")
	check_tools()
	hypervisor()
	step(2, "series kernel: fetch, patch, build")
	build("series", "lean")
	step(3, "base kernel: build")
	build("base", "lean")
	lines, failed = [], False
	for number, kernel in ((4, "base"), (5, "series")):
		for kind in MACHINES:
			step(number, f"KUnit: {kernel}, {kind} guest")
			_, cases = kunit.run_in_guest(kind, kernel)
			lines.append(kunit_line(kernel, kind, cases))
			failed |= kernel == "series" and any(s in ("FAIL", "ERROR")
							     for _, s in cases)
	step(6, "benchmark: mprotect() RO/RW, counting instructions")
	results = bench(short=True, guest_names=list(SHORT_PLACES))
	about = facts(results)
	print("\nKUnit\n  " + "\n  ".join(lines))
	print(f"\nmprotect(), {about['unit']}")
	print("  " + table(results).replace("\n", "\n  "))
	print(f"\n{about['compiler']}; {about['qemu']}\nlogs: {build_dir() / 'log'}, "
	      f"results: {build_dir() / 'bench' / 'results.json'}; "
	      f"{time.monotonic() - start:.0f} s")
	return EXIT_TESTS if failed else 0


if __name__ == "__main__":
	main(_main)
