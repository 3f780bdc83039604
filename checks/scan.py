# SPDX-License-Identifier: GPL-2.0
"""Checks of PAGEMAP_SCAN in guests."""
from pathlib import Path

from checks.in_guest import SWAP, run_selftest
from common.tally import Tally
from guests.selftests import selftest


def check_scan(tally: Tally, kernel: str = "series") -> None:
	"""Scan for writes what migrates between two nodes, is swapped out, or a device's.

	Xen's PV guests have one node.
	"""
	program: Path | None = None
	with tally.step("scan bare debug: build"):
		program = selftest("mm", "pagemap_scan_migration", "debug")
	if program:
		run_selftest(tally, "scan bare debug", "bare", program, "", config="debug",
			     setup=SWAP, append="numa=fake=2", kernel=kernel)
