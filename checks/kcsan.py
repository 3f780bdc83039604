# SPDX-License-Identifier: GPL-2.0
"""Data races that KCSAN reported: which are in code that the series touches, and not in the base."""
import re
from pathlib import Path

from checks.in_guest import DISK, selftest_job
from checks.torture import torture
from common.command import ToolError, build_dir, run
from gates.static import touched
from guests.job import guest
from guests.kernel import build, output
from guests.qemu import MACHINES

CONFIG = "kcsan"
RACE_SECONDS = 5	# per case
REPORT = re.compile(r"BUG: KCSAN: \S+ in (\w+)\S*(?: / (\w+))?")


def reports(kernel, since):
	"""Return {the functions of a race: log} of @kernel's runs after the time @since, from their logs."""
	found = {}
	for log in sorted((build_dir() / "log").glob(f"*{CONFIG}*.log")):
		if log.stat().st_mtime < since or (f"base-{CONFIG}" in log.name) != (kernel == "base"):
			continue
		for match in REPORT.finditer(log.read_text(errors="replace")):
			found.setdefault(frozenset(filter(None, match.groups())), Path(log))
	return found


def run_base(race, stress, seconds, options):
	"""Run the races, torture and @stress (change_pte_stress_test) on the base, for reports only."""
	build("base", CONFIG)
	for kind in MACHINES:
		jobs = [("races", selftest_job(race, f"-s {seconds} -d /disk", DISK), race, {})]
		if kind == "bare":
			job = selftest_job(stress, f"-v 2 -s {60 * seconds}")
			jobs.append(("stress", job, stress, {"svm": True, "accel": "tcg"}))
		for what, job, program, more in jobs:
			name = f"soak-base-{CONFIG}-{kind}-{what}"
			guest(kind, "base", name, job, programs=[program], **options,
			      **more).run(name, timeout=1200, may_warn=True)
		try:
			torture(kind, 60, 1, kernel="base", may_warn=True, **options)
		except ToolError:
			pass	# the base fails it under Xen


def own_functions():
	"""Return the names of all functions in objects that the series touches."""
	names = set()
	for path in touched(".c"):
		for obj in (output("series", CONFIG) / path).parent.glob(f"{Path(path).stem}.o"):
			names |= set(re.findall(r" [tT] (\w+)", run(["nm", obj]).stdout))
	return names


def check_kcsan(tally, since, race, stress, options):
	"""Judge the races of runs after the time @since: those in touched code that the base has not are bad.

	The base is built and run only if there are any of the former. @race and
	@stress are the selftests, @options those of a guest.
	"""
	own = own_functions()
	series = reports("series", since)
	mine = {names for names in series if names & own}
	base = {}
	if mine:
		with tally.step("soak kcsan: the same on the base"):
			run_base(race, stress, RACE_SECONDS, options)
		base = reports("base", since)
	with tally.step("soak kcsan: no data race in touched code that the base has not"):
		assert own, "no object of the series' own"
		for names, log in series.items():
			print(f"# race in {' / '.join(sorted(names))}: {'base too, ' if names in base else ''}{log.name}")
		new = [" / ".join(sorted(names)) for names in mine if names not in base]
		assert not new, f"{'; '.join(new)}: see the logs"
