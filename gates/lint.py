# SPDX-License-Identifier: GPL-2.0
"""Lint of the repository's own scripts: pylint, shellcheck, --help, SPDX lines."""
import re
import sys

from common.command import ROOT, run

# Messages that only the tests are spared.
TESTS_MAY = "missing-function-docstring"


def tracked(*patterns):
	"""Return the paths of tracked files that match git's @patterns."""
	out = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns], cwd=ROOT).stdout
	return [n for n in out.splitlines() if (ROOT / n).is_file()]


def pylint(names, *options):
	"""Return pylint's messages about @names, one per line, "" if there are none."""
	done = run(["pylint", "--score=n", "--msg-template={path}:{line}: {msg} ({symbol})", *options, *names],
		   cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=False)
	return "\n".join(l for l in (done.stdout + done.stderr).splitlines() if not l.startswith("****"))


def shell_scripts():
	"""Return the shell scripts of the tooling by their first line; the payload's are the kernel's."""
	names = [n for n in tracked(":!tools/", ":!patches/") if not n.endswith((".py", ".c", ".h", ".rst", ".md"))]
	return [n for n in names if re.match(r"#!.*\bsh\b", (ROOT / n).read_text(errors="replace"))]


def programs():
	"""Return the Python modules that are programs."""
	return [n for n in tracked("*.py", ":!tools/") if "\nif __name__ ==" in (ROOT / n).read_text()]


def lint():
	"""The scripts of this repository: pylint, shellcheck, --help, SPDX lines."""
	modules = tracked("*.py", ":!tools/")
	tests = [n for n in modules if n.startswith("tests/test_")]
	text = pylint([n for n in modules if n not in tests])
	yield "pylint", not text, text
	text = pylint(tests, f"--disable={TESTS_MAY}")
	yield "pylint, tests", not text, text
	for name in shell_scripts():
		done = run(["shellcheck", "-x", name], cwd=ROOT, check=False)
		yield f"shellcheck {name}", done.returncode == 0, done.stdout
	for name in programs():
		done = run([sys.executable, "-m", name[:-3].replace("/", "."), "--help"], cwd=ROOT, check=False)
		good = done.returncode == 0 and done.stdout.startswith("usage: ")
		yield f"{name} --help", good, done.stderr
	done = run(["series/deps", "--help"], cwd=ROOT, check=False)
	yield "series/deps --help", done.returncode == 0 and "Usage:" in done.stdout, done.stderr
	bare = [n for n in tracked(":!patches/", ":!MAINTAINERS", ":!*.sha256", ":!*.json", ":!*.txt", ":!*.html",
					":!mm/tests/.kunitconfig")
		if "SPDX-License-Identifier:" not in (ROOT / n).read_text(errors="replace")[:400]]
	yield "every file has an SPDX line", not bare, " ".join(bare)
