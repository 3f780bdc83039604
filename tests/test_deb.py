# SPDX-License-Identifier: GPL-2.0
"""Tests of guests/deb.py without a kernel: bad input, lost options, what lands and what stays."""
import os
import re
import shutil
import subprocess
import sys
import unittest.mock
from pathlib import Path

from common.command import (EXIT_BUILD, EXIT_CONFIG, EXIT_GUEST, EXIT_MISSING, EXIT_USAGE, ROOT,
			    ToolError)
from guests import deb
from guests.kernel import read_fragments
from tests.miniature import MAKEFILE, FakeCase

# As much of the kernel's makefile as guests/deb.py uses. No configuration keeps the option LOSES.
PACKAGING = MAKEFILE + """
LOSES = CONFIG_NONE
.PHONY: x86_64_defconfig olddefconfig bindeb-pkg
x86_64_defconfig:
	@echo CONFIG_X86_64=y > $(O)/.config
olddefconfig:
	@sed -i '/^$(LOSES)[ =]/d' $(O)/.config
bindeb-pkg:
	@mkdir -p $(O)/include/config
	@echo 7.3.4$(LOCALVERSION) > $(O)/include/config/kernel.release
	@for p in image headers; do \\
		echo "$(KBUILD_BUILD_TIMESTAMP) $$SOURCE_DATE_EPOCH" \\
			> $(O)/../linux-$$p-7.3.4$(LOCALVERSION)_$(KDEB_PKGVERSION)_amd64.deb; \\
	done
"""
MERGE = "#!/bin/sh\nshift 2\nout=$1\ntarget=$2\nshift 2\nfor f; do cat $f; done >> $target\n"
LOADED = "kernel/fs/xfs/xfs.ko: kernel/lib/crc.ko kernel/lib/xor.ko\nkernel/lib/crc.ko:\n"
# What can change its text, and a guest's programs that do it.
TEXT = {"CONFIG_FUNCTION_TRACER": "y", deb.TRACES: "y", deb.UNLOADS: "y"}
MODPROBE = '[ "$2" = -r ] && : > GUEST/modules || echo "$2 1" > GUEST/modules'
PROGRAMS = {"modify_prot_race": "true", "zap_race": "true", "busybox": MODPROBE}


