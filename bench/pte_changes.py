# SPDX-License-Identifier: GPL-2.0
"""make pte-changes: how each place in mm/ changes entries of page tables under Xen PV.

A place is a function that calls one of the kernel's helpers that change ptes. A program
(guests/programs/pte_changes.c) has the kernel come by most of them, in dom0, while QEMU
logs what is executed. What Xen does then, and for which place, is counted, on base and
series. Writes build/bench/pte-changes.txt. A place that the table below does not have is
an error: that is how a new one is noticed.
"""
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import kernels, matrix
from bench.insn_profile import TRACE, USER_HI, XEN_HI, XEN_LO, SymbolMap, record, scratch
from bench.steps import Steps
from bench.table import keep
from common.command import EXIT_GUEST, ROOT, StrPath, ToolError, build_dir, main
from common.settings import Parser
from guests.initramfs import compile_static
from guests.kernel import KERNELS, build, source
from guests.xen import symbols as xen_symbols

PROGRAMS = ROOT / "guests" / "programs"
PROGRAM = PROGRAMS / "pte_changes.c"
CASES_OF = (PROGRAMS / "pte_changes_memory.c", PROGRAMS / "pte_changes_tracking.c")	# in order
HEADERS = (PROGRAMS / "pte_changes.h", PROGRAMS / "sysfs.h")
PLACE = matrix.Place("xen", "upstream", "Xen PV dom0, with swap and more")
MARKER = "PTE-CHANGES-START"
START = "__x64_sys_getpriority"		# what the program calls first
MARK = "__x64_sys_personality"		# and before and after each case
# A zone from which what is pinned for long has to be migrated; swap, and a memory cgroup. Of
# the addresses that Linux divides, dom0 has memory at the lower five eighths.
APPEND = "movablecore=1G"
JOB = f"""mkswap /dev/ram0 > /dev/null || exit 1
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
echo +memory > /sys/fs/cgroup/cgroup.subtree_control || exit 1
pte_changes /dev/ram0
echo {MARKER}
while pte_changes /dev/ram0; do :; done
"""
TIMEOUT = 1800
CASE = re.compile(r"# case (\S+) (?:entries=(\d+)|skipped: (.*?))\s*$", re.M)

# What Xen executes for each pte that it changes, by a hypercall and by a trap. A request to
# change a page table that is not pinned only has the call. So has one to change a larger entry,
# which is told by what takes hold of a page table.
BY_HYPERCALL, BY_TRAP = re.compile(r"\bmod_l1_entry\b"), re.compile(r"\bptwr_emulated_update\b")
CALL, LARGER = re.compile(r"\bdo_mmu_update$"), re.compile(r"\bget_page_and_type_from_mfn\b")

# With more requests than this for each hypercall, there is a queue.
QUEUED = 1.5

# Helpers of the kernel that change ptes; for huge pages there are others.
HELPER = re.compile(
	r"\b(set_ptes?(?:_at)?(?:_notify)?|ptep_get_and_clear(?:_full)?"
	r"|(?:get_and_)?clear_full_ptes|(?:get_and_)?clear_ptes|clear_flush_pte"
	r"|wrprotect_ptes|ptep_set_wrprotect|ptep_set_access_flags"
	r"|ptep_clear(?:_flush)?(?:_young)?(?:_notify)?|(?:test_and_)?clear_(?:flush_)?young_ptes"
	r"(?:_notify)?|ptep_test_and_clear_young(?:_notify)?|ptep_modify_prot_commit"
	r"|modify_prot_(?:commit|change)_ptes|clear_young_dirty_ptes|pte_clear"
	r"|clear_nonpresent_ptes)\(")
SOURCES = ("mm/*.c", "mm/damon/*.c", "fs/proc/task_mmu.c", "kernel/events/uprobes.c")
# These define helpers, test them, or are for huge pages, for 32 bits, or for boot.
NOT_SOURCES = ("pgtable-generic.c", "debug_vm_pgtable.c", "hugetlb.c", "hugetlb_vmemmap.c",
	       "highmem.c", "sparse-vmemmap.c")
FUNCTION = re.compile(r"^(?:[a-zA-Z_][\w \t*]*[ \t*])?(\w+)\(", re.M)


