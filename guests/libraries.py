# SPDX-License-Identifier: GPL-2.0
"""QEMU, and what dynamically linked programs need in an initramfs."""
import re
import shutil
from pathlib import Path

from common.command import EXIT_MISSING, ToolError, run
from common.settings import setting

LIBRARY_DIR = "/usr/lib/x86_64-linux-gnu"	# where Debian's loader looks
LOADER = "/lib64/ld-linux-x86-64.so.2"
FIRMWARE = ("bios-microvm.bin", "linuxboot_dma.bin")	# what -M microvm loads
UNNAMED = "libgcc_s.so.1"	# glibc loads it when a thread is cancelled


def needed(path):
	"""Return the names of the shared libraries that the ELF file @path asks for."""
	out = run(["readelf", "-d", path]).stdout
	return re.findall(r"\(NEEDED\)\s+Shared library: \[(.+?)\]", out)


def library_index(root):
	"""Return {name: path} of the shared libraries in the unpacked packages at @root."""
	index = {}
	for folder in ("usr/lib64", "lib64", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"):
		for path in (Path(root) / folder).glob("*.so*"):
			if path.is_file():
				index.setdefault(path.name, path)
	return index


def libraries(programs, root):
	"""Return (guest path, host path) of all libraries of @programs, from packages at @root.

	The loader is among them. Raises ToolError if one is not there.
	"""
	index, found, queue = library_index(root), {}, list(programs)
	loader = Path(LOADER).name
	while queue:
		program = queue.pop()
		for name in [*needed(program), loader, UNNAMED]:
			if name in found:
				continue
			if name not in index:
				raise ToolError(f"{Path(program).name} needs {name}, which is not below {root}: "
						"remove that folder, it will be fetched again", EXIT_MISSING)
			found[name] = index[name]
			queue.append(index[name])
	return [(LOADER if name == loader else f"{LIBRARY_DIR}/{name}", path)
		for name, path in sorted(found.items())]


def host_libraries(program):
	"""Return (guest path, host path) of all libraries of a @program of this machine."""
	out = run(["ldd", program]).stdout
	if missing := re.findall(r"(\S+) => not found", out):
		raise ToolError(f"{program} needs {missing[0]}, which ldd does not find", EXIT_MISSING)
	pairs = [(f"{LIBRARY_DIR}/{name}", path) for name, path in re.findall(r"(\S+) => (/\S+)", out)]
	return [*pairs, *[(path, path) for path in re.findall(r"^\s+(/\S+) \(", out, re.M)]]


def qemu_binary():
	"""Return the QEMU to use: QEMU=path, else qemu-system-x86_64."""
	return setting("QEMU", "qemu-system-x86_64")


def firmware(name):
	"""Return the path of the firmware file @name of the QEMU in use."""
	folders = run([qemu_binary(), "-L", "help"]).stdout.split()
	for folder in folders:
		if (Path(folder) / name).is_file():
			return Path(folder) / name
	raise ToolError(f"{qemu_binary()} has no {name} in {' '.join(folders)}: install seabios", EXIT_MISSING)


def vmm_files(folder):
	"""Return (guest path, host path) of QEMU as /bin/qemu, its libraries, and firmware in @folder."""
	program = shutil.which(qemu_binary())
	if not program:
		raise ToolError(f"{qemu_binary()} not found: run 'make deps'", EXIT_MISSING)
	return [("/bin/qemu", program), *host_libraries(program),
		*[(f"{folder}/{name}", firmware(name)) for name in FIRMWARE]]
