# SPDX-License-Identifier: GPL-2.0
"""Figures for texts, from the committed results instead of typed.

A text names a figure as {guest:pages:kernel}, for instance {bare:4096:base}: the
instructions per pte of mprotect() on anonymous 4 KiB pages. Another benchmark is
named after the guest, {guest/bench/case/metric:pages:kernel}; parts that are left
out or empty have the values just said. The figures of places with & between are added.

In place of one kernel, "ratio" is series divided by base, "topic3/base" one divided
by the other, "topic3+%base" by how many percent the first is more, "topic3-%base" by
how many it is less.

|WIDTH before the closing brace aligns the figure to the right in that many columns,
|WIDTH.DIGITS rounds to so many digits after the point: {xen:4096:series|10.1}.

A table is a block of lines:

  {table kernels=base,series width=9
                       | "bare metal"             | "Xen PV"
                       | "base" "series"          | "base" "series"
    mprotect()         | :4096                    | xen:4096
    fork() and exit    | /fork:4096               | xen/fork:4096
  }

A cell names a figure of each of the kernels, in columns of that width; a single quoted
word stands in the middle of its cell's columns, several are one for each. Labels keep
their indentation. digits= on the first line rounds all figures but those of two kernels.
"""
import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from common.command import ROOT, ToolError, main
from common.result import Result, load as load_results, one
from common.settings import Parser

RESULTS = Path("bench") / "results" / "results.json"	# in the repository, committed
DEFAULTS = ("bare", "mprotect", "anon-4k", "instructions_per_pte")
NAMES = ("guest", "bench", "case", "metric")
PLACEHOLDER = re.compile(r"\{([^{}\s:]*):([^{}\s:]*):([^{}\s:|]*)(?:\|(\d+)(?:\.(\d+))?)?\}")
TWO_KERNELS = re.compile(r"(.+?)(/|\+%|-%)(.+)")
TABLE = re.compile(r"^\{table\b([^{}\n]*)\n(.*?)^\}\n?", re.M | re.S)
TABLE_START = re.compile(r"^\{table\b.*$", re.M)
CELL_END = re.compile(r'\|(?=(?:[^"]*"[^"]*")*[^"]*$)')	# not one in quotes
COLUMNS = 76		# of a mail, less what quoting it takes
INDENT = "  "


def load(root: Path = ROOT) -> list[Result]:
	"""Return the committed results; raises ToolError if there are none."""
	path = Path(root) / RESULTS
	if not path.is_file():
		raise ToolError(f"{path} is missing: 'make bench', then 'make report KEEP=1'")
	return load_results(path)


def wanted(place: str, pages: str) -> dict[str, str | int]:
	"""Return the fields of a Result that the place and pages of a placeholder stand for."""
	parts = place.split("/")
	if len(parts) > len(NAMES) or not pages.isdigit():
		raise ToolError(f"bad placeholder {{{place}:{pages}:...}}: it is "
				"{guest/bench/case/metric:pages:kernel}")
	parts += [""] * (len(NAMES) - len(parts))
	return {**{n: p or d for n, p, d in zip(NAMES, parts, DEFAULTS)}, "pages": int(pages)}


def figure(results: list[Result], place: str, pages: str, kernel: str) -> float:
	"""Return the number that the placeholder {place:pages:kernel} stands for.

	Raises ToolError with the known values of the first part that has no match.
	"""
	def of(name: str) -> float:
		return sum(one(results, **wanted(part, pages), kernel=name).value
			   for part in place.split("&"))

	match = TWO_KERNELS.fullmatch("series/base" if kernel == "ratio" else kernel)
	if not match:
		return of(kernel)
	first, second = of(match[1]), of(match[3])
	if not second:
		raise ToolError(f"{{{place}:{pages}:{kernel}}} divides by 0, "
				f"the figure of {match[3]}")
	ratio = first / second
	return {"/": ratio, "+%": 100 * (ratio - 1), "-%": 100 * (1 - ratio)}[match[2]]


def digits_for(value: float) -> int:
	"""Return how many digits after the point a figure deserves."""
	return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3


