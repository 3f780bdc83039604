# SPDX-License-Identifier: GPL-2.0
"""The Xen hypervisor that guests boot under, and the tools for its dom0.

XEN=path is a binary, XEN=version one that Debian has a package of. Packages are
unpacked below build/, never installed: that would change the machine's own boot
loader.
"""
import argparse
import gzip
import os
import re
from pathlib import Path

from common.apt import unpacked
from common.command import ToolError, build_dir, main, replaced, say

# Versions with a Debian package, and the suite where the package is if the
# system's own apt doesn't offer it. The first is the default.
VERSIONS = {"4.17": "bookworm", "4.20": "trixie"}
DEFAULT = "4.17"


def packed(given):
	"""Return the path of the binary that @given (XEN=, or None) names, maybe compressed."""
	version = given or DEFAULT
	if version in VERSIONS:
		root = unpacked((f"xen-hypervisor-{version}-amd64",), VERSIONS[version], libraries=False)
		return sorted((root / "boot").glob("xen-*.gz"))[-1]
	if not Path(given).is_file():
		raise ToolError(f"XEN={given} is no file: name a xen binary (xen-4.17-amd64.gz or unpacked) "
				f"or a version, known are {' '.join(VERSIONS)}")
	return Path(given)


def symbols():
	"""Return nm's text of the packaged hypervisor, or "" if it can't be had or XEN= is a file."""
	version = os.environ.get("XEN") or DEFAULT
	if version not in VERSIONS:
		return ""
	try:
		root = unpacked((f"xen-hypervisor-{version}-amd64-dbg",), VERSIONS[version], libraries=False)
	except ToolError as error:
		say(f"the hypervisor's functions stay unnamed: {error}")
		return ""
	found = next(root.rglob("xen-syms-*.map"), None)
	return found.read_text() if found else ""


def hypervisor():
	"""Return the path of an uncompressed Xen binary that QEMU can load.

	Raises ToolError if XEN= is no file or the package can't be had.
	"""
	given = os.environ.get("XEN")
	source = packed(given)
	data = source.read_bytes()
	if data[:2] == b"\x1f\x8b":
		data = gzip.decompress(data)
	if data[:4] != b"\x7fELF":
		raise ToolError(f"XEN={given} is no multiboot ELF image, QEMU can't load it: "
				"name a xen-*.gz, not an .efi")
	out = build_dir() / "guests" / ("xen" if not given else
					f"xen-{given}" if given in VERSIONS else "xen-given")
	if not out.is_file() or out.read_bytes() != data:
		with replaced(out) as tmp:
			tmp.write_bytes(data)
	return out


def tools():
	"""Return the folder with the unpacked dom0 tools that belong to the hypervisor.

	They are tied to its version; that of XEN=path is taken from the file's
	name, xen-<version>*, else it is the default.
	"""
	given = os.environ.get("XEN") or DEFAULT
	match = re.match(r"(?:xen-)?(\d+\.\d+)", Path(given).name)
	version = match[1] if match else DEFAULT
	if version not in VERSIONS:
		raise ToolError(f"no package with dom0's tools for Xen {version} (XEN={given}): "
				f"known are {' '.join(VERSIONS)}")
	return unpacked((f"xen-utils-{version}", "xenstore-utils"), VERSIONS[version])


def _main():
	argparse.ArgumentParser(description=__doc__,
				formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
	print(hypervisor())
	return 0


if __name__ == "__main__":
	main(_main)
