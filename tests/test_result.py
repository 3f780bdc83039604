# SPDX-License-Identifier: GPL-2.0
"""Tests of common/result.py: the dialect of the programs' lines, and the files of results."""
import dataclasses
import json
import os
import re
import sys
from contextlib import redirect_stderr
from io import StringIO
from unittest import mock

from common import command
from common.command import EXIT_GUEST, EXIT_USAGE, ROOT, ToolError, progress, run, say
from common.result import KEYS, Result, Row, counted, dump, load, one, parse, select
from guests.initramfs import compile_static
from tests.miniature import FakeCase

LINE = "# result bench=mprotect case=anon-4k pages=512 threads={threads} metric={metric} " \
       "median={median} min=400.00 max=600.00 runs=9"
COMMITTED = ROOT / "bench" / "results" / "results.json"


def line(threads=1, metric="ns_per_pte", median="480.00"):
	"""Return a line as the programs print it."""
	return LINE.format(threads=threads, metric=metric, median=median)


class ResultCase(FakeCase):
	"""Adds: assert that a ToolError has this code and says this."""

	def fails(self, code, text, function, *args, **kwargs):
		"""Assert that @function raises ToolError with @code and @text."""
		with self.assertRaises(ToolError) as caught:
			function(*args, **kwargs)
		self.assertEqual(caught.exception.code, code)
		self.assertIn(text, str(caught.exception))


class Lines(ResultCase):
	"""What programs print."""

	def test_parse_takes_result_lines_only(self):
		found = parse(["noise", line(), "  " + line(2) + "\r\n", "# results differ",
			       "result x"], "base", "xen")
		self.assertEqual(found,
				 [Result("base", "xen", "mprotect", "anon-4k", 512, "ns_per_pte",
					 480.0, 400.0, 600.0, 9, n) for n in (1, 2)])
		self.assertEqual(found[0].row, Row("xen", "mprotect", "anon-4k", 512, "ns_per_pte"))

	def test_threads_may_be_left_out(self):
		self.assertEqual(parse([line().replace(" threads=1", "")], "base", "xen"),
				 parse([line()], "base", "xen"))

	def test_other_dialects_are_refused(self):
		for old, new, says in (("median=480.00", "value=480.00", "no median="),
				       (" max=600.00", "", "no max="),
				       ("pages=512", "pages=many", "many"),
				       ("runs=9", "runs", "runs"),
				       ("median=480.00", "median=", "float")):
			with self.subTest(new):
				self.assertIn(old, line())
				self.fails(EXIT_GUEST, says, parse, [line().replace(old, new)],
					   "base", "xen")
		self.fails(EXIT_GUEST, "no bench=", parse, ["# result"], "base", "xen")

	def test_counted_time_is_instructions(self):
		metrics = ("ns_per_pte", "cycles_per_pte", "instructions_per_pte", "exits_per_page")
		found = counted(parse([line(metric=m) for m in metrics], "base", "bare"))
		self.assertEqual([r.metric for r in found],
				 ["instructions_per_pte", "exits_per_page"])

	def test_threads_share_the_cpu(self):
		found, = counted(parse([line(4)], "base", "bare"))
		self.assertEqual((found.case, found.threads), ("anon-4k-4-threads", 1))
		self.assertEqual((found.value, found.min, found.max), (120, 100, 150))
		known = Result("base", "bare", "b", "c", 1, "m", 8, threads=2).per_thread()
		self.assertEqual((known.value, known.min, known.max), (4, None, None))


class Files(ResultCase):
	"""What is kept."""

	def test_committed_results_are_read_and_written_unchanged(self):
		results = load(COMMITTED)
		self.assertEqual(dump(results), COMMITTED.read_text())
		self.assertEqual(len({(r.kernel, r.row) for r in results}), len(results))

	def test_what_is_not_known_is_not_written(self):
		bare = Result("base", "xen", "b", "c", 1, "m", 2)
		self.assertEqual(list(bare.as_object()),
				 ["kernel", "guest", "bench", "case", "pages", "metric", "value"])
		full = dataclasses.replace(bare, min=1, max=3, runs=9, threads=2)
		path = self.tmp / "r.json"
		path.write_text(dump([bare, full]))
		self.assertEqual(load(path), [bare, full])
		self.assertEqual(json.loads(path.read_text())[1]["threads"], 2)

	def test_results_do_not_change(self):
		with self.assertRaises(dataclasses.FrozenInstanceError):
			Result("base", "xen", "b", "c", 1, "m", 2).value = 3

	def test_malformed_files_are_refused(self):
		good = Result("base", "xen", "b", "c", 1, "m", 2).as_object()
		path = self.tmp / "r.json"
		self.fails(EXIT_USAGE, "is missing: 'make bench'", load, path)
		for text, says in (("{", "holds no results"), ("{}", "no list of objects"),
				   ("[1]", "no list of objects"),
				   (json.dumps([{**good, "speed": 1}]), "unknown field speed"),
				   (json.dumps([{**good, "value": "2"}]), "value is '2'"),
				   (json.dumps([{**good, "pages": True}]), "pages is True"),
				   (json.dumps([{k: v for k, v in good.items() if k != "case"}]),
				    "no case")):
			with self.subTest(says):
				path.write_text(text)
				self.fails(EXIT_USAGE, says, load, path)

	def test_select_and_one(self):
		results = [Result(k, "xen", "b", "c", p, "m", p) for k in ("base", "series")
			   for p in (1, 16)]
		self.assertEqual(select(results, kernel="series", pages=16), results[3:])
		self.assertEqual(select(results, guest="bare"), [])
		self.assertIs(one(results, pages=16, kernel="base"), results[1])
		self.fails(EXIT_USAGE, "no figure for pages=4 kernel=base: "
				       "pages '4' is unknown, known are 1 16",
			   one, results, pages=4, kernel="base")


