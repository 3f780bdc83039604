# SPDX-License-Identifier: GPL-2.0
"""Tests of what judges tests: faults, data races, upstream's selftests, KVM's figures."""
import contextlib
import errno
import functools
import io
import tempfile
import unittest
import unittest.mock
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from bench.kvm import parse_kvm
from checks import (alone, faults, foreign, in_guest, kcsan, outcomes, snapshot, soak,
		    spte, upstream)
from common import command
from common.command import ToolError
from common.tally import Tally
from guests import job
from guests.kernel import known_kernels

FAULT = """SPDX-License-Identifier: GPL-2.0
Title: it is broken
Test: kvm x86/some_test -t one
Guest: kvm.tdp_mmu=0
Says: first
Says: second
Test: kunit suite*
On: xen
Ends: ok
Says: not ok

Prose: is not a field.
---
diff --git a/mm/code.c b/mm/code.c
--- a/mm/code.c
+++ b/mm/code.c
@@ -1 +1 @@
-int a;
+int b;
"""


class FaultTest(unittest.TestCase):
	"""checks.faults reads descriptions, and refuses what it can't make sense of."""

	def parse(self, text):
		"""Return the Fault that @text describes."""
		with tempfile.TemporaryDirectory() as tmp:
			path = Path(tmp) / "name.patch"
			path.write_text(text)
			return faults.parse(path)

	def test_fields(self):
		fault = self.parse(FAULT)
		self.assertEqual((fault.name, fault.title, fault.files()),
				 ("name", "it is broken", ["mm/code.c"]))
		first, second = fault.tests
		self.assertEqual((first.kind, first.words, first.append, first.ends, first.says),
				 ("kvm", ["x86/some_test", "-t", "one"], "kvm.tdp_mmu=0", "failed",
				  ["first", "second"]))
		self.assertEqual((second.kind, second.words, second.ends, first.on, second.on),
				 ("kunit", ["suite*"], "ok", "bare", "xen"))

	def test_places_and_ends(self):
		text = FAULT.replace("On: xen\nEnds: ok", "On: xen-l1tf\nEnds: died")
		second = self.parse(text).tests[1]
		self.assertEqual((second.on, second.ends), ("xen-l1tf", "died"))

	def test_malformed(self):
		for old, new in (("Title: it is broken\n", ""), ("Test: kvm", "Test: xyz"),
				 ("Ends: ok", "Ends: well"), ("On: xen", "On: zen"),
				 ("On: xen", "CPUs: two"),
				 ("Says: not ok\n", ""),
				 ("\n---\n", "\n"), ("Test: kvm x86/some_test -t one\n", "")):
			with self.subTest(old=old), self.assertRaises(ToolError):
				self.parse(FAULT.replace(old, new))

	def test_unknown_name(self):
		with self.assertRaisesRegex(ToolError,
					    "unknown fault 'nope': known are .*kvm-no-flush"):
			faults.faults(["nope"])

	def test_all_are_well_formed(self):
		self.assertGreaterEqual(len(faults.faults()), 3)


class ForeignTest(unittest.TestCase):
	"""checks.foreign reads a console, and tells better from worse."""

	CONSOLE = ("foreign: begins dom0 privcmd rw-ro",
		   "guest| foreign: begins domU gntdev rw-ro",
		   "WARNING: arch/x86/xen/multicalls.c:294 at xen_mc_flush",
		   "foreign: dom0 privcmd rw-ro: unchanged",
		   "WARNING: between two cases",
		   "guest| foreign: domU gntdev rw-ro: lost")

	def test_console(self):
		self.assertEqual(foreign.parse(self.CONSOLE), {
			"dom0 privcmd rw-ro": foreign.Case("unchanged", True),
			"domU gntdev rw-ro": foreign.Case("lost", False)})

	def test_kernel_of_dom0_interrupts_a_line_of_domu(self):
		self.assertEqual(foreign.parse((
			"foreign: begins dom0 privcmd rw-ro",
			"guest| foreign: begins domU gntdev ro-none-roWARNING: x.c:1 at f+0x1/0x2",
			"foreign: dom0 privcmd rw-ro: unchanged",
			"guest| foreign: domU gntdev ro-none-ro: lost")), {
			"dom0 privcmd rw-ro": foreign.Case("unchanged", True),
			"domU gntdev ro-none-ro": foreign.Case("lost", False)})

	def test_case_that_did_not_end_or_begin(self):
		for lines in (self.CONSOLE[:3], self.CONSOLE[3:],
			      ("foreign: begins dom0 gntdev rw", "foreign: dom0 gntdev rw: well")):
			with self.subTest(lines=lines), self.assertRaises(ToolError):
				foreign.parse(lines)

	def test_worse(self):
		unchanged, warns = foreign.Case("unchanged"), foreign.Case("unchanged", True)
		for case, other, want in ((foreign.Case("lost"), unchanged, True),
					  (foreign.Case("works"), unchanged, False),
					  (unchanged, warns, False), (warns, unchanged, True),
					  (warns, warns, False),
					  (foreign.Case("works", True), unchanged, True)):
			with self.subTest(case=str(case), other=str(other)):
				self.assertEqual(case.worse_than(other), want)


