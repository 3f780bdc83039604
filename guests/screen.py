# SPDX-License-Identifier: GPL-2.0
"""A PC in QEMU, with firmware, disks, a screen and a keyboard: boots what a person would boot.

guests/qemu.py boots kernels, without firmware. Here the machine's serial line is read and
logged, keys are pressed and pictures are taken by QEMU's monitor.
"""
import contextlib
import os
import select
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.apt import unpacked
from common.command import (EXIT_GUEST, EXIT_HANG, EXIT_MISSING, StrPath, ToolError, build_dir,
			    end_with_parent, log_command, progress)
from common.settings import setting
from guests.emulator import qemu_binary
from guests.qemu import Limits, Use

SUITE = "bookworm"	# where OVMF comes from if the system's apt has none
PROMPT = b"(qemu) "
LOOK_EVERY = 1.0	# seconds between looks at QEMU's CPU time
# MiB of translated code. When they are full, all of it is dropped: so are translations of
# boot loaders, which make every write to memory that is used again slow. With the default,
# KUnit under Xen took over ten times as long.
TRANSLATED = 16
# Xen 4.17 under QEMU 7.2: iret reads the guest's stack with supervisor rights.
CPU = "max,-smap"


@dataclass(frozen=True)
class Firmware:
	"""OVMF's files @code and @variables, or SeaBIOS without; with @options for QEMU."""
	code: str = ""
	variables: str = ""
	options: tuple[str, ...] = ()


FIRMWARES = {
	"BIOS": Firmware(),
	"UEFI": Firmware("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
	# As sold: Microsoft's keys, Secure Boot on.
	"Secure Boot": Firmware("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd",
				("-global", "driver=cfi.pflash01,property=secure,value=on",
				 "-global", "ICH9-LPC.disable_s3=1")),
}


def disk(path: StrPath, bus: str, number: int) -> list[str]:
	"""Return QEMU's options for the disk image @path on the @bus, "usb" or "sata".

	The machine boots from the disk with the least @number.
	"""
	name = f"disk{number}"
	argv = ["-drive", f"if=none,id={name},format=raw,file={path}"]
	if bus == "usb":
		return [*argv, "-device", f"qemu-xhci,id=usb{number}", "-device",
			f"usb-storage,bus=usb{number}.0,drive={name},bootindex={number}"]
	return [*argv, "-device", f"ide-hd,drive={name},bus=ide.{number},bootindex={number}"]


def command(firmware: str, directory: StrPath, disks: Sequence[str], cpu: str = CPU) -> list[str]:
	"""Return QEMU's command line for a PC with @firmware and the options @disks.

	What the firmware keeps lies in @directory, with the monitor's socket.
	"""
	made = FIRMWARES[firmware]
	board = "q35,smm=on" if firmware == "Secure Boot" else "q35"
	argv = [qemu_binary(), "-M", board, "-m", "2048", "-smp", "1", "-nic", "none",
		"-display", "none", "-vga", "std", "-serial", "stdio",
		"-monitor", f"unix:{directory}/monitor,server=on,wait=off"]
	if setting("ACCEL") == "kvm":
		argv += ["-accel", "kvm", "-cpu", "host"]
	else:
		argv += ["-accel", f"tcg,thread=single,tb-size={TRANSLATED}", "-cpu", cpu]
	if made.code:
		files = unpacked(("ovmf",), SUITE, libraries=False) / "usr" / "share" / "OVMF"
		variables = Path(directory) / "variables.fd"
		shutil.copy(files / made.variables, variables)
		code = f"readonly=on,file={files / made.code}"
		argv += ["-drive", f"if=pflash,unit=0,format=raw,{code}",
			 "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]
	return [*argv, *made.options, *disks]


class Machine:
	"""A PC that runs: what it says on its serial line, its keyboard, its screen."""

	def __init__(self, proc: subprocess.Popen[bytes], directory: StrPath, log: Path) -> None:
		self.proc, self.log = proc, log
		self.socket = f"{directory}/monitor"
		self.text = ""		# what was said since the last wait_for()

	def wait_for(self, wanted: str, seconds: float) -> str:
		"""Read the serial line until it says @wanted; return what it said before.

		"" is the machine's end. @seconds are of CPU time from now on, see Limits. Raises
		ToolError if it takes longer, or if the machine ends.
		"""
		limits, start = Limits(seconds), Use.of(self.proc.pid)
		assert self.proc.stdout
		while not wanted or wanted not in self.text:
			use = Use.of(self.proc.pid)
			use = Use(use.had - start.had, use.wanted - start.wanted)
			if late := limits.exceeded(use):
				raise ToolError(f"'{wanted or 'power off'}' did not come, {late}: "
						f"see {self.log}", EXIT_HANG)
			if not select.select([self.proc.stdout], [], [], LOOK_EVERY)[0]:
				continue
			data = os.read(self.proc.stdout.fileno(), 65536)
			if not data:
				break
			limits.output()
			with self.log.open("ab") as f:
				f.write(data)
			self.text += data.decode(errors="replace")
			progress(f"    {self.log.stem}: {self.text[-200:].splitlines()[-1:]}")
		if wanted and wanted not in self.text:
			raise ToolError(f"the machine ended before '{wanted}': see {self.log}",
					EXIT_GUEST)
		before, _, self.text = self.text.partition(wanted or "\0")
		return before

	def monitor(self, line: str) -> str:
		"""Give QEMU's monitor the command @line; return what it says.

		Raises ToolError if QEMU does not answer.
		"""
		with socket.socket(socket.AF_UNIX) as client:
			client.settimeout(30)
			try:
				client.connect(self.socket)
				self.answer(client)
				client.sendall(line.encode() + b"\n")
				return self.answer(client)
			except OSError as error:
				raise ToolError(f"QEMU's monitor does not answer ({error}): see "
						f"{self.log}", EXIT_GUEST) from error

	@staticmethod
	def answer(client: socket.socket) -> str:
		"""Return what the monitor says until its next prompt."""
		data = b""
		while not data.endswith(PROMPT):
			more = client.recv(4096)
			if not more:
				break
			data += more
		return data.decode(errors="replace")

	def press(self, key: str) -> None:
		"""Press @key, by QEMU's name."""
		self.monitor(f"sendkey {key}")

	def picture(self, path: Path) -> None:
		"""Write what the screen shows as a PNG to @path.

		Raises ToolError if there is none.
		"""
		path.unlink(missing_ok=True)
		said = self.monitor(f'screendump "{path}" -f png')
		if not path.is_file():
			raise ToolError(f"no picture of the screen: {said.splitlines()[-2:]}: "
					"QEMU 7.1 or later is needed", EXIT_MISSING)


@contextlib.contextmanager
def machine(name: str, firmware: str, disks: Sequence[str], cpu: str = CPU) -> Iterator[Machine]:
	"""Start a PC with @firmware and @disks; yield it, and end it afterwards.

	What it says on its serial line goes to build/log/<name>.log.
	"""
	log = build_dir() / "log" / f"{name}.log"
	log.parent.mkdir(exist_ok=True)
	with tempfile.TemporaryDirectory() as directory:
		argv = command(firmware, directory, disks, cpu)
		log_command(argv)
		log.write_text(f"# {shlex.join(argv)}\n")
		with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
				      stderr=subprocess.STDOUT, preexec_fn=end_with_parent) as proc:
			try:
				yield Machine(proc, directory, log)
			finally:
				if proc.poll() is None:
					proc.kill()
				progress("")
