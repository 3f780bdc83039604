# SPDX-License-Identifier: GPL-2.0
"""stress-ng's stressors of memory and processes: do they fail, and what do their operations cost?

Each runs alone with a fixed number of operations and a fixed seed, on one CPU that counts
instructions: once with FEW and once with MANY times its number. The difference is what
operations cost, without the start of stress-ng. All of that is done twice: a count that
does not repeat is left out. A second guest, with two CPUs and little memory, runs two
workers of each stressor, and those that bring the OOM killer.
"""
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from checks.outcomes import WARNED, Report, outcome
from common.apt import package_version, unpacked
from common.command import ROOT
from common.tally import Tally
from guests.initramfs import compile_static
from guests.job import guest
from guests.libraries import libraries
from guests.qemu import Guest

PACKAGE, SUITE = "stress-ng", "bookworm"
FEW, MANY = 1, 3
REPEATS = 2
# A count repeats if two runs differ by less; the series is not dearer than the base by more.
REPEATED, DEARER = 1.01, 1.01
# Seconds of the guest's clock for one run: under -icount a billion instructions are one.
LIMIT, OOM_LIMIT = 20, 120
# Stressor: operations, and options that make it small. "vm" counts 4096 operations as one.
STRESSORS = {
	"bigheap": "300",
	"brk": "5000",
	"clone": "30",
	"daemon": "100",
	"dev-shm": "1",
	"fault": "1000",
	"fork": "50",
	"madvise": "1",
	"malloc": "5000",
	"memfd": "4 --memfd-fds 8 --memfd-bytes 2m",
	"mincore": "50",
	"mlock": "500",
	"mmap": "2 --mmap-bytes 1m",
	"mmapaddr": "1000",
	"mmapfixed": "1",
	"mmaphuge": "5",
	"mmapmany": "1000",
	"mprotect": "5000",
	"mremap": "10 --mremap-bytes 256k",
	"msync": "500 --msync-bytes 1m",
	"munmap": "3000",
	"pagemove": "10 --pagemove-bytes 256k",
	"pageswap": "1000",
	"pkey": "1000",
	"remap": "1",
	"resources": "1",
	"rmap": "100",
	"shm": "4 --shm-bytes 1m --shm-objs 4",
	"sigsegv": "5000",
	"stackmmap": "50",
	"userfaultfd": "2000 --userfaultfd-bytes 1m",
	"vfork": "500",
	"vforkmany": "2000",
	"vm": "300 --vm-bytes 1m",
	"vm-segv": "50",
}
# Of these, runs don't count.
UNCOUNTED = {
	"resources": "it sleeps for a second, or does not",
	"vforkmany": "its operations are not its work",
}
# In the guest with little memory, until they have made it run out.
OOM = {
	"bigheap": "400 --bigheap-growth 4m",
	"brk": "150000",
	"mmapfork": "2",
}
# MiB of the guest with little memory. Of a machine with Xen, dom0 gets five eighths.
SMALL = {"bare": 512, "xen": 832}


def version() -> str:
	"""Return "package version" of stress-ng, as it was unpacked."""
	return package_version(unpacked((PACKAGE,), SUITE), PACKAGE)


def command(stressor: str, text: str, times: int = 1, workers: int = 1) -> str:
	"""Return the command that runs @stressor; @text is its entry in a table above."""
	ops, _, more = text.partition(" ")
	return f"stress-ng --{stressor} {workers} --{stressor}-ops {int(ops) * times} {more} " \
	       "--verify --seed 1 --timeout 0"


def runs(chosen: Iterable[str]) -> Iterator[tuple[str, str]]:
	"""Yield (name, command) of the runs that count instructions, of the @chosen stressors."""
	for stressor in chosen:
		if stressor not in STRESSORS or stressor in UNCOUNTED:
			continue
		for repeat in range(REPEATS):
			for times in (FEW, MANY):
				yield f"{stressor}.{times}.{repeat}", \
				      command(stressor, STRESSORS[stressor], times)


def stresses(chosen: Iterable[str]) -> Iterator[tuple[str, str]]:
	"""Yield (name, command) of the runs with two workers, and of those that eat all memory."""
	for stressor in chosen:
		if stressor in STRESSORS:
			yield stressor, command(stressor, STRESSORS[stressor], workers=2)
		if stressor in OOM:
			yield f"{stressor}-oom", command(stressor, OOM[stressor], workers=2)