class KcsanTest(unittest.TestCase):
	"""checks.kcsan blames the series for races in its own code that the base does not have."""

	def failures(self, series, base):
		"""Return (failed results, whether the base was run) for logs with these races."""
		tally = Tally()
		with tempfile.TemporaryDirectory() as tmp, contextlib.ExitStack() as stack:
			log = Path(tmp) / "log"
			log.mkdir()

			def write(kernel, races):
				text = "".join(f"BUG: KCSAN: data-race in {r}\n" for r in races)
				path = log / f"torture-{kernel}-kcsan-bare.log"
				path.write_text(f"boot\n{text}end\n")

			write("series", series)
			stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
			own = {"change_pte_range", "mine", "kvm_mmu_faultin_pfn"}
			for name, value in (("sys.__stdout__", io.StringIO()),
					    ("checks.kcsan.build_dir", lambda: Path(tmp)),
					    ("checks.kcsan.own_functions", lambda: own)):
				stack.enter_context(unittest.mock.patch(name, value))
			run_base = stack.enter_context(unittest.mock.patch(
				"checks.kcsan.run_base",
				side_effect=lambda *_: write("base", base)))
			kcsan.check_kcsan(tally, 0, None, None, {})
			return tally.failed, run_base.called

	def test_blame(self):
		"""Two functions in any order, with offsets, are one race.

		For races in other code, or known ones, the base is not run.
		"""
		known = " / ".join(f"{name}+0x1/0x2" for name in list(kcsan.KNOWN)[0])
		race, turned = "mine+0x1/0x2 / theirs+0x3/0x4", "theirs+0x5/0x6 / mine+0x7/0x8"
		for series, base, want in (((), (), (0, False)),
					   (("theirs / others",), (), (0, False)),
					   ((known,), (), (0, False)),
					   ((known, race), (race,), (0, True)),
					   ((race,), (), (1, True)),
					   ((race,), (turned,), (0, True)),
					   ((race, "change_pte_range"), (race,), (1, True))):
			with self.subTest(series=series, base=base):
				self.assertEqual(self.failures(series, base), want)

	def test_base_runs_in_guests_like_those_of_the_series(self):
		with contextlib.ExitStack() as stack:
			guest, _, torture = (stack.enter_context(
				unittest.mock.patch(f"checks.kcsan.{name}"))
				for name in ("guest", "build", "torture"))
			options = {"smp": 2, "accel": "kvm"}
			kcsan.run_base(Path("race"), Path("stress"), 1, options)
		self.assertEqual([(call.args[0], call.kwargs["accel"], "svm" in call.kwargs)
				  for call in guest.call_args_list],
				 [("bare", "kvm", False), ("bare", "tcg", True),
				  ("xen", "kvm", False)])
		self.assertEqual(torture.call_count, 2)


class SnapshotTest(unittest.TestCase):
	"""checks.snapshot: what a job says of its snapshot."""

	def test_verdict(self):
		lines = ["noise", "snapshot: 255 pages merged after", "snapshot: torn"]
		self.assertEqual(snapshot.verdict(lines), (255, "torn"))

	def test_job_that_says_nothing(self):
		for lines, reason in ((["snapshot: 9 pages merged"], "does not say"),
				      (["snapshot: whole"], "no page was merged"),
				      (["snapshot: 0 pages merged", "snapshot: whole"], "no page")):
			with self.assertRaisesRegex(AssertionError, reason):
				snapshot.verdict(lines)

	def test_variables_come_first(self):
		for name in ("snapshot-qemu.sh", "snapshot-criu.sh"):
			self.assertTrue(job.script(name, pages=7, append="a b").startswith(
				'pages="7"\nappend="a b"\n#!/bin/sh\n'))

	def test_wrong_kernel_is_a_failure(self):
		class Machine:
			"""A guest whose snapshot is whole."""

			lines, log = ["snapshot: 9 pages merged", "snapshot: whole"], "the.log"

			def run(self, *_, **__):
				"""Return self as the result."""
				return self

			def require(self):
				"""Return self: it was ok."""
				return self

		def made_machine(_kernel, _name):
			return Machine()

		tally = Tally()
		with unittest.mock.patch.object(snapshot, "PROGRAMS",
					{"it": ("it", made_machine)}), \
		     unittest.mock.patch("sys.__stdout__", io.StringIO()), \
		     contextlib.redirect_stdout(io.StringIO()):
			snapshot.check_snapshot(tally)
		self.assertEqual(list(tally.failures),
				 ["snapshot by it, KSM at work, base: torn"])


