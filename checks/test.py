# SPDX-License-Identifier: GPL-2.0
"""make test: everything that must pass. Ends with "N passed, N failed".

Parts: tooling (no kernel), patches (no build), guests (builds and boots).
"""
import argparse
import sys
import unittest

from checks.gates import run_gate
from checks.guests import (check_base_fails, check_bench, check_dist, check_faults, check_hotplug,
			   check_kernels, check_kunit, check_permissions, check_shell)
from checks.patches import check_patches
from checks.selftests import check_change_pte, check_migrate, check_races, check_scan, check_torture
from checks.tally import Tally
from guests.qemu import check_tools
from series.cmd import main

PARTS = ("tooling", "patches", "guests")
UNIT_TESTS = ("checks.test_series", "checks.test_guests", "checks.test_mail", "checks.test_bench",
	      "checks.test_gates", "checks.test_dist", "checks.test_checks", "checks.test_deb")
QUICK_GATES = ("maintainers", "kernel-doc")	# the others are for make check


class Counted(unittest.TextTestResult):
	"""A unittest result that counts into a Tally."""

	tally = None

	def addSuccess(self, test):
		super().addSuccess(test)
		self.tally.result(f"tooling: {test.id()}", True)

	def addFailure(self, test, err):
		super().addFailure(test, err)
		self.tally.result(f"tooling: {test.id()}", False, str(err[1]))

	def addError(self, test, err):
		super().addError(test, err)
		self.tally.result(f"tooling: {test.id()}", False, str(err[1]))

	def addSubTest(self, test, subtest, err):
		super().addSubTest(test, subtest, err)
		if err:
			self.tally.result(f"tooling: {subtest.id()}", False, str(err[1]))


def check_tooling(tally):
	"""Run the unit tests of the tooling."""
	Counted.tally = tally
	suite = unittest.defaultTestLoader.loadTestsFromNames(UNIT_TESTS)
	unittest.TextTestRunner(stream=sys.stderr, resultclass=Counted, buffer=True, verbosity=0).run(suite)


def check_guests(tally):
	"""Build both kernels and run everything that boots one."""
	if not check_kernels(tally):
		return
	check_kunit(tally)
	check_base_fails(tally)
	check_hotplug(tally)
	check_permissions(tally)
	check_faults(tally)
	check_shell(tally)
	check_races(tally)
	check_scan(tally)
	check_torture(tally)
	check_migrate(tally)
	check_change_pte(tally)
	check_dist(tally)
	check_bench(tally)


def _main():
	parser = argparse.ArgumentParser(description=__doc__,
					 formatter_class=argparse.RawDescriptionHelpFormatter)
	parser.add_argument("parts", nargs="*", metavar="part", help=f"of: {' '.join(PARTS)}; default all")
	parts = parser.parse_args().parts or PARTS
	if unknown := [p for p in parts if p not in PARTS]:
		parser.error(f"unknown part {unknown[0]}: known are {' '.join(PARTS)}")
	check_tools()
	print("KTAP version 1", flush=True)
	tally = Tally()
	if "tooling" in parts:
		check_tooling(tally)
		run_gate("lint", tally)
	if "patches" in parts:
		check_patches(tally)
		for gate in QUICK_GATES:
			run_gate(gate, tally)
	if "guests" in parts:
		check_guests(tally)
	return tally.close()


if __name__ == "__main__":
	main(_main)
