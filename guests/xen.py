# SPDX-License-Identifier: GPL-2.0
"""The Xen hypervisor that guests boot under: XEN=path, else Debian's package.

The package is unpacked below build/, never installed: that would change the
machine's own boot loader.
"""
import argparse
import gzip
import os
from pathlib import Path

from series.cmd import EXIT_MISSING, ToolError, build_dir, main, replaced, run, say

PACKAGE = "xen-hypervisor-4.17-amd64"


def hypervisor():
	"""Return the path of an uncompressed Xen binary that QEMU can load.

	Raises ToolError if XEN= is no file or the package can't be had.
	"""
	given = os.environ.get("XEN")
	out = build_dir() / "guests" / "xen"
	if given:
		path = Path(given)
		if not path.is_file():
			raise ToolError(f"XEN={given} is no file: name a xen binary (xen-4.17-amd64.gz or unpacked)")
		data = path.read_bytes()
		if data[:2] == b"\x1f\x8b":
			data = gzip.decompress(data)
		if data[:4] != b"\x7fELF":
			raise ToolError(f"XEN={given} is no multiboot ELF image, QEMU can't load it: "
					"name a xen-*.gz, not an .efi")
		out = build_dir() / "guests" / "xen-given"
		with replaced(out) as tmp:
			tmp.write_bytes(data)
		return out
	if out.is_file():
		return out
	say(f"fetching {PACKAGE}")
	store = build_dir() / "guests" / "deb"
	store.mkdir(parents=True, exist_ok=True)
	done = run(["apt-get", "download", PACKAGE], cwd=store, check=False)
	if done.returncode and os.geteuid() == 0:
		run(["apt-get", "update"], check=False)		# lists may be missing or old
		done = run(["apt-get", "download", PACKAGE], cwd=store, check=False)
	if done.returncode:
		raise ToolError(f"apt-get can't download {PACKAGE}: run 'apt-get update', or give XEN=path",
				EXIT_MISSING)
	deb = sorted(store.glob(f"{PACKAGE}_*.deb"))[-1]
	with replaced(store / "xen") as tmp:
		run(["dpkg-deb", "-x", deb, tmp])
	packed = sorted((store / "xen" / "boot").glob("xen-*.gz"))[-1]
	with replaced(out) as tmp:
		tmp.write_bytes(gzip.decompress(packed.read_bytes()))
	return out


def _main():
	argparse.ArgumentParser(description=__doc__,
				formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
	print(hypervisor())
	return 0


if __name__ == "__main__":
	main(_main)
