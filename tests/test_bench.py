# SPDX-License-Identifier: GPL-2.0
"""Unit tests of the benchmark's tooling: parsers, statistics, reports, interruption. No kernel."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from unittest.mock import patch

from bench import (alike, by_function, clone, debian, everyday, insn_profile, irqsoff, kernels,
		   latency, matrix, measure, noise, notify, page, programs, pte_changes, table,
		   wall, will_it_scale)
from bench.steps import Steps, clock
from common.command import EXIT_FETCH, EXIT_GUEST, EXIT_USAGE, ROOT, ToolError, run
from common.result import Result, Row, load, parse
from guests import job
from tests.miniature import FakeCase

def result(kernel, value, guest="bare", pages=4096, case="anon-4k"):
	"""Return a Result of mprotect()."""
	return Result(kernel, guest, "mprotect", case, pages, "instructions_per_pte", value)


class BenchCase(FakeCase):
	"""Adds: assert that a ToolError has this code and says this."""

	def fails(self, code, text, function, *args):
		"""Assert that @function raises ToolError with @code and @text."""
		with self.assertRaises(ToolError) as caught:
			function(*args)
		self.assertEqual(caught.exception.code, code)
		self.assertIn(text, str(caught.exception))


class Matrix(BenchCase):
	"""Names of guests and kernels, and what runs where."""

	def test_unknown_names_are_refused_with_the_known(self):
		self.fails(EXIT_USAGE, "known are bare bare-noxen xen", matrix.places, ["bear"])

	def test_nothing_chosen_means_all(self):
		self.assertEqual(list(matrix.places([])), list(matrix.PLACES))

	def test_kernels_run_where_they_have_a_config(self):
		ran = {(k, n) for k in kernels.known() for n in matrix.PLACES
		       if kernels.runs_in(k, n)}
		self.assertIn(("series", "xen-disk"), ran)
		self.assertIn(("topic1", "xen"), ran)
		self.assertIn(("debian-6.1", "xen"), ran)
		self.assertNotIn(("topic1", "bare-noxen"), ran)
		self.assertNotIn(("debian-6.1", "bare-noxen"), ran)

	def test_commands_exist_in_the_programs(self):
		perf = (ROOT / programs.PROGRAM).read_text()
		for bench, case, _, _ in matrix.PERF:
			self.assertRegex(perf, rf'"{bench}",\s+"{case}"')
		costs = (ROOT / "guests" / "programs" / "page_costs.c").read_text()
		for bench, case, _ in (*matrix.COSTS, *matrix.FILE_COSTS):
			self.assertIn(f'"{bench}", "{case}"', costs)

	def test_topics_alone_run_where_their_files_matter(self):
		files = {"1-a": ["mm/x.c"], "2-b": ["mm/y.c", "virt/kvm/z.c"]}
		for name, value in (("touched", files.get),
				    ("topic_kernels", lambda: {"topic1": "1-a", "topic2": "2-b"})):
			self.addCleanup(setattr, kernels, name, getattr(kernels, name))
			setattr(kernels, name, value)
		for place, wanted in (("xen", [True, True]), (matrix.KVM_HOST, [False, True]),
				      ("bare-noxen", [False, False])):
			self.assertEqual([kernels.runs_in(k, place) for k in ("topic1", "topic2")],
					 wanted, place)


class Debian(BenchCase):
	"""Which package is which version, and what happens if there is none."""

	def test_package_of_version(self):
		names = ["linux-base", "linux-image-6.1.0-56-amd64",
			 "linux-image-6.12.117+deb13-amd64"]
		self.assertEqual(debian.package_of("6.1", names), names[1])
		self.assertEqual(debian.package_of("6.12", names), names[2])
		self.assertIsNone(debian.package_of("6.16", names))
		debug = "linux-image-6.1.0-56-cloud-amd64-dbg"
		self.assertIsNone(debian.package_of("6.1", [debug]))

	def fake_apt(self, options):
		"""Put an archive without packages, or none at all, in the place of apt."""
		self.addCleanup(setattr, debian, "private_apt", debian.private_apt)
		debian.private_apt = lambda _: options

	def test_kernel_that_is_not_there_is_an_error(self):
		for options in (["-o", "Dir::State::Lists=/nowhere"], None):
			self.fake_apt(options)
			self.fails(EXIT_FETCH, "6.12 in trixie-security trixie", debian.fetch,
				   "6.12")

	def test_bench_skips_it_and_goes_on(self):
		self.fake_apt(None)
		self.addCleanup(setattr, measure, "measure", measure.measure)
		measure.measure = lambda *_: self.fail("measured a kernel that is not there")
		steps = Steps("test")
		measure.add_steps(steps, matrix.places(["bare"]), ["debian-6.1"], True)
		self.assertEqual(steps.run(), [[], []])


class Alike(BenchCase):
	"""Base and series in Debian's configuration."""

	def replace(self, owner, name, function):
		"""Put @function in the place of @owner's @name until the test ends."""
		self.addCleanup(setattr, owner, name, getattr(owner, name))
		setattr(owner, name, function)

	def test_kernel_that_is_not_there_is_left_out(self):
		ran = []
		self.replace(debian, "private_apt", lambda _: None)
		self.replace(alike, "build", lambda kernel: ran.append(("build", kernel)) or [])
		self.replace(alike, "measure", lambda kernel, place:
			     ran.append((kernel, place)) or [result(kernel, 2, place)])
		found = alike.alike(["base", "series", "debian-6.1"])
		self.assertEqual(ran[:2], [("build", "base"), ("build", "series")])
		self.assertEqual({r.kernel for r in found}, {"base", "series"})
		self.assertEqual({r.guest for r in found}, set(matrix.DEBIAN_PLACES))
		out = self.tmp / "build" / "bench"
		self.assertEqual(load(out / "alike.json"), found)
		self.assertRegex((out / "alike.txt").read_text(), r"1\.000")

	def test_packages_of_debian_are_named(self):
		path = self.tmp / "build" / "debian" / "6.1" / "package"
		path.parent.mkdir(parents=True)
		path.write_text("linux-image-6.1.0-1-amd64_6.1.1-1_amd64\n")
		self.assertEqual(alike.packages(["base", "debian-6.1"]),
				 "debian-6.1: linux-image-6.1.0-1-amd64_6.1.1-1_amd64\n")

	def test_guest_that_fails_does_not_cost_the_figures_of_others(self):
		def measured(kernel, place):
			if kernel == "series":
				raise ToolError("no result", EXIT_GUEST)
			return [result(kernel, 2, place)]
		self.replace(alike, "build", lambda kernel: [])
		self.replace(alike, "measure", measured)
		self.fails(EXIT_GUEST, "no result", alike.alike, ["base", "series"])
		found = load(self.tmp / "build" / "bench" / "alike.json")
		self.assertEqual({r.kernel for r in found}, {"base"})

	def test_configuration_is_kept(self):
		path = self.tmp / "build" / "debian" / "7.3" / "config"
		path.parent.mkdir(parents=True)
		path.write_text("CONFIG_X86_64=y\n")
		self.assertEqual(debian.config("7.3"), path)
		path.unlink()
		self.replace(debian, "private_apt", lambda _: None)
		self.fails(EXIT_FETCH, "no linux-image-amd64 of version 7.3", debian.config, "7.3")

	def test_package_without_the_file(self):
		def download(_version, _options, directory, what):
			path = directory / f"{what}-7.3.deb"
			run(["dpkg-deb", "-b", package, path])
			return path

		package = self.tmp / "package"
		(package / "DEBIAN").mkdir(parents=True)
		(package / "boot").mkdir()
		(package / "boot" / "config-7.3").write_text("CONFIG_X86_64=y\n")
		(package / "DEBIAN" / "control").write_text(
			"Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m\n"
			"Description: d\n")
		(self.tmp / "build" / "debian").mkdir(parents=True)
		self.replace(debian, "private_apt", lambda _: [])
		self.replace(debian, "download", download)
		self.assertIn("X86_64", debian.config("7.3").read_text())
		self.fails(EXIT_FETCH, "linux-binary-7.3.deb holds no vmlinuz", debian.fetch, "7.3")
		left = [p.name for p in (self.tmp / "build" / "debian").iterdir()]
		self.assertEqual(left, ["7.3"])


