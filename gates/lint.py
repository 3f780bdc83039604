# SPDX-License-Identifier: GPL-2.0
"""Lint of the repository's own scripts: pylint, mypy, line lengths, shellcheck, --help, SPDX."""
import re
import sys
from collections.abc import Iterable, Iterator

from common.command import ROOT, build_dir, run
from gates.verdict import Verdict

# Messages that only the tests are spared.
TESTS_MAY = "missing-function-docstring"
MAX_COLUMNS = 100	# of a line, a tab being eight
# Git's patterns of the files that keep to them.
NARROW = ("common/*.py", "series/*.py", "guests/*.py", "bench/*.py", "gates/*.py", "checks/*.py",
	  "tests/*.py", "Makefile")
# What is not a script by its name.
NO_SCRIPT = (".py", ".c", ".h", ".rst", ".md")


def tracked(*patterns: str) -> list[str]:
	"""Return the paths of tracked files that match git's @patterns."""
	out = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--",
		   *patterns], cwd=ROOT).stdout
	return [n for n in out.splitlines() if (ROOT / n).is_file()]


def pylint(names: Iterable[str], *options: str) -> str:
	"""Return pylint's messages about @names, one per line, "" if there are none."""
	done = run(["pylint", "--score=n", "--msg-template={path}:{line}: {msg} ({symbol})",
		    *options, *names], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=False)
	lines = (done.stdout + done.stderr).splitlines()
	return "\n".join(l for l in lines if not l.startswith("****"))


def mypy(*options: str) -> tuple[bool, str]:
	"""Return whether mypy finds nothing wrong in what mypy.ini names, and its messages."""
	done = run(["mypy", "--no-error-summary", f"--cache-dir={build_dir() / 'mypy'}", *options],
		   cwd=ROOT, check=False)
	return done.returncode == 0, (done.stdout + done.stderr).strip()


def wide_lines(text: str) -> list[int]:
	"""Return the numbers of the lines of @text that have more than MAX_COLUMNS columns."""
	return [number for number, line in enumerate(text.splitlines(), 1)
		if len(line.expandtabs(8)) > MAX_COLUMNS]


def shell_scripts() -> list[str]:
	"""Return the shell scripts of the tooling by their first line; the payload's aren't."""
	names = [n for n in tracked(":!tools/", ":!patches/") if not n.endswith(NO_SCRIPT)]
	return [n for n in names if re.match(r"#!.*\bsh\b", (ROOT / n).read_text(errors="replace"))]


def programs() -> list[str]:
	"""Return the Python modules that are programs."""
	return [n for n in tracked("*.py", ":!tools/")
		if "\nif __name__ ==" in (ROOT / n).read_text()]


def lint() -> Iterator[Verdict]:
	"""The scripts of this repository: pylint, mypy, lines, shellcheck, --help, SPDX lines."""
	modules = tracked("*.py", ":!tools/")
	tests = [n for n in modules if n.startswith("tests/test_")]
	text = pylint([n for n in modules if n not in tests])
	yield "pylint", not text, text
	text = pylint(tests, f"--disable={TESTS_MAY}")
	yield "pylint, tests", not text, text
	yield "mypy", *mypy()
	wide = [f"{name}:{number}" for name in tracked(*NARROW)
		for number in wide_lines((ROOT / name).read_text())]
	yield f"lines of at most {MAX_COLUMNS} columns", not wide, " ".join(wide)
	for name in shell_scripts():
		done = run(["shellcheck", "-x", name], cwd=ROOT, check=False)
		yield f"shellcheck {name}", done.returncode == 0, done.stdout
	for name in programs():
		done = run([sys.executable, "-m", name[:-3].replace("/", "."), "--help"], cwd=ROOT,
			   check=False)
		good = done.returncode == 0 and done.stdout.startswith("usage: ")
		yield f"{name} --help", good, done.stderr
	done = run(["series/deps", "--help"], cwd=ROOT, check=False)
	yield "series/deps --help", done.returncode == 0 and "Usage:" in done.stdout, done.stderr
	others = tracked(":!patches/", ":!MAINTAINERS", ":!*.sha256", ":!*.json", ":!*.txt",
			 ":!*.html", ":!*.png", ":!mm/tests/.kunitconfig")
	bare = [n for n in others
		if "SPDX-License-Identifier:" not in (ROOT / n).read_text(errors="replace")[:400]]
	yield "every file has an SPDX line", not bare, " ".join(bare)
