# SPDX-License-Identifier: GPL-2.0
"""The report as one HTML page: tables, plots, no script and nothing to load."""
import collections
import html
from collections.abc import Sequence

from bench import plot
from bench.insn_profile import Profiled, grouped, in_hypervisor
from bench.matrix import PLACES
from bench.noise import ALPHA, Comparison, verdict
from bench.table import NOISE, RATIO, columns, noticed, number, ordered, ratio, rows, worse
from common.result import Result, select

STYLE = """
:root { color-scheme: light dark; --text: #1a1a1a; --dim: #555; --back: #fff; --line: #d5d5d5;
	--good: #00704f; --bad: #b03a00; --panel: #f6f6f6; --on-bar: #000; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --dim: #aaa; --back: #151515;
	--line: #3a3a3a; --good: #3fc79a; --bad: #ff8a4d; --panel: #1f1f1f; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
	max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
	gap: 1.5rem; }
.plots > div { min-width: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .bar { stroke: var(--back); stroke-width: 1; }
svg text.on-bar { fill: var(--on-bar); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0;
	margin: .5rem 0; font-size: .85rem; }
.legend li { display: flex; align-items: center; gap: .35rem; overflow-wrap: anywhere; }
.legend svg { width: 30px; height: 12px; flex: none; }
.swatch { width: 14px; height: 14px; flex: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
	white-space: nowrap; }
th { color: var(--dim); font-weight: 600; }
.name { text-align: left; }
td.good { color: var(--good); } td.bad { color: var(--bad); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .85rem; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
details { margin: .6rem 0; } summary { cursor: pointer; }
.note { color: var(--dim); font-size: .9rem; }
"""
SEGMENTS = 7	# functions that have a part of their own in a bar
CASE, BENCH, METRIC = "anon-4k", "mprotect", "instructions_per_pte"
Cell = str | int | tuple[str, str]	# of a table; a pair is (text, class)


def title(guest: str) -> str:
	"""Return the name of a guest as a reader knows it."""
	return PLACES[guest].title if guest in PLACES else guest


def html_table(head: Sequence[str], body: Sequence[Sequence[Cell]], names: int = 1) -> str:
	"""Return a table of @body's rows; the first @names columns are names, not figures."""
	def cell(tag: str, value: Cell, index: int) -> str:
		text, kind = value if isinstance(value, tuple) else (str(value), "")
		kind = f"{kind} name".strip() if index < names else kind
		attribute = f' class="{kind}"' if kind else ""
		return f"<{tag}{attribute}>{html.escape(text)}</{tag}>"

	lines = ["<div class=\"scroll\"><table><thead><tr>",
		 *(cell("th", h, i) for i, h in enumerate(head)), "</tr></thead><tbody>"]
	for row in body:
		cells = "".join(cell("td", v, i) for i, v in enumerate(row))
		lines.append(f"<tr>{cells}</tr>")
	return "".join(lines) + "</tbody></table></div>"


def ratio_cell(values: dict[str, float]) -> Cell:
	"""Return the cell of series to base."""
	value = ratio(values)
	if value is None:
		return "-"
	return f"{value:.3f}", "bad" if value > NOISE else "good" if value < 1 / NOISE else ""


def figures(values: dict[str, float], names: Sequence[str]) -> list[Cell]:
	"""Return the cells of the columns @names: kernels and RATIO."""
	return [ratio_cell(values) if n == RATIO else number(values.get(n)) for n in names]


def summary(results: list[Result]) -> str:
	"""Return the table of what users notice; base, series and ratio come first."""
	names = columns(results)
	body: list[list[Cell]] = []
	for row, values in rows(noticed(results)).items():
		unit = row.metric.replace("_", " ")
		body.append([f"{row.guest}: {row.bench} {row.case}", *figures(values, names), unit])
	return html_table(["what", *names, "unit"], body)


def toggles(results: list[Result]) -> str:
	"""Return the table of one row per guest: the RO/RW toggle of most pages that all have."""
	names = columns(results)
	body: list[list[Cell]] = []
	for row, values in rows(select(results, bench=BENCH, case=CASE, metric=METRIC)).items():
		if row.pages in (1, 4096):
			body.append([title(row.guest), row.pages, *figures(values, names)])
	return html_table(["guest", "pages", *names], body)


def growth(results: list[Result], guest: str) -> dict[str, plot.Points]:
	"""Return {kernel: [(pages, instructions)]} of the RO/RW toggle in @guest."""
	found: dict[str, plot.Points] = {}
	mine = select(results, guest=guest, bench=BENCH, case=CASE, metric=METRIC)
	for kernel in ordered(results):
		points: plot.Points = [(r.pages, r.value) for r in mine if r.kernel == kernel]
		if points:
			found[kernel] = points
	return found


