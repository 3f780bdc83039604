# SPDX-License-Identifier: GPL-2.0
"""What merging (KSM) and copying pages on write costs a KVM host and its guests.

A guest runs KVM itself (QEMU's TCG emulates SVM), and in it the payload's
change_pte_perf_test, which needs nothing of the series. It counts page faults, VM
exits and CPU time; with -icount, 1 ns of that is 1 instruction, of the host (our
guest) and of its guests together. QEMU's own work for a world switch does not count
as instructions, and the hardware's is dear: instructions understate what is gained by
avoiding exits.
"""
from collections.abc import Iterable
from dataclasses import replace

from bench.matrix import KVM_HOST
from bench.table import table
from common.command import EXIT_GUEST, ToolError, main
from common.result import Result, counted, parse
from common.settings import Parser
from guests.job import guest
from guests.kernel import KERNELS
from guests.selftests import selftest

PROGRAM = "x86/change_pte_perf_test"
# Suffix of the case and the kernel's command line. Shadow paging (npt=0) would
# measure the guest's page tables more than anything else.
MMUS = (("", ""), (",tdp_mmu=0", "kvm.tdp_mmu=0"))
COUNTED = ("ksm", "cow")	# what change_pte_perf_test -b runs on one CPU
RUNNING = "running"
RUNNING_CPUS = 4


def parse_kvm(lines: Iterable[str], kernel: str, suffix: str = "") -> list[Result]:
	"""Return the results of change_pte_perf_test's @lines; @suffix goes to the case."""
	return [replace(r, case=r.case + suffix) for r in counted(parse(lines, kernel, KVM_HOST))]


def measure_kvm(kernel: str, build_it: bool = True, options: str = "") -> list[Result]:
	"""Run the benchmark on @kernel, on each of KVM's MMUs; return the results.

	@options are change_pte_perf_test's. Raises ToolError if a guest did not
	end well or printed no result.
	"""
	program = selftest("kvm", PROGRAM)
	results = []
	for number, (suffix, append) in enumerate(MMUS):
		for names, counts in ((COUNTED, True), ((RUNNING,), False)):
			name = f"bench-{kernel}-{KVM_HOST}-{number}-{names[0]}"
			job = "".join(f"/bin/{program.name} -b {b} {options} || exit 1\n"
				      for b in names)
			machine = guest("bare", kernel, name, job, programs=[program],
					icount=counts, smp=1 if counts else RUNNING_CPUS,
					svm=True, append=append, build_it=build_it)
			done = machine.run(name, timeout=900).require()
			found = parse_kvm(done.lines, kernel, suffix)
			if not found:
				raise ToolError(f"{program.name} has no result lines: "
						f"see {done.log}", EXIT_GUEST)
			results += found
	return results


def _main() -> int:
	parser = Parser(__doc__)
	parser.add_argument("--options", default="", help=f"options of {PROGRAM}")
	args = parser.settled()
	print(table([item for kernel in KERNELS
		     for item in measure_kvm(kernel, options=args.options)]))
	return 0


if __name__ == "__main__":
	main(_main)
