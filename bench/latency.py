# SPDX-License-Identifier: GPL-2.0
"""How long locks are held, and a guest stands still, while KSM and COW replace its pages.

  python3 -m bench.latency

A guest with KVM runs change_pte_perf_test and change_pte_latency_test on kernels with
LOCK_STAT, PREEMPT and NUMA balancing, base and series. From /proc/lock_stat, for the locks of
page tables and KVM's mmu_lock, in microseconds: how often they were taken and contended, how
long a holder had to wait on average, how long they were held on average and at most. And the
longest time from one interrupt of a guest's timer to the next (longest_gap_us).

All but "running" is on one CPU, where a microsecond is a thousand instructions (-icount), so
that what a lock's holder was interrupted by is in it, and nothing else. "running" is that of vCPUs
that run while their pages are merged, on CPUs of their own, by the clock: locks are contended
there, and the most is as much the emulator's as the kernel's.
"""
import re
from collections.abc import Iterable
from dataclasses import dataclass

from bench.kvm import COUNTED, MMUS, PROGRAM, RUNNING, RUNNING_CPUS
from bench.matrix import KVM_HOST
from bench.table import keep
from common.command import EXIT_GUEST, ToolError, main
from common.result import Result, parse
from common.settings import Parser
from guests.job import guest
from guests.kernel import KERNELS, build, known_kernels
from guests.selftests import selftest

CONFIG = "latency"
TIMER_PROGRAM = "x86/change_pte_latency_test"
TIMER = "timer"	# the locks while that runs
METRICS = ("longest_gap_us", "mean_gap_us")
LOCKS = ("ptlock_ptr(ptdesc)", "&(kvm)->mmu_lock-W", "&(kvm)->mmu_lock-R")
# A class of locks that has a name for the second time is "name#2", a nested one "name/1".
LINE = re.compile(r"lock (\S+) (\S+?)(?:#\d+)?(?:/\d+)?(-[RW])?:((?: +[\d.]+){12})$")


@dataclass
class Held:
	"""What /proc/lock_stat says of a lock, times in microseconds."""
	contended: int = 0
	waited: float = 0
	taken: int = 0
	longest: float = 0
	held: float = 0

	def add(self, numbers: list[float]) -> None:
		"""Add the @numbers of a line of /proc/lock_stat."""
		self.contended += int(numbers[1])
		self.waited += numbers[4]
		self.taken += int(numbers[7])
		self.longest = max(self.longest, numbers[9])
		self.held += numbers[10]


@dataclass
class Found:
	"""What a guest printed: {(bench, lock): Held}, and how long its vCPU stood still."""
	locks: dict[tuple[str, str], Held]
	gaps: list[Result]


def job(commands: dict[str, str]) -> str:
	"""Return the script that runs @commands, {bench: command}, and prints the locks of each."""
	return "mount -t debugfs none /sys/kernel/debug 2> /dev/null\n" \
	       "cd /sys/kernel/debug/sched/numa_balancing && echo 100 > scan_delay_ms\n" + \
	       "".join(f"""echo 0 > /proc/lock_stat
/bin/{command} || exit 1
sed -n 's/^ *\\([^ ]*: .*\\)/lock {bench} \\1/p' /proc/lock_stat
""" for bench, command in commands.items())


def read(lines: Iterable[str], kernel: str) -> Found:
	"""Return what a guest's @lines say; raise ValueError if a lock was never taken."""
	lines = list(lines)
	locks: dict[tuple[str, str], Held] = {}
	for match in filter(None, map(LINE.match, lines)):
		name = match[2] + (match[3] or "")
		if name in LOCKS:
			held = locks.setdefault((match[1], name), Held())
			held.add([float(word) for word in match[4].split()])
	if not locks:
		raise ValueError("no lock of a page table was taken")
	return Found(locks, [r for r in parse(lines, kernel, KVM_HOST) if r.metric in METRICS])


def measure(kernel: str, append: str, counts: bool) -> Found:
	"""Run what @counts instructions, or takes several CPUs, on @kernel, which is built.

	@append goes to its command line. Raises ToolError if the guest did not end well.
	"""
	program, timer = selftest("kvm", PROGRAM), selftest("kvm", TIMER_PROGRAM)
	commands = {bench: f"{program.name} -b {bench}"
		    for bench in (COUNTED if counts else (RUNNING,))}
	if counts:
		commands[TIMER] = timer.name
	name = f"latency-{kernel}-{'counted' if counts else RUNNING}"
	machine = guest("bare", kernel, name, job(commands), config=CONFIG,
			programs=[program, timer], icount=counts,
			smp=1 if counts else RUNNING_CPUS, svm=True,
			append=f"{append} numa=fake=2", build_it=False)
	done = machine.run(name, timeout=1800).require()
	try:
		return read(done.lines, kernel)
	except ValueError as error:
		raise ToolError(f"{error}: see {done.log}", EXIT_GUEST) from error


def table(found: dict[tuple[str, str], Found]) -> str:
	"""Return {(kernel, suffix of the case): Found} as text."""
	lines = [f"{'bench':<20}{'kernel':<8}{'lock':<20}{'taken':>9}{'contended':>10}"
		 f"{'waited':>8}{'held':>8}{'at most':>9}"]
	for (kernel, suffix), of_kernel in found.items():
		lines += [f"{bench + suffix:<20}{kernel:<8}{lock:<20}{held.taken:>9}"
			  f"{held.contended:>10}{held.waited / max(held.contended, 1):>8.1f}"
			  f"{held.held / held.taken:>8.2f}{held.longest:>9.1f}"
			  for (bench, lock), held in of_kernel.locks.items()]
	lines += ["", f"{'case':<20}{'kernel':<8}{'metric':<16}{'median':>9}{'min':>9}{'max':>9}"]
	lines += [f"{gap.case + suffix:<20}{kernel:<8}{gap.metric:<16}{gap.value:>9.1f}"
		  f"{gap.min:>9.1f}{gap.max:>9.1f}"
		  for (kernel, suffix), of_kernel in found.items() for gap in of_kernel.gaps]
	return "\n".join(lines) + "\n"


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("KERNEL", list(KERNELS), known_kernels(), many=True)
	args = parser.settled()
	found = {}
	for kernel in args.kernel:
		build(kernel, CONFIG)
	for suffix, append in MMUS:
		for kernel in args.kernel:
			counted, running = (measure(kernel, append, c) for c in (True, False))
			found[kernel, suffix] = Found(counted.locks | running.locks, counted.gaps)
	keep("latency.txt", table(found))
	return 0


if __name__ == "__main__":
	main(_main)
