# SPDX-License-Identifier: GPL-2.0
"""make soak: tests that take long, on kernels that make test has no time to build.

CONFIG= names one or more of them, default kasan and debug:
  kasan  KASAN, lockdep, KVM's own proofs; swap and ageing at work; failing allocations;
         on bare metal only, Xen PV guests can't have KASAN
  debug  the same less KASAN, swap and ageing, what make test has
  kcsan  data races: those that the base shows as well don't count
  rt     PREEMPT_RT; on bare metal only, Xen PV takes page table locks with interrupts off
  up     no SMP, preemption anywhere
  preempt  preemption anywhere, on several CPUs; also the kernel's own test of vmalloc

Each, bare and under Xen: KUnit, the races of mprotect(), also while CPUs come and
go and tasks are frozen, and torture; bare: change_pte_test with each of KVM's MMUs,
change_pte_nested_test, and change_pte_stress_test, which gets MINUTES= of time in all
(default 15). A warning on the console ends a run.
"""
import re
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from checks.in_guest import DISK, SWAP, begin, count_kunit, run_selftest
from checks.kcsan import check_kcsan
from checks.spte import CHANGE_PTE, MMUS, NESTED_MMUS
from checks.torture import torture
from common.command import ROOT, main
from common.settings import Parser
from common.tally import Tally
from guests import kunit
from guests.job import guest, size
from guests.kernel import build
from guests.qemu import MACHINES
from guests.selftests import selftest

SOAKED = ("kasan", "debug", "kcsan", "rt", "up", "preempt")
BARE_ONLY = ("kasan", "rt")	# these do not boot under Xen PV
INJECT = ("kasan", "debug")	# these can make allocations fail, and freeze tasks
DISTURB = ROOT / "guests" / "jobs" / "disturb.sh"
RACE_SECONDS = 5	# per case
TORTURE_SECONDS = 60
# The kernel's own test of vmalloc, without the two cases that may fail: they warn.
VMALLOC_CASES, VMALLOC_WORKERS = 11, 4
VMALLOC = "test_vmalloc.run_test_mask=6079 test_vmalloc.test_loop_count=200 " \
	f"test_vmalloc.nr_threads={VMALLOC_WORKERS}"
VMALLOC_LINE = re.compile(r"Summary: (\w+) passed: (\d+) failed: (\d+)")
SLOW = 20		# how much slower than real time a set-up may be under TCG with KASAN
MEM = 3072
# What change_pte_stress_test says when it merged pages; and swapped and aged them.
MERGED = (r"in place [1-9]",)
AGED = (r"^\W*[1-9]\d* pages swapped out", r"^\W*[1-9]\d* generations")


def machine(config: str) -> dict[str, Any]:
	"""Return options of the guests for @config, and of their runs."""
	options: dict[str, Any] = {**size(smp=2, mem=MEM), "config": config}
	options["may_warn"] = config == "kcsan"
	if config == "up":
		options["smp"] = 1
	return options


def check_kunit(tally: Tally, config: str, kind: str) -> None:
	"""Run the KUnit suites.

	Without SMP, Xen PV can't interrupt itself, so no irq_work runs, and
	mmu_notifier_unregister() waits for SRCU for ever: leave those cases out.
	"""
	append = "kunit.filter_glob=[lm][ao]*" if (config, kind) == ("up", "xen") else ""
	count_kunit(tally, f"soak {config} {kind}: kunit", f"soak {config} {kind}: kunit:",
		    partial(kunit.run_in_guest, kind, timeout=900, append=append,
			    **machine(config)))


def check_race(tally: Tally, config: str, kind: str, race: Path) -> None:
	"""Race accesses with mprotect(), then again while CPUs come and go and tasks freeze."""
	options = machine(config)
	options.update(setup=DISK, timeout=RACE_SECONDS * 60 * SLOW)
	arguments = f"-s {RACE_SECONDS} -d /disk"
	run_selftest(tally, f"soak {config} {kind}: races", kind, race, arguments, **options)
	if config == "up":
		return
	lines = run_selftest(tally, f"soak {config} {kind}: races with CPU hotplug", kind, race,
			     arguments, wrapper=DISTURB, **options)
	with tally.step(f"soak {config} {kind}: CPU 1 went and came, tasks froze"):
		done = re.search(r"^disturb: (\d+) times offline, (\d+) frozen",
				 "\n".join(lines), re.M)
		assert done and int(done[1]), "CPU 1 was never offline"
		# Xen's PV guests suspend by the hypervisor only.
		assert int(done[2]) or config not in INJECT or kind == "xen", \
			"nothing was ever frozen"