class Irqsoff(BenchCase):
	"""What the tracer of interrupts says."""

	LINES = [f"irqsoff {row} {what}" for row in irqsoff.ROWS
		 for what in ("max 17", "started xen_mc_batch", "ended xen_mc_issue")]

	def test_lines(self):
		found = irqsoff.parse(["# other", *self.LINES])
		self.assertEqual(found["anon"], irqsoff.Longest(17, "xen_mc_batch", "xen_mc_issue"))
		text = irqsoff.table({("xen", "base"): found})
		self.assertRegex(text, r"(?m)^xen +base +anon +17  xen_mc_batch xen_mc_issue$")

	def test_row_that_is_not_there(self):
		with self.assertRaisesRegex(ValueError, "folio"):
			irqsoff.parse([l for l in self.LINES if "folio" not in l])


class Latency(BenchCase):
	"""What /proc/lock_stat and the program say of a guest."""

	LINES = [
		"lock cow &(kvm)->mmu_lock-W:  0  2  0.10  5.00  7.00  3.5  0  20  0.4  9.0  60  3",
		"lock cow ptlock_ptr(ptdesc)/1:  0  0  0  0  0  0  0  10  0.5  4.0  20  2.0",
		"lock cow ptlock_ptr(ptdesc)#2:  0  1  2  2  2  2  0  30  0.5  8.0  20  0.7",
		"lock cow &mm->mmap_lock-R:  0  1  2  2  2  2  0  30  0.5  8.0  20  0.7",
		"lock cow ptlock_ptr(ptdesc)  1  [<00000000aa>] wp_page_copy+0x1/0x2",
		"# result bench=latency case=merge pages=254 metric=longest_gap_us median=80 "
		"min=70 max=90 runs=3",
		"# result bench=latency case=merge pages=254 metric=ticks median=8 "
		"min=7 max=9 runs=3",
	]

	def test_lines(self):
		found = latency.read(self.LINES, "base")
		self.assertEqual(set(found.locks), {("cow", "&(kvm)->mmu_lock-W"),
						    ("cow", "ptlock_ptr(ptdesc)")})
		self.assertEqual(found.locks["cow", "ptlock_ptr(ptdesc)"],
				 latency.Held(1, 2.0, 40, 8.0, 40.0))
		text = latency.table({("base", ",tdp_mmu=0"): found})
		self.assertRegex(text, r"(?m)^cow,tdp_mmu=0 +base +&\S+-W +20 +2 +3.5 +3.00 +9.0$")
		self.assertRegex(text, r"(?m)^merge,tdp_mmu=0 +base +longest_gap_us +80.0 +70.0 ")
		self.assertNotIn("ticks", text)

	def test_no_lock(self):
		with self.assertRaisesRegex(ValueError, "no lock"):
			latency.read(self.LINES[3:], "base")


