# SPDX-License-Identifier: GPL-2.0
"""Boot a guest in QEMU, watch its console, and tell how it ended.

GUEST=bare boots the kernel itself, GUEST=xen boots the Xen hypervisor with the
kernel as PV dom0; others run inside one of these (guests/nested.py). A run succeeds
only if our init printed its end marker with status 0; a panic, an oops or a warning
on the console ends it at once.

How long a guest may take is counted in CPU time that QEMU used, so that other work on
the machine does not make it fail, nor a machine that stands still for a while, as virtual
ones do. A guest that hangs idle uses none: it is given up after some time without it and
without output. Where its CPUs were then is in the log.
"""
import contextlib
import dataclasses
import math
import os
import re
import selectors
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TextIO

from common.command import (EXIT_GUEST, EXIT_HANG, ToolError, build_dir, end_with_parent,
			    log_command, progress, replaced, run, say, verbose)
from guests.emulator import qemu_binary
from guests.initramfs import initramfs
from guests.nested import MACHINE_AROUND, NO_KUNIT, PATIENCE, PREFIX, Host
from guests.xen import hypervisor

MACHINES = ("bare", "xen")	# what QEMU boots itself
KINDS = (*MACHINES, *MACHINE_AROUND)
END_MARKER = re.compile(r"^guest-init: job ended with status (\d+)")
INIT_FAILED = re.compile(r"^guest-init: (?!job ended)")
# What a healthy guest never prints. Xen's shim warns of its scheduler, the only one that it has,
# and KFENCE reports what its own tests do.
FAILURES = re.compile(
	r"Kernel panic|KVM internal error|\bBUG: (?!KFENCE: .* in test_)|kernel BUG at|\bOops\b"
	r"|\bWARNING: (?!This is experimental software in development\.)"
	r"|general protection fault|Call Trace:|KASAN: |KCSAN: |UBSAN: |possible recursive locking"
	r"|possible circular locking|suspicious RCU usage|inconsistent lock state"
	r"|INFO: task .* blocked|rcu: INFO: .* stall|soft lockup|hard LOCKUP|unable to handle"
	r"|page allocation failure"
	r"|\(XEN\) Panic on CPU|\(XEN\) .*Dom0 crashed|\(XEN\) domain_crash"
	r"|\(XEN\) Xen (?:BUG|WARN) at|\(XEN\) .*L1TF-vulnerable")
# A CPU that is open to L1TF, and Xen refuses entries of PV guests that expose a frame to it.
# Not by "max": its 40 bits of physical address leave no frame to which an inverted entry can
# point in safety. Of the others, XSAVEC is more than Xen 4.17 makes of QEMU 7.2's.
L1TF_CPU = "Skylake-Server,-smap,-xsavec,phys-bits=46"
L1TF_XEN = "spec-ctrl=no xpti=no pv-l1tf=dom0,domu guest_loglvl=all"
# Xen's shim faults on a CPU of AMD's family 15, as "max" is one: there Xen turns the TLB flush
# filter off, in the MSR HWCR, and a guest, which the shim is, may not write to that.
SHIM_CPU = ",family=21,model=0"
TAIL_LINES = 15
SILENCE = 600.0	# seconds without output and CPU time, in which every guest counts as hung
# Less than this share of a CPU is none. QEMU takes a hundredth for an idle guest.
IDLE_SHARE = 0.05
# Nor does an idle guest wait for a CPU this share of the time, on a busy machine.
WAITING_SHARE = 0.5
LOOK_EVERY = 1.0	# seconds between looks at QEMU's CPU time
LOOKED_LATE = 10.0	# seconds between them that a busy machine may make of that
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
KVM_DEVICE = "/dev/kvm"
PROBE_LIMIT = 10	# seconds: under KVM a guest is up in two
GRACE = 2.0	# seconds to collect the rest of a backtrace, or to power off
# Has QEMU's monitor, which shares the console, print the registers of all CPUs.
ASK_REGISTERS = b"\x01cinfo registers -a\n"
REGISTERS = re.compile(r"^RIP=([0-9a-f]{16}) ", re.M)


