# SPDX-License-Identifier: GPL-2.0
"""Protections of pages in a file's large folios, on ext4 and XFS: no change lost, no warning."""
from pathlib import Path
from typing import Any

from checks.in_guest import DISK, run_selftest
from common.apt import unpacked
from common.command import ROOT
from common.tally import Tally
from guests.initramfs import FilePair, compile_static
from guests.libraries import libraries
from guests.qemu import MACHINES

# XFS wants 300 MiB, more than a RAM disk has by default.
XFS_DISK = "mkfs.xfs -q /dev/ram1 && mkdir -p /disk && mount -t xfs /dev/ram1 /disk || exit 1"
XFS_SIZE = "ramdisk_size=327680"	# KiB


def xfs_files() -> list[FilePair]:
	"""Return (guest path, host path) of mkfs.xfs and its libraries, from Debian's package."""
	root = unpacked(("xfsprogs",), "bookworm")
	program = next(root.rglob("mkfs.xfs"))
	return [("/bin/mkfs.xfs", program), *libraries([program], root)]


def check_large_folios(tally: Tally) -> None:
	"""Change protections, then cut the file, on the debug kernel, bare and under Xen.

	Under Xen a huge page can't be mapped at once, but the page cache has large folios, too.
	"""
	program: Path | None = None
	with tally.step("large folios: build"):
		program = compile_static(ROOT / "guests" / "programs" / "large_folio.c",
					 "large_folio")
	disks: dict[str, dict[str, Any]] = {"ext4": {"setup": DISK}}
	with tally.step("large folios: Debian's xfsprogs is there"):
		disks["xfs"] = {"setup": XFS_DISK, "append": XFS_SIZE, "files": xfs_files()}
	for title, options in disks.items() if program else ():
		for kind in MACHINES:
			run_selftest(tally, f"large folios {title} {kind}", kind, program, "/disk",
				     config="debug", **options)
