# SPDX-License-Identifier: GPL-2.0
"""Tests of the stick: its image, the job that runs from it, and the report of its results."""
import os
import shutil
import struct
import subprocess
import unittest
from pathlib import Path
from unittest import mock

from bench import report, stick, stick_image, stick_report
from common.command import ROOT, ToolError
from gates import stick_boot as gate
from tests.miniature import FakeCase

HEAD = "guest      bench              case                 pages  metric    median   min   max"
ROW = "{}  mprotect  anon-4k  4096  {}  {}  {}  {}"
RUN = """# what:      {name}
# machine:   QEMU Standard PC
# cpu:       QEMU TCG CPU
# microcode: 0x1
# flags:     pcid smap
# firmware:  BIOS, SeaBIOS 1.16
# KUnit:     {kunit}
# races:     2 runs, 40 passed, {lost} lost bits, 3 skipped
# kernel:  7.3.4 #1
# guest:   bare
"""


class Image(FakeCase):
	"""Partition table, environment block, FAT."""

	def test_partition_begins_at_a_mebibyte_and_fills_the_image(self):
		table = stick_image.partition_table(128 << 20)
		self.assertEqual(len(table), 66)
		self.assertEqual(table[64:], b"\x55\xaa")
		active, kind, start, sectors = struct.unpack("<B3xB3xII", table[:16])
		self.assertEqual((active, kind, start), (0x80, 0x0c, 2048))
		self.assertEqual((start + sectors) * 512, 128 << 20)

	def test_environment_is_what_grub_takes(self):
		block = stick_image.settings(10, 5)
		self.assertEqual(len(block), 1024)
		self.assertTrue(block.startswith(b"# GRUB Environment Block\nstep=\nrunning=\n"
						 b"minutes=10\nrounds=5\n#"))

	def test_size_has_room_for_results_and_is_whole(self):
		self.assertEqual(stick_image.image_size(1), 128 << 20)
		size = stick_image.image_size((200 << 20) + 1)
		self.assertEqual(size % (1 << 20), 0)
		self.assertGreaterEqual(size, (216 << 20))

	def test_serial_is_that_of_the_content(self):
		path = self.tmp / "file"
		found = []
		for text in ("a", "a", "b"):
			path.write_text(text)
			found.append(stick_image.fat_serial([path]))
		self.assertRegex(found[0], r"^[0-9A-F]{4}-[0-9A-F]{4}$")
		self.assertEqual(found[0], found[1])
		self.assertNotEqual(found[0], found[2])

	def test_a_core_image_that_does_not_fit_is_refused(self):
		(self.tmp / "boot").write_bytes(bytes(512))
		(self.tmp / "core").write_bytes(bytes(2048 * 512))
		with self.assertRaisesRegex(ToolError, "raise START"):
			stick_image.write_image(self.tmp / "img", 128 << 20,
						[self.tmp / "boot", self.tmp / "core"], "0-0", {})

	def test_a_full_disk_is_told_before_anything_is_written(self):
		usage = mock.Mock(free=1 << 20)
		(self.tmp / "kernel").write_text("x")
		names = ("build", "initrd", "hypervisor", "image", "boot_files", "write_image")
		with mock.patch.multiple(stick, **dict.fromkeys(names, mock.DEFAULT)) as fakes, \
		     mock.patch.object(shutil, "disk_usage", return_value=usage):
			for name in ("initrd", "hypervisor", "image"):
				fakes[name].return_value = self.tmp / "kernel"
			fakes["boot_files"].return_value = ([], {})
			with self.assertRaisesRegex(ToolError, "has 1 MiB of room, the image"):
				stick.stick(10, 5)
			fakes["write_image"].assert_not_called()

	def test_menu_has_an_entry_for_every_step(self):
		menu = (ROOT / "bench" / "stick.cfg").read_text()
		for step in range(2, 6):
			self.assertIn(f"--id step{step} ", menu)
		for name in ("uuid", "step", "name", "minutes", "rounds"):
			self.assertEqual(menu.count(f"stick.{name}="), 2)


