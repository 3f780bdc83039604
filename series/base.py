# SPDX-License-Identifier: GPL-2.0
"""The base tree: find Linux 7.3, verify it, and lay it as a git tree in build/linux.

Sources, in this order: LINUX=<tree>, a tarball in DL_DIR, the distribution's
linux-source-7.3 package, kernel.org. The tag "base" marks the imported tree.
"""
import hashlib
import json
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from common.apt import private_apt
from common.command import (EXIT_FETCH, EXIT_UNSAVED, ROOT, StrPath, ToolError, build_dir,
			    locked, log_note, main, remove, replaced, run, say)
from common.linux import VERSION, tree_version
from common.settings import Parser, setting
from series.worktree import git, lay, unsaved_work

STABLE = "7.3.4"	# what kernel.org is asked for
KERNEL_ORG = "https://cdn.kernel.org/pub/linux/kernel"
COMPRESSED = (".xz", ".gz", ".bz2", ".zst")
SUITES = ("trixie-backports", "forky", "sid")	# where linux-source-7.3 may be
IDENTITY = {
	"GIT_AUTHOR_NAME": "base", "GIT_AUTHOR_EMAIL": "base@localhost",
	"GIT_AUTHOR_DATE": "2026-01-01T00:00:00+0000",
	"GIT_COMMITTER_NAME": "base", "GIT_COMMITTER_EMAIL": "base@localhost",
	"GIT_COMMITTER_DATE": "2026-01-01T00:00:00+0000",
}


def sha256(path: StrPath) -> str:
	"""Return the hex SHA-256 of a file."""
	digest = hashlib.sha256()
	with Path(path).open("rb") as f:
		while block := f.read(1 << 20):
			digest.update(block)
	return digest.hexdigest()


def check_sum(tarball: Path, *lists: Path) -> None:
	"""Verify @tarball against the first of @lists (SHA256SUMS files) that names it.

	Raises ToolError if none does or if the sum differs.
	"""
	for sums in lists:
		if not sums.is_file():
			continue
		for line in sums.read_text().splitlines():
			want, _, name = line.partition("  ")
			if name.strip() != tarball.name:
				continue
			if sha256(tarball) != want:
				raise ToolError(f"{tarball} does not match its sum in {sums}: "
						f"delete it and fetch it again", EXIT_FETCH)
			return
	raise ToolError(f"no checksum is known for {tarball}: add its line to "
			f"{lists[-1]} (sha256sum)", EXIT_FETCH)


def from_dl_dir(dl_dir: StrPath) -> Path | None:
	"""Return the verified tarball in @dl_dir, or None if there is none of 7.3."""
	found = sorted((p for pattern in ("linux-source-7.3.tar.*", "linux-7.3*.tar.*")
			for p in Path(dl_dir).glob(pattern) if p.suffix in COMPRESSED),
		       key=lambda p: (p.name.startswith("linux-source"), "-rc" not in p.name,
				      [int(n) for n in re.findall(r"\d+", p.name)]))
	if not found:
		return None
	check_sum(found[-1], ROOT / "series" / "base.sha256", Path(dl_dir) / "SHA256SUMS")
	return found[-1]


def from_distribution() -> Path | None:
	"""Fetch linux-source-7.3 with a private apt state; return the tarball or None."""
	package = f"linux-source-{VERSION}"
	state = build_dir() / "apt"
	for suite in SUITES:
		say(f"looking for {package} in {suite}")
		options = private_apt(suite)
		if options is None:
			return None
		done = run(["apt-get", *options, "download", package], cwd=state, check=False)
		if done.returncode == 0:
			break
	else:
		return None
	deb = sorted(state.glob(f"{package}_*.deb"))[-1]
	with replaced(state / "unpacked") as tmp:
		run(["dpkg-deb", "-x", deb, tmp])
	deb.unlink()
	return state / "unpacked" / "usr" / "src" / f"linux-source-{VERSION}.tar.xz"


def download(url: str, path: Path) -> None:
	"""Fetch @url to @path atomically; raises ToolError if that fails."""
	log_note(f"urllib: fetch {url} to {path}")
	try:
		with replaced(path) as tmp, urllib.request.urlopen(url, timeout=60) as src:
			with tmp.open("wb") as dst:
				shutil.copyfileobj(src, dst)
	except (urllib.error.URLError, OSError) as error:
		raise ToolError(f"cannot fetch {url} ({error}): set LINUX=<tree> or "
				f"DL_DIR=<directory with linux-source-{VERSION}.tar.xz and "
				"SHA256SUMS>", EXIT_FETCH) from error


def from_kernel_org() -> Path:
	"""Fetch the release tarball and its published sum; return the verified tarball."""
	top = setting("KERNEL_ORG", KERNEL_ORG)
	store = build_dir() / "dl"
	store.mkdir(exist_ok=True)
	tarball = store / f"linux-{STABLE}.tar.xz"
	download(f"{top}/v7.x/sha256sums.asc", store / "sha256sums.asc")
	if not tarball.is_file():
		say(f"fetching {tarball.name}")
		download(f"{top}/v7.x/{tarball.name}", tarball)
	check_sum(tarball, store / "sha256sums.asc")
	return tarball


