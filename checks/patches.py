# SPDX-License-Identifier: GPL-2.0
"""Checks of the patches themselves: checkpatch, round trip, git am, topics alone."""
import contextlib
import re
import shutil
import tempfile
import unittest.mock
from pathlib import Path

from checks.fake import contents, git
from checks.faults import faults
from series import patches
from series.assemble import assemble
from series.cmd import ROOT, build_dir, remove, run
from series.mail import make_mails
from series.refresh import refresh
from series.tree import commit_series, make_tree

# What checkpatch says that is no fault here, and why.
IGNORED = {
	"MISSING_SIGN_OFF": "the person who submits adds theirs",
	"UNKNOWN_COMMIT_ID": "the base comes without upstream's history",
	"FILE_PATH_CHANGES": "new files are listed in the repository's MAINTAINERS",
	"PARENTHESIS_ALIGNMENT": "mm/ continues long lines with two tabs",
	"BIT_MACRO": "the flags beside it are written as (1 << n)",
	"AVOID_BUG": "the checks of multicalls.c, adapted to another size",
	"OPEN_ENDED_LINE": "the usual form of trace events",
	"USE_LOCKDEP": "a KUnit test records whether a lock is held, without lockdep too",
	"LINE_SPACING": "kunit_test_suite() follows its suite without a blank line",
	"UNCOMMENTED_DEFINITION": "local pointers to a page table lock",
}


def checkpatch(path, linux):
	"""Return checkpatch's complaints about one complete patch as text, "" if clean."""
	done = run(["scripts/checkpatch.pl", "--strict", "--codespell", "--no-summary", "--terse",
		    "--show-types", f"--ignore={','.join(IGNORED)}", path], cwd=linux, check=False)
	return done.stdout.strip()


def sign_offs(series):
	"""Return the names of patches that carry a Signed-off-by."""
	return [p.label for p in series if re.search(r"^Signed-off-by:", p.body, re.M)]


def round_trip():
	"""Assert that refresh after tree changes nothing, on a copy of this repository."""
	with tempfile.TemporaryDirectory() as tmp:
		copy = Path(tmp)
		shutil.copytree(ROOT / "patches", copy / "patches")
		for patch in patches.load():
			for name in patch.payload:
				(copy / name).parent.mkdir(parents=True, exist_ok=True)
				shutil.copy(ROOT / name, copy / name)
		before = contents(copy)
		refresh(copy)
		after = contents(copy)
		changed = [str(p) for p in {*before, *after} if before.get(p) != after.get(p)]
		assert not changed, f"refresh after tree changes {' '.join(changed)}"


@contextlib.contextmanager
def pristine(series):
	"""Yield a work tree of the base that holds the folders @series touches."""
	linux = build_dir() / "linux"
	folders = sorted({str(Path(f).parent) for p in series for f in [*p.files(), *p.payload]})
	tree = build_dir() / "rehearsal"
	remove(tree)
	git(linux, "worktree", "prune")
	try:
		git(linux, "worktree", "add", "-q", "--no-checkout", "--detach", str(tree), "base")
		git(tree, "sparse-checkout", "set", *folders)
		git(tree, "checkout", "-q")
		yield tree
	finally:
		remove(tree)
		git(linux, "worktree", "prune")


def git_am():
	"""Assert that git am of build/series on a pristine tree gives build/linux's tree."""
	linux, series = build_dir() / "linux", patches.load()
	out = assemble()
	with pristine(series) as tree:
		git(tree, "am", "-q", *[str(out / p.label) for p in series])
		assert git(tree, "rev-parse", "HEAD^{tree}") == git(linux, "rev-parse", "HEAD^{tree}"), \
			"git am gives another tree than make tree"


def rehearse_mails():
	"""Assert that what a maintainer makes of each topic's mails is what we have.

	git am of the mbox on the base gives the same tree, authors and messages, the
	latter with the sender's Signed-off-by.
	"""
	linux, series = build_dir() / "linux", patches.load()
	name, mail = "A Sender", "sender@example.org"
	sender = unittest.mock.patch.dict("os.environ", GIT_COMMITTER_NAME=name, GIT_COMMITTER_EMAIL=mail)
	with pristine(series) as tree, tempfile.TemporaryDirectory() as tmp:
		with sender:
			out = make_mails(folder=Path(tmp))
		for topic in patches.topics():
			mine = [p for p in series if p.topic == topic]
			want = [c for c, _ in commit_series(linux, mine)]
			git(tree, "checkout", "-q", "--detach", "base")
			git(tree, "am", "-q", "--empty=drop", str(out / f"{topic}.mbox"))
			have = git(tree, "rev-list", "--reverse", "base..HEAD").split()
			assert len(have) == len(want), f"{topic}: {len(have)} commits of {len(want)} patches"
			for ours, theirs in zip(want, have):
				for what in ("%T", "%an <%ae>", "%ad"):
					a, b = (git(tree, "log", "-1", f"--format={what}", c) for c in (ours, theirs))
					assert a == b, f"{topic}: git am makes '{b.strip()}' of '{a.strip()}'"
				a, b = (git(tree, "log", "-1", "--format=%B", c).strip() for c in (ours, theirs))
				sign_off = f"Signed-off-by: {name} <{mail}>"
				assert b.endswith(sign_off) and b.removesuffix(sign_off).strip() == a, \
					f"{topic}: git am changes the message of '{a.splitlines()[0]}'"


def quilt():
	"""Assert that quilt push -a without fuzz gives build/linux's files."""
	linux, series, out = build_dir() / "linux", patches.load(), build_dir() / "series"
	with tempfile.TemporaryDirectory() as tmp:
		names = sorted({f for p in series for f in p.files()} - {n for p in series for n in p.payload})
		for name in names:
			(Path(tmp) / name).parent.mkdir(parents=True, exist_ok=True)
			(Path(tmp) / name).write_text(git(linux, "show", f"base:{name}"))
		run(["quilt", "--quiltrc=-", "push", "-a", "--fuzz=0"], cwd=tmp,
		    env={"QUILT_PATCHES": str(out)})
		for name in names:
			assert (Path(tmp) / name).read_text() == git(linux, "show", f"HEAD:{name}"), \
				f"quilt gives another {name}"


def check_patches(tally):
	"""Run all checks of the patches."""
	with tally.step("series: tree"):
		make_tree()
	with tally.step("series: refresh after tree changes nothing"):
		round_trip()
	with tally.step("series: git am in a pristine tree gives the same tree"):
		git_am()
	with tally.step("mail: git am of each topic's mbox on the base gives the same commits"):
		rehearse_mails()
	with tally.step("series: quilt applies it without fuzz"):
		quilt()
	series, linux = patches.load(), build_dir() / "linux"
	signed = sign_offs(series)
	tally.result("series: no patch carries a Signed-off-by", not signed, " ".join(signed))
	for topic in patches.topics():
		with tally.step(f"series: {topic} applies to the base by itself"):
			commit_series(linux, [p for p in series if p.topic == topic])
	for fault in faults():
		with tally.step(f"fault {fault.name} applies to the series"):
			run(["git", "-C", linux, "apply", "--check", "--cached", "-"], stdin=fault.diff)
	for patch in series:
		text = checkpatch(build_dir() / "series" / patch.label, linux)
		tally.result(f"checkpatch {patch.label}", not text, text)
