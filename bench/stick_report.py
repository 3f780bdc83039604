# SPDX-License-Identifier: GPL-2.0
"""make stick-report FILE="<result> <result>": results of sticks beside each other.

Each is a RESULT.TXT that a stick wrote (bench/STICK.md). The text also goes to
build/bench/sticks.txt, from where "make report" takes it.
"""
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.command import ToolError, build_dir, main, replaced
from common.settings import Parser

FIRST = "modify-prot: what the series does on one machine"
RUNS = ("base-bare", "series-bare", "base-xen", "series-xen")
# What is shown of a machine, and of each run.
FACTS = ("machine", "cpu", "family", "microcode", "flags", "firmware")
CHECKS = ("KUnit", "races", "log", "no result")
COLUMNS = 11		# of a row; another one is a star
Key = tuple[str, ...]	# place, bench, case, pages, metric


@dataclass(frozen=True)
class Pair:
	"""Base against series: medians, their least and most; whether they are apart."""
	base: float
	base_range: tuple[float, float]
	series: float
	series_range: tuple[float, float]
	apart: bool

	def cells(self) -> list[str]:
		"""Return the three cells of a table: base, series, ratio."""
		ratio = f"{self.series / self.base:.3f}" if self.base else "-"
		return [f"{self.base:.2f}", f"{self.series:.2f}",
			ratio + ("*" if self.apart else " ")]


@dataclass
class Machine:
	"""What a result says: @facts, @runs ({run: {what: [texts]}}) and @rows."""
	name: str
	facts: dict[str, str] = field(default_factory=dict)
	runs: dict[str, dict[str, list[str]]] = field(default_factory=dict)
	rows: dict[Key, Pair] = field(default_factory=dict)


def parse(text: str, name: str) -> Machine:
	"""Return what the result @text, of the file @name, says.

	Raises ToolError if it is not one.
	"""
	lines = [line.rstrip() for line in text.splitlines()]
	if not lines or lines[0].strip() != FIRST:
		raise ToolError(f"{name} is not a result of the stick: it has to begin "
				f"with '{FIRST}'")
	found, run, place = Machine(name), "", ""
	for line in lines[1:]:
		if match := re.match(r"== (\w+):", line):
			place = match[1]
		elif match := re.match(r"# what: +(\S+)$", line):
			run = match[1]
			found.runs[run] = {}
		elif match := re.match(r"# ([^:]+): *(.*)$", line):
			if run:
				found.runs[run].setdefault(match[1], []).append(match[2])
			else:
				found.facts[match[1]] = match[2]
		elif place and line:
			row = table_row(line.split(), name)
			if row:
				found.rows[place, *row[0]] = row[1]
	return found


def table_row(words: list[str], name: str) -> tuple[Key, Pair] | None:
	"""Return (what was measured, figures) of a row's @words, None for the head.

	Raises ToolError if it is not one; @name is the file's.
	"""
	if words[:1] == ["bench"]:
		return None
	try:
		base, low, high, series, least, most = map(float, words[4:COLUMNS - 1])
	except ValueError as error:
		raise ToolError(f"{name}: '{' '.join(words)}' is not a row of a result: was it "
				"broken on its way? It has to come as an attachment") from error
	return tuple(words[:4]), Pair(base, (low, high), series, (least, most),
				      words[COLUMNS:] == ["*"])


def about(number: int, machine: Machine) -> list[str]:
	"""Return the lines that say what @machine is, and what its runs came to."""
	lines = [f"[{number}] {machine.name}"]
	lines += [f"    {fact + ':':<13}{machine.facts[fact]}" for fact in FACTS
		  if fact in machine.facts]
	for run in RUNS:
		told = machine.runs.get(run, {"no result": ["it is not in the file"]})
		words = [f"{what}: {text}" for what in CHECKS for text in told.get(what, [])]
		lines.append(f"    {run + ':':<13}{'; '.join(words)}")
	return lines


def rows(machines: Sequence[Machine]) -> list[str]:
	"""Return the lines of the table of what any of @machines measured."""
	keys = list(dict.fromkeys(key for machine in machines for key in machine.rows))
	if not keys:
		return ["No result has both kernels in one place: there is nothing to compare."]
	head: list[str] = []
	for number in range(1, len(machines) + 1):
		head += [f"[{number}] base", "series", "ratio "]
	body = []
	for key in keys:
		cells = [machine.rows[key].cells() if key in machine.rows else ["-", "-", "- "]
			 for machine in machines]
		body.append((" ".join(key), [cell for three in cells for cell in three]))
	names = max(len(name) for name, _ in body)
	return [f"{name:<{names}}" + "".join(f"{cell:>13}" for cell in cells)
		for name, cells in [("", head), *body]]


def report(machines: Sequence[Machine]) -> str:
	"""Return the text that has @machines beside each other."""
	lines = ["Real machines, by their own clocks: base against series", ""]
	for number, machine in enumerate(machines, 1):
		lines += [*about(number, machine), ""]
	return "\n".join([*lines, *rows(machines),
			  "* least and most of the rounds do not overlap"]) + "\n"


def read(paths: Iterable[str]) -> list[Machine]:
	"""Return the results in the files @paths; raise ToolError if one is missing or bad."""
	found = []
	for name in paths:
		try:
			text = Path(name).read_text(errors="replace")
		except OSError as error:
			raise ToolError(f"FILE={name} can't be read: {error.strerror}") from error
		found.append(parse(text, name))
	if not found:
		raise ToolError('FILE= has to name results of the stick: FILE="a/RESULT.TXT b.txt"')
	return found


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("FILE", many=True, positional=True)
	args = parser.settled()
	text = report(read(args.file))
	with replaced(build_dir() / "bench" / "sticks.txt") as tmp:
		tmp.write_text(text)
	print(text, end="")
	return 0


if __name__ == "__main__":
	main(_main)
