# SPDX-License-Identifier: GPL-2.0
"""The gate of figures: what texts say was measured is what the committed results say.

Cover letters take their figures from the results (series/figures.py). Messages and
pages are typed, so each of their figures is tied to its fact in a file: that of a topic
is patches/<topic>/figures, that of the pages bench/results/figures. An entry is one
line, or several of which those that follow are indented:

  x86-xen-don-t-touch: fork() and exit {xen/fork:4096:base} {xen/fork:4096:topic1}
  README.md: | bare metal | {bare:1:base} | {bare:1:ratio} |
  keep-ptes-live: 1.1 cycles per entry # by a program of its own, on an EPYC

The first word is part of a patch's file name, "cover", or a page. The text has to stand there,
with any white space; placeholders stand for figures, rounded as they are typed. Text
without a placeholder and with a reason after " # " was measured in another way.

A number that looks measured and is in no entry fails the gate, too, and so does an entry
whose text is gone. "--fix" types the figures of today's results into messages and pages.
"""
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from common.command import EXIT_TESTS, ROOT, ToolError, main, run
from common.result import Result
from common.settings import Parser
from gates.verdict import Verdict
from series import patches
from series.figures import PLACEHOLDER, TABLE, figure, load

PAGES = Path("bench") / "results" / "figures"
NUMBER = r"-?\d+(?:\.\d+)?"
# A paragraph is about measurements if it has one of these words, or columns of numbers.
MEASURED = re.compile(r"\binstructions?\b|\bhypercalls?\b|\bcycles?\b"
		      r"|\bper (?:pte|page|entry|method|alloc)\b"
		      r"|\bnanoseconds?\b|\bns\b|->|%|\bfaster\b|\bslower\b|\bexits?\b|\bfaults?\b"
		      r"|\bratio\b|\bbase \| series\b", re.I)
COLUMNS = re.compile(rf"\S {{2,}}{NUMBER}(?: {{2,}}|\s*$)", re.M)
# What a number may be besides a figure: an amount of work, a version, a name, a year.
UNITS = (r"(?:(?:touched|small|equal|large|base|dirty|anonymous|mmu_update|consecutive|of|the)\s+)*"
	 r"(?:pages?|entr(?:y|ies)|bytes?|[KMG]iB|[KMG]B|ptes|v?CPUs?|threads?|cores|bits?|words?"
	 r"|cases?|subtests|requests?|patch(?:es)?|guests?|runs?|rounds?|s|seconds?|minutes?|hours"
	 r"|columns|nodes|tests?|tasks?|kernels|folios?|machines?|VMs?|slots?)\b")
NAMES = re.compile(r"(?:\b(?:Linux|gcc|clang|Xen|QEMU|Debian(?:'s)?|patch(?:es)?|version|commit"
		   r"|EPYC|Python)|\bp <|\b(?:19|20)\d\d-|[ \"]-\w) $", re.I)
YEAR = re.compile(r"(?:\b(?:in|of|since|until)|[A-Z][a-z]+) (?:19|20)\d\d$")
CANDIDATE = re.compile(rf"(?<![\w./:#+^<\[=,-])({NUMBER})(?![\w.:/,]*\w)(?!\s*{UNITS})(?!-\w)",
		       re.I)
CODE = re.compile(r"^(?: {4}|\t).*$|`[^`\n]*`", re.M)	# in a page


@dataclass
class Entry:
	"""An entry of a file of figures: what stands in a text, or a @reason to pass over it."""
	label: str		# file and line, for errors
	where: str
	text: str
	reason: str
	found: bool = False

	def pattern(self) -> re.Pattern:
		"""Return a pattern of the text that has a group for each figure."""
		parts = re.split(r"\s+", PLACEHOLDER.sub("\0", self.text))
		return re.compile(r"\s+".join(f"({NUMBER})".join(map(re.escape, part.split("\0")))
					     for part in parts))

	def values(self, results: list[Result]) -> list[float]:
		"""Return what the results say for each figure."""
		try:
			return [figure(results, *match.groups()[:3])
				for match in PLACEHOLDER.finditer(self.text)]
		except ToolError as error:
			raise ToolError(f"{self.label}: {error}") from error