class Noise(BenchCase):
	"""The exact Mann-Whitney test, against known values."""

	def test_known_values(self):
		apart = noise.mann_whitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
		self.assertAlmostEqual(apart, 2 / 252)
		self.assertAlmostEqual(noise.mann_whitney([1, 3, 5], [2, 4, 6]), 0.7)
		self.assertAlmostEqual(noise.mann_whitney([19, 22, 16, 29, 24], [20, 11, 17, 12]),
				       1 / 9)
		self.assertEqual(noise.mann_whitney([7, 7, 7], [7, 7, 7]), 1)

	def test_empty_sample(self):
		self.assertRaises(ValueError, noise.mann_whitney, [], [1])

	def test_change_needs_more_than_noise(self):
		noisy = noise.compare([100, 120, 90, 130, 110], [95, 115, 85, 125, 105])
		self.assertFalse(noisy["change"])
		clear = noise.compare([100, 101, 102, 103, 104], [50, 51, 52, 53, 54])
		self.assertTrue(clear["change"])
		self.assertEqual([clear[k] for k in ("base", "base_min", "base_max")],
				 [102, 100, 104])
		self.assertEqual([clear[k] for k in ("series", "series_min", "series_max")],
				 [52, 50, 54])

	def test_spread_shows_what_the_test_saw(self):
		base, series = [7600, 7650, 7679, 7700, 4000], [4800, 4850, 4866, 4900, 7900]
		found = noise.compare(base, series)
		self.assertEqual(noise.verdict(found), "within the noise")
		self.assertEqual((found["base_min"], found["series_max"]), (4000, 7900))

	TIMED = wall.Timed(Row("xen", "mprotect", "anon-4k", 512, "ns_per_pte"), 1)

	def test_samples_become_verdicts(self):
		samples = {"base": [{self.TIMED: 100 + i} for i in range(6)],
			   "series": [{self.TIMED: 50 + i} for i in range(6)]}
		found = wall.verdicts(samples)
		self.assertEqual([(v["guest"], v["case"], v["pages"], v["threads"], v["change"])
				  for v in found],
				 [("xen", "mprotect anon-4k", 512, 1, True)])
		row = wall.text(found).splitlines()[1].split()
		self.assertEqual(row[5:12],
				 ["102.5", "100.0", "105.0", "52.5", "50.0", "55.0", "0.512"])
		self.assertEqual(row[-1], "change")
		html = page.page([result("base", 1.0)], {}, wall=found)
		self.assertIn("<td>102.5 (100.0 to 105.0)</td><td>52.5 (50.0 to 55.0)</td>", html)

	def test_timings_are_of_the_clock(self):
		line = self.TIMED.row._asdict()
		found = wall.timings([Result(kernel="base", value=3.5, threads=2, **line),
				      Result(kernel="base", value=9,
					     **{**line, "metric": "cycles_per_pte"})])
		self.assertEqual(found, {wall.Timed(self.TIMED.row, 2): 3.5})


# Its console says GO after a second; from then on each command to its monitor is one round.
FAKE_QEMU = """import socket, sys, time
option = dict(zip(sys.argv[1::2], sys.argv[2::2]))
open(option["-serial"].partition(":")[2], "w").close()
time.sleep(1)
server = socket.socket(socket.AF_UNIX)
server.bind(option["-monitor"].split(":")[1].split(",")[0])
server.listen()
open(option["-serial"].partition(":")[2], "w").write("GO")
log = open(option["-D"], "w")
while True:
	peer, _ = server.accept()
	peer.sendall(b"(qemu) ")
	if b"log exec" in peer.recv(4096):
		log.write("Trace 0: 0x7f00 [00000000/ffffffff81000000/00000033/ff020201] x\\n" * 5)
		log.flush()
	peer.sendall(b"(qemu) ")
	peer.close()
"""


