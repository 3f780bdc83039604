# SPDX-License-Identifier: GPL-2.0
"""Count what page-table operations cost in guests, all kernels in one go.

QEMU's -icount shift=0,sleep=off makes the guest's clock count instructions, of
guest and hypervisor together: 1 ns is 1 instruction, the same on any host. The
program that is timed is the payload's mprotect_perf, statically linked.

Results go to build/bench/results.json, as common/result.py has them.
"""
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from bench import everyday, kernels, matrix, report
from bench.by_function import (add_steps as add_profiles, results as profile_results,
			       write as write_profiles)
from bench.clone import measure_clone
from bench.facts import facts
from bench.insn_profile import Profiled
from bench.kvm import measure_kvm
from bench.notify import CONFIGS as NOTIFY_CONFIGS, measure_notify
from bench.programs import costs_program, ext4_image, program, workload_program
from bench.steps import Steps
from common.command import EXIT_GUEST, ToolError, build_dir, main, replaced, say
from common.result import Result, dump
from common.settings import Parser
from guests.kernel import KERNELS

TRACED_PAGES = 4096
TIMEOUT = 1800		# seconds, for the whole matrix in one guest

# Counts hypercalls of mprotect() with the kernel's own trace events: the difference
# of two runs that differ by 4 runs of 2 * 4096 updates, so set-up falls out.
TRACE_JOB = f"""
cd /sys/kernel/tracing || exit 1
echo 'mcidx > 0' > events/xen/xen_mc_flush/filter || exit 1
count() {{
	echo > trace
	echo 1 > events/xen/xen_mc_flush/enable
	/bin/mprotect_perf -b mprotect -c anon-4k -p {TRACED_PAGES} -n $1 > /tmp/out || return 1
	echo 0 > events/xen/xen_mc_flush/enable
	cat per_cpu/cpu*/stats |
		awk '/^(entries|overrun|commit overrun|dropped events):/ {{ n += $NF }}
		     END {{ print n }}'
}}
few=$(count 2) && many=$(count 6) || exit 1
echo "# hypercalls few=$few many=$many"
"""
TRACED_UPDATES = 4 * 2 * TRACED_PAGES


def measure(kernel: str, name: str, rows: Iterable[matrix.PerfRow] | None = None,
	    costs: Iterable[matrix.CostRow] | None = None) -> list[Result]:
	"""Run @rows and @costs of the matrix on @kernel in the place @name; return the results.

	Default is what the matrix has for @name. The kernel was prepared before.
	Raises ToolError if the guest did not end well or printed no result.
	"""
	place = matrix.places([name])[name]
	ext4 = place.config == "disk"
	rows = place.perf if rows is None else rows
	costs = place.costs if costs is None else costs
	commands = [*place.setup, *matrix.cost_commands(costs, "/mnt" if ext4 else "/tmp"),
		    *matrix.perf_commands(rows)]
	if place.workload and rows is place.perf:
		commands.append("/bin/mprotect_workload -r 5 || exit 1")
	job = "\n".join(commands) + "\n"
	log = f"bench-{kernel}-{name}"
	programs = [program(), costs_program(), workload_program()]
	files = [("/ext4.img", ext4_image())] if ext4 else []
	machine = kernels.machine(kernel, place, log, job, programs, files, icount=True, smp=1)
	return kernels.measured(machine, log, kernel, name, TIMEOUT,
				may_warn=place.base_warns and kernel == "base")


def count_hypercalls(kernel: str, build_it: bool = True) -> list[Result]:
	"""Return [Result]: hypercalls per pte of mprotect() under Xen PV."""
	if build_it:
		kernels.prepare(kernel, "lean")
	name = f"hypercalls-{kernel}-xen"
	machine = kernels.machine(kernel, matrix.PLACES["xen"], name, TRACE_JOB, [program()],
				  smp=1, icount=True, append="trace_buf_size=8M")
	done = machine.run(name, timeout=600).require()
	match = re.search(r"^# hypercalls few=(\d+) many=(\d+)", "\n".join(done.lines), re.M)
	if not match:
		raise ToolError(f"no hypercall count: see {done.log}", EXIT_GUEST)
	few, many = map(int, match.groups())
	return [Result(kernel, "xen", "mprotect", "anon-4k", TRACED_PAGES, "hypercalls_per_pte",
		       (many - few) / TRACED_UPDATES)]