@dataclass
class Text:
	"""A message, a cover letter or a page; @name for errors.

	What an entry names is a part of @where. What matches @quoted, such as code in a page,
	has no figures but those of entries.
	"""
	name: str
	where: str
	text: str
	path: Path
	quoted: re.Pattern | None = None
	entries: list[Entry] = field(default_factory=list)


def read_entries(path: Path, root: Path = ROOT) -> list[Entry]:
	"""Return the entries of a file of figures, [] if it is not there.

	Raises ToolError if it is malformed.
	"""
	found: list[Entry] = []
	for number, line in enumerate(path.read_text().splitlines() if path.is_file() else (), 1):
		label = f"{path.relative_to(root)}:{number}"
		if not line.strip() or line.startswith("#"):
			continue
		if line[0].isspace():
			if not found:
				raise ToolError(f"{label}: an indented line continues an entry, "
						"and there is none")
			found[-1].text += f" {line.strip()}"
			continue
		where, colon, text = line.partition(": ")
		if not colon or " " in where:
			raise ToolError(f"{label}: '{line}' is not "
					"\"<patch, cover or page>: <text>\"")
		found.append(Entry(label, where, text.strip(), ""))
	for entry in found:
		entry.text, _, entry.reason = map(str.strip, entry.text.partition(" # "))
		if bool(PLACEHOLDER.search(entry.text)) == bool(entry.reason):
			raise ToolError(f"{entry.label}: an entry has placeholders, or a reason "
					"after \" # \" why the results don't have its figures")
	return found


def exact(typed: str, value: float) -> bool:
	"""Return whether @typed is @value, rounded to as many digits as are typed."""
	half = 0.5 * 10 ** -len(typed.partition(".")[2])
	return abs(float(typed) - value) <= half * (1 + 1e-9)


def rounded(typed: str, value: float) -> str:
	"""Return @value with as many digits after the point as are @typed."""
	return f"{value:.{len(typed.partition('.')[2])}f}"


def untied(text: str) -> Iterator[tuple[str, str]]:
	"""Yield (number, line) of what looks like a measured figure in @text."""
	for paragraph in re.split(r"\n\s*\n", text):
		if not MEASURED.search(paragraph) and not COLUMNS.search(paragraph):
			continue
		for match in CANDIDATE.finditer(paragraph):
			before, after = paragraph[:match.start()], paragraph[match.end():]
			flat = re.sub(r"\s+", " ", before)
			digit = len(match[1]) == 1 and not re.match(r"\s*(?:%|->)", after)
			if not (digit or NAMES.search(flat) or YEAR.search(flat + match[1])):
				yield match[1], paragraph.splitlines()[before.count("\n")].strip()


def judge(text: Text, results: list[Result]) -> list[str]:
	"""Return what is wrong with the figures of one text, a sentence each."""
	wrong, rest = [], text.text
	for entry in text.entries:
		values = entry.values(results)
		for match in entry.pattern().finditer(text.text):
			entry.found = True
			for typed, value in zip(match.groups(), values):
				if exact(typed, value):
					continue
				wrong.append(f"{text.name} says {typed} where {entry.label} has "
					     f"{rounded(typed, value)}: "
					     f"'{' '.join(match[0].split())}'")
			# Of the same length, so that places stay.
			tied = re.sub(r"\d", "x", match[0])
			rest = rest[:match.start()] + tied + rest[match.end():]
	if text.quoted:
		rest = text.quoted.sub("", rest)
	wrong += [f"{text.name} has a figure that is in no entry, {number}: '{line}'"
		  for number, line in untied(rest)]
	return wrong


def of_topic(topic: str, root: Path = ROOT) -> tuple[list[Text], list[Entry]]:
	"""Return (cover letter and messages of @topic, entries of its file)."""
	directory = root / "patches" / topic
	entries = read_entries(directory / "figures", root)
	texts = [Text(p.label, p.name, f"{p.subject}\n\n{p.body}", directory / p.name)
		 for p in patches.load(root) if p.topic == topic]
	cover = directory / "cover.txt"
	if cover.is_file():
		typed = PLACEHOLDER.sub("", TABLE.sub("", cover.read_text()))
		texts.insert(0, Text(f"{topic}/cover.txt", "cover", typed, cover))
	return texts, entries