@dataclass
class Table:
	"""A table of a text: each cell has a column of @width for each of @kernels.

	Figures have @digits after the point, or as many as they deserve if it is None.
	"""
	kernels: list[str]
	width: int
	digits: int | None
	lines: list[str]

	@classmethod
	def parse(cls, options: str, body: str) -> "Table":
		"""Read the first line's @options and the @body of a block.

		Raises ToolError if they are malformed.
		"""
		given = dict(word.partition("=")[::2] for word in options.split())
		unknown = given.keys() - {"kernels", "width", "digits"}
		if unknown:
			raise ToolError(f"table: unknown option '{min(unknown)}': "
					"known are kernels= width= digits=")
		for name in ("kernels", "width"):
			if not given.get(name):
				raise ToolError(f"table: {name}= is missing: "
						"{table kernels=base,series width=9")
		for name in ("width", "digits"):
			if not given.get(name, "0").isdigit():
				raise ToolError(f"table: {name}={given[name]} is not a number")
		digits = int(given["digits"]) if "digits" in given else None
		lines = [line for line in body.expandtabs().splitlines() if line.strip()]
		if not lines:
			raise ToolError("table: no rows")
		for line in lines:
			if line.count('"') % 2:
				raise ToolError(f"table: row '{line.strip()}': a quote has no end")
		kernels = [k for k in given["kernels"].split(",") if k]
		return cls(kernels, int(given["width"]), digits, lines)

	def number(self, value: float, kernel: str) -> str:
		"""Return a figure as text."""
		compared = kernel == "ratio" or TWO_KERNELS.fullmatch(kernel)
		digits = digits_for(value) if compared or self.digits is None else self.digits
		return f"{value:.{digits}f}"

	def heading(self, row: str, cell: str) -> list[str]:
		"""Return a cell of quoted words as columns: one, or one for each kernel."""
		words = re.findall(r'"([^"]*)"', cell)
		columns = len(self.kernels)
		if len(words) == columns:
			return [self.column(row, word) for word in words]
		if len(words) == 1 and len(words[0]) < columns * self.width:
			return [words[0].center(columns * self.width)]
		raise ToolError(f"table: row '{row.strip()}': {cell} has {len(words)} words for "
				f"{columns} columns of {self.width}: it takes one or {columns} "
				"that fit in")

	def column(self, row: str, text: str) -> str:
		"""Return @text in a column; raises ToolError if it does not fit in."""
		if len(text) > self.width:
			raise ToolError(f"table: row '{row.strip()}': '{text}' does not fit into "
					f"width={self.width}")
		return text.rjust(self.width)

	def joined(self, row: str, text: str, column: str) -> str:
		"""Return @text and the next @column; raises ToolError if no space is between."""
		if text[-1].isspace() or column[0].isspace():
			return text + column
		raise ToolError(f"table: row '{row.strip()}': '{column}' does not fit into "
				f"width={self.width} with a space before it")

	def cell(self, row: str, cell: str, results: list[Result]) -> list[str]:
		"""Return the columns of one cell."""
		if cell.startswith('"'):
			return self.heading(row, cell)
		place, colon, pages = cell.partition(":")
		if not colon:
			raise ToolError(f"table: row '{row.strip()}': '{cell}' is neither "
					"place:pages nor quoted words")
		return [self.column(row, self.number(figure(results, place, pages, kernel), kernel))
			for kernel in self.kernels]

	@staticmethod
	def label(cell: str) -> str:
		"""Return a row's first cell as text; it may be quoted."""
		quoted = re.fullmatch(r'(\s*)"([^"]*)"\s*', cell)
		return quoted[1] + quoted[2] if quoted else cell.rstrip()

	def render(self, results: list[Result]) -> str:
		"""Return the table as text; raises ToolError for a malformed or too wide row."""
		split = [CELL_END.split(line) for line in self.lines]
		labels = [self.label(label) for label, *_ in split]
		spare = min((len(l) - len(l.lstrip()) for l in labels if l), default=0)
		rows = [(label[spare:], [c.strip() for c in cells], line)
			for label, (_, *cells), line in zip(labels, split, self.lines)]
		width = max(len(label) for label, _, _ in rows)
		lines = []
		for label, cells, line in rows:
			text = INDENT + label.ljust(width)
			for column in (c for cell in cells for c in self.cell(line, cell, results)):
				text = self.joined(line, text, column)
			lines.append(text.rstrip())
		wide = max(lines, key=len)
		if len(wide) > COLUMNS:
			raise ToolError(f"table: '{wide.strip()}' has {len(wide)} columns, "
					f"{COLUMNS} is the most: make width= or the labels smaller")
		return "\n".join(lines) + "\n"


def has_figures(text: str) -> bool:
	"""Return whether @text has placeholders."""
	return bool(PLACEHOLDER.search(text) or TABLE_START.search(text))


def fill(text: str, root: Path = ROOT) -> str:
	"""Return @text with its tables and placeholders replaced.

	Results are read only if there are some. Raises ToolError for a figure that the
	committed results don't have, and for a malformed table.
	"""
	results = load(root) if has_figures(text) else []

	def number(match: re.Match[str]) -> str:
		place, pages, kernel, width, digits = match.groups()
		value = figure(results, place, pages, kernel)
		return f"{value:{width or 0}.{digits_for(value) if digits is None else digits}f}"

	text = TABLE.sub(lambda match: Table.parse(match[1], match[2]).render(results), text)
	if match := TABLE_START.search(text):
		raise ToolError(f"table: '{match[0]}' has no end: "
				"a line with a closing brace alone")
	return PLACEHOLDER.sub(number, text)


def _main() -> int:
	parser = Parser(__doc__)
	parser.add_argument("text", nargs="?", type=argparse.FileType(), default=sys.stdin,
			    help="file to fill in, default standard input")
	sys.stdout.write(fill(parser.settled().text.read()))
	return 0


if __name__ == "__main__":
	main(_main)
