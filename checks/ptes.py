# SPDX-License-Identifier: GPL-2.0
"""Checks of page table entries in guests: what is lost when they are cleared or made anew."""
from pathlib import Path

from checks.in_guest import DISK, SWAP, run_selftest
from common.tally import Tally
from guests.qemu import MACHINES
from guests.selftests import selftest

CONFIG = "debug"
RACE_SECONDS = 2	# per case
NODES = "numa=fake=2"	# Xen's PV guests have one node, whatever is asked for


def run_race(tally: Tally, title: str, name: str) -> None:
	"""Build the selftest @name and run it, as @title, in each kind of machine."""
	program: Path | None = None
	with tally.step(f"{title}: build"):
		program = selftest("mm", name, CONFIG)
	for kind in MACHINES if program else ():
		run_selftest(tally, f"{title} {kind} {CONFIG}", kind, program,
			     f"-s {RACE_SECONDS} -d /disk", config=CONFIG, setup=DISK)


def check_zap_race(tally: Tally) -> None:
	"""Race writes with ptes being cleared, moved and write-protected: no write is lost."""
	run_race(tally, "zap race", "zap_race")


def check_gup_race(tally: Tally) -> None:
	"""Race GUP with ptes being cleared and write-protected: it gets the right page or none."""
	run_race(tally, "GUP race", "gup_race")


def check_marks(tally: Tally, kernel: str = "series") -> None:
	"""See that userfaultfd's marks and soft-dirty survive KSM, splits, swap and migration."""
	program: Path | None = None
	with tally.step("marks: build"):
		program = selftest("mm", "ksm_marks", CONFIG)
	# With DEBUG_VM, 7.3.4 needs 1-xen-lazy-mmu to boot under Xen.
	for kind in (MACHINES if kernel == "series" else ("bare",)) if program else ():
		run_selftest(tally, f"marks {kind} {CONFIG}", kind, program, "", config=CONFIG,
			     setup=SWAP, append=NODES if kind == "bare" else "", kernel=kernel)


def check_exclusive(tally: Tally) -> None:
	"""Fork what a device has for itself: upstream's test, which nobody runs under Xen."""
	program: Path | None = None
	with tally.step("exclusive: build"):
		program = selftest("mm", "hmm-tests", CONFIG)
	for kind in MACHINES if program else ():
		run_selftest(tally, f"exclusive {kind} {CONFIG}", kind, program,
			     "-r hmm.hmm_device_private.exclusive_cow", config=CONFIG)


def check_guest_marks(tally: Tally, kernel: str = "series") -> None:
	"""See that writes of a KVM guest to protected pages are noticed, and no others."""
	program: Path | None = None
	with tally.step("guest marks: build"):
		program = selftest("kvm", "x86/uffd_marks_test", CONFIG)
	if program:
		run_selftest(tally, f"guest marks {CONFIG}", "bare", program, "", config=CONFIG,
			     svm=True, accel="tcg", append=NODES, kernel=kernel)
