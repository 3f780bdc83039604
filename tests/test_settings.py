# SPDX-License-Identifier: GPL-2.0
"""Tests of the settings: bad values are refused before anything is installed, fetched or built."""
import gzip
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from bench.matrix import PLACES
from common import settings
from common.command import ROOT, ToolError
from common.settings import TABLE
from gates.lint import programs
from guests.kunit import KINDS
from tests.miniature import FakeCase

# A bad value of each setting, and what the error says of it.
BAD = {
	"O": ("/proc/x", "can't be made"),
	"LINUX": ("/", "is not a kernel tree"),
	"DL_DIR": ("/no/such", "is not a directory"),
	"KERNEL_ORG": ("kernel.org", "is not a URL"),
	"GUEST": ("b?re", "is not a list of names"),
	"KERNEL": ("$(true)", "is not a list of names"),
	"HOST_KERNEL": ("older", "known are base series"),
	"CONFIG": ("lean;", "is not a list of names"),
	"SMP": ("abc", "is not a positive number"),
	"MEM": ("-1", "is not a positive number"),
	"ACCEL": ("hax", "known are auto tcg kvm"),
	"XEN": ("/etc/passwd", "is not a multiboot ELF image"),
	"QEMU": ("/etc/passwd", "is not executable"),
	"J": ("0", "is not a positive number"),
	"V": ("yes", "known are 0 1 2"),
	"CC": (" ", "is not a command"),
	"HOSTCC": ("a\nb", "is not a command"),
	"LLVM": ("yes", "is not 1, -<version>"),
	"ARCH": ("x86/64", "is not an architecture"),
	"CROSS_COMPILE": ("a b", "is not a prefix"),
	"W": ("all", "is not made of"),
	"C": ("3", "known are 0 1 2"),
	"TOPIC": ("a b", "is not a name"),
	"PREVIOUS": ("-x", "is not a commit"),
	"TRAILERS": ("Assisted-by", "is not a tag of a kernel patch"),
	"AUTHOR": ("somebody", "is not 'Name <address>'"),
	"FORCE": ("yes", "neither 0 nor 1"),
	"GATE": ("a;b", "is not a list of names"),
	"FAULT": ("*", "is not a list of names"),
	"FILE": ("*", "is not a list of names"),
	"MINUTES": ("1.5", "is not a positive number"),
	"SECONDS": ("x", "is not a positive number"),
	"SEED": ("x", "is not a positive number"),
	"TRANSACTIONS": ("1e7", "is not a positive number"),
	"ROUNDS": ("0", "is not a positive number"),
	"WIS": ("/no/such", "is not a directory"),
	"LTP": ("/no/such", "is not a directory"),
	"BENCH": ("m;protect", "is not a list of names"),
	"KEEP": ("yes", "neither 0 nor 1"),
	"DEB_CONFIG": ("/no/such", "is not a file"),
	"BOOT": ("no", "neither 0 nor 1"),
}
# Good words that a target does not know: target, variable, value, what the error names.
UNKNOWN = (
	("kunit", "GUEST", "arm", "known are bare xen domU pvh pvshim kvm um"),
	("kunit", "KERNEL", "next", "known are base series"),
	("kunit", "CONFIG", "fat", "known are lean disk"),
	("shell", "GUEST", "um", "known are bare xen"),
	("bench", "GUEST", "bear", "known are bare"),
	("bench", "KERNEL", "old", "debian-6.1"),
	("profile", "KERNEL", "debian-6.1", "known are base series"),
	("check", "GATE", "nope", "known are lint series"),
	("faults", "FAULT", "nope", "known are"),
	("soak", "CONFIG", "lean", "known are kasan debug"),
	("race", "CONFIG", "lean", "known are disk"),
	("snapshot", "KERNEL", "topic1", "known are base series"),
	("mail", "TOPIC", "9-none", "known are 1-xen-lazy-mmu"),
	("deb", "DEB_CONFIG", "/no/such", "is not a file"),
	("test", "SMP", "abc", "is not a positive number"),
	("test", "KERNEL", "base", "nothing that this target takes"),
	("torture", "CONFIG", "kasan", "it takes GUEST SECONDS SEED"),
	("bench-wall", "ROUNDS", "4", "can show no change"),
	("test", "XEN", "/etc/passwd", "is not a multiboot ELF"),
	("run", "O", "/proc/x", "can't be made"),
)
# Stands for dpkg-query and apt-get: says that it was run.
RECORDER = "#!/bin/sh\necho \"$0 $*\" >> {log}\nexit 1\n"


class FakeBin:
	"""A directory in which dpkg-query and apt-get only record that they were run.

	@env has it in PATH.
	"""

	def __init__(self, directory):
		self.log = f"{directory}/calls"
		for name in ("dpkg-query", "apt-get"):
			with open(f"{directory}/{name}", "w") as f:
				f.write(RECORDER.format(log=self.log))
			os.chmod(f"{directory}/{name}", 0o755)
		self.env = {**{k: v for k, v in os.environ.items() if k not in TABLE},
			    "PATH": f"{directory}:{os.environ['PATH']}", "O": f"{directory}/build"}

	def make(self, *argv):
		"""Run make with @argv; return its CompletedProcess."""
		return subprocess.run(["make", *argv, f"PYTHON={sys.executable}"], cwd=ROOT,
				      env=self.env, capture_output=True, text=True, check=False)

	def calls(self):
		"""Return what was run, a line each."""
		path = Path(self.log)
		return path.read_text() if path.is_file() else ""


