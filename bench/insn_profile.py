# SPDX-License-Identifier: GPL-2.0
"""Where does every instruction go? Records and counts the instructions of a guest.

A guest that loops over one workload runs under QEMU's TCG; for a moment it is
given one instruction per translation block, and logs each of them (HMP "log exec"). Of
that record, only whole rounds of the workload are taken: from one execution of a given
symbol of the kernel to a later one.
"""
import bisect
import collections
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from common.command import (EXIT_GUEST, EXIT_HANG, StrPath, ToolError, build_dir,
			    end_with_parent, log_command, progress, remove, run)
from guests.qemu import Limits, Use

XEN_LO, XEN_HI = 0xffff800000000000, 0xffff880000000000
USER_HI = 1 << 47
TRACE = re.compile(rb"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/", re.M)
ROUNDS = 4	# to record
ONE = "one-insn-per-tb on"


class SymbolMap:
	"""Sorted text symbols of a System.map, and of the hypervisor if @xen (its nm) is given."""

	def __init__(self, text: str, xen: str = "") -> None:
		syms: dict[int, str] = {}
		for line in (text + xen).splitlines():
			fields = line.split()
			if len(fields) >= 3 and fields[1] in "tTwW":
				syms.setdefault(int(fields[0], 16), fields[2])
		self.addrs = sorted(syms)
		self.names = [syms[a] for a in self.addrs]
		self.by_name = {n: a for a, n in syms.items()}
		self.has_xen = bool(xen)

	def name(self, addr: int) -> str:
		"""Return the function that @addr belongs to, "user", or "xen" or "xen:function"."""
		if addr < USER_HI:
			return "user"
		i = bisect.bisect_right(self.addrs, addr) - 1
		if XEN_LO <= addr < XEN_HI:
			return f"xen:{self.names[i]}" if self.has_xen and i >= 0 else "xen"
		return self.names[i] if i >= 0 else "unknown"


def in_hypervisor(function: str) -> bool:
	"""Return whether SymbolMap named a function of the hypervisor, not the kernel's xen_..."""
	return function == "xen" or function.startswith("xen:")


Entry = tuple[str, int]		# its kind, and where the kernel was before


@dataclass
class Profile:
	"""Counts of @units units: executions by address, and entries into the hypervisor."""
	units: float
	count: collections.Counter[int]
	entries: collections.Counter[Entry] = field(default_factory=collections.Counter)

	def functions(self, symbols: SymbolMap) -> dict[str, float]:
		"""Return {function: instructions per unit}, the largest first."""
		table: collections.Counter[str] = collections.Counter()
		for addr, n in self.count.items():
			table[symbols.name(addr)] += n
		return {name: n / self.units for name, n in table.most_common()}

	def kinds(self) -> dict[str, float]:
		"""Return {kind: entries into the hypervisor per unit}: hypercall, trap, user."""
		table: collections.Counter[str] = collections.Counter()
		for (kind, _), n in self.entries.items():
			table[kind] += n
		return {kind: n / self.units for kind, n in table.items()}

	def callers(self, symbols: SymbolMap) -> dict[str, float]:
		"""Return {"kind function": entries per unit}, of the kernel's functions."""
		table: collections.Counter[str] = collections.Counter()
		for (kind, address), n in self.entries.items():
			if kind != "user":
				table[f"{kind} {symbols.name(address)}"] += n
		return {key: n / self.units for key, n in table.most_common()}

	def total(self) -> float:
		"""Return instructions per unit."""
		return sum(self.count.values()) / self.units

	def among(self, addresses: Container[int], least: float = 0) -> float:
		"""Return the executions per unit of those at @addresses that have @least each."""
		return sum(self.each(addresses, least).values())

	def each(self, addresses: Container[int], least: float = 0) -> dict[int, float]:
		"""Return {address: executions per unit} of those that among() adds up."""
		return {address: n / self.units for address, n in self.count.items()
			if address in addresses and n >= least * self.units}