def unpack(tarball: Path, tree: Path) -> None:
	"""Unpack a kernel tarball so that its only top directory becomes @tree."""
	tree.mkdir()
	run(["tar", "-xf", tarball, "-C", tree, "--strip-components=1"])
	# Debian's packaging ignores every file at the top, and so all new ones.
	ignore = tree / ".gitignore"
	if ignore.is_file():
		lines = ignore.read_text().splitlines(keepends=True)
		ignore.write_text("".join(l for l in lines if l.strip() not in ("/*", "!/debian/")))


def copy_tree(source: Path, tree: Path) -> None:
	"""Copy a user's tree (tracked files only if it is git) into @tree; never write to it."""
	tree.mkdir()
	is_git = (source / ".git").exists()
	if is_git:
		names = run(["git", "-C", source, "ls-files", "-z"]).stdout
	else:
		names = run(["find", ".", "-path", "./.git", "-prune", "-o", "!", "-type", "d",
			     "-print0"], cwd=source).stdout
	archive = tree.with_name(tree.name + ".tar")
	try:
		run(["tar", "-C", source, "--null", "-T", "-", "-cf", archive], stdin=names)
		run(["tar", "-xf", archive, "-C", tree])
	finally:
		archive.unlink(missing_ok=True)
	if not is_git:
		run(["make", "-C", tree, "mrproper"])


def import_git(tree: Path, version: str, source_id: dict[str, str]) -> None:
	"""Make @tree a git repository with one commit, tagged "base"."""
	git(tree, "init", "-q", "-b", "series")
	for key, value in (("core.autocrlf", "false"), ("gc.auto", "0"),
			   ("core.looseCompression", "0"), ("core.untrackedCache", "true"),
			   ("notes.rewriteRef", "refs/notes/topic"),
			   ("advice.detachedHead", "false")):
		git(tree, "config", key, value)
	git(tree, "add", "-A", "-f")
	git(tree, "commit", "-q", "-m", f"Linux {version}", env=IDENTITY)
	git(tree, "tag", "base")
	(tree / ".git" / "base-source").write_text(json.dumps(source_id))


def wanted_source() -> dict[str, str] | None:
	"""Return what the settings ask for as a comparable dict, or None for "any"."""
	linux = setting("LINUX")
	if not linux:
		return None
	source_id = {"LINUX": str(linux.resolve())}
	head = run(["git", "-C", linux, "rev-parse", "HEAD"], check=False) \
		if (linux / ".git").exists() else None
	if head and head.returncode == 0:
		diff = run(["git", "-C", linux, "diff", "HEAD"]).stdout
		source_id["head"] = head.stdout.strip()
		source_id["diff"] = hashlib.sha256(diff.encode()).hexdigest()
	return source_id


def ensure_base() -> Path:
	"""Return build/linux, a git tree that holds the base; make it if need be.

	Raises ToolError for a LINUX= that is not a 7.3.y tree, for a source that
	does not verify, and if a new base would overwrite unsaved work.
	"""
	with locked(build_dir() / ".linux.lock"):
		return find_base(build_dir() / "linux", wanted_source())


def find_base(linux: Path, want: dict[str, str] | None) -> Path:
	"""As ensure_base(), of the source @want, while no other make does the same."""
	if (linux / ".git" / "base-source").is_file():
		have = json.loads((linux / ".git" / "base-source").read_text())
		if want is None and "LINUX" in have:
			say(f"note: the base is a copy of LINUX={have['LINUX']}: delete {linux} to "
			    "take another")
		if want is None or have == want:
			return linux
		if unsaved_work(linux):
			raise ToolError(f"{linux} has changes that are not in patches/: run "
					"'make refresh' or delete it before changing LINUX=",
					EXIT_UNSAVED)
	with replaced(linux) as tmp:
		if want:
			say(f"copying {want['LINUX']}")
			copy_tree(Path(want["LINUX"]), tmp)
		else:
			tarball = find_tarball()
			say(f"unpacking {tarball.name}")
			unpack(tarball, tmp)
		version = tree_version(tmp)
		say(f"importing Linux {version} into git (about a minute)")
		import_git(tmp, version, want or {"tarball": tarball.name})
	remove(build_dir() / "base" / "linux")	# the old base's second work tree
	return linux


def find_tarball() -> Path:
	"""Return a verified tarball from DL_DIR, the distribution or kernel.org."""
	dl_dir = setting("DL_DIR")
	if dl_dir:
		tarball = from_dl_dir(dl_dir)
		if tarball:
			return tarball
		say(f"no linux-{VERSION} tarball in {dl_dir}, looking elsewhere")
	return from_distribution() or from_kernel_org()


def base_worktree() -> Path:
	"""Return build/base/linux, a second work tree at the base, for base builds."""
	linux = ensure_base()
	tree = build_dir() / "base" / "linux"
	lay(linux, tree, "base", "the base's work tree")
	return tree


def _main() -> int:
	Parser(__doc__).settled()
	print(ensure_base())
	return 0


if __name__ == "__main__":
	main(_main)
