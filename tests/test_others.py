# SPDX-License-Identifier: GPL-2.0
"""Tests of make others: what it takes from consoles, and trees that it refuses."""
import contextlib
import io
import tempfile
import unittest
import unittest.mock
from collections import Counter
from pathlib import Path

from checks import barriers, ltp, others, outcomes, stress_ng
from common.apt import package_version
from common.command import ROOT, ToolError
from common.tally import Tally
from guests.libraries import libraries


@contextlib.contextmanager
def silence():
	"""Keep results off the terminal."""
	with contextlib.redirect_stdout(io.StringIO()), \
	     contextlib.redirect_stderr(io.StringIO()), \
	     unittest.mock.patch("sys.__stdout__", io.StringIO()):
		yield


class OutcomesTest(unittest.TestCase):
	"""checks.outcomes: a difference fails unless it has a reason."""

	def compare(self, base, series, reasons=None):
		"""Return (number of failures, the table's lines)."""
		tally = Tally()
		with silence():
			table = outcomes.compare(tally, "bare", base, series, reasons)
		return tally.failed, table

	def test_reason(self):
		good, bad = ("pass", Counter(), []), ("fail", Counter(), [])
		self.assertEqual(self.compare({"a": good}, {"a": bad})[0], 1)
		failed, table = self.compare({"a": good}, {"a": bad}, {"a": "by chance"})
		self.assertEqual(failed, 0)
		self.assertRegex(table[0], r"^bare +a +pass +fail +by chance$")

	def test_reason_for_no_result(self):
		failed, table = self.compare({"a": ("pass", Counter(), [])}, {}, {"a": "by chance"})
		self.assertEqual((failed, table[0].split()[-1]), (1, "DIFFERS"))


class LtpTest(unittest.TestCase):
	"""checks.ltp reads LTP's lists and output, and refuses trees."""

	LINES = ["noise", "== begin mmap01", "== end mmap01 0", "mmap01.c:5: TPASS: good",
		 "mmap01.c:6: TPASS: good", "mmap01.c:7: TCONF: no", "== next",
		 "== begin fork05", "== end fork05 32", "fork05.c:5: TCONF: no", "== next",
		 "== begin vma02", "== end vma02 3", "vma02.c:9: TFAIL: 7 of 8",
		 "vma02.c:9: TFAIL: 6 of 8", "TBROK : old style", "mremap.c:3: TINFO: x", "== next",
		 "== begin slow", "== end slow 143", "slow.c:1: TPASS: x", "== next",
		 "== begin killed", "== end killed 2", "killed.c:1: TPASS: x",
		 "tst_test.c:9: TBROK: Test killed! (timeout?)", "== next"]

	def test_outcomes(self):
		self.assertEqual(ltp.parse(self.LINES), {
			"mmap01": ("pass", Counter({"pass": 2, "skip": 1}), []),
			"fork05": ("skip", Counter({"skip": 1}), []),
			"vma02": ("fail", Counter({"fail": 3}), ["vma02.c:9", "vma02"]),
			"slow": ("timeout", Counter(), []), "killed": ("timeout", Counter(), [])})

	def tree(self, tmp, configured=True):
		"""Return the path of a tree that looks like LTP's, below @tmp."""
		tree = Path(tmp)
		texts = {"include/tst_test.h": "", "runtest/kvm": "kvm_svm01 kvm_svm01\n"
			 "kvm_vmx01 kvm_vmx01\n", "runtest/syscalls": "fork06 fork_procs -n 1000\n"
			 "mlock03 mlock03 -i 20\n",
			 "runtest/mm": "#comment\n\nmmapstress07 T=`mktemp x`; mmapstress07 $T\n"
			 "shm_test01\tshm_test -l 10\nvma01 vma01\n"}
		if configured:
			texts["include/mk/config.mk"] = ""
		for name, text in texts.items():
			(tree / name).parent.mkdir(parents=True, exist_ok=True)
			(tree / name).write_text(text)
		return tree

	def test_lists(self):
		with tempfile.TemporaryDirectory() as tmp:
			self.assertEqual(ltp.listed(self.tree(tmp)), {
				"mmapstress07": ["mmapstress07", "/tmp/ltp/example"],
				"shm_test01": ["shm_test", "-l", "10"], "vma01": ["vma01"],
				"kvm_svm01": ["kvm_svm01"], "fork06": ["fork_procs", "-n", "200"],
				"mlock03": ["mlock03", "-i", "20"]})

	def test_no_such_tree(self):
		with tempfile.TemporaryDirectory() as tmp, \
		     self.assertRaisesRegex(ToolError, "is not a tree of the Linux Test Project"):
			ltp.check_tree(Path(tmp))

	def test_not_configured(self):
		with tempfile.TemporaryDirectory() as tmp, \
		     self.assertRaisesRegex(ToolError, "is not configured: run 'make autotools"):
			ltp.check_tree(self.tree(tmp, configured=False))

	def test_not_built(self):
		with tempfile.TemporaryDirectory() as tmp, silence(), \
		     self.assertRaisesRegex(ToolError, "no test was built: see .*ltp.log"):
			ltp.build_tests(self.tree(tmp))

	def test_not_static(self):
		with tempfile.TemporaryDirectory() as tmp, silence():
			tree = self.tree(tmp)
			program = tree / "testcases/kernel/mem/vma/vma01"
			program.parent.mkdir(parents=True)
			program.write_bytes(Path("/bin/bash").read_bytes())
			program.chmod(0o755)
			with self.assertRaisesRegex(ToolError, "vma01 is not static: run 'make"):
				ltp.build_tests(tree)

	def test_no_tree_named(self):
		with unittest.mock.patch("sys.argv", ["others", "--only", "ltp"]), silence(), \
		     self.assertRaisesRegex(ToolError, "LTP=<tree> says where"):
			others._main()		# pylint: disable=protected-access