@dataclass
class Result:
	"""How a run ended: @status is ok, failed, warned, hung, died; @log the console."""
	status: str
	reason: str
	log: Path
	seconds: float
	lines: list[str] = field(default_factory=list)	# of the guest
	console: list[str] = field(default_factory=list)	# and of the machine around it

	def require(self) -> "Result":
		"""Return self if the run was ok; else raise ToolError with console tail and log."""
		if self.status == "ok":
			return self
		for line in (self.console or self.lines)[-TAIL_LINES:]:
			print(f"    | {line}", file=sys.stderr)
		code = EXIT_HANG if self.status == "hung" else EXIT_GUEST
		raise ToolError(f"guest {self.status}: {self.reason}: see {self.log}", code)


@dataclass
class Guest:
	"""One virtual machine: which @kind, its @kernel image and @initrd, and its size."""
	kind: str
	kernel: Path
	initrd: Path
	append: str = ""
	smp: int = 1
	mem: int = 2048
	icount: bool = False
	svm: bool = False	# let the guest run KVM itself
	l1tf: bool = False	# a CPU that is open to L1TF; Xen checks its guests' entries
	vmm: bool = False	# its job runs a guest with a kernel of its own, by KVM
	in_turns: bool = False	# its CPUs take turns in one thread of QEMU's
	accel: str = "auto"
	host: Host | None = None	# what a guest inside a guest needs around it

	def __post_init__(self) -> None:
		if self.kind not in KINDS:
			raise ToolError(f"unknown GUEST '{self.kind}': known are {' '.join(KINDS)}")
		if self.icount and self.smp > 1:
			raise ToolError("an instruction count (-icount) needs SMP=1")
		if self.l1tf and self.machine != "xen":
			raise ToolError(f"Xen checks entries for L1TF, '{self.kind}' has no Xen")

	@property
	def machine(self) -> str:
		"""Return what QEMU boots: "bare" or "xen"."""
		return MACHINE_AROUND.get(self.kind, self.kind)

	def command(self, extra: str = "") -> list[str]:
		"""Return QEMU's command line; @extra goes to the kernel that boots first."""
		accel = "tcg" if self.icount or self.l1tf else self.pick_accel()
		argv = [qemu_binary(), "-m", str(self.mem), "-nographic", "-no-reboot",
			"-nic", "none", "-smp", str(self.smp)]
		if accel == "kvm":
			argv += ["-accel", "kvm", "-cpu", "host"]
		else:
			thread = "multi" if self.smp > 1 and not self.in_turns else "single"
			# Xen 4.17 under QEMU 7.2: iret reads the guest's stack with
			# supervisor rights, which SMAP forbids.
			cpu = "max,-smap" if self.machine == "xen" else "max"
			cpu = L1TF_CPU if self.l1tf else cpu
			# A guest in a guest: processes crash in either now and then, on
			# any kernel, unless XSAVE is off; KVM's guest warns of its sizes.
			cpu += ",-xsave" if self.host or self.vmm else ""
			svm = self.svm or self.vmm or self.kind in ("kvm", "pvh", "pvshim")
			cpu += ",+svm,+npt" if svm else ""
			cpu += SHIM_CPU if self.kind == "pvshim" else ""
			argv += ["-accel", f"tcg,thread={thread}", "-cpu", cpu]
		if self.icount:
			argv += ["-icount", "shift=0,sleep=off"]
		outer = self.host or self
		patience = "" if self.icount else PATIENCE
		append = " ".join(f"panic=-1 {patience} {outer.append} {extra}".split())
		if self.machine == "bare":
			return [*argv, "-kernel", str(outer.kernel), "-initrd", str(outer.initrd),
				# A loaded host lets the boot-time timer check fail.
				"-append", f"console=ttyS0 no_timer_check {append}"]
		dom0_mem = self.mem * 5 // 8 if outer is self else self.mem * 5 // 16
		return [*argv, "-kernel", str(hypervisor()),
			"-append", f"console=com1 com1=115200,8n1 dom0_mem={dom0_mem}M "
			f"dom0_max_vcpus={self.smp}{' ' + L1TF_XEN if self.l1tf else ''}",
			"-initrd", f"{outer.kernel} console=hvc0 {append},{outer.initrd}"]

	def pick_accel(self) -> str:
		"""Return "tcg" or "kvm": KVM only if asked for, or ("auto") if it boots this kind.

		The answer is kept for this boot of the machine: /dev/kvm proves
		nothing, on some machines it is there and hangs real guests,
		though it may well run a boot sector.
		"""
		if self.accel != "auto":
			return self.accel
		if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
			return "tcg"
		boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
		memo = build_dir() / "guests" / f"kvm-probe-{self.machine}"
		if not memo.is_file() or memo.read_text().split()[0] != boot:
			works = self.probe_kvm()
			with replaced(memo) as tmp:
				tmp.write_text(f"{boot} {'kvm' if works else 'tcg'}\n")
		return memo.read_text().split()[1]

	def probe_kvm(self) -> bool:
		"""Return whether the machine, with an empty job, ends well under KVM in time."""
		initrd = initramfs(build_dir() / "linux", "kvm-probe", "true\n")
		kernel = self.host.kernel if self.host else self.kernel
		probe = dataclasses.replace(self, kind=self.machine, host=None, accel="kvm", smp=1,
					    svm=False, kernel=kernel, initrd=initrd,
					    append=NO_KUNIT)
		result = probe.run(f"kvm-probe-{self.machine}", timeout=PROBE_LIMIT)
		if result.status != "ok":
			say(f"{KVM_DEVICE} is there but boots no {self.machine} guest "
			    f"({result.status}): using TCG")
		return result.status == "ok"

	def run(self, name: str, timeout: float = 300, may_warn: bool = False) -> Result:
		"""Run the guest's job and return a Result; never raise for what the guest does.

		@name names the log, build/log/<name>.log; @timeout is in seconds of CPU
		time for each vCPU (see Limits). With @may_warn, failure patterns don't
		end the run (for a base known to warn).
		"""
		argv = self.command()
		log = build_dir() / "log" / f"{name}.log"
		log.parent.mkdir(exist_ok=True)
		log_command(argv)
		with log.open("w") as f:
			f.write(f"# {shlex.join(argv)}\n")
			prefix = PREFIX if self.host else ""
			return Console(log, f, Limits(timeout, self.smp), may_warn,
				       prefix).watch(argv)

	def shell(self) -> int:
		"""Run the guest with this terminal as its console; return QEMU's status."""
		argv = self.command("guest_shell" if self.host else "")
		log_command(argv)
		print(f"+ {shlex.join(argv)}\n  (Ctrl-A X ends QEMU)", file=sys.stderr, flush=True)
		return subprocess.run(argv, check=False).returncode


