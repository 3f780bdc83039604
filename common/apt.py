# SPDX-License-Identifier: GPL-2.0
"""Debian packages without installing them: downloaded and unpacked below build/.

What the system's apt does not offer comes through a private apt state, which
takes the mirror from the system's settings and never changes them.
"""
import gzip
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.command import (EXIT_MISSING, ToolError, build_dir, locked, replaced, run,
			    say)

# What is installed does not count: it may be newer than the archive's, or of another origin.
NOTHING_INSTALLED = ("-o", "Dir::State::Status=/dev/null")


def debian_mirror(label: str = "Debian") -> str | None:
	"""Return the URI of an archive from apt's own settings, or None; @label as apt knows it."""
	if not shutil.which("apt-get"):
		return None
	out = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)"],
		  check=False).stdout
	uris = [l.split()[0] for l in out.splitlines() if l.split()[1:] == ["Debian", label]]
	return uris[0] if uris else None


def private_apt(suite: str) -> list[str] | None:
	"""Return the apt options of a private state that knows only @suite, or None.

	None means that there is no apt or no mirror. apt verifies the archive's
	signature as ever; whether the update succeeds shows when a package is wanted.
	A @suite such as "bookworm-security" is in an archive of its own. Packages of one such as
	"trixie-backports" find the rest of what they need in "trixie".
	"""
	mirror = debian_mirror("Debian-Security" if suite.endswith("-security") else "Debian")
	if not mirror:
		return None
	state = build_dir() / "apt" / suite
	for sub in ("lists/partial", "cache/archives/partial"):
		(state / sub).mkdir(parents=True, exist_ok=True)
	sources = state / "sources.list"
	sources.write_text("".join(
		"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
		f"{mirror} {name} main\n"
		for name in dict.fromkeys((suite, suite.removesuffix("-backports")))))
	options = ["-o", f"APT::Default-Release={suite}"] if suite.endswith("-backports") else []
	for option in (f"Dir::Etc::SourceList={sources}", "Dir::Etc::SourceParts=/dev/null",
		       f"Dir::State::Lists={state / 'lists'}", f"Dir::Cache={state / 'cache'}",
		       "Acquire::Languages=none", "APT::Sandbox::User="):
		options += ["-o", option]
	run(["apt-get", *options, "update"], check=False)
	return options


def depends(text: str) -> dict[str, list[str]]:
	"""Return {package: [names it depends on]} of what "apt-cache show" prints."""
	found = {}
	for paragraph in text.split("\n\n"):
		fields = dict(re.findall(r"^(Package|Depends): (.*)$", paragraph, re.M))
		if "Package" in fields:
			items = fields.get("Depends", "").split(",")
			found[fields["Package"]] = [re.split(r"[\s:|(]", item.strip())[0]
						    for item in items if item]
	return found


def with_libraries(packages: Iterable[str], options: Iterable[str] = (),
		   libraries: bool = True) -> list[str] | None:
	"""Return @packages and, if @libraries, the library packages they depend on, on all levels.

	@options go to apt. Returns None if apt does not know all of @packages.
	"""
	packages = level = list(packages)
	names: list[str] = []
	while level:
		shown = run(["apt-cache", *options, "show", "--no-all-versions", *level],
			    check=False)
		found = depends(shown.stdout)
		if not names and set(packages) - set(found):
			return None
		names += sorted(found)
		if not libraries:
			break
		level = sorted({d for wants in found.values() for d in wants
				if d.startswith(("lib", "zlib")) and d not in names})
	return names


def unpacked(packages: Sequence[str], suite: str, libraries: bool = True,
	     system: bool = True) -> Path:
	"""Return the directory below build/ that @packages are unpacked into, with their libraries.

	Or without, if @libraries is False. The system's own apt is asked first unless @system is
	False, then a private state with @suite. Raises ToolError with the remedy if neither has
	them.
	"""
	out = build_dir() / "packages" / "_".join((*packages, *([] if system else [suite])))
	with locked(out.parent / ".lock"):
		return out if out.is_dir() else fetched(packages, suite, libraries, system, out)


def fetched(packages: Sequence[str], suite: str, libraries: bool, system: bool, out: Path) -> Path:
	"""As unpacked(), into the directory @out, while no other make does the same."""
	say(f"fetching {' '.join(packages)}")
	if not shutil.which("apt-get"):
		raise ToolError(f"{packages[0]} comes from Debian, and there is no apt-get here",
				EXIT_MISSING)
	for source in (*(["system"] if system else []), suite):
		options = [] if source == "system" else private_apt(source)
		if options is None:
			continue
		options += NOTHING_INSTALLED
		names = with_libraries(packages, options, libraries)
		if not names:
			continue
		with replaced(out) as tmp:
			store = tmp.with_name(tmp.name + ".deb")
			store.mkdir(parents=True, exist_ok=True)
			try:
				done = run(["apt-get", *options, "download", *names], cwd=store,
					   check=False)
				if done.returncode:
					wanted = " ".join(packages)
					raise ToolError(f"apt-get can't download {wanted}: "
							"run 'apt-get update'", EXIT_MISSING)
				for deb in sorted(store.glob("*.deb")):
					run(["dpkg-deb", "-x", deb, tmp])
			finally:
				shutil.rmtree(store)
		return out
	asked = f"neither this system's apt nor {suite} has" if system else f"{suite} has no"
	raise ToolError(f"{asked} {' '.join(packages)}: run 'apt-get update'", EXIT_MISSING)


def package_version(root: Path, package: str) -> str:
	"""Return "package version", as the changelog of @package below @root has it."""
	for log in ("changelog.Debian.gz", "changelog.gz"):
		path = root / "usr" / "share" / "doc" / package / log
		if path.is_file():
			with gzip.open(path, "rt") as f:
				match = re.search(r"\((\S+)\)", f.readline())
			if match:
				return f"{package} {match[1]}"
	return f"{package} unknown"
