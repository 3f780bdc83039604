# SPDX-License-Identifier: GPL-2.0
"""Tests of the gate of figures: a wrong figure is named, and so is one that is tied to no fact."""
import unittest

from checks import suite
from common.command import EXIT_USAGE, ROOT, ToolError
from common.result import Result, dump
from gates import run, typed_figures as figures
from series.figures import RESULTS
from tests.miniature import FakeCase

MESSAGE = """Subject.

Under Xen PV with 4096 pages and gcc 12.2, on Linux 7.3.4 of 2026, it takes
524 instructions per pte, 290.6 with this
change, some 45 % less:

                 before   after
  munmap()          300     310

It was 13.2 cycles in a loop.
"""
ENTRIES = """# A comment.

first: takes {bare:16:base} instructions per pte, {bare:16:series} with this change, some
  {bare:16:series-%base} % less
first: munmap() {bare/munmap:16:base} {bare/munmap:16:series}
first: 13.2 cycles # by a program of its own
"""


class FigureGate(FakeCase):
	"""A topic with one message and what stands in it."""

	RESULTS = [Result(kernel, "bare", bench, "anon-4k", 16, "instructions_per_pte", value)
		   for kernel, bench, value in (("base", "mprotect", 524.29),
						("series", "mprotect", 290.63),
						("base", "munmap", 300.2),
						("series", "munmap", 309.5))]

	def complaints(self, message=MESSAGE, entries=ENTRIES):
		"""Return what the gate says about @message and its @entries."""
		path = self.tmp / "figures"
		path.write_text(entries)
		text = figures.Text("T", "0001-the-first.patch", message, self.tmp / "0001")
		found = figures.check([text], figures.read_entries(path, self.tmp), self.RESULTS)
		return [line for _, lines in found for line in lines]

	def test_right_figures_pass(self):
		self.assertEqual(self.complaints(), [])

	def test_wrong_figures_are_named(self):
		for old, new, says in (("524", "525",
					"T says 525 where figures:3 has 524: 'takes 525 instr"),
				       ("290.6", "290.5", "T says 290.5 where figures:3 has 290.6"),
				       ("45 %", "46 %", "T says 46 where figures:3 has 45"),
				       ("  310", "  290", "T says 290 where figures:5 has 310"),
				       ("300     310", "310     300",
					"T says 310 where figures:5 has 300")):
			with self.subTest(new):
				self.assertIn(says, self.complaints(MESSAGE.replace(old, new))[0])

	def test_figures_without_an_entry_are_named(self):
		for line in range(3, 6):
			entries = ENTRIES.splitlines()
			with self.subTest(entries[line]):
				del entries[line if line > 3 else 3:line + 1]
				self.assertTrue(self.complaints(entries="\n".join(entries)))
		self.assertIn("figure that is in no entry, 13.2: 'It was 13.2 cycles in a loop.'",
			      self.complaints(entries=ENTRIES.rpartition("first:")[0])[0])
		for text in ("Now 12 % of it.", "That is 5 % faster.", "Exits: 200 -> 13.",
			     "(2.5 % per page)", "It takes -3 instructions.", "a   100   200",
			     "From 2915 down to 2412 instructions."):
			with self.subTest(text):
				self.assertTrue(self.complaints(f"{MESSAGE}\n{text}\n"))

	def test_other_numbers_are_none(self):
		for text in ("512 pages per hypercall",
			     "instructions, 4 KiB, 16 small pages, 2 CPUs and 64 entries",
			     "cycles: gcc 12.2, Xen 4.17, Linux 7.3, commit 123456, p < 0.01",
			     "per pte since 2012, in 1999",
			     "hypercalls at 0xffff+0x10/0x20 mm/memory.c:1737",
			     "instructions of -icount shift=0 -smp 2",
			     "It was found after 300 of them.",
			     "faults of 6.1.42 and v7.3.4, on 2026-11-21", "1..14 per pte"):
			with self.subTest(text):
				self.assertEqual(self.complaints(f"{MESSAGE}\n{text}\n"), [])

	def test_entries_whose_text_is_gone_are_named(self):
		self.assertIn("figures:6: T does not have it any more: '13.2 cycles'",
			      self.complaints(MESSAGE.replace("13.2 cycles", "slow")))
		self.assertIn("figures:3: second names nothing",
			      self.complaints(entries=ENTRIES.replace("first", "second", 1)))

	def test_malformed_entries_are_refused(self):
		for entry, says in (("  first: x # y", "continues an entry, and there is none"),
				    ("first x", "is not \"<patch"),
				    ("first: 13 cycles", "has placeholders, or a reason"),
				    ("first: {:16:base} # why", "has placeholders, or a reason"),
				    ("first: {xen:16:base}", "figures:1: no figure for")):
			with self.subTest(entry), self.assertRaises(ToolError) as caught:
				message = entry.partition(": ")[2].replace("{xen:16:base}", "524")
				self.complaints(message, entry)
			self.assertIn(says, str(caught.exception))
			self.assertEqual(caught.exception.code, EXIT_USAGE)

	def test_pages_keep_their_code(self):
		text = figures.Text("T", "x.md",
				    "Per pte `-p 512` and:\n\n    make -j 16   # 30 instructions\n",
				    self.tmp, quoted=figures.CODE)
		self.assertEqual(figures.judge(text, []), [])

	def test_fix_types_the_results(self):
		(self.root / RESULTS).parent.mkdir(parents=True)
		(self.root / RESULTS).write_text(dump(self.RESULTS))
		topic = self.root / "patches" / "1-topic"
		(topic / "figures").write_text(ENTRIES.replace("first", "rename-the-fifth"))
		path = topic / "0001-mm-rename-the-fifth-line.patch"
		right = path.read_text().replace("It is better so.\n", MESSAGE)
		wrong = right.replace("300     310", " 99    1310")
		wrong = wrong.replace("524 instr", "7 instr").replace("45 %", "4 %")
		self.addCleanup(setattr, figures, "pages", figures.pages)
		figures.pages = lambda: []
		path.write_text(wrong)
		self.assertEqual(figures.fix(self.root), [path])
		self.assertEqual(path.read_text(), right)
		self.assertEqual(figures.fix(self.root), [])


class Committed(unittest.TestCase):
	"""The repository's own entries."""

	def test_every_entry_is_well_formed_and_its_facts_are_known(self):
		results = figures.load()
		for name, _, entries in figures.every():
			for entry in entries:
				with self.subTest(entry.label):
					self.assertEqual(bool(entry.reason),
							 not entry.values(results), name)

	def test_make_test_runs_the_gate(self):
		self.assertIs(run.GATES["figures"], figures.figures)
		self.assertIn("figures", suite.PATCHES_GATES)

	def test_the_pages_are_looked_at(self):
		self.assertIn("README.md", figures.pages())
		self.assertTrue((ROOT / figures.PAGES).is_file())
