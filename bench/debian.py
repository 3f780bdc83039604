# SPDX-License-Identifier: GPL-2.0
"""Debian's own kernels, as they are installed, to compare with.

Fetched as packages with an apt state of our own and unpacked below
build/debian/<version>/, never installed. Their drivers for consoles, tmpfs and the
like are built in, so that they boot our initramfs as it is.
"""
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.apt import depends, private_apt
from common.command import EXIT_FETCH, ToolError, build_dir, main, remove, run, say
from common.settings import Parser

META = "linux-image-amd64"
# Which suites may have which version; the first one that does is taken.
SUITES = {
	"6.1": ("bookworm-security", "bookworm"),
	"6.12": ("trixie-security", "trixie", "bookworm-backports"),
	"7.3": ("trixie-backports", "forky", "sid"),
}
KERNELS = {f"debian-{version}": version for version in SUITES}
SETTLE = 40	# seconds that they need to come to rest after boot


def package_of(version: str, dependencies: Iterable[str]) -> str | None:
	"""Return the kernel package of @version among the dependencies of META, or None.

	"linux-image-6.1.0-42-amd64" is one of version "6.1".
	"""
	wanted = re.compile(rf"linux-image-{re.escape(version)}[.+~-].*-amd64$")
	return next((name for name in dependencies if wanted.match(name)), None)


def download(version: str, options: Sequence[str], directory: Path, what: str) -> Path | None:
	"""Download the package with @what of kernel @version; return the .deb or None.

	It lands in @directory; @options are apt's. Since 7.x linux-image-* is empty. It
	depends on linux-binary-*, which has the image, and linux-base-*, which has the
	configuration: @what is the one or the other.
	"""
	def wants(package: str) -> list[str]:
		shown = run(["apt-cache", *options, "show", "--no-all-versions", package],
			    check=False)
		return depends(shown.stdout).get(package, [])

	package = package_of(version, wants(META))
	if not package:
		return None
	part = package.replace("linux-image", what)
	name = part if part in wants(package) else package
	directory.mkdir(parents=True, exist_ok=True)
	done = run(["apt-get", *options, "download", name], cwd=directory, check=False)
	found = sorted(directory.glob(f"{name}_*.deb"))
	return found[-1] if done.returncode == 0 and found else None


def unpacked(version: str, what: str, pattern: str, target: Path) -> str:
	"""Take the file @pattern out of the package that download() gets, to @target.

	Returns the name of the package. Raises ToolError if no suite of the mirror has it or
	if it can't be had.
	"""
	for suite in SUITES[version]:
		options = private_apt(suite)
		if options is None:
			continue
		say(f"looking for {META} {version} in {suite}")
		found = download(version, options, target.parent.parent, what)
		if found:
			break
	else:
		raise ToolError(f"no {META} of version {version} in {' '.join(SUITES[version])}",
				EXIT_FETCH)
	everything = target.parent.with_name(f"{version}.{what}")
	try:
		remove(everything)
		run(["dpkg-deb", "-x", found, everything])
		file = next(everything.rglob(pattern), None)
		if not file:
			raise ToolError(f"{found.name} holds no {pattern}", EXIT_FETCH)
		target.parent.mkdir(exist_ok=True)
		file.replace(target)
	finally:
		remove(everything)
		found.unlink()
	return found.name.removesuffix(".deb")


def fetch(version: str) -> Path:
	"""Return the bzImage of Debian's kernel @version, fetched if it is not there.

	Raises ToolError if no suite of the mirror has it or if it can't be had.
	"""
	image = build_dir() / "debian" / version / "vmlinuz"
	if not image.is_file():
		package = unpacked(version, "linux-binary", "vmlinuz*", image)
		(image.parent / "package").write_text(f"{package}\n")
	return image


def config(version: str) -> Path:
	"""Return the configuration of Debian's kernel @version, fetched if it is not there.

	Raises ToolError as fetch() does.
	"""
	path = build_dir() / "debian" / version / "config"
	if not path.is_file():
		unpacked(version, "linux-base", "config*", path)
	return path


def title(version: str) -> str:
	"""Return name and version of the package that was fetched."""
	return (build_dir() / "debian" / version / "package").read_text().strip()


def _main() -> int:
	parser = Parser(__doc__)
	parser.add_argument("version", nargs="+", choices=list(SUITES))
	for version in parser.settled().version:
		print(fetch(version))
	return 0


if __name__ == "__main__":
	main(_main)
