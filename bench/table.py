# SPDX-License-Identifier: GPL-2.0
"""Results as rows and columns: what base and series cost, and where the series costs more."""

from common.command import build_dir, replaced
from common.result import Result, Row

RATIO = "ratio"		# the column of series to base
NOTICED_PLACES = ("bare", "xen", "domU", "pvh")
NOTICED = {
	"everyday": ("fork-exec", "shell", "dynamic", "pipeline", "compile"),
	"page_fault": ("anon-4k", "file-read", "cow-file", "cow-fork"),
	"fork": ("anon-4k",), "munmap": ("anon-4k", "file-private"),
	"madv_dontneed": ("anon-4k",), "mremap": ("anon-4k",), "mprotect": ("anon-4k",),
}
NOISE = 1.01	# a ratio above it counts as worse; counts repeat to 0.5 %


def keep(name: str, text: str) -> None:
	"""Print the table @text, and write it to build/bench/@name."""
	with replaced(build_dir() / "bench" / name) as tmp:
		tmp.write_text(text)
	print(text, end="")


def number(value: float | None) -> str:
	"""Return a figure with as many digits as it deserves."""
	if value is None:
		return "-"
	return f"{value:.{0 if value >= 100000 else 1 if value >= 10 else 4}f}"


def ordered(results: list[Result]) -> list[str]:
	"""Return the kernels of @results in the order of columns: base, series, topics, others."""
	rank = {"base": 0, "series": 1}
	names = dict.fromkeys(r.kernel for r in results)
	return sorted(names, key=lambda n: rank.get(n, 2 if n.startswith("topic") else 3))


def columns(results: list[Result]) -> list[str]:
	"""Return the columns of figures: the kernels of @results, RATIO after base and series."""
	names = ordered(results)
	own = [n for n in names if n in ("base", "series")]
	return [*own, RATIO, *names[len(own):]]


def noticed(results: list[Result]) -> list[Result]:
	"""Return those of @results that users notice, what they notice most first."""
	found = [r for r in results if r.guest in NOTICED_PLACES and r.case in
		 NOTICED.get(r.bench, ()) and
		 (r.bench == "everyday" or
		  r.pages == 4096 and r.metric == "instructions_per_pte")]
	benches, guests = list(NOTICED), list(NOTICED_PLACES)
	return sorted(found, key=lambda r: (benches.index(r.bench), guests.index(r.guest)))


def rows(results: list[Result]) -> dict[Row, dict[str, float]]:
	"""Return {row: {kernel: value}}."""
	found: dict[Row, dict[str, float]] = {}
	for result in results:
		found.setdefault(result.row, {})[result.kernel] = result.value
	return found


def ratio(values: dict[str, float]) -> float | None:
	"""Return series to base of {kernel: value}, or None."""
	base, series = values.get("base"), values.get("series")
	return series / base if base and series is not None else None


def ratio_text(value: float | None) -> str:
	"""Return a ratio as text that fits into its column."""
	if value is None:
		return "-"
	return f"{value:.3f}" if value < 100 else f"{value:.0f}"


def column_width(name: str) -> int:
	"""Return the width of the column @name: a kernel or RATIO."""
	if name == RATIO:
		return 8
	return 12 if "-" in name else 10


def table(results: list[Result]) -> str:
	"""Return the text table of @results."""
	names = columns(results)
	lines = [f"{'guest':<11}{'bench':<14}{'case':<19}{'pages':>7}  {'metric':<21}"
		 + "".join(c.rjust(column_width(c)) for c in names)]
	for row, values in rows(results).items():
		line = f"{row.guest:<11}{row.bench:<14}{row.case:<19}{row.pages:>7}  " \
		       f"{row.metric:<21}"
		for column in names:
			cell = ratio_text(ratio(values)) if column == RATIO \
			       else number(values.get(column))
			line += cell.rjust(column_width(column))
		lines.append(line)
	return "\n".join(lines)


def worse(results: list[Result], noise: float = NOISE) -> list[tuple[Row, float, float]]:
	"""Return the rows where the series costs more than base: [(row, base, series)]."""
	found = []
	for row, values in rows(results).items():
		value = ratio(values)
		if value and value > noise:
			found.append((row, values["base"], values["series"]))
	return found
