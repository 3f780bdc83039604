# SPDX-License-Identifier: GPL-2.0
"""Tests of series/: base, tree, refresh, series, and their bad input."""
import os
import shutil
import subprocess
import tarfile
import unittest.mock
from pathlib import Path

from common.command import (EXIT_FETCH, EXIT_MISSING, EXIT_PATCH, EXIT_UNSAVED, EXIT_USAGE,
			    ToolError, replaced, run)
from series import base, patches, worktree
from series.assemble import assemble
from series.refresh import refresh, write_series
from series.tree import STAMP, make_tree
from series.worktree import APPLIED, unsaved_work
from tests.miniature import FakeCase, contents, git, snapshot


class Base(FakeCase):
	"""Where the base comes from, and what is refused."""

	def fails(self, code, words, function, *args):
		with self.assertRaises(ToolError) as caught:
			function(*args)
		self.assertEqual(caught.exception.code, code)
		self.assertIn(words, str(caught.exception))
		self.assertNotIn("\n", str(caught.exception))

	def test_linux_that_is_not_a_kernel_is_refused(self):
		os.environ["LINUX"] = str(self.tmp)
		self.fails(EXIT_USAGE, "not a kernel tree", base.ensure_base)
		self.assertFalse((self.tmp / "build" / "linux").exists())

	def test_linux_of_another_version_is_refused(self):
		makefile = self.linux / "Makefile"
		makefile.write_text(makefile.read_text().replace("PATCHLEVEL = 3",
								 "PATCHLEVEL = 2"))
		self.fails(EXIT_USAGE, "is Linux 7.2.4", base.ensure_base)

	def test_any_stable_release_is_taken(self):
		makefile = self.linux / "Makefile"
		makefile.write_text(makefile.read_text().replace("SUBLEVEL = 4", "SUBLEVEL = 11"))
		self.assertEqual(base.tree_version(base.ensure_base()), "7.3.11")

	def test_users_tree_is_not_modified(self):
		(self.linux / "mm" / "code.o").write_text("object")
		before = snapshot(self.linux)
		tree = make_tree(self.root)
		self.assertEqual(before, snapshot(self.linux))
		self.assertFalse((tree / "mm" / "code.o").exists())

	def test_git_tree_with_local_changes_is_copied_with_them(self):
		git(self.linux, "init", "-q")
		git(self.linux, "add", "-A")
		git(self.linux, "commit", "-qm", "x")
		(self.linux / "mm" / "other.c").write_text("untracked\n")
		code = self.linux / "mm" / "code.c"
		code.write_text(code.read_text() + "int mine;\n")
		before = snapshot(self.linux)
		tree = base.ensure_base()
		self.assertIn("int mine;", (tree / "mm" / "code.c").read_text())
		self.assertFalse((tree / "mm" / "other.c").exists())
		self.assertEqual(before, snapshot(self.linux))

	def tarball(self, directory):
		directory.mkdir()
		path = directory / "linux-source-7.3.tar.xz"
		with tarfile.open(path, "w:xz") as tar:
			tar.add(self.linux, "linux-source-7.3")
		return path

	def test_tarball_is_verified(self):
		del os.environ["LINUX"]
		os.environ["DL_DIR"] = str(self.tmp / "dl")
		path = self.tarball(self.tmp / "dl")
		# base.sha256 of the repository names this file with the real one's sum
		self.fails(EXIT_FETCH, "does not match its sum", base.ensure_base)
		self.assertFalse((self.tmp / "build" / "linux").exists())
		self.fails(EXIT_FETCH, "no checksum is known", base.check_sum, path,
			   path.with_name("SHA256SUMS"))
		path.with_name("SHA256SUMS").write_text(f"{base.sha256(path)}  {path.name}\n")
		base.check_sum(path, path.with_name("SHA256SUMS"))

	def test_debian_tarball_does_not_hide_new_files(self):
		(self.linux / ".gitignore").write_text("*.o\n/*\n!/debian/\n")
		path = self.tarball(self.tmp / "dl")
		base.unpack(path, self.tmp / "tree")
		self.assertEqual((self.tmp / "tree" / ".gitignore").read_text(), "*.o\n")

	def test_missing_dl_dir_is_refused(self):
		del os.environ["LINUX"]
		os.environ["DL_DIR"] = str(self.tmp / "nowhere")
		self.fails(EXIT_USAGE, "is not a directory", base.ensure_base)

	def test_failed_download_leaves_nothing(self):
		os.environ["KERNEL_ORG"] = (self.tmp / "nowhere").as_uri()
		self.fails(EXIT_FETCH, "set LINUX=<tree> or DL_DIR=", base.from_kernel_org)
		self.assertEqual(list((self.tmp / "build" / "dl").iterdir()), [])

	def test_kernel_org_tarball_is_verified(self):
		site = self.tmp / "site" / "v7.x"
		site.mkdir(parents=True)
		path = self.tarball(self.tmp / "dl").rename(site / f"linux-{base.STABLE}.tar.xz")
		os.environ["KERNEL_ORG"] = site.parent.as_uri()
		(site / "sha256sums.asc").write_text(f"{base.sha256(path)}  {path.name}\n")
		self.assertEqual(base.from_kernel_org().read_bytes(), path.read_bytes())
		log = (self.tmp / "build" / "log" / "commands.log").read_text()
		self.assertIn(f" # urllib: fetch {path.as_uri()} to ", log)
		self.assertNotIn("curl", log)
		(site / "sha256sums.asc").write_text(f"{'0' * 64}  {path.name}\n")
		self.fails(EXIT_FETCH, "does not match", base.from_kernel_org)

	def test_missing_program_names_the_remedy(self):
		self.fails(EXIT_MISSING, "make deps", run, ["no-such-program-here"])

	def test_interrupted_replacement_leaves_the_old_one(self):
		path = self.tmp / "file"
		path.write_text("old")
		with self.assertRaises(KeyboardInterrupt):
			with replaced(path) as tmp:
				tmp.write_text("half")
				raise KeyboardInterrupt
		self.assertEqual(path.read_text(), "old")
		self.assertEqual(list(self.tmp.glob(".file*")), [])


