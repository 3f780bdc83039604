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
from common.command import EXIT_FETCH, ToolError, build_dir, main, remove, replaced, run, say
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


def download(version: str, options: Sequence[str], directory: Path) -> Path | None:
	"""Download the package with the image of kernel @version; return the .deb or None.

	It lands in @directory; @options are apt's. Since 7.x linux-image-* is empty, and the
	image is in the linux-binary-* that it depends on.
	"""
	def wants(package: str) -> list[str]:
		shown = run(["apt-cache", *options, "show", "--no-all-versions", package],
			    check=False)
		return depends(shown.stdout).get(package, [])

	package = package_of(version, wants(META))
	if not package:
		return None
	binary = package.replace("linux-image", "linux-binary")
	name = binary if binary in wants(package) else package
	directory.mkdir(parents=True, exist_ok=True)
	done = run(["apt-get", *options, "download", name], cwd=directory, check=False)
	found = sorted(directory.glob(f"{name}_*.deb"))
	return found[-1] if done.returncode == 0 and found else None


def fetch(version: str) -> Path:
	"""Return the bzImage of Debian's kernel @version, fetched if it is not there.

	Raises ToolError if no suite of the mirror has it or if it can't be had.
	"""
	store = build_dir() / "debian" / version
	if (store / "vmlinuz").is_file():
		return store / "vmlinuz"
	for suite in SUITES[version]:
		options = private_apt(suite)
		if options is None:
			continue
		say(f"looking for {META} {version} in {suite}")
		deb = download(version, options, store.parent)
		if deb:
			break
	else:
		raise ToolError(f"no {META} of version {version} in {' '.join(SUITES[version])}",
				EXIT_FETCH)
	try:
		with replaced(store) as tmp:
			tmp.mkdir()
			run(["dpkg-deb", "-x", deb, tmp / "all"])
			image = next((tmp / "all").rglob("vmlinuz*"), None)
			if not image:
				raise ToolError(f"{deb.name} holds no kernel image", EXIT_FETCH)
			image.rename(tmp / "vmlinuz")
			(tmp / "package").write_text(f"{deb.name.removesuffix('.deb')}\n")
			remove(tmp / "all")
	finally:
		deb.unlink()
	return store / "vmlinuz"


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