class Profile(BenchCase):
	"""From a log of instructions to counts per function."""

	MAP = "ffffffff81000000 T start\nffffffff81000010 t loop\n" \
	      "ffffffff81000020 T other\nffffffff82000000 D data\n"
	XEN = "ffff82d040200000 T do_mmu_update\n"
	START, LOOP, HYPERCALL = 0xffffffff81000000, 0xffffffff81000012, 0xffffffff81000024
	XEN_ADDR = 0xffff82d040200004
	LINE = "Trace 0: 0x7f00 [00000000/%016x/00000033/ff020201] x\n"

	def log(self, *addresses):
		"""Write a log of QEMU's in which @addresses were executed; return its path."""
		path = self.tmp / "log"
		path.write_text("noise\n" + "".join(self.LINE % a for a in addresses))
		return path

	def entries(self, backend=lambda at: False):
		"""Return what finds entries, for one count."""
		return insn_profile.Entries({self.HYPERCALL}, backend)

	def test_whole_rounds_are_counted(self):
		one = (self.START, self.LOOP, self.LOOP, self.HYPERCALL, self.XEN_ADDR,
		       self.XEN_ADDR)
		log = self.log(self.LOOP, *one, *one, *one, self.START)
		found = insn_profile.count(log, self.START, 2, self.entries())
		self.assertEqual(found.units, 4)	# 2 of 3 rounds, an even number
		symbols = insn_profile.SymbolMap(self.MAP, self.XEN)
		self.assertEqual(found.functions(symbols),
				 {"loop": 1, "xen:do_mmu_update": 1, "start": 0.5, "other": 0.5})
		self.assertEqual(found.total(), 3)
		self.assertEqual(found.kinds(), {"hypercall": 0.5})
		self.assertEqual(found.among({self.LOOP, self.START}), 1.5)
		self.assertEqual(found.among({self.LOOP, self.START}, 0.6), 1)

	def test_rounds_that_set_up_are_left_out(self):
		clean, dirty = (self.START, self.LOOP), (self.START, *[self.LOOP] * 2)
		log = self.log(*dirty, *clean, *dirty, *clean, self.START)
		found = insn_profile.count(log, self.START, 2, self.entries(), even=False,
					   set_up=self.LOOP)
		self.assertEqual((found.units, found.count[self.LOOP]), (4, 2))
		self.fails(EXIT_GUEST, "not enough rounds", insn_profile.count,
			   self.log(*dirty, *dirty, self.START), self.START, 2, self.entries(),
			   False, self.LOOP)

	def test_locked_instructions_of_page_tables_are_told_apart(self):
		of_ptes = [("__zap_vma_range", "xchg %rax,(%r15)"),
			   ("copy_page_range", "lock cmpxchg %rdx,(%rbx)"),
			   ("copy_page_range", "lock cmpxchg %r8,(%rbx)"),
			   ("change_protection", "xchg %rdx,(%r15)"),
			   ("native_wrprotect_pte_slow", "lock cmpxchg %rdx,(%rdi)"),
			   ("ptep_clear_flush_young", "lock btrq $0x5,(%rdx)")]
		others = [("copy_page_range", "lock incl 0x34(%r15)"),
			  ("copy_page_range", "lock cmpxchg %edx,(%rbx)"),
			  ("copy_page_range", "lock cmpxchg %r8d,(%rbx)"),
			  ("copy_page_range", "lock btsq $0x1f,0x68(%r15)"),
			  ("copy_page_range", "lock andb $0xf7,0x1(%r10)"),
			  ("folios_put_refs", "lock sub %eax,0x34(%rbx)"),
			  ("rwsem_down_write_slowpath", "lock cmpxchg %rdx,(%rdi)")]
		for wanted, sites in ((True, of_ptes), (False, others)):
			for function, insn in sites:
				self.assertEqual(by_function.changes_ptes(function, insn), wanted,
						 (function, insn))

	def test_locked_instructions_by_function(self):
		symbols = insn_profile.SymbolMap(self.MAP.replace("loop", "copy_page_range"))
		found = insn_profile.Profile(32, insn_profile.collections.Counter(
			{self.START: 1, self.LOOP: 32, self.LOOP + 4: 64}))
		sites = {self.START: "lock incl (%rax)", self.LOOP: "xchg %rax,(%rdx)",
			 self.LOOP + 4: "lock incl 0x34(%rdx)"}
		self.assertEqual(by_function.locked(found, symbols, sites),
				 {"copy_page_range: xchg %rax,(%rdx)": 1,
				  "copy_page_range: lock incl 0x34(%rdx)": 2})
		self.assertEqual(by_function.locked(found, symbols, sites, of_ptes=True),
				 {"copy_page_range: xchg %rax,(%rdx)": 1})

	def test_instructions_are_found_in_a_program(self):
		source = self.tmp / "a.c"
		source.write_text("long f(long *p)\n"
				  "{\n\treturn __atomic_exchange_n(p, 1, __ATOMIC_SEQ_CST);\n}\n")
		run(["gcc", "-O2", "-c", source, "-o", self.tmp / "a.o"])
		found = insn_profile.instructions(self.tmp / "a.o", by_function.LOCKED)
		self.assertEqual([re.sub(r"%\w+", "R", text) for text in found.values()],
				 ["xchg R,(R)"])

	def test_a_record_has_a_place_in_a_new_build_directory(self):
		new = str(self.tmp / "new")
		with patch.dict(os.environ, {"O": new}):
			with insn_profile.scratch() as directory:
				self.assertEqual(os.path.dirname(directory), f"{new}/bench")
			self.assertFalse(os.path.exists(directory))

	def test_traps_are_told_from_hypercalls(self):
		one = (self.START, self.XEN_ADDR, 0x400000, self.XEN_ADDR, self.HYPERCALL,
		       self.XEN_ADDR)
		found = insn_profile.count(self.log(*one, *one, self.START), self.START, 1,
					   self.entries())
		self.assertEqual(found.kinds(), {"trap": 1, "user": 1, "hypercall": 1})

	def test_entries_are_their_callers(self):
		one = (self.START, self.LOOP, self.HYPERCALL, self.XEN_ADDR, self.XEN_ADDR,
		       self.HYPERCALL, self.XEN_ADDR, self.LOOP, self.XEN_ADDR)
		entries = self.entries(lambda at: at == self.HYPERCALL)
		found = insn_profile.count(self.log(*one, *one, self.START), self.START, 1, entries)
		self.assertEqual(found.callers(insn_profile.SymbolMap(self.MAP)),
				 {"hypercall loop": 2, "trap loop": 1})

	def test_the_backend_is_no_caller(self):
		self.assertEqual([insn_profile.backend(f) for f in
				  ("xen_mc_flush", "__xen_pte_clear", "zap_pte_range", "do_xen")],
				 [True, True, False, False])

	def test_kernel_functions_named_xen_are_the_kernels(self):
		self.assertEqual([insn_profile.in_hypervisor(f)
				  for f in ("xen", "xen:do_mmu_update", "xen_pte_val", "f")],
				 [True, True, False, False])

	def test_log_is_read_in_blocks(self):
		one = (self.START, *[self.LOOP] * 400000)
		found = insn_profile.count(self.log(*one, *one, self.START), self.START, 400000,
					   self.entries())
		self.assertGreater((self.tmp / "log").stat().st_size, 2 << 24)
		self.assertEqual((found.units, found.count[self.LOOP], found.count[self.START]),
				 (800000, 800000, 2))

	def test_too_few_rounds(self):
		self.fails(EXIT_GUEST, "not enough rounds", insn_profile.count,
			   self.log(self.START, self.LOOP), self.START, 1, self.entries())

	def test_marker_of_an_earlier_try_does_not_count(self):
		for name in ("mon", "exec.log", "console"):
			(self.tmp / name).write_text("GO")
		(self.tmp / "qemu.py").write_text(FAKE_QEMU)
		log = insn_profile.record([sys.executable, str(self.tmp / "qemu.py")],
					  str(self.tmp), "GO", self.START, timeout=20)
		self.assertEqual(insn_profile.count(log, self.START, 1, self.entries()).units, 4)

	def test_growing_log_is_read_by_whole_lines(self):
		log = self.log(self.START, self.LOOP, self.START)
		whole, needle = log.read_bytes(), b"/%016x/" % self.START
		log.write_bytes(whole[:-10])
		hits, position = insn_profile.hits_in(log, 0, needle)
		log.write_bytes(whole)
		more, end = insn_profile.hits_in(log, position, needle)
		self.assertEqual((hits, more, end), (1, 1, len(whole)))

	def test_addresses_without_symbols(self):
		symbols = insn_profile.SymbolMap(self.MAP)
		addresses = (0x400000, self.XEN_ADDR, self.LOOP, 0xfffffe0000000000)
		self.assertEqual([symbols.name(a) for a in addresses],
				 ["user", "xen", "loop", "unknown"])

	def test_profiles_become_text_and_results(self):
		item = {"kernel": "base", "guest": "xen", "bench": "mprotect", "case": "anon-4k",
			"pages": 512, "units": 1024, "total": 30.0,
			"functions": {"loop": 20.0, "xen:f": 9.99, "tiny": 0.01},
			"hypervisor": 9.99, "locked_per_pte": 1.0, "pte_locked_per_pte": 0.75,
			"locked_per_call": 12.0, "locked": {"loop: xchg %rax,(%r15)": 0.75},
			"entries": {"trap": 0.5}, "callers": {"trap loop": 0.5}}
		text = by_function.text([item, {**item, "kernel": "series", "locked_per_pte": 0}])
		self.assertRegex(text, r"20\.00\s+20\.00  loop")
		self.assertRegex(text, r"0\.01\s+0\.01  functions below")
		self.assertRegex(text, r"0\.5000\s+0\.5000  entries into the hypervisor: trap loop")
		self.assertRegex(text, r"1\.00\s+0\.00  locked instructions of the kernel, per pte")
		self.assertRegex(text, r"0\.75\s+0\.75  locked .* of page tables, per pte")
		self.assertRegex(text, r"0\.75\s+0\.75  locked: loop: xchg %rax,\(%r15\)")
		metrics = {r.metric: r.value for r in by_function.results([item])}
		self.assertEqual(metrics,
				 {"locked_per_pte": 1, "pte_locked_per_pte": 0.75,
				  "hypervisor_instructions_per_pte": 9.99,
				  "traps_to_hypervisor_per_pte": 0.5})
		old = [result("base", 300.0, "xen", 512),
		       *by_function.results([{**item, "locked_per_pte": 7}])]
		self.assertEqual(by_function.merged(old, [item]),
				 [old[0], *by_function.results([item])])

	def test_a_profile_alone_leaves_results(self):
		item = {"kernel": "base", "guest": "bare", "bench": "fork", "case": "anon-4k",
			"pages": 512, "units": 512, "total": 900.0, "functions": {"f": 900.0},
			"hypervisor": 0.0, "locked_per_pte": 6.0, "pte_locked_per_pte": 1.0,
			"locked_per_call": 2.0, "locked": {}, "entries": {}, "callers": {}}
		out = self.tmp / "build" / "bench"
		out.mkdir(parents=True)
		with patch.object(by_function, "facts", lambda found: {"machine": "m"}):
			by_function.keep([item])
			self.assertIn('"make profile"', (out / "facts.json").read_text())
			(out / "facts.json").write_text('{"command": "make bench"}')
			by_function.keep([{**item, "kernel": "series"}])
		self.assertEqual([(r.kernel, r.metric, r.value)
				  for r in load(out / "results.json")],
				 [(k, m, v) for k in ("base", "series") for m, v in
				  (("locked_per_pte", 6.0), ("pte_locked_per_pte", 1.0))])
		self.assertIn("make bench", (out / "report.txt").read_text())

	def test_a_round_of_everyday_counts_as_a_whole(self):
		item = {"kernel": "base", "guest": "xen", "bench": "everyday",
			"case": "fork-exec", "pages": 1, "units": 4, "total": 2690000.4,
			"functions": {"f": 2690000.4}, "hypervisor": 1e6,
			"locked_per_pte": 5.0, "pte_locked_per_pte": 0.0,
			"locked_per_call": 0.0, "locked": {},
			"entries": {"hypercall": 698.25, "trap": 34.0, "user": 7.0},
			"callers": {"hypercall fork": 600.0}}
		found = {r.metric: r.value for r in by_function.results([item])}
		self.assertEqual(found, {"instructions_per_round": 2690000,
					 "hypercalls_per_round": 698.25, "traps_per_round": 34.0})
		self.assertIn("everyday fork-exec, xen: instructions per round",
			      by_function.text([item]))
		bare = by_function.results([{**item, "guest": "bare"}])
		self.assertEqual([r.metric for r in bare], ["instructions_per_round"])


