# SPDX-License-Identifier: GPL-2.0
"""Checks of KVM in guests: SPTEs that are changed in place, on each of its MMUs."""
import re
from collections.abc import Iterable
from pathlib import Path

from checks.in_guest import run_selftest
from common.tally import Tally
from guests.selftests import selftest

CHANGE_PTE = ("change_pte_test", "change_pte_stress_test", "change_pte_nested_test")
MMUS = (("TDP MMU", ""), ("shadow paging", "kvm.tdp_mmu=0 kvm_amd.npt=0"),
	("NPT, shadow MMU", "kvm.tdp_mmu=0"))
NESTED_MMUS = (MMUS[0], MMUS[2])	# what guests of guests are tested with: those with NPT
STRESS_SECONDS = 30
SPLIT_SECONDS, SPLIT_DEBUG_SECONDS = 5, 15


def check_change_pte(tally: Tally) -> None:
	"""Change SPTEs in place, on each of KVM's MMUs, in a guest that runs it; then stress it."""
	programs: list[Path] = []
	with tally.step("change_pte: build"):
		programs = [selftest("kvm", f"x86/{name}") for name in CHANGE_PTE]
	if not programs:
		return
	program, stress, nested = programs
	for title, append in MMUS:
		lines = run_selftest(tally, f"change_pte {title}", "bare", program, "", svm=True,
				     accel="tcg", append=append)
		if not append:
			with tally.step("change_pte TDP MMU: no fault after COW nor KSM merge"):
				quiet = [l for l in lines if re.match(
					r"# plain: read after (COW by the host|KSM merge):.* "
					r"faults 0 ", l)]
				assert len(quiet) == 2, f"{len(quiet)} of 2 without faults"
			with tally.step("change_pte TDP MMU: one fault per page that is copied"):
				once = [l for l in lines if re.match(
					r"# plain: write (that makes the host COW|after KSM merge)"
					r": 64 pages, .* faults 6[4-9] ", l)]
				assert len(once) == 3, f"{len(once)} of 3 with one per page"
	run_selftest(tally, "change_pte stress", "bare", stress, f"-v 2 -s {STRESS_SECONDS}",
		     svm=True, accel="tcg")
	for title, append in NESTED_MMUS:
		run_selftest(tally, f"change_pte nested {title}", "bare", nested, "", svm=True,
			     accel="tcg", append=append)


def split_stress(lines: Iterable[str]) -> bool:
	"""Return whether split_notify_test's @lines say that its stress had what it is about."""
	found = re.search(r"^stress: (\d+) splits, of (\d+) huge SPTEs, "
			  r".* (\d+) times by khugepaged", "\n".join(lines), re.M)
	return found is not None and all(int(n) for n in found.groups())


def check_split(tally: Tally, kernel: str = "series") -> None:
	"""See that a guest keeps what does not change beside splits of VMAs."""
	program: Path | None = None
	with tally.step("split_notify: build"):
		program = selftest("kvm", "x86/split_notify_test")
	if not program:
		return
	for title, append in MMUS:
		run_selftest(tally, f"split_notify {title}", "bare", program,
			     f"-s {SPLIT_SECONDS}", svm=True, accel="tcg", append=append,
			     kernel=kernel)
	lines = run_selftest(tally, "split_notify debug", "bare", program,
			     f"-s {SPLIT_DEBUG_SECONDS}", config="debug", svm=True, accel="tcg",
			     kernel=kernel)
	with tally.step("split_notify debug: huge pages came, by khugepaged too, and were split"):
		assert split_stress(lines), "not seen"


def check_hints(tally: Tally, kernel: str = "series") -> None:
	"""See that a guest keeps what NUMA balancing scans and makes no hints of."""
	program: Path | None = None
	with tally.step("numa_hint: build"):
		program = selftest("kvm", "x86/numa_hint_test", "debug")
	if program:
		run_selftest(tally, "numa_hint debug", "bare", program, "", config="debug",
			     svm=True, accel="tcg", append="numa=fake=2", kernel=kernel)
