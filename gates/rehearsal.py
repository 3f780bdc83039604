# SPDX-License-Identifier: GPL-2.0
"""Gates of the patches as others get them: round trip, git am, mails, quilt, topics, checkpatch."""
import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from common.command import ROOT, StrPath, ToolError, build_dir, remove, run
from gates.verdict import Verdict
from series import patches
from series.assemble import assemble
from series.mail import NOBODY, Sender, make_mails, topic_commits
from series.refresh import write_series
from series.tree import commit_series, make_tree
from series.worktree import git, lay

# What checkpatch says that is not a fault here, and why.
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
SENDER = Sender("A Sender", "sender@example.org", ("Assisted-by: some tool",))
# Of the maintainer that applies them.
IDENTITY = ("-c", f"user.name={SENDER.name}", "-c", f"user.email={SENDER.address}")


def checkpatch(path: Path, linux: Path) -> str:
	"""Return checkpatch's complaints about one complete patch as text, "" if clean."""
	done = run(["scripts/checkpatch.pl", "--strict", "--codespell", "--no-summary", "--terse",
		    "--show-types", f"--ignore={','.join(IGNORED)}", path], cwd=linux, check=False)
	return done.stdout.strip()


def contents(directory: StrPath) -> dict[Path, tuple[bytes, int]]:
	"""Return {path: (content, mode)} of the files below @directory."""
	return {p.relative_to(directory): (p.read_bytes(), p.stat().st_mode)
		for p in Path(directory).rglob("*") if p.is_file()}


def sign_offs(series: Iterable[patches.Patch]) -> list[str]:
	"""Return the names of patches that carry a Signed-off-by."""
	return [p.label for p in series if re.search(r"^Signed-off-by:", p.body, re.M)]


def round_trip() -> None:
	"""Assert that refresh after tree changes nothing, on a copy of this repository."""
	with tempfile.TemporaryDirectory() as tmp:
		copy = Path(tmp)
		shutil.copytree(ROOT / "patches", copy / "patches")
		for patch in patches.load():
			for name in patch.payload:
				(copy / name).parent.mkdir(parents=True, exist_ok=True)
				shutil.copy(ROOT / name, copy / name)
		before = contents(copy)
		write_series(copy)
		after = contents(copy)
		changed = [str(p) for p in {*before, *after} if before.get(p) != after.get(p)]
		assert not changed, f"refresh after tree changes {' '.join(changed)}"


@contextlib.contextmanager
def pristine(series: Sequence[patches.Patch]) -> Iterator[Path]:
	"""Yield a work tree of the base that holds the directories that @series touches."""
	linux = build_dir() / "linux"
	directories = sorted({str(Path(f).parent)
			      for p in series for f in [*p.files(), *p.payload]})
	tree = build_dir() / "rehearsal"
	remove(tree)
	try:
		lay(linux, tree, "base", "a work tree to rehearse in", "--no-checkout")
		git(tree, "sparse-checkout", "set", *directories)
		git(tree, "checkout", "-q")
		yield tree
	finally:
		remove(tree)
		git(linux, "worktree", "prune")


def git_am() -> None:
	"""Assert that git am of build/series on a pristine tree gives build/linux's tree."""
	linux, series = build_dir() / "linux", patches.load()
	out = assemble()
	with pristine(series) as tree:
		git(tree, *IDENTITY, "am", "-q", *[str(out / p.label) for p in series])
		have, want = (git(t, "rev-parse", "HEAD^{tree}") for t in (tree, linux))
		assert have == want, "git am gives another tree than make tree"


def assert_same_commit(tree: Path, ours: str, theirs: str, sign_off: str, topic: str) -> None:
	"""Assert that two commits in @tree have the same tree, author, date and message.

	Besides, the message of @theirs ends with @sign_off. @topic is for the error.
	"""
	def both(what: str) -> Iterator[str]:
		return (git(tree, "log", "-1", f"--format={what}", c) for c in (ours, theirs))

	for what in ("%T", "%an <%ae>", "%ad"):
		a, b = both(what)
		assert a == b, f"{topic}: git am makes '{b}' of '{a}'"
	a, b = both("%B")
	assert b.endswith(sign_off) and b.removesuffix(sign_off).strip() == a, \
		f"{topic}: git am changes the message of '{a.splitlines()[0]}'"


