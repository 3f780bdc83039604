# SPDX-License-Identifier: GPL-2.0
"""Compile each patch for each target and report what is new against the state before it.

A work tree of its own (build/gates/linux) goes through the commits of each topic, on
the base and without the other topics, and at the end to the whole series. At
each state only the objects of gates/targets.py are compiled, with W=1; make
knows which ones a patch concerns. A warning is new if it was not seen before.
"""
import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from common.command import EXIT_BUILD, ROOT, StrPath, ToolError, build_dir, jobs, locked, run, say
from gates.targets import Target
from guests.kernel import SERIES_ONLY, SERIES_XEN, Options, ccache, check_config, read_fragments
from series import patches
from series.tree import commit_series, make_tree
from series.worktree import APPLIED, git, lay

# file:line:column: warning: text [-Woption], and objtool's and sparse's likes of it
FINDING = re.compile(r"^(\S+?):(?:\d+:)?(?:\d+:)? *(warning|error|fatal error): (.*)$", re.M)
# Of MODULE_INFO() and the like: Debian's sparse takes no __builtin_strlen() for a constant.
NOT_CONSTANT = "bad constant expression"
NOWHERE = ("Documentation/", "tools/", "MAINTAINERS", "mm/tests/.kunitconfig")
ARCHS = ("x86", "arm64", "s390", "powerpc", "riscv", "loongarch", "um")
Finding = tuple[str, str]	# (file, text)


@dataclass
class Outcome:
	"""What a state gave: @new findings, @errors that stopped the compiler, @seconds."""
	label: str
	new: list[str] = field(default_factory=list)
	errors: list[str] = field(default_factory=list)
	seconds: float = 0
	compiled: int = 0

	def good(self) -> bool:
		"""Return whether there is nothing new."""
		return not self.new and not self.errors

	def text(self) -> str:
		"""Return one line for people."""
		found = "; ".join([*self.errors, *self.new][:4]) if self.label != "base" else ""
		tail = f": {found}" if found else ""
		return f"{self.compiled} objects, {self.seconds:.0f} s{tail}"


def gate_tree(root: Path = ROOT) -> Path:
	"""Return the gates' own work tree of build/linux, made if need be."""
	linux = make_tree(root)
	tree = build_dir() / "gates" / "linux"
	lay(linux, tree, "base", "the gates' work tree")
	return tree


def concerns(patch: patches.Patch, target: Target) -> bool:
	"""Return whether a patch changes anything that @target may compile."""
	names = [*patch.files(), *patch.payload]
	other = [f"arch/{a}/" for a in ARCHS
		 if a != target.srcarch and (a, target.srcarch) != ("x86", "um")]
	return any(not n.startswith((*NOWHERE, *other)) for n in names)


def findings(log: str, tree: StrPath, out: StrPath) -> tuple[set[Finding], list[str]]:
	"""Return the set of (file, text) of a log's warnings, and the list of its errors."""
	warnings: set[Finding] = set()
	errors: list[str] = []
	known = [*(re.escape(str(p)) for p in (tree, out)), r"\.\./linux"]
	roots = re.compile(f"^({'|'.join(known)})/")
	for name, kind, text in FINDING.findall(log):
		name = roots.sub("", name)
		if kind == "warning":
			warnings.add((name, text))
		else:
			errors.append(f"{name}: {text}")
	return warnings, errors


