# SPDX-License-Identifier: GPL-2.0
"""Results as rows and columns: what base and series cost, and where the series costs more."""

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
