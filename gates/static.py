# SPDX-License-Identifier: GPL-2.0
"""Gates that compile nothing: kernel-doc, MAINTAINERS, coccinelle, documentation, code size.

Each compares the series with the base and fails on what is new. A gate is a
generator of (what, good or None for skipped, note).
"""
import re
import shutil
from collections import Counter
from pathlib import Path

from common.command import EXIT_MISSING, ROOT, ToolError, build_dir, jobs, run
from gates.targets import TARGETS
from guests.kernel import build
from series import patches
from series.base import base_worktree
from series.tree import make_tree

OWN_MAINTAINERS = ROOT / "MAINTAINERS"
PAGES = ("mm", "virt/kvm")		# folders of Documentation/ that the series touches
LINE = re.compile(r"([\w./-]+):\d+(:\d+(-\d+)?)?:?|(?<=\bline) \d+")	# file:line, file:line:column-column, line n


def touched(*endings):
	"""Return the paths with one of @endings that the series changes or adds, sorted."""
	names = {n for p in patches.load() for n in [*p.files(), *p.payload]}
	return sorted(n for n in names if n.endswith(endings))


def need(program, package):
	"""Raise ToolError if @program is missing."""
	if not shutil.which(program):
		raise ToolError(f"{program} not found: install {package}, or 'series/deps --check'", EXIT_MISSING)


def without_lines(text, tree):
	"""Return a Counter of a tool's lines less what differs between trees: path and line number."""
	lines = (l.replace(f"{tree}/", "").strip() for l in text.splitlines())
	return Counter(LINE.sub(lambda m: f"{m[1]}:" if m[1] else "", l) for l in lines if l)


def compare(name, findings):
	"""Return a gate's result from @findings(tree) of both trees: what the base has not."""
	new = findings(make_tree()) - findings(base_worktree())
	return name, not new, "; ".join(sorted(new))


def kernel_doc():
	"""kernel-doc has nothing new to say about files that the series touches (-Wall)."""
	def findings(name):
		def inner(tree):
			if not (tree / name).is_file():
				return Counter()
			done = run(["scripts/kernel-doc", "-none", "-Wall", name], cwd=tree, check=False)
			return without_lines(done.stderr, tree)
		return inner

	for name in touched(".c", ".h"):
		if not name.startswith("tools/"):
			yield compare(name, findings(name))


def maintainers():
	"""MAINTAINERS is valid, and every new file is owned in the kernel's and in ours."""
	def sections(tree):
		done = run(["scripts/get_maintainer.pl", "--self-test=sections"], cwd=tree, check=False)
		return without_lines(done.stdout + done.stderr, tree)

	yield compare("get_maintainer.pl --self-test=sections", sections)
	linux, listed = make_tree(), set(re.findall(r"^F:\s+(\S+)$", OWN_MAINTAINERS.read_text(), re.M))
	for name in sorted({n for p in patches.load() for n in p.payload}):
		out = run(["scripts/get_maintainer.pl", "--nogit", "--nogit-fallback", "--roles", "--nol", "--nor",
			   "-f", name], cwd=linux).stdout
		missing = [] if "(maintainer:" in out else ["no section of the kernel's MAINTAINERS has it"]
		missing += [] if name in listed else ["our MAINTAINERS does not list it"]
		yield name, not missing, "; ".join(missing)
	gone = sorted(f for f in listed if not (ROOT / f).exists())
	yield "our MAINTAINERS lists only what is there", not gone, " ".join(gone)


def coccinelle():
	"""The kernel's semantic patches find nothing new in C files that the series touches."""
	need("spatch", "coccinelle")
	linux = make_tree()
	scripts = sorted((linux / "scripts" / "coccinelle").rglob("*.cocci"))
	scripts = [s for s in scripts if re.search(r"^virtual .*\breport\b", s.read_text(), re.M)]

	def spatch(script, tree):
		options = re.search(r"^// Options: (.*)$", script.read_text(), re.M)
		# Each file is a group of its own, as in make coccicheck.
		groups = build_dir() / "gates" / "coccinelle.files"
		groups.parent.mkdir(parents=True, exist_ok=True)
		groups.write_text("\n\n".join(n for n in touched(".c") if (tree / n).is_file()) + "\n")
		return run(["spatch", "-D", "report", "--no-show-diff", "--very-quiet", "--cocci-file", script,
			    *(options[1].split() if options else []), "-j", jobs(), "--timeout", "60",
			    "--no-scanner", "--file-groups", groups], cwd=tree, check=False)

	for script in scripts:
		name = str(script.relative_to(linux / "scripts" / "coccinelle"))
		done = spatch(script, linux)
		if done.returncode:	# one that needs another coccinelle
			yield name, None, f"spatch fails: {done.stderr.strip()[-200:]}"
		elif not done.stdout.strip():
			yield name, True, ""
		else:
			new = without_lines(done.stdout, linux) \
			      - without_lines(spatch(script, base_worktree()).stdout, base_worktree())
			yield name, not new, "; ".join(sorted(new))


def documentation():
	"""Sphinx builds the folders of our pages without new warnings."""
	need("sphinx-build", "python3-sphinx")

	def findings(tree):
		out = build_dir() / "gates" / f"docs-{'base' if tree == base_worktree() else 'series'}"
		log = build_dir() / "log" / f"gate-{out.name}.log"
		log.unlink(missing_ok=True)
		run(["make", "-C", tree, f"O={out}", f"SPHINXDIRS={' '.join(PAGES)}", "SPHINXOPTS=-E",
		     "htmldocs"], log=log, check=False)
		for page in pages:
			if tree != base_worktree() and not list(out.rglob(f"{Path(page).stem}.html")):
				raise ToolError(f"sphinx made no page of {page}: see {log}")
		return without_lines("\n".join(l for l in log.read_text().splitlines()
					       if re.search(r"\b(WARNING|ERROR|warning|error):", l)), tree)

	pages = touched(".rst")
	yield compare(" ".join(pages), findings)


def code_size():
	"""What the series adds to the objects it touches, without tests, by bloat-o-meter; a figure, not a limit."""
	joined = []
	for kernel in ("base", "series"):
		out = build(kernel, "lean")
		objects = [out / p for p in TARGETS["x86_64"].paths() if "/tests/" not in p and (out / p).is_file()]
		joined.append(build_dir() / "gates" / f"objects-{kernel}.o")
		joined[-1].parent.mkdir(exist_ok=True)
		run(["ld", "-r", "-o", joined[-1], *objects])
	text = run(["scripts/bloat-o-meter", *joined], cwd=make_tree()).stdout
	kept = build_dir() / "gates" / "bloat-o-meter.txt"
	kept.write_text(text)
	# Symbols that carry a line number in their name differ without a reason.
	sizes = re.findall(r"^(?!__UNIQUE_ID)\S+ +\S+ +\S+ +([-+]\d+)$", text, re.M)
	up, down = (sum(int(s) for s in sizes if s[0] == sign) for sign in "+-")
	yield "bloat-o-meter", True, f"up {up}, down {down}, together {up + down:+} bytes; details in {kept}"
