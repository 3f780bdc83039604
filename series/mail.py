# SPDX-License-Identifier: GPL-2.0
"""make mail: the mails of each topic in build/mail/, ready to be sent. Never sends.

build/mail/<topic>/ holds what git format-patch makes, with cover letter, your
Signed-off-by, and recipients by the tree's get_maintainer.pl (maintainers in To,
reviewers and lists in Cc; the cover letter goes to all of them). build/mail/<topic>.mbox
is the same as one file.

You are who git says, or AUTHOR="Name <address>". TRAILERS="Assisted-by: ...; Link: ..."
are tags that you add to each patch, before your Signed-off-by. A patch that is kept under
an address that gets no mail becomes yours; another one keeps its author.

  git send-email build/mail/1-xen-lazy-mmu/*.patch
  b4 shazam -m build/mail/1-xen-lazy-mmu.mbox        # what a maintainer would do

The first line of patches/<topic>/cover.txt is the subject. "[RFC]", "[v2]" or "[RFC v2]"
before it goes to all mails. After sending, tag what was sent as sent/<topic>-v<n>: from
the next version on, the cover letter has a range-diff against it. If patches/<topic>/needs
names other patches, the cover letter has their patch ids, by which b4 and CI bots find them.
"""
import dataclasses
import email.header
import email.utils
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from common.command import ROOT, ToolError, build_dir, main, replaced, run, say
from common.linux import tree_version
from common.settings import Parser, setting
from series import patches
from series.figures import fill
from series.patches import Patch
from series.tree import commit_series, make_tree
from series.worktree import git

TAG = re.compile(r"^\[(RFC)?(?: ?v(\d+))?\] ")
BLURB = "*** BLURB HERE ***"
SUBJECT = "*** SUBJECT HERE ***"
MIME = "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit"
# --nofixes: the base has no history in which to look up who made the commit in a Fixes tag.
MAINTAINER = ("--nogit", "--nogit-fallback", "--nofixes", "--roles")
# No format.* or trailer.* of the user's: the same mails everywhere.
PLAIN_GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
# The base is git's HEAD if the diff to it, of which this is the SHA-256, is empty.
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

# Where no mail arrives: domains of RFC 2606, and addresses that say so.
NOBODY = re.compile(r"no-?reply|[@.](example|invalid|localhost|test)$", re.I)
TO_READ = ("submitting-patches.rst", "coding-assistants.rst", "generated-content.rst")


@dataclass(frozen=True)
class Sender:
	"""Who sends the mails, and the tags (@trailers) that they add to each patch."""
	name: str
	address: str
	trailers: tuple[str, ...] = ()

	@classmethod
	def of_settings(cls, root: Path = ROOT) -> "Sender":
		"""Return who AUTHOR= or git's settings name, with TRAILERS=.

		Raises ToolError if there is nobody, or nobody that mail reaches: a
		Signed-off-by is a person's.
		"""
		who = setting("AUTHOR") or identity(root)
		if NOBODY.search(who[1]):
			raise ToolError(f"{who[0]} <{who[1]}> gets no mail, so it can't send the "
					"series: say who you are with git config user.email, or "
					"AUTHOR='Name <address>'")
		return cls(who[0], who[1], tuple(setting("TRAILERS") or ()))

	def sends(self, patch: Patch) -> Patch:
		"""Return @patch as it is sent: with the tags, from an author that gets mail."""
		body, header = patch.body, patch.header
		if self.trailers:
			tags = [f"--trailer={tag}" for tag in self.trailers]
			text = f"{patch.subject}\n\n{body.strip()}\n"
			text = run(["git", "interpret-trailers", "--no-divider",
				    "--if-exists=addIfDifferent", *tags], stdin=text,
				   env=PLAIN_GIT).stdout
			body = text.partition("\n\n")[2]
		if NOBODY.search(email.utils.parseaddr(header["From"])[1]):
			header = {**header, "From": f"{self.name} <{self.address}>"}
		return dataclasses.replace(patch, body=body, header=header)


@dataclass
class Cover:
	"""The cover letter of a topic; @text has its figures filled in."""
	subject: str
	text: str
	rfc: bool = False
	version: int = 1

	@classmethod
	def read(cls, topic: str, root: Path = ROOT) -> "Cover":
		"""Read patches/<topic>/cover.txt; raise ToolError if it is missing or malformed."""
		path = root / "patches" / topic / "cover.txt"
		if not path.is_file():
			raise ToolError(f"{path} is missing: write subject, empty line, text")
		subject, gap, text = fill(path.read_text(), root).partition("\n\n")
		tag = TAG.match(subject)
		if not gap or "\n" in subject or subject.startswith("[") and not tag:
			raise ToolError(f"{path} is malformed: the first line is the subject, "
					"\"[RFC]\", \"[v2]\" or \"[RFC v2]\" may come before it, "
					"the second is empty")
		if not tag:
			return cls(subject, text.strip())
		return cls(subject[tag.end():], text.strip(), bool(tag[1]), int(tag[2] or 1))


