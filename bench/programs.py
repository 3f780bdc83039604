# SPDX-License-Identifier: GPL-2.0
"""The programs that the benchmark runs in guests, and the files that they need."""
from collections.abc import Sequence
from pathlib import Path

from common.command import ROOT, build_dir, replaced, run
from guests.initramfs import compile_static
from guests.kernel import source

PROGRAM = "tools/testing/selftests/mm/mprotect_perf.c"
WORKLOAD = "tools/testing/selftests/mm/mprotect_workload.c"
UUID = "00000000-0000-4000-8000-00000000000{}"
TSC_CLOCK = "guests/programs/tsc_clock.h"
SYSFS = "guests/programs/sysfs.h"
TIMED_RUNS = "tools/testing/selftests/mm/timed_runs.h"		# how the first and page_costs time


def program(name: str = "mprotect_perf", flags: Sequence[str] = ()) -> Path:
	"""Return the static benchmark program as @name, compiled from the payload with @flags."""
	linux = source("series")
	return compile_static(ROOT / PROGRAM, name, "-pthread", *flags,
			      f"-I{linux}/tools/testing/selftests", f"-I{linux}/tools/include",
			      f"-I{linux}/usr/include",
			      headers=(ROOT / TIMED_RUNS, ROOT / TSC_CLOCK))


def tsc_program() -> Path:
	"""Return that program with ticks of the TSC in the place of nanoseconds."""
	return program("mprotect_perf_tsc", ["-include", str(ROOT / TSC_CLOCK)])


def workload_program() -> Path:
	"""Return the static program mprotect_workload, compiled from the payload."""
	linux = source("series")
	return compile_static(ROOT / WORKLOAD, "mprotect_workload",
			      f"-I{linux}/tools/testing/selftests", f"-I{linux}/tools/include")


def costs_program() -> Path:
	"""Return the static program page_costs."""
	return compile_static(ROOT / "guests" / "programs" / "page_costs.c", "page_costs",
			      f"-I{(ROOT / TIMED_RUNS).parent}",
			      headers=(ROOT / TIMED_RUNS, ROOT / SYSFS))


def ext4_image() -> Path:
	"""Return an empty ext4 file system of 64 MiB, always the same."""
	path = build_dir() / "guests" / "ext4.img"
	if not path.is_file():
		with replaced(path) as tmp:
			run(["mke2fs", "-q", "-t", "ext4", "-U", UUID.format(1), "-E",
			     f"lazy_itable_init=0,lazy_journal_init=0,hash_seed={UUID.format(2)}",
			     tmp, "64M"])
	return path
