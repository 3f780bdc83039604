# SPDX-License-Identifier: GPL-2.0
"""make snapshot: snapshots by QEMU and CRIU, of memory that KSM merges meanwhile.

  make snapshot KERNEL=series

QEMU's background-snapshot relies on userfaultfd's write-protection, CRIU's pre-dump on
soft-dirty. Where KSM loses these marks, what is restored is not the state of one moment:
such a snapshot is "torn", on the base. Prints KTAP; the last line counts the results.
"""
import re
from collections.abc import Callable, Iterable

from checks.in_guest import begin
from common.apt import unpacked
from common.command import ROOT, main
from common.settings import KERNELS, Parser
from common.tally import Tally
from guests.initramfs import compile_static
from guests.job import guest, script
from guests.libraries import libraries
from guests.qemu import Guest
from guests.vmm import vmm_machine
from guests.xen import SUITES

EXPECTED = {"base": "torn", "series": "whole"}
# QEMU's guest: its memory in MiB, the pages that counter.c writes, how often it reads them in
# between, and how many of them have to be merged.
MEMORY, PAGES, PASSES, MERGED = 64, 1024, 100000, 1000
CRIU_PAGES = 256
CRIU_CONFIG = "upstream"
# Debian 12's CRIU does not know the order of today's mappings of the vDSO.
CRIU_APPEND = "vdso=0"


def qemu_machine(kernel: str, name: str) -> Guest:
	"""Return the Guest @name that runs a guest on @kernel and takes a snapshot of it."""
	return vmm_machine(kernel, name, "snapshot-qemu.sh", PAGES, PASSES, mem=MEMORY,
			   merged=MERGED)


def criu_machine(kernel: str, name: str) -> Guest:
	"""Return the Guest @name that checkpoints a process on @kernel with CRIU."""
	root = unpacked(("criu",), SUITES["4.17"])
	criu = root / "usr" / "sbin" / "criu"
	written = compile_static(ROOT / "guests" / "programs" / "written.c", "written")
	return guest("bare", kernel, name, script("snapshot-criu.sh", pages=CRIU_PAGES),
		     config=CRIU_CONFIG, programs=[criu, written],
		     files=libraries([criu], root), smp=2, append=CRIU_APPEND)


Machine = Callable[[str, str], Guest]
PROGRAMS: dict[str, tuple[str, Machine]] = {
	"qemu": ("QEMU's background-snapshot", qemu_machine),
	"criu": ("CRIU", criu_machine),
}


def verdict(lines: Iterable[str]) -> tuple[int, str]:
	"""Return how many pages were merged, and "whole" or "torn", as the job's @lines say.

	Raises AssertionError if they don't.
	"""
	text = "\n".join(lines)
	merged = re.search(r"^snapshot: (\d+) pages merged", text, re.M)
	found = re.search(r"^snapshot: (whole|torn)$", text, re.M)
	assert merged and int(merged[1]), "no page was merged"
	assert found, "the job does not say what the snapshot is"
	return int(merged[1]), found[1]


def check_snapshot(tally: Tally, kernels: Iterable[str] = KERNELS) -> None:
	"""See that snapshots are of one moment, whatever KSM merges; on the base they are not."""
	for short, (title, machine) in PROGRAMS.items():
		for kernel in kernels:
			wanted = EXPECTED[kernel]
			with tally.step(f"snapshot by {title}, KSM at work, {kernel}: {wanted}"):
				name = f"snapshot-{short}-{kernel}"
				done = machine(kernel, name).run(name, timeout=600).require()
				merged, found = verdict(done.lines)
				assert found == wanted, f"it is {found}: see {done.log}"
				print(f"# {merged} pages merged")


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("KERNEL", KERNELS, KERNELS, many=True)
	args = parser.settled()
	tally = begin()
	check_snapshot(tally, args.kernel)
	return tally.close()


if __name__ == "__main__":
	main(_main)