def identity(root: Path = ROOT) -> tuple[str, str]:
	"""Return (name, address) of the submitter by git's rules, without git's guesses.

	Raises ToolError if there is none.
	"""
	def find(variable: str, key: str) -> str:
		value = os.environ.get(variable) or git(root, "config", key, check=False)
		if not value:
			raise ToolError(f"no {key} for the Signed-off-by of the mails: "
					f"git config --global {key} ...")
		return value

	return find("GIT_COMMITTER_NAME", "user.name"), find("GIT_COMMITTER_EMAIL", "user.email")


def base_line(linux: Path) -> str:
	"""Return the line that names the base: a commit if it came from git, else a version.

	The commit that make tree made of a tarball is known to nobody else. The
	"index" lines of the mails are those of any git tree, so git am -3 and
	b4's --guess-base work.
	"""
	source = json.loads((linux / ".git" / "base-source").read_text())
	if "head" in source and source.get("diff") == EMPTY_SHA256:
		return f"base-commit: {source['head']}"
	return f"base: Linux {tree_version(linux)}"


def recipients(linux: Path, mail: Path) -> tuple[list[str], list[str]]:
	"""Return (To, Cc) of a mail as lists of addresses, in get_maintainer.pl's order.

	What has no maintainer is sent to the lists.
	"""
	# Only the tree's own settings count, not those in a home directory.
	out = run(["scripts/get_maintainer.pl", *MAINTAINER, mail], cwd=linux,
		  env={"HOME": str(build_dir())}).stdout
	to: list[str] = []
	cc: list[str] = []
	for line in out.splitlines():
		if match := re.match(r"(.*?@\S+) \((.*)\)$", line):
			is_to = re.search(r"\b(maintainer|chief penguin):", match[2])
			(to if is_to else cc).append(match[1])
	return (to, cc) if to else (cc, [])


def address_header(name: str, addresses: Iterable[str]) -> str:
	"""Return a header with one address per line, encoded where a name is not ASCII."""
	coded = []
	for one in addresses:
		coded.append(email.utils.formataddr(email.utils.parseaddr(one), "utf-8"))
	return f"{name}: " + ",\n\t".join(coded) + "\n" if coded else ""


def add_recipients(mail: Path, to: Iterable[str], cc: Iterable[str]) -> None:
	"""Insert To and Cc after the Subject of a mail file."""
	head, gap, rest = mail.read_text().partition("\n\n")
	headers = (address_header("To", to) + address_header("Cc", cc)).rstrip()
	mail.write_text(f"{head}\n{headers}{gap}{rest}")


def union(lists: Iterable[Iterable[str]]) -> list[str]:
	"""Return the elements of @lists without duplicates, in order of appearance."""
	return list(dict.fromkeys(a for l in lists for a in l))


def previous_version(linux: Path, topic: str, version: int, who: Sender,
		     root: Path = ROOT) -> str | None:
	"""Return the commits of the version sent before, on this base, as a range; or None.

	They have the author and the tags of today, so that a range-diff shows other changes.
	"""
	given = setting("PREVIOUS")
	tag = given or f"sent/{topic}-v{version - 1}"
	if not git(root, "rev-parse", "-q", "--verify", f"{tag}^{{commit}}", check=False):
		if version > 1 or given:
			say(f"note: {topic}: no commit or tag {tag} in this repository, "
			    "so no range-diff")
		return None
	with tempfile.TemporaryDirectory() as tmp:
		archive = run(["git", "-C", root, "archive", "--format=tar", tag], text=False)
		run(["tar", "-xf", "-", "-C", tmp], stdin=archive.stdout, text=False)
		if topic not in patches.topics(Path(tmp)):
			raise ToolError(f"{tag} has no topic {topic}: name another one with "
					"PREVIOUS=")
		start, commits = topic_commits(linux, topic, Path(tmp), who)
		return f"{start}..{commits[-1]}"


def format_patch(linux: Path, commits: str, cover: Cover, previous: str | None, out: Path,
		 who: Sender) -> list[Path]:
	"""Run git format-patch for the range @commits; return the mails, cover letter first.

	The mails land in @out. @previous is the range of the version before, if any.
	"""
	options = ["--cover-letter", "--signoff", "--from", "--thread=shallow", "--no-attach",
		   "--no-renames", "--diff-algorithm=myers",
		   f"--subject-prefix={'RFC ' if cover.rfc else ''}PATCH"]
	if cover.version > 1:
		options.append(f"-v{cover.version}")
	if previous:
		options.append(f"--range-diff={previous}")
	run(["git", "-C", linux, "format-patch", "-q", "-o", out, *options, commits], env={
		"GIT_COMMITTER_NAME": who.name, "GIT_COMMITTER_EMAIL": who.address, **PLAIN_GIT})
	return sorted(out.glob("*.patch"))


