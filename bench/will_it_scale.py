# SPDX-License-Identifier: GPL-2.0
"""make will-it-scale WIS=<tree>: instructions per iteration of will-it-scale's tests of memory.

The tests are compiled from the tree, with a main() of our own that runs one of them for a
while. Writes build/bench/will-it-scale.txt; make report KEEP=1 keeps it.
"""
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench import kernels, matrix
from bench.steps import Steps
from bench.table import table
from common.command import EXIT_USAGE, ROOT, ToolError, build_dir, main, replaced, run
from common.result import Result
from common.settings import Parser
from guests.initramfs import compile_static
from guests.kernel import KERNELS, known_kernels

TESTS = ("brk1", "brk2", "context_switch1", "malloc1", "malloc2", "mmap1", "mmap2",
	 "page_fault1", "page_fault2", "page_fault3", "tlb_flush1", "tlb_flush2", "tlb_flush3")
PLACES = ("bare", "xen")
MAIN = ROOT / "guests" / "programs" / "iterations.c"
TIMEOUT = 1200


def check_tree(tree: Path) -> None:
	"""Raise ToolError unless @tree has will-it-scale's tests."""
	missing = [name for name in TESTS if not (tree / "tests" / f"{name}.c").is_file()]
	if missing:
		raise ToolError(f"WIS={tree} is not a tree of will-it-scale: it has no "
				f"tests/{missing[0]}.c", EXIT_USAGE)


def program(tree: Path, name: str) -> Path:
	"""Return the static program of the test @name; raises ToolError if it can't be compiled."""
	source = tree / "tests" / f"{name}.c"
	return compile_static(MAIN, f"wis-{name}", "-w", "-pthread", "-Wl,--wrap=munmap",
			      str(source), headers=(source,))


def rounds(tree: Path, name: str) -> str:
	"""Return "rounds" if the test @name maps memory in rounds and unmaps it, else ""."""
	text = (tree / "tests" / f"{name}.c").read_text()
	return "rounds" if re.search(r"\bmunmap\(", text) else ""


def measure(tree: Path, kernel: str, name: str) -> list[Result]:
	"""Return what an iteration of each test costs on @kernel, prepared before, in @name.

	Raises ToolError if a test did not end well.
	"""
	log = f"will-it-scale-{kernel}-{name}"
	job = "".join(f"/bin/wis-{test} {test} {rounds(tree, test)} || exit 1\n" for test in TESTS)
	machine = kernels.machine(kernel, matrix.PLACES[name], log, job,
				  [program(tree, test) for test in TESTS], icount=True, smp=1)
	return kernels.measured(machine, log, kernel, name, TIMEOUT, len(TESTS))


def commit(tree: Path) -> str:
	"""Return which commit @tree is of."""
	done = run(["git", "-C", tree, "describe", "--always", "--dirty"], check=False)
	return done.stdout.strip() or "unknown"


def compare(tree: Path, names: Sequence[str], chosen: Sequence[str]) -> str:
	"""Measure the kernels @names in the places @chosen; write and return the text."""
	check_tree(tree)
	steps: Steps[list[Result]] = Steps("will-it-scale")

	def prepare(kernel: str) -> list[Result]:
		kernels.prepare(kernel, "lean")
		return []

	for kernel in names:
		steps.add(f"build {kernel}", partial(prepare, kernel))
	for place in chosen:
		for kernel in names:
			steps.add(f"{kernel} {place}", partial(measure, tree, kernel, place))
	results = [r for found in steps.run() for r in found]
	text = "will-it-scale's tests of memory on one CPU, instructions per iteration\n\n" \
	       f"will-it-scale:       commit {commit(tree)}\n" + \
	       "".join(f"{'kernel ' + k + ':':<20} {kernels.title(k)}\n" for k in names) + \
	       f"\n{table(results)}\n"
	out = build_dir() / "bench"
	out.mkdir(exist_ok=True)
	with replaced(out / "will-it-scale.txt") as tmp:
		tmp.write_text(text)
	return text


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("WIS")
	parser.setting("GUEST", list(PLACES), PLACES, many=True)
	parser.setting("KERNEL", list(KERNELS), known_kernels(), many=True)
	args = parser.settled()
	if not args.wis:
		raise ToolError("WIS=<tree> says where will-it-scale is", EXIT_USAGE)
	print(compare(Path(args.wis), args.kernel, args.guest), end="")
	return 0


if __name__ == "__main__":
	main(_main)
