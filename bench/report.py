# SPDX-License-Identifier: GPL-2.0
"""Print benchmark results as a table, base beside series."""
import argparse
import json
import sys
from pathlib import Path

from series.cmd import ToolError, build_dir, main

COLUMNS = f"{'guest':<11}{'bench':<14}{'case':<19}{'pages':>7}  {'metric':<21}" \
	  f"{'base':>10}{'series':>10}{'ratio':>8}"


def number(value):
	"""Return a figure with as many digits as it deserves."""
	if value is None:
		return "-"
	return f"{value:.1f}" if value >= 10 else f"{value:.4f}"


def table(results):
	"""Return the text table of a list of result objects."""
	rows = {}
	for item in results:
		key = (item["guest"], item["bench"], item["case"], item["pages"], item["metric"])
		rows.setdefault(key, {})[item["kernel"]] = item["value"]
	lines = [COLUMNS]
	for (guest, bench, case, pages, metric), values in rows.items():
		base, series = values.get("base"), values.get("series")
		ratio = f"{series / base:.3f}" if base and series is not None else "-"
		lines.append(f"{guest:<11}{bench:<14}{case:<19}{pages:>7}  {metric:<21}"
			     f"{number(base):>10}{number(series):>10}{ratio:>8}")
	return "\n".join(lines)


def _main():
	parser = argparse.ArgumentParser(description=__doc__)
	parser.add_argument("results", nargs="?", type=Path,
			    default=build_dir() / "bench" / "results.json")
	path = parser.parse_args().results
	if not path.is_file():
		raise ToolError(f"{path} is missing: 'make bench'")
	print(table(json.loads(path.read_text())))
	sys.stdout.flush()
	return 0


if __name__ == "__main__":
	main(_main)