class PteChanges(BenchCase):
	"""Who changes ptes, and what Xen does for it."""

	SOURCE = " * set_pte_at() in a comment\n" \
		 "static inline void one(struct mm_struct *mm)\n{\n" \
		 "\t/* pte_clear() in a comment */\n\tset_pte_at(mm, 0, NULL, pte);\n}\n\n" \
		 "static int\ntwo(void)\n{\n\tone(NULL);\n\thuge_ptep_clear_flush(mm);\n}\n\n" \
		 "int three(int n);\n\n" \
		 "void three_of(void)\n{\n\tptep_clear_flush(NULL);\n}\n"
	MAP = f"ffffffff81000000 T {pte_changes.START}\n" \
	      f"ffffffff81000010 T {pte_changes.MARK}\n" \
	      "ffffffff81000020 T two\nffffffff81000030 t three_of.isra.0\n" \
	      "ffffffff81000040 T rest\n"
	XEN = "ffff82d040200000 t arch/x86/mm.c#mod_l1_entry.isra.0\n" \
	      "ffff82d040200010 t arch/x86/pv/ro-page-fault.c#ptwr_emulated_update\n" \
	      "ffff82d040200020 T do_mmu_update\n" \
	      "ffff82d040200030 t arch/x86/mm.c#get_page_and_type_from_mfn\n"
	START, MARK, TWO, THREE, REST = range(0xffffffff81000000, 0xffffffff81000050, 0x10)
	CHANGE, TRAP, CALL, LARGER = range(0xffff82d040200000, 0xffff82d040200040, 0x10)
	OTHER = 0xffff82d040200024

	def tree(self):
		"""Return the path of a kernel tree with SOURCE in mm/."""
		(self.tmp / "mm").mkdir(exist_ok=True)
		(self.tmp / "mm" / "a.c").write_text(self.SOURCE)
		return self.tmp

	def watch(self):
		"""Return a Watch of the functions of MAP."""
		symbols = insn_profile.SymbolMap(self.MAP, self.XEN)
		return pte_changes.Watch.of(symbols, {"two", "three_of"})

	def test_places_are_functions_that_call_helpers(self):
		found = pte_changes.places(self.tree(), ["two", "three_of.isra.0", "rest"])
		self.assertEqual({p.name: (p.file, p.helpers, p.symbols) for p in found.values()},
				 {"one": ("mm/a.c", {"set_pte_at"}, {"two"}),	# inlined there
				  "three_of": ("mm/a.c", {"ptep_clear_flush"}, {"three_of"})})

	def test_a_place_that_is_not_in_the_table(self):
		known = [name for case in pte_changes.CASES.values() for place in case.places
			 for name in place.split("/")] + list(pte_changes.NOT_MEASURED)
		pte_changes.check_complete(known)
		self.fails(EXIT_USAGE, "new_one: no case", pte_changes.check_complete,
			   [*known, "new_one"])
		self.fails(EXIT_USAGE, f"{known[-1]}: not in the kernel",
			   pte_changes.check_complete, known[:-1])

	def test_cases_are_those_of_the_program(self):
		self.assertEqual(sorted(pte_changes.case_names()), sorted(pte_changes.CASES))

	def test_what_xen_does_counts_for_the_place_before(self):
		trace = [self.MARK, self.TWO, self.OTHER, self.TRAP, self.START,	# before
			 self.MARK, self.TWO, self.REST, self.OTHER, self.CHANGE, self.REST,
			 self.OTHER, self.CHANGE, self.CHANGE, self.CHANGE, self.REST,
			 self.OTHER, self.REST, self.THREE, self.TRAP, self.THREE, self.MARK,
			 self.TWO, self.MARK]
		found = list(pte_changes.sections([trace[:9], trace[9:]], self.watch()))
		self.assertEqual(found, [{"two": pte_changes.Counts(1, 2, 4, 0),
					  "three_of": pte_changes.Counts(2, 0, 0, 1)},
					 {"two": pte_changes.Counts(1)}])

	def test_requests_for_tables_that_are_not_pinned(self):
		trace = [self.START, self.MARK, self.TWO, self.CALL, self.OTHER, self.TWO,
			 self.CALL, self.LARGER, self.TWO, self.CALL, self.CHANGE, self.TWO,
			 self.MARK]
		found = list(pte_changes.sections([trace], self.watch()))
		self.assertEqual(found, [{"two": pte_changes.Counts(4, 2, 2, 0)}])

	def test_counts_are_words_and_figures_per_entry(self):
		for counts, text in ((pte_changes.Counts(5), "direct"),
				     (pte_changes.Counts(5, traps=64), "trap 1.00"),
				     (pte_changes.Counts(5, 64, 64, 64),
				      "trap 1.00 + hypercall 1.00"),
				     (pte_changes.Counts(5, 2, 64, 0), "queued 1.00 in 0.03"),
				     (pte_changes.Counts(5, 66, 70, 0), "hypercall 1.03")):
			self.assertEqual(counts.text(64), text)

	def test_a_hypervisor_without_symbols(self):
		self.fails(EXIT_USAGE, "lack what changes entries", pte_changes.Watch.of,
			   insn_profile.SymbolMap(self.MAP), set())

	def test_cases_are_every_other_section(self):
		console = "# case a entries=7\r\n# case b skipped: no swap\r\n" \
			  "# case a entries=64\r\n"
		counted = [{"two": pte_changes.Counts(1, traps=64)}, {}, {}]
		found = pte_changes.cases_of(["a", "b"], console, counted)
		self.assertEqual((found["a"].entries, found["b"].skipped), (64, "no swap"))
		place = pte_changes.Place("one", "mm/a.c", {"set_pte_at"}, {"two"})
		one = pte_changes.Measured({"one": place}, found)
		self.assertEqual([pte_changes.cell(one, case, ["one"]) for case in "abc"],
				 ["trap 1.00", "not measured: no swap",
				  "not measured: the case is missing"])
		self.assertEqual(pte_changes.cell(one, "a", ["other"]), "")
		self.fails(EXIT_GUEST, "3 sections", pte_changes.cases_of, ["a", "b", "c"],
			   console, counted)

	def test_the_table_names_each_place(self):
		trees = {place: pte_changes.Place(place, "mm/a.c", {"set_pte_at"}, {"two"})
			 for case in pte_changes.CASES.values() for name in case.places
			 for place in name.split("/")}
		trees |= {name: pte_changes.Place(name, "mm/b.c", {"pte_clear"}, set())
			  for name in pte_changes.NOT_MEASURED}
		one = pte_changes.Measured(trees, {"mremap": pte_changes.Found(
			64, {"two": pte_changes.Counts(9, 3, 128, 0)})})
		text = pte_changes.text_of({"base": one, "series": one}, 64)
		self.assertRegex(text, r"mremap\(\) +mm/a.c: move_ptes\(\): set_pte_at +"
				 r"queued 2.00 in 0.05 +queued 2.00 in 0.05\n")
		self.assertEqual([name for name in trees if f"{name}()" not in text], [])
		self.assertLess(max(map(len, text.splitlines())), 150)


