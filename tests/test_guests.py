# SPDX-License-Identifier: GPL-2.0
"""Tests of guests/ and bench/ that need no kernel: config, console, arguments, results."""
import gzip
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

from bench.table import table
from checks.broken_guests import busy_cpu
from common import apt
from common.command import (EXIT_CONFIG, EXIT_GUEST, EXIT_HANG, EXIT_MISSING, EXIT_USAGE,
			    ToolError, run)
from common.result import counted, parse
from common.settings import MULTIBOOT
from guests import emulator, kernel, libraries, nested, qemu, xen
from guests.kunit import cases, kunit, without_strays
from tests.miniature import FakeCase

MARKER = "guest-init: job ended with status"
# A guest that is silent until it has had so much CPU time.
BURN = f"""exec {sys.executable} -c '
import time
while time.process_time() < {{seconds}}:
	pass
print("{MARKER} 0", flush=True)'"""


class Guests(FakeCase):
	"""The judge of a console, with a script in QEMU's place."""

	def setUp(self):
		super().setUp()
		self.addCleanup(setattr, qemu, "GRACE", qemu.GRACE)
		qemu.GRACE = 0.2

	def fails(self, code, words, function, *args, **kwargs):
		with self.assertRaises(ToolError) as caught:
			function(*args, **kwargs)
		self.assertEqual(caught.exception.code, code)
		self.assertIn(words, str(caught.exception))

	def xen(self):
		image = self.tmp / "xen"
		image.write_bytes(b"\x7fELF" + MULTIBOOT)
		return str(image)

	def console(self, script, timeout=20, may_warn=False, prefix=""):
		log = self.tmp / "console.log"
		with log.open("w") as f:
			console = qemu.Console(log, f, qemu.Limits(timeout), may_warn, prefix)
			return console.watch(["/bin/sh", "-c", script])

	def test_end_marker_is_success(self):
		self.assertEqual(self.console(f"echo boot; echo '{MARKER} 0'").status, "ok")

	def test_job_status_counts(self):
		result = self.console(f"echo '{MARKER} 3'")
		self.assertEqual((result.status, result.reason), ("failed", "job status 3"))

	def test_exit_without_marker_is_not_a_success(self):
		self.assertEqual(self.console("echo boot; exit 0").status, "died")

	def test_echoed_marker_is_not_a_success(self):
		self.assertEqual(self.console(f"echo '+ echo {MARKER} 0'").status, "died")

	def test_bad_lines_end_the_run_at_once(self):
		for line in ("Kernel panic - not syncing: Attempted to kill init!",
			     "WARNING: CPU: 0 PID: 1 at mm/x.c:1",
			     "BUG: sleeping function called from",
			     "Oops: general protection fault, probably for", "Call Trace:",
			     "BUG: KASAN: use-after-free in x",
			     "BUG: KFENCE: use-after-free read in x+0x1/0x2",
			     "UBSAN: shift-out-of-bounds in x",
			     "WARNING: possible circular locking dependency detected",
			     "(XEN) Panic on CPU 0:",
			     "(XEN) Hardware Dom0 crashed: rebooting machine",
			     "INFO: task kthreadd:2 blocked for more than 120 seconds."):
			with self.subTest(line):
				result = self.console(f"echo '{line}'; echo rest; sleep 60")
				self.assertEqual((result.status, result.reason), ("warned", line))
				self.assertIn("rest", result.lines)
				self.assertLess(result.seconds, 20)

	def test_healthy_lines_pass(self):
		self.assertEqual(self.console("echo '(XEN) *** Serial input to DOM0'; "
					      "echo 'Spectre: mitigations off'; "
					      "echo 'BUG: KFENCE: invalid read in test_x+0x1/0x2'; "
					      f"echo '{MARKER} 0'").status, "ok")

	def test_warning_may_be_allowed(self):
		self.assertEqual(self.console(f"echo 'WARNING: x'; echo '{MARKER} 0'",
					      may_warn=True).status, "ok")

	def test_hang_ends_at_the_limit(self):
		result = self.console("echo booting; sleep 60", timeout=1)
		self.assertEqual((result.status, result.reason),
				 ("hung", "no end marker, no output and no CPU time for 1 s"))
		self.assertLess(result.seconds, 20)
		self.fails(EXIT_HANG, str(self.tmp / "console.log"), result.require)

	def test_hung_guest_is_asked_where_its_cpus_are(self):
		result = self.console("head -c 2 > /dev/null; read -r asked; echo \"$asked\"; "
				      "echo 'CPU#0'; echo 'RIP=ffffffff81000010 RFL=00000246'; "
				      "echo 'CPU#1'; echo 'RIP=ffffffff81000020 RFL=00000246'; "
				      f"echo '{MARKER} 0'; sleep 60", timeout=1)
		self.assertEqual((result.status, result.lines[0]), ("hung", "info registers -a"))
		self.assertIn("1 s, CPUs at ffffffff81000010 ffffffff81000020", result.reason)

	def test_endless_loop_ends_at_the_limit(self):
		for body in (":", "i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done; echo $i"):
			with self.subTest(body):
				result = self.console(f"while :; do {body}; done", timeout=1)
				self.assertEqual((result.status, result.reason),
						 ("hung", "no end marker, it used 1 s of CPU time"))

	def test_time_without_the_cpu_is_not_counted(self):
		result = self.console("for i in 1 2 3 4 5; do sleep 0.5; echo $i; done; "
				      f"echo '{MARKER} 0'", timeout=1)
		self.assertEqual(result.status, "ok")
		self.assertGreater(result.seconds, 2)

	def test_slow_guest_on_a_busy_cpu_is_in_time(self):
		with busy_cpu(4):
			result = self.console(BURN.format(seconds=0.8), timeout=1.6)
		self.assertEqual(result.status, "ok", result.reason)
		self.assertGreater(result.seconds, 1.6)

	def test_each_cpu_has_its_share_of_the_limit(self):
		limits = qemu.Limits(10, 2)
		self.assertEqual(limits.exceeded(qemu.Use(19.9, 19.9)), "")
		self.assertIn("20 s of CPU time", limits.exceeded(qemu.Use(20.1, 20.1)))

	def test_silence_has_a_limit_of_its_own(self):
		limits = qemu.Limits(7200)
		start = limits.active
		with mock.patch("time.monotonic") as clock, \
		     mock.patch.object(qemu, "LOOKED_LATE", 600):
			for now, had, wanted, late in (
					(0, 0, 0, False), (600, 6, 6, False), (602, 6, 6, True),
					(700, 50, 50, False), (1290, 51, 250, False),
					(1310, 51, 250, True), (1311, 51, 500, False)):
				clock.return_value = start + now
				use = qemu.Use(had, wanted)
				self.assertEqual(bool(limits.exceeded(use)), late, now)
			limits.output()
			self.assertEqual(limits.exceeded(use), "")

	def test_time_in_which_the_machine_stood_still_is_not_counted(self):
		limits, use = qemu.Limits(60), qemu.Use(0, 0)
		start = limits.active
		with mock.patch("time.monotonic") as clock:
			for now, late in ((9, False), (3600, False), (3609, False),
					  *((n, False) for n in range(3618, 3642, 9)),
					  (3650, True)):
				clock.return_value = start + now
				self.assertEqual(bool(limits.exceeded(use)), late, now)

	def test_waiting_for_the_cpu_is_told_from_idleness(self):
		with subprocess.Popen(["sleep", "60"]) as proc:
			time.sleep(1)
			before = qemu.Use.of(proc.pid)
			time.sleep(1)
			after = qemu.Use.of(proc.pid)
			proc.kill()
		self.assertLess(after.wanted - before.wanted, 0.3)
		with busy_cpu(2), subprocess.Popen([sys.executable, "-c", "while 1: pass"]) as proc:
			time.sleep(2)
			use = qemu.Use.of(proc.pid)
			proc.kill()
		self.assertGreater(use.wanted, use.had)
		with self.assertRaises(OSError):
			qemu.Use.of(proc.pid)

	def test_failure_names_the_log(self):
		self.fails(EXIT_GUEST, str(self.tmp / "console.log"),
			   self.console("exit 1").require)

	def nested(self, script):
		return self.console(script, prefix="guest| ")

	def test_guest_in_a_guest_is_judged_by_its_own_lines(self):
		result = self.nested("echo boot; echo 'guest| KTAP version 1'; "
				     f"echo 'guest| {MARKER} 0'")
		self.assertEqual((result.status, result.lines),
				 ("ok", ["KTAP version 1", f"{MARKER} 0"]))
		self.assertEqual(result.console[0], "boot")
		result = self.nested(f"echo 'guest| {MARKER} 3'; echo '{MARKER} 0'")
		self.assertEqual((result.status, result.reason), ("failed", "job status 3"))
		result = self.nested("echo 'guest| Kernel panic - not syncing: x'; sleep 60")
		self.assertEqual((result.status, result.reason),
				 ("warned", "Kernel panic - not syncing: x"))

	def test_console_of_xens_shim_is_read(self):
		result = self.nested("echo 'guest| (XEN) WARNING: This is experimental software in "
				     f"development.'; printf 'guest| \r{MARKER} 0\n'")
		self.assertEqual(result.status, "ok")

	def test_xl_runs_each_kind_and_a_missing_shim_is_named(self):
		(self.tmp / "usr/lib/xen-4.17/bin").mkdir(parents=True)
		seen = []
		for name, value in (("tools", lambda: self.tmp),
				    ("libraries", lambda *_: []),
				    ("initramfs", lambda *args: seen.append(args) or Path("i")),
				    ("build", lambda *_: self.tmp), ("image", lambda out: out)):
			patch = mock.patch.object(nested, name, value)
			patch.start()
			self.addCleanup(patch.stop)
		def host(kind):
			nested.host(kind, "series", "n", Path("k"), Path("i"), append="", smp=1,
				    mem=2048)
			files = dict(seen[-1][4])
			return files, Path(files["/guest/xl.cfg"]).read_text()
		for kind, words in (("domU", 'type = "pv"'), ("pvh", 'type = "pvh"')):
			files, text = host(kind)
			self.assertIn(words, text)
			self.assertNotIn("pvshim", text)
			self.assertNotIn("/usr/lib/xen-4.17/boot/xen-shim", files)
		self.fails(EXIT_MISSING, "boot/xen-shim: name another version", host, "pvshim")
		(self.tmp / "usr/lib/xen-4.17/boot").mkdir()
		(self.tmp / "usr/lib/xen-4.17/boot/xen-shim").write_text("")
		files, text = host("pvshim")
		self.assertRegex(text, '(?s)pvshim = 1\n.*type = "pvh"')
		self.assertIn("/usr/lib/xen-4.17/boot/xen-shim", files)

	def test_end_of_the_machine_around_a_guest_is_not_a_success(self):
		result = self.nested(f"echo 'dom0: xl create failed'; echo '{MARKER} 0'; sleep 60")
		self.assertEqual(result.status, "failed")
		self.assertIn("ended first", result.reason)
		for line in ("WARNING: CPU: 0 PID: 1 at mm/x.c:1", "(XEN) Panic on CPU 0:"):
			with self.subTest(line):
				self.assertEqual(self.nested(f"echo '{line}'; sleep 60").status,
						 "warned")

	def test_what_runs_in_what(self):
		around = nested.Host("outer", "outer-initrd", "x=1")
		os.environ.update(QEMU="/bin/true", XEN=self.xen())
		guest = qemu.Guest("domU", "k", "i", accel="tcg", host=around)
		line = " ".join(guest.command("shell"))
		self.assertRegex(line,
				 "-initrd outer console=hvc0 panic=-1 .*x=1 shell,outer-initrd")
		self.assertIn("-smap", line)
		self.assertNotIn("+svm", line)
		for kind, words in (("pvh", "-kernel .*/xen-given .*outer console=hvc0"),
				    ("pvshim", "family=21.* -kernel .*/xen-given "),
				    ("kvm", "-kernel outer -initrd outer-initrd "
					    "-append console=ttyS0 no_timer_check panic=-1 .*x=1")):
			guest = qemu.Guest(kind, "k", "i", accel="tcg", host=around)
			line = " ".join(guest.command())
			self.assertRegex(line, words)
			self.assertIn("+svm", line)

	def test_a_stall_is_the_guests_own_if_its_clock_counts_instructions(self):
		os.environ.update(QEMU="/bin/true", XEN=self.xen())
		for kind in qemu.MACHINES:
			for icount in (False, True):
				guest = qemu.Guest(kind, "k", "i", accel="tcg", icount=icount)
				self.assertEqual(nested.PATIENCE in " ".join(guest.command()),
						 not icount)

	def test_cpus_take_turns_if_asked_for(self):
		os.environ["QEMU"] = "/bin/true"
		for in_turns, words in ((False, "tcg,thread=multi"), (True, "tcg,thread=single")):
			guest = qemu.Guest("bare", "k", "i", accel="tcg", smp=2, in_turns=in_turns)
			self.assertIn(words, guest.command())

	def test_l1tf_is_a_matter_of_cpu_and_hypervisor(self):
		os.environ.update(QEMU="/bin/true", XEN=self.xen())
		line = " ".join(qemu.Guest("xen", "k", "i", l1tf=True).command())
		self.assertRegex(line, "-accel tcg.* -cpu Skylake-Server,.* pv-l1tf=dom0,domu")
		line = " ".join(qemu.Guest("xen", "k", "i", accel="tcg").command())
		self.assertNotIn("l1tf", line)
		self.fails(EXIT_USAGE, "L1TF", qemu.Guest, "bare", "k", "i", l1tf=True)

	def test_unknown_values_are_refused_with_the_known(self):
		self.fails(EXIT_USAGE, "known are bare xen domU pvh pvshim kvm",
			   qemu.Guest, "bear", "k", "i")
		self.fails(EXIT_USAGE, "known are bare xen domU pvh pvshim kvm um", kunit, "arm")
		self.fails(EXIT_USAGE, "known are base series", kernel.source, "next")
		self.fails(EXIT_USAGE, "known are", kernel.build, "base", "fat")
		self.fails(EXIT_USAGE, "SMP=1", qemu.Guest, "bare", "k", "i", icount=True, smp=2)
		os.environ["HOST_KERNEL"] = "older"
		self.fails(EXIT_USAGE, "known are base series", nested.host_kernel, "series")

	def test_kvm_device_that_hangs_guests_is_not_used(self):
		(self.tmp / "kvm").write_text("")
		for name, value in (("KVM_DEVICE", str(self.tmp / "kvm")), ("PROBE_LIMIT", 0.5),
				    ("initramfs", lambda *_: "initrd")):
			self.addCleanup(setattr, qemu, name, getattr(qemu, name))
			setattr(qemu, name, value)
		for script, want in (("sleep 60", "tcg"),
				     ("echo KVM internal error; sleep 60", "tcg"),
				     (f"echo '{MARKER} 0'", "kvm")):
			with self.subTest(script):
				os.environ["QEMU"] = str(self.tmp / "qemu")
				(self.tmp / "qemu").write_text(f"#!/bin/sh\n{script}\n")
				(self.tmp / "qemu").chmod(0o755)
				memo = self.tmp / "build" / "guests" / "kvm-probe-bare"
				memo.parent.mkdir(parents=True, exist_ok=True)
				memo.unlink(missing_ok=True)
				self.assertEqual(qemu.Guest("bare", "k", "i").pick_accel(), want)
				self.assertEqual(memo.read_text().split()[1], want)

	def test_missing_qemu_names_the_variable(self):
		os.environ["QEMU"] = "/no/such/qemu"
		self.fails(EXIT_MISSING, "QEMU=/no/such/qemu", qemu.check_tools)

	def test_bad_xen_is_refused(self):
		os.environ["XEN"] = "/no/such/xen"
		self.fails(EXIT_USAGE, "is not a file", xen.hypervisor)
		os.environ["XEN"] = "4.2"
		self.fails(EXIT_USAGE, "known are 4.17 4.20", xen.hypervisor)
		old = self.tmp / "xen-4.11-amd64.gz"
		old.write_bytes(gzip.compress(b"\x7fELF" + MULTIBOOT))
		os.environ["XEN"] = str(old)
		self.fails(EXIT_USAGE, "for Xen 4.11", xen.tools)
		os.environ["XEN"] = __file__
		self.fails(EXIT_USAGE, "not a multiboot ELF", xen.hypervisor)

	def test_library_that_is_missing_is_named(self):
		self.fails(EXIT_MISSING, "ls needs lib", libraries.libraries, ["/bin/ls"], self.tmp)
		index = self.tmp / "usr" / "lib" / "x86_64-linux-gnu"
		index.mkdir(parents=True)
		for _, path in libraries.host_libraries("/bin/ls"):
			(index / Path(path).name).symlink_to(path)
		(index / libraries.UNNAMED).symlink_to("/bin/true")
		names = [Path(guest).name
			 for guest, _ in libraries.libraries(["/bin/ls"], self.tmp)]
		self.assertEqual(sorted({*names, libraries.UNNAMED}), names)
		self.assertIn("libc.so.6", names)

	def test_firmware_that_is_missing_is_named(self):
		fake = self.tmp / "qemu"
		fake.write_text(f"#!/bin/sh\necho {self.tmp}\n")
		fake.chmod(0o755)
		os.environ["QEMU"] = str(fake)
		self.fails(EXIT_MISSING, "has no bios.bin", emulator.firmware, "bios.bin")
		(self.tmp / "bios.bin").write_text("")
		self.assertEqual(emulator.firmware("bios.bin"), self.tmp / "bios.bin")

	def test_qemu_of_another_suite_runs_with_its_own_libraries(self):
		root = self.tmp / "a root"
		loader = root / "usr/lib64/ld-linux-x86-64.so.2"
		loader.parent.mkdir(parents=True)
		loader.write_text("#!/bin/sh\necho \"$QEMU_MODULE_DIR\"; printf '%s\\n' \"$@\"\n")
		loader.chmod(0o755)
		os.environ["QEMU"] = "trixie-backports"
		with mock.patch.object(emulator, "unpacked", return_value=root) as unpacked:
			for _ in range(2):
				said = run([emulator.qemu_binary(), "-m", "1 G"]).stdout
		self.assertEqual(unpacked.call_args.args[1:], ("trixie-backports",))
		self.assertFalse(unpacked.call_args.kwargs["system"])
		lines = said.splitlines()
		self.assertEqual(lines[:3], [f"{root}/usr/lib/x86_64-linux-gnu/qemu",
					     "--library-path", f"{root}/usr/lib/x86_64-linux-gnu"])
		self.assertEqual(lines[3], f"{root}/usr/bin/qemu-system-x86_64")
		self.assertEqual(lines[-2:], ["-m", "1 G"])
		os.environ["QEMU"] = "sid"
		self.fails(EXIT_MISSING, "known are trixie trixie-backports", emulator.qemu_binary)

	def test_backports_come_with_what_they_build_on(self):
		with mock.patch.object(apt, "debian_mirror", return_value="http://m"), \
		     mock.patch.object(apt, "run"):
			for suite, want in (("trixie", ["trixie"]),
					    ("trixie-backports", ["trixie-backports", "trixie"])):
				options = apt.private_apt(suite)
				path = Path(next(o.partition("=")[2] for o in options
						 if o.startswith("Dir::Etc::SourceList=")))
				self.assertEqual([line.split()[-2] for line
						  in path.read_text().splitlines()], want)
				self.assertEqual(f"APT::Default-Release={suite}" in options,
						 len(want) > 1)

	def test_apt_dependencies_are_read(self):
		text = "Package: a\nVersion: 1\nDepends: libb (>= 2), c:any | d, libe1\n\n" \
		       "Package: libb\n"
		self.assertEqual(apt.depends(text), {"a": ["libb", "c", "libe1"], "libb": []})

	def test_given_xen_is_unpacked(self):
		os.environ["XEN"] = image = self.xen()
		self.assertEqual(xen.hypervisor().read_bytes(), Path(image).read_bytes())
		os.environ["XEN"] = sys.executable	# ELF, but no hypervisor
		self.fails(EXIT_USAGE, "not a multiboot ELF", xen.hypervisor)

	def test_lost_config_option_is_named(self):
		fragment = self.tmp / "a.config"
		fragment.write_text("CONFIG_X=y\n# CONFIG_Y is not set\nCONFIG_Z=\"s\"\n")
		wanted = kernel.read_fragments(["a"], self.tmp)
		self.assertEqual(wanted, {"CONFIG_X": "y", "CONFIG_Y": "n", "CONFIG_Z": '"s"'})
		dotconfig = self.tmp / "dotconfig"
		dotconfig.write_text("CONFIG_X=y\nCONFIG_Z=\"s\"\n")
		kernel.check_config(wanted, dotconfig)
		dotconfig.write_text("# CONFIG_X is not set\nCONFIG_Z=\"s\"\n")
		self.fails(EXIT_CONFIG, "CONFIG_X=y (is n)", kernel.check_config, wanted, dotconfig)
		self.fails(EXIT_USAGE, "known are a", kernel.read_fragments, ["b"], self.tmp)

	def test_kernel_variables_reach_make(self):
		os.environ.update(LLVM="1", V="1", J="3")
		line = kernel.make_command("tree", "out")
		for word in ("LLVM=1", "V=1", "-j3", "O=out", "CC=ccache clang"):
			self.assertIn(word, line)
		os.environ["CC"] = "gcc-11"
		self.assertIn("CC=gcc-11", kernel.make_command("tree", "out"))

	def test_stray_line_in_ktap_header_is_dropped(self):
		header = ["KTAP version 1", "1..1", "    KTAP version 1"]
		rest = ["    # Subtest: s", "    1..1", "noise", "    ok 1 a", "ok 1 s"]
		self.assertEqual(list(without_strays([*header, "Freeing initrd memory: 1424K", "x",
						      *rest])),
				 [*header, *rest])

	def test_kunit_results_are_counted_by_case(self):
		report = {"test_cases": [],
			  "sub_groups": [{"name": "s", "sub_groups": [],
					  "test_cases": [{"name": "a", "status": "PASS"},
							 {"name": "b", "status": "FAIL"}]}]}
		self.assertEqual(list(cases(report)), [("s.a", "PASS"), ("s.b", "FAIL")])


class Results(FakeCase):
	"""From the program's lines to results.json and the table."""

	LINE = "# result bench=mprotect case=anon-4k pages=512 threads=1 metric=ns_per_pte " \
	       "median=101.25 min=100.5 max=102.5 runs=9"

	def test_lines_become_results(self):
		lines = ["noise", self.LINE, self.LINE.replace("ns_per_pte", "cycles_per_pte")]
		self.assertEqual([r.as_object() for r in counted(parse(lines, "base", "bare"))],
				 [{"kernel": "base", "guest": "bare", "bench": "mprotect",
				   "case": "anon-4k", "pages": 512,
				   "metric": "instructions_per_pte", "value": 101.25, "min": 100.5,
				   "max": 102.5, "runs": 9}])

	def test_table_has_base_series_and_ratio(self):
		results = counted(parse([self.LINE], "base", "xen")
				  + parse([self.LINE.replace("101.25", "50.625")], "series", "xen"))
		row = table(results).splitlines()[1].split()
		self.assertEqual(row, ["xen", "mprotect", "anon-4k", "512", "instructions_per_pte",
				       "101.2", "50.6", "0.500"])
