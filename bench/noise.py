# SPDX-License-Identifier: GPL-2.0
"""Is a difference a change, or noise? The exact two-sided Mann-Whitney test.

It asks how likely ranks as far apart as these are if both samples come from one
distribution, whatever that is: for timings, which have outliers on one side, no normal
distribution has to be assumed. "ministat" tests means of normal distributions.
"""
import statistics
from collections.abc import Sequence
from functools import cache
from typing import Any

Comparison = dict[str, Any]	# what compare() returns
ALPHA = 0.01	# a change is called one if p is below this


@cache
def arrangements(n: int, m: int, u: int) -> int:
	"""Return in how many orders of @n and @m values the first have the statistic @u."""
	if u < 0:
		return 0
	if n == 0 or m == 0:
		return int(u == 0)
	return arrangements(n - 1, m, u - m) + arrangements(n, m - 1, u)


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> float:
	"""Return the two-sided p of two lists of numbers; ties count half.

	Raises ValueError if one is empty.
	"""
	n, m = len(first), len(second)
	if not n or not m:
		raise ValueError("a sample is empty")
	u = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
	u = min(u, n * m - u)
	below: float = sum(arrangements(n, m, k) for k in range(int(u) + 1))
	if u != int(u):		# between two orders: the mean of both
		below += arrangements(n, m, int(u) + 1) / 2
	total = below / sum(arrangements(n, m, k) for k in range(n * m + 1))
	return min(1.0, 2 * total)


def compare(base: list[float], series: list[float]) -> Comparison:
	"""Return of both samples median, least and most, p, and whether it is a change.

	Least and most show what the test sees: one value beyond all of the other
	sample's weighs as much as it looks, and a quartile would hide it.
	"""
	p = mann_whitney(base, series)
	return {"base": statistics.median(base), "base_min": min(base), "base_max": max(base),
		"series": statistics.median(series), "series_min": min(series),
		"series_max": max(series),
		"runs": [len(base), len(series)], "p": p, "change": p < ALPHA}


def verdict(compared: Comparison) -> str:
	"""Return in words what compare() found; the one rule for texts and pages."""
	return "change" if compared["change"] else "within the noise"