@dataclass(frozen=True)
class Case:
	"""A case of the program: what is @done to the entries, and the @places that change them.

	A slash is between functions that do so in the place of each other, or together.
	"""
	done: str
	places: tuple[str, ...]


CASES = {
	"first-touch": Case("anonymous memory, first write", ("map_anon_folio_pte_nopf",)),
	"zero-page": Case("anonymous memory, first read", ("do_anonymous_page",)),
	"fault-around": Case("a mapped file is read", ("set_pte_range",)),
	"shared-write": Case("a shared file is written to", ("set_pte_range",)),
	"cow": Case("copy-on-write, shared with a child", ("wp_page_copy",)),
	"cow-file": Case("copy-on-write of a file's page", ("wp_page_copy",)),
	"write-again": Case("write after the child has gone", ("wp_page_reuse",)),
	"fork": Case("fork(), anonymous memory", ("__copy_present_ptes",)),
	"fork-swapped": Case("fork(), swapped memory", ("copy_nonpresent_pte",)),
	"fork-pinned": Case("fork(), pinned memory", ("copy_present_page",)),
	"munmap": Case("munmap(), anonymous memory", ("zap_present_folio_ptes",)),
	"munmap-file": Case("munmap(), file, dirty", ("zap_present_folio_ptes",)),
	"munmap-file-clean": Case("munmap(), file, only read", ("zap_present_folio_ptes",)),
	"munmap-swapped": Case("munmap(), swapped memory", ("zap_nonpresent_ptes",)),
	"dontneed": Case("MADV_DONTNEED", ("zap_present_folio_ptes",)),
	"exit": Case("exit of a process", ("zap_present_folio_ptes",)),
	"mprotect": Case("mprotect()", ("prot_commit_flush_ptes/change_pte_run",)),
	"mremap": Case("mremap()", ("move_ptes",)),
	"mremap-swapped": Case("mremap(), swapped memory", ("move_ptes",)),
	"madv-free": Case("MADV_FREE", ("madvise_free_pte_range",)),
	"madv-free-swapped": Case("MADV_FREE, swapped memory", ("madvise_free_pte_range",)),
	"madv-cold": Case("MADV_COLD", ("madvise_cold_or_pageout_pte_range",)),
	"guard-install": Case("MADV_GUARD_INSTALL", ("walk_pte_range_inner",)),
	"guard-remove": Case("MADV_GUARD_REMOVE", ("guard_remove_pte_entry",)),
	"swap-out": Case("MADV_PAGEOUT", ("try_to_unmap_one",)),
	"swap-in": Case("a swapped page is read", ("do_swap_page",)),
	"swapoff": Case("swapoff", ("unuse_pte",)),
	"reclaim": Case("reclaim, without generations",
			("folio_referenced_one", "try_to_unmap_one")),
	"age-generations": Case("ageing of generations", ("walk_pte_range",)),
	"page-idle": Case("page_idle's bitmap is written", ("page_idle_clear_pte_refs_one",)),
	"clear-referenced": Case("1 is written to clear_refs", ("clear_refs_pte_range",)),
	"clear-soft-dirty": Case("4 is written to clear_refs",
				 ("clear_soft_dirty/clear_refs_pte_range",)),
	"write-back": Case("msync() of a device's pages", ("page_vma_mkclean_one",)),
	"uffd-wp": Case("UFFDIO_WRITEPROTECT", ("prot_commit_flush_ptes/change_pte_run",)),
	"uffd-wp-none": Case("UFFDIO_WRITEPROTECT, nothing mapped", ("change_pte_range",)),
	"uffd-unwp-none": Case("UFFDIO_WRITEPROTECT, to undo that", ("change_softleaf_pte",)),
	"uffd-wp-swapped": Case("UFFDIO_WRITEPROTECT, swapped memory", ("change_softleaf_pte",)),
	"uffd-wp-written": Case("write to what is so protected, WP_ASYNC",
				("do_wp_page", "wp_page_reuse")),
	"uffd-wp-zap": Case("MADV_DONTNEED of a file that is so protected",
			    ("zap_present_folio_ptes/cond_install_uffd_wp_ptes",)),
	"pagemap-scan": Case("PAGEMAP_SCAN that protects", ("make_uffd_wp_pte",)),
	"uffd-copy": Case("UFFDIO_COPY", ("mfill_atomic_install_pte",)),
	"uffd-zero": Case("UFFDIO_ZEROPAGE", ("mfill_atomic_pte_zeropage",)),
	"uffd-poison": Case("UFFDIO_POISON", ("mfill_atomic_pte_poison",)),
	"uffd-move": Case("UFFDIO_MOVE", ("move_present_ptes",)),
	"uffd-move-swapped": Case("UFFDIO_MOVE, swapped memory", ("move_swap_pte",)),
	"uffd-move-zero": Case("UFFDIO_MOVE, zero pages", ("move_zeropage_pte",)),
	"ksm-merge": Case("KSM merges two pages", ("write_protect_page", "replace_page")),
	"ksm-unmerge": Case("KSM unmerges", ("wp_page_copy",)),
	"migrate": Case("migration", ("try_to_migrate_one", "remove_migration_pte")),
	"map-ring": Case("mmap() of a ring of io_uring's", ("insert_page_into_pte_locked",)),
	"kernel-stacks": Case("vmalloc() of kernel stacks", ("vmap_pages_pte_range",)),
	"uprobe": Case("a uprobe is enabled", ("__uprobe_write",)),
}

