# SPDX-License-Identifier: GPL-2.0
"""The series as it is kept: patches/<n>-<topic>/*.patch and the payload.

A patch file is a mail: From, Date, Subject, message, "---", one "Payload: <path>"
line for each new file that the commit brings, then the hunks against files that
are already there. The payload holds the new files as the whole series leaves
them; a later patch that changes one carries hunks for it, and the earlier
content is got by applying those in reverse.
"""
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.command import EXIT_PATCH, ROOT, ToolError, run

# Payload lives at kernel paths below these directories, and nowhere else.
PAYLOAD_DIRS = ("Documentation", "arch", "include", "lib", "mm", "tools/testing", "virt")
TOPIC_NAME = re.compile(r"^[1-9][0-9]?-[a-z0-9-]+$")


@dataclass
class Patch:
	"""One commit: @header is From/Date/Subject, @body the message, @hunks the diff."""
	name: str		# file name, 0001-....patch
	topic: str		# 1-xen-lazy-mmu
	header: dict[str, str]
	body: str
	payload: list[str] = field(default_factory=list)	# paths of new files
	hunks: str = ""

	@property
	def label(self) -> str:
		"""Return the name that errors use: topic/file."""
		return f"{self.topic}/{self.name}"

	@property
	def subject(self) -> str:
		"""Return the subject without a [PATCH] prefix."""
		return self.header["Subject"]

	def format(self) -> str:
		"""Return the text of the patch file."""
		head = "".join(f"{k}: {v}\n" for k, v in self.header.items())
		names = "".join(f"Payload: {p}\n" for p in self.payload)
		return f"{head}\n{self.body.strip()}\n---\n{names}\n{self.hunks}"

	@classmethod
	def parse(cls, path: Path) -> "Patch":
		"""Read a patch file; raise ToolError with the file's name if it is malformed."""
		label = f"{path.parent.name}/{path.name}"
		try:
			text = path.read_text()
		except UnicodeDecodeError as error:
			raise ToolError(f"{label} is not UTF-8: {error}", EXIT_PATCH) from error
		head, sep, rest = text.partition("\n\n")
		header: dict[str, str] = {}
		for line in head.splitlines():
			if line[:1] in " \t" and header:	# folded
				header[next(reversed(header))] += " " + line.strip()
				continue
			key, colon, value = line.partition(": ")
			if not colon:
				raise ToolError(f"{label}: bad header line '{line}': the file "
						"starts with From:, Date: and Subject:", EXIT_PATCH)
			header[key] = value
		if not sep or not {"From", "Date", "Subject"} <= header.keys():
			raise ToolError(f"{label}: From:, Date: or Subject: is missing", EXIT_PATCH)
		body, sep, tail = rest.partition("\n---\n")
		if not sep:
			raise ToolError(f"{label}: no '---' line between message and hunks",
					EXIT_PATCH)
		# Without payload, the hunks follow the first empty line at once.
		names, _, hunks = tail.partition("\n" if tail.startswith("\n") else "\n\n")
		payload = []
		for line in names.splitlines():
			key, colon, value = line.partition(": ")
			if key != "Payload" or not colon:
				raise ToolError(f"{label}: '{line}' is not a 'Payload: <path>' "
						"line", EXIT_PATCH)
			payload.append(value)
		return cls(path.name, path.parent.name, header, body, payload, hunks)

	def files(self) -> list[str]:
		"""Return the paths that the hunks touch."""
		return sorted(set(re.findall(r"^diff --git a/(\S+) b/", self.hunks, re.M)))


def place(topic: str) -> tuple[int, str]:
	"""Return what topics are ordered by: 10-words comes after 9-words."""
	number, _, words = topic.partition("-")
	return int(number), words


def topics(root: Path = ROOT) -> list[str]:
	"""Return the names of the topics, in order."""
	return sorted((p.name for p in (root / "patches").iterdir()
		       if p.is_dir() and TOPIC_NAME.match(p.name)), key=place)


