# SPDX-License-Identifier: GPL-2.0
"""Checks by KUnit in guests: the series passes everywhere, the base fails where it must."""
from functools import partial

from bench.programs import program
from checks.in_guest import count_kunit
from common.command import ROOT
from common.tally import Tally
from guests import kunit
from guests.job import guest
from guests.kernel import build

# The suite that Xen PV needs the fix for.
LAZY_SUITE = "lazy_mmu_mode."
# Guest, config, vCPUs: on QEMU's machine, and inside another guest.
OUTER = (("bare", "lean", 1), ("bare", "debug", 2), ("xen", "lean", 1), ("xen", "debug", 2))
NESTED = (("domU", "lean", 1), ("kvm", "lean", 1), ("pvh", "debug", 1))


def check_kernels(tally: Tally) -> bool:
	"""Build base and series; return whether all are there."""
	before = tally.failed
	for kernel, config in (("series", "lean"), ("base", "lean"), ("series", "debug")):
		with tally.step(f"build: {kernel} kernel, config {config}"):
			build(kernel, config)
	return tally.failed == before


def check_kunit(tally: Tally) -> None:
	"""Run the suites on the series: in the guests OUTER and NESTED, and on UML."""
	for kind, config, smp in (*OUTER, *NESTED):
		suites = partial(kunit.run_in_guest, kind, config=config, smp=smp,
				 build_it=(kind, config, smp) in OUTER)
		count_kunit(tally, f"kunit: {kind} guest, config {config}, {smp} vCPU",
			    f"kunit {kind} {config}:", suites)
	count_kunit(tally, "kunit: um", "kunit um:", kunit.run_on_um)


def check_base_fails(tally: Tally) -> None:
	"""Show that the lazy MMU suite can fail: on the base it does under Xen, not bare."""
	for kind, want, others in (("bare", "PASS", {"SKIP"}), ("xen", "FAIL", {"PASS", "SKIP"})):
		with tally.step(f"kunit: base {kind}: lazy_mmu_mode is {want} without the series"):
			_, results = kunit.run_in_guest(kind, "base")
			seen = {status for name, status in results if name.startswith(LAZY_SUITE)}
			assert want in seen <= {want, *others}, f"seen: {seen or 'no such suite'}"


def check_hotplug(tally: Tally) -> None:
	"""Run the lazy MMU suite again after vCPU hotplug, from a user process's debugfs write."""
	job = (ROOT / "guests" / "jobs" / "hotplug.sh").read_text()
	for kind in ("bare", "xen"):
		with tally.step(f"kunit: {kind}: lazy_mmu_mode after CPU hotplug"):
			name = f"hotplug-{kind}"
			machine = guest(kind, "series", name, job, smp=2, programs=[program()],
					build_it=False, kunit=True)
			machine.run(name, timeout=180).require()
