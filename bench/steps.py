# SPDX-License-Identifier: GPL-2.0
"""Long work in steps: what runs now, how many of how many, how long it has taken and may take.

Says nothing if standard error is not a terminal. What each step took is kept in
build/bench/durations.json: from the second time on, the guess of what is left is
made of those.
"""
import json
import sys
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from common.command import ToolError, build_dir, replaced, say, set_context

T = TypeVar("T")


def clock(seconds: float) -> str:
	"""Return a duration as a person writes it: "42 s", "3 min 05 s"."""
	seconds = round(seconds)
	return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60:02} s"


class Steps(Generic[T]):
	"""A list of (title, function) that is run in order; @name keys the durations kept."""

	def __init__(self, name: str) -> None:
		self.name = name
		self.todo: list[tuple[str, Callable[[], T]]] = []
		self.optional: set[str] = set()
		self.failed: list[ToolError] = []
		self.known: dict[str, float] = {}
		self.path = build_dir() / "bench" / "durations.json"
		if self.path.is_file():
			self.known = json.loads(self.path.read_text())

	def add(self, title: str, function: Callable[[], T], optional: bool = False) -> None:
		"""Append a step; one that is @optional may fail, and the others are still run."""
		self.todo.append((title, function))
		if optional:
			self.optional.add(title)

	def left(self, number: int, took: list[float]) -> float | None:
		"""Return the guess for all steps from @number on, or None.

		@took are the seconds of those done so far.
		"""
		mean = sum(took) / len(took) if took else None
		total = 0.0
		for title, _ in self.todo[number:]:
			guess = self.known.get(f"{self.name}: {title}", mean)
			if guess is None:
				return None
			total += guess
		return total

	def run(self) -> list[T]:
		"""Run all steps and return what they returned; an exception ends it.

		A ToolError of one that is optional costs what that would have returned, and
		require() raises it.
		"""
		began = time.monotonic()
		took: list[float] = []
		values = []
		loud = sys.stderr.isatty()
		try:
			for number, (title, function) in enumerate(self.todo):
				start = time.monotonic()
				left = self.left(number, took)
				guess = f", about {clock(left)} left" if left is not None else ""
				head = f"[{number + 1}/{len(self.todo)}, " \
				       f"{clock(start - began)}{guess}] {title}"
				set_context(head)
				if loud:
					say(head)
				try:
					values.append(function())
				except ToolError as error:
					if title not in self.optional:
						raise
					say(f"{title}: {error}")
					self.failed.append(error)
					continue
				took.append(time.monotonic() - start)
				self.known[f"{self.name}: {title}"] = round(took[-1], 1)
		finally:
			set_context("")
			if took:
				kept = json.dumps(self.known, indent=1, sort_keys=True)
				with replaced(self.path) as tmp:
					tmp.write_text(kept + "\n")
		return values

	def require(self) -> None:
		"""Raise ToolError if an optional step failed, of the first one."""
		if self.failed:
			error = self.failed[0]
			raise ToolError(f"{len(self.failed)} of {len(self.todo)} steps failed, "
					f"the first one with: {error}", error.code)