class Noticed(BenchCase):
	"""The first table of the report."""

	def test_base_series_and_ratio_come_first(self):
		found = [result(kernel, value) for kernel, value in
			 (("topic1", 3.0), ("debian-6.1", 4.0), ("base", 2.0), ("series", 1.0))]
		self.assertEqual(table.columns(found),
				 ["base", "series", "ratio", "topic1", "debian-6.1"])
		self.assertEqual(table.columns(found[:2]), ["ratio", "topic1", "debian-6.1"])

	def test_commands_come_before_calls(self):
		everyday_one = Result("base", "xen", "everyday", "shell", 1, "traps_per_round", 34)
		found = [result("base", 2.0), result("base", 2.0, pages=16),
			 result("base", 2.0, "kvm-host"), everyday_one]
		self.assertEqual(table.noticed(found), [everyday_one, found[0]])


class Everyday(BenchCase):
	"""Rounds of everyday commands, and how often they enter the hypervisor."""

	FORK, CALL, KERNEL = 0xffffffff81000000, 0xffffffff81000020, "ffffffff81000040"

	def test_entries_of_whole_rounds(self):
		executed = "Trace 0: 0x7f00 [00000000/%016x/00000033/ff020201] x\n"
		trap = "%6d: v=0e e=0002 i=0 cpl=%d IP=e033:%s pc=%s SP=e02b:0 CR2=0\n"
		fork, call = executed % self.FORK, executed % self.CALL
		log = "".join((call, fork, call, trap % (1, 3, self.KERNEL, self.KERNEL),
			       fork, call, trap % (2, 3, "0000000000400000", "0"), fork,
			       trap % (3, 0, "ffff82d040200004", "0"), call, fork, call)).encode()
		once = list(everyday.entries(log, self.FORK, [self.CALL], 1))
		self.assertEqual([(r["hypercall"], r["trap"]) for r in once],
				 [(1, 1), (1, 0), (1, 0)])
		twice = list(everyday.entries(log, self.FORK, [self.CALL], 2))
		self.assertEqual([(r["hypercall"], r["trap"]) for r in twice], [(2, 1)])

	def test_what_bash_prints_is_understood(self):
		path = self.tmp / "script"
		path.write_text(everyday.TIMED + "measure shell 2 'sleep 0.01' 1\n")
		lines = run(["bash", path]).stdout.splitlines()
		found = parse(lines, "base", "bare")
		self.assertEqual([(r.bench, r.case, r.metric, r.runs) for r in found],
				 [("everyday", "shell", "ns_per_round", everyday.RUNS)])
		self.assertTrue(5e6 < found[0].min <= found[0].value <= found[0].max)

	def test_rounds_inside_of_a_command_count(self):
		path = self.tmp / "script"
		path.write_text(everyday.TIMED + "measure shell 1 'sleep 0.02' 4\n")
		found = parse(run(["bash", path]).stdout.splitlines(), "base", "bare")
		self.assertTrue(5e6 <= found[0].min < 10e6)

	def test_fork_exec_is_timed_where_it_is_not_counted(self):
		for name in matrix.EVERYDAY_PLACES:
			counted = everyday.BENCH in matrix.PROFILED.get(name, ())
			with self.subTest(name):
				self.assertEqual("fork-exec" in everyday.cases(name), not counted)
		self.assertIn("measure fork-exec 1 ", everyday.timed(everyday.cases("domU")))
		self.assertNotIn("fork-exec", everyday.timed())

	def test_a_round_that_fails_ends_the_job(self):
		path = self.tmp / "script"
		path.write_text(everyday.TIMED + "measure shell 2 false 1\n")
		self.assertEqual(run(["bash", path], check=False).returncode, 1)


