# SPDX-License-Identifier: GPL-2.0
"""Figures for texts, from the committed results instead of typed.

A text names a figure as {guest:pages:kernel}, for instance {bare:4096:base}: the
instructions per pte of mprotect() on anonymous 4 KiB pages. Another benchmark is
named after the guest, {guest/bench/case/metric:pages:kernel}; parts that are left
out or empty have the values just said. The kernel "ratio" is series divided by base.

|WIDTH before the closing brace aligns the figure to the right in that many columns,
|WIDTH.DIGITS rounds to so many digits after the point: {xen:4096:series|10.1}.
"""
import argparse
import json
import re
import sys
from pathlib import Path

from common.command import ROOT, ToolError, main
from common.settings import Parser

RESULTS = Path("bench") / "results" / "results.json"	# in the repository, committed
DEFAULTS = ("bare", "mprotect", "anon-4k", "instructions_per_pte")
NAMES = ("guest", "bench", "case", "metric")
PLACEHOLDER = re.compile(r"\{([^{}\s:]*):([^{}\s:]*):([^{}\s:|]*)(?:\|(\d+)(?:\.(\d+))?)?\}")


def load(root=ROOT):
	"""Return the committed results, a list of objects; raises ToolError if there are none."""
	path = Path(root) / RESULTS
	if not path.is_file():
		raise ToolError(f"{path} is missing: 'make bench', then copy build/bench/results.json there")
	try:
		return json.loads(path.read_text())
	except ValueError as error:
		raise ToolError(f"{path} is no JSON ({error}): restore it from git") from error


def find(results, wanted, kernel):
	"""Return the value that @results have for a kernel and the fields @wanted.

	Raises ToolError with the known values of the first field that has no match.
	"""
	left = results
	for name, value in {**wanted, "kernel": kernel}.items():
		known = sorted({str(r[name]) for r in left})
		left = [r for r in left if str(r[name]) == value]
		if not left:
			label = " ".join(f"{k}={v}" for k, v in {**wanted, "kernel": kernel}.items())
			raise ToolError(f"no figure for {label} in {RESULTS}: {name} '{value}' is unknown there, "
					f"known are {' '.join(known)}")
	return left[0]["value"]


def figure(results, place, pages, kernel):
	"""Return the number that the placeholder {place:pages:kernel} stands for."""
	parts = place.split("/")
	if len(parts) > len(NAMES):
		raise ToolError(f"bad placeholder {{{place}:{pages}:{kernel}}}: it is "
				"{guest/bench/case/metric:pages:kernel}")
	parts += [""] * (len(NAMES) - len(parts))
	wanted = {n: p or d for n, p, d in zip(NAMES, parts, DEFAULTS)}
	wanted["pages"] = pages
	if kernel == "ratio":
		return find(results, wanted, "series") / find(results, wanted, "base")
	return find(results, wanted, kernel)


def digits_for(value):
	"""Return how many digits after the point a figure deserves."""
	return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3


def fill(text, root=ROOT):
	"""Return @text with its placeholders replaced; results are read only if there are some.

	Raises ToolError for a figure that the committed results don't have.
	"""
	results = load(root) if PLACEHOLDER.search(text) else []

	def replace(match):
		place, pages, kernel, width, digits = match.groups()
		value = figure(results, place, pages, kernel)
		return f"{value:{width or 0}.{digits_for(value) if digits is None else digits}f}"

	return PLACEHOLDER.sub(replace, text)


def _main():
	parser = Parser(__doc__)
	parser.add_argument("text", nargs="?", type=argparse.FileType(), default=sys.stdin,
			    help="file to fill in, default standard input")
	sys.stdout.write(fill(parser.settled().text.read()))
	return 0


if __name__ == "__main__":
	main(_main)
