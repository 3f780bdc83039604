# SPDX-License-Identifier: GPL-2.0
"""Run a program that prints KTAP in a guest, and count its results."""
import re
from guests.job import guest

# A disk for what has to get there and back.
DISK = "mke2fs /dev/ram1 > /dev/null && mkdir -p /disk && mount -t ext4 /dev/ram1 /disk || exit 1"
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
