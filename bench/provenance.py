# SPDX-License-Identifier: GPL-2.0
"""Which run each of the committed results is of: bench/results/runs.json.

That is a list of runs, each with its facts (bench/facts.py) and what it measured:
{"facts": {title: text}, "measured": {"bare": {"base": [benches]}}}.
"""
from collections.abc import Iterable
from typing import Any

from common.result import Result

Run = dict[str, Any]


def nested(places: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, list[str]]]:
	"""Return @places, which are (guest, kernel, bench), as {guest: {kernel: [benches]}}."""
	found: dict[str, dict[str, list[str]]] = {}
	for guest, kernel, bench in dict.fromkeys(places):
		found.setdefault(guest, {}).setdefault(kernel, []).append(bench)
	return found


def measured(results: list[Result]) -> dict[str, dict[str, list[str]]]:
	"""Return the benches of each kernel in each guest: {guest: {kernel: [benches]}}."""
	return nested((r.guest, r.kernel, r.bench) for r in results)


def together(runs: list[Run], facts: dict[str, str], new: list[Result],
	     kept: list[Result]) -> list[Run]:
	"""Return @runs and the one with @facts that measured @new.

	Of the earlier runs there remains what is of @kept: the results that were not
	measured anew.
	"""
	remain = {(r.guest, r.kernel, r.bench) for r in kept}
	found = []
	for run in runs:
		left = nested((guest, kernel, bench)
			      for guest, kernels in run["measured"].items()
			      for kernel, benches in kernels.items()
			      for bench in benches if (guest, kernel, bench) in remain)
		if left:
			found.append({"facts": run["facts"], "measured": left})
	return [*found, {"facts": facts, "measured": measured(new)}]


def where(run: Run, runs: list[Run]) -> str:
	"""Return what @run measured, as "base, series in bare, xen; ...".

	The benches are named where others of @runs measured the rest of that place.
	"""
	guests: dict[str, list[str]] = {}
	for guest, kernels in run["measured"].items():
		groups: dict[str, list[str]] = {}
		for kernel, benches in kernels.items():
			shared = any(kernel in other["measured"].get(guest, {})
				     for other in runs if other is not run)
			note = f" ({', '.join(sorted(benches))})" if shared else ""
			groups.setdefault(note, []).append(kernel)
		for note, names in groups.items():
			guests.setdefault(", ".join(names), []).append(guest + note)
	return "; ".join(f"{names} in {', '.join(places)}" for names, places in guests.items())


def head(runs: list[Run]) -> list[str]:
	"""Return the lines that a report of @runs begins with.

	First what they have in common, then for each run what it measured and what
	is true for it alone.
	"""
	titles = dict.fromkeys(title for run in runs for title in run["facts"])
	values = {title: {run["facts"][title] for run in runs if title in run["facts"]}
		  for title in titles}
	latest = {title: text for run in runs for title, text in run["facts"].items()}
	lines = [f"{title + ':':<20} {latest[title]}" for title in titles
		 if len(values[title]) == 1]
	for run in reversed(runs) if len(runs) > 1 else ():
		lines += ["", f"{where(run, runs)}:"]
		lines += [f"    {title + ':':<16} {text}" for title, text in run["facts"].items()
			  if len(values[title]) > 1]
	return lines