def machine(kind: str, kernel: str, config: str, name: str, commands: Iterable[tuple[str, str]],
	    limit: int, **options: Any) -> Guest:
	"""Return the Guest @name that runs @commands, (name, command), @limit seconds each."""
	root = unpacked((PACKAGE,), SUITE)
	program = root / "usr" / "bin" / "stress-ng"
	counted = compile_static(ROOT / "guests" / "programs" / "counted.c", "counted")
	job = "mkdir -p /dev/shm /dev/pts; mount -t tmpfs tmpfs /dev/shm; cd /tmp; dmesg -n 1\n" + \
	      "".join(f"counted {run} busybox timeout -k 5 {limit} {text}\n"
		      for run, text in commands) + \
	      f"echo \"# out of memory: $(dmesg | grep -c 'Out of memory') times\"\n" \
	      f"{WARNED}\ntrue\n"
	return guest(kind, kernel, name, job, config=config, programs=[program, counted],
		     files=libraries([program], root), build_it=False, append="norandmaps",
		     **options)


@dataclass
class Cost:
	"""What a stressor came to: the @statuses of its runs, their @ticks by (times, repeat)."""
	ops: int = 1
	statuses: list[str] = field(default_factory=list)
	ticks: dict[tuple[int, int], int] = field(default_factory=dict)

	def each(self) -> list[float]:
		"""Return the instructions per operation, of each repeat."""
		return [(self.ticks[MANY, i] - self.ticks[FEW, i]) / (MANY - FEW) / self.ops
			for i in range(REPEATS)
			if (FEW, i) in self.ticks and (MANY, i) in self.ticks]

	def repeats(self) -> bool:
		"""Return whether the counts of both repeats are as good as the same."""
		found = self.each()
		return len(found) == REPEATS and min(found) > 0 and \
			max(found) / min(found) < REPEATED

	def report(self) -> Report:
		"""Return how its runs ended, as a Report."""
		bad = [status for status in self.statuses if status != "0"]
		word = outcome(bad[0] if bad else "0") if self.statuses else "no result"
		return (word, Counter(), sorted(set(bad)))


def parse(lines: Iterable[str]) -> dict[str, Cost]:
	"""Return {stressor: its Cost} of a console's @lines."""
	found: dict[str, Cost] = {}
	for line in lines:
		match = re.match(r"^== end ([\w-]+)(?:\.(\d+)\.(\d+))? (\d+) (\d+)$", line)
		if not match:
			continue
		name, times, repeat, status, ticks = match.groups()
		ops = int(STRESSORS.get(name, "1").split()[0])
		cost = found.setdefault(name, Cost(ops))
		cost.statuses.append(status)
		if times:
			cost.ticks[int(times), int(repeat)] = int(ticks)
	return found


def spread(cost: Cost) -> str:
	"""Return by how much the counts of @cost differ, as text."""
	found = cost.each()
	if len(found) < REPEATS or min(found) <= 0:
		return "no count"
	return f"{100 * (max(found) / min(found) - 1):.1f} %"


def count(tally: Tally, title: str, base: dict[str, Cost], series: dict[str, Cost],
	  reasons: dict[str, str]) -> list[str]:
	"""Count each stressor's cost as one result; return the table's lines.

	A stressor whose count is known not to repeat, or to be dearer, has one of @reasons.
	"""
	lines = ["# instructions per operation",
		 f"{'guest':<9} {'stressor':<14} {'operations':>10}{'base':>12}{'series':>12}"
		 f"{'ratio':>8}"]
	for name in base | series:
		old, new = base.get(name, Cost()), series.get(name, Cost())
		left = f"{title:<9} {name:<14} {new.ops * (MANY - FEW):>10}"
		if not old.each() or not new.each():
			tally.result(f"stress-ng {title} {name}: has a count", False,
				     "a run failed")
			lines.append(f"{left}  no count")
			continue
		ratio = sum(new.each()) / sum(old.each()) if min(old.each()) > 0 else 0
		dearer = min(new.each()) > DEARER * max(old.each())
		repeats = old.repeats() and new.repeats()
		remark = reasons.get(name, "")
		if not repeats:
			remark = remark or f"does not repeat: base {spread(old)}, " \
					   f"series {spread(new)}"
		if repeats:
			means = [sum(cost.each()) / REPEATS for cost in (old, new)]
			left += f"{means[0]:>12.0f}{means[1]:>12.0f}{ratio:>8.3f}"
		else:
			left += f"{'-':>12}{'-':>12}{'-':>8}"
		tally.result(f"stress-ng {title} {name}: not dearer", not dearer or name in reasons,
			     f"base {old.each()}, series {new.each()} instructions")
		lines.append(f"{left}  {remark}".rstrip())
	return lines + [f"{title:<9} {name:<47} not counted: {why}"
			for name, why in UNCOUNTED.items()]