class TallyTest(unittest.TestCase):
	"""What goes wrong is counted, whatever it is."""

	def setUp(self):
		# Results of these tests are none of the suite that runs them.
		stdout = patch("sys.__stdout__", io.StringIO())
		stdout.start()
		self.addCleanup(stdout.stop)

	def test_mistake_of_the_tooling_is_a_failure(self):
		tally = Tally()
		with contextlib.redirect_stderr(io.StringIO()) as err, tally.step("broken"):
			raise ValueError("no such thing")
		self.assertEqual(tally.failures, {"broken": "ValueError: no such thing"})
		self.assertIn("Traceback", err.getvalue())

	def test_no_space_is_one_line(self):
		def full():
			raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
		with contextlib.redirect_stderr(io.StringIO()) as err, \
		     self.assertRaises(SystemExit) as ended:
			command.main(full)
		self.assertEqual(ended.exception.code, command.EXIT_USAGE)
		self.assertEqual(err.getvalue(), "error: /tmp/x: No space left on device: see to "
				 "that and start it again\n")

	@staticmethod
	def run_selftest(*lines, again=None, svm=False):
		"""Return the counts of a program that says @lines, then @again if given."""
		def require(result):
			if result.status != "ok":
				raise ToolError("guest failed")
			return result

		results = [SimpleNamespace(lines=list(said), log="x.log",
					   status="failed" if in_guest.lost(said) else "ok")
			   for said in (lines, *([again] if again else []))]
		for result in results:
			result.require = functools.partial(require, result)
		machine = SimpleNamespace(svm=svm, run=lambda *_args, **_options: results.pop(0))
		tally = Tally()
		with patch.object(in_guest, "guest", lambda *_args, **_options: machine):
			in_guest.run_selftest(tally, "x", "bare", Path("x_test"), "")
		return tally.passed, tally.failed, tally.skipped

	def test_program_that_skips_everything_fails(self):
		self.assertEqual(self.run_selftest("1..0 # SKIP no NUMA", in_guest.SKIPPED),
				 (0, 1, 0))
		self.assertEqual(self.run_selftest("ok 1 a # SKIP no NUMA", in_guest.SKIPPED),
				 (1, 0, 1))
		self.assertEqual(self.run_selftest("ok 1 a"), (2, 0, 0))

	def test_program_that_the_emulator_failed_gets_a_second_chance(self):
		run = self.run_selftest
		for said in ("  Unexpected exit: KVM_EXIT_SHUTDOWN",
			     "  x: unexpected exit: SHUTDOWN",
			     "  x: the guest hangs after 7 laps, with 9 exits "
			     "and 0 faults per second"):
			shown = io.StringIO()
			with patch("sys.__stdout__", shown):
				self.assertEqual((2, 0, 0), run(said, again=["ok 1 a"], svm=True))
				self.assertEqual((0, 1, 0), run(said, again=[said], svm=True))
				self.assertEqual((0, 1, 0), run(said, svm=False))
			self.assertIn(f"# x: {said.strip()}: run again, see x.log\n",
				      shown.getvalue())
		self.assertEqual("", in_guest.lost(["Unexpected exit: KVM_EXIT_MMIO",
						    "the guest hangs after 7 laps, with 9 exits "
						    "and 10 faults per second"]))

	def test_failed_assertion_is_shown(self):
		shown = io.StringIO()
		with patch("sys.__stdout__", shown):
			self.run_selftest("ok 1 a", "==== Test Assertion Failure ====",
					  "  x_test.c:7: n == 3", "  2 != 3 (n != 3)",
					  "# Test process ended with status 0xfe00", "not ok 2 b")
		self.assertIn("\n# ==== Test Assertion Failure ==== x_test.c:7: n == 3 2 != 3 "
			      "(n != 3) # Test process ended with status 0xfe00\n",
			      shown.getvalue())

	def test_fault_that_does_not_build_is_taken_back(self):
		fault, did = faults.Fault("bad", "it does not build"), []

		def run_nothing(argv, **_options):
			raise ToolError(f"{argv[0]} failed")
		with patch.object(faults, "run", run_nothing), \
		     patch.object(faults, "scratch", lambda: (Path("tree"), Path("objects"))), \
		     patch.object(faults, "make_command", lambda *_args: ["make"]), \
		     patch.object(faults, "remove", lambda _path: None), \
		     patch.object(faults, "apply",
				  lambda _fault, _tree, reverse=False: did.append(reverse)):
			faults.check_faults(Tally(), [fault])
		self.assertEqual(did, [False, True])


