# SPDX-License-Identifier: GPL-2.0
"""Run what prints KTAP in a guest, and count its results."""
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from common.tally import KUnitCase, Tally
from guests.job import guest
from guests.qemu import check_tools

# A disk for what has to get there and back.
DISK = "mke2fs /dev/ram1 > /dev/null && mkdir -p /disk && mount -t ext4 /dev/ram1 /disk || exit 1"
# Swap on another one.
SWAP = "mkswap /dev/ram0 > /dev/null && swapon /dev/ram0 || exit 1"
SKIPPED = "selftest: skipped"	# by its exit status
# What a program says of a failure: KTAP's diagnostics, and a TEST_ASSERT() of KVM's selftests.
SAID = ("# ", "====", "  ")
# How a program of KVM's ends when QEMU's SVM has failed it (FAILURES.md): a triple fault, or
# exits without end and without a fault of memory. An SPTE that KVM got wrong makes it warn.
LOST = re.compile(r"exit: (?:KVM_EXIT_)?SHUTDOWN|the guest hangs .* and 0 faults per second")
KTAP = re.compile(r"^(ok|not ok) \d+ (?:- )?([^#]*?)\s*(?:# (SKIP) ?(.*))?$")


def begin() -> Tally:
	"""Print the first line of KTAP; return the Tally of the results that follow.

	Raises ToolError if a tool that guests need is missing.
	"""
	check_tools()
	print("KTAP version 1", flush=True)
	return Tally()


def count_kunit(tally: Tally, step: str, prefix: str,
		suites: Callable[[], tuple[str, list[KUnitCase]]]) -> None:
	"""Run KUnit @suites, which returns (text, cases); count the run, a @step, and the cases."""
	results: list[KUnitCase] = []
	with tally.step(f"{step}: complete run"):
		_, results = suites()
	tally.cases(prefix, results)


def selftest_job(program: Path, arguments: str, setup: str = "true",
		 wrapper: Path | None = None) -> str:
	"""Return the job that runs @program after the shell line @setup.

	The shell script @wrapper runs it if given.
	"""
	command = f"{f'sh /bin/{wrapper.name} ' if wrapper else ''}/bin/{program.name} {arguments}"
	return (f"{setup}\nmkdir -p /dev/shm; {command}; s=$?\n"
		f"[ $s = 4 ] && echo '{SKIPPED}' && s=0; exit $s\n")


def lost(lines: Iterable[str]) -> str:
	"""Return what in a program's @lines says that the emulator lost its vCPU; or ""."""
	return next((line.strip() for line in lines if LOST.search(line)), "")


def run_selftest(tally: Tally, title: str, kind: str, program: Path, arguments: str,
		 timeout: float = 300, setup: str = "true", wrapper: Path | None = None,
		 may_warn: bool = False, kernel: str = "series",
		 **options: Any) -> list[str]:
	"""Run @program in a guest after the shell line @setup; count its KTAP results, and the run.

	The @kernel is built if it is not up to date. @wrapper is the path of a shell script
	that takes the command as its arguments; @may_warn as in Guest.run(). A program that
	skips all of its tests without a word on each fails; one that the emulator has failed
	gets a second chance, and its log stays. Returns the lines.
	"""
	lines: list[str] = []
	options = {"smp": 2, **options}
	title += "" if kernel == "series" else f" {kernel}"
	with tally.step(f"{title}: complete run"):
		name = re.sub(r"[^a-z0-9]+", "-", title.lower())
		machine = guest(kind, kernel, name,
				selftest_job(program, arguments, setup, wrapper),
				programs=[program, *filter(None, [wrapper])], **options)
		result = machine.run(name, timeout=timeout, may_warn=may_warn)
		if result.status == "failed" and machine.svm and lost(result.lines):
			tally.comment(f"{title}: {lost(result.lines)}: run again, see {result.log}")
			result = machine.run(f"{name}-again", timeout=timeout, may_warn=may_warn)
		lines = result.lines
		counted = 0
		said: list[str] = []	# by the program, since the result before
		for line in lines:
			match = KTAP.match(line)
			if match:
				good = None if match[3] else match[1] == "ok"
				tally.result(f"{title}: {match[2] or match[4]}", good,
					     " ".join(said[-12:]) if good is False else "")
				said = []
				counted += 1
			elif line.startswith(SAID):
				said.append(line)
		result.require()
		assert counted or SKIPPED not in lines, \
			f"skipped all of its tests ({' '.join(said[-3:])}): see {result.log}"
	return lines