HUGE = "a Xen PV guest has no huge pages"
HMM = "memory of a device: it needs a driver that has some"
NUMA = "a Xen PV guest has no NUMA nodes"
DRM = "only graphics drivers call it"
NOT_MEASURED = {
	"follow_pfn_pte": "FOLL_TOUCH of a driver's mapping",
	"insert_pfn": "memory of a driver that a fault maps",
	"lru_gen_look_around": "reclaim that meets a page which ageing has left out",
	"__split_huge_pmd_locked": HUGE, "__split_huge_zero_page_pmd": HUGE,
	"__collapse_huge_page_copy_succeeded": HUGE, "try_collapse_pte_mapped_thp": HUGE,
	"try_to_map_unused_to_zeropage": HUGE,
	"clean_record_pte": DRM, "wp_pte": DRM, "vmap_pfn_apply": DRM,
	"damon_ptep_mkold": "DAMON is not built",
	"__wp_page_copy_user": "only where hardware does not set Accessed",
	"handle_pte_fault": "a race of two CPUs: the entry is right already",
	"zap_present_ptes": "a mapping without struct pages, of a driver",
	"do_uffd_rwp": "userfaultfd's mode RWP",
	"numa_rebuild_single_mapping": NUMA,
	"pte_marker_clear": "a fault on a marker that its userfaultfd has left behind",
	"remap_pte_range": "memory of a driver",
	"restore_exclusive_pte": HMM, "make_device_exclusive": HMM,
	"migrate_vma_collect_pmd": HMM, "migrate_vma_insert_page": HMM,
	"ttu_anon_swapbacked_folio": "a page that gets no swap slot",
	"vmap_pte_range": "ioremap(), at boot",
	"vunmap_pte_range": "vfree(), later and in batches",
}


@dataclass
class Place:
	"""A function @name in @file that changes ptes by @helpers; @symbols has its code."""
	name: str
	file: str
	helpers: set[str] = field(default_factory=set)
	symbols: set[str] = field(default_factory=set)


Functions = dict[str, str]	# {name: its text}


def functions(text: str) -> Functions:
	"""Return the functions in a C source @text of the kernel's style."""
	found: Functions = {}
	# A definition begins in the first column, and ends with a brace there.
	for match in FUNCTION.finditer(text):
		end = text.find("\n}", match.start())
		head = text[match.start():text.find("{", match.start())]
		if end > 0 and ";" not in head and "\n#" not in head:
			found.setdefault(match[1], text[match.end():end])
	return {name: re.sub(r"/\*.*?\*/", "", body, flags=re.S) for name, body in found.items()}