class Compiler:
	"""Compiles one target, state after state; remembers the findings so far."""

	def __init__(self, target: Target, goals: Sequence[str] | None = None,
		     extra: Iterable[str] = ("W=1",), name: str | None = None, root: Path = ROOT,
		     checker: bool = False) -> None:
		"""Take @goals (default the target's objects) and make's variables @extra.

		@name is of the log. @checker means that make runs a program besides the compiler
		that may call what the base has an error, too.
		"""
		self.target, self.extra, self.checker = target, list(extra), checker
		self.goals = goals or target.paths()
		self.tree, self.out = gate_tree(root), build_dir() / "gates" / f"obj-{target.name}"
		self.log = build_dir() / "log" / f"gate-{name or target.name}.log"
		self.seen: set[Finding] = set()
		self.configured: str | None = None
		self.log.parent.mkdir(exist_ok=True)
		self.log.write_text("")
		self.alone = contextlib.ExitStack()

	def __enter__(self) -> Self:
		self.alone.enter_context(locked(build_dir() / "gates" / "lock"))
		return self

	def __exit__(self, *_: object) -> None:
		self.alone.close()

	def configure(self) -> None:
		"""Write .config for the state that is checked out.

		Raises ToolError if a requested option does not survive.
		"""
		wanted = self.wanted()
		fragment = write_fragment(self.out / "fragment.config", wanted)
		run([*self.target.make(self.tree, self.out), f"KCONFIG_ALLCONFIG={fragment}",
		     self.target.start], log=self.log)
		check_config(wanted, self.out / ".config")

	def wanted(self) -> Options:
		"""Return {symbol: value} of the fragments.

		Suites that the state that is checked out lacks are left out.
		"""
		wanted: Options = {}
		for path in self.target.fragment_files():
			for symbol, value in read_fragments([path.stem], path.parent).items():
				if path.stem not in (SERIES_ONLY, SERIES_XEN) or self.knows(symbol):
					wanted[symbol] = value
		return wanted

	def forget(self) -> None:
		"""Remove the objects, so that the first state shows all of its warnings.

		(ccache keeps them.)
		"""
		for goal in self.goals:
			path = self.out / goal
			for found in path.rglob("*.o") if goal.endswith("/") else [path]:
				found.unlink(missing_ok=True)

	def knows(self, symbol: str) -> bool:
		"""Return whether the state that is checked out has a Kconfig symbol."""
		return bool(git(self.tree, "grep", "-E", f"^(menu)?config {symbol[7:]}$", "HEAD",
				"--", "*Kconfig", "*Kconfig.*", check=False))

	def builds(self, goal: str) -> bool:
		"""Return whether the object @goal can be compiled in this state.

		If asked for by name, kbuild compiles whatever has a source. But new
		sources may come before, or only be meant for, the configs that their
		Makefile wants them in. Parts of a composite object are taken for built.
		"""
		source = (self.tree / goal).with_suffix(".c")
		makefile = source.parent / "Makefile"
		if not source.is_file():
			return False
		old = git(self.tree, "ls-tree", "base", "--", source.relative_to(self.tree))
		if old or not makefile.is_file() or not re.search(rf"^obj-.*\b{source.stem}\.o\b",
								 makefile.read_text(), re.M):
			return True
		text = f"srctree := {self.tree}\ninclude {self.out}/.config\ninclude {makefile}\n" \
			"print:\n\t@echo $(obj-y)\n"
		built = run(["make", "-s", "-f", "-", "print"], stdin=text).stdout.split()
		return f"{source.stem}.o" in built

	def compile(self, goals: Iterable[str],
		    extra: Iterable[str] = ()) -> tuple[set[Finding], list[str], int, float]:
		"""Compile @goals as far as they exist.

		@extra are more of make's variables. Returns (warnings, errors, number of objects,
		seconds).
		"""
		start = time.monotonic()
		here = [g for g in goals if g.endswith("/") or self.builds(g)]
		before = self.log.stat().st_size
		argv = [*self.target.make(self.tree, self.out), f"-j{jobs()}", "-k",
			*self.extra, *extra, *here]
		done = run(argv, log=self.log, check=False, env=ccache(build_dir()))
		with self.log.open(errors="replace") as f:
			f.seek(before)
			text = f.read()
		warnings, errors = findings(text, self.tree, self.out)
		if self.checker:
			warnings |= {(e.partition(": ")[0], f"error: {e.partition(': ')[2]}")
				     for e in errors if not e.endswith(NOT_CONSTANT)}
		if done.returncode and not errors:
			errors = [f"make failed ({done.returncode}): see {self.log}"]
		elif self.checker:
			errors = []
		objects = len(re.findall(r"^  (?:CC|CHECK) .*\.o$|^  CHECK ", text, re.M))
		return warnings, errors, objects, time.monotonic() - start

	def base(self) -> Outcome:
		"""Compile the base anew and return its Outcome; raises ToolError if that fails."""
		self.forget()
		outcome = self.state("base", "base")
		if outcome.errors:
			raise ToolError(f"{self.target.name}: the base does not compile: "
					f"{outcome.errors[0]}: see {self.log}", EXIT_BUILD)
		return outcome

	def switch(self, commit: str, label: str) -> None:
		"""Check @commit out, and configure it if need be; the log gets @label."""
		git(self.tree, "checkout", "-q", "--force", "--detach", commit)
		with self.log.open("a") as f:
			f.write(f"== {label}\n")
		if not self.configured or git(self.tree, "diff", "--name-only",
					      self.configured, commit, "--", "*Kconfig*"):
			self.configure()
		self.configured = commit

	def state(self, commit: str, label: str) -> Outcome:
		"""Check @commit out, compile, and return the Outcome against all states before."""
		self.switch(commit, label)
		warnings, errors, objects, seconds = self.compile(self.goals)
		new = sorted(f"{name}: {text}" for name, text in warnings - self.seen)
		self.seen |= warnings
		return Outcome(label, new, errors, seconds, objects)


def write_fragment(path: Path, wanted: Options) -> Path:
	"""Write {symbol: value} as a config fragment; return @path.

	Its directory is made if need be.
	"""
	path.parent.mkdir(parents=True, exist_ok=True)
	path.write_text("".join(f"{k}={v}\n" if v != "n" else f"# {k} is not set\n"
				for k, v in wanted.items()))
	return path


def states(linux: Path, target: Target, root: Path = ROOT) -> Iterator[tuple[str, str]]:
	"""Yield (commit, label) to compile: each patch of each topic alone, then all of them."""
	for topic in patches.topics(root):
		for commit, patch in commit_series(linux, patches.alone(topic, root), root):
			if patch.topic == topic and concerns(patch, target):
				yield commit, patch.label
	yield APPLIED, "whole series"


def each_patch(target: Target, root: Path = ROOT) -> Iterator[Outcome]:
	"""Yield the Outcome of each patch for @target, then of the whole series.

	Raises ToolError if the base itself does not compile.
	"""
	with Compiler(target, root=root) as compiler:
		base = compiler.base()
		say(f"{target.name}: base: {base.text()}; {len(base.new)} warnings")
		for commit, label in states(make_tree(root), target, root):
			yield compiler.state(commit, label)


def whole_series(target: Target, name: str, extra: Iterable[str] = (),
		 goals: Sequence[str] | None = None) -> Iterator[Outcome]:
	"""Yield one Outcome: the whole series against the base.

	@extra are make's variables for a checker; @name and @goals as in Compiler.
	"""
	with Compiler(target, goals, extra, name, checker=True) as compiler:
		base = compiler.base()
		outcome = compiler.state(APPLIED, "whole series")
		outcome.label += f" ({len(base.new)} findings in the base)"
		yield outcome


def whole_directories(target: Target, root: Path = ROOT) -> Iterator[Outcome]:
	"""Yield one Outcome: all of @target's directories with the whole series.

	Without W=1, but any warning is new.
	"""
	with Compiler(target, target.directories, (), f"directories-{target.name}",
		      root) as compiler:
		make_tree(root)
		compiler.forget()
		yield compiler.state(APPLIED, f"whole series, {' '.join(target.directories)}")