def finish_cover(mail: Path, cover: Cover, base: str, who: Sender) -> None:
	"""Fill in subject, text and base of the cover letter that git made."""
	text = mail.read_text()
	# git encodes the headers of patches, but not those of the cover letter.
	subject = cover.subject
	if not subject.isascii():
		subject = email.header.Header(subject, "utf-8").encode()
	sender = address_header("From", [email.utils.formataddr((who.name, who.address))])
	text = re.sub(r"^From: .*(\n .*)*\n", lambda _: sender, text, count=1, flags=re.M)
	text = text.replace(SUBJECT, subject, 1).replace(BLURB, cover.text, 1)
	head, gap, rest = text.partition("\n\n")
	if not rest.isascii() and "\nContent-Type:" not in head:
		head += "\n" + MIME
	body, signature, version = rest.rpartition("\n-- \n")
	mail.write_text(f"{head}{gap}{body.rstrip()}\n\n{base}\n{signature}{version}")


def topic_commits(linux: Path, topic: str, root: Path = ROOT,
		  who: Sender | None = None) -> tuple[str, list[str]]:
	"""Return (the commit that @topic is applied to, its commits), as @who sends them if given.

	The former is the base or what the topic needs.
	"""
	start, mine = git(linux, "rev-parse", "base^{commit}"), []
	series = [who.sends(p) if who else p for p in patches.alone(topic, root)]
	for commit, patch in commit_series(linux, series, root):
		if patch.topic == topic:
			mine.append(commit)
		else:
			start = commit
	return start, mine


def patch_id(linux: Path, commit: str) -> str:
	"""Return the stable patch id of @commit, as git format-patch and b4 have it."""
	diff = git(linux, "diff-tree", "-p", "--no-renames", "--no-ext-diff",
		   "--diff-algorithm=myers", commit, env=PLAIN_GIT)
	return run(["git", "patch-id", "--stable"], stdin=f"{diff}\n").stdout.split()[0]


def prerequisites(linux: Path, topic: str, root: Path = ROOT) -> list[str]:
	"""Return a line "prerequisite-patch-id: ..." for each patch that @topic needs, in order.

	Those are what git format-patch --base would write. What only the tests need is among
	them: it does not keep the topic from applying, but a CI bot would see a test fail.
	"""
	subjects = patches.needs(topic, root)[1]
	labels = {p.label for p in patches.alone(topic, root)}
	needed = [p for p in patches.load(root)
		  if p.topic != topic and (p.label in labels or p.subject in subjects)]
	lines = []
	for other in union([p.topic] for p in needed):
		# As that topic is sent: context lines count.
		for commit, patch in commit_series(linux, patches.alone(other, root), root):
			if patch.topic == other and patch.label in {p.label for p in needed}:
				lines.append(f"prerequisite-patch-id: {patch_id(linux, commit)}")
	return lines


def mail_topic(linux: Path, topic: str, out: Path, who: Sender, root: Path = ROOT) -> list[Path]:
	"""Write the mails of one topic into @out; return their paths."""
	cover = Cover.read(topic, root)
	start, commits = topic_commits(linux, topic, root, who)
	previous = previous_version(linux, topic, cover.version, who, root)
	out.mkdir(parents=True)
	first, *rest = format_patch(linux, f"{start}..{commits[-1]}", cover, previous, out, who)
	base = "\n".join([base_line(linux), *prerequisites(linux, topic, root)])
	finish_cover(first, cover, base, who)
	all_to, all_cc = [], []
	for mail in rest:
		to, cc = recipients(linux, mail)
		add_recipients(mail, to, cc)
		all_to.append(to)
		all_cc.append(cc)
	to = union(all_to)
	add_recipients(first, to, [a for a in union(all_cc) if a not in to])
	return [first, *rest]


def make_mails(wanted: str | None = None, root: Path = ROOT, directory: Path | None = None,
	       who: Sender | None = None) -> Path:
	"""Write the mails of the topic @wanted, or of all, to @directory (build/mail); return it.

	@who sends them, by default Sender.of_settings().
	Raises ToolError for an unknown topic, an incomplete cover letter or if the
	submitter is unknown; what was there before stays then.
	"""
	known = patches.topics(root)
	if wanted and wanted not in known:
		raise ToolError(f"unknown topic '{wanted}': known are {' '.join(known)}")
	who = who or Sender.of_settings(root)
	linux = make_tree(root)
	directory = directory or build_dir() / "mail"
	for topic in [wanted] if wanted else known:
		mails = directory / topic
		with replaced(mails) as tmp:
			names = [m.name for m in mail_topic(linux, topic, tmp, who, root)]
		with replaced(directory / f"{topic}.mbox") as tmp:
			tmp.write_bytes(b"".join((mails / name).read_bytes() for name in names))
		say(f"{mails}: {len(names)} mails")
	return directory


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("TOPIC", known=patches.topics())
	parser.taken.update(("AUTHOR", "PREVIOUS", "TRAILERS"))	# read where they are used
	print(make_mails(parser.settled().topic))
	process = build_dir() / "linux" / "Documentation" / "process"
	print(f"Read before you send, in {process}: {', '.join(TO_READ)}")
	return 0


if __name__ == "__main__":
	main(_main)
