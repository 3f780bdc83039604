# SPDX-License-Identifier: GPL-2.0
"""Tests of bench/dist.sh, the runner of the tarball for real machines."""
import shutil
import subprocess

from bench import dist
from common.command import ROOT
from tests.miniature import FakeCase


class Dist(FakeCase):
	"""The runner, with scripts in its programs' place."""

	def setUp(self):
		super().setUp()
		self.runner = self.tmp / "run.sh"
		shutil.copy(ROOT / "bench" / "dist.sh", self.runner)
		for name in dist.PROGRAMS:
			self.program(name, "true")

	def program(self, name, script):
		(self.tmp / name).write_text(f"#!/bin/sh\n{script}\n")
		(self.tmp / name).chmod(0o755)

	def run_it(self, *args):
		done = subprocess.run(["sh", self.runner, *args], cwd=self.tmp, capture_output=True,
				      text=True, check=False)
		rows = [l.split() for l in done.stdout.splitlines() if l and l[0] != "#"]
		return done, rows[1:]

	def perf(self, *values):
		"""Let mprotect_perf print each of @values in turn, as the median of a run."""
		self.program("mprotect_perf",
			     f"echo >> {self.tmp}/n; set -- {' '.join(map(str, values))}; "
			     f"shift $(($(wc -l < {self.tmp}/n) - 1)); "
			     'echo "# result bench=b case=c pages=4 metric=ns '
			     'median=$1 min=1 max=1000 runs=9"')
		(self.tmp / "n").unlink(missing_ok=True)

	def test_table_has_median_and_range_of_the_rounds(self):
		self.perf(30, 5, 100)
		done, rows = self.run_it("3")
		self.assertEqual(done.returncode, 0, done.stderr)
		self.assertEqual(rows[0][1:], ["b", "c", "4", "ns", "30.00", "5.00", "100.00"])
		self.assertEqual(len(list(self.tmp.glob("result-*.txt"))), 1)

	def test_failures_are_told(self):
		for name, script, words in (("modify_prot_race", "echo not ok 1 x; exit 1",
					     "race: not ok 1 x"),
					    ("mprotect_workload", "exit 9", "workload: status 9")):
			with self.subTest(words):
				self.perf(1)
				self.program(name, script)
				done, _ = self.run_it("1")
				self.assertEqual(done.returncode, 1)
				self.assertIn(words, done.stdout)
				self.program(name, "true")

	def test_no_figures_leave_no_file(self):
		done, _ = self.run_it("1")
		self.assertEqual(done.returncode, 2)
		self.assertIn("no result", done.stderr)
		self.assertEqual(list(self.tmp.glob("result-*")), [])

	def test_a_change_is_starred_only_beyond_the_noise(self):
		files = []
		for name, values in (("before", (10, 12, 14)), ("near", (9, 11, 13)),
				     ("after", (5, 6, 7))):
			self.perf(*values)
			files.append(self.tmp / name)
			files[-1].write_text(self.run_it("3")[0].stdout)
		row = ["b", "c", "4", "ns", "12.00"]
		self.assertEqual(self.run_it("compare", *files[:2])[1], [[*row, "11.00", "0.917"]])
		self.assertEqual(self.run_it("compare", files[0], files[2])[1],
				 [[*row, "6.00", "0.500", "*"]])

	def test_bad_arguments_are_refused(self):
		for args in (["fast"], ["0"], ["compare", "a"], ["compare", "/no/a", "/no/b"]):
			with self.subTest(args):
				done, _ = self.run_it(*args)
				self.assertEqual(done.returncode, 2)
				self.assertTrue(done.stderr.startswith("error: "), done.stderr)
