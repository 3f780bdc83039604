# SPDX-License-Identifier: GPL-2.0
"""Checks of mprotect() in guests: races, random changes, and a domU that is saved and restored."""
import re
from pathlib import Path

from checks.in_guest import DISK, run_selftest
from checks.torture import torture
from common.tally import Tally
from guests.job import guest, script
from guests.selftests import selftest

RACES = (("bare", "debug"), ("xen", "debug"))	# guest and config
RACE_SECONDS = 2	# per case
MIGRATE_ROUNDS = 1	# of save, restore, one vCPU less and one more
MIGRATE_SECONDS = 0.3	# per case of the race, which is repeated meanwhile
MIGRATE_MEMORY, MIGRATE_LESS = 256, 192		# MiB
TORTURE_SECONDS, TORTURE_SEED = 15, 1


def check_races(tally: Tally) -> None:
	"""Race accesses with changes of protection: nothing may be lost."""
	for kind, config in RACES:
		program: Path | None = None
		with tally.step(f"race {kind} {config}: build"):
			program = selftest("mm", "modify_prot_race", config)
		if not program:
			continue
		run_selftest(tally, f"race {kind} {config}", kind, program,
			     f"-s {RACE_SECONDS} -d /disk", config=config, setup=DISK)


def check_torture(tally: Tally) -> None:
	"""Change mappings at random, briefly, with a fixed seed; "make torture" takes its time."""
	for kind in ("bare", "xen"):
		with tally.step(f"torture {kind}: memory is as the model says"):
			lines = torture(kind, TORTURE_SECONDS, TORTURE_SEED)
			assert "torture: passed" in lines, f"{lines[-1:]}"


def migrate_script(name: str) -> str:
	"""Return the text of guests/jobs/@name with its settings."""
	return script(name, rounds=MIGRATE_ROUNDS, seconds=MIGRATE_SECONDS, memory=MIGRATE_MEMORY,
		      less=MIGRATE_LESS)


def check_migrate(tally: Tally) -> None:
	"""Save and restore a domU, change its memory and vCPUs, while the race runs in it."""
	with tally.step("migrate domU debug: nothing is lost, nothing stays queued"):
		program = selftest("mm", "modify_prot_race", "debug")
		# Two vCPUs on one CPU, so that Xen preempts them anywhere.
		name = "migrate-domu-debug"
		machine = guest("domU", "series", name, migrate_script("migrate-guest.sh"),
				config="debug", programs=[program], smp=1, mem=2560,
				around={"inner_mem": MIGRATE_MEMORY, "inner_smp": 2,
					"scenario": migrate_script("migrate-dom0.sh")})
		result = machine.run(name, timeout=600).require()
		for want in ("saved and restored", "memory taken away and given back",
			     "vCPU 1 taken away and given back"):
			seen = [l for l in result.console
				if re.match(rf"dom0: round \d+: {want}", l)]
			assert len(seen) == MIGRATE_ROUNDS, \
				f"{len(seen)} times '{want}', not {MIGRATE_ROUNDS}"
		assert "migrate: ok" in result.lines, "no 'migrate: ok'"
		lost = [l for l in result.lines if l.startswith("not ok")]
		assert not lost, "the race has lost something"
