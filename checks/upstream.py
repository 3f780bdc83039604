# SPDX-License-Identifier: GPL-2.0
"""make upstream-tests: upstream's own selftests of KVM and mm, base against series.

The programs are built statically from the base, and run on both kernels in the
same kind of guest (KVM's in a bare one with SVM, mm's in a bare and a Xen PV one),
each with a time limit. The table has the result of each program and, for those
that report in TAP, how many of its tests passed, failed or were skipped. A
difference in any of them, be it for the better, fails the target.

CONFIG= chooses the kernels' config: lean (default), or upstream, which has more of
what the tests ask for. The table is kept in build/upstream/table-<config>.txt.
"""
import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from checks.in_guest import begin
from common.command import build_dir, main, replaced, run, say
from common.settings import Parser
from common.tally import Tally
from guests.job import guest
from guests.kernel import CONFIG_SETS, KERNELS, build, make_command, output, source

TAP = re.compile(r"^(ok|not ok) \d+ (?:- )?(.*)$")
# Less memory or fewer rounds than by default, which is for real hardware.
KVM_ARGUMENTS = (
	("demand_paging_test", "-b 32M -v 2"),
	("kvm_page_table_test", "-v 2 -b 64M"),
	("memslot_modification_stress_test", "-v 2 -i 50 -b 16M"),
	("access_tracking_perf_test", "-b 32M -v 2"),
	("dirty_log_perf_test", "-b 32M -v 2 -i 3"),
	("mmu_stress_test", "-m 1 -s 1 -c 2"),
)
MM_PROGRAMS = (
	"cow", "droppable", "guard-regions", "gup_longterm", "hugetlb-madvise", "khugepaged",
	"ksm_functional_tests", "madv_populate", "map_fixed_noreplace", "map_populate", "mdwe_test",
	"merge", "mkdirty", "mlock2-tests", "mrelease_test", "mremap_dontunmap", "mremap_test",
	"mseal_test", "on-fault-limit", "pagemap_ioctl", "pfnmap", "process_madv",
	"protection_keys_64", "soft-dirty", "split_huge_page_test", "thuge-gen",
	"uffd-unit-tests", "uffd-wp-mremap",
)
# Selftests, guest, seconds per program, and options of the guest.
RUNS: tuple[tuple[str, str, int, dict[str, Any]], ...] = (
	("kvm", "bare", 60, {"svm": True, "accel": "tcg", "smp": 2, "mem": 3072}),
	("mm", "bare", 400, {"smp": 2, "mem": 2048}),
	("mm", "xen", 400, {"smp": 2, "mem": 3072}),
)
WORDS = {"0": "pass", "4": "skip", "124": "timeout", "137": "timeout", "143": "timeout"}
# Of a program: its outcome, how many of its TAP tests had each, and the names of those that failed.
Report = tuple[str, Counter[str], list[str]]


def kvm_programs(tree: Path) -> list[str]:
	"""Return the names of KVM's x86 selftests in @tree."""
	text = (tree / "tools/testing/selftests/kvm/Makefile.kvm").read_text()
	names = re.findall(r"^TEST_GEN_PROGS_(?:COMMON|x86) \+?= ([\w/-]+)$", text, re.M)
	return list(dict.fromkeys(names))


def build_programs(directory: str, names: Sequence[str], config: str) -> list[Path]:
	"""Build the base's selftests @names of @directory statically; return their paths.

	One that does not build is left out, with a message: what it needs may be
	missing on this machine.
	"""
	tree, objects = source("base"), output("base", config)
	out = build_dir() / "upstream" / directory
	log = build_dir() / "log" / f"upstream-{directory}.log"
	out.mkdir(parents=True, exist_ok=True)
	log.unlink(missing_ok=True)
	run([*make_command(tree, objects), "headers"], log=log)
	run(["make", "-k", f"-j{os.cpu_count()}",
	     "-C", tree / "tools" / "testing" / "selftests" / directory,
	     f"OUTPUT={out}", f"KHDR_INCLUDES=-isystem {objects}/usr/include",
	     "LDFLAGS=-static -s", "CC=gcc", *[out / n for n in names]], log=log, check=False)
	if missing := [n for n in names if not (out / n).is_file()]:
		say(f"not built, see {log}: {' '.join(missing)}")
	return [out / n for n in names if (out / n).is_file()]


