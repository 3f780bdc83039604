# SPDX-License-Identifier: GPL-2.0
"""A kernel tree and a repository in miniature, for the tests of the tooling."""
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

IDENTITY = ("-c", "user.name=T", "-c", "user.email=t@example.org")	# options of git
MAKEFILE = """# SPDX-License-Identifier: GPL-2.0
VERSION = 7
PATCHLEVEL = 3
SUBLEVEL = 4
EXTRAVERSION =
mrproper:
	rm -f mm/*.o
"""
CODE = "".join(f"int line_{n};\n" for n in range(1, 41))
FIRST = """From: A Uthor <a@example.org>
Date: Sat, 21 Nov 2026 12:00:00 +0000
Subject: mm: rename the fifth line

It is better so.
---
Payload: mm/tests/new.c

diff --git a/mm/code.c b/mm/code.c
--- a/mm/code.c
+++ b/mm/code.c
@@ -2,7 +2,7 @@ int line_1;
 int line_2;
 int line_3;
 int line_4;
-int line_5;
+int line_five;
 int line_6;
 int line_7;
 int line_8;
"""
SECOND = """From: A Uthor <a@example.org>
Date: Sat, 21 Nov 2026 12:01:00 +0000
Subject: mm: extend the new file

And the thirtieth line with it.
---

diff --git a/mm/code.c b/mm/code.c
--- a/mm/code.c
+++ b/mm/code.c
@@ -27,7 +27,7 @@ int line_26;
 int line_27;
 int line_28;
 int line_29;
-int line_30;
+int line_thirty;
 int line_31;
 int line_32;
 int line_33;
diff --git a/mm/tests/new.c b/mm/tests/new.c
--- a/mm/tests/new.c
+++ b/mm/tests/new.c
@@ -1,2 +1,3 @@
 /* new */
 int a;
+int b;
"""


def git(tree, *args):
	"""Run git in @tree and return its stdout."""
	return subprocess.run(["git", "-C", tree, *IDENTITY, *args], check=True,
			      capture_output=True, text=True).stdout


def snapshot(directory):
	"""Return {path: (content, mode, mtime)} of the files below @directory."""
	return {p.relative_to(directory): (p.read_bytes(), p.stat().st_mode, p.stat().st_mtime_ns)
		for p in Path(directory).rglob("*") if p.is_file()}


def contents(directory):
	"""Return {path: (content, mode)} of the files below @directory."""
	return {path: value[:2] for path, value in snapshot(directory).items()}


class FakeCase(unittest.TestCase):
	"""A test with a kernel tree self.linux, a repository self.root and its own O=."""

	def setUp(self):
		tmp = tempfile.TemporaryDirectory()
		self.addCleanup(tmp.cleanup)
		self.tmp = Path(tmp.name)
		self.linux = self.tmp / "user-tree"
		self.root = self.tmp / "repository"
		self.write_linux(self.linux)
		self.write_root(self.root)
		saved = dict(os.environ)
		self.addCleanup(lambda: (os.environ.clear(), os.environ.update(saved)))
		for name in ("DL_DIR", "XEN", "QEMU", "HOST_KERNEL", "CC", "LLVM", "FORCE", "V"):
			os.environ.pop(name, None)
		os.environ["O"] = str(self.tmp / "build")
		os.environ["LINUX"] = str(self.linux)

	@staticmethod
	def write_linux(path):
		"""Write the miniature kernel tree."""
		(path / "mm" / "tests").mkdir(parents=True)
		(path / "Makefile").write_text(MAKEFILE)
		(path / "Kbuild").write_text("")
		(path / "mm" / "code.c").write_text(CODE)

	@staticmethod
	def write_root(path):
		"""Write the miniature repository: one topic, two patches, one payload file."""
		topic = path / "patches" / "1-topic"
		topic.mkdir(parents=True)
		(topic / "0001-mm-rename-the-fifth-line.patch").write_text(FIRST)
		(topic / "0002-mm-extend-the-new-file.patch").write_text(SECOND)
		(topic / "cover.txt").write_text("mm: cover\n\nText.\n")
		new = path / "mm" / "tests" / "new.c"
		new.parent.mkdir(parents=True)
		new.write_text("/* new */\nint a;\nint b;\n")