def code_of(name: str, known: Functions, symbols: set[str]) -> set[str]:
	"""Return those of @symbols that have the code of the function @name of a file.

	That are those of the functions that call it, of the @known ones in the file, if it has
	none of its own.
	"""
	done: set[str] = set()
	todo, found = [name], set()
	while todo:
		one = todo.pop()
		if one in done:
			continue
		done.add(one)
		if one in symbols:
			found.add(one)
		else:
			todo += [f for f, body in known.items() if re.search(rf"\b{one}\(", body)]
	return found


def places(tree: Path, symbols: Iterable[str]) -> dict[str, Place]:
	"""Return {name: Place} of those in the kernel source @tree; @symbols are of its kernel."""
	names = {symbol.split(".")[0] for symbol in symbols}
	found: dict[str, Place] = {}
	for path in sorted(p for pattern in SOURCES for p in tree.glob(pattern)
			   if p.name not in NOT_SOURCES):
		known = functions(path.read_text())
		for name, body in known.items():
			helpers = {match[1] for match in HELPER.finditer(body)}
			if helpers and not HELPER.fullmatch(f"{name}("):
				found[name] = Place(name, str(path.relative_to(tree)), helpers,
						    code_of(name, known, names))
	return found


@dataclass
class Counts:
	"""What the code of a place did: @runs of it, and what Xen did for it."""
	runs: int = 0
	hypercalls: int = 0	# that changed entries
	requests: int = 0	# in those
	traps: int = 0

	@property
	def changes(self) -> int:
		"""Return how many entries Xen changed."""
		return self.requests + self.traps

	def __add__(self, other: "Counts") -> "Counts":
		return Counts(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))

	def text(self, entries: int) -> str:
		"""Return this for each of @entries."""
		calls = f"{self.hypercalls / entries:.2f}"
		if self.requests >= QUEUED * self.hypercalls:
			call = f"queued {self.requests / entries:.2f} in {calls}"
		else:
			call = f"hypercall {calls}"
		per = (f"trap {self.traps / entries:.2f}", self.traps), (call, self.hypercalls)
		return " + ".join(text for text, n in per if n / entries >= 0.005) or "direct"


@dataclass
class Watch:
	"""The addresses that matter in a trace: @start and @mark, Xen's changes, places' code."""
	start: int
	mark: int
	by_hypercall: set[int]
	by_trap: set[int]
	call: set[int]
	larger: set[int]
	symbols: SymbolMap
	wanted: set[str]
	known: dict[int, str | None] = field(default_factory=dict)

	@classmethod
	def of(cls, symbols: SymbolMap, wanted: set[str]) -> "Watch":
		"""Return what has to be watched of a kernel and a hypervisor with @symbols."""
		def of_xen(pattern: re.Pattern[str]) -> set[int]:
			return {a for name, a in symbols.by_name.items()
				if XEN_LO <= a < XEN_HI and pattern.search(name)}

		found = cls(symbols.by_name.get(START, 0), symbols.by_name.get(MARK, 0),
			    of_xen(BY_HYPERCALL), of_xen(BY_TRAP), of_xen(CALL), of_xen(LARGER),
			    symbols, wanted)
		if not (found.by_hypercall and found.by_trap and found.call and found.larger):
			raise ToolError("the hypervisor's symbols lack what changes entries: "
					"use one that Debian has a package of")
		if missing := [name for name in (START, MARK) if name not in symbols.by_name]:
			raise ToolError(f"the kernel has no {missing[0]}")
		return found

	def code(self, address: int) -> str | None:
		"""Return the symbol of a place that @address belongs to, or None."""
		if address not in self.known:
			name = self.symbols.name(address).split(".")[0]
			self.known[address] = name if name in self.wanted else None
		return self.known[address]


Section = dict[str, Counts]	# what was counted between two marks, by symbol


