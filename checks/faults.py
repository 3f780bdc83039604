# SPDX-License-Identifier: GPL-2.0
"""make faults: break the series on purpose, and see the tests notice.

Each checks/faults/*.patch is applied to a scratch copy of build/linux, whose kernel
is built from a copy of the debug kernel's objects, so that only what it changes is
compiled. Its header, up to a line "---", has a Title, and for each Test what that
must come to on such a kernel:

    Test: kvm x86/change_pte_test -t running     (or mm <program>, or kunit <suite>)
    Guest: kvm.tdp_mmu=0                          more for the kernel's command line
    Ends: failed                                  or ok; of the program, not of its guest
    Says: <regular expression>                    all of these have to be in the log
"""
import dataclasses
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from common.command import EXIT_PATCH, ToolError, build_dir, main, remove, run
from common.settings import Parser
from common.tally import Tally
from guests.job import guest
from guests.kernel import build, ccache, image, make_command, source
from guests.qemu import check_tools
from guests.selftests import selftest

FOLDER = Path(__file__).resolve().parent / "faults"
CONFIG = "debug"
KINDS = ("kvm", "mm", "kunit")
ENDS = ("ok", "failed")
TIMEOUT = 600


@dataclass
class Test:
	"""What to run on a broken kernel (@kind of KINDS, @words), and what must come of it."""
	kind: str
	words: list
	append: str = ""
	ends: str = "failed"
	says: list = field(default_factory=list)


@dataclass
class Fault:
	"""A fault: @name of its file, @title, the @diff that brings it, and its @tests."""
	name: str
	title: str = ""
	diff: str = ""
	tests: list = field(default_factory=list)

	def files(self):
		"""Return the paths that the diff changes."""
		return re.findall(r"^\+\+\+ b/(\S+)$", self.diff, re.M)


def parse(path):
	"""Return the Fault that is described in the file @path; raises ToolError if it is malformed."""
	fault = Fault(path.stem)
	head, _, fault.diff = path.read_text().partition("\n---\n")
	for line in head.splitlines():
		key, _, value = line.partition(": ")
		test = fault.tests[-1] if fault.tests else None
		if key == "Title":
			fault.title = value
		elif key == "Test":
			kind, *words = value.split()
			fault.tests.append(Test(kind, words))
		elif key in ("Guest", "Ends", "Says") and not test:
			raise ToolError(f"{path}: '{key}' comes before its 'Test'")
		elif key == "Guest":
			test.append = value
		elif key == "Ends":
			test.ends = value
		elif key == "Says":
			test.says.append(value)
	if not fault.title or not fault.files():
		raise ToolError(f"{path} needs a 'Title' and, after '---', a diff")
	for test in fault.tests:
		if test.kind not in KINDS or test.ends not in ENDS or not test.words or not test.says:
			raise ToolError(f"{path}: a test needs one of {' '.join(KINDS)} and what to run, Says, and "
					f"Ends with one of {' '.join(ENDS)}")
	if not fault.tests:
		raise ToolError(f"{path} has no 'Test'")
	return fault


def faults(names=()):
	"""Return the Faults of @names, default all; raises ToolError for an unknown name."""
	known = {path.stem: path for path in sorted(FOLDER.glob("*.patch"))}
	if unknown := [n for n in names if n not in known]:
		raise ToolError(f"unknown fault '{unknown[0]}': known are {' '.join(known)}")
	return [parse(known[n]) for n in names or known]


def scratch():
	"""Lay build/faults: copies of the series' tree (hard links) and of its objects; return both.

	Times are kept, and the commands that are recorded with the objects are made
	to name the copy, so that make finds nothing to do.
	"""
	out = build("series", CONFIG)
	top = build_dir() / "faults"
	remove(top)
	tree, objects = top / "linux", top / out.name
	tree.mkdir(parents=True)
	series = source("series")
	run(["cp", "-al", *sorted(p for p in series.iterdir() if p.name != ".git"), tree])
	run(["cp", "-a", out, objects])
	for path in objects.rglob("*.cmd"):
		times, text = path.stat(), path.read_text()
		path.write_text(text.replace(str(series), str(tree)).replace(str(out), str(objects)))
		os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
	return tree, objects