@dataclass
class Use:
	"""What a process made of the CPU, in seconds: what it @had, and for how long it @wanted."""
	had: float
	wanted: float

	@classmethod
	def of(cls, pid: int) -> "Use":
		"""Return that of the process @pid; raise OSError if it is gone.

		Waiting for a CPU that others use counts as wanted, if the kernel tells.
		"""
		fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
		had = (int(fields[11]) + int(fields[12])) / CLOCK_TICKS	# utime, stime
		waited = 0
		for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
			with contextlib.suppress(OSError):
				waited += int(path.read_text().split()[1])
		return cls(had, had + waited / 1e9)


class Limits:
	"""Tells when a guest has run too long: by its CPU time, or by silence.

	It may use @seconds of CPU time for each of @cpus. It may say nothing and want no CPU
	for as long, but not longer than SILENCE, of this machine's time.
	"""

	def __init__(self, seconds: float, cpus: int = 1) -> None:
		self.work, self.silence = seconds * cpus, min(seconds, SILENCE)
		# When it last did something, and its use of the CPU by then.
		self.active, self.use = time.monotonic(), Use(0, 0)
		self.looked = self.active

	def output(self) -> None:
		"""Note that there was output."""
		self.active = time.monotonic()

	def exceeded(self, use: Use) -> str:
		"""Return why the guest, with this @use of the CPU, counts as hung; or ""."""
		now = time.monotonic()
		if use.had > self.work:
			return f"it used {self.work:.0f} s of CPU time"
		# Nobody looked: this machine stood still, and the guest with it.
		self.active += max(0, now - self.looked - LOOKED_LATE)
		self.looked = now
		since = max(now - self.active, 1)
		if use.had - self.use.had > IDLE_SHARE * since \
		   or use.wanted - self.use.wanted > WAITING_SHARE * since:
			self.active, self.use = now, use
		if now - self.active > self.silence:
			return f"no output and no CPU time for {self.silence:.0f} s"
		return ""


