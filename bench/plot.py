# SPDX-License-Identifier: GPL-2.0
"""Plots as inline SVG: lines on log axes, stacked bars.

Text and grid take their colours from the page's style sheet (light and dark);
legends are not part of the picture but of the page, where they can wrap.
"""
import html
import math
from collections.abc import Sequence

# Okabe and Ito's colours, which colour-blind people can tell apart, in shades that
# stand out on white and on black; dashes and marks tell the lines apart as well.
COLOURS = ("#d55e00", "#0080c8", "#009e73", "#cc79a7", "#7a68c8", "#56b4e9", "#8a8a8a", "#a05a2c",
	   "#c98a00")
DASHES = ("", "", "6 3", "2 3", "8 3 2 3", "4 2", "1 2", "10 4", "3 5")
WIDTH, HEIGHT = 420, 280
LEFT, RIGHT, TOP, BOTTOM = 40, 20, 26, 40
GAP = 30		# at least between the labels of an axis

Points = list[tuple[float, float]]


def style(index: int) -> tuple[str, str]:
	"""Return (colour, dashes) of the line or bar number @index."""
	return COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]


def mark(index: int, x: float, y: float) -> str:
	"""Return the SVG of a data point: circle, square, diamond or triangle."""
	colour = style(index)[0]
	r = 3
	if index % 4 == 0:
		return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{colour}"/>'
	points = {1: ((-r, -r), (r, -r), (r, r), (-r, r)), 2: ((0, -4), (4, 0), (0, 4), (-4, 0)),
		  3: ((0, -4), (4, 3), (-4, 3))}[index % 4]
	text = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in points)
	return f'<polygon points="{text}" fill="{colour}"/>'


def legend(names: Sequence[str]) -> str:
	"""Return the HTML legend of lines or bars in the order of @names."""
	items = []
	for index, name in enumerate(names):
		colour, dash = style(index)
		items.append('<li><svg width="30" height="12" aria-hidden="true">'
			     f'<line x1="1" y1="6" x2="29" y2="6" stroke="{colour}" '
			     f'stroke-width="2" stroke-dasharray="{dash}"/>'
			     f'{mark(index, 15, 6)}</svg>{html.escape(name)}</li>')
	return f'<ul class="legend">{"".join(items)}</ul>'


def log_ticks(low: float, high: float) -> list[float]:
	"""Return the ticks of a log axis from @low to @high: powers of 10, and 2 and 5 if few."""
	decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
	ticks = [10.0 ** d for d in decades]
	if high / low < 300:
		ticks = sorted(t * f for t in ticks for f in (1, 2, 5))
	return [t for t in ticks if low <= t * 1.0001 and t <= high * 1.0001]


def short(value: float) -> str:
	"""Return a tick's label: 512, 4k, 262k."""
	if value >= 10000:
		return f"{value / 1000:.0f}k"
	return f"{value:g}"


def scale(value: float, low: float, high: float, start: float, end: float) -> float:
	"""Return where @value is on a log axis from @low, at @start, to @high, at @end."""
	part = (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
	return start + part * (end - start)


def opening(title: str, height: int) -> str:
	"""Return the beginning of an SVG of @height with a @title."""
	text = html.escape(title)
	return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text}">' \
	       f"<title>{text}</title>"


def lines(title: str, series: dict[str, Points], x_label: str = "pages",
	  y_label: str = "instructions per pte") -> str:
	"""Return an SVG of {name: [(x, y), ...]}, both axes logarithmic; "" for no points."""
	xs = [x for points in series.values() for x, _ in points]
	ys = [y for points in series.values() for _, y in points]
	if not xs:
		return ""
	x_low, x_high = min(xs), max(max(xs), min(xs) * 10)
	y_low, y_high = min(ys) / 1.2, max(ys) * 1.2

	right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

	def place(x: float, y: float) -> tuple[float, float]:
		return scale(x, x_low, x_high, LEFT, right), scale(y, y_low, y_high, bottom, TOP)

	out = [opening(title, HEIGHT)]
	for tick in log_ticks(y_low, y_high):
		_, y = place(x_low, tick)
		out.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" '
			   f'x2="{right}" y2="{y:.1f}"/>'
			   f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">'
			   f"{short(tick)}</text>")
	last = -100.0
	for tick in sorted(set(xs)):
		x, _ = place(tick, y_low)
		out.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" '
			   f'x2="{x:.1f}" y2="{bottom}"/>')
		if x - last > GAP:
			out.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">'
				   f"{short(tick)}</text>")
			last = x
	out.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">'
		   f'{html.escape(x_label)}</text><text x="1" y="13">{html.escape(y_label)}</text>')
	for index, (name, points) in enumerate(series.items()):
		colour, dash = style(index)
		placed = [place(x, y) for x, y in sorted(points)]
		path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
		marks = "".join(mark(index, x, y) for x, y in placed)
		out.append(f'<g><title>{html.escape(name)}</title><polyline points="{path}" '
			   f'fill="none" stroke="{colour}" stroke-width="2" '
			   f'stroke-dasharray="{dash}"/>{marks}</g>')
	out.append("</svg>")
	return "".join(out)


def bars(title: str, stacks: dict[str, dict[str, float]], names: Sequence[str]) -> str:
	"""Return an SVG of horizontal stacked bars, zero-based.

	@stacks is {label: {name: value}}, @names the order of the parts.
	"""
	height, gap = 30, 22
	high = max(sum(parts.values()) for parts in stacks.values())
	total = len(stacks) * (height + gap) + 4
	out = [opening(title, total)]
	for row, (label, parts) in enumerate(stacks.items()):
		y, x = row * (height + gap) + 16, 1.0
		out.append(f'<text x="1" y="{y - 4}">{html.escape(label)}: '
			   f"{sum(parts.values()):.0f}</text>")
		for index, name in enumerate(names):
			width = parts.get(name, 0) / high * (WIDTH - 2)
			if width <= 0:
				continue
			out.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" '
				   f'height="{height}" class="bar" fill="{style(index)[0]}">'
				   f"<title>{html.escape(name)}: {parts[name]:.1f}</title></rect>")
			if width > 26:
				out.append(f'<text class="on-bar" x="{x + width / 2:.1f}" '
					   f'y="{y + height / 2 + 4:.0f}" text-anchor="middle">'
					   f"{parts[name]:.0f}</text>")
			x += width
	out.append("</svg>")
	return "".join(out)


def bar_legend(names: Sequence[str]) -> str:
	"""Return the HTML legend of bars()."""
	items = "".join(f'<li><span class="swatch" style="background:{style(i)[0]}"></span>'
			f"{html.escape(n)}</li>" for i, n in enumerate(names))
	return f'<ul class="legend">{items}</ul>'
