# SPDX-License-Identifier: GPL-2.0
"""The Xen hypervisor that guests boot under, and the tools for its dom0.

XEN=path is a binary, XEN=version one that Debian has a package of. Packages are
unpacked below build/, never installed: that would change the machine's own boot
loader.
"""
import gzip
import re
from pathlib import Path

from common.apt import unpacked
from common.command import ToolError, build_dir, main, replaced, say
from common.settings import XEN_VERSIONS, Parser, setting

# Where the package of a version is if the system's own apt doesn't offer it.
SUITES = dict(zip(XEN_VERSIONS, ("bookworm", "trixie"), strict=True))


def packed(given: str) -> Path:
	"""Return the path of the binary that @given (XEN=) names, maybe compressed."""
	if given in SUITES:
		root = unpacked((f"xen-hypervisor-{given}-amd64",), SUITES[given], libraries=False)
		return sorted((root / "boot").glob("xen-*.gz"))[-1]
	return Path(given)


def symbols() -> str:
	"""Return nm's text of the packaged hypervisor; "" if it can't be had or XEN= is a file."""
	version = setting("XEN")
	if version not in SUITES:
		return ""
	package = f"xen-hypervisor-{version}-amd64-dbg"
	try:
		root = unpacked((package,), SUITES[version], libraries=False)
	except ToolError as error:
		say(f"the hypervisor's functions stay unnamed: {error}")
		return ""
	found = next(root.rglob("xen-syms-*.map"), None)
	return found.read_text() if found else ""


def hypervisor() -> Path:
	"""Return the path of an uncompressed Xen binary that QEMU can load.

	Raises ToolError if XEN= is bad or the package can't be had.
	"""
	given = setting("XEN")
	data = packed(given).read_bytes()
	if data[:2] == b"\x1f\x8b":
		data = gzip.decompress(data)
	out = build_dir() / "guests" / f"xen-{given if given in SUITES else 'given'}"
	if not out.is_file() or out.read_bytes() != data:
		with replaced(out) as tmp:
			tmp.write_bytes(data)
	return out


def tools() -> Path:
	"""Return the directory with the unpacked dom0 tools that belong to the hypervisor.

	They are tied to its version; that of XEN=path is taken from the file's
	name, xen-<version>*, else it is the default.
	"""
	given = setting("XEN")
	match = re.match(r"(?:xen-)?(\d+\.\d+)", Path(given).name)
	version = match[1] if match else XEN_VERSIONS[0]
	if version not in SUITES:
		raise ToolError(f"no package with dom0's tools for Xen {version} (XEN={given}): "
				f"known are {' '.join(SUITES)}")
	return unpacked((f"xen-utils-{version}", "xenstore-utils"), SUITES[version])


def _main() -> int:
	Parser(__doc__).settled()
	print(hypervisor())
	return 0


if __name__ == "__main__":
	main(_main)