TIMED = """#include <unistd.h>
#include "timed_runs.h"

int main(int argc, char **argv)
{
	unsigned int wanted = atoi(argv[1]), sleep_us = atoi(argv[2]);
	struct timed_runs runs;
	double values[1000];

	begin_runs(&runs, wanted);
	do {
		usleep(sleep_us);
		values[runs.done] = 10 - runs.done;
	} while (another_run(&runs));
	print_result("b", "c", 512, 2, "ns_per_pte", values, runs.done);
	printf("loops %u %u %u\\n", loops_per_run(1), loops_per_run(512), loops_per_run(4096));
	return argc != 3;
}
"""


class Programs(ResultCase):
	"""What the C programs print is what is parsed."""

	def timed(self, wanted, sleep_us):
		"""Run a program on timed_runs.h; return its only result and its other lines."""
		(self.tmp / "timed.c").write_text(TIMED)
		headers = ROOT / "tools" / "testing" / "selftests" / "mm"
		run(["gcc", "-Wall", "-Werror", f"-I{headers}", "-o", self.tmp / "timed",
		     self.tmp / "timed.c"])
		lines = run([self.tmp / "timed", wanted, sleep_us]).stdout.splitlines()
		found, = parse(lines, "k", "g")
		return found, lines[1:]

	def test_timed_runs(self):
		found, rest = self.timed(4, 0)
		self.assertEqual(found,
				 Result("k", "g", "b", "c", 512, "ns_per_pte", 8.5, 7, 10, 4, 2))
		self.assertEqual(rest, ["loops 64 2 1"])
		self.assertEqual(self.timed(0, 0)[0].runs, 9)
		self.assertEqual(self.timed(0, 60000)[0].runs, 3)

	def test_every_program_prints_the_keys(self):
		for name in ("mm/timed_runs.h", "mm/mprotect_workload.c",
			     "kvm/x86/change_pte_perf_test.c"):
			text = (ROOT / "tools" / "testing" / "selftests" / name).read_text()
			calls = "".join(re.findall(r'printf\(("# result [^;]*;\s*printf\([^;]*;)',
						   text))
			with self.subTest(name):
				calls = calls.replace("(\"", " ")
				self.assertEqual([k for k in KEYS if f" {k}=" not in calls], [])

	def test_a_changed_header_makes_a_program_anew(self):
		source, header = self.tmp / "p.c", self.tmp / "p.h"
		source.write_text('#include <stdio.h>\n#include "p.h"\n'
				  "int main(void) { puts(TEXT); return 0; }\n")
		header.write_text('#define TEXT "old"\n')
		out = compile_static(source, "p", headers=(header,))
		self.assertEqual(run([out]).stdout, "old\n")
		header.write_text('#define TEXT "new"\n')
		later = out.stat().st_mtime + 1
		os.utime(header, (later, later))
		self.assertEqual(run([compile_static(source, "p", headers=(header,))]).stdout,
				 "new\n")


class WhatRuns(FakeCase):
	"""What is said of what runs, where there is no terminal."""

	def said(self, *events):
		"""Return the lines that progress() prints: @events are (seconds, text)."""
		with mock.patch("time.monotonic") as clock, redirect_stderr(StringIO()) as out:
			clock.return_value = 0
			say("start")
			for now, text in events:
				clock.return_value = now
				progress(text)
		return [line.split("  ")[-1] for line in out.getvalue().splitlines()[1:]]

	def test_a_line_per_minute(self):
		self.assertEqual(self.said((1, "a"), (59, "b"), (61, "  c"), (62, ""), (90, "d"),
					   (125, ""), (126, "e")), ["c", "e"])

	def test_context_comes_first(self):
		command.set_context("[3/12]")
		self.addCleanup(command.set_context, "")
		self.assertEqual(self.said((61, "  c")), ["[3/12] c"])

	def test_nothing_where_everything_is_shown(self):
		os.environ["V"] = "1"
		self.assertEqual(self.said((61, "a")), [])

	def test_a_command_that_takes_long_is_named(self):
		self.addCleanup(setattr, command, "SPEAK_EVERY", command.SPEAK_EVERY)
		command.SPEAK_EVERY = 0.2
		script = "import sys, time; n = len(sys.stdin.read()); time.sleep(0.5); print(n)"
		with redirect_stderr(StringIO()) as out:
			done = run([sys.executable, "-c", script], stdin="x" * 200000)
		self.assertEqual((done.stdout, done.stderr, done.returncode), ("200000\n", "", 0))
		self.assertIn(f"{sys.executable} -c", out.getvalue())
