# SPDX-License-Identifier: GPL-2.0
"""make irqsoff: the longest time with interrupts off during mprotect(), in microseconds.

  make irqsoff GUEST="bare xen" KERNEL="base series"

By the kernel's irqsoff tracer. A microsecond is a thousand instructions of guest and
hypervisor, as QEMU counts them (-icount), those of the tracer included. The rows:

  anon        4096 pages, read-only and writable in turn
  folio       512 pages that are one folio of ext4's
  preempted   as anon, while another process preempts it every WAKER microseconds
  idle        nothing: what the rest of the kernel comes to

For each the function that turned interrupts off and the one that turned them on again.
"""
import re
from collections.abc import Iterable
from dataclasses import dataclass

from bench.matrix import EXT4_SETUP
from bench.programs import costs_program, ext4_image
from bench.table import keep
from common.command import EXIT_GUEST, ToolError, main
from common.settings import Parser
from guests.job import guest
from guests.kernel import KERNELS, build, known_kernels
from guests.qemu import MACHINES

CONFIG = "irqsoff"
WAKER = 150
TRACING = "/sys/kernel/tracing"
ROWS = {
	"anon": "page_costs mprotect anon-4k 4096",
	"folio": "page_costs mprotect file-2m 512 /mnt",
	"preempted": f"WAKER={WAKER} page_costs mprotect anon-4k 4096",
	"idle": "echo 1 > $TRACING_ON; sleep 1; echo 0 > $TRACING_ON",
}
# The tracer has its maximum, and where that was, in the head of the trace.
JOB = f"""\
export TRACING_ON={TRACING}/tracing_on
trace() {{
	cd {TRACING} || exit 1
	echo 0 > tracing_on
	echo irqsoff > current_tracer || exit 1
	echo 0 > tracing_max_latency
	sh -c "$2" || exit 1
	echo "irqsoff $1 max $(cat tracing_max_latency)"
	sed -n "s/^# *=> \\(started\\|ended\\) at: */irqsoff $1 \\1 /p" trace
	echo nop > current_tracer
	cd /
}}
"""
LINE = re.compile(r"irqsoff (\w+) (max|started|ended) (\S+)$")


@dataclass
class Longest:
	"""The longest time of a row, in microseconds, and between which functions."""
	us: int = -1
	started: str = "?"
	ended: str = "?"


def parse(lines: Iterable[str]) -> dict[str, Longest]:
	"""Return {row: Longest} of a guest's @lines; raise ValueError if one of ROWS is missing."""
	found: dict[str, Longest] = {}
	for match in filter(None, map(LINE.match, lines)):
		longest = found.setdefault(match[1], Longest())
		if match[2] == "max":
			longest.us = int(match[3])
		else:
			setattr(longest, match[2], match[3])
	missing = [row for row in ROWS if row not in found or found[row].us < 0]
	if missing:
		raise ValueError(f"no result of '{missing[0]}'")
	return found


def irqsoff(kind: str, kernel: str) -> dict[str, Longest]:
	"""Trace all ROWS on @kernel in a guest of @kind; return {row: Longest}.

	The kernel was built before. Raises ToolError if the guest did not end well.
	"""
	name = f"irqsoff-{kernel}-{kind}"
	job = JOB + "\n".join(EXT4_SETUP) + "\n"
	job += "\n".join(f"trace {row} '{command}'" for row, command in ROWS.items()) + "\n"
	machine = guest(kind, kernel, name, job, config=CONFIG, build_it=False, icount=True, smp=1,
			programs=[costs_program()], files=[("/ext4.img", ext4_image())])
	done = machine.run(name, timeout=1800).require()
	try:
		return parse(done.lines)
	except ValueError as error:
		raise ToolError(f"{error}: see {done.log}", EXIT_GUEST) from error


def table(found: dict[tuple[str, str], dict[str, Longest]]) -> str:
	"""Return {(kind, kernel): {row: Longest}} as text."""
	lines = [f"{'guest':<6}{'kernel':<9}{'row':<11}{'us':>6}  between"]
	lines += [f"{kind:<6}{kernel:<9}{row:<11}{longest.us:>6}  {longest.started} {longest.ended}"
		  for (kind, kernel), rows in found.items() for row, longest in rows.items()]
	return "\n".join(lines) + "\n"


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("GUEST", list(MACHINES), MACHINES, many=True)
	parser.setting("KERNEL", list(KERNELS), known_kernels(), many=True)
	args = parser.settled()
	found = {}
	for kernel in args.kernel:
		build(kernel, CONFIG)
		for kind in args.guest:
			found[kind, kernel] = irqsoff(kind, kernel)
	keep("irqsoff.txt", table(found))
	return 0


if __name__ == "__main__":
	main(_main)
