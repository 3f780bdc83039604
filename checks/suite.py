# SPDX-License-Identifier: GPL-2.0
"""make test: everything that must pass. Ends with "N passed, N failed".

Parts: tooling (no kernel), patches (no build), guests (builds and boots).
"""
import sys
import unittest
from collections.abc import Callable
from types import TracebackType

from checks.benchmark import check_bench, check_dist
from checks.broken_guests import check_broken_guests
from checks.by_hand import check_permissions, check_shell
from checks.faults import check_faults_apply
from checks.folios import check_large_folios
from checks.foreign import check_foreign
from checks.in_guest import begin
from checks.kunit_suites import check_base_fails, check_hotplug, check_kernels, check_kunit
from checks.kunit_tool import check_kunit_tool
from checks.l1tf import check_l1tf
from checks.mprotect import check_migrate, check_races, check_torture
from checks.ptes import (check_exclusive, check_gup_race, check_guest_marks, check_marks,
			 check_zap_race)
from checks.scan import check_scan
from checks.spte import check_change_pte, check_hints, check_split
from common.command import ROOT, main
from common.settings import Parser
from common.tally import Tally
from gates.run import run_gate

PARTS = ("tooling", "patches", "guests")
TOOLING_GATES = ("lint",)
# The others are for make check.
PATCHES_GATES = ("series", "figures", "checkpatch", "maintainers", "kernel-doc")
GUEST_CHECKS: tuple[Callable[[Tally], None], ...] = (
	check_kunit, check_base_fails, check_kunit_tool, check_hotplug, check_permissions,
	check_broken_guests, check_shell, check_races, check_zap_race, check_gup_race, check_marks,
	check_guest_marks, check_exclusive, check_scan, check_torture, check_l1tf, check_migrate,
	check_foreign, check_large_folios, check_change_pte, check_split, check_hints, check_dist,
	check_bench)
Raised = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Counted(unittest.TextTestResult):
	"""A unittest result that counts into a Tally."""

	tally: Tally

	def count(self, test: unittest.TestCase, err: Raised | None = None) -> None:
		"""Count @test, as failed if it raised @err."""
		self.tally.result(f"tooling: {test.id()}", not err, str(err[1]) if err else "")

	def addSuccess(self, test: unittest.TestCase) -> None:
		super().addSuccess(test)
		self.count(test)

	def addFailure(self, test: unittest.TestCase, err: Raised) -> None:
		super().addFailure(test, err)
		self.count(test, err)

	def addError(self, test: unittest.TestCase, err: Raised) -> None:
		super().addError(test, err)
		self.count(test, err)

	def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase,
		       err: Raised | None) -> None:
		super().addSubTest(test, subtest, err)
		if err:
			self.count(subtest, err)


def check_tooling(tally: Tally) -> None:
	"""Run the unit tests of the tooling: all that unittest finds in tests/."""
	Counted.tally = tally
	found = unittest.defaultTestLoader.discover(str(ROOT / "tests"), top_level_dir=str(ROOT))
	runner = unittest.TextTestRunner(stream=sys.stderr, resultclass=Counted, buffer=True,
					 verbosity=0)
	runner.run(found)


def check_guests(tally: Tally) -> None:
	"""Build both kernels and run everything that boots one."""
	if check_kernels(tally):
		for check in GUEST_CHECKS:
			check(tally)


def _main() -> int:
	parser = Parser(__doc__)
	parser.add_argument("parts", nargs="*", metavar="part",
			    help=f"of: {' '.join(PARTS)}; default all")
	parts = parser.settled().parts or PARTS
	if unknown := [p for p in parts if p not in PARTS]:
		parser.error(f"unknown part {unknown[0]}: known are {' '.join(PARTS)}")
	tally = begin()
	if "tooling" in parts:
		check_tooling(tally)
		for gate in TOOLING_GATES:
			run_gate(gate, tally)
	if "patches" in parts:
		for gate in PATCHES_GATES:
			run_gate(gate, tally)
		check_faults_apply(tally)
	if "guests" in parts:
		check_guests(tally)
	return tally.close()


if __name__ == "__main__":
	main(_main)