def rehearse_mails() -> None:
	"""Assert that what a maintainer makes of each topic's mails is what we have.

	git am of the mbox on the base gives the same tree, authors that mail reaches, and
	messages with the sender's Signed-off-by.
	"""
	linux, series = build_dir() / "linux", patches.load()
	with pristine(series) as tree, tempfile.TemporaryDirectory() as tmp:
		out = make_mails(directory=Path(tmp), who=SENDER)
		for topic in patches.topics():
			start, want = topic_commits(linux, topic, who=SENDER)
			git(tree, "checkout", "-q", "--detach", start)
			git(tree, *IDENTITY, "am", "-q", "--empty=drop", str(out / f"{topic}.mbox"))
			have = git(tree, "rev-list", "--reverse", f"{start}..HEAD").split()
			assert len(have) == len(want), \
				f"{topic}: {len(have)} commits of {len(want)} patches"
			for ours, theirs in zip(want, have):
				assert_same_commit(tree, ours, theirs, "Signed-off-by: "
						   f"{SENDER.name} <{SENDER.address}>", topic)
				author = git(tree, "log", "-1", "--format=%ae", theirs)
				assert not NOBODY.search(author), \
					f"{topic}: a patch is from {author}, which gets no mail"


def file_at(linux: Path, commit: str, name: str) -> str:
	"""Return the text of the file @name of @commit."""
	return run(["git", "-C", linux, "show", f"{commit}:{name}"]).stdout


def quilt() -> None:
	"""Assert that quilt push -a without fuzz gives build/linux's files."""
	linux, series, out = build_dir() / "linux", patches.load(), build_dir() / "series"
	with tempfile.TemporaryDirectory() as tmp:
		names = sorted({f for p in series for f in p.files()}
			       - {n for p in series for n in p.payload})
		for name in names:
			(Path(tmp) / name).parent.mkdir(parents=True, exist_ok=True)
			(Path(tmp) / name).write_text(file_at(linux, "base", name))
		run(["quilt", "--quiltrc=-", "push", "-a", "--fuzz=0"], cwd=tmp,
		    env={"QUILT_PATCHES": str(out)})
		for name in names:
			assert (Path(tmp) / name).read_text() == file_at(linux, "HEAD", name), \
				f"quilt gives another {name}"


def attempt(what: str, function: Callable[..., object], *args: Any) -> Verdict:
	"""Return a verdict: good unless @function(*@args) raises ToolError or AssertionError."""
	try:
		function(*args)
	except (ToolError, AssertionError) as error:
		return what, False, str(error)
	return what, True, ""


def rehearsal() -> Iterator[Verdict]:
	"""The patches survive refresh, git am, mailing and quilt; each topic applies by itself."""
	make_tree()
	yield attempt("refresh after tree changes nothing", round_trip)
	yield attempt("git am in a pristine tree gives the same tree", git_am)
	yield attempt("git am of each topic's mbox gives the same commits", rehearse_mails)
	yield attempt("quilt applies it without fuzz", quilt)
	signed = sign_offs(patches.load())
	yield "no patch carries a Signed-off-by", not signed, " ".join(signed)
	for topic in patches.topics():
		yield attempt(f"{topic} applies to the base, with what it declares to need",
			      commit_series, build_dir() / "linux", patches.alone(topic))


def each_checkpatch() -> Iterator[Verdict]:
	"""checkpatch --strict --codespell accepts each patch, less what is ignored for a reason."""
	linux, out = make_tree(), assemble()
	for patch in patches.load():
		text = checkpatch(out / patch.label, linux)
		yield patch.label, not text, text
