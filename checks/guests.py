# SPDX-License-Identifier: GPL-2.0
"""Checks that boot guests: KUnit, what must fail on the base, faults, the benchmark."""
import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from bench.dist import dist
from bench.matrix import SHORT
from bench.measure import TRACED_PAGES, count_hypercalls, measure
from bench.programs import program
from bench.report import table
from guests import kunit
from guests.job import guest
from guests.kernel import KERNELS, build
from series.cmd import ROOT, run

# The suite that Xen PV needs the fix for.
LAZY_SUITE = "lazy_mmu_mode."
NESTED = (("domU", "lean"), ("kvm", "lean"), ("pvh", "debug"))	# guests inside a guest, and their config
# Instructions per pte, series to base, at most; 4096 pages.
RATIOS = {"bare": 0.36, "xen": 0.36}
# The series under Xen has to queue this many updates per hypercall at least.
BATCH = 200


def check_kernels(tally):
	"""Build base and series; return whether all are there."""
	before = tally.failed
	for kernel, config in (("series", "lean"), ("base", "lean"), ("series", "debug")):
		with tally.step(f"build: {kernel} kernel, config {config}"):
			build(kernel, config)
	return tally.failed == before


def check_kunit(tally):
	"""Run the suites on the series: bare and Xen, plain and with debugging on two vCPUs; guests in a guest; UML."""
	for kind in ("bare", "xen"):
		for config, smp in (("lean", 1), ("debug", 2)):
			results = []
			with tally.step(f"kunit: {kind} guest, config {config}, {smp} vCPU: complete run"):
				_, results = kunit.run_in_guest(kind, config=config, smp=smp)
			tally.cases(f"kunit {kind} {config}:", results)
	for kind, config in NESTED:
		results = []
		with tally.step(f"kunit: {kind} guest, config {config}, 1 vCPU: complete run"):
			_, results = kunit.run_in_guest(kind, config=config, smp=1, build_it=False)
		tally.cases(f"kunit {kind} {config}:", results)
	results = []
	with tally.step("kunit: um: complete run"):
		_, results = kunit.run_on_um()
	tally.cases("kunit um:", results)


def check_base_fails(tally):
	"""Show that the lazy MMU suite can fail: on the base it does under Xen, not bare."""
	for kind, want in (("bare", "PASS"), ("xen", "FAIL")):
		with tally.step(f"kunit: base {kind}: lazy_mmu_mode is {want} without the series"):
			_, results = kunit.run_in_guest(kind, "base")
			seen = {status for name, status in results if name.startswith(LAZY_SUITE)}
			assert want in seen, f"seen: {seen or 'no such suite'}"


def check_permissions(tally):
	"""See that the series adds no file to proc, sysfs or debugfs that others than root may write."""
	job = """find /proc/sys /sys -type f -perm -200 2> /dev/null | sed -n '$s/.*/walked/p'
find /proc/sys /sys -type f -perm -002 2> /dev/null | sed 's/^/writable /'
"""
	with tally.step("guest: no new file is writable by everybody"):
		found = {}
		for kernel in KERNELS:
			name = f"permissions-{kernel}"
			done = guest("bare", kernel, name, job, append="kunit.autorun=0",
				     build_it=False).run(name, timeout=120).require()
			assert "walked" in done.lines, f"find saw no file that root may write: see {done.log}"
			found[kernel] = {line for line in done.lines if line.startswith("writable ")}
		new = found["series"] - found["base"]
		assert not new, " ".join(sorted(new))


def check_hotplug(tally):
	"""Run the lazy MMU suite again after vCPU hotplug, from a user process's debugfs write."""
	job = (ROOT / "guests" / "jobs" / "hotplug.sh").read_text()
	for kind in ("bare", "xen"):
		with tally.step(f"kunit: {kind}: lazy_mmu_mode after CPU hotplug"):
			guest(kind, "series", f"hotplug-{kind}", job, smp=2, programs=[program()],
			      build_it=False).run(f"hotplug-{kind}", timeout=180).require()