class StressNgTest(unittest.TestCase):
	"""checks.stress_ng computes what an operation costs, and whether that can be believed."""

	def costs(self, each, start=1000, second=None, status=0):
		"""Return {"brk": Cost} of a console where an operation costs @each instructions."""
		ops = int(stress_ng.STRESSORS["brk"].split()[0])
		lines = [f"== end brk.{times}.{repeat} {status} {start + cost * times * ops}"
			 for repeat, cost in enumerate((each, second or each)) for times in (1, 3)]
		return stress_ng.parse(lines)

	def count(self, base, series, reasons=None):
		"""Return (number of failures, the last line of the table)."""
		tally = Tally()
		with silence():
			lines = stress_ng.count(tally, "bare", base, series, reasons or {})
		return tally.failed, lines[-1 - len(stress_ng.UNCOUNTED)]

	def test_difference_is_the_cost(self):
		self.assertEqual(self.costs(250)["brk"].each(), [250, 250])
		self.assertEqual(self.costs(250, start=7)["brk"].each(), [250, 250])

	def test_dearer(self):
		for series, failed, ratio in ((100, 0, "1.000"), (50, 0, "0.500"),
					      (102, 1, "1.020")):
			with self.subTest(series=series):
				found, line = self.count(self.costs(100), self.costs(series))
				self.assertEqual((found, line.split()[-1]), (failed, ratio))

	def test_dearer_with_a_reason(self):
		failed, line = self.count(self.costs(100), self.costs(102), {"brk": "known"})
		self.assertEqual((failed, line.split()[-2:]), (0, ["1.020", "known"]))

	def test_does_not_repeat(self):
		failed, line = self.count(self.costs(100), self.costs(100, second=110))
		self.assertEqual(failed, 0)
		self.assertIn("does not repeat: base 0.0 %, series 10.0 %", line)
		failed, _ = self.count(self.costs(100), self.costs(120, second=150))
		self.assertEqual(failed, 1)

	def test_no_count(self):
		self.assertEqual(self.count(self.costs(100), {})[0], 1)

	def test_status(self):
		self.assertEqual(self.costs(1, status=2)["brk"].report(),
				 ("fail", Counter(), ["2"]))
		self.assertEqual(self.costs(1)["brk"].report(), ("pass", Counter(), []))

	def test_runs(self):
		names = [name for name, _ in stress_ng.runs(["brk", "resources", "mmapfork"])]
		self.assertEqual(names, ["brk.1.0", "brk.3.0", "brk.1.1", "brk.3.1"])
		names = [name for name, _ in stress_ng.stresses(["brk", "mmapfork"])]
		self.assertEqual(names, ["brk", "brk-oom", "mmapfork-oom"])


class BarriersTest(unittest.TestCase):
	"""checks.barriers believes a program only if it says that its data is whole."""

	def test_parse(self):
		lines = ["== begin sbcl", "marks: whole", "== end sbcl: 0",
			 "== begin redis, saves by fork()", "== end redis, saves by fork(): 0",
			 "== begin node", "marks: torn", "== end node: 1",
			 "== begin java", "== end java: 143"]
		self.assertEqual({name: word for name, (word, *_) in barriers.parse(lines).items()},
				 {"sbcl": "pass", "redis, saves by fork()": "fail", "node": "fail",
				  "java": "timeout"})

	def test_links_stay_inside(self):
		with tempfile.TemporaryDirectory() as tmp:
			root = Path(tmp)
			(root / "etc").mkdir()
			(root / "etc" / "conf").write_text("")
			(root / "usr").mkdir()
			(root / "usr" / "conf").symlink_to("/etc/conf")
			(root / "usr" / "gone").symlink_to("/etc/gone")
			self.assertEqual(barriers.below(root, "usr"),
					 [("/usr/conf", root / "etc" / "conf")])

	def test_version_of_a_package_without_changelog(self):
		with tempfile.TemporaryDirectory() as tmp:
			self.assertEqual(package_version(Path(tmp), "x"), "x unknown")

	def test_missing_library(self):
		with tempfile.TemporaryDirectory() as tmp, \
		     self.assertRaisesRegex(ToolError, "which is not below .*: remove that dir"):
			libraries(["/bin/bash"], tmp)

	def test_sources_are_there(self):
		for name in ("marks.lisp", "marks.js", "Marks.java", "gc_marks.c", "counted.c"):
			self.assertTrue((ROOT / "guests" / "programs" / name).is_file())
