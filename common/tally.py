# SPDX-License-Identifier: GPL-2.0
"""Counts what make test ran and prints it as KTAP."""
import contextlib
import sys
import time
import traceback
from collections.abc import Iterable, Iterator

from common.command import ToolError

Good = bool | None	# None: skipped
KUnitCase = tuple[str, str]	# (name, status)


class Tally:
	"""One line per result on stdout; @failures keeps names and notes for the end."""

	def __init__(self) -> None:
		self.passed, self.failed, self.skipped = 0, 0, 0
		self.failures: dict[str, str] = {}

	def result(self, name: str, good: Good, note: str = "") -> Good:
		"""Count one result: @good is True, False, or None for skipped; return it."""
		number = self.passed + self.failed + self.skipped + 1
		word = "not ok" if good is False else "ok"
		tail = " # SKIP" if good is None else ""
		note = " ".join(note.split())
		why = f" {note}" if tail and note else ""
		print(f"{word} {number} - {name}{tail}{why}",
		      file=sys.__stdout__, flush=True)	# unittest swallows stdout
		if not tail:
			self.comment(note)
		if good:
			self.passed += 1
		elif good is None:
			self.skipped += 1
		else:
			self.failed += 1
			self.failures[name] = note
		return good

	def comment(self, text: str) -> None:
		"""Print @text between the results, unless it is empty."""
		if text:
			print(f"# {text}", file=sys.__stdout__, flush=True)

	@contextlib.contextmanager
	def step(self, name: str) -> Iterator[None]:
		"""Count a block as one result: an exception is a failure.

		All but ToolError and AssertionError are mistakes of the tooling, and leave a trace.
		"""
		start = time.monotonic()
		try:
			yield
		except (ToolError, AssertionError) as error:
			self.result(name, False, str(error))
		except Exception as error:  # pylint: disable=broad-exception-caught
			traceback.print_exc()
			self.result(name, False, f"{type(error).__name__}: {error}")
		else:
			self.result(name, True, f"{time.monotonic() - start:.0f} s")

	def cases(self, prefix: str, results: Iterable[KUnitCase]) -> None:
		"""Count KUnit cases, [(name, status)]."""
		for name, status in results:
			good = {"PASS": True, "SKIP": None}.get(status, False)
			self.result(f"{prefix} {name}", good, "" if good else status)

	def close(self) -> int:
		"""Print the closing line; return the exit status."""
		for name, note in self.failures.items():
			print(f"# failed: {name}{f': {note}' if note else ''}")
		tail = f", {self.skipped} skipped" if self.skipped else ""
		print(f"{self.passed} passed, {self.failed} failed{tail}", flush=True)
		return 1 if self.failed or not self.passed else 0
