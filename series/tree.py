# SPDX-License-Identifier: GPL-2.0
"""make tree: build/linux becomes the base plus one commit per patch.

Commits are made in a temporary index, and the work tree is moved to the result
only at the end: files that stay the same keep their timestamps, so that a build
redoes only what changed. Author, committer and dates come from the patches:
the same patches on the same base give the same commit ids.
"""
import email.utils
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from common.command import EXIT_UNSAVED, ROOT, StrPath, ToolError, main, run, say
from common.settings import Parser
from series import patches
from series.base import ensure_base
from series.patches import Patch
from series.worktree import APPLIED, git, lay, switch, unsaved_work

STAMP = "modify-prot-stamp"		# in .git: digest of what it was built from


def digest(series: Iterable[Patch], root: Path = ROOT) -> str:
	"""Return a digest of the patches and the payload that they bring."""
	total = hashlib.sha256()
	for patch in series:
		total.update(f"{patch.label}\n{patch.format()}".encode())
		for name in patch.payload:
			mode = os.access(root / name, os.X_OK)
			total.update(f"{name} {mode}\n".encode() + (root / name).read_bytes())
	return total.hexdigest()


def author(patch: Patch) -> dict[str, str]:
	"""Return git's environment for a patch's author, the committer being the same."""
	name, mail = email.utils.parseaddr(patch.header["From"])
	env = {}
	for who in ("AUTHOR", "COMMITTER"):
		env[f"GIT_{who}_NAME"] = name
		env[f"GIT_{who}_EMAIL"] = mail
		env[f"GIT_{who}_DATE"] = patch.header["Date"]
	return env


def commit_series(linux: StrPath, series: Iterable[Patch], root: Path = ROOT,
		  parent: str = "base") -> list[tuple[str, Patch]]:
	"""Commit @series on top of @parent without touching the work tree.

	Returns the list of (commit id, patch). Raises ToolError naming patch,
	file and hunk if one does not apply exactly.
	"""
	contents = patches.contents_at_introduction(patches.load(root), root)
	commits = []
	with tempfile.TemporaryDirectory(dir=Path(linux) / ".git") as tmp:
		env = {"GIT_INDEX_FILE": f"{tmp}/index"}
		git(linux, "read-tree", parent, env=env)
		parent = git(linux, "rev-parse", f"{parent}^{{commit}}")
		for patch in series:
			diff = patches.whole_diff(patch, contents, root)
			done = run(["git", "-C", linux, "apply", "--cached", "--whitespace=nowarn",
				    "-"], stdin=diff, env=env, check=False)
			if done.returncode:
				raise patches.apply_error(patch, done.stderr)
			tree = git(linux, "write-tree", env=env)
			message = f"{patch.subject}\n\n{patch.body.strip()}\n"
			parent = git(linux, "commit-tree", tree, "-p", parent, stdin=message,
				     env=author(patch))
			commits.append((parent, patch))
	return commits


def make_tree(root: Path = ROOT, force: bool = False) -> Path:
	"""Bring build/linux to base plus series; return its path.

	Raises ToolError if commits or changes there would be lost and not @force.
	"""
	linux = ensure_base()
	series = patches.load(root)
	stamp = linux / ".git" / STAMP
	want = digest(series, root)
	lost = unsaved_work(linux)
	fresh = stamp.is_file() and stamp.read_text() == want
	if fresh and (not lost or not force):
		if lost:
			say(f"note: {linux} has {lost}; it is built as it stands")
		return linux
	commits = commit_series(linux, series, root)
	tip = commits[-1][0]
	# Commits that patches/ gives are not lost: a run that was interrupted left them.
	lost = unsaved_work(linux, tip)
	if lost and not force:
		raise ToolError(f"{linux} has {lost}, and patches/ changed too: 'make refresh' "
				"takes them back, 'make tree FORCE=1' drops them", EXIT_UNSAVED)
	git(linux, "notes", "--ref=topic", "prune", check=False)
	for commit, patch in commits:
		git(linux, "notes", "--ref=topic", "add", "-f", "-m", patch.topic, commit,
		    env=author(patch))
	git(linux, "checkout", "-q", "--force", "-B", "series", tip)
	git(linux, "update-ref", APPLIED, tip)
	stamp.write_text(want)
	say(f"{linux}: {len(commits)} patches on {git(linux, 'log', '-1', '--format=%s', 'base')}")
	return linux


def topic_worktree(tree: Path, topic: str, root: Path = ROOT) -> Path:
	"""Bring @tree, a second work tree, to the base plus the patches of @topic; return it.

	What @topic or its tests need comes before. Files that stay the same keep their timestamps.
	"""
	linux = ensure_base()
	tip = commit_series(linux, patches.with_tests(topic, root), root)[-1][0]
	if not lay(linux, tree, tip, f"the work tree of {topic} alone"):
		switch(tree, tip)
	return tree


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("FORCE")
	make_tree(force=parser.settled().force)
	return 0


if __name__ == "__main__":
	main(_main)