def check_numbers(names: Iterable[str]) -> None:
	"""Raise ToolError if two of the topics @names have the same number."""
	have: dict[int, str] = {}
	for name in sorted(set(names)):
		other = have.setdefault(place(name)[0], name)
		if other != name:
			raise ToolError(f"topics {other} and {name} have the same number: give one "
					"another", EXIT_PATCH)


def needs(topic: str, root: Path = ROOT) -> tuple[list[str], list[str]]:
	"""Return what @topic needs, as (topics, subjects of patches).

	The topics have to be applied before it, the patches only its tests need. They are
	declared in patches/<topic>/needs, one "topic: <name>" or "tests: <subject>" per line.
	Raises ToolError for a malformed line or a topic that does not come before @topic.
	"""
	path = root / "patches" / topic / "needs"
	topics_before, subjects = [], []
	for line in path.read_text().splitlines() if path.is_file() else ():
		key, _, value = line.partition(": ")
		if key == "topic" and value in topics(root) and place(value) < place(topic):
			topics_before.append(value)
		elif key == "tests" and value:
			subjects.append(value)
		elif line and not line.startswith("#"):
			raise ToolError(f"{path}: '{line}' is neither \"topic: <name of one before "
					f"{topic}>\" nor \"tests: <subject of a patch>\"",
					EXIT_PATCH)
	return topics_before, subjects


def alone(topic: str, root: Path = ROOT) -> list[Patch]:
	"""Return the patches of @topic, after those of the topics that it needs.

	Together they apply to the base. Raises ToolError if @topic has no patches.
	"""
	wanted, queue = {topic}, [topic]
	while queue:
		more = set(needs(queue.pop(), root)[0]) - wanted
		wanted |= more
		queue += more
	series = [p for p in load(root) if p.topic in wanted]
	if not any(p.topic == topic for p in series):
		raise ToolError(f"patches/{topic} has no patches: remove it or add one", EXIT_PATCH)
	return series


def needed(topic: str, root: Path = ROOT) -> list[Patch]:
	"""Return the patches of other topics that only the tests of @topic need.

	They are declared in patches/<topic>/needs. Raises ToolError if there is no such patch
	any more, or if @topic's cover letter does not name it.
	"""
	path = root / "patches" / topic / "cover.txt"
	cover = " ".join(path.read_text().split()) if path.is_file() else ""
	series: list[Patch] = []
	for subject in needs(topic, root)[1]:
		found = [p for p in load(root) if p.subject == subject]
		if len(found) != 1 or subject not in cover:
			raise ToolError(f"{topic} needs \"{subject}\": {len(found)} patches have "
					"that subject, and its cover letter has to name it",
					EXIT_PATCH)
		series += found
	return series


def with_tests(topic: str, root: Path = ROOT) -> list[Patch]:
	"""Return the patches of @topic, after all that it or only its tests need."""
	mine = alone(topic, root)
	return [*(p for p in needed(topic, root) if p not in mine), *mine]


def load(root: Path = ROOT) -> list[Patch]:
	"""Return every patch of the series in order.

	Raises ToolError for a malformed file, a payload file that is missing or
	outside the payload directories, one that two patches bring, and two topics
	with one number.
	"""
	check_numbers(topics(root))
	paths = [path for topic in topics(root)
		 for path in sorted((root / "patches" / topic).glob("[0-9]*.patch"))]
	series: list[Patch] = []
	brought: dict[str, str] = {}
	for path in paths:
		patch = Patch.parse(path)
		series.append(patch)
		for name in patch.payload:
			if not is_payload_path(name):
				raise ToolError(f"{patch.label}: {name} is outside the payload "
						f"directories ({' '.join(PAYLOAD_DIRS)})",
						EXIT_PATCH)
			if not (root / name).is_file():
				raise ToolError(f"{patch.label}: payload file {name} is missing: "
						"restore it or remove its Payload: line",
						EXIT_PATCH)
			if name in brought:
				raise ToolError(f"{patch.label}: {name} already comes in with "
						f"{brought[name]}", EXIT_PATCH)
			brought[name] = patch.label
	if not series:
		raise ToolError(f"no patches in {root / 'patches'}", EXIT_PATCH)
	return series


