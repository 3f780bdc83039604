# SPDX-License-Identifier: GPL-2.0
"""How many faults a guest takes that QEMU starts from a snapshot.

Its memory is a private mapping of the snapshot's file (memory-backend-file,share=off), so
the host copies each page that it writes to. QEMU is Debian's, the guest a Linux of its
own, which reads all pages of a program's memory and then writes to them. Each fault is a
VM exit. Faults are counted, not instructions: two CPUs, no -icount.
"""
import re
from collections.abc import Iterable

from bench.matrix import KVM_HOST
from bench.table import table
from common.command import EXIT_GUEST, ToolError, main
from common.result import Result
from common.settings import Parser
from guests.kernel import KERNELS
from guests.vmm import vmm_machine

BENCH = "clone"
MEMORY = 96		# MiB of the guest
PAGES, PASSES = 4096, 250000
LINE = re.compile(r"^clone: (\d+) pages (\d+) (\d+)$")


def parse_clone(lines: Iterable[str], kernel: str) -> list[Result]:
	"""Return the results of @kernel in the job's @lines: faults to read, and to write."""
	found = []
	for match in filter(None, map(LINE.match, lines)):
		pages, *faults = map(int, match.groups())
		found += [Result(kernel, KVM_HOST, BENCH, case, pages, "page_faults_per_page",
				 round(number / pages, 2))
			  for case, number in zip(("read", "write"), faults)]
	return found


def measure_clone(kernel: str) -> list[Result]:
	"""Run the job on @kernel, which is built if need be; return the results.

	Raises ToolError if the machine did not end well, or has counted nothing.
	"""
	name = f"bench-{kernel}-{KVM_HOST}-clone"
	machine = vmm_machine(kernel, name, "clone-qemu.sh", PAGES, PASSES, mem=MEMORY)
	done = machine.run(name, timeout=900).require()
	found = parse_clone(done.lines, kernel)
	if not found:
		raise ToolError(f"no faults were counted: see {done.log}", EXIT_GUEST)
	return found


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("KERNEL", list(KERNELS), KERNELS, many=True)
	args = parser.settled()
	print(table([item for kernel in args.kernel for item in measure_clone(kernel)]))
	return 0


if __name__ == "__main__":
	main(_main)