def sections(blocks: Iterable[list[int]], watch: Watch) -> Iterator[Section]:
	"""Yield what was counted after each mark, in a trace that comes in @blocks of addresses.

	Only after the first start. What Xen does counts for the code of a place that was
	executed last.
	"""
	current: Section | None = None
	code, inside, started = "", False, False
	changed = trapped = called = larger = 0
	for address in (a for block in blocks for a in block):
		if XEN_LO <= address < XEN_HI:
			inside = True
			changed += address in watch.by_hypercall
			trapped += address in watch.by_trap
			called += address in watch.call
			larger += address in watch.larger
			continue
		if inside:
			if not changed and not larger:
				changed = called
			if current is not None and (changed or trapped):
				counts = current.setdefault(code, Counts())
				counts.traps += trapped
				counts.hypercalls += changed > 0
				counts.requests += changed
			inside, changed, trapped, called, larger = False, 0, 0, 0, 0
		started = started or address == watch.start
		if address == watch.mark and started:
			if current is not None:
				yield current
			current, code = {}, ""
		elif address >= USER_HI and (name := watch.code(address)):
			code = name
			if current is not None:
				current.setdefault(name, Counts()).runs += 1


def blocks_of(log: StrPath) -> Iterator[list[int]]:
	"""Yield the addresses executed in a log of QEMU's, in parts."""
	with open(log, "rb") as f:
		while lines := f.readlines(1 << 24):
			yield [int(a, 16) for a in TRACE.findall(b"".join(lines))]


@dataclass
class Found:
	"""What a case did on a kernel: @entries, by the program, and what each place's code did."""
	entries: int
	counts: dict[str, Counts]
	skipped: str = ""


def cases_of(names: list[str], console: str, counted: list[Section]) -> dict[str, Found]:
	"""Return {case: Found} of the cases @names of a run of the program.

	Every other section that was @counted is a case: the program prepares the next one in
	between. @console has what it said in several runs; the last counts.
	"""
	if len(counted) < 2 * len(names) - 1:
		raise ToolError(f"{len(names)} cases, but {len(counted)} sections were recorded",
				EXIT_GUEST)
	said = {name: (int(entries or 0), why) for name, entries, why in CASE.findall(console)}
	return {name: Found(said[name][0], section, said[name][1])
		for name, section in zip(names, counted[::2]) if name in said}


def program() -> Path:
	"""Return the static program pte_changes."""
	return compile_static(PROGRAM, "pte_changes", *map(str, CASES_OF),
			      headers=(*CASES_OF, *HEADERS))


def case_names() -> list[str]:
	"""Return the names of the program's cases, in the order in which they run."""
	return [name for source_file in CASES_OF
		for name in re.findall(r'^\t\{ "(\S+)", \w+ \},$', source_file.read_text(), re.M)]


@dataclass
class Measured:
	"""A kernel's @places, and what each case @found."""
	places: dict[str, Place]
	found: dict[str, Found]


def measure(kernel: str) -> Measured:
	"""Run the program on @kernel in dom0 and return what it has Measured."""
	out = build(kernel, PLACE.config)
	symbols = SymbolMap((out / "System.map").read_text(), xen_symbols())
	of_kernel = [name for name, at in symbols.by_name.items() if not XEN_LO <= at < XEN_HI]
	found = places(source(kernel), of_kernel)
	watch = Watch.of(symbols, {s for place in found.values() for s in place.symbols})
	log = f"pte-changes-{kernel}"
	machine = kernels.machine(kernel, PLACE, log, JOB, [program()], icount=True, smp=1,
				  append=APPEND)
	with scratch() as tmp:
		try:
			trace = record(machine.command(), tmp, MARKER, watch.start, TIMEOUT, 1,
				       single=False)
		finally:
			console = (Path(tmp) / "console").read_text(errors="replace")
			(build_dir() / "log" / f"{log}.log").write_text(console)
		counted = list(sections(blocks_of(trace), watch))
	return Measured(found, cases_of(case_names(), console, counted))


def cell(one: Measured, case: str, names: list[str]) -> str:
	"""Return what @case did at the places @names on the kernel of @one; "" if it has none."""
	symbols = {s for name in names if name in one.places for s in one.places[name].symbols}
	if not symbols:
		return ""
	found = one.found.get(case)
	if not found or found.skipped:
		return f"not measured: {found.skipped if found else 'the case is missing'}"
	counts = sum((found.counts[s] for s in symbols if s in found.counts), Counts())
	if not counts.runs:
		return "not measured: it did not come by"
	entries = found.entries or counts.changes
	return counts.text(entries) if entries else "direct"