class Job(FakeCase):
	"""Functions of guests/jobs/stick.sh that need no kernel."""

	def setUp(self):
		super().setUp()
		(self.tmp / "results").mkdir()
		(self.tmp / "grub").mkdir()

	def job(self, *words, **variables):
		done = subprocess.run(["sh", ROOT / "guests" / "jobs" / "stick.sh", *words],
				      env={**os.environ, "STICK": str(self.tmp), **variables},
				      capture_output=True, text=True, check=False)
		self.assertEqual(done.returncode, 0, done.stderr)
		return done.stdout

	def result(self, name, median, kunit="8 passed, 0 failed, 1 skipped", lost=0):
		rows = [HEAD] + [ROW.format("bare", metric, median, median - 1, median + 1)
				 for metric in ("ns_per_pte", "tsc_ticks_per_pte")]
		(self.tmp / "results" / f"{name}.txt").write_text(
			RUN.format(name=name, kunit=kunit, lost=lost) + "\n".join(rows) + "\n")

	def reported(self):
		self.job("report")
		return stick_report.parse((self.tmp / "RESULT.TXT").read_text(), "RESULT.TXT")

	def test_what_grub_reads_keeps_its_size(self):
		path = self.tmp / "grub" / "grubenv"
		path.write_bytes(stick_image.environment(step=1, running="base-bare", minutes=3,
							 rounds=4))
		self.job("next", "2", minutes="3", rounds="4")
		self.assertEqual(path.read_bytes(),
				 stick_image.environment(step=2, running="", minutes=3, rounds=4))

	def test_kunit_counts_totals_and_suites_of_one_case(self):
		log = ("[ 1.0] # Totals: pass:7 fail:1 skip:2 total:10\n[ 1.0] not ok 1 one\n"
		       "[ 1.0]     ok 1 alone\n[ 1.1] ok 2 two\n[ 1.2] ok 3 three # SKIP x\n")
		(self.tmp / "log").write_text(log)
		dmesg = self.tmp / "dmesg"
		dmesg.write_text(f"#!/bin/sh\ncat {self.tmp}/log\n")
		dmesg.chmod(0o755)
		(self.tmp / "tmp").mkdir()
		said = self.job("kunit", PATH=f"{self.tmp}:{os.environ['PATH']}",
				TMPDIR=str(self.tmp / "tmp"))
		self.assertEqual(said, "# KUnit:     8 passed, 1 failed, 3 skipped\n"
				       "# KUnit, not ok: one\n")

	def test_base_stands_beside_series(self):
		self.result("base-bare", 100)
		self.result("series-bare", 50)
		found = self.reported()
		self.assertEqual(found.facts["firmware"], "BIOS, SeaBIOS 1.16")
		key = ("bare", "mprotect", "anon-4k", "4096", "ns_per_pte")
		self.assertEqual(found.rows[key],
				 stick_report.Pair(100, (99, 101), 50, (49, 51), True))
		self.assertEqual(found.rows[key].cells(), ["100.00", "50.00", "0.500*"])
		self.assertEqual(list(found.runs), list(stick_report.RUNS))
		self.assertIn("no result", found.runs["base-xen"])

	def test_ranges_that_overlap_have_no_star(self):
		self.result("base-bare", 100)
		self.result("series-bare", 99)
		self.assertEqual({pair.apart for pair in self.reported().rows.values()}, {False})

	def test_one_round_has_no_star(self):
		for name, value in (("base-bare", 100), ("series-bare", 50)):
			path = self.tmp / "results" / f"{name}.txt"
			row = ROW.format("bare", "ns_per_pte", value, value, value)
			path.write_text(f"{RUN.format(name=name, kunit='', lost=0)}{HEAD}\n{row}\n")
		self.assertEqual({pair.apart for pair in self.reported().rows.values()}, {False})

	def test_short_form_fits_on_a_screen(self):
		for name in stick_report.RUNS:
			self.result(name, 1234567890123)
		self.reported()
		lines = self.job("short").splitlines()
		self.assertEqual(len(lines), 5)
		self.assertEqual([line for line in lines if len(line) > 79], [])


