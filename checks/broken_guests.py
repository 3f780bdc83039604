# SPDX-License-Identifier: GPL-2.0
"""See each kind of broken guest end in its own way, with a real kernel."""
import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator

from common.command import end_with_parent
from common.tally import Tally
from guests.job import guest

HANG_LIMIT = 12		# seconds of a guest that is up in four
SLOW_LOOPS = 4
# Kind of fault, status, words of the reason, job, kernel's arguments, limit in seconds.
BROKEN = (
	("panic", "warned", "panic", "true\n", "rdinit=/bin/false", 60),
	("warning", "warned", "WARNING: of a test",
	 "echo 'WARNING: of a test' > /dev/kmsg; sleep 100\n", "", 60),
	("idle hang", "hung", "no CPU time", "sleep 1000\n", "", HANG_LIMIT),
	("endless loop", "hung", "s of CPU time", "while :; do :; done\n", "", HANG_LIMIT),
	("failing job", "failed", "status 5", "exit 5\n", "", 60),
)


@contextlib.contextmanager
def busy_cpu(loops: int) -> Iterator[None]:
	"""Share one CPU with that many endless @loops; children of this process do so too."""
	before = os.sched_getaffinity(0)
	os.sched_setaffinity(0, {min(before)})
	with contextlib.ExitStack() as stack:
		stack.callback(os.sched_setaffinity, 0, before)
		for _ in range(loops):
			proc = stack.enter_context(subprocess.Popen(
				[sys.executable, "-c", "while True: pass"],
				preexec_fn=end_with_parent))
			stack.callback(proc.kill)
		yield


def check_broken_guests(tally: Tally) -> None:
	"""See each kind of broken guest end in its own way, and a slow one to a good end."""
	for name, status, words, job, append, limit in BROKEN:
		with tally.step(f"guest: {name} is told from success"):
			machine = guest("bare", "series", "fault", job, append=append,
					build_it=False)
			result = machine.run(f"fault-{name.replace(' ', '-')}", timeout=limit)
			assert result.status == status and words in result.reason, \
				f"{result.status} ({result.reason}), wanted {status} ({words})"
	check_slow_guest(tally)


def check_slow_guest(tally: Tally) -> None:
	"""See a guest that other work makes slow come to a good end within its limit."""
	with tally.step(f"guest: one beside {SLOW_LOOPS} busy loops is slow, and in time"):
		machine = guest("bare", "series", "slow", "true\n", build_it=False)
		before = cpu_of_children()
		machine.run("slow").require()
		limit = (cpu_of_children() - before) * SLOW_LOOPS / 2
		with busy_cpu(SLOW_LOOPS):
			result = machine.run("slow", timeout=limit).require()
		assert result.seconds > limit, \
			f"it took {result.seconds:.1f} s of {limit:.1f} s, which shows nothing"


def cpu_of_children() -> float:
	"""Return the CPU time in seconds of the processes that this one has waited for."""
	used = resource.getrusage(resource.RUSAGE_CHILDREN)
	return used.ru_utime + used.ru_stime