class Profiled(TypedDict):
	"""An object of profile.json: a Profile of @bench and @case on @kernel in the place @guest.

	All figures but @pages and @units are per unit, a page table entry and its change;
	@locked_per_call is per call. @hypervisor is what of @total belongs to Xen, @entries
	are the entries into it by kind, @callers by kind and the kernel's function. @locked
	has the locked instructions by function and text, @pte_locked_per_pte is the part of
	@locked_per_pte that changes page tables.
	"""
	kernel: str
	guest: str
	bench: str
	case: str
	pages: int
	units: float
	total: float
	functions: dict[str, float]
	hypervisor: float
	locked_per_pte: float
	pte_locked_per_pte: float
	locked_per_call: float
	locked: dict[str, float]
	entries: dict[str, float]
	callers: dict[str, float]


Group = tuple[str, str, str, int]	# guest, bench, case, pages


def grouped(profiles: Iterable[Profiled]) -> dict[Group, list[Profiled]]:
	"""Return @profiles by what was profiled; a list has one for each kernel."""
	groups: dict[Group, list[Profiled]] = {}
	for item in profiles:
		key = item["guest"], item["bench"], item["case"], item["pages"]
		groups.setdefault(key, []).append(item)
	return groups


def hmp(path: str, command: str) -> str:
	"""Send one command to the human monitor at the socket @path; return what it answers.

	Raises ToolError if the monitor is gone.
	"""
	gone = ToolError(f"QEMU's monitor is gone ('{command}')", EXIT_GUEST)
	with socket.socket(socket.AF_UNIX) as s:
		try:
			s.connect(path)
		except OSError as error:
			raise gone from error
		s.settimeout(60)
		for text in (b"", command.encode() + b"\n"):
			s.sendall(text)
			out = b""
			while b"(qemu) " not in out:
				data = s.recv(4096)
				if not data:
					raise gone
				out += data
	return out.decode(errors="replace")


def instructions(vmlinux: StrPath, pattern: str) -> dict[int, str]:
	"""Return {address: text} of the instructions of @vmlinux that objdump shows as @pattern."""
	out = run(["objdump", "-d", "--no-show-raw-insn", vmlinux]).stdout
	insn = re.compile(rf"^\s*([0-9a-f]+):\s+((?:{pattern})[^#<\n]*)", re.M)
	return {int(m[1], 16): " ".join(m[2].split()) for m in insn.finditer(out)}


def hits_in(log: StrPath, position: int, needle: bytes) -> tuple[int, int]:
	"""Return (how often @needle is in @log from byte @position on, where whole lines end)."""
	with open(log, "rb") as f:
		f.seek(position)
		data = f.read()
	end = data.rfind(b"\n") + 1
	return data[:end].count(needle), position + end


def scratch() -> tempfile.TemporaryDirectory[str]:
	"""Return a directory for record(), which lasts as long as the with statement it is for.

	A record is large: it lands where everything built does.
	"""
	directory = build_dir() / "bench"
	directory.mkdir(exist_ok=True)
	return tempfile.TemporaryDirectory(dir=directory)


def record(argv: Sequence[str], directory: str, marker: str, start: int, timeout: float = 600,
	   rounds: int = ROUNDS, items: str = "exec,nochain", single: bool = True) -> str:
	"""Run QEMU as @argv until @marker is on its console, then log instructions; return the log.

	Ends when the address @start was executed @rounds times and once more, so
	that the log holds as many whole rounds. Everything lands in @directory.
	@items is what QEMU logs; without @single that are blocks of instructions, not each one.
	Raises ToolError if marker or rounds take more than @timeout seconds (guests.qemu.Limits).
	"""
	mon, log, con = (os.path.join(directory, n) for n in ("mon", "exec.log", "console"))
	for path in (mon, log, con):	# of an earlier try
		remove(path)
	argv = [*argv, "-D", log, "-monitor", f"unix:{mon},server=on,wait=off",
		"-serial", f"file:{con}"]
	log_command(argv)
	with open(os.path.join(directory, "out"), "w") as out, \
	     subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
			      preexec_fn=end_with_parent) as vm:
		limits = Limits(timeout)

		def wait(done: Callable[[], bool], what: str) -> None:
			while not done():
				if vm.poll() is not None:
					raise ToolError(f"QEMU ended before {what}", EXIT_GUEST)
				if late := limits.exceeded(Use.of(vm.pid)):
					raise ToolError(f"no {what}, {late}", EXIT_HANG)
				time.sleep(0.2)

		needle, seen, position = b"/%016x/" % start, 0, 0

		def marked() -> bool:
			return os.path.exists(con) and \
			       marker in Path(con).read_text(errors="replace")

		def enough() -> bool:
			nonlocal seen, position
			if os.path.exists(log):
				more, position = hits_in(log, position, needle)
				seen += more
				progress(f"    {seen} of {rounds + 1} rounds, {position >> 20} MiB")
			return seen > rounds

		try:
			wait(marked, f"{marker} on the console")
			time.sleep(2)
			if single and "unknown command" in hmp(mon, ONE):
				hmp(mon, "singlestep on")	# its name before QEMU 8.1
			hmp(mon, f"log {items}")
			wait(enough, f"{rounds} rounds")
			hmp(mon, "log none")
		finally:
			vm.kill()
			progress("")
	return log