class Tree(FakeCase):
	"""make tree, make refresh and make series."""

	def setUp(self):
		super().setUp()
		self.tree = make_tree(self.root)

	def head(self):
		return git(self.tree, "rev-parse", "HEAD").strip()

	def patch(self, number):
		return next((self.root / "patches" / "1-topic").glob(f"{number:04d}-*.patch"))

	def refused(self, code, words, function=make_tree):
		with self.assertRaises(ToolError) as caught:
			function(self.root)
		self.assertEqual(caught.exception.code, code)
		self.assertIn(words, str(caught.exception))

	def test_round_trip_changes_nothing(self):
		before, head = contents(self.root), self.head()
		refresh(self.root)
		self.assertEqual(before, contents(self.root))
		(self.tmp / "build" / "linux" / ".git" / "modify-prot-stamp").unlink()
		make_tree(self.root)
		self.assertEqual(head, self.head())

	def test_payload_is_split_over_the_patches(self):
		self.assertEqual(git(self.tree, "show", "HEAD~1:mm/tests/new.c"),
				 "/* new */\nint a;\n")
		self.assertEqual(git(self.tree, "show", "HEAD:mm/tests/new.c"),
				 "/* new */\nint a;\nint b;\n")

	def test_switching_keeps_timestamps(self):
		untouched = (self.tree / "Makefile").stat().st_mtime_ns
		new = (self.tree / "mm" / "tests" / "new.c").stat().st_mtime_ns
		path = self.patch(2)
		path.write_text(path.read_text().replace("line_thirty", "line_30th"))
		make_tree(self.root)
		self.assertIn("line_30th", (self.tree / "mm" / "code.c").read_text())
		self.assertEqual(untouched, (self.tree / "Makefile").stat().st_mtime_ns)
		self.assertEqual(new, (self.tree / "mm" / "tests" / "new.c").stat().st_mtime_ns)

	def test_amended_and_added_commits_come_back(self):
		code = self.tree / "mm" / "code.c"
		code.write_text(code.read_text().replace("line_thirty", "line_moved"))
		git(self.tree, "commit", "-qa", "--amend", "-m", "mm: say it otherwise\n\nWhy.")
		(self.tree / "mm" / "tests" / "more.c").write_text("/* more */\n")
		git(self.tree, "add", "mm/tests/more.c")
		git(self.tree, "commit", "-qm", "mm: add more\n\nBecause.")
		refresh(self.root)
		self.assertIn("+int line_moved;", self.patch(2).read_text())
		self.assertEqual(self.patch(2).name, "0002-mm-say-it-otherwise.patch")
		self.assertIn("Payload: mm/tests/more.c", self.patch(3).read_text())
		self.assertTrue((self.root / "mm" / "tests" / "more.c").is_file())
		self.assertEqual(len(list((self.root / "patches" / "1-topic").glob("0*"))), 3)
		self.assertTrue((self.root / "patches" / "1-topic" / "cover.txt").is_file())
		head = self.head()
		make_tree(self.root)
		self.assertEqual(head, self.head())

	def test_removed_commits_take_their_payload_along(self):
		git(self.tree, "reset", "-q", "--hard", "base")
		(self.tree / "mm" / "code.c").write_text("int x;\n")
		git(self.tree, "commit", "-qam", "mm: other\n\nText.")
		git(self.tree, "notes", "--ref=topic", "add", "-m", "2-other", "HEAD")
		refresh(self.root)
		self.assertFalse((self.root / "mm").exists())
		self.assertEqual(patches.load(self.root)[0].topic, "2-other")

	def test_the_tenth_topic_comes_after_the_second(self):
		code = self.tree / "mm" / "code.c"
		for topic in ("2-other", "10-last"):
			code.write_text(code.read_text() + f"int of_{topic[-4:]};\n")
			git(self.tree, "commit", "-qam", f"mm: {topic}\n\nText.")
			git(self.tree, "notes", "--ref=topic", "add", "-m", topic, "HEAD")
		refresh(self.root)
		self.assertEqual(patches.topics(self.root), ["1-topic", "2-other", "10-last"])
		(self.root / "patches" / "10-last" / "needs").write_text("topic: 2-other\n")
		self.assertEqual([p.topic for p in patches.alone("10-last", self.root)],
				 ["2-other", "10-last"])
		head = self.head()
		(self.tree / ".git" / "modify-prot-stamp").unlink()
		make_tree(self.root)
		self.assertEqual(head, self.head())

	def test_work_that_was_not_taken_back_is_not_lost(self):
		git(self.tree, "commit", "-q", "--allow-empty", "-m", "mine")
		path = self.patch(2)
		path.write_text(path.read_text().replace("line_thirty", "line_30th"))
		self.refused(EXIT_UNSAVED, "make refresh")
		make_tree(self.root, force=True)
		self.assertIn("line_30th", (self.tree / "mm" / "code.c").read_text())

	def test_work_written_elsewhere_is_not_saved(self):
		path = self.tree / "mm" / "code.c"
		path.write_text(path.read_text().replace("line_20", "line_XX"))
		git(self.tree, "commit", "-q", "-a", "-m", "mine")
		copy = self.tmp / "copy"
		shutil.copytree(self.root, copy)
		write_series(copy)
		self.assertNotEqual(contents(copy), contents(self.root))
		self.assertIsNotNone(unsaved_work(self.tree))

	def test_interrupted_tree_is_made_by_starting_again(self):
		git(self.tree, "checkout", "-q", "-B", "series", "base")
		git(self.tree, "update-ref", APPLIED, "base")
		git(self.tree, "update-ref", "-d", "refs/notes/topic")
		(self.tree / ".git" / STAMP).unlink()

		def interrupt(tree, *args, **rest):
			if args[0] == "update-ref":
				raise KeyboardInterrupt
			return worktree.git(tree, *args, **rest)

		with unittest.mock.patch("series.tree.git", interrupt), \
		     self.assertRaises(KeyboardInterrupt):
			make_tree(self.root)
		before = contents(self.root)
		make_tree(self.root)
		self.assertIsNone(unsaved_work(self.tree))
		refresh(self.root)
		self.assertEqual(before, contents(self.root))

	def test_empty_commit_is_named(self):
		git(self.tree, "commit", "-q", "--allow-empty", "-m", "mm: nothing")
		self.refused(EXIT_PATCH, "'mm: nothing', is empty", refresh)

	def test_two_topics_with_one_number_are_named(self):
		(self.root / "patches" / "1-other").mkdir()
		self.refused(EXIT_PATCH, "1-other and 1-topic have the same number")

	def test_topic_that_is_not_complete(self):
		(self.root / "patches" / "1-topic" / "cover.txt").unlink()
		self.assertEqual(len(patches.with_tests("1-topic", self.root)), 2)
		(self.root / "patches" / "2-new").mkdir()
		with self.assertRaisesRegex(ToolError, "patches/2-new has no patches"):
			patches.with_tests("2-new", self.root)

	def test_uncommitted_changes_stop_refresh(self):
		(self.tree / "mm" / "code.c").write_text("")
		self.refused(EXIT_UNSAVED, "uncommitted", refresh)

	def test_failure_names_patch_file_and_hunk(self):
		path = self.patch(2)
		path.write_text(path.read_text().replace("-int line_30;", "-int line_3O;"))
		head = self.head()
		self.refused(EXIT_PATCH, f"1-topic/{path.name} does not apply: "
					 "mm/code.c, hunk 1 of 1 (line 27)")
		self.assertEqual(head, self.head())

	def test_no_fuzz(self):
		path = self.patch(1)
		path.write_text(path.read_text().replace(" int line_2;", " int line_II;"))
		self.refused(EXIT_PATCH, "does not apply: mm/code.c, hunk 1")

	def test_malformed_patches_are_named(self):
		for old, new, words in (("From: ", "Form ", "bad header line"),
					("Date: Sat, 21 Nov 2026 12:00:00 +0000\n", "",
					 "is missing"),
					("\n---\n", "\n", "no '---' line"),
					("Payload: ", "Pay: ", "is not a 'Payload: <path>' line"),
					("Payload: mm/tests/new.c", "Payload: mm/tests/gone.c",
					 "is missing"),
					("Payload: mm/tests/new.c", "Payload: series/x.py",
					 "outside the payload")):
			with self.subTest(words):
				path = self.patch(1)
				text = path.read_text()
				path.write_text(text.replace(old, new))
				self.refused(EXIT_PATCH, words)
				path.write_text(text)

	def test_payload_edited_in_place_is_caught_if_it_cannot_be_split(self):
		(self.root / "mm" / "tests" / "new.c").write_text("/* rewritten */\n")
		self.refused(EXIT_PATCH, "mm/tests/new.c is not as")

	def test_git_am_and_quilt_take_the_series(self):
		out = assemble(self.root)
		mails = sorted(out.glob("*/0*.patch"))
		self.assertEqual(len(mails), 2)
		plain = self.tmp / "am"
		shutil.copytree(self.linux, plain)
		git(plain, "init", "-q")
		git(plain, "add", "-A")
		git(plain, "commit", "-qm", "base")
		git(plain, "am", "-q", *mails)
		want = git(self.tree, "rev-parse", "HEAD^{tree}")
		self.assertEqual(git(plain, "rev-parse", "HEAD^{tree}"), want)
		self.assertEqual(git(plain, "log", "-1", "--format=%B").strip(),
				 git(self.tree, "log", "-1", "--format=%B").strip())
		subprocess.run(["quilt", "--quiltrc=-", "push", "-a", "--fuzz=0"], cwd=self.linux,
			       env={**os.environ, "QUILT_PATCHES": str(out)}, check=True,
			       capture_output=True)
		for name in ("mm/code.c", "mm/tests/new.c"):
			self.assertEqual((self.linux / name).read_text(),
					 (self.tree / name).read_text())
		self.assertTrue(Path(out, "1-topic", "cover-letter.txt").is_file())