def profiled(names: Sequence[str], place: str) -> list[str]:
	"""Return those of the kernels @names that @place has counted by function: with symbols."""
	return [k for k in names if k not in kernels.debian.KERNELS and kernels.runs_in(k, place)]


def add_steps(steps: Steps[list[Result]], chosen: dict[str, matrix.Place], names: Sequence[str],
	      short: bool) -> None:
	"""Add to @steps: prepare and measure the kernels @names in the places @chosen.

	With @short, measure only mprotect() of anonymous 4 KiB pages.
	"""
	lost: set[str] = set()

	def prepare(kernel: str, config: str) -> list[Result]:
		try:
			kernels.prepare(kernel, config)
		except ToolError as error:
			if kernel not in kernels.debian.KERNELS:
				raise
			lost.add(kernel)
			say(f"skipped: {kernel}: {error}")
		return []

	def unless_lost(function: Callable[..., list[Result]], kernel: str,
			*args: Any, **options: Any) -> list[Result]:
		return [] if kernel in lost else function(kernel, *args, **options)

	def add(kernel: str, title: str, function: Callable[..., list[Result]],
		*args: Any, **options: Any) -> None:
		steps.add(f"{kernel} {title}",
			  partial(unless_lost, function, kernel, *args, **options), optional=True)

	pairs = [(k, n, p) for n, p in chosen.items() for k in names if kernels.runs_in(k, n)]
	notified = [k for k, n, _ in pairs if n == matrix.KVM_HOST and k in KERNELS and not short]
	builds = [(k, p.config) for k, _, p in pairs]
	builds += [(k, config) for k in notified for config in NOTIFY_CONFIGS]
	for kernel, config in dict.fromkeys(builds):
		steps.add(f"build {kernel} {config}", partial(prepare, kernel, config))
	for kernel, name, _ in pairs:
		if name == matrix.KVM_HOST:
			if not short:
				add(kernel, name, measure_kvm, build_it=False)
			if kernel in notified:
				add(kernel, f"{name} notify", measure_notify, build_it=False)
				add(kernel, f"{name} clone", measure_clone)
			continue
		add(kernel, name, measure, name, *((matrix.SHORT, ()) if short else ()))
		if name == "xen":
			add(kernel, f"{name} hypercalls", count_hypercalls, build_it=False)
		if name in matrix.EVERYDAY_PLACES and not short:
			add(kernel, f"{name} everyday", everyday.measure, name)
			if name == "xen" and kernel not in kernels.debian.KERNELS:
				add(kernel, f"{name} entries", everyday.count_entries, name)


def bench(short: bool = False, guest_names: list[str] | None = None,
	  kernel_names: tuple[str, ...] = KERNELS) -> list[Result]:
	"""Measure everything, write build/bench atomically, and return the list of results.

	With @short, only mprotect() of anonymous 4 KiB pages. Raises ToolError if a kernel
	could not be built, or, when the results of the others are written, if a place failed.
	"""
	chosen = matrix.places(guest_names)
	steps: Steps[list[Result]] = Steps("short" if short else "bench")
	add_steps(steps, chosen, kernel_names, short)
	results = [item for found in steps.run() for item in found]
	if not results:
		steps.require()
		raise ToolError("nothing was measured: no such kernel runs in these guests")
	out = build_dir() / "bench"

	def write() -> None:
		with replaced(out / "facts.json") as tmp:
			tmp.write_text(json.dumps(facts(results), indent=1) + "\n")
		with replaced(out / "results.json") as tmp:
			tmp.write_text(dump(results))

	write()		# what fails does not cost the figures
	steps.require()
	profiling: Steps[Profiled] = Steps("profile")
	for name, benches in () if short else matrix.PROFILED.items():
		for what in benches if name in chosen else ():
			add_profiles(profiling, profiled(kernel_names, name), name, what)
	profiles = profiling.run()
	if profiles:
		results += profile_results(profiles)
		write_profiles(profiles)
		write()
	return results


def _main() -> int:
	parser = Parser(__doc__)
	parser.add_argument("--short", action="store_true",
			    help="only mprotect of anonymous 4 KiB pages")
	parser.setting("GUEST", list(matrix.PLACES), matrix.PLACES, many=True)
	parser.setting("KERNEL", list(kernels.known()), kernels.known(), many=True)
	args = parser.settled()
	bench(args.short, args.guest, args.kernel)
	print(report.write(), end="")
	print(f"{build_dir() / 'bench' / 'report.html'}", file=sys.stderr)
	return 0


if __name__ == "__main__":
	main(_main)