def converse(argv, steps, limit):
	"""Run @argv; for each (prompt, answer) of @steps wait for one and type the other.

	Returns all output. Raises AssertionError if a prompt did not come, or
	the program did not end by itself, within @limit seconds.
	"""
	deadline, output = time.monotonic() + limit, ""
	with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
			      stderr=subprocess.STDOUT, start_new_session=True) as proc:
		try:
			for prompt, answer in [*steps, (None, "")]:
				seen = len(output)
				while prompt is None or prompt not in output[seen:]:
					ready, _, _ = select.select([proc.stdout], [], [],
								    max(0, deadline - time.monotonic()))
					assert ready, f"no {prompt or 'end'} within {limit} s: {output[-200:]!r}"
					data = os.read(proc.stdout.fileno(), 65536)
					if not data:
						break
					output += data.decode(errors="replace")
				if prompt is not None:
					proc.stdin.write(answer.encode())
					proc.stdin.flush()
		finally:
			if proc.poll() is None:
				os.killpg(proc.pid, signal.SIGKILL)
	return output


def check_shell(tally):
	"""Type into make shell as a person would."""
	for kind in ("bare", "xen", "domU"):
		with tally.step(f"guest: make shell GUEST={kind} answers and powers off"):
			converse(["make", "shell", f"GUEST={kind}"],
				 [("/ # ", "echo answer=$((6 * 7))\n"), ("answer=42", "exit\n")], 120)


def check_faults(tally):
	"""See each kind of broken guest end in its own way, with a real kernel."""
	for name, want, job, append, timeout in (
			("panic", "warned", "true\n", "rdinit=/bin/false", 60),
			("warning", "warned", "echo 'WARNING: of a test' > /dev/kmsg; sleep 100\n", "", 60),
			("hang", "hung", "sleep 1000\n", "", 12),
			("failing job", "failed", "exit 5\n", "", 60)):
		with tally.step(f"guest: {name} is told from success"):
			machine = guest("bare", "series", "fault", job, append=f"kunit.autorun=0 {append}",
					build_it=False)
			result = machine.run(f"fault-{name.replace(' ', '-')}", timeout=timeout)
			assert result.status == want, f"{result.status} ({result.reason}), wanted {want}"


def check_dist(tally):
	"""Unpack the tarball for real machines and run it on this one."""
	with tally.step("bench-dist: unpacked, it measures this machine"), tempfile.TemporaryDirectory() as tmp:
		run(["tar", "-xf", dist(), "-C", tmp])
		runner, = Path(tmp).glob("*/run.sh")
		done = run([runner, "1"], cwd=tmp, check=False)
		assert done.returncode == 0, (done.stdout + done.stderr)[-200:]
		for name in ("mprotect ", "mprotect_workload", "modify_prot_race: ok"):
			assert name in done.stdout, f"nothing of {name}"


def figure(results, kernel, kind, metric="instructions_per_pte"):
	"""Return one figure at TRACED_PAGES of the RO/RW toggle."""
	return next(r["value"] for r in results if (r["kernel"], r["guest"], r["metric"], r["pages"], r["case"])
		    == (kernel, kind, metric, TRACED_PAGES, "anon-4k"))


def check_bench(tally):
	"""Check the benchmark: it repeats to 0.5 %, and the series keeps its promises."""
	results = []
	for kind in RATIOS:
		for kernel in KERNELS:
			with tally.step(f"bench: {kernel} {kind}: complete run"):
				results += measure(kernel, kind, SHORT, ())
	with tally.step("bench: a second run gives the same figure"):
		again = measure("series", "bare", SHORT, ())
		first, second = figure(results, "series", "bare"), figure(again, "series", "bare")
		assert abs(first - second) < 0.005 * first, f"{first} and {second}"
	for kind, limit in RATIOS.items():
		with tally.step(f"bench: {kind}: series takes at most {limit} of the base's instructions"):
			base, series = figure(results, "base", kind), figure(results, "series", kind)
			assert 0 < series <= limit * base, f"base {base:.1f}, series {series:.1f}"
	with tally.step(f"bench: xen: base makes a hypercall per pte, series one per {BATCH} or more"):
		results += count_hypercalls("base", build_it=False) + count_hypercalls("series", build_it=False)
		base = figure(results, "base", "xen", "hypercalls_per_pte")
		series = figure(results, "series", "xen", "hypercalls_per_pte")
		assert base >= 1 and 0 < series <= 1 / BATCH, f"base {base:.3f}, series {series:.4f}"
	for line in table(results).splitlines():
		print(f"# {line}")
