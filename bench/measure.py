# SPDX-License-Identifier: GPL-2.0
"""Count what page-table operations cost in guests, base and series in one go.

QEMU's -icount shift=0,sleep=off makes the guest's clock count instructions, of
guest and hypervisor together: 1 ns is 1 instruction, the same on any host. The
program that is timed is the payload's mprotect_perf, statically linked.

Results go to build/bench/results.json, a list of objects with kernel, guest,
bench, case, pages, metric, value.
"""
import argparse
import json
import os
import platform
import re
import sys
import time

from bench.kvm import measure_kvm
from bench.report import table
from guests.initramfs import compile_static
from guests.job import guest
from guests.kernel import KERNELS, source
from guests.qemu import GUESTS, qemu_binary
from series.cmd import (EXIT_GUEST, ROOT, ToolError, build_dir, main, replaced, run, say)

PROGRAM = "tools/testing/selftests/mm/mprotect_perf.c"
RESULT = re.compile(r"^# result ((?:\w+=\S+ ?)+)$")
TRACED_PAGES = 4096
# (bench, cases or None for all, pages or None for the program's own list)
FULL = (("mprotect", None, None), ("fork", None, None), ("munmap", None, None),
	("madv_dontneed", None, None))
SHORT = (("mprotect", "anon-4k", "1,16,512,4096"),)

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
	cat per_cpu/cpu*/stats | awk '/^(entries|overrun|commit overrun|dropped events):/ {{ n += $NF }} END {{ print n }}'
}}
few=$(count 2) && many=$(count 6) || exit 1
echo "# hypercalls few=$few many=$many"
"""
TRACED_UPDATES = 4 * 2 * TRACED_PAGES


def program():
	"""Return the static benchmark program, compiled from the payload."""
	linux = source("series")
	return compile_static(ROOT / PROGRAM, "mprotect_perf", "-pthread",
			      f"-I{linux}/tools/testing/selftests", f"-I{linux}/tools/include",
			      f"-I{linux}/usr/include")


def parse(lines, kernel, kind):
	"""Return result objects from mprotect_perf's lines; ns are instructions here."""
	found = []
	for line in lines:
		match = RESULT.match(line.strip())
		if not match:
			continue
		item = dict(pair.split("=", 1) for pair in match[1].split())
		if item["metric"] != "ns_per_pte":
			continue
		found.append({"kernel": kernel, "guest": kind, "bench": item["bench"],
			      "case": item["case"], "pages": int(item["pages"]),
			      "metric": "instructions_per_pte", "value": float(item["median"]),
			      "min": float(item["min"]), "runs": int(item["runs"])})
	return found


def job_lines(matrix):
	"""Return the job script that runs @matrix."""
	lines = []
	for bench, case, pages in matrix:
		options = f"-b {bench}" + (f" -c {case}" if case else "") + (f" -p {pages}" if pages else "")
		lines.append(f"/bin/mprotect_perf {options} || exit 1")
	return "\n".join(lines) + "\n"


def measure(kernel, kind, matrix, build_it=True):
	"""Run @matrix on @kernel in guest @kind and return the result objects.

	Raises ToolError if the guest did not end well or printed no result.
	"""
	name = f"bench-{kernel}-{kind}"
	machine = guest(kind, kernel, name, job_lines(matrix), programs=[program()], icount=True,
			smp=1, append="kunit.autorun=0", build_it=build_it)
	done = machine.run(name, timeout=1500).require()
	found = parse(done.lines, kernel, kind)
	if not found:
		raise ToolError(f"no result lines from mprotect_perf: see {done.log}", EXIT_GUEST)
	return found


def count_hypercalls(kernel, build_it=True):
	"""Return [result object]: hypercalls per pte of mprotect() under Xen PV."""
	name = f"hypercalls-{kernel}-xen"
	machine = guest("xen", kernel, name, TRACE_JOB, programs=[program()], smp=1, icount=True,
			append="kunit.autorun=0 trace_buf_size=8M", build_it=build_it)
	done = machine.run(name, timeout=600).require()
	match = re.search(r"^# hypercalls few=(\d+) many=(\d+)", "\n".join(done.lines), re.M)
	if not match:
		raise ToolError(f"no hypercall count: see {done.log}", EXIT_GUEST)
	few, many = map(int, match.groups())
	return [{"kernel": kernel, "guest": "xen", "bench": "mprotect", "case": "anon-4k",
		 "pages": TRACED_PAGES, "metric": "hypercalls_per_pte",
		 "value": (many - few) / TRACED_UPDATES}]


def machine_facts():
	"""Return what a reader must know beside the figures."""
	gcc = run(["gcc", "--version"]).stdout.splitlines()[0]
	qemu = run([qemu_binary(), "--version"]).stdout.splitlines()[0]
	return {"machine": platform.machine(), "compiler": gcc, "qemu": qemu,
		"config": "allnoconfig + guests/config/lean.config + kunit.config",
		"unit": "instructions of guest and hypervisor (-icount shift=0,sleep=off)"}


def bench(matrix, guests=GUESTS, kernels=KERNELS):
	"""Measure everything, write results.json atomically, and return the list."""
	steps = [(k, g) for k in kernels for g in guests]
	results = []
	for number, (kernel, kind) in enumerate(steps, 1):
		start = time.monotonic()
		results += measure(kernel, kind, matrix)
		if kind == "xen":
			results += count_hypercalls(kernel, build_it=False)
		if kind == "bare" and matrix is FULL:
			results += measure_kvm(kernel, build_it=False)
		say(f"[{number}/{len(steps)}] {kernel} {kind}: {time.monotonic() - start:.0f} s")
	out = build_dir() / "bench"
	out.mkdir(exist_ok=True)
	with replaced(out / "results.json") as tmp:
		tmp.write_text(json.dumps(results, indent=1) + "\n")
	with replaced(out / "facts.json") as tmp:
		tmp.write_text(json.dumps(machine_facts(), indent=1) + "\n")
	return results


def _main():
	parser = argparse.ArgumentParser(description=__doc__,
					 formatter_class=argparse.RawDescriptionHelpFormatter)
	parser.add_argument("--short", action="store_true", help="only mprotect of anonymous 4 KiB pages")
	parser.add_argument("--guest", default=os.environ.get("GUEST"), help=f"one of: {' '.join(GUESTS)}")
	args = parser.parse_args()
	guests = (args.guest,) if args.guest else GUESTS
	results = bench(SHORT if args.short else FULL, guests)
	text = table(results)
	print(text)
	(build_dir() / "bench" / "report.txt").write_text(text + "\n")
	print(f"{build_dir() / 'bench' / 'results.json'}", file=sys.stderr)
	return 0


if __name__ == "__main__":
	main(_main)
