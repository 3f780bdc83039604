# SPDX-License-Identifier: GPL-2.0
"""What a day's commands cost: bash that forks, a dynamic program, a pipeline, a compiler.

A round of each is timed by bash's own clock, which counts instructions under -icount.
Under Xen a second run counts how often a round enters the hypervisor. The case
"fork-exec", which is busybox's, is counted by by_function.py, and timed where that can't
record: in domUs.
"""
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import kernels, matrix
from bench.insn_profile import USER_HI, SymbolMap, instructions, record, scratch
from common.command import EXIT_GUEST, EXIT_MISSING, ROOT, ToolError, build_dir, replaced, run
from common.result import Result
from guests.initramfs import FilePair
from guests.kernel import output
from guests.libraries import host_libraries

BENCH = "everyday"
SOURCE = "guests/programs/init.c"		# what is compiled
PREPROCESSED = "/everyday.i"
MARKER = "EVERYDAY-START"
START = "kernel_clone"
RUNS = 5
TIMEOUT = 900


@dataclass(frozen=True)
class Case:
	"""A bash @command that is a round, its @forks, and @rounds that make a run.

	@inside is how many rounds the command itself makes.
	"""
	command: str
	forks: int
	rounds: int
	inside: int = 1


CASES = {
	"shell": Case("/bin/true", 1, 50),
	"dynamic": Case("/bin/bash -c :", 1, 20),
	"pipeline": Case("find / -xdev | sort | grep e | wc -l > /dev/null", 4, 2),
	"compile": Case(f"/bin/cc1 -fpreprocessed -quiet -O2 {PREPROCESSED} -o /tmp/out.s", 1, 1),
}
INSIDE = 200		# bash's own fork of busybox is then less than 1 %
FORK_EXEC = Case(f"/bin/sh -c 'i=0; while [ $((i += 1)) -le {INSIDE} ]; do /bin/true; done'",
		 INSIDE + 1, 1, INSIDE)
# A first round reads what later ones find in memory.
TIMED = f"""
measure()	# case, rounds, command, rounds in a command
{{
	local values=() run i start runs=${{RUNS:-{RUNS}}}
	eval "$3" || exit 1
	for ((run = 0; run < runs; run++)); do
		start=${{EPOCHREALTIME/./}}
		for ((i = 0; i < $2; i++)); do eval "$3"; done
		values+=($(((${{EPOCHREALTIME/./}} - start) * 1000 / $2 / $4)))
	done
	values=($(printf '%s\\n' "${{values[@]}}" | sort -n))
	echo "# result bench={BENCH} case=$1 pages=1 threads=1 metric=ns_per_round runs=$runs" \\
	     "median=${{values[runs / 2]}} min=${{values[0]}} max=${{values[runs - 1]}}"
}}
"""
EXECUTED = re.compile(rb"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/|"
		      rb"^ *\d+: v=[0-9a-f]+ e=[0-9a-f]+ i=\d cpl=3 IP=[0-9a-f]+:([0-9a-f]+)", re.M)


def compiler() -> Path:
	"""Return the path of this machine's C compiler proper, which needs no assembler."""
	path = shutil.which(run(["gcc", "-print-prog-name=cc1"]).stdout.strip())
	if not path:
		raise ToolError("gcc has no cc1: run 'make deps'", EXIT_MISSING)
	return Path(path)


def preprocessed() -> Path:
	"""Return the path of the file that is compiled."""
	path = build_dir() / "guests" / "everyday.i"
	with replaced(path) as tmp:
		run(["gcc", "-E", "-P", ROOT / SOURCE, "-o", tmp])
	return path


def script(name: str, text: str) -> Path:
	"""Return the path of a bash script @name that holds @text."""
	path = build_dir() / "guests" / name
	with replaced(path) as tmp:
		tmp.write_text(text)
	return path


def files(text: str, name: str) -> list[FilePair]:
	"""Return (guest path, host path) of bash, the compiler and the script @text, by @name."""
	programs = {"/bin/bash": Path("/bin/bash"), "/bin/cc1": compiler()}
	needed = [pair for path in programs.values() for pair in host_libraries(path)]
	return [*dict(needed).items(), *programs.items(),
		(PREPROCESSED, preprocessed()), ("/everyday", script(name, text))]


def cases(name: str) -> dict[str, Case]:
	"""Return the cases that are timed in the place @name."""
	if BENCH in matrix.PROFILED.get(name, ()):
		return CASES
	return {"fork-exec": FORK_EXEC, **CASES}


def timed(chosen: Mapping[str, Case] | None = None) -> str:
	"""Return the bash script that times each of @chosen (default CASES).

	RUNS= may say how often.
	"""
	return TIMED + "".join(
		f"measure {case} {item.rounds} {shlex.quote(item.command)} {item.inside}\n"
		for case, item in (chosen or CASES).items())


def measure(kernel: str, name: str) -> list[Result]:
	"""Return what a round of each case costs on @kernel, prepared before, in the place @name.

	Raises ToolError if the guest did not end well.
	"""
	log, chosen = f"everyday-{kernel}-{name}", cases(name)
	machine = kernels.machine(kernel, matrix.places([name])[name], log,
				  "/bin/bash /everyday || exit 1\n",
				  files=files(timed(chosen), log), icount=True, smp=1)
	return kernels.measured(machine, log, kernel, name, TIMEOUT, len(chosen))


def entries(log: bytes, start: int, calls: Iterable[int], forks: int) -> Iterator[Counter[str]]:
	"""Yield the entries into the hypervisor of each whole round of @log, "hypercall", "trap".

	@start is where the kernel forks, @forks times a round; @calls are the functions that
	end in a hypercall.
	"""
	current, seen = Counter[str](), -1
	known = set(calls)
	for match in EXECUTED.finditer(log):
		if match[2]:
			current["trap"] += int(match[2], 16) >= USER_HI
			continue
		address = int(match[1], 16)
		current["hypercall"] += address in known
		if address != start:
			continue
		seen += 1
		if seen % forks == 0:
			if seen:
				yield current
			current = Counter()


def count_entries(kernel: str, name: str) -> list[Result]:
	"""Return how often a round of each case enters the hypervisor, on @kernel in @name.

	The functions with a hypercall instruction have no branch before it, so that QEMU logs
	each execution once, as the block at their beginning.
	"""
	out = output(kernel, matrix.places([name])[name].config)
	symbols = SymbolMap((out / "System.map").read_text())
	start = symbols.by_name[START]
	calls = {symbols.by_name[symbols.name(at)]
		 for at in instructions(out / "vmlinux", "syscall")}
	found = []
	for case, item in CASES.items():
		log = f"everyday-{kernel}-{name}-{case}"
		text = f"{item.command}\necho {MARKER}\nwhile :; do {item.command}; done\n"
		machine = kernels.machine(kernel, matrix.places([name])[name], log,
					  "/bin/bash /everyday\n", files=files(text, log),
					  icount=True, smp=1)
		wanted = ",".join(f"{at:#x}+1" for at in sorted({start, *calls}))
		with scratch() as tmp:
			trace = record([*machine.command(), "-dfilter", wanted], tmp, MARKER, start,
				       rounds=2 * item.forks + item.forks - 1,
				       items="exec,nochain,int", single=False)
			rounds = list(entries(Path(trace).read_bytes(), start, calls, item.forks))
		if not rounds:
			raise ToolError(f"no whole round of {case} was recorded", EXIT_GUEST)
		found += [Result(kernel, name, BENCH, case, 1, f"{kind}s_per_round",
				 sum(r[kind] for r in rounds) / len(rounds))
			  for kind in ("hypercall", "trap")]
	return found
