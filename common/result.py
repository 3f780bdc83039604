# SPDX-License-Identifier: GPL-2.0
"""A result: what one benchmark has measured on one kernel, and how results are read and kept.

The programs that measure print one line per metric, all in the same dialect:

  # result bench=mprotect case=anon-4k pages=512 threads=1 metric=ns_per_pte
    median=41.52 min=41.30 max=43.05 runs=9			(on one line)

parse() takes these lines, load() and dump() the files that hold results as a list of
JSON objects, select() and one() find what is wanted among them.
"""
import json
import re
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from common.command import EXIT_GUEST, ToolError

LINE = re.compile(r"^# result((?: \S+)*)$")
# What a line has to say; threads=1 may be left out.
KEYS = ("bench", "case", "pages", "metric", "median", "min", "max", "runs")


class Row(NamedTuple):
	"""What was measured; the results of several kernels stand beside each other in it."""
	guest: str
	bench: str
	case: str
	pages: int
	metric: str


@dataclass(frozen=True)
class Result:
	"""One figure. @value is the median of @runs runs, @min and @max the least and the most.

	The last three are None where they are not known: counts have no runs, and
	older files lack some. @threads is how many threads a program ran.
	"""
	kernel: str
	guest: str
	bench: str
	case: str
	pages: int
	metric: str
	value: float
	min: float | None = None
	max: float | None = None
	runs: int | None = None
	threads: int = 1

	@property
	def row(self) -> Row:
		"""Return what was measured, without the kernel."""
		return Row(self.guest, self.bench, self.case, self.pages, self.metric)

	def as_object(self) -> dict:
		"""Return the JSON object that stands for this in a file, less what is not known."""
		return {name: value for name, value in asdict(self).items()
			if value is not None and (name, value) != ("threads", 1)}

	def per_thread(self) -> "Result":
		"""Return the result of one thread of several that shared one CPU.

		Their time is divided by their number; they make a case of their own,
		such as "anon-4k-2-threads".
		"""
		if self.threads == 1:
			return self
		share = {name: value / self.threads for name, value in asdict(self).items()
			 if name in ("value", "min", "max") and value is not None}
		return replace(self, case=f"{self.case}-{self.threads}-threads", threads=1, **share)


REQUIRED = {f.name for f in fields(Result) if f.default is MISSING}
TYPES: dict[str, type | tuple[type, ...]] = {
	"kernel": str, "guest": str, "bench": str, "case": str, "metric": str, "pages": int,
	"value": (int, float), "min": (int, float), "max": (int, float),
	"runs": int, "threads": int,
}


def from_words(words: list[str], kernel: str, guest: str) -> Result:
	"""Return the result that @words, key=value, say; raises ValueError for other words."""
	item = dict(word.split("=", 1) for word in words)
	if missing := [key for key in KEYS if key not in item]:
		raise ValueError(f"no {missing[0]}=")
	return Result(kernel, guest, item["bench"], item["case"], int(item["pages"]),
		      item["metric"], float(item["median"]), float(item["min"]),
		      float(item["max"]), int(item["runs"]), int(item.get("threads", 1)))


def parse(lines: Iterable[str], kernel: str, guest: str) -> list[Result]:
	"""Return the results that a program's @lines hold, of @kernel in @guest.

	Other lines are passed over. Raises ToolError for a result line in another dialect.
	"""
	found = []
	for line in lines:
		match = LINE.match(line.strip())
		if not match:
			continue
		try:
			found.append(from_words(match[1].split(), kernel, guest))
		except ValueError as error:
			known = " ".join(f"{key}=" for key in KEYS)
			raise ToolError(f"'{line.strip()}' is not understood ({error}): "
					f"a result has {known}", EXIT_GUEST) from error
	return found


def counted(results: Iterable[Result]) -> list[Result]:
	"""Return what @results mean under QEMU's -icount.

	1 ns is 1 instruction there, of guest and hypervisor together. Of several threads,
	which share one vCPU, each one's share counts. What the guest's own counters said of
	cycles and instructions is left out.
	"""
	return [replace(r, metric=re.sub(r"^ns_", "instructions_", r.metric)).per_thread()
		for r in results if not r.metric.startswith(("cycles_", "instructions_"))]


def from_object(item: dict) -> Result:
	"""Return the result that a JSON object stands for; raises ValueError if it is none."""
	unknown, missing = item.keys() - TYPES.keys(), REQUIRED - item.keys()
	if unknown or missing:
		raise ValueError(f"unknown field {min(unknown)}" if unknown
				 else f"no {min(missing)}")
	for name, value in item.items():
		if not isinstance(value, TYPES[name]) or isinstance(value, bool):
			raise ValueError(f"{name} is {value!r}")
	return Result(**item)


def load(path: Path) -> list[Result]:
	"""Return the results in the file @path; raises ToolError if it is missing or malformed."""
	if not path.is_file():
		raise ToolError(f"{path} is missing: 'make bench'")
	try:
		items = json.loads(path.read_text())
		if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
			raise ValueError("no list of objects")
		return [from_object(item) for item in items]
	except ValueError as error:
		raise ToolError(f"{path} holds no results ({error}): restore it, "
				"or 'make bench'") from error


def dump(results: Iterable[Result]) -> str:
	"""Return the text of a file that holds @results."""
	return json.dumps([r.as_object() for r in results], indent=1) + "\n"


def select(results: Iterable[Result], **wanted: Any) -> list[Result]:
	"""Return those of @results whose fields are what @wanted says."""
	return [r for r in results if all(getattr(r, n) == value for n, value in wanted.items())]


def one(results: Iterable[Result], **wanted: Any) -> Result:
	"""Return the first of @results whose fields are what @wanted says.

	Raises ToolError with the known values of the first field that has no match.
	"""
	left = list(results)
	for name, value in wanted.items():
		known = sorted({getattr(r, name) for r in left})
		left = [r for r in left if getattr(r, name) == value]
		if not left:
			label = " ".join(f"{k}={v}" for k, v in wanted.items())
			raise ToolError(f"no figure for {label}: {name} '{value}' is unknown, "
					f"known are {' '.join(map(str, known))}")
	return left[0]
