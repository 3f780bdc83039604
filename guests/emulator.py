# SPDX-License-Identifier: GPL-2.0
"""The QEMU that guests run in, and what it needs to run in a guest.

QEMU=path is a program, QEMU=suite that of a suite of Debian. Its packages are unpacked
below build/, never installed, and run with the libraries of that suite.
"""
import shlex
import shutil
from pathlib import Path

from common.apt import unpacked
from common.command import EXIT_MISSING, ToolError, build_dir, replaced, run
from common.settings import QEMU_SUITES, setting
from guests.initramfs import FilePair
from guests.libraries import LIBRARY_DIR, LOADER, host_libraries, libraries

PROGRAM = "qemu-system-x86_64"
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")
FIRMWARE = ("bios-microvm.bin", "linuxboot_dma.bin")	# what -M microvm loads


def packages(suite: str) -> Path:
	"""Return where the packages of @suite are unpacked; raise ToolError if it has none."""
	return unpacked(PACKAGES, suite, system=False)


def from_suite(suite: str) -> Path:
	"""Return a script that runs the QEMU of @suite; raise ToolError if it has none."""
	root = packages(suite)
	argv = [f"{root}/usr{LOADER}", "--library-path", f"{root}{LIBRARY_DIR}",
		f"{root}/usr/bin/{PROGRAM}", "-L", f"{root}/usr/share/qemu",
		"-L", f"{root}/usr/share/seabios"]
	text = (f"#!/bin/sh\nQEMU_MODULE_DIR={shlex.quote(f'{root}{LIBRARY_DIR}/qemu')} "
		f'exec {shlex.join(argv)} "$@"\n')
	script = build_dir() / "guests" / f"qemu-{suite}"
	if not script.is_file() or script.read_text() != text:
		script.parent.mkdir(parents=True, exist_ok=True)
		with replaced(script) as tmp:
			tmp.write_text(text)
			tmp.chmod(0o755)
	return script


def qemu_binary() -> str:
	"""Return the QEMU to use: what QEMU= says, else qemu-system-x86_64."""
	given = setting("QEMU", PROGRAM)
	return str(from_suite(given)) if given in QEMU_SUITES else given


def firmware(name: str) -> Path:
	"""Return the path of the firmware file @name of the QEMU in use."""
	directories = run([qemu_binary(), "-L", "help"]).stdout.split()
	for directory in directories:
		if (Path(directory) / name).is_file():
			return Path(directory) / name
	raise ToolError(f"{qemu_binary()} has no {name} in {' '.join(directories)}: "
			"install seabios", EXIT_MISSING)


def vmm_files(directory: str) -> list[FilePair]:
	"""Return (guest path, host path) of QEMU as /bin/qemu, its libraries and its firmware.

	The firmware lands in the guest's @directory.
	"""
	given = setting("QEMU", PROGRAM)
	if given in QEMU_SUITES:
		root = packages(given)
		program = root / "usr" / "bin" / PROGRAM
		needs = libraries([program], root)
	elif found := shutil.which(given):
		program, needs = Path(found), host_libraries(found)
	else:
		raise ToolError(f"{given} not found: run 'make deps'", EXIT_MISSING)
	return [("/bin/qemu", program), *needs,
		*[(f"{directory}/{name}", firmware(name)) for name in FIRMWARE]]
