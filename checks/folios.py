# SPDX-License-Identifier: GPL-2.0
"""Protections of pages in a file's large folios, on ext4: no change lost, no warning."""
from checks.in_guest import DISK, run_selftest
from common.command import ROOT
from common.tally import Tally
from guests.initramfs import compile_static
from guests.qemu import MACHINES


def check_large_folios(tally: Tally) -> None:
	"""Change protections, then cut the file, on the debug kernel, bare and under Xen.

	Under Xen a huge page can't be mapped at once, but the page cache has large folios, too.
	"""
	program = compile_static(ROOT / "guests" / "programs" / "large_folio.c", "large_folio")
	for kind in MACHINES:
		run_selftest(tally, f"large folios {kind}", kind, program, "/disk", setup=DISK,
			     config="debug")