class Report(FakeCase):
	"""make stick-report: several machines, and files that are no results."""

	ROWS = ("== bare: base against series\nbench case pages metric base ...\n"
		"mprotect anon-4k 4096 ns_per_pte 100 99 101 50 49 51 0.500 *\n")

	def text(self, cpu, rows=ROWS):
		return (f"{stick_report.FIRST}\n# cpu:       {cpu}\n\n# what:      base-bare\n"
			f"# KUnit:     8 passed, 0 failed, 0 skipped\n\n{rows}")

	def file(self, name, text):
		(self.tmp / name).write_text(text)
		return str(self.tmp / name)

	def test_machines_stand_beside_each_other(self):
		other = self.ROWS.replace("anon-4k 4096", "anon-4k 512")
		paths = [self.file("a", self.text("Old")), self.file("b", self.text("New", other))]
		text = stick_report.report(stick_report.read(paths))
		self.assertIn("cpu:         Old", text)
		rows = {line.split()[3]: line.split()[5:] for line in text.splitlines()
			if line.startswith("bare ")}
		self.assertEqual(rows, {"4096": ["100.00", "50.00", "0.500*", "-", "-", "-"],
					"512": ["-", "-", "-", "100.00", "50.00", "0.500*"]})

	def test_windows_line_ends_do_no_harm(self):
		path = self.file("a", "")
		Path(path).write_bytes(self.text("Old").replace("\n", "\r\n").encode())
		self.assertEqual(len(stick_report.read([path])[0].rows), 1)

	def test_what_is_no_result_is_refused(self):
		broken = self.ROWS.replace(" 50 49", "\n50 49")
		for path, words in ((str(self.tmp / "none"), "can't be read: No such file"),
				    (self.file("empty", ""), "is not a result of the stick"),
				    (self.file("other", "hello\n"), "is not a result of the stick"),
				    (self.file("broken", self.text("Old", broken)),
				     "as an attachment")):
			with self.subTest(words), self.assertRaisesRegex(ToolError, words):
				stick_report.read([path])
		with self.assertRaisesRegex(ToolError, "FILE= has to name"):
			stick_report.read([])

	def test_report_of_the_benchmark_takes_them(self):
		kept = self.tmp / "bench"
		kept.mkdir()
		shutil.copy(report.KEPT / "results.json", kept)
		(kept / "sticks.txt").write_text("Real <machines>\n")
		self.assertIn("Real <machines>", report.write(kept))
		self.assertIn("Real &lt;machines&gt;", (kept / "report.html").read_text())


class Gate(unittest.TestCase):
	"""The verdicts of make check GATE=stick."""

	def found(self, **changes):
		runs = {name: {"KUnit": ["8 passed, 0 failed, 1 skipped"],
			       "races": ["1 runs, 20 passed, 0 lost bits, 3 skipped"]}
			for name in stick_report.RUNS}
		for name, told in changes.items():
			runs[name.replace("_", "-")].update(told)
		pair = stick_report.Pair(1000, (1000, 1000), 20, (20, 20), True)
		rows = {(place, bench, "anon-4k", "4096", metric): pair
			for place in ("bare", "xen")
			for bench, metric in (("mprotect", "ns_per_pte"), ("fork", "ns_per_pte"),
					      ("mprotect", "tsc_ticks_per_pte"),
					      ("everyday", "ns_per_round"))}
		rows["xen", "mprotect", "anon-4k", "4096", "hypercalls_per_1000"] = pair
		return stick_report.Machine("m", dict.fromkeys(gate.FACTS, "x"), runs, rows)

	def bad(self, found):
		return [what for what, good, _ in gate.judge(found) if not good]

	def test_a_good_result_passes(self):
		self.assertEqual(self.bad(self.found()), [])

	def test_each_defect_is_found(self):
		lost = {"races": ["1 runs, 20 passed, 1 lost bits, 0 skipped"]}
		failed = {"KUnit": ["8 passed, 1 failed, 0 skipped"]}
		none = {"KUnit": ["0 passed, 0 failed, 0 skipped"]}
		for changes, what in (({"series_bare": lost}, "series-bare: no lost bit"),
				      ({"series_xen": failed}, "series-xen: KUnit"),
				      ({"base_bare": none}, "base-bare: KUnit")):
			with self.subTest(what):
				self.assertEqual(self.bad(self.found(**changes)), [what])
		self.assertEqual(self.bad(self.found(base_xen=failed)), [])

	def test_missing_rows_and_facts_are_found(self):
		found = self.found()
		found.rows = {key: pair for key, pair in found.rows.items() if key[0] == "bare"}
		found.facts["firmware"] = ", "
		self.assertEqual(self.bad(found), ["says what the machine is",
						   "xen: base against series"])

	def test_free_bytes(self):
		self.assertEqual(gate.free_bytes("x\n     123 456 bytes free\n"), 123456)
		with self.assertRaisesRegex(ToolError, "how many bytes"):
			gate.free_bytes("")
