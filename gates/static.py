# SPDX-License-Identifier: GPL-2.0
"""Gates that compile nothing: kernel-doc, MAINTAINERS, coccinelle, documentation, code size.

Each compares the series with the base and fails on what is new.
"""
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from common.command import EXIT_MISSING, ROOT, StrPath, ToolError, build_dir, jobs, run
from gates.targets import TARGETS
from gates.verdict import Verdict
from guests.kernel import build
from series import patches
from series.base import base_worktree
from series.tree import make_tree

OWN_MAINTAINERS = ROOT / "MAINTAINERS"
PAGES = ("mm", "virt/kvm")		# directories of Documentation/ that the series touches
# file:line, file:line:column-column, line n
LINE = re.compile(r"([\w./-]+):\d+(:\d+(-\d+)?)?:?|(?<=\bline) \d+")


def touched(*endings: str) -> list[str]:
	"""Return the paths with one of @endings that the series changes or adds, sorted."""
	names = {n for p in patches.load() for n in [*p.files(), *p.payload]}
	return sorted(n for n in names if n.endswith(endings))


def need(program: str, package: str) -> None:
	"""Raise ToolError if @program is missing."""
	if not shutil.which(program):
		raise ToolError(f"{program} not found: install {package}, or 'series/deps --check'",
				EXIT_MISSING)


def without_lines(text: str, tree: StrPath) -> Counter[str]:
	"""Return a Counter of a tool's lines, less what differs between trees.

	That is the path of the @tree, and line numbers.
	"""
	lines = (l.replace(f"{tree}/", "").strip() for l in text.splitlines())
	return Counter(LINE.sub(lambda m: f"{m[1]}:" if m[1] else "", l) for l in lines if l)


def compare(name: str, findings: Callable[[Path], Counter[str]]) -> Verdict:
	"""Return a verdict by @findings(tree) of both trees: what the base does not have is bad."""
	new = findings(make_tree()) - findings(base_worktree())
	return name, not new, "; ".join(sorted(new))


def kernel_doc() -> Iterator[Verdict]:
	"""kernel-doc has nothing new to say about files that the series touches (-Wall)."""
	def findings(name: str) -> Callable[[Path], Counter[str]]:
		def inner(tree: Path) -> Counter[str]:
			if not (tree / name).is_file():
				return Counter()
			done = run(["scripts/kernel-doc", "-none", "-Wall", name], cwd=tree,
				   check=False)
			return without_lines(done.stderr, tree)
		return inner

	for name in touched(".c", ".h"):
		if not name.startswith("tools/"):
			yield compare(name, findings(name))


def maintainers() -> Iterator[Verdict]:
	"""MAINTAINERS is valid, and every new file is owned in the kernel's and in ours."""
	def sections(tree: Path) -> Counter[str]:
		done = run(["scripts/get_maintainer.pl", "--self-test=sections"], cwd=tree,
			   check=False)
		return without_lines(done.stdout + done.stderr, tree)

	yield compare("get_maintainer.pl --self-test=sections", sections)
	linux = make_tree()
	listed = set(re.findall(r"^F:\s+(\S+)$", OWN_MAINTAINERS.read_text(), re.M))
	for name in sorted({n for p in patches.load() for n in p.payload}):
		out = run(["scripts/get_maintainer.pl", "--nogit", "--nogit-fallback", "--roles",
			   "--nol", "--nor", "-f", name], cwd=linux).stdout
		missing = []
		if "(maintainer:" not in out:
			missing.append("no section of the kernel's MAINTAINERS has it")
		if name not in listed:
			missing.append("our MAINTAINERS does not list it")
		yield name, not missing, "; ".join(missing)
	gone = sorted(f for f in listed if not (ROOT / f).exists())
	yield "our MAINTAINERS lists only what is there", not gone, " ".join(gone)


