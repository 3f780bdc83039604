# SPDX-License-Identifier: GPL-2.0
"""Checks by KUnit in guests: the series passes everywhere, the base fails where it must."""
from bench.programs import program
from common.command import ROOT
from guests import kunit
from guests.job import guest
from guests.kernel import build

# The suite that Xen PV needs the fix for.
LAZY_SUITE = "lazy_mmu_mode."
NESTED = (("domU", "lean"), ("kvm", "lean"), ("pvh", "debug"))	# guests inside a guest, and their config


def check_kernels(tally):
	"""Build base and series; return whether all are there."""
	before = tally.failed
	for kernel, config in (("series", "lean"), ("base", "lean"), ("series", "debug")):
		with tally.step(f"build: {kernel} kernel, config {config}"):
			build(kernel, config)
	return tally.failed == before


def check_kunit(tally):
	"""Run the suites on the series: bare and Xen, plain and with debugging on two vCPUs; guests in a guest; UML."""
	for kind in ("bare", "xen"):
		for config, smp in (("lean", 1), ("debug", 2)):
			results = []
			with tally.step(f"kunit: {kind} guest, config {config}, {smp} vCPU: complete run"):
				_, results = kunit.run_in_guest(kind, config=config, smp=smp)
			tally.cases(f"kunit {kind} {config}:", results)
	for kind, config in NESTED:
		results = []
		with tally.step(f"kunit: {kind} guest, config {config}, 1 vCPU: complete run"):
			_, results = kunit.run_in_guest(kind, config=config, smp=1, build_it=False)
		tally.cases(f"kunit {kind} {config}:", results)
	results = []
	with tally.step("kunit: um: complete run"):
		_, results = kunit.run_on_um()
	tally.cases("kunit um:", results)


def check_base_fails(tally):
	"""Show that the lazy MMU suite can fail: on the base it does under Xen, not bare."""
	for kind, want in (("bare", "PASS"), ("xen", "FAIL")):
		with tally.step(f"kunit: base {kind}: lazy_mmu_mode is {want} without the series"):
			_, results = kunit.run_in_guest(kind, "base")
			seen = {status for name, status in results if name.startswith(LAZY_SUITE)}
			assert want in seen, f"seen: {seen or 'no such suite'}"


def check_hotplug(tally):
	"""Run the lazy MMU suite again after vCPU hotplug, from a user process's debugfs write."""
	job = (ROOT / "guests" / "jobs" / "hotplug.sh").read_text()
	for kind in ("bare", "xen"):
		with tally.step(f"kunit: {kind}: lazy_mmu_mode after CPU hotplug"):
			guest(kind, "series", f"hotplug-{kind}", job, smp=2, programs=[program()],
			      build_it=False, kunit=True).run(f"hotplug-{kind}", timeout=180).require()