SPLITS = """\
huge page: mprotect() of 4 KiB outside {}: 256 SPTEs zapped, 255 faults
small pages: mprotect() of 4 KiB outside {}: 3 SPTEs zapped, 2 faults
small pages: munmap() of 4 KiB in {}: 0 SPTEs zapped, 0 faults
stress: 9 splits
""".replace("{}", "the memslot, beside 256 pages of the guest")
HINTS = """\
shared by fork: 256 pages, scanned 5 times: 1280 faults
plain: 256 pages, scanned 6 times: 1536 faults
"""


class Notify(BenchCase):
	"""What a guest loses, from what the selftests print."""

	def test_lines(self):
		self.assertEqual(notify.parse_notify((SPLITS + HINTS).splitlines()), [
			("mprotect-huge", 256, "sptes_zapped", 256),
			("mprotect-huge", 256, "page_faults", 255),
			("mprotect-outside", 256, "sptes_zapped", 3),
			("mprotect-outside", 256, "page_faults", 2),
			("munmap-in", 256, "sptes_zapped", 0),
			("munmap-in", 256, "page_faults", 0),
			("numa-shared", 256, "page_faults_per_scan", 256),
			("numa-plain", 256, "page_faults_per_scan", 256),
		])

	def test_programs_print_such_lines(self):
		source = ROOT / "tools" / "testing" / "selftests" / "kvm"
		splits = (source / "x86" / "split_notify_test.c").read_text()
		self.assertIn('"%s: %s() of 4 KiB %s the memslot, beside %lu pages of the guest: '
			      '%lu SPTEs zapped, %lu faults\\n"', splits)
		hints = (source / "x86" / "numa_hint_test.c").read_text()
		self.assertIn('"%s: %d pages, scanned %ld times: %ld faults\\n"', hints)
		self.assertEqual(notify.PROGRAMS[1].cases, len(re.findall(r"= faults_of\(", hints)))

	def test_runs_are_summed_up(self):
		figures = [("numa-plain", 256, "page_faults_per_scan", n) for n in (3, 1, 8)]
		self.assertEqual(notify.summed_up(figures, "base"), [
			Result("base", "kvm-host", "notify", "numa-plain", 256,
			       "page_faults_per_scan", 3, 1, 8, 3)])

	def test_base_and_series_are_counted_in_the_place_of_kvm(self):
		def titles(*names, short=False):
			steps = Steps("x")
			measure.add_steps(steps, matrix.places([matrix.KVM_HOST]), names, short)
			return [title for title, _ in steps.todo]

		self.assertEqual(titles("base", "topic8"), [
			"build base lean", "build topic8 lean", "build base debug",
			"base kvm-host", "base kvm-host notify", "base kvm-host clone",
			"topic8 kvm-host"])
		self.assertEqual(titles("base", short=True), ["build base lean"])

	def test_case_that_was_not_counted_is_an_error(self):
		class Machine:
			"""Ends well, and has counted everything but once."""

			def run(self, *_, **__):
				"""Return self as the result."""
				return self

			def require(self):
				"""Return self: it was ok."""
				return self

			log = "the.log"
			lines = SPLITS.splitlines() * (notify.RUNS - 1)

		for name, value in (("guest", lambda *_, **__: Machine()),
				    ("selftest", lambda *names: ROOT / names[1])):
			self.addCleanup(setattr, notify, name, getattr(notify, name))
			setattr(notify, name, value)
		self.fails(EXIT_GUEST, "split_notify_test has counted 0 of 7 cases 3 times: "
			   "see the.log", notify.measure_notify, "base")