class Console:
	"""Reads a guest's console until it ends, fails or runs out of time.

	With a @prefix, lines that begin with it are the guest's, others those of
	the machine around it: these may fail the run, but not end it well.
	"""

	def __init__(self, log: Path, stream: TextIO, limits: Limits, may_warn: bool,
		     prefix: str = "") -> None:
		self.log, self.stream, self.limits = log, stream, limits
		self.may_warn, self.prefix = may_warn, prefix
		self.lines: list[str] = []
		self.console: list[str] = []
		self.verdict: tuple[str, str] | None = None	# Result's status and reason
		self.deadline = math.inf	# until there is a verdict

	def watch(self, argv: Sequence[str]) -> Result:
		"""Start QEMU, watch it, end it; return the Result."""
		start = time.monotonic()
		with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
				      stderr=subprocess.STDOUT, preexec_fn=end_with_parent) as proc:
			assert proc.stdin and proc.stdout
			try:
				self.read(proc.stdin, proc.stdout, proc.pid)
			finally:
				if proc.poll() is None:
					proc.kill()
				progress("")
		status, reason = self.verdict or ("died", "QEMU ended before the end marker")
		if status == "hung" and (at := REGISTERS.findall("\n".join(self.console))):
			reason += f", CPUs at {' '.join(at)}"
		return Result(status, reason, self.log, time.monotonic() - start, self.lines,
			      self.console)

	def read(self, keys: IO[bytes], pipe: IO[bytes], pid: int) -> None:
		"""Take lines from @pipe until QEMU (@pid) ends, or a while after the verdict.

		@keys is where QEMU takes what is typed on the console.
		"""
		pending, look = b"", 0.0
		with selectors.DefaultSelector() as selector:
			selector.register(pipe, selectors.EVENT_READ)
			while (now := time.monotonic()) < self.deadline:
				if now >= look and not self.verdict:
					look = now + LOOK_EVERY
					if late := self.limits.exceeded(Use.of(pid)):
						self.end("hung", f"no end marker, {late}")
						with contextlib.suppress(BrokenPipeError):
							keys.write(ASK_REGISTERS)
							keys.flush()
					progress(self.status())
				if not selector.select(min(LOOK_EVERY, self.deadline - now)):
					continue
				self.limits.output()
				data = os.read(pipe.fileno(), 65536)
				if not data:
					if pending:
						self.line(pending)
					return
				*complete, pending = (pending + data).split(b"\n")
				for raw in complete:
					self.line(raw)

	def line(self, raw: bytes) -> None:
		"""Log one line and judge it."""
		text = raw.decode(errors="replace")
		# Xen's shim has the carriage return behind the end of a line.
		text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc|\r", "", text)
		self.stream.write(text + "\n")
		self.stream.flush()
		self.console.append(text)
		inner = text.startswith(self.prefix)
		if inner:
			text = text[len(self.prefix):]
			self.lines.append(text)
		progress(self.status())
		if self.verdict:
			return
		if match := END_MARKER.match(text):
			status = int(match[1])
			if not inner:
				self.end("failed", "the machine around the guest ended first, "
					 f"status {status}")
			elif status:
				self.end("failed", f"job status {status}")
			else:
				self.end("ok", "")
		elif INIT_FAILED.match(text):
			self.end("failed", text)
		elif not self.may_warn and FAILURES.search(text):
			self.end("warned", text.strip())

	def status(self) -> str:
		"""Return which guest runs, and what it said last, as a line."""
		last = self.console[-1] if self.console else ""
		return f"    {self.log.stem}: {last.removeprefix(self.prefix)}"

	def end(self, status: str, reason: str) -> None:
		"""Set the verdict; the guest gets a little more time."""
		self.verdict = (status, reason)
		self.deadline = min(self.deadline, time.monotonic() + GRACE)


def check_tools() -> None:
	"""Raise ToolError with the remedy if QEMU is missing."""
	done = run([qemu_binary(), "--version"])
	if verbose():
		say(done.stdout.splitlines()[0])
