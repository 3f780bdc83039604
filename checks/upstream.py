# SPDX-License-Identifier: GPL-2.0
"""make upstream-tests: upstream's own selftests of KVM, mm, x86 and proc, base against series.

The programs are built statically from the base, and run on both kernels in the
same kind of guest (KVM's in a bare one with SVM, the others in a bare and a Xen PV one),
each with a time limit. The table has the result of each program and, for those
that report in TAP, how many of its tests passed, failed or were skipped. A
difference in any of them, be it for the better, fails the target.

CONFIG= chooses the kernels' config: lean (default), or upstream, which has more of
what the tests ask for. The table is kept in build/upstream/table-<config>.txt.
"""
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from checks.in_guest import begin
from checks.outcomes import Report, compare, outcome, row
from common.apt import unpacked
from common.command import ToolError, build_dir, jobs, main, replaced, run, say
from common.settings import Parser
from common.tally import Tally
from guests.job import guest
from guests.kernel import CONFIG_SETS, KERNELS, build, make_command, output, source
from guests.libraries import LIBRARY_DIR

TAP = re.compile(r"^(ok|not ok) \d+ (?:- )?(.*)$")
# Less memory or fewer rounds than by default, which is for real hardware. What is here more than
# once is run as often.
ARGUMENTS = (
	("demand_paging_test", "-b 32M -v 2"),
	("kvm_page_table_test", "-v 2 -b 64M"),
	("memslot_modification_stress_test", "-v 2 -i 50 -b 16M"),
	("access_tracking_perf_test", "-b 32M -v 2"),
	("dirty_log_perf_test", "-b 32M -v 2 -i 3"),
	("mmu_stress_test", "-m 1 -s 1 -c 2"),
	("ksm_tests", "-M -p 10"),
	("ksm_tests", "-U"),
	("ksm_tests", "-Z -p 10 -z 0"),
	("ksm_tests", "-Z -p 10 -z 1"),
	("ksm_tests", "-N -m 1"),
	("ksm_tests", "-N -m 0"),
	("uffd-stress", "anon 20 4"),
	("uffd-stress", "shmem 20 4"),
	("uffd-stress", "shmem-private 20 4"),
	("transhuge-stress", "-d 5 64"),
	# Under Xen PV, without huge pages, the whole ends by SIGFPE before it comes to these.
	("uffd-unit-tests", ""),
	("uffd-unit-tests", "-f wp"),
)
MM_PROGRAMS = (
	"cow", "droppable", "folio_split_race_test", "guard-regions", "gup_longterm",
	"hugetlb-madvise", "khugepaged", "ksm_functional_tests", "ksm_tests", "madv_populate",
	"map_fixed_noreplace", "map_populate", "mdwe_test", "memfd_secret", "merge", "migration",
	"mkdirty", "mlock2-tests", "mrelease_test", "mremap_dontunmap", "mremap_test",
	"mseal_test", "on-fault-limit", "pagemap_ioctl", "pfnmap", "pkey_sighandler_tests",
	"process_madv", "protection_keys_64", "rmap", "soft-dirty", "split_huge_page_test",
	"thuge-gen", "transhuge-stress", "uffd-stress", "uffd-unit-tests", "uffd-wp-mremap",
)
# Of those in x86/, what Xen PV does in its own way. Not sysret_ss_attrs: its far
# return ends in an oops, for QEMU 7.2 reads the stack with supervisor rights then.
X86_PROGRAMS = (
	"fsgsbase_64", "fsgsbase_restore_64", "ioperm_64", "iopl_64", "ldt_gdt_64",
	"mov_ss_trap_64", "nx_stack_64", "sigaltstack_64", "sigreturn_64", "sigtrap_loop_64",
	"single_step_syscall_64", "syscall_arg_fault_64", "syscall_nt_64", "sysret_rip_64",
	"test_mremap_vdso_64",
)
PROC_PROGRAMS = ("proc-maps-race",)
PROGRAMS = {"mm": MM_PROGRAMS, "x86": X86_PROGRAMS, "proc": PROC_PROGRAMS}
# Debian packages with libraries that the programs of mm ask for.
LIBRARIES = ("libnuma-dev", "libcap-dev")
# By the compiler, because x86's Makefile takes no LDFLAGS, nor does mm's for protection_keys.
STATIC = "CC=gcc -static -s"
# What make is told besides: x86's asks for a compiler of 32-bit programs even for one of 64 bits.
VARIABLES = {
	"x86": ("CAN_BUILD_I386=1", "CAN_BUILD_X86_64=1", "CAN_BUILD_WITH_NOPIE=1"),
}
# A machine that seems to have two nodes, which migration and rmap need; config upstream has NUMA.
APPEND = {"upstream": "numa=fake=2"}
# What differs by chance.
REASONS = {"upstream": {"ksm_tests -U": "fails in 4 of 12 runs on both, with two nodes"}}
# Selftests, guest, seconds per program, and options of the guest.
RUNS: tuple[tuple[str, str, int, dict[str, Any]], ...] = (
	("kvm", "bare", 60, {"svm": True, "accel": "tcg", "smp": 2, "mem": 3072}),
	# migration needs three CPUs.
	("mm", "bare", 400, {"smp": 3, "mem": 2048}),
	("mm", "xen", 400, {"smp": 2, "mem": 3072}),
	("x86", "bare", 60, {"smp": 2, "mem": 1024}),
	("x86", "xen", 60, {"smp": 2, "mem": 1024}),
	("proc", "bare", 120, {"smp": 2, "mem": 1024}),
	("proc", "xen", 120, {"smp": 2, "mem": 1024}),
)


