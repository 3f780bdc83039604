# SPDX-License-Identifier: GPL-2.0
"""make refresh: take the commits of build/linux back into patches/ and the payload.

A commit's topic is in its git note (refs/notes/topic, which rebase and amend
carry along); a new commit belongs to the topic of the commit before it. New
files become payload, the rest hunks. Nothing changes if nothing was edited.
"""
import email.utils
import os
import re
from collections.abc import Iterable
from pathlib import Path

from common.command import (EXIT_PATCH, EXIT_UNSAVED, ROOT, ToolError, build_dir, main, remove,
			    replaced, run, say)
from common.settings import Parser
from series import patches
from series.patches import Patch
from series.tree import STAMP, digest
from series.worktree import APPLIED, git

DIFF = ["--no-color", "--no-ext-diff", "--no-renames", "--diff-algorithm=myers"]


def commits(linux: Path) -> list[str]:
	"""Return the ids of the series' commits, oldest first; refuse merges."""
	if git(linux, "rev-list", "--merges", "base..HEAD"):
		raise ToolError(f"{linux} has a merge commit: rebase it away, patches are linear",
				EXIT_PATCH)
	return git(linux, "rev-list", "--reverse", "base..HEAD").split()


def topic_of(linux: Path, commit: str, previous: str | None) -> str:
	"""Return a commit's topic: its note, else that of the commit before it."""
	note = git(linux, "notes", "--ref=topic", "show", commit, check=False)
	topic = note.splitlines()[0] if note else previous
	if not topic:
		raise ToolError(f"the first commit ({commit[:12]}) has no topic: run git notes "
				f"--ref=topic add -m 1-<topic> {commit[:12]} in {linux}",
				EXIT_PATCH)
	if not patches.TOPIC_NAME.match(topic):
		raise ToolError(f"commit {commit[:12]} has a bad topic '{topic}': topics are named "
				"<n>-<words>", EXIT_PATCH)
	return topic


def file_name(number: int, subject: str) -> str:
	"""Return a patch's file name as git format-patch would choose it."""
	slug = re.sub(r"[^A-Za-z0-9._]+", "-", subject).strip("-.")[:52].strip("-.")
	return f"{number:04d}-{slug}.patch"


def read_commit(linux: Path, commit: str, topic: str, number: int, at_tip: set[str]) -> Patch:
	"""Return the Patch for one commit; files in @at_tip that it adds are its payload.

	Raises ToolError if the commit can't be kept as a patch.
	"""
	name, mail, date, text = git(linux, "log", "-1", "--format=%an%x00%ae%x00%aD%x00%B",
				     commit).split("\0")
	subject, _, body = text.partition("\n")
	header = {"From": email.utils.formataddr((name, mail)), "Date": date,
		  "Subject": subject.strip()}
	added = set(git(linux, "diff-tree", "-r", "--no-renames", "--name-only", "--diff-filter=A",
			f"{commit}^", commit).split("\n")) & at_tip
	diff = run(["git", "-C", linux, "diff", *DIFF, f"{commit}^", commit]).stdout
	parts = patches.split_diff(patches.strip_index(diff))
	hunks = "".join(text for path, text in parts if path not in added)
	if not parts:
		raise ToolError(f"commit {commit[:12]}, {subject!r}, is empty: drop it", EXIT_PATCH)
	if re.search(r"^---$", body, re.M):
		raise ToolError(f"the message of {subject!r} has a '---' line, which mail tools "
				"cut at", EXIT_PATCH)
	return Patch(file_name(number, subject), topic, header, body.strip(), sorted(added), hunks)


def read_series(linux: Path) -> list[Patch]:
	"""Return the list of Patch for build/linux's commits."""
	at_tip = set(git(linux, "diff-tree", "-r", "--no-renames", "--name-only", "--diff-filter=A",
			 "base", "HEAD").split("\n")) - {""}
	for name in at_tip:
		if not patches.is_payload_path(name):
			raise ToolError(f"the new file {name} is outside of the payload "
					f"directories ({' '.join(patches.PAYLOAD_DIRS)}): move it, "
					"or add its directory to PAYLOAD_DIRS in series/patches.py",
					EXIT_PATCH)
	series: list[Patch] = []
	previous: str | None = None
	numbers: dict[str, int] = {}
	for commit in commits(linux):
		topic = topic_of(linux, commit, previous)
		if previous and patches.place(topic) < patches.place(previous):
			raise ToolError(f"commit {commit[:12]} of {topic} comes after one of "
					f"{previous}: order the commits by topic", EXIT_PATCH)
		previous = topic
		numbers[topic] = numbers.get(topic, 0) + 1
		series.append(read_commit(linux, commit, topic, numbers[topic], at_tip))
	patches.check_numbers(numbers)
	if not series:
		raise ToolError(f"{linux} has no commits on top of the base: 'make tree' first",
				EXIT_PATCH)
	return series


def write_payload(linux: Path, series: Iterable[Patch], root: Path, old_names: set[str]) -> None:
	"""Write the payload files of @series from HEAD; drop those no longer brought."""
	names = {n for p in series for n in p.payload}
	for name in sorted(names):
		mode = git(linux, "ls-tree", "HEAD", "--", name).split()[0]
		data = run(["git", "-C", linux, "show", f"HEAD:{name}"], text=False).stdout
		path = root / name
		executable = mode == "100755"
		if path.is_file() and path.read_bytes() == data \
		   and os.access(path, os.X_OK) == executable:
			continue
		with replaced(path) as tmp:
			tmp.write_bytes(data)
			tmp.chmod(0o755 if executable else 0o644)
	for name in old_names - names:
		remove(root / name)
		for parent in list(Path(name).parents)[:-1]:
			if (root / parent).is_dir() and not any((root / parent).iterdir()):
				(root / parent).rmdir()


def write_series(root: Path) -> list[Patch]:
	"""Write patches/ and the payload below @root from build/linux; return the series.

	Raises ToolError if build/linux is not there, or has changes that are in no commit.
	"""
	linux = build_dir() / "linux"
	if not (linux / ".git").is_dir():
		raise ToolError(f"{linux} is not there: 'make tree' first")
	if git(linux, "status", "--porcelain", "--untracked-files=no"):
		raise ToolError(f"{linux} has uncommitted changes: commit or stash them",
				EXIT_UNSAVED)
	series = read_series(linux)
	old = [Patch.parse(f) for t in patches.topics(root)
	       for f in (root / "patches" / t).glob("[0-9]*.patch")]
	write_payload(linux, series, root, {n for p in old for n in p.payload})
	for topic in sorted(set(patches.topics(root)) | {p.topic for p in series}):
		with replaced(root / "patches" / topic) as tmp:
			tmp.mkdir(parents=True)
			for keep in (root / "patches" / topic).glob("*"):
				if not re.match(r"\d.*\.patch$", keep.name):
					(tmp / keep.name).write_bytes(keep.read_bytes())
			for patch in series:
				if patch.topic == topic:
					(tmp / patch.name).write_text(patch.format())
	return series


def refresh(root: Path = ROOT) -> list[Patch]:
	"""As write_series(), and take build/linux for what @root has from now on."""
	linux, series = build_dir() / "linux", write_series(root)
	git(linux, "update-ref", APPLIED, "HEAD")
	(linux / ".git" / STAMP).write_text(digest(patches.load(root), root))
	say(f"{root / 'patches'}: {len(series)} patches taken from {linux}")
	return series


def _main() -> int:
	Parser(__doc__).settled()
	refresh()
	return 0


if __name__ == "__main__":
	main(_main)