def is_payload_path(name: str) -> bool:
	"""Return whether a path is one where new files of the series may live."""
	return ".." not in name and any(name.startswith(d + "/") for d in PAYLOAD_DIRS)


def apply_error(patch: Patch, stderr: str) -> ToolError:
	"""Return the ToolError for a failed git apply: names patch, file and hunk."""
	match = re.search(r"^error: patch failed: (\S+?):(\d+)$", stderr, re.M)
	if not match:
		first = (stderr.strip().splitlines() or ["git apply failed"])[0]
		return ToolError(f"{patch.label} does not apply: {first.removeprefix('error: ')}: "
				 "rebase it on this base or use the base it was made for",
				 EXIT_PATCH)
	name, line = match.groups()
	section = patch.hunks.split(f"diff --git a/{name} ", 1)[-1].split("\ndiff --git ", 1)[0]
	starts = re.findall(r"^@@ -(\d+)(?:,\d+)? .*$", section, re.M)
	number = starts.index(line) + 1 if line in starts else "?"
	return ToolError(f"{patch.label} does not apply: {name}, hunk {number} of {len(starts)} "
			 f"(line {line}): rebase it on this base or use the base it was made for",
			 EXIT_PATCH)


def contents_at_introduction(series: Sequence[Patch], root: Path = ROOT) -> dict[str, bytes]:
	"""Return {path: bytes} of each payload file as the patch that brings it has it."""
	contents = {}
	for position, patch in enumerate(series):
		for name in patch.payload:
			later = [p for p in series[position + 1:] if name in p.files()]
			data = (root / name).read_bytes()
			contents[name] = reverse(name, data, later) if later else data
	return contents


def reverse(name: str, data: bytes, later: Sequence[Patch]) -> bytes:
	"""Return @data (the file @name) with the hunks of the patches @later undone."""
	with tempfile.TemporaryDirectory() as tmp:
		path = Path(tmp) / name
		path.parent.mkdir(parents=True)
		path.write_bytes(data)
		for patch in reversed(later):
			done = run(["git", "apply", "-R", f"--include={name}", "-"], cwd=tmp,
				   stdin=patch.hunks, check=False,
				   env={"GIT_CEILING_DIRECTORIES": str(Path(tmp).parent)})
			if done.returncode:
				raise ToolError(f"payload file {name} is not as {patch.label} "
						"leaves it: make the change in build/linux and "
						"'make refresh'", EXIT_PATCH)
		return path.read_bytes()


def new_file_diff(name: str, data: bytes, executable: bool = False) -> str:
	"""Return the git diff that creates @name with content @data."""
	with tempfile.TemporaryDirectory() as tmp:
		path = Path(tmp) / name
		path.parent.mkdir(parents=True)
		path.write_bytes(data)
		path.chmod(0o755 if executable else 0o644)
		diff = run(["git", "diff", "--no-index", "--no-color", "--no-ext-diff", "--",
			    "/dev/null", name], cwd=tmp, check=False,
			   env={"GIT_CEILING_DIRECTORIES": str(Path(tmp).parent)}).stdout
	return strip_index(diff)


def strip_index(diff: str) -> str:
	"""Drop "index" lines: they would change with every 7.3.y and say nothing here."""
	return re.sub(r"^index [0-9a-f]+\.\.[0-9a-f]+(?: [0-7]+)?\n", "", diff, flags=re.M)


def split_diff(diff: str) -> list[tuple[str, str]]:
	"""Return [(path, text)] of a git diff, in order."""
	parts = re.split(r"^(?=diff --git )", diff, flags=re.M)
	return [(re.findall(r"\Adiff --git a/(\S+) b/", p)[0], p) for p in parts if p]


def whole_diff(patch: Patch, contents: dict[str, bytes], root: Path = ROOT) -> str:
	"""Return a patch's complete diff: its hunks and the payload files it brings."""
	parts = split_diff(patch.hunks)
	for name in patch.payload:
		executable = os.access(root / name, os.X_OK)
		parts.append((name, new_file_diff(name, contents[name], executable)))
	return "".join(text for _, text in sorted(parts))