def coccinelle() -> Iterator[Verdict]:
	"""The kernel's semantic patches find nothing new in C files that the series touches."""
	need("spatch", "coccinelle")
	linux = make_tree()
	scripts = sorted((linux / "scripts" / "coccinelle").rglob("*.cocci"))
	scripts = [s for s in scripts
		   if re.search(r"^virtual .*\breport\b", s.read_text(), re.M)]

	def spatch(script: Path, tree: Path) -> subprocess.CompletedProcess[str]:
		options = re.search(r"^// Options: (.*)$", script.read_text(), re.M)
		# Each file is a group of its own, as in make coccicheck.
		groups = build_dir() / "gates" / "coccinelle.files"
		groups.parent.mkdir(parents=True, exist_ok=True)
		here = [n for n in touched(".c") if (tree / n).is_file()]
		groups.write_text("\n\n".join(here) + "\n")
		return run(["spatch", "-D", "report", "--no-show-diff", "--very-quiet",
			    "--cocci-file", script, *(options[1].split() if options else []),
			    "-j", jobs(), "--timeout", "60",
			    "--no-scanner", "--file-groups", groups], cwd=tree, check=False)

	for script in scripts:
		name = str(script.relative_to(linux / "scripts" / "coccinelle"))
		done = spatch(script, linux)
		if done.returncode:	# one that needs another coccinelle
			yield name, None, f"spatch fails: {done.stderr.strip()[-200:]}"
		elif not done.stdout.strip():
			yield name, True, ""
		else:
			base = base_worktree()
			new = without_lines(done.stdout, linux) \
			      - without_lines(spatch(script, base).stdout, base)
			yield name, not new, "; ".join(sorted(new))


def documentation() -> Iterator[Verdict]:
	"""Sphinx builds the directories of our pages without new warnings."""
	need("sphinx-build", "python3-sphinx")

	def findings(tree: Path) -> Counter[str]:
		kernel = "base" if tree == base_worktree() else "series"
		out = build_dir() / "gates" / f"docs-{kernel}"
		log = build_dir() / "log" / f"gate-{out.name}.log"
		log.unlink(missing_ok=True)
		run(["make", "-C", tree, f"O={out}", f"SPHINXDIRS={' '.join(PAGES)}",
		     "SPHINXOPTS=-E", "htmldocs"], log=log, check=False)
		for page in pages:
			if kernel == "series" and not list(out.rglob(f"{Path(page).stem}.html")):
				raise ToolError(f"sphinx made no page of {page}: see {log}")
		bad = re.compile(r"\b(WARNING|ERROR|warning|error):")
		return without_lines("\n".join(filter(bad.search, log.read_text().splitlines())),
				     tree)

	pages = touched(".rst")
	yield compare(" ".join(pages), findings)


def code_size() -> Iterator[Verdict]:
	"""What the series adds to the objects it touches, less tests: a figure, not a limit."""
	joined = []
	for kernel in ("base", "series"):
		out = build(kernel, "lean")
		objects = [out / p for p in TARGETS["x86_64"].paths()
			   if "/tests/" not in p and (out / p).is_file()]
		joined.append(build_dir() / "gates" / f"objects-{kernel}.o")
		joined[-1].parent.mkdir(exist_ok=True)
		run(["ld", "-r", "-o", joined[-1], *objects])
	text = run(["scripts/bloat-o-meter", *joined], cwd=make_tree()).stdout
	kept = build_dir() / "gates" / "bloat-o-meter.txt"
	kept.write_text(text)
	# Symbols that carry a line number in their name differ without a reason.
	sizes = re.findall(r"^(?!__UNIQUE_ID)\S+ +\S+ +\S+ +([-+]\d+)$", text, re.M)
	up, down = (sum(int(s) for s in sizes if s[0] == sign) for sign in "+-")
	yield ("bloat-o-meter", True,
	       f"up {up}, down {down}, together {up + down:+} bytes; details in {kept}")
