# SPDX-License-Identifier: GPL-2.0
"""What programs of others come to on two kernels, beside each other: a difference is a finding."""
from collections import Counter
from collections.abc import Mapping

from common.tally import Tally

WORDS = {"0": "pass", "4": "skip", "124": "timeout", "137": "timeout", "143": "timeout"}
# Shows what the kernel warned of, which the jobs keep off the console until they end.
WARNED = "dmesg | grep -aE 'WARNING: |BUG: |Oops: |general protection fault'"
# Of a program: its outcome, how many of its tests had each, and the names of those that failed.
Report = tuple[str, Counter[str], list[str]]


def outcome(status: str) -> str:
	"""Return what an exit status means, as a word."""
	return WORDS.get(status, "fail")


def cell(result: Report | None) -> str:
	"""Return one cell of the table."""
	if not result:
		return "no result"
	word, counts, _ = result
	return f"{word} {counts['pass']}/{counts['fail']}/{counts['skip']}" if counts else word


def compare(tally: Tally, title: str, base: dict[str, Report], series: dict[str, Report],
	    reasons: Mapping[str, str] | None = None) -> list[str]:
	"""Count each program as one result and return the table's lines.

	A difference fails, unless @reasons, {program: reason}, has one for it.
	"""
	lines = []
	for name in base | series:
		old, new = base.get(name), series.get(name)
		same = old is not None and old == new
		reason = (reasons or {}).get(name, "") if not same and old and new else ""
		note = "" if same else f"base {cell(old)}, series {cell(new)}"
		if old and new and old[2] != new[2]:
			note += f"; only base: {sorted(set(old[2]) - set(new[2]))[:5]}, " \
				f"only series: {sorted(set(new[2]) - set(old[2]))[:5]}"
		tally.result(f"{title} {name}: same on base and series ({cell(new)})",
			     same or bool(reason), note)
		lines.append(row(title, name, cell(old), cell(new),
				 "" if same else reason or "DIFFERS"))
	return lines


def row(title: str, name: str, base: str, series: str, remark: str = "") -> str:
	"""Return one row of the table."""
	return f"{title:<9} {name:<39} {base:<21} {series:<21} {remark}".rstrip()
