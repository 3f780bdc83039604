# SPDX-License-Identifier: GPL-2.0
"""Unit tests of the report: tables, plots, the page, and what is kept of which run. No kernel."""
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

from bench import page, plot, provenance, report, table, wall
from common.command import EXIT_USAGE
from common.result import Row, dump, load
from tests.test_bench import BenchCase, result



class Balanced(HTMLParser):
	"""Checks that every tag is closed, and collects attributes."""

	VOID = {"meta", "line", "rect", "circle", "polygon", "polyline", "br"}

	def __init__(self):
		super().__init__()
		self.open, self.attributes = [], []

	def handle_starttag(self, tag, attrs):
		"""Open @tag."""
		self.attributes += attrs
		if tag not in self.VOID:
			self.open.append(tag)

	def handle_startendtag(self, tag, attrs):
		"""Note the attributes of an empty element."""
		self.attributes += attrs

	def handle_endtag(self, tag):
		"""Close @tag; it must be the innermost."""
		if tag in self.VOID:
			return
		assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
		self.open.pop()


class Report(BenchCase):
	"""Tables, plots, the page."""

	RESULTS = [*(result(k, v * (1 + 9 / p), pages=p)
		     for k, v in (("base", 355.0), ("series", 118.0), ("debian-6.1", 164.0))
		     for p in (1, 16, 512, 4096)),
		   result("base", 100.0, case="slow<er>"), result("series", 102.0, case="slow<er>")]

	def test_columns_and_ratio(self):
		head, row = table.table(self.RESULTS[3:12:4]).splitlines()
		self.assertEqual(head.split()[5:], ["base", "series", "ratio", "debian-6.1"])
		self.assertEqual(row.split()[-2], "0.332")

	def test_missing_figures_are_dashes(self):
		row = table.table([result("base", 3.0), result("series", 1.5),
				   result("base", 2.0, pages=1)]).splitlines()[2]
		self.assertEqual(row.split()[-3:], ["2.0000", "-", "-"])

	def test_large_ratios_stay_in_their_column(self):
		row = table.table([result("base", 0.001), result("series", 1.001)]).splitlines()[1]
		self.assertEqual(row.split()[-3:], ["0.0010", "1.0010", "1001"])

	def test_worse_is_worse_by_more_than_noise(self):
		self.assertEqual([r.case for r, _, _ in table.worse(self.RESULTS)], ["slow<er>"])
		self.assertEqual(table.worse([result("base", 100.0), result("series", 100.9)]), [])
		self.assertIn("slow<er> 4096 pages, instructions_per_pte: 100.0 -> 102.0 (+2.0 %)",
			      report.text(self.RESULTS, []))

	def test_log_ticks(self):
		self.assertEqual(plot.log_ticks(90, 4000), [100, 200, 500, 1000, 2000])
		self.assertEqual(plot.log_ticks(1, 100000), [10.0 ** d for d in range(6)])

	def test_lines_stay_inside_and_labels_apart(self):
		points = {"a": [(1, 2915), (262144, 900)], "b": [(2, 50), (4, 49), (8, 48)]}
		root = ET.fromstring(plot.lines("t", points))
		for line in root.iter("polyline"):
			for point in line.get("points").split():
				x, y = map(float, point.split(","))
				self.assertTrue(0 <= x <= plot.WIDTH and 0 <= y <= plot.HEIGHT,
						point)
		ticks = [float(t.get("x")) for t in root.iter("text")
			 if float(t.get("y") or 0) == plot.HEIGHT - plot.BOTTOM + 15]
		self.assertGreater(len(ticks), 2)
		self.assertTrue(all(b - a > 30 for a, b in zip(ticks, ticks[1:])), ticks)

	def test_bars_are_as_long_as_their_values(self):
		stacks = {"base": {"a": 75, "b": 25}, "series": {"a": 50}}
		root = ET.fromstring(plot.bars("t", stacks, ["a", "b"]))
		self.assertEqual([round(float(r.get("width")) / (plot.WIDTH - 2), 2)
				  for r in root.iter("rect")], [0.75, 0.25, 0.5])

	def test_profile_segments_add_up(self):
		functions = {f"f{i}": 10.0 - i for i in range(10)} | {"xen:x": 50.0, "user": 1.0}
		item = {"kernel": "base", "functions": functions, "total": sum(functions.values()),
			"hypervisor": 50.0}
		names, stacks = page.segments([item])
		self.assertEqual((names[0], names[1], names[-1]),
				 ("hypervisor", "f0", "rest of the kernel"))
		self.assertAlmostEqual(sum(stacks["base"].values()), item["total"])

	def test_page_is_well_formed_and_self_contained(self):
		facts = {"unit": "<instructions>", "machine": "a & b"}
		profiles = [{"kernel": "base", "guest": "xen", "bench": "mprotect",
			     "case": "anon-4k", "pages": 512, "functions": {"f": 3.0, "xen:g": 4.0},
			     "total": 7.0, "hypervisor": 4.0}]
		timed = wall.Timed(Row("xen", "mprotect", "anon-4k", 512, "ns_per_pte"), 1)
		checked = wall.verdicts({k: [{timed: 10.0 + i} for i in range(3)]
					 for k in ("base", "series")})
		html = page.page(self.RESULTS, facts, profiles, checked)
		parser = Balanced()
		parser.feed(html)
		parser.close()
		self.assertEqual(parser.open, [])
		self.assertFalse([a for a in parser.attributes if a[0] in ("src", "href")])
		self.assertNotRegex(html, r"https?://|@import|url\(|<script")
		for text in ("slow&lt;er&gt;", "&lt;instructions&gt;", "a &amp; b", "118.3",
			     "prefers-color-scheme: dark", "viewport"):
			self.assertIn(text, html)
		self.assertNotIn("slow<er>", html)

	def test_report_is_written_from_what_is_there(self):
		(self.tmp / "results.json").write_text(dump(self.RESULTS))
		report.write(self.tmp)
		self.assertIn("118.3", (self.tmp / "report.html").read_text())
		self.assertIn("118.3", (self.tmp / "report.txt").read_text())
		(self.tmp / "irqsoff.txt").write_text("46\n")
		report.keep(self.tmp, self.tmp / "kept" / "results")
		self.assertEqual(load(self.tmp / "kept" / "results" / "results.json"), self.RESULTS)
		self.assertTrue((self.tmp / "kept" / "results" / "irqsoff.txt").is_file())
		self.assertFalse((self.tmp / "kept" / "breakdown.txt").exists())
		self.fails(EXIT_USAGE, "make bench", report.write, self.tmp / "kept")

	def keep(self, commit, *results):
		"""Keep @results of a run at @commit, as "make report" does; return the report."""
		(self.tmp / "results.json").write_text(dump(results))
		(self.tmp / "facts.json").write_text(json.dumps({"machine": "M",
								 "repository": commit}))
		report.keep(self.tmp, self.tmp / "kept")
		return (self.tmp / "kept" / "report.txt").read_text()

	def kept(self):
		"""Return the results that were kept."""
		return load(self.tmp / "kept" / "results.json")

	def test_a_run_of_a_part_keeps_the_rest(self):
		old = [result("base", 3.0, "xen"), result("base", 2.0), result("series", 1.0)]
		self.assertNotIn("base in", self.keep("abc", *old))
		text = self.keep("def", result("series", 0.5))
		self.assertEqual(self.kept(), [old[1], result("series", 0.5), old[0]])
		self.assertEqual(text.split("\n")[2:9], [
			"machine:             M", "", "series in bare:", "    repository:      def",
			"", "base in xen, bare:", "    repository:      abc"])

	def test_a_metric_by_itself_keeps_the_others(self):
		old = result("base", 2.0)
		self.keep("abc", old)
		locked = replace(old, metric="locked_per_pte")
		self.keep("def", locked)
		self.assertEqual(self.kept(), [old, locked])

	def test_a_benchmark_by_itself_keeps_the_others(self):
		other = replace(result("base", 9.0), bench="fork")
		self.keep("abc", other, result("base", 2.0))
		text = self.keep("def", result("base", 1.0))
		self.assertEqual(self.kept(), [other, result("base", 1.0)])
		self.assertRegex(text, r"(?m)^base in bare \(fork\):\n    repository: +abc$")
		self.assertRegex(text, r"(?m)^base in bare \(mprotect\):\n    repository: +def$")

	def test_what_was_kept_already_is_not_kept_again(self):
		kept = self.tmp / "kept"
		for name in ("alike.txt", "wall.txt"):
			(self.tmp / name).write_text("of this run\n")
		self.keep("abc", result("base", 2.0))
		for name in ("alike.txt", "results.json"):
			(kept / name).write_text("[]\n")
		(self.tmp / "wall.txt").write_text("anew\n")
		report.keep(self.tmp, kept)
		self.assertEqual([(kept / name).read_text()
				  for name in ("alike.txt", "results.json", "wall.txt")],
				 ["[]\n", "[]\n", "anew\n"])

	def test_a_breakdown_of_a_part_keeps_the_rest(self):
		def breakdown(command, *sections):
			return f"# {command}\n# what\n\n" + "\n".join(
				f"fork a, 1 pages, {guest}: instructions per pte\n {value}  total\n"
				for guest, value in sections)

		old = breakdown("make profile", ("bare", 1), ("xen", 2))
		self.assertEqual(report.joined(old, old), old)
		new = breakdown("make profile GUEST=xen", ("xen", 3), ("domU", 4))
		self.assertEqual(report.joined(old, new), "# make profile\n" + breakdown(
			"make profile GUEST=xen", ("bare", 1), ("xen", 3), ("domU", 4)))
		every = breakdown("make profile", ("xen", 5), ("bare", 6))
		self.assertEqual(report.joined(new.replace("domU", "bare"), every), breakdown(
			"make profile", ("xen", 5), ("bare", 6)))

	def test_a_run_of_which_nothing_is_left_is_forgotten(self):
		self.keep("abc", result("base", 2.0), result("series", 1.0))
		self.keep("def", result("base", 2.0))
		text = self.keep("012", result("series", 1.0))
		self.assertNotIn("abc", text)
		runs = json.loads((self.tmp / "kept" / "runs.json").read_text())
		self.assertEqual([provenance.where(run, runs) for run in runs],
				 ["base in bare", "series in bare"])
