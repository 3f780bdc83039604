# SPDX-License-Identifier: GPL-2.0
"""Checks of PAGEMAP_SCAN in guests."""
from pathlib import Path

from checks.in_guest import run_selftest
from common.tally import Tally
from guests.selftests import selftest


def check_scan(tally: Tally) -> None:
	"""Scan pages for writes while they migrate between two nodes; Xen's PV guests have one."""
	program: Path | None = None
	with tally.step("scan bare debug: build"):
		program = selftest("mm", "pagemap_scan_migration", "debug")
	if program:
		run_selftest(tally, "scan bare debug", "bare", program, "", config="debug",
			     append="numa=fake=2")
