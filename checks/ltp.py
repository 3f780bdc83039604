# SPDX-License-Identifier: GPL-2.0
"""LTP's tests of memory and of KVM's SVM, from a tree of the Linux Test Project.

The tree is configured by whoever has it, once; what is missing of the tests is built here.
Of LTP's own lists (runtest/) those lines are run whose program is in one of DIRECTORIES.
"""
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from checks.outcomes import WARNED, Report
from common.command import (EXIT_BUILD, EXIT_USAGE, ToolError, build_dir, jobs, replaced, run,
			    say)
from guests.initramfs import FilePair
from guests.job import guest
from guests.kernel import output
from guests.libraries import needed
from guests.qemu import Guest

LISTS = ("mm", "kvm", "syscalls")
SYSCALLS = (
	"brk", "clone", "clone3", "cma", "execve", "fork", "madvise", "mbind", "memfd_create",
	"migrate_pages", "mincore", "mlock", "mlock2", "mlockall", "mmap", "move_pages", "mprotect",
	"mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkeys", "process_madvise",
	"remap_file_pages", "sbrk", "userfaultfd", "vfork", "vmsplice",
)
DIRECTORIES = ("mem", "kvm", *(f"syscalls/{name}" for name in SYSCALLS))
REMEDY = "make autotools && ./configure LDFLAGS=-static"
# A configured tree has this.
CONFIGURED = "include/mk/config.mk"
# Less than by default, which is for minutes on real hardware; what a list makes by the shell.
ARGUMENTS = {
	"mmap10_1": "-i 10",
	"mmapstress07": "/tmp/ltp/example",
	"fork06": "-n 200",
	"mtest01": "-p20",
	"mtest01w": "-p20 -w",
	"mmap21_01": "-m 100",
}
# Seconds for one test.
LIMIT = 60
SLOW = "it does not end within a minute under TCG"
# Not run, and why.
LEFT_OUT = {
	"kvm_vmx01": "QEMU emulates SVM alone",
	"kvm_vmx02": "QEMU emulates SVM alone",
	**dict.fromkeys(("fork13", "kallsyms", "ksm01", "ksm01_1", "max_map_count",
			 "min_free_kbytes", "mmapstress09", "mmapstress10", "oom01", "oom02",
			 "oom03", "oom04", "oom05", "thp01"), SLOW),
}
WORDS = {"TPASS": "pass", "TFAIL": "fail", "TBROK": "fail", "TCONF": "skip"}
SKIPPED = 32	# an exit status
KILLED = "TBROK: Test killed! (timeout?)"	# how LTP reports that its own limit ended a test
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n"
GROUP = "root:x:0:\nusers:x:100:\nnogroup:x:65534:\n"
Options = dict[str, Any]


def check_tree(tree: Path) -> None:
	"""Raise ToolError unless @tree is one of LTP, and configured."""
	for name in ("include/tst_test.h", *(f"runtest/{name}" for name in LISTS)):
		if not (tree / name).is_file():
			raise ToolError(f"LTP={tree} is not a tree of the Linux Test Project: "
					f"it has no {name}", EXIT_USAGE)
	if not (tree / CONFIGURED).is_file():
		raise ToolError(f"LTP={tree} is not configured: run '{REMEDY}' there", EXIT_USAGE)


def listed(tree: Path) -> dict[str, list[str]]:
	"""Return {test: the words of its command} of LISTS, less LEFT_OUT."""
	found = {}
	for name in LISTS:
		for line in (tree / "runtest" / name).read_text().splitlines():
			words = line.partition("#")[0].split(maxsplit=1)
			if len(words) < 2 or words[0] in LEFT_OUT:
				continue
			tag, command = words
			program = tag if "=" in command else command.split()[0]
			rest = ARGUMENTS.get(tag) or command.partition(program)[2]
			found[tag] = [program, *rest.split()]
	return found


def executables(tree: Path) -> dict[str, Path]:
	"""Return {name: path} of what was built in DIRECTORIES of @tree."""
	found = {}
	for directory in DIRECTORIES:
		for path in sorted((tree / "testcases" / "kernel" / directory).rglob("*")):
			if path.is_file() and os.access(path, os.X_OK):
				with path.open("rb") as f:
					if f.read(4) == b"\x7fELF":
						found[path.name] = path
	return found


def build_tests(tree: Path) -> dict[str, Path]:
	"""Build the tests of @tree; return {name: path} of the programs.

	One that can't be built is left out, as LTP does it where a header is missing. Raises
	ToolError if there is none, or if they are not static.
	"""
	check_tree(tree)
	log = build_dir() / "log" / "ltp.log"
	log.unlink(missing_ok=True)
	for directory in ("lib", *(f"testcases/kernel/{name}" for name in DIRECTORIES)):
		if (tree / directory / "Makefile").is_file():
			run(["make", "-k", f"-j{jobs()}", "-C", tree / directory],
			    log=log, check=False)
	found = executables(tree)
	if not found:
		raise ToolError(f"LTP={tree}: no test was built: see {log}", EXIT_BUILD)
	name, path = next(iter(found.items()))
	if needed(path):
		raise ToolError(f"LTP={tree}: {name} is not static: run 'make distclean && "
				f"{REMEDY}' there", EXIT_BUILD)
	return found