class Clone(BenchCase):
	"""What a guest from a snapshot costs, from what the job prints."""

	def test_lines(self):
		lines = ["noise", "clone: 4096 pages 4137 8356", "clone: 12 pages"]
		self.assertEqual(clone.parse_clone(lines, "base"), [
			Result("base", "kvm-host", "clone", "read", 4096,
			       "page_faults_per_page", 1.01),
			Result("base", "kvm-host", "clone", "write", 4096,
			       "page_faults_per_page", 2.04)])

	def test_job_prints_such_a_line(self):
		self.assertIn('echo "clone: $pages pages $read $((written - read))"',
			      job.script("clone-qemu.sh"))


class WillItScale(BenchCase):
	"""The tree that others wrote."""

	def test_another_tree_is_refused(self):
		(self.tmp / "tests").mkdir()
		self.fails(EXIT_USAGE, "it has no tests/brk1.c", will_it_scale.check_tree, self.tmp)

	def test_rounds_end_with_munmap(self):
		(self.tmp / "tests").mkdir()
		for name, text in (("a", "munmap(c, 1);"), ("b", "do_munmap(c); brk(c);")):
			(self.tmp / "tests" / f"{name}.c").write_text(text)
		self.assertEqual([will_it_scale.rounds(self.tmp, n) for n in "ab"], ["rounds", ""])


INTERRUPTED = """
import sys
from bench import kernels, measure
from guests.qemu import Guest
from common.command import main
kernels.prepare = lambda *_: None
kernels.machine = lambda *_, **__: Guest("bare", "k", "i", accel="tcg")
measure.program = measure.costs_program = measure.workload_program = lambda: None
main(lambda: measure.bench(True, ["bare"], ["base"]) and 0)
"""


class Progress(BenchCase):
	"""Steps, what is said about them, and what an interruption leaves behind."""

	def test_durations(self):
		self.assertEqual([clock(s) for s in (0.4, 59, 185)], ["0 s", "59 s", "3 min 05 s"])

	def test_guess_of_what_is_left(self):
		steps = Steps("x")
		for title in "abc":
			steps.add(title, lambda: None)
		self.assertIsNone(steps.left(0, []))
		self.assertEqual(steps.left(1, [5]), 10)
		steps.known = {"x: b": 30}
		self.assertEqual(steps.left(1, [5]), 35)
		steps.run()
		self.assertEqual(set(Steps("x").known), {"x: a", "x: b", "x: c"})

	def test_optional_step_may_fail(self):
		def fail():
			raise ToolError("no end marker", EXIT_GUEST)

		steps = Steps("x")
		for title, function in (("a", lambda: 1), ("b", fail), ("c", lambda: 3)):
			steps.add(title, function, optional=True)
		self.assertEqual(steps.run(), [1, 3])
		self.fails(EXIT_GUEST, "1 of 3 steps failed, the first one with: no end marker",
			   steps.require)
		steps.optional.clear()
		self.fails(EXIT_GUEST, "no end marker", steps.run)

	def test_place_that_fails_does_not_cost_the_others(self):
		def measured(kernel, name, *_):
			if name == "bare":
				raise ToolError("no end marker", EXIT_GUEST)
			return [Result(kernel, name, "mprotect", "anon-4k", 1, "x", 2)]

		for owner, name, function in ((measure, "measure", measured),
					      (measure, "count_hypercalls", lambda *_, **__: []),
					      (measure, "facts", lambda _: {}),
					      (measure.kernels, "prepare", lambda *_: None)):
			self.addCleanup(setattr, owner, name, getattr(owner, name))
			setattr(owner, name, function)
		self.fails(EXIT_GUEST, "1 of 4 steps failed", measure.bench, True,
			   ["bare", "xen"], ("base",))
		kept = json.loads((self.tmp / "build" / "bench" / "results.json").read_text())
		self.assertEqual([r["guest"] for r in kept], ["xen"])

	def interrupt(self, number):
		"""Interrupt a benchmark with signal @number; return (process, pid of its QEMU)."""
		qemu = self.tmp / "qemu"
		qemu.write_text(f"#!/bin/sh\necho $$ > {self.tmp}/pid\nexec sleep 100\n")
		qemu.chmod(0o755)
		out = self.tmp / "build" / "bench"
		out.mkdir(parents=True, exist_ok=True)
		(out / "results.json").write_text("[\"old\"]")
		(self.tmp / "pid").unlink(missing_ok=True)
		proc = subprocess.Popen([sys.executable, "-c", INTERRUPTED], cwd=ROOT, text=True,
					env={**os.environ, "QEMU": str(qemu)},
					start_new_session=True, stdin=subprocess.DEVNULL,
					stdout=subprocess.PIPE, stderr=subprocess.PIPE,
					# A shell's background job has them ignored.
					preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
		end = time.monotonic() + 60
		while not ((self.tmp / "pid").is_file() and (self.tmp / "pid").read_text().strip()):
			self.assertIsNone(proc.poll(), "ended before its guest was started")
			self.assertLess(time.monotonic(), end, "no guest was started")
			time.sleep(0.05)
		os.kill(proc.pid, number)
		_, errors = proc.communicate(timeout=60)
		return proc.returncode, errors, int((self.tmp / "pid").read_text())

	def gone(self, pid):
		"""Assert that there is no process @pid, or not for long any more."""
		end = time.monotonic() + 10
		while True:
			try:
				os.kill(pid, 0)
			except ProcessLookupError:
				return
			self.assertLess(time.monotonic(), end, "QEMU was left behind")
			time.sleep(0.05)

	def test_interruption_leaves_no_guest_and_no_half_results(self):
		for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
			with self.subTest(number):
				status, errors, pid = self.interrupt(number)
				self.assertEqual((status, errors), (130, "interrupted\n"))
				self.gone(pid)
				out = self.tmp / "build" / "bench"
				self.assertEqual((out / "results.json").read_text(), "[\"old\"]")
				self.assertFalse([p.name for p in out.iterdir()
						  if re.search(r"\.(new|old)$", p.name)])
