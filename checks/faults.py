# SPDX-License-Identifier: GPL-2.0
"""make faults: break the series on purpose, and see the tests notice.

Each checks/faults/*.patch is applied to a scratch copy of build/linux, whose kernel
is built from a copy of the debug kernel's objects, so that only what it changes is
compiled. Its header, up to a line "---", has a Title, and for each Test what that
must come to on such a kernel:

    Test: kvm x86/change_pte_test -t running     (or mm <program>, or kunit <suite>)
    On: xen                                       the guest it runs in; bare if not given.
                                                  xen-l1tf: the same, and see guests.qemu.L1TF_CPU
    Guest: kvm.tdp_mmu=0                          more for the kernel's command line
    CPUs: 4                                       of the guest; 2 if not given
    Ends: failed                                  or ok, of the program (KUnit's is always ok),
                                                  or died, the guest itself
    Says: <regular expression>                    all of these have to be in the log
"""
import dataclasses
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checks.in_guest import SWAP, begin
from common.command import EXIT_PATCH, ToolError, build_dir, main, remove, run
from common.settings import Parser
from common.tally import Tally
from guests.job import guest
from guests.kernel import build, ccache, image, make_command, source
from guests.qemu import MACHINES, Guest
from guests.selftests import selftest

DIRECTORY = Path(__file__).resolve().parent / "faults"
CONFIG = "debug"
KINDS = ("kvm", "mm", "kunit")
ENDS = ("ok", "failed", "died")
L1TF = "xen-l1tf"
PLACES = (*MACHINES, L1TF)
TIMEOUT = 600


@dataclass
class Test:
	"""What to run on a broken kernel (@kind of KINDS, @words), and what must come of it."""
	kind: str
	words: list[str]
	on: str = "bare"
	append: str = ""
	cpus: int = 2
	ends: str = "failed"
	says: list[str] = field(default_factory=list)


@dataclass
class Fault:
	"""A fault: @name of its file, @title, the @diff that brings it, and its @tests."""
	name: str
	title: str = ""
	diff: str = ""
	tests: list[Test] = field(default_factory=list)

	def files(self) -> list[str]:
		"""Return the paths that the diff changes."""
		return re.findall(r"^\+\+\+ b/(\S+)$", self.diff, re.M)


def parse(path: Path) -> Fault:
	"""Return the Fault that is described in the file @path.

	Raises ToolError if it is malformed.
	"""
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
		elif key not in ("On", "Guest", "CPUs", "Ends", "Says"):
			continue
		elif not test:
			raise ToolError(f"{path}: '{key}' comes before its 'Test'")
		elif key == "On":
			test.on = value
		elif key == "Guest":
			test.append = value
		elif key == "CPUs":
			test.cpus = int(value) if value.isdigit() else 0
		elif key == "Ends":
			test.ends = value
		else:
			test.says.append(value)
	if not fault.title or not fault.files():
		raise ToolError(f"{path} needs a 'Title' and, after '---', a diff")
	for test in fault.tests:
		known = test.kind in KINDS and test.ends in ENDS and test.on in PLACES
		if not known or not test.words or not test.says or not test.cpus:
			raise ToolError(f"{path}: a test needs one of {' '.join(KINDS)} and what "
					f"to run, Says, Ends with one of {' '.join(ENDS)}, On with "
					f"one of {' '.join(PLACES)}, and CPUs a number")
	if not fault.tests:
		raise ToolError(f"{path} has no 'Test'")
	return fault


def known_faults() -> dict[str, Path]:
	"""Return {name: path} of all faults."""
	return {path.stem: path for path in sorted(DIRECTORY.glob("*.patch"))}


def faults(names: Sequence[str] = ()) -> list[Fault]:
	"""Return the Faults of @names, default all; raises ToolError for an unknown name."""
	known = known_faults()
	if unknown := [n for n in names if n not in known]:
		raise ToolError(f"unknown fault '{unknown[0]}': known are {' '.join(known)}")
	return [parse(known[n]) for n in names or known]


