# SPDX-License-Identifier: GPL-2.0
"""Benchmark results as text tables for a mail, and as build/bench/report.html."""
import json
import re
import sys
from pathlib import Path
from typing import Any

from bench.matrix import PLACES
from bench.page import page
from bench.provenance import Run, head, measured, together
from bench.table import NOISE, noticed, number, table, worse
from common.command import ROOT, ToolError, build_dir, main, replaced
from common.result import Result, dump, load as load_results
from common.settings import Parser

KEPT = ROOT / "bench" / "results"
SECTION = re.compile(r"^(?=\w+ .*: instructions per \w+$)", re.M)	# begins, in breakdown.txt


def text(results: list[Result], runs: list[Run]) -> str:
	"""Return the whole report of @results, which are of @runs, as text for a mail."""
	lines = ["What page-table operations cost, per page table entry", "", *head(runs)]
	if noticed(results):
		lines += ["", "What users notice", table(noticed(results)), "", "Everything"]
	for guest in dict.fromkeys(r.guest for r in results):
		lines += ["", table([r for r in results if r.guest == guest])]
	bad = worse(results)
	lines += ["", f"Worse than base by more than {100 * (NOISE - 1):.0f} %: "
		      f"{len(bad) or 'none'}"]
	lines += [f"  {r.guest} {r.bench} {r.case} {r.pages} pages, {r.metric}: {number(base)} -> "
		  f"{number(series)} (+{100 * (series / base - 1):.1f} %)"
		  for r, base, series in bad]
	return "\n".join(lines) + "\n"


def load(path: Path, default: Any) -> Any:
	"""Return what the JSON file @path holds, or @default if it is not there.

	Raises ToolError if it is no JSON.
	"""
	try:
		return json.loads(path.read_text()) if path.is_file() else default
	except ValueError as error:
		raise ToolError(f"{path} is broken ({error}): remove it") from error


def write(directory: Path | None = None) -> str:
	"""Write report.txt and report.html from what is in @directory; return the text.

	That is build/bench if it is None. Raises ToolError if it holds no results.
	"""
	directory = directory or build_dir() / "bench"
	results = load_results(directory / "results.json")
	facts = load(directory / "facts.json", {})
	profiles = load(directory / "profile.json", [])
	wall = load(directory / "wall.json", [])
	sticks = directory / "sticks.txt"
	machines = sticks.read_text() if sticks.is_file() else ""
	report = text(results, [{"facts": facts, "measured": measured(results)}])
	report += f"\n{machines}" if machines else ""
	with replaced(directory / "report.txt") as tmp:
		tmp.write_text(report)
	with replaced(directory / "report.html") as tmp:
		tmp.write_text(page(results, facts, profiles, wall, machines))
	return report


def not_measured(old: list[Result], new: list[Result]) -> list[Result]:
	"""Return what of @old differs from all of @new in kernel, place, bench, case or metric."""
	known = {(r.kernel, r.guest, r.bench, r.case, r.metric) for r in new}
	return [r for r in old if (r.kernel, r.guest, r.bench, r.case, r.metric) not in known]


def keep_results(directory: Path, kept: Path) -> None:
	"""Take the results of @directory into those in @kept, and write the text report of all.

	What was not measured this time stays, and the report says of which run it is.
	The guests are in the matrix' order.
	"""
	new, facts = load_results(directory / "results.json"), load(directory / "facts.json", {})
	old = load_results(kept / "results.json") if (kept / "results.json").is_file() else []
	old = not_measured(old, new)
	runs = together(load(kept / "runs.json", []), facts, new, old)
	order = {guest: place for place, guest in enumerate(PLACES)}
	results = sorted(old + new, key=lambda r: order.get(r.guest, len(order)))
	with replaced(kept / "results.json") as tmp:
		tmp.write_text(dump(results))
	with replaced(kept / "runs.json") as tmp:
		tmp.write_text(json.dumps(runs, indent=1) + "\n")
	with replaced(kept / "report.txt") as tmp:
		tmp.write_text(text(results, runs))


def joined(kept: str, new: str) -> str:
	"""Return the breakdown @kept with the sections of @new, for its own or behind them.

	The commands of both stand above it, or that of @new if nothing of @kept is left.
	"""
	above, *old = SECTION.split(kept)
	says, *measured_now = SECTION.split(new)
	found = {section.partition("\n")[0]: section.rstrip("\n")
		 for section in (*old, *measured_now)}
	commands = [line for line in above.splitlines() if line.startswith("# make ")
		    and len(found) > len(measured_now) and line not in says.splitlines()]
	return "\n".join([*commands, *says.splitlines(), "\n\n".join(found.values())]) + "\n"


def keep(directory: Path, kept: Path = KEPT) -> None:
	"""Take results, text reports and breakdown of @directory to where they are committed.

	That is @kept, and above it for the breakdown. What is not there is left out, and
	what has not changed since the last time.
	"""
	stamp = directory / ".kept"
	last = stamp.stat().st_mtime_ns if stamp.is_file() else 0

	def changed(name: str) -> bool:
		path = directory / name
		return path.is_file() and path.stat().st_mtime_ns > last

	if changed("results.json"):
		keep_results(directory, kept)
	for name in ("wall.txt", "wall.json", "will-it-scale.txt", "pte-changes.txt",
		     "irqsoff.txt", "alike.txt"):
		if changed(name):
			with replaced(kept / name) as tmp:
				tmp.write_bytes((directory / name).read_bytes())
	if changed("breakdown.txt"):
		to, new = kept.parent / "breakdown.txt", (directory / "breakdown.txt").read_text()
		with replaced(to) as tmp:
			tmp.write_text(joined(to.read_text(), new) if to.is_file() else new)
	stamp.touch()


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("KEEP")
	parser.add_argument("directory", nargs="?", type=Path, default=build_dir() / "bench",
			    help="where results.json is and the report lands; default build/bench")
	args = parser.settled()
	print(write(args.directory), end="")
	if args.keep:
		keep(args.directory)
	print(args.directory / "report.html", file=sys.stderr)
	return 0


if __name__ == "__main__":
	main(_main)