def kvm_programs(tree: Path) -> list[str]:
	"""Return the names of KVM's x86 selftests in @tree."""
	text = (tree / "tools/testing/selftests/kvm/Makefile.kvm").read_text()
	names = re.findall(r"^TEST_GEN_PROGS_(?:COMMON|x86) \+?= ([\w/-]+)$", text, re.M)
	return list(dict.fromkeys(names))


def library_flags() -> tuple[str, str]:
	"""Return the compiler's and the linker's flags for LIBRARIES; "" if they can't be had."""
	try:
		root = unpacked(LIBRARIES, "bookworm")
	except ToolError as error:
		say(f"programs that need {' or '.join(LIBRARIES)} may not build: {error}")
		return "", ""
	return f"-idirafter {root}/usr/include", f"-L{root}/{LIBRARY_DIR.lstrip('/')}"


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
	include, link = library_flags()
	run(["make", "-k", f"-j{jobs()}",
	     "-C", tree / "tools" / "testing" / "selftests" / directory,
	     f"OUTPUT={out}", f"KHDR_INCLUDES=-isystem {objects}/usr/include {include}",
	     STATIC, *VARIABLES.get(directory, (f"LDFLAGS={link}",)),
	     *[out / n for n in names]], log=log, check=False)
	if missing := [n for n in names if not (out / n).is_file()]:
		say(f"not built, see {log}: {' '.join(missing)}")
	return [out / n for n in names if (out / n).is_file()]


def job(programs: Iterable[Path], limit: int) -> str:
	"""Return the script that runs @programs, @limit seconds each, and reports on each."""
	lines = ["mkdir -p /dev/shm /dev/hugepages", "mount -t tmpfs tmpfs /dev/shm",
		 "echo 0 > /proc/sys/kernel/printk_ratelimit", "dmesg -n 1", "export TMPDIR=/tmp",
		 "one() {", '	title=$1; shift; cd /tmp; echo "== begin $title"',
		 f"	busybox timeout -k 5 {limit} \"$@\" > /tmp/out 2>&1",
		 '	echo "== end $title $?"',
		 "	grep -aE '^(ok|not ok) [0-9]' /tmp/out | head -n 2000; echo '== next'",
		 "	rm -f /tmp/out", "}"]
	for program in programs:
		found = [text for name, text in ARGUMENTS if name == program.name] or [""]
		for text in found:
			title = program.name
			if len(found) > 1:
				title = f"{title} {text}".rstrip()
			lines.append(f"one '/bin/{title}' /bin/{program.name} {text}")
	return "\n".join(lines) + "\ntrue\n"


def parse(lines: Iterable[str]) -> dict[str, Report]:
	"""Return {program: its Report} of the console's @lines."""
	results: dict[str, Report] = {}
	name: str | None = None
	for line in lines:
		if match := re.match(r"^== end /bin/(.+) (\d+)$", line):
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


def check_upstream(tally: Tally, config: str, kinds: Collection[str], pattern: str = "") -> str:
	"""Run the programs that match @pattern in the guests @kinds, "kvm bare" and so on.

	Returns the table as text, "" if a kernel did not build.
	"""
	for kernel in KERNELS:
		with tally.step(f"upstream: build: {kernel} kernel, config {config}"):
			build(kernel, config)
	if tally.failed:
		return ""
	wanted: dict[str, Sequence[str]] = {"kvm": kvm_programs(source("base")), **PROGRAMS}
	programs = {directory: build_programs(directory, wanted[directory], config)
		    for directory in dict.fromkeys(kind.split()[0] for kind in kinds)}
	if not any(re.search(pattern, p.name) for found in programs.values() for p in found):
		raise ToolError(f"--tests {pattern}: no program that was built has such a name")
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
						append=APPEND.get(config, ""), **options)
				result = machine.run(name, timeout=7200, may_warn=True)
				found[kernel] = parse(result.lines)
				result.require()
		table += compare(tally, title, found.get("base", {}), found.get("series", {}),
				 REASONS.get(config))
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