class Alone(unittest.TestCase):
	"""The tests of a topic on that topic alone."""

	def test_kernels_are_known(self):
		self.assertLessEqual(set(alone.CHECKS), set(known_kernels()))

	def test_each_check_gets_its_topic(self):
		seen = []
		with unittest.mock.patch.dict(alone.CHECKS, {
				"topic2": (lambda *args: seen.append((1, *args)),
					   lambda *args: seen.append((2, *args)))}):
			alone.check_alone("tally", ["topic2"])
		self.assertEqual(seen, [(1, "tally", "topic2"), (2, "tally", "topic2")])


class SplitStressTest(unittest.TestCase):
	"""checks.spte: whether a stress of splits had huge pages to split."""

	def test_stress(self):
		line = ("stress: {} splits, of {} huge SPTEs, 9 times collapsed, "
			"{} times by khugepaged, 3 times written")
		self.assertTrue(spte.split_stress([line.format(5, 2, 1)]))
		for counts in ((0, 2, 1), (5, 0, 1), (5, 2, 0)):
			self.assertFalse(spte.split_stress([line.format(*counts)]))
		self.assertFalse(spte.split_stress([]))


class UpstreamTest(unittest.TestCase):
	"""checks.upstream tells outcomes apart, and fails on any difference."""

	lines = ["noise", "== begin /bin/a", "== end /bin/a 0", "ok 1 - one",
		 "ok 2 two # SKIP no", "== next",
		 "ok 3 stray", "== begin /bin/b", "== end /bin/b 124", "== next",
		 "== begin /bin/c", "== end /bin/c 1", "not ok 1 three", "== next"]

	def compare(self, base, series):
		"""Return (number of failures, the table's lines) for two consoles."""
		tally = Tally()
		with contextlib.redirect_stdout(io.StringIO()), \
		     unittest.mock.patch("sys.__stdout__", io.StringIO()):
			table = upstream.compare(tally, "mm bare", upstream.parse(base),
						 upstream.parse(series))
		return tally.failed, table

	def test_outcomes(self):
		results = upstream.parse(self.lines)
		self.assertEqual({n: outcomes.cell(r) for n, r in results.items()},
				 {"a": "pass 1/0/1", "b": "timeout", "c": "fail 0/1/0"})

	def test_same(self):
		self.assertEqual(self.compare(self.lines, self.lines)[0], 0)

	def test_differences(self):
		for old, new in (("== end /bin/a 0", "== end /bin/a 4"),
				 ("ok 1 - one", "not ok 1 - one"),
				 ("not ok 1 three", "not ok 1 other"), ("== end /bin/b 124", "")):
			with self.subTest(old=old):
				other = [new if line == old else line for line in self.lines]
				for pair in ((self.lines, other), (other, self.lines)):
					failed, table = self.compare(*pair)
					differ = sum(line.endswith("DIFFERS") for line in table)
					self.assertEqual((failed, differ), (1, 1))


class KvmBenchTest(unittest.TestCase):
	"""bench.kvm takes figures from the program's lines."""

	def test_parse(self):
		lines = ["# result bench=ksm case=read pages=64 "
			 f"metric={metric} median=2.5 min=2.0 max=3.0 runs=3"
			 for metric in ("ns_per_page", "exits_per_page")]
		found = parse_kvm([*lines, "noise"], "base", ",x")
		self.assertEqual([r.metric for r in found],
				 ["instructions_per_page", "exits_per_page"])
		self.assertEqual(found[0].as_object(),
				 {"kernel": "base", "guest": "kvm-host", "bench": "ksm",
				  "case": "read,x", "pages": 64, "metric": "instructions_per_page",
				  "value": 2.5, "min": 2.0, "max": 3.0, "runs": 3})


class SoakTest(unittest.TestCase):
	"""make soak, with guests that are not there."""

	def test_every_program_runs(self) -> None:
		"""Each program of change_pte runs, on one kernel."""
		ran: list[str] = []

		def run(_tally: Tally, _title: str, _kind: str, program: Path, *_: str,
			**_options: object) -> list[str]:
			ran.append(program.name)
			return ["in place 1", "disturb: 1 times offline, 1 frozen"]

		with patch.multiple(soak, run_selftest=run, build=lambda *_: None,
				    selftest=lambda _where, name, _config: Path(name),
				    check_kunit=lambda *_: None, check_torture=lambda *_: None,
				    check_vmalloc=lambda *_: None), \
		     contextlib.redirect_stdout(io.StringIO()):
			tally = Tally()
			soak.check_soak(tally, "preempt", 1)
		self.assertLessEqual({*spte.CHANGE_PTE, "modify_prot_race"}, set(ran))
		self.assertEqual(0, tally.failed)