class Round:
	"""What was executed from one start to the next: @count by address, and @entries."""

	def __init__(self) -> None:
		self.count: collections.Counter[int] = collections.Counter()
		self.entries: collections.Counter[Entry] = collections.Counter()


def backend(function: str) -> bool:
	"""Return whether @function only carries out what its caller wants of the hypervisor."""
	return function.startswith(("xen_", "__xen_", "early_xen_", "mc_", "__raw_callee_",
				    "__SCT__", "pfn_to_mfn", "mfn_to_pfn", "pte_pfn_to_mfn",
				    "pte_mfn_to_pfn", "arbitrary_virt_to_machine"))


class Entries:
	"""Finds the entries into the hypervisor in a trace, which may come in parts.

	@calls are the addresses of the kernel's hypercall instructions. An entry's address is
	the kernel's last one before it outside of functions that only carry out what it wants
	(@backend tells by address).
	"""

	def __init__(self, calls: Container[int], backend_at: Callable[[int], bool]) -> None:
		self.calls, self.backend_at = calls, backend_at
		self.known: dict[int, bool] = {}
		self.last = self.caller = 0

	def kind(self, last: int) -> str:
		"""Return the kind of an entry from the address @last."""
		if last < USER_HI:
			return "user"
		return "hypercall" if last in self.calls else "trap"

	def among(self, trace: list[int]) -> collections.Counter[Entry]:
		"""Count the entries in @trace, which follows what was given before."""
		found: collections.Counter[Entry] = collections.Counter()
		last, caller, known = self.last, self.caller, self.known
		for address in trace:
			if XEN_LO <= address < XEN_HI:
				if not XEN_LO <= last < XEN_HI:
					found[self.kind(last), caller] += 1
			elif address >= USER_HI:
				if address not in known:
					known[address] = self.backend_at(address)
				if not known[address]:
					caller = address
			last = address
		self.last, self.caller = last, caller
		return found


def rounds_of(log: StrPath, start: int, entries: Entries) -> Iterator[Round]:
	"""Yield the whole Rounds of a log, which may be larger than the memory."""
	current: Round | None = None
	with open(log, "rb") as f:
		while block := f.readlines(1 << 24):
			trace = [int(a, 16) for a in TRACE.findall(b"".join(block))]
			while trace:
				end = trace.index(start) if start in trace else len(trace)
				inside = entries.among(trace[:end + 1])
				if current:
					current.count.update(trace[:end])
					current.entries += inside
				if end == len(trace):
					break
				if current:
					yield current
				current = Round()
				current.count[start] += 1
				trace = trace[end + 1:]


def count(log: StrPath, start: int, units_per_round: int, entries: Entries,
	  even: bool = True, set_up: int | None = None) -> Profile:
	"""Count a log of record(): whole rounds, each of which begins at the address @start.

	A round is @units_per_round units; with @even an even number of rounds is
	taken. @entries finds those into the hypervisor. Rounds are left out in which the
	address @set_up was executed as often as there are units: what the next rounds work on
	was set up there.
	Raises ToolError if there is no whole round.
	"""
	rounds = [one for one in rounds_of(log, start, entries)
		  if set_up is None or one.count[set_up] < units_per_round]
	if even and len(rounds) % 2:
		rounds.pop()
	if not rounds:
		raise ToolError("not enough rounds were recorded", EXIT_GUEST)
	total = Round()
	for one in rounds:
		total.count += one.count
		total.entries += one.entries
	return Profile(len(rounds) * units_per_round, total.count, total.entries)
