# SPDX-License-Identifier: GPL-2.0
"""Checks under Xen that no entry of a page table is open to L1TF, on a CPU that is.

Xen looks at each entry that is not present, and ends a guest whose entry has the number
of a frame that may be cached. checks/faults/xen-not-inverted.patch shows that it does.
"""
from functools import partial

from checks.in_guest import count_kunit
from checks.torture import torture
from common.tally import Tally
from guests import kunit

TORTURE_SECONDS, TORTURE_SEED = 10, 1


def check_l1tf(tally: Tally) -> None:
	"""Run the KUnit suites, and change mappings at random, in a dom0 that Xen checks."""
	name = "kunit-l1tf"
	count_kunit(tally, "kunit: xen guest, CPU open to L1TF", "kunit xen l1tf:",
		    partial(kunit.run_in_guest, "xen", name=name, l1tf=True, build_it=False))
	with tally.step("torture xen, CPU open to L1TF: memory is as the model says"):
		lines = torture("xen", TORTURE_SECONDS, TORTURE_SEED, l1tf=True, build_it=False)
		assert "torture: passed" in lines, f"{lines[-1:]}"