def check_torture(tally: Tally, config: str, kind: str) -> None:
	"""Change mappings at random; with allocations that fail if the kernel can."""
	starve = config in INJECT
	how = ", failing allocations" if starve else ""
	with tally.step(f"soak {config} {kind}: torture{how}"):
		lines = torture(kind, TORTURE_SECONDS, 1, starve=starve, **machine(config))
		assert "torture: passed" in lines, f"{lines[-1:]}"
		if starve:
			assert any(re.search(r" [1-9]\d* refused for lack", l) for l in lines), \
				"no allocation failed"


def check_vmalloc(tally: Tally, config: str, kind: str) -> None:
	"""Run the kernel's test of vmalloc at boot, with more threads than CPUs."""
	with tally.step(f"soak {config} {kind}: vmalloc"):
		options: dict[str, Any] = {**machine(config), "append": VMALLOC}
		may_warn, name = options.pop("may_warn"), f"soak-vmalloc-{config}-{kind}"
		vmalloc = guest(kind, "series", name, "true\n", build_it=False, **options)
		lines = vmalloc.run(name, timeout=900, may_warn=may_warn).require().lines
		cases = [m for m in map(VMALLOC_LINE.search, lines) if m]
		assert len(cases) == VMALLOC_CASES * VMALLOC_WORKERS, f"{len(cases)} cases ended"
		failed = [m[1] for m in cases if int(m[3]) or not int(m[2])]
		assert not failed, f"failed: {' '.join(failed)}"


def check_change_pte(tally: Tally, config: str, programs: Mapping[str, Path],
		     minutes: int) -> None:
	"""Run CHANGE_PTE's @programs with each of KVM's MMUs; nested guests with NESTED_MMUS."""
	seconds = minutes * 60 // len(MMUS)
	options = machine(config)
	options.update(svm=True, accel="tcg")
	busy = config == "kasan"
	for title, append in MMUS:
		options["append"] = append
		run_selftest(tally, f"soak {config}: change_pte {title}", "bare",
			     programs["change_pte_test"], "", timeout=1800, **options)
		if (title, append) in NESTED_MMUS:
			run_selftest(tally, f"soak {config}: change_pte nested {title}", "bare",
				     programs["change_pte_nested_test"], "", timeout=1800,
				     **options)
		name = f"soak {config}: change_pte stress {title}, {seconds} s"
		lines = run_selftest(tally, name, "bare", programs["change_pte_stress_test"],
				     f"-v {options['smp']} -s {seconds}",
				     setup=SWAP if busy else "true",
				     timeout=300 + seconds * SLOW, **options)
		wanted = MERGED + AGED if busy else MERGED
		with tally.step(f"{name}: pages merged{', swapped and aged' if busy else ''} "
				"meanwhile"):
			for what in wanted:
				assert re.search(what, "\n".join(lines), re.M), \
					f"not a line with '{what}'"


def check_soak(tally: Tally, config: str, minutes: int) -> None:
	"""Run everything on one kernel, the stress tests for @minutes in all; count the results."""
	programs: dict[str, Path] = {}
	with tally.step(f"soak {config}: build: series kernel, and selftests"):
		build("series", config)
		programs = {name: selftest("kvm", f"x86/{name}", config) for name in CHANGE_PTE}
		programs["race"] = selftest("mm", "modify_prot_race", config)
	if not programs:
		return
	race = programs["race"]
	start = time.time()
	for kind in MACHINES if config not in BARE_ONLY else ("bare",):
		check_kunit(tally, config, kind)
		check_race(tally, config, kind, race)
		check_torture(tally, config, kind)
		if config == "preempt":
			check_vmalloc(tally, config, kind)
	check_change_pte(tally, config, programs, minutes)
	if config == "kcsan":
		check_kcsan(tally, start, race, programs["change_pte_stress_test"],
			    {k: v for k, v in machine(config).items() if k != "may_warn"})


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("CONFIG", list(SOAKED[:2]), SOAKED, many=True)
	parser.setting("MINUTES")
	args = parser.settled()
	tally = begin()
	for config in args.config:
		check_soak(tally, config, args.minutes)
	return tally.close()


if __name__ == "__main__":
	main(_main)