def job(programs: Iterable[Path], limit: int) -> str:
	"""Return the script that runs @programs, @limit seconds each, and reports on each."""
	lines = ["mkdir -p /dev/shm /dev/hugepages", "mount -t tmpfs tmpfs /dev/shm",
		 "echo 0 > /proc/sys/kernel/printk_ratelimit", "dmesg -n 1", "export TMPDIR=/tmp",
		 "one() {", '	cd /tmp; echo "== begin $1"',
		 f"	busybox timeout -k 5 {limit} \"$@\" > /tmp/out 2>&1",
		 '	echo "== end $1 $?"',
		 "	grep -aE '^(ok|not ok) [0-9]' /tmp/out | head -n 2000; echo '== next'",
		 "	rm -f /tmp/out", "}"]
	arguments = dict(KVM_ARGUMENTS)
	for program in programs:
		lines.append(f"one /bin/{program.name} {arguments.get(program.name, '')}")
	return "\n".join(lines) + "\ntrue\n"


def outcome(status: str) -> str:
	"""Return what an exit status means, as a word."""
	return WORDS.get(status, "fail")


def parse(lines: Iterable[str]) -> dict[str, Report]:
	"""Return {program: its Report} of the console's @lines."""
	results: dict[str, Report] = {}
	name: str | None = None
	for line in lines:
		if match := re.match(r"^== end /bin/(\S+) (\d+)$", line):
			name = match[1]
			results[name] = (outcome(match[2]), Counter(), [])
			if results[name][0] == "timeout":
				name = None		# how far it got is chance
		elif line == "== next":
			name = None
		elif name and (match := TAP.match(line)):
			word = "pass" if match[1] == "ok" else "fail"
			word = "skip" if "# SKIP" in line else word
			results[name][1][word] += 1
			if word == "fail":
				results[name][2].append(match[2])
	return results


def cell(result: Report | None) -> str:
	"""Return one cell of the table."""
	if not result:
		return "no result"
	word, counts, _ = result
	return f"{word} {counts['pass']}/{counts['fail']}/{counts['skip']}" if counts else word


def compare(tally: Tally, title: str, base: dict[str, Report],
	    series: dict[str, Report]) -> list[str]:
	"""Count each program as one result and return the table's lines."""
	lines = []
	for name in base | series:
		old, new = base.get(name), series.get(name)
		same = old is not None and old == new
		note = "" if same else f"base {cell(old)}, series {cell(new)}"
		if old and new and old[2] != new[2]:
			note += f"; only base: {sorted(set(old[2]) - set(new[2]))[:5]}, " \
				f"only series: {sorted(set(new[2]) - set(old[2]))[:5]}"
		tally.result(f"{title} {name}: same on base and series ({cell(new)})", same, note)
		lines.append(row(title, name, cell(old), cell(new), "" if same else "DIFFERS"))
	return lines


def row(title: str, name: str, base: str, series: str, remark: str = "") -> str:
	"""Return one row of the table."""
	return f"{title:<10}{name:<40}{base:<22}{series:<22}{remark}".rstrip()


def check_upstream(tally: Tally, config: str, kinds: Collection[str], pattern: str = "") -> str:
	"""Run the programs that match @pattern in the guests @kinds, "kvm bare" and so on.

	Returns the table as text, "" if a kernel did not build.
	"""
	for kernel in KERNELS:
		with tally.step(f"upstream: build: {kernel} kernel, config {config}"):
			build(kernel, config)
	if tally.failed:
		return ""
	programs = {"kvm": build_programs("kvm", kvm_programs(source("base")), config),
		    "mm": build_programs("mm", MM_PROGRAMS, config)}
	table = [row("guest", "program", "base", "series"), ""]
	for directory, kind, limit, options in RUNS:
		title = f"{directory} {kind}"
		found: dict[str, dict[str, Report]] = {}
		if title not in kinds:
			continue
		for kernel in KERNELS:
			name = f"upstream-{directory}-{kind}-{kernel}-{config}"
			chosen = [p for p in programs[directory] if re.search(pattern, p.name)]
			with tally.step(f"upstream: {title} guest, {kernel}: complete run"):
				machine = guest(kind, kernel, name, job(chosen, limit),
						config=config, programs=chosen, build_it=False,
						**options)
				result = machine.run(name, timeout=7200, may_warn=True)
				found[kernel] = parse(result.lines)
				result.require()
		table += compare(tally, title, found.get("base", {}), found.get("series", {}))
	return "\n".join(table) + "\n"


def _main() -> int:
	kinds = [f"{directory} {kind}" for directory, kind, *_ in RUNS]
	parser = Parser(__doc__)
	parser.setting("CONFIG", "lean", CONFIG_SETS)
	parser.add_argument("--only", choices=kinds, action="append", help="default all")
	parser.add_argument("--tests", default="", metavar="REGEXP",
			    help="programs with such names; default all")
	args = parser.settled()
	tally = begin()
	table = check_upstream(tally, args.config, args.only or kinds, args.tests)
	if table:
		out = build_dir() / "upstream" / f"table-{args.config}.txt"
		with replaced(out) as tmp:
			tmp.write_text(table)
		print(f"{out}", file=sys.stderr)
	return tally.close()


if __name__ == "__main__":
	main(_main)
