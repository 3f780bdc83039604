# SPDX-License-Identifier: GPL-2.0
"""make bench-dist: benchmark and race test as one static tarball, for real machines.

build/modify-prot-bench.tar.gz holds three static programs and run.sh, which
measures by the machine's own timers and prints a table to mail.
"""
import shutil
from pathlib import Path

from common.command import ROOT, build_dir, main, replaced, run
from common.settings import Parser
from guests.kernel import source
from guests.selftests import compile_selftest, exported_headers
from series.worktree import git

NAME = "modify-prot-bench"
PROGRAMS = ("mprotect_perf", "mprotect_workload", "modify_prot_race")


def dist() -> Path:
	"""Build the tarball and return its path."""
	include = exported_headers()
	out = build_dir() / f"{NAME}.tar.gz"
	with replaced(build_dir() / NAME) as content:
		content.mkdir()
		for name in PROGRAMS:
			program = compile_selftest("mm", name, include)
			run(["strip", "-o", content / name, program])
		shutil.copy(ROOT / "bench" / "dist.sh", content / "run.sh")
		(content / "run.sh").chmod(0o755)
	version = git(source("series"), "log", "-1", "--format=%ct")
	with replaced(out) as tmp:
		# The same content gives the same file.
		run(["tar", "-C", build_dir(), "--sort=name", "--owner=0", "--group=0",
		     "--numeric-owner", f"--mtime=@{version}", "--mode=u+rwX,go+rX",
		     "-I", "gzip -n", "-cf", tmp, NAME])
	return out


def _main() -> int:
	Parser(__doc__).settled()
	print(dist())
	return 0


if __name__ == "__main__":
	main(_main)
