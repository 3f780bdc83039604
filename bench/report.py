# SPDX-License-Identifier: GPL-2.0
"""Benchmark results as text tables for a mail, and as build/bench/report.html."""
import argparse
import json
import os
import sys
from pathlib import Path

from series.cmd import ROOT, ToolError, build_dir, main, replaced

KEPT = ROOT / "bench" / "results"
NOISE = 1.01	# a ratio above it counts as worse; counts repeat to 0.5 %


def number(value):
	"""Return a figure with as many digits as it deserves."""
	if value is None:
		return "-"
	return f"{value:.1f}" if value >= 10 else f"{value:.4f}"


def ordered(results):
	"""Return the kernels of @results in the order of columns: base, topics, series, others."""
	rank = {"base": 0, "series": 2}
	names = dict.fromkeys(r["kernel"] for r in results)
	return sorted(names, key=lambda n: rank.get(n, 1 if n.startswith("topic") else 3))


def rows(results):
	"""Return {(guest, bench, case, pages, metric): {kernel: value}}."""
	found = {}
	for item in results:
		key = (item["guest"], item["bench"], item["case"], item["pages"], item["metric"])
		found.setdefault(key, {})[item["kernel"]] = item["value"]
	return found


def ratio(values):
	"""Return series to base of {kernel: value}, or None."""
	base, series = values.get("base"), values.get("series")
	return series / base if base and series is not None else None


def table(results):
	"""Return the text table of a list of result objects."""
	names = ordered(results)
	columns = []
	for name in names:
		columns.append(name)
		if name == "series":
			columns.append("ratio")
	if "ratio" not in columns:
		columns.append("ratio")
	lines = [f"{'guest':<11}{'bench':<14}{'case':<19}{'pages':>7}  {'metric':<21}"
		 + "".join(f"{c:>{8 if c == 'ratio' else 12 if '-' in c else 10}}" for c in columns)]
	for (guest, bench, case, pages, metric), values in rows(results).items():
		line = f"{guest:<11}{bench:<14}{case:<19}{pages:>7}  {metric:<21}"
		for column in columns:
			if column == "ratio":
				value = ratio(values)
				line += f"{value:.3f}".rjust(8) if value is not None else "-".rjust(8)
			else:
				line += number(values.get(column)).rjust(12 if "-" in column else 10)
		lines.append(line)
	return "\n".join(lines)


def worse(results, noise=NOISE):
	"""Return the rows where the series costs more than base: [(key, base, series)]."""
	found = []
	for key, values in rows(results).items():
		value = ratio(values)
		if value and value > noise:
			found.append((key, values["base"], values["series"]))
	return found


def text(results, facts):
	"""Return the whole report as text, for a mail."""
	lines = ["What page-table operations cost, per page table entry", ""]
	lines += [f"{key + ':':<20} {value}" for key, value in facts.items()]
	for guest in dict.fromkeys(r["guest"] for r in results):
		lines += ["", table([r for r in results if r["guest"] == guest])]
	bad = worse(results)
	lines += ["", f"Worse than base by more than {100 * (NOISE - 1):.0f} %: {len(bad) or 'none'}"]
	lines += [f"  {guest} {bench} {case} {pages} pages, {metric}: {number(base)} -> {number(series)} "
		  f"(+{100 * (series / base - 1):.1f} %)" for (guest, bench, case, pages, metric), base, series in bad]
	return "\n".join(lines) + "\n"


def load(name, default=None, folder=None):
	"""Return what a JSON file in build/bench holds, or @default if it is not there.

	Raises ToolError if it is not there and there is no default.
	"""
	path = (folder or build_dir() / "bench") / name
	if path.is_file():
		return json.loads(path.read_text())
	if default is None:
		raise ToolError(f"{path} is missing: 'make bench'")
	return default


def write(folder=None):
	"""Write report.txt and report.html from what is in build/bench; return the text."""
	from bench.html import page
	folder = folder or build_dir() / "bench"
	results, facts = load("results.json", folder=folder), load("facts.json", {}, folder)
	profiles, wall = load("profile.json", [], folder), load("wall.json", [], folder)
	report = text(results, facts)
	with replaced(folder / "report.txt") as tmp:
		tmp.write_text(report)
	with replaced(folder / "report.html") as tmp:
		tmp.write_text(page(results, facts, profiles, wall))
	return report


def keep(folder, kept=KEPT):
	"""Copy what @folder has of results, text report and breakdown to where they are committed."""
	for name, target in (("results.json", kept / "results.json"), ("report.txt", kept / "report.txt"),
			     ("wall.txt", kept / "wall.txt"), ("breakdown.txt", kept.parent / "breakdown.txt")):
		if (folder / name).is_file():
			with replaced(target) as tmp:
				tmp.write_bytes((folder / name).read_bytes())


def _main():
	parser = argparse.ArgumentParser(description=__doc__)
	parser.add_argument("--keep", action="store_true", default=bool(os.environ.get("KEEP")),
			    help="also take the results into the repository, bench/results/ (KEEP=1)")
	parser.add_argument("folder", nargs="?", type=Path, default=build_dir() / "bench",
			    help="where results.json is and the report lands; default build/bench")
	args = parser.parse_args()
	folder = args.folder
	print(write(folder), end="")
	if args.keep:
		keep(folder)
	print(folder / "report.html", file=sys.stderr)
	return 0


if __name__ == "__main__":
	main(_main)
