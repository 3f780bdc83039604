# SPDX-License-Identifier: GPL-2.0
"""Data races that KCSAN reported: those in code that the series touches, and not in the base."""
import re
from pathlib import Path
from typing import Any

from checks.in_guest import DISK, selftest_job
from checks.torture import torture
from common.command import ToolError, build_dir, run
from common.tally import Tally
from gates.static import touched
from guests.job import guest
from guests.kernel import build, output
from guests.qemu import MACHINES

CONFIG = "kcsan"
RACE_SECONDS = 5	# per case
Races = dict[frozenset[str], Path]	# {names of a race's functions: log}
# The base's as well, in code that is as it was, though a short run on it may not show them.
KNOWN = {frozenset({"kvm_mmu_faultin_pfn", "kvm_mmu_notifier_invalidate_range_start"}):
	 "mmu_invalidate_retry_gfn_unsafe() may read a stale range"}
REPORT = re.compile(r"BUG: KCSAN: \S+ in (\w+)\S*(?: / (\w+))?")


def reports(kernel: str, since: float) -> Races:
	"""Return the races of @kernel's runs after the time @since, from their logs."""
	found: Races = {}
	for log in sorted((build_dir() / "log").glob(f"*{CONFIG}*.log")):
		base = f"base-{CONFIG}" in log.name
		if log.stat().st_mtime < since or base != (kernel == "base"):
			continue
		for match in REPORT.finditer(log.read_text(errors="replace")):
			found.setdefault(frozenset(filter(None, match.groups())), Path(log))
	return found


def run_base(race: Path, stress: Path, seconds: int, options: dict[str, Any]) -> None:
	"""Run the races, torture and @stress (change_pte_stress_test) on the base, for reports."""
	build("base", CONFIG)
	for kind in MACHINES:
		jobs: list[tuple[str, str, Path, dict[str, Any]]] = [
			("races", selftest_job(race, f"-s {seconds} -d /disk", DISK), race, {})]
		if kind == "bare":
			job = selftest_job(stress, f"-v 2 -s {60 * seconds}")
			jobs.append(("stress", job, stress, {"svm": True, "accel": "tcg"}))
		for what, job, program, more in jobs:
			name = f"soak-base-{CONFIG}-{kind}-{what}"
			guest(kind, "base", name, job, programs=[program],
			      **{**options, **more}).run(name, timeout=1200, may_warn=True)
		try:
			torture(kind, 60, 1, kernel="base", may_warn=True, **options)
		except ToolError:
			pass	# the base fails it under Xen


def own_functions() -> set[str]:
	"""Return the names of all functions in objects that the series touches."""
	names: set[str] = set()
	for path in touched(".c"):
		for obj in (output("series", CONFIG) / path).parent.glob(f"{Path(path).stem}.o"):
			names |= set(re.findall(r" [tT] (\w+)", run(["nm", obj]).stdout))
	return names


def check_kcsan(tally: Tally, since: float, race: Path, stress: Path,
		options: dict[str, Any]) -> None:
	"""Judge the races of runs after the time @since.

	Those in touched code are bad if the base does not have them. The base is built and
	run only if there are races in touched code that are not KNOWN. @race and @stress are
	the selftests, @options those of a guest.
	"""
	own = own_functions()
	series = reports("series", since)
	mine = {names for names in series if names & own} - KNOWN.keys()
	base: Races = {}
	if mine:
		with tally.step("soak kcsan: the same on the base"):
			run_base(race, stress, RACE_SECONDS, options)
		base = reports("base", since)
	with tally.step("soak kcsan: no data race in touched code that the base does not have"):
		assert own, "no object of the series' own"
		for names, log in series.items():
			why = KNOWN.get(names) or ("base too" if names in base else "")
			where = f"{why}{', ' if why else ''}{log.name}"
			print(f"# race in {' / '.join(sorted(names))}: {where}")
		new = [" / ".join(sorted(names)) for names in mine if names not in base]
		assert not new, f"{'; '.join(new)}: see the logs"