def scratch() -> tuple[Path, Path]:
	"""Lay build/faults: copies of the series' tree and of its objects; return both.

	The tree's files are hard links. Times are kept, and the commands that are recorded
	with the objects are made to name the copy, so that make finds nothing to do.
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
		text = text.replace(str(series), str(tree)).replace(str(out), str(objects))
		path.write_text(text)
		os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
	return tree, objects


def apply(fault: Fault, tree: Path, reverse: bool = False) -> None:
	"""Apply the fault's diff to @tree, or take it back if @reverse.

	Raises ToolError if it does not apply.
	"""
	for name in fault.files():
		# Its links belong to the series' own tree: take a copy before it is changed.
		if not (tree / name).is_file():
			continue
		shutil.copy2(tree / name, tree / f"{name}.copy")
		(tree / f"{name}.copy").replace(tree / name)
	done = run(["git", "apply", *(["-R"] if reverse else []), "--whitespace=nowarn", "-"],
		   cwd=tree, stdin=fault.diff, check=False,
		   env={"GIT_CEILING_DIRECTORIES": str(tree.parent)})
	if done.returncode:
		raise ToolError(f"checks/faults/{fault.name}.patch does not apply to the series: "
				f"{done.stderr.strip()}", EXIT_PATCH)


def machine(test: Test, name: str) -> Guest:
	"""Return the Guest that runs @test, with the kernel of the series for now."""
	kind = "xen" if test.on == L1TF else test.on
	options: dict[str, Any] = {"config": CONFIG, "smp": test.cpus, "build_it": False,
				   "l1tf": test.on == L1TF}
	if test.kind == "kunit":
		append = f"kunit.filter_glob={test.words[0]} {test.append}"
		return guest(kind, "series", name, "true\n", append=append, kunit=True,
			     **options)
	program = selftest(test.kind, test.words[0], CONFIG)
	command = " ".join([f"/bin/{program.name}", *test.words[1:]])
	if test.kind == "kvm":
		options.update(svm=True, accel="tcg")
	return guest(kind, "series", name, f"{SWAP}\nmkdir -p /dev/shm; {command}\n",
		     programs=[program], append=test.append, **options)


def notice(fault: Fault, number: int, kernel: Path) -> None:
	"""Run one of the fault's tests on @kernel.

	Raises AssertionError unless it comes to what it must.
	"""
	test, name = fault.tests[number], f"fault-{fault.name}-{number}"
	broken = dataclasses.replace(machine(test, name), kernel=kernel)
	result = broken.run(name, timeout=TIMEOUT, may_warn=True)
	want = "ok" if test.kind == "kunit" and test.ends == "failed" else test.ends
	text = "\n".join(result.lines)
	missing = [s for s in test.says if not re.search(s, text, re.M)]
	assert result.status == want, \
		f"ended {result.status} ({result.reason}), not {want}: see {result.log}"
	assert not missing, f"does not say '{missing[0]}': see {result.log}"


def check_faults_apply(tally: Tally) -> None:
	"""See that each fault still applies to the series."""
	for fault in faults():
		with tally.step(f"fault {fault.name} applies to the series"):
			run(["git", "-C", source("series"), "apply", "--check", "--cached", "-"],
			    stdin=fault.diff)


def check_faults(tally: Tally, chosen: Iterable[Fault]) -> None:
	"""Build a kernel for each of the @chosen faults; count whether all of its tests notice."""
	copies: tuple[Path, Path] | None = None
	with tally.step("faults: copy of the series' tree and objects"):
		copies = scratch()
	for fault in chosen if copies else ():
		tree, objects = copies
		applied = built = False
		with tally.step(f"fault {fault.name}: {fault.title}: build"):
			apply(fault, tree)
			applied = True
			log = build_dir() / "log" / f"build-fault-{fault.name}.log"
			log.unlink(missing_ok=True)
			run([*make_command(tree, objects), "bzImage"], log=log,
			    env=ccache(objects.parent))
			built = True
		for number, test in enumerate(fault.tests if built else ()):
			words = " ".join(test.words)
			with tally.step(f"fault {fault.name}: {test.kind} {words}: noticed"):
				notice(fault, number, image(objects))
		if applied:
			apply(fault, tree, reverse=True)
	remove(build_dir() / "faults")


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("FAULT", known=known_faults(), many=True, positional=True)
	chosen = faults(parser.settled().fault)
	tally = begin()
	check_faults(tally, chosen)
	return tally.close()


if __name__ == "__main__":
	main(_main)