def of_pages(names: list[str], root: Path = ROOT) -> tuple[list[Text], list[Entry]]:
	"""Return (the pages @names, entries of their file)."""
	texts = [Text(name, name, (root / name).read_text(), root / name, CODE) for name in names]
	return texts, read_entries(root / PAGES, root)


def pages() -> list[str]:
	"""Return the names of the repository's pages."""
	out = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--",
		   "*.md", "*.rst"], cwd=ROOT).stdout
	return [name for name in out.splitlines() if (ROOT / name).is_file()]


def tie(texts: list[Text], entries: list[Entry]) -> list[str]:
	"""Give each text its entries; return which of them name no text, or several."""
	wrong = []
	for entry in entries:
		named = [t for t in texts if entry.where == t.where] \
			or [t for t in texts if entry.where in t.where]
		if len(named) == 1:
			named[0].entries.append(entry)
		else:
			names = " ".join(t.where for t in named) or "nothing"
			wrong.append(f"{entry.label}: {entry.where} names {names}")
	return wrong


def check(texts: list[Text], entries: list[Entry],
	  results: list[Result]) -> list[tuple[str, list[str]]]:
	"""Return [(name, what is wrong)] of each text, and of the entries."""
	lost = tie(texts, entries)
	found = [(text.name, judge(text, results)) for text in texts]
	lost += [f"{e.label}: {t.name} does not have it any more: '{e.text}'"
		 for t in texts for e in t.entries if not e.found]
	return [*found, ("entries", lost)]


def every(root: Path = ROOT) -> Iterator[tuple[str, list[Text], list[Entry]]]:
	"""Yield (name, texts, entries) of each topic, and of the pages."""
	for topic in patches.topics(root):
		yield (topic, *of_topic(topic, root))
	yield ("pages", *of_pages(pages(), root))


def complaints(root: Path = ROOT) -> Iterator[tuple[str, list[str]]]:
	"""Yield (name, what is wrong) of each text, and of each file of figures."""
	results = load(root)
	for name, texts, entries in every(root):
		for what, wrong in check(texts, entries, results):
			yield f"{name}: entries" if what == "entries" else what, wrong


def figures() -> Iterator[Verdict]:
	"""Figures of messages, cover letters and pages are those of bench/results/results.json."""
	for what, wrong in complaints():
		yield what, not wrong, "; ".join(wrong)


def fixed(text: Text, content: str, results: list[Result]) -> str:
	"""Return @content with the figures that @text's entries name as they are in @results.

	A figure that grows takes spaces before it, so that columns stay.
	"""
	for entry in text.entries:
		values = entry.values(results)
		for match in reversed(list(entry.pattern().finditer(content))):
			for group in range(len(values), 0, -1):
				typed, value = match[group], values[group - 1]
				if exact(typed, value):
					continue
				new = rounded(typed, value)
				head = content[:match.start(group)]
				tail = content[match.end(group):]
				width = len(typed)
				while len(new) > width and head.endswith("  "):
					head, width = head[:-1], width + 1
				if head.endswith("  "):
					new = new.rjust(width)
				content = head + new + tail
	return content


def fix(root: Path = ROOT) -> list[Path]:
	"""Type the figures of the committed results into texts; return the files that changed."""
	results, changed = load(root), []
	for _, texts, entries in every(root):
		tie(texts, entries)
		for text in texts:
			before = text.path.read_text()
			after = fixed(text, before, results)
			if after != before:
				text.path.write_text(after)
				changed.append(text.path)
	return changed


def _main() -> int:
	parser = Parser(__doc__)
	parser.add_argument("--fix", action="store_true",
			    help="correct messages and pages; then 'make tree'")
	if parser.settled().fix:
		for path in fix():
			print(path.relative_to(ROOT))
		return 0
	bad = [line for _, wrong in complaints() for line in wrong]
	for line in bad:
		print(line)
	return EXIT_TESTS if bad else 0


if __name__ == "__main__":
	main(_main)