class Deb(FakeCase):
	"""make deb, with a tree in the kernel's place that packages nothing."""

	def setUp(self):
		super().setUp()
		(self.linux / "Makefile").write_text(PACKAGING)
		for name, text in (("scripts/kconfig/merge_config.sh", MERGE),
				   *((n, "") for n in deb.UPSTREAM)):
			path = self.linux / name
			path.parent.mkdir(parents=True, exist_ok=True)
			path.write_text(text)
			path.chmod(0o755)
		for name, value in (("TOOLS", ()), ("boot", lambda *_: None)):
			patch = unittest.mock.patch.object(deb, name, value)
			patch.start()
			self.addCleanup(patch.stop)
		self.final = self.tmp / "build" / "deb" / "base"
		self.code = self.tmp / "build" / "base" / "linux" / "mm" / "code.c"

	def fails(self, code, words, *args, function=deb.package):
		with self.assertRaises(ToolError) as caught:
			function(*args)
		self.assertEqual(caught.exception.code, code)
		self.assertIn(words, str(caught.exception))

	def config(self, text):
		path = self.tmp / "given.config"
		path.write_text(text)
		return str(path)

	def test_packages_land_and_are_named_after_the_tree(self):
		image, headers = deb.package("base")
		commit = subprocess.run(["git", "-C", self.tmp / "build" / "linux", "rev-parse",
					 "--short=12", "base"], check=True, capture_output=True,
					text=True).stdout.strip()
		self.assertEqual(image.name,
				 f"linux-image-7.3.4-base_7.3.4+20260101-g{commit}_amd64.deb")
		self.assertEqual(sorted(self.final.iterdir()), sorted([image, headers]))
		self.assertEqual(image.read_text(), "Thu Jan  1 00:00:00 UTC 2026 1767225600\n")

	def test_changed_tree_is_told_from_the_commit(self):
		deb.package("base")
		self.code.write_text("int changed;\n")
		self.assertTrue(deb.package("base")[0].name.endswith(".changed_amd64.deb"))
		self.assertEqual(len(list(self.final.iterdir())), 2)

	def test_kernel_is_linked_again_for_a_new_name(self):
		deb.package("base")
		linked = self.tmp / "build" / "base" / "obj-deb" / "obj" / "vmlinux.unstripped"
		linked.write_text("")
		deb.package("base")
		self.assertTrue(linked.exists())
		self.code.write_text("int changed;\n")
		deb.package("base")
		self.assertFalse(linked.exists())

	def test_bad_input_is_refused_before_anything_is_made(self):
		self.fails(EXIT_USAGE, "unknown kernel 'next': known are base series", "next")
		self.fails(EXIT_USAGE, "DEB_CONFIG=/no/such is not a file", "base", "/no/such")
		self.fails(EXIT_USAGE, "lacks CONFIG_X86_64=y", "base",
			   self.config("CONFIG_ARM64=y\n"))
		self.assertFalse((self.tmp / "build" / "linux").exists())

	def test_program_hands_on_the_exit_code(self):
		for env, words in (({"DEB_CONFIG": "/no/such"}, "is not a file"),
				   ({"KERNEL": "next"}, "known are base")):
			argv = [sys.executable, "-m", "guests.deb"]
			done = subprocess.run(argv, cwd=ROOT, env={**os.environ, **env},
					      capture_output=True, text=True, check=False)
			self.assertEqual(done.returncode, EXIT_USAGE)
			self.assertRegex(done.stderr, f"^error: .*{words}.*\n$")

	def test_running_kernel_without_configuration_is_named(self):
		with unittest.mock.patch.object(Path, "is_file", lambda _: False):
			self.fails(EXIT_MISSING,
				   f"neither /boot/config-{os.uname().release} nor /proc/config.gz",
				   function=deb.running_config)

	def test_missing_tool_names_the_remedy(self):
		with unittest.mock.patch.object(deb, "TOOLS", ("no-such-tool",)):
			self.fails(EXIT_MISSING, "no-such-tool not found: run 'series/deps --deb'",
				   "base")

	def test_lost_option_is_named(self):
		text = (self.linux / "Makefile").read_text()
		(self.linux / "Makefile").write_text(text.replace("LOSES = CONFIG_NONE",
								  "LOSES = CONFIG_XEN_PV_DOM0"))
		self.fails(EXIT_CONFIG, "CONFIG_XEN_PV_DOM0=y (is n)", "base")
		self.assertFalse(self.final.exists())

	def test_given_configuration_keeps_its_options_and_loses_keys(self):
		given = self.config("CONFIG_X86_64=y\nCONFIG_OWN=m\n"
				    'CONFIG_SYSTEM_TRUSTED_KEYS="some.pem"\n')
		deb.package("base", given)
		text = (self.tmp / "build" / "base" / "obj-deb" / "obj" / ".config").read_text()
		self.assertIn("CONFIG_OWN=m\n", text)
		self.assertIn('CONFIG_SYSTEM_TRUSTED_KEYS=""\n', text)
		self.assertNotIn("CONFIG_XEN_PV_DOM0", text, "it was not asked for")

	def test_failures_leave_the_packages_of_before(self):
		before = {p: p.read_text() for p in deb.package("base")}
		makefile = self.tmp / "build" / "base" / "linux" / "Makefile"
		text = makefile.read_text()
		for broken in (text.replace("for p in image headers", "for p in image"),
			       text.replace("\t@for p in", "\t@false && for p in"),
			       text.replace("@echo 7.3.4$(LOCALVERSION)", "@false; echo")):
			makefile.write_text(broken)
			self.fails(EXIT_BUILD, "see ", "base")
			self.assertEqual({p: p.read_text() for p in self.final.iterdir()}, before)
		makefile.write_text(text)
		ends = unittest.mock.Mock(side_effect=ToolError("x", EXIT_GUEST))
		with unittest.mock.patch.object(deb, "boot", ends):
			self.fails(EXIT_GUEST, "x", "base")
		self.assertEqual({p: p.read_text() for p in self.final.iterdir()}, before)

	def test_module_comes_with_what_it_needs(self):
		modules = self.tmp / "lib" / "modules" / "r"
		self.assertEqual(deb.pick_module(self.tmp, "r"), ("", []))
		modules.mkdir(parents=True)
		(modules / "modules.dep").write_text(LOADED)
		name, files = deb.pick_module(self.tmp, "r")
		self.assertEqual(name, "xfs")
		self.assertEqual([Path(guest).name for guest, _ in files],
				 ["modules.dep", "xfs.ko", "crc.ko", "xor.ko"])
		(modules / "modules.dep").write_text(LOADED.replace("xfs.ko:", "xfs.ko.xz:"))
		self.assertEqual(deb.pick_module(self.tmp, "r"), ("", []))

	def test_text_changes_as_far_as_the_configuration_goes(self):
		for config, module, words in (
				(TEXT, "xfs", '^module="xfs"\ntracer="function"\n'),
				(TEXT, "", '^module=""\ntracer="function"\n'),
				({**TEXT, deb.UNLOADS: "n"}, "xfs", '^module=""\n'),
				({deb.UNLOADS: "y"}, "xfs", '^module="xfs"\ntracer=""\n'),
				({}, "xfs", "^$")):
			with self.subTest(config=config, module=module):
				self.assertRegex(deb.text_job(config, module), words)

	def text_job(self, trace="mprotect_fixup unmap_vmas copy_page_range", **programs):
		"""Run the job with scripts in the place of the guest's programs and files."""
		guest = self.tmp / "guest"
		shutil.rmtree(guest, ignore_errors=True)
		(guest / "tracing").mkdir(parents=True)
		(guest / "tracing" / "trace").write_text(trace)
		(guest / "modules").write_text("")
		for name, text in {**PROGRAMS, **programs}.items():
			text = text.replace("GUEST", str(guest))
			(guest / name).write_text(f"#!/bin/sh\n{text}\n")
			(guest / name).chmod(0o755)
		job = deb.text_job(TEXT, "xfs").replace("/tmp/", f"{guest}/")
		job = job.replace("/sys/kernel", str(guest)).replace("/proc", str(guest))
		return subprocess.run(["sh", "-ec", job], capture_output=True, text=True,
				      check=False, env={"PATH": f"{guest}:{os.environ['PATH']}"})

	def test_text_that_hardly_changed_and_races_that_failed_are_told(self):
		done = self.text_job(modify_prot_race="sleep 0.5; exit 4")
		self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
		self.assertRegex(done.stdout, r"(?m)^text: ([4-9]|\d\d+) times traced, \1 loaded$")
		for words, changes in (
				("a race failed", {"zap_race": "exit 1"}),
				("cannot load xfs", {"busybox": "exit 1"}),
				("xfs is not loaded", {"busybox": "true"}),
				("cannot unload xfs", {"busybox": f"{MODPROBE}; [ \"$2\" = xfs ]"}),
				("did not see unmap_vmas", {"trace": "mprotect_fixup"})):
			with self.subTest(words):
				done = self.text_job(**changes)
				self.assertEqual(done.returncode, 1)
				self.assertIn(words, done.stdout)

	def test_fragments_ask_for_nothing_twice(self):
		machine, everywhere = read_fragments([deb.MACHINE]), read_fragments([deb.ANY])
		self.assertFalse(machine.keys() & everywhere.keys())
		self.assertEqual(everywhere["CONFIG_KUNIT"], "n")
		for name in (deb.MACHINE, deb.ANY):
			text = (deb.FRAGMENT_DIR / f"{name}.config").read_text()
			names = re.findall(r"^(?:# )?(CONFIG_\w+)", text, re.M)
			self.assertEqual(len(names), len(set(names)), name)
