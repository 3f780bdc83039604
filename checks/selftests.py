# SPDX-License-Identifier: GPL-2.0
"""Selftests of the series, run in guests: races of mprotect(), KVM's SPTEs in place."""
import re

from checks.torture import torture
from common.command import ROOT
from guests.job import guest
from guests.selftests import selftest

RACES = (("bare", "debug"), ("xen", "debug"))	# guest and config
RACE_SECONDS = 2	# per case
MIGRATE_ROUNDS = 1	# of save, restore, one vCPU less and one more
MIGRATE_SECONDS = 0.3	# per case of the race, which is repeated meanwhile
MMUS = (("TDP MMU", ""), ("shadow paging", "kvm.tdp_mmu=0 kvm_amd.npt=0"), ("NPT, shadow MMU", "kvm.tdp_mmu=0"))
CHANGE_PTE = ("change_pte_test", "change_pte_stress_test")
STRESS_SECONDS = 30
# A disk for what has to get there and back.
DISK = "mke2fs /dev/ram1 > /dev/null && mkdir -p /disk && mount -t ext4 /dev/ram1 /disk || exit 1"
TORTURE_SECONDS, TORTURE_SEED = 15, 1
KTAP = re.compile(r"^(ok|not ok) \d+ (?:- )?([^#]*?)\s*(?:# (SKIP) ?(.*))?$")


def selftest_job(program, arguments, setup="true", wrapper=None):
	"""Return the job that runs @program after the shell line @setup, by the shell script @wrapper if given."""
	command = f"{f'sh /bin/{wrapper.name} ' if wrapper else ''}/bin/{program.name} {arguments}"
	return f"{setup}\nmkdir -p /dev/shm; {command}; s=$?; [ $s = 4 ] && s=0; exit $s\n"


def run_selftest(tally, title, kind, program, arguments, timeout=300, setup="true", wrapper=None,
		 may_warn=False, **options):
	"""Run @program in a guest after the shell line @setup; count its KTAP results, and the run.

	@wrapper is the path of a shell script that takes the command as its
	arguments; @may_warn as in Guest.run(). Returns the lines.
	"""
	lines = []
	with tally.step(f"{title}: complete run"):
		name = re.sub(r"[^a-z0-9]+", "-", title.lower())
		machine = guest(kind, "series", name, selftest_job(program, arguments, setup, wrapper),
				programs=[program, *filter(None, [wrapper])], **{"smp": 2, **options})
		result = machine.run(name, timeout=timeout, may_warn=may_warn)
		lines = result.lines
		for match in filter(None, map(KTAP.match, lines)):
			good = None if match[3] else match[1] == "ok"
			tally.result(f"{title}: {match[2] or match[4]}", good)
		result.require()
	return lines


def check_races(tally):
	"""Race accesses with changes of protection: nothing may be lost."""
	for kind, config in RACES:
		program = None
		with tally.step(f"race {kind} {config}: build"):
			program = selftest("mm", "modify_prot_race", config)
		if not program:
			continue
		run_selftest(tally, f"race {kind} {config}", kind, program, f"-s {RACE_SECONDS} -d /disk",
			     config=config, setup=DISK)


def check_scan(tally):
	"""Scan pages for writes while they migrate between two nodes; Xen's PV guests have one."""
	program = None
	with tally.step("scan bare debug: build"):
		program = selftest("mm", "pagemap_scan_migration", "debug")
	if program:
		run_selftest(tally, "scan bare debug", "bare", program, "", config="debug",
			     append="numa=fake=2")


def check_torture(tally):
	"""Change mappings at random, briefly and with a fixed seed; "make torture" takes its time."""
	for kind in ("bare", "xen"):
		with tally.step(f"torture {kind}: memory is as the model says"):
			lines = torture(kind, TORTURE_SECONDS, TORTURE_SEED)
			assert "torture: passed" in lines, f"{lines[-1:]}"


def migrate_script(name):
	"""Return the text of guests/jobs/@name with its settings."""
	return f"rounds={MIGRATE_ROUNDS}\nseconds={MIGRATE_SECONDS}\n" + \
		(ROOT / "guests" / "jobs" / name).read_text()


def check_migrate(tally):
	"""Save and restore a domU, and change its vCPUs, while the race runs in it."""
	with tally.step("migrate domU debug: nothing is lost, nothing stays queued"):
		program = selftest("mm", "modify_prot_race", "debug")
		# Two vCPUs on one CPU, so that Xen preempts them anywhere.
		machine = guest("domU", "series", "migrate-domu-debug", migrate_script("migrate-guest.sh"),
				config="debug", programs=[program], smp=1, mem=2560,
				around={"inner_mem": 256, "inner_smp": 2,
					"scenario": migrate_script("migrate-dom0.sh")})
		result = machine.run("migrate-domu-debug", timeout=600).require()
		for want in ("saved and restored", "vCPU 1 taken away and given back"):
			seen = [l for l in result.console if re.match(rf"dom0: round \d+: {want}", l)]
			assert len(seen) == MIGRATE_ROUNDS, f"{len(seen)} times '{want}', not {MIGRATE_ROUNDS}"
		assert "migrate: ok" in result.lines, "no 'migrate: ok'"
		assert not [l for l in result.lines if l.startswith("not ok")], "the race has lost something"


def check_change_pte(tally):
	"""Change SPTEs in place, on each of KVM's MMUs, in a guest that runs KVM; then stress it."""
	programs = []
	with tally.step("change_pte: build"):
		programs = [selftest("kvm", f"x86/{name}") for name in CHANGE_PTE]
	if not programs:
		return
	program, stress = programs
	for title, append in MMUS:
		lines = run_selftest(tally, f"change_pte {title}", "bare", program, "-s 0", svm=True,
				     accel="tcg", append=append)
		lines = run_selftest(tally, f"change_pte {title}", "bare", program, "", svm=True,
				     accel="tcg", append=append)
		if not append:
			with tally.step("change_pte TDP MMU: no fault after COW nor KSM merge"):
				quiet = [l for l in lines if re.match(
					r"# plain: read after (COW by the host|KSM merge):.* "
					r"faults 0 ", l)]
				assert len(quiet) == 2, f"{len(quiet)} of 2 lines without faults"
	run_selftest(tally, "change_pte stress", "bare", stress, f"-v 2 -s {STRESS_SECONDS}",
		     svm=True, accel="tcg")
