# SPDX-License-Identifier: GPL-2.0
"""Checks of what a person meets in a guest: an interactive shell, and the permissions of files."""
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence

from common.command import ROOT, StrPath
from common.tally import Tally
from guests.job import guest
from guests.kernel import KERNELS

ANSWER_LIMIT = 600	# seconds; on a machine with other work each takes long


def converse(argv: Sequence[StrPath], steps: Iterable[tuple[str, str]], limit: float) -> str:
	"""Run @argv; for each (prompt, answer) of @steps wait for one and type the other.

	Returns all output. Raises AssertionError if a prompt did not come, or
	the program did not end by itself, within @limit seconds.
	"""
	deadline, output = time.monotonic() + limit, ""
	with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
			      stderr=subprocess.STDOUT, start_new_session=True) as proc:
		assert proc.stdin and proc.stdout
		try:
			for prompt, answer in [*steps, (None, "")]:
				seen = len(output)
				while prompt is None or prompt not in output[seen:]:
					left = max(0, deadline - time.monotonic())
					ready, _, _ = select.select([proc.stdout], [], [], left)
					assert ready, f"no {prompt or 'end'} within {limit} s: " \
						f"{output[-200:]!r}"
					data = os.read(proc.stdout.fileno(), 65536)
					if not data:
						break
					output += data.decode(errors="replace")
				if prompt is not None:
					proc.stdin.write(answer.encode())
					proc.stdin.flush()
		finally:
			if proc.poll() is None:
				os.killpg(proc.pid, signal.SIGKILL)
	return output


def check_shell(tally: Tally) -> None:
	"""Type into make shell as a person would."""
	for kind in ("bare", "xen", "domU"):
		with tally.step(f"guest: make shell GUEST={kind} answers and powers off"):
			converse(["make", "shell", f"GUEST={kind}"],
				 [("/ # ", "echo answer=$((6 * 7))\n"), ("answer=42", "exit\n")],
				 ANSWER_LIMIT)


def check_permissions(tally: Tally) -> None:
	"""See that the series adds no file to proc, sysfs or debugfs that everybody may write."""
	job = """find /proc/sys /sys -type f -perm -200 2> /dev/null | sed -n '$s/.*/walked/p'
find /proc/sys /sys -type f -perm -002 2> /dev/null | sed 's/^/writable /'
"""
	with tally.step("guest: no new file is writable by everybody"):
		found = {}
		for kernel in KERNELS:
			name = f"permissions-{kernel}"
			machine = guest("bare", kernel, name, job, build_it=False)
			done = machine.run(name, timeout=120).require()
			assert "walked" in done.lines, \
				f"find saw no file that root may write: see {done.log}"
			found[kernel] = {line for line in done.lines
					 if line.startswith("writable ")}
		new = found["series"] - found["base"]
		assert not new, " ".join(sorted(new))
