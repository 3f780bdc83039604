# SPDX-License-Identifier: GPL-2.0
"""What the benchmark measures: places, and the cases that run in each."""
from collections.abc import Iterable
from dataclasses import dataclass

from common.command import ToolError

PerfRow = tuple[str, str, str, int]	# bench, case, list of pages, threads
CostRow = tuple[str, str, str]		# bench, case, list of pages
# What mprotect_perf (the payload's) runs.
GROWTH = "1,2,4,8,16,64,512,4096,32768,262144"
SOME = "1,16,512,4096"
PERF: tuple[PerfRow, ...] = (
	("mprotect", "anon-4k", GROWTH, 1),
	("mprotect", "anon-4k", "512,4096", 2),
	("mprotect", "anon-4k", "512,4096", 4),
	("mprotect", "anon-4k-none", SOME, 1),
	("mprotect", "file-shared-dirty", SOME, 1),
	("mprotect", "large-folio-64k", "16,512,4096,262144", 1),
	("fork", "anon-4k", SOME, 1),
	("munmap", "anon-4k", SOME, 1),
	("madv_dontneed", "anon-4k", SOME, 1),
)
DOMU: tuple[PerfRow, ...] = tuple((bench, "anon-4k", SOME, 1) for bench in
				  ("mprotect", "fork", "munmap", "madv_dontneed"))
# What CONFIG_DEBUG_VM may make dearer.
CHECKED: tuple[PerfRow, ...] = DOMU + (("mprotect", "large-folio-64k", "512,4096", 1),)
SHORT: tuple[PerfRow, ...] = (("mprotect", "anon-4k", SOME, 1),)

# What page_costs (guests/programs/page_costs.c) runs beside it.
COSTS: tuple[CostRow, ...] = (
	("mprotect", "anon-thp-split", "512,4096,262144"),
	("mprotect", "anon-thp", "512,4096"),
	("mprotect", "shmem-64k", "16,512,4096"),
	("mprotect", "shmem-thp-split", "512,4096"),
	("remap", "file-shared-dirty", SOME),
	("mremap", "anon-4k", SOME),
	("uffd_wp", "anon-4k", SOME),
	("ksm_merge", "anon-4k", "512,4096"),
	("ksm_merge", "uffd-wp", "512,4096"),
	("page_fault", "anon-4k", "512,4096"),
	("page_fault", "file-read", "512,4096"),
	("page_fault", "cow-file", "512,4096"),
	("page_fault", "cow-fork", "512,4096"),
	("munmap", "file-private", "16,512,4096"),
	("munmap", "file-shared", "16,512,4096"),
)
# Large folios of a file system's page cache.
FILE_COSTS: tuple[CostRow, ...] = (
	("mprotect", "file-64k", "16,512,4096"),
	("mprotect", "file-2m", "512,4096"),
	("page_fault", "file-64k-write", "16,512,4096"),
)
NUMA_COSTS: tuple[CostRow, ...] = (("numa_scan", "anon-4k", "512,4096"),)
# Mounts the image that programs.py makes; nothing is written back while we measure.
EXT4_SETUP = ("echo 0 > /proc/sys/vm/dirty_writeback_centisecs", "mkdir -p /mnt",
	      "cat /ext4.img > /dev/ram0 || exit 1", "mount -t ext4 /dev/ram0 /mnt || exit 1")


@dataclass(frozen=True)
class Place:
	"""What results call "guest": which @kind of machine boots a kernel of which @config.

	@setup are lines of shell that run first, @perf, @costs and @workload (programs that
	live on mprotect) what is measured. @append goes to the kernel's command line. A topic
	alone is measured here if it has files below one of the directories @topics; "" is above
	all of them. If it @base_warns, the base is measured though its console has warnings.
	"""
	kind: str
	config: str
	title: str
	perf: tuple[PerfRow, ...] = PERF
	costs: tuple[CostRow, ...] = COSTS
	setup: tuple[str, ...] = ()
	workload: bool = False
	append: str = ""
	topics: tuple[str, ...] = ()
	base_warns: bool = False


KVM_HOST = "kvm-host"	# measured by bench/kvm.py: a machine that runs guests of its own
PLACES = {
	"bare": Place("bare", "lean", "bare metal, XEN_PV=y", workload=True, topics=("",)),
	"bare-noxen": Place("bare", "noxen", "bare metal, XEN_PV=n"),
	"xen": Place("xen", "lean", "Xen PV dom0", workload=True, topics=("",)),
	"domU": Place("domU", "lean", "Xen PV domU", DOMU, ()),
	"pvh": Place("pvh", "lean", "Xen PVH domU", DOMU, ()),
	KVM_HOST: Place("bare", "lean", "KVM host and guest", (), (),
			topics=("arch/x86/kvm/", "virt/kvm/")),
	"bare-numa": Place("bare", "upstream", "bare metal, two nodes", (), NUMA_COSTS,
			   append="numa=fake=2"),
	"bare-disk": Place("bare", "disk", "bare metal, ext4", SHORT, FILE_COSTS, EXT4_SETUP),
	"xen-disk": Place("xen", "disk", "Xen PV dom0, ext4", SHORT, FILE_COSTS, EXT4_SETUP),
	"bare-debug": Place("bare", "preempt", "bare metal, DEBUG_VM and PREEMPT", CHECKED, ()),
	# The base marks the wrong task's lazy MMU mode in a context switch, and checks that.
	"xen-debug": Place("xen", "preempt", "Xen PV dom0, DEBUG_VM and PREEMPT", CHECKED, (),
			   base_warns=True),
}
SHORT_PLACES = ("bare", "xen")
DEBIAN_PLACES = ("bare", "xen")		# Debian's kernels have configs of their own
# What is counted by function, and where: @bench of mprotect_perf, or a round of everyday.
PROFILED = {
	"bare": ("mprotect", "fork", "munmap", "everyday"),
	"bare-noxen": ("mprotect", "fork", "munmap"),
	"xen": ("mprotect", "fork", "munmap", "everyday"),
	"domU": ("mprotect",),
}
EVERYDAY_PLACES = ("bare", "xen", "domU", "pvh")	# bench/everyday.py
TIMED_PLACES = ("bare", "xen")		# by the clock


def places(names: list[str] | None = None) -> dict[str, Place]:
	"""Return {name: Place} of @names (default all).

	Raises ToolError naming the known ones if one is not.
	"""
	chosen = names or list(PLACES)
	for name in chosen:
		if name not in PLACES:
			raise ToolError(f"unknown GUEST '{name}' for the benchmark: "
					f"known are {' '.join(PLACES)}")
	return {name: PLACES[name] for name in chosen}


def perf_commands(rows: Iterable[PerfRow]) -> list[str]:
	"""Return the shell lines that run @rows of mprotect_perf."""
	lines = []
	for bench, case, pages, threads in rows:
		options = f"-b {bench} -c {case} -p {pages}"
		options += f" -t {threads}" if threads > 1 else ""
		lines.append(f"/bin/mprotect_perf {options} || exit 1")
	return lines


def cost_commands(rows: Iterable[CostRow], directory: str) -> list[str]:
	"""Return the shell lines that run @rows of page_costs, whose files land in @directory."""
	return [f"/bin/page_costs {bench} {case} {number} {directory} || exit 1"
		for bench, case, pages in rows for number in pages.split(",")]
