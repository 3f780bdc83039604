# SPDX-License-Identifier: GPL-2.0
"""Git in the kernel's trees: commands, second work trees, and whether work there would be lost."""
from pathlib import Path

from common.command import Environment, StrPath, remove, run, say

APPLIED = "refs/modify-prot/applied"	# what make tree or make refresh left last


def git(tree: StrPath, *args: StrPath, env: Environment | None = None, check: bool = True,
	stdin: str | None = None) -> str:
	"""Run git in @tree and return its stripped stdout; @env, @check and @stdin as in run()."""
	done = run(["git", "-C", tree, *args], env=env, check=check, stdin=stdin)
	return done.stdout.strip()


def applied(linux: StrPath) -> str | None:
	"""Return the commit that make tree or make refresh left, or None."""
	return git(linux, "rev-parse", "-q", "--verify", APPLIED, check=False) or None


def unsaved_work(linux: StrPath, saved: str = "") -> str | None:
	"""Return why a tree can't be rebuilt without losing work, or None.

	What make tree or make refresh left last is no work, nor is the commit @saved.
	"""
	if not (Path(linux) / ".git").is_dir():
		return None
	last = applied(linux) or git(linux, "rev-parse", "base")
	if git(linux, "rev-parse", "HEAD") not in (last, saved):
		return "commits that are not in patches/"
	if git(linux, "status", "--porcelain", "--untracked-files=no"):
		return "uncommitted changes"
	return None


def lay(linux: StrPath, tree: Path, commit: str, what: str, *options: str) -> bool:
	"""Make @tree a second work tree of @linux, detached at @commit, unless it is one already.

	@what names it for people, @options go to git worktree add. Returns whether it was made.
	A tree that could not be laid is removed.
	"""
	if (tree / ".git").exists():
		return False
	say(f"laying {what}")
	git(linux, "worktree", "prune")
	remove(tree)
	try:
		git(linux, "worktree", "add", "-q", "--detach", *options, str(tree), commit)
	except BaseException:
		remove(tree)
		raise
	return True


def switch(tree: StrPath, commit: str) -> None:
	"""Check @commit out in the work tree @tree; what stays the same keeps its timestamps."""
	if git(tree, "rev-parse", "HEAD") != git(tree, "rev-parse", f"{commit}^{{commit}}"):
		git(tree, "checkout", "-q", "--force", "--detach", commit)