def stripped(programs: dict[str, Path]) -> list[FilePair]:
	"""Return (guest path, host path) of @programs without their symbols, below build/."""
	out = build_dir() / "ltp"
	pairs: list[FilePair] = []
	for name, path in programs.items():
		target = out / name
		if not target.is_file() or target.stat().st_mtime < path.stat().st_mtime:
			with replaced(target) as tmp:
				run(["strip", "-o", tmp, path])
		pairs.append((f"/ltp/{name}", target))
	return pairs


def job(tests: dict[str, list[str]], limit: int) -> str:
	"""Return the script that runs @tests, @limit seconds each, and reports on each."""
	lines = ["export PATH=/ltp:$PATH TMPDIR=/tmp LTP_COLORIZE_OUTPUT=n KCONFIG_PATH=/config",
		 "export LTP_TIMEOUT_MUL=4 LTP_RUNTIME_MUL=0.2 LTPROOT=/ltp",
		 "mkdir -p /dev/shm /dev/pts; mount -t tmpfs tmpfs /dev/shm; chmod 1777 /tmp",
		 "dmesg -n 1", "one() {", '	tag=$1; shift; rm -rf /tmp/*; mkdir /tmp/ltp',
		 '	cd /ltp; echo "== begin $tag"',
		 f'	busybox timeout -k 5 {limit} "$@" > /run/out 2>&1',
		 '	echo "== end $tag $?"',
		 f"	grep -aoE '([a-z0-9_]+\\.c:[0-9]+: )?({'|'.join(WORDS)})[ :].*' /run/out |"
		 " head -n 3000 | cut -c 1-150; echo '== next'",
		 "	rm -f /run/out", "}"]
	lines += [f"one {tag} {shlex.join(words)}" for tag, words in tests.items()]
	lines += ["echo '== begin kernel-warnings'", f"{WARNED} | head -n 20",
		  f"! {WARNED} > /dev/null", 'echo "== end kernel-warnings $?"']
	return "\n".join(lines) + "\ntrue\n"


def outcome(status: int) -> str:
	"""Return what the exit status of a test of LTP means, as a word."""
	if status in (124, 137, 143):
		return "timeout"
	return {0: "pass", SKIPPED: "skip"}.get(status, "fail")


def parse(lines: Iterable[str]) -> dict[str, Report]:
	"""Return {test: its Report} of the console's @lines; a failure's name is where it is."""
	results: dict[str, Report] = {}
	name: str | None = None
	for line in lines:
		if match := re.match(r"^== end (\S+) (\d+)$", line):
			word = outcome(int(match[2]))
			results[match[1]] = (word, Counter(), [])
			# How far it got until then is chance.
			name = None if word == "timeout" else match[1]
		elif line == "== next":
			name = None
		elif name and KILLED in line:
			results[name], name = ("timeout", Counter(), []), None
		elif name and (match := re.match(r"^(?:(\S+\.c:\d+): )?(T[A-Z]+)[ :]", line)):
			word = WORDS.get(match[2], "")
			results[name][1][word] += bool(word)
			place = match[1] or name
			if word == "fail" and place not in results[name][2]:
				results[name][2].append(place)
	return results


def machine(programs: dict[str, Path], kind: str, kernel: str, config: str, limit: int,
	    pattern: str = "", tree: Path = Path()) -> Guest:
	"""Return the Guest of @kind that runs the tests of @tree that match @pattern on @kernel."""
	tests = {tag: words for tag, words in listed(tree).items()
		 if words[0] in programs and re.search(pattern, tag)
		 and (kind == "bare" or not tag.startswith("kvm_"))}
	if not tests:
		raise ToolError(f"--tests {pattern}: LTP has no such test here", EXIT_USAGE)
	say(f"LTP: {len(tests)} tests")
	etc = build_dir() / "ltp-etc"
	for name, text in (("passwd", PASSWD), ("group", GROUP)):
		with replaced(etc / name) as tmp:
			tmp.write_text(text)
	files = [*stripped(programs), ("/config", output(kernel, config) / ".config"),
		 ("/etc/passwd", etc / "passwd"), ("/etc/group", etc / "group")]
	options: Options = {"smp": 2, "mem": 2048}
	if kind == "bare":
		options.update(svm=True, accel="tcg")
	return guest(kind, kernel, f"ltp-{kind}-{kernel}-{config}", job(tests, limit),
		     config=config, files=files, build_it=False, **options)
