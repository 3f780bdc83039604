# SPDX-License-Identifier: GPL-2.0
"""What dynamically linked programs need in an initramfs."""
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from common.command import EXIT_MISSING, StrPath, ToolError, run
from guests.initramfs import FilePair

LIBRARY_DIR = "/usr/lib/x86_64-linux-gnu"	# where Debian's loader looks
LOADER = "/lib64/ld-linux-x86-64.so.2"
UNNAMED = "libgcc_s.so.1"	# glibc loads it when a thread is cancelled


def needed(path: StrPath) -> list[str]:
	"""Return the names of the shared libraries that the ELF file @path asks for."""
	out = run(["readelf", "-d", path]).stdout
	return re.findall(r"\(NEEDED\)\s+Shared library: \[(.+?)\]", out)


def library_index(root: StrPath) -> dict[str, Path]:
	"""Return {name: path} of the shared libraries in the unpacked packages at @root."""
	index: dict[str, Path] = {}
	for directory in ("usr/lib64", "lib64", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"):
		for path in (Path(root) / directory).glob("*.so*"):
			if path.is_file():
				index.setdefault(path.name, path)
	return index


def libraries(programs: Iterable[StrPath], root: StrPath,
	      beside: Collection[str] = ()) -> list[FilePair]:
	"""Return (guest path, host path) of all libraries of @programs, from packages at @root.

	The loader is among them, those that lie @beside a program are not. Raises ToolError if one
	is not there.
	"""
	index, queue = library_index(root), list(programs)
	found: dict[str, Path] = {}
	loader = Path(LOADER).name
	while queue:
		program = queue.pop()
		for name in [*needed(program), loader, UNNAMED]:
			if name in found or name in beside:
				continue
			if name not in index:
				raise ToolError(f"{Path(program).name} needs {name}, which is not "
						f"below {root}: remove that directory, it will be "
						"fetched again", EXIT_MISSING)
			found[name] = index[name]
			queue.append(index[name])
	return [(LOADER if name == loader else f"{LIBRARY_DIR}/{name}", path)
		for name, path in sorted(found.items())]


def host_libraries(program: StrPath) -> list[FilePair]:
	"""Return (guest path, host path) of all libraries of a @program of this machine."""
	out = run(["ldd", program]).stdout
	if missing := re.findall(r"(\S+) => not found", out):
		raise ToolError(f"{program} needs {missing[0]}, which ldd does not find",
				EXIT_MISSING)
	found = re.findall(r"(\S+) => (/\S+)", out)
	return [*[(f"{LIBRARY_DIR}/{name}", path) for name, path in found],
		*[(path, path) for path in re.findall(r"^\s+(/\S+) \(", out, re.M)]]