def segments(profiles: list[Profiled]) -> tuple[list[str], dict[str, dict[str, float]]]:
	"""Return (names, {label: {name: value}}) for the bars of one guest's profiles.

	The hypervisor is one part, the largest functions of the kernel are parts
	of their own, the rest is one.
	"""
	most: dict[str, float] = collections.defaultdict(float)
	for item in profiles:
		for function, value in item["functions"].items():
			if function != "user" and not in_hypervisor(function):
				most[function] = max(most[function], value)
	chosen = sorted(most, key=lambda name: -most[name])[:SEGMENTS]
	stacks = {}
	for item in profiles:
		parts = {name: item["functions"].get(name, 0) for name in chosen}
		kernel = item["total"] - item["hypervisor"]
		parts["rest of the kernel"] = kernel - sum(parts.values())
		if item["hypervisor"]:
			parts["hypervisor"] = item["hypervisor"]
		stacks[item["kernel"]] = parts
	names = [*chosen, "rest of the kernel"]
	if any("hypervisor" in parts for parts in stacks.values()):
		names = ["hypervisor", *names]
	return names, stacks


def breakdown(profiles: Sequence[Profiled]) -> str:
	"""Return the bars of each guest."""
	parts = []
	for (guest, bench, case, pages), items in grouped(profiles).items():
		names, stacks = segments(items)
		head = f"{title(guest)}: {bench}, {case}, {pages} pages"
		parts.append(f"<div><h3>{html.escape(head)}</h3>{plot.bars(head, stacks, names)}"
			     f"{plot.bar_legend(names)}</div>")
	return f'<div class="plots">{"".join(parts)}</div>'


def full_tables(results: list[Result]) -> str:
	"""Return a folded table per guest with everything that was measured."""
	parts = []
	for guest in dict.fromkeys(r.guest for r in results):
		mine = select(results, guest=guest)
		names = columns(mine)
		body: list[list[Cell]] = [[r.bench, r.case, r.metric, r.pages, *figures(v, names)]
					  for r, v in rows(mine).items()]
		head = ["bench", "case", "metric", "pages", *names]
		parts.append(f"<details open><summary>{html.escape(title(guest))} ({guest})"
			     f"</summary>{html_table(head, body, 3)}</details>")
	return "".join(parts)


def wall_table(wall: Sequence[Comparison]) -> str:
	"""Return the table of wall-clock runs: median, least, most, and whether it is a change."""
	def spread(item: Comparison, kernel: str) -> str:
		median, least, most = (number(item[kernel + part]) for part in ("", "_min", "_max"))
		return f"{median} ({least} to {most})"

	body = []
	for item in wall:
		body.append([title(item["guest"]), item["case"], item["pages"], item["threads"],
			     spread(item, "base"), spread(item, "series"),
			     f"{item['series'] / item['base']:.3f}", f"{item['p']:.4f}",
			     verdict(item)])
	return html_table(["guest", "case", "pages", "threads", "base, ns", "series, ns",
			   "series/base", "p", "verdict"], body, 2)


def page(results: list[Result], facts: dict[str, str], profiles: Sequence[Profiled] = (),
	 wall: Sequence[Comparison] = (), machines: str = "") -> str:
	"""Return the whole page as text.

	@profiles is what profile.json holds, @wall what wall.json does, @machines the text of
	sticks.txt.
	"""
	bad = worse(results)
	parts = [f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
		 '<meta name="viewport" content="width=device-width, initial-scale=1">'
		 f"<title>modify-prot: benchmark</title><style>{STYLE}</style></head><body>"
		 "<h1>What page-table operations cost, per page table entry</h1>"
		 f'<p class="note">Unit: {html.escape(facts.get("unit", "instructions"))}.</p>'
		 "<h2>What users notice</h2>", summary(results),
		 "<h2>mprotect(), 4 KiB anonymous pages, read-only and back</h2>", toggles(results)]
	guests = [g for g in dict.fromkeys(r.guest for r in results)
		  if len({p for points in growth(results, g).values() for p, _ in points}) > 2]
	names = list(dict.fromkeys(n for g in guests for n in growth(results, g)))
	plots = []
	for guest in guests:
		lines = {n: growth(results, guest).get(n, []) for n in names}
		plots.append(f"<div><h3>{html.escape(title(guest))}</h3>"
			     f"{plot.lines(title(guest), lines)}</div>")
	parts += ["<h2>Cost per entry against the number of pages</h2>", plot.legend(names),
		  f'<div class="plots">{"".join(plots)}</div>']
	if profiles:
		parts += ["<h2>Where the instructions go</h2>", breakdown(profiles)]
	if wall:
		parts += ["<h2>Wall-clock time</h2><p class=\"note\">Nanoseconds per entry by this "
			  "machine's clock, boots of base and series in turn: median (least to "
			  "most); p of a two-sided Mann-Whitney test, a change is what has p < "
			  f"{ALPHA}.</p>", wall_table(wall)]
	if machines:
		parts.append("<h2>Real machines</h2><pre class=\"scroll\">"
			     f"{html.escape(machines)}</pre>")
	parts.append(f"<h2>Worse than base by more than {100 * (NOISE - 1):.0f} %</h2>")
	parts.append(html_table(["guest", "bench", "case", "pages", "base", "series", "change"],
				[[title(r.guest), r.bench, r.case, r.pages, number(b), number(s),
				  (f"+{100 * (s / b - 1):.1f} %", "bad")] for r, b, s in bad], 3)
		     if bad else "<p>Nothing.</p>")
	parts += ["<h2>Everything that was measured</h2>", full_tables(results), "<h2>How</h2><dl>"]
	parts += [f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>"
		  for name, fact in facts.items()]
	return "".join(parts) + "</dl></body></html>\n"