def apply(fault, tree, reverse=False):
	"""Apply the fault's diff to @tree, or take it back; raises ToolError if it does not apply."""
	for name in fault.files():
		# Its links belong to the series' own tree: take a copy before it is changed.
		shutil.copy2(tree / name, tree / f"{name}.copy")
		(tree / f"{name}.copy").replace(tree / name)
	done = run(["git", "apply", *(["-R"] if reverse else []), "--whitespace=nowarn", "-"], cwd=tree,
		   stdin=fault.diff, check=False, env={"GIT_CEILING_DIRECTORIES": str(tree.parent)})
	if done.returncode:
		raise ToolError(f"checks/faults/{fault.name}.patch does not apply to the series: "
				f"{done.stderr.strip()}", EXIT_PATCH)


def machine(test, name):
	"""Return the Guest that runs @test, with the kernel of the series for now."""
	append = f"kunit.filter_glob={test.words[0]} {test.append}"
	if test.kind == "kunit":
		return guest("bare", "series", name, "true\n", config=CONFIG, smp=2, append=append,
			     build_it=False, kunit=True)
	program = selftest(test.kind, test.words[0], CONFIG)
	command = " ".join([f"/bin/{program.name}", *test.words[1:]])
	options = {"svm": True, "accel": "tcg"} if test.kind == "kvm" else {}
	return guest("bare", "series", name, f"mkdir -p /dev/shm; {command}\n", config=CONFIG, smp=2,
		     programs=[program], append=test.append, build_it=False, **options)


def notice(fault, number, kernel):
	"""Run one of the fault's tests on @kernel; raises AssertionError unless it comes to what it must."""
	test, name = fault.tests[number], f"fault-{fault.name}-{number}"
	result = dataclasses.replace(machine(test, name), kernel=kernel).run(name, timeout=TIMEOUT, may_warn=True)
	want = "ok" if test.kind == "kunit" else test.ends
	text = "\n".join(result.lines)
	missing = [s for s in test.says if not re.search(s, text, re.M)]
	assert result.status == want, f"ended {result.status} ({result.reason}), not {want}: see {result.log}"
	assert not missing, f"does not say '{missing[0]}': see {result.log}"


def check_faults_apply(tally):
	"""See that each fault still applies to the series."""
	for fault in faults():
		with tally.step(f"fault {fault.name} applies to the series"):
			run(["git", "-C", source("series"), "apply", "--check", "--cached", "-"], stdin=fault.diff)


def check_faults(tally, chosen):
	"""Build a kernel for each of the @chosen faults and count whether all of its tests notice."""
	tree, objects = None, None
	with tally.step("faults: copy of the series' tree and objects"):
		tree, objects = scratch()
	for fault in chosen if objects else ():
		built = False
		with tally.step(f"fault {fault.name}: {fault.title}: build"):
			apply(fault, tree)
			log = build_dir() / "log" / f"build-fault-{fault.name}.log"
			log.unlink(missing_ok=True)
			run([*make_command(tree, objects), "bzImage"], log=log, env=ccache(objects.parent))
			built = True
		for number, test in enumerate(fault.tests if built else ()):
			with tally.step(f"fault {fault.name}: {test.kind} {' '.join(test.words)}: noticed"):
				notice(fault, number, image(objects))
		if built:
			apply(fault, tree, reverse=True)
	remove(build_dir() / "faults")


def _main():
	parser = Parser(__doc__)
	parser.setting("FAULT", known=[path.stem for path in sorted(FOLDER.glob("*.patch"))], many=True, positional=True)
	chosen = faults(parser.settled().fault)
	check_tools()
	print("KTAP version 1", flush=True)
	tally = Tally()
	check_faults(tally, chosen)
	return tally.close()


if __name__ == "__main__":
	main(_main)