def check_complete(all_places: Iterable[str]) -> None:
	"""Raise ToolError unless the tables have just @all_places."""
	known = {name for case in CASES.values() for place in case.places
		 for name in place.split("/")} | set(NOT_MEASURED)
	if missing := sorted(set(all_places) - known):
		raise ToolError(f"{' '.join(missing)}: no case of CASES comes by, and NOT_MEASURED "
				f"does not say why: complete {Path(__file__).name}")
	if gone := sorted(known - set(all_places)):
		raise ToolError(f"{' '.join(gone)}: not in the kernel any more: take it out of "
				f"{Path(__file__).name}")


HEAD = """# make pte-changes
#
# Each function of the kernel that changes ptes of a process or of vmalloc(), and what that
# is under Xen PV (dom0, one CPU, {pages} entries unless it is one page of something):
#
#   direct           a store, or nothing: Xen is not entered
#   queued N in M    N requests for each entry, in M hypercalls for each entry
#   hypercall N      N hypercalls for each entry, with one request in each
#   trap N           N writes for each entry that trap, and that Xen emulates
#
# An entry may be changed more than once: cleared and set again. Counted is what Xen itself
# executes to change an entry (mod_l1_entry(), ptwr_emulated_update()), so flushes of the
# TLB and pinning of page tables are not in it. In fork(), the child's entries are in it as
# far as they are not direct. Where the number of entries is not known (reclaim, ageing,
# page_idle, vmalloc()), N is for each change. Some places have their code in a function that
# has others, too (zap_present_folio_ptes() in __zap_vma_range(), for one): then N is that
# function's in the case, and the case has been made for the place.
"""


def wrapped(text: str, width: int) -> list[str]:
	"""Return the lines of @text, none wider than @width if it can be broken."""
	return textwrap.wrap(text, width, break_long_words=False) or [""]


def row(cells: Iterable[str], widths: Iterable[int]) -> list[str]:
	"""Return the lines of a row of a table."""
	columns = [wrapped(text, width) for text, width in zip(cells, widths)]
	return ["  ".join((column[i] if i < len(column) else "").ljust(width)
			  for column, width in zip(columns, widths)).rstrip()
		for i in range(max(map(len, columns)))]


WIDTHS = (32, 44, 30, 30)


def where(known: dict[str, Place], names: list[str]) -> str:
	"""Return where the places @names are, and what they call."""
	helpers = sorted(set().union(*(known[name].helpers for name in names)))
	return f"{known[names[0]].file}: {', '.join(f'{name}()' for name in names)}: " \
	       f"{' '.join(helpers)}"


def text_of(measured: dict[str, Measured], pages: int) -> str:
	"""Return the table of what base and series have @measured, with @pages entries a case."""
	all_places: dict[str, Place] = {}
	for one in measured.values():
		for name, place in one.places.items():
			known = all_places.setdefault(name, Place(name, place.file))
			known.helpers |= place.helpers
	check_complete(all_places)
	lines = [HEAD.format(pages=pages)]
	lines += row(("what is done", "place: by what it calls",
		      *(KERNEL_TITLES[k] for k in measured)), WIDTHS)
	lines.append("")
	for case, item in CASES.items():
		for joined in item.places:
			names = joined.split("/")
			cells = [cell(one, case, names) for one in measured.values()]
			lines += row((item.done, where(all_places, names), *cells), WIDTHS)
	lines += ["", "Not measured", ""]
	for name, why in NOT_MEASURED.items():
		lines += row((why, where(all_places, [name])), WIDTHS)
	return "\n".join(lines) + "\n"


KERNEL_TITLES = {"base": "7.3.4", "series": "series"}


def _main() -> int:
	parser = Parser(__doc__)
	parser.settled()
	steps: Steps[Measured] = Steps("pte-changes")
	for kernel in KERNELS:
		steps.add(kernel, partial(measure, kernel))
	measured = dict(zip(KERNELS, steps.run()))
	pages = re.search(r"#define PAGES\s+(\d+)", HEADERS[0].read_text())
	assert pages
	keep("pte-changes.txt", text_of(measured, int(pages[1])))
	return 0


if __name__ == "__main__":
	main(_main)