class Settings(FakeCase):
	"""One table, which everything is checked by."""

	def test_each_has_a_bad_value_here(self):
		self.assertEqual(sorted(BAD), sorted(TABLE))

	def test_bad_values_are_refused(self):
		for name, (text, words) in BAD.items():
			saved = os.environ.get(name)
			os.environ[name] = text
			pattern = words.replace("?", r"\?")
			with self.subTest(name), \
			     self.assertRaisesRegex(ToolError, pattern) as caught:
				settings.check_all()
			with self.subTest(name):
				self.assertNotIn("\n", str(caught.exception))
			del os.environ[name]
			if saved is not None:
				os.environ[name] = saved
		settings.check_all()

	def test_good_values_have_the_type(self):
		elf = self.tmp / "xen.gz"
		elf.write_bytes(gzip.compress(b"\x7fELF..." + settings.MULTIBOOT))
		for name, text, want in (
				("SMP", "2", 2), ("FORCE", "0", False), ("FORCE", "1", True),
				("FORCE", "", False), ("XEN", str(elf), str(elf)),
				("XEN", "4.20", "4.20"), ("LLVM", "-19", "-19"),
				("GUEST", "bare xen", ["bare", "xen"]),
				("CC", "ccache gcc", "ccache gcc"), ("MINUTES", "", 15),
				("DL_DIR", str(self.tmp), self.tmp)):
			with self.subTest(name):
				os.environ[name] = text
				self.assertEqual(settings.setting(name), want)

	def test_argument_beats_environment_beats_default(self):
		os.environ["GUEST"] = "xen"
		parser = settings.Parser("x")
		parser.setting("GUEST", "bare", ("bare", "xen", "um"))
		parser.setting("CONFIG", ["kasan"], ("kasan", "rt"), many=True)
		parser.setting("KERNEL", "series", ("base", "series"), positional=True)
		self.assertEqual(vars(parser.settled([])),
				 {"check": False, "guest": "xen", "config": ["kasan"],
				  "kernel": "series"})
		args = parser.settled(["--guest", "um", "--config", "rt", "kasan", "--", "base"])
		self.assertEqual((args.guest, args.config, args.kernel),
				 ("um", ["rt", "kasan"], "base"))
		for argv in (["--guest", "arm"], ["--guest", "bare xen"], ["next"]):
			with self.subTest(argv), \
			     self.assertRaisesRegex(ToolError, "known are|one of"):
				parser.settled(argv)

	def test_several_where_one_is_wanted_are_refused(self):
		os.environ["GUEST"] = "bare xen"
		with self.assertRaisesRegex(ToolError,
					    "GUEST='bare xen' has to be one of: bare xen"):
			settings.Parser("x").setting("GUEST", "bare", ("bare", "xen"))

	def test_help_names_each(self):
		text = settings.help_text()
		for name in TABLE:
			self.assertRegex(text, rf"(?m)^  {name}=")


class Targets(unittest.TestCase):
	"""A bad value ends a target before packages are looked at, and without a traceback."""

	def test_nothing_else_reads_the_environment(self):
		for floor in ("series", "guests", "bench", "gates", "checks"):
			for path in (ROOT / floor).glob("*.py"):
				found = re.findall(r"os\.environ(?:\.get\(|\[)[\"'](\w+)",
						   path.read_text())
				with self.subTest(path.name):
					self.assertEqual([n for n in found if n in TABLE], [])

	def test_every_program_checks(self):
		for name in programs():
			text = (ROOT / name).read_text()
			with self.subTest(name):
				self.assertIn(".settled(", text)

	def test_help_names_kinds_of_guest_and_places_of_the_benchmark(self):
		with tempfile.TemporaryDirectory() as tmp:
			text = FakeBin(tmp).make("help").stdout
		for heading, names in (("Kinds of guest", KINDS),
				       ("Places of the benchmark", PLACES)):
			section = text.partition(f"\n{heading}: ")[2].partition("\n\n")[0]
			with self.subTest(heading):
				found = re.findall(r"(?:^  |  )([\w-]+)  ", section, re.M)
				self.assertEqual(sorted(found), sorted(names))

	def test_unknown_values_end_make_at_once(self):
		for target, name, text, words in UNKNOWN:
			with self.subTest(f"{target} {name}={text}"), \
			     tempfile.TemporaryDirectory() as tmp:
				fake = FakeBin(tmp)
				done = fake.make(target, f"{name}={text}")
				self.assertNotEqual(done.returncode, 0)
				self.assertRegex(done.stderr, rf"(?m)^error: .*{words}")
				self.assertNotIn("Traceback", done.stderr)
				self.assertEqual(fake.calls(), "", "packages were looked at first")

	def test_good_values_go_on_to_the_packages(self):
		with tempfile.TemporaryDirectory() as tmp:
			fake = FakeBin(tmp)
			fake.make("kunit", "GUEST=um", "SMP=2")
			self.assertIn("dpkg-query", fake.calls())
		with tempfile.TemporaryDirectory() as tmp:
			fake = FakeBin(tmp)
			fake.make("mail", "AUTHOR=A <a@b.org>", "TRAILERS=Link: https://a.org")
			self.assertIn("dpkg-query", fake.calls())
