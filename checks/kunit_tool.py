# SPDX-License-Identifier: GPL-2.0
"""Checks of kunit.py as kunit-xen leaves it: its own tests, and kernels that it boots under Xen."""
import os
import shlex
import shutil
import sys
from pathlib import Path

from checks.kunit_suites import LAZY_SUITE
from common.command import build_dir, run
from common.tally import KUnitCase, Tally
from guests.emulator import qemu_binary
from guests.kernel import image, output, source
from guests.kunit import cases, kunit_tool
from guests.xen import hypervisor

LIMIT = 3600	# seconds: kunit.py's counts the wall clock


def emulating_qemu() -> Path:
	"""Return a directory with a qemu-system-x86_64 that emulates, whatever it is told.

	kunit.py takes KVM if it can be opened, which proves nothing (guests.qemu).
	"""
	path = build_dir() / "guests" / "emulating" / "qemu-system-x86_64"
	path.parent.mkdir(parents=True, exist_ok=True)
	path.write_text(f'#!/bin/sh\nexec {shlex.quote(shutil.which(qemu_binary()) or "")} '
			'-accel tcg "$@"\n')
	path.chmod(0o755)
	return path.parent


def boot_under_xen(kernel: str, suites: str = "") -> list[KUnitCase]:
	"""Boot the lean @kernel under Xen by the series' kunit.py; return [(case, status)].

	@suites is a pattern of suites and cases; all run if it is empty.
	"""
	directory = build_dir() / f"kunit-tool-{kernel}"
	link = directory / "arch" / "x86" / "boot" / "bzImage"
	link.parent.mkdir(parents=True, exist_ok=True)
	link.unlink(missing_ok=True)
	link.symlink_to(image(output(kernel, "lean")))
	path = f"{emulating_qemu()}:{os.environ['PATH']}"
	_, results = kunit_tool(source("series"), "exec", "--arch=x86_64_xen",
				f"--hypervisor={hypervisor()}", f"--build_dir={directory}",
				f"--timeout={LIMIT}", *filter(None, [suites]), env={"PATH": path})
	return list(cases(results))


def check_kunit_tool(tally: Tally) -> None:
	"""See kunit.py pass its own tests, the series pass under it, and the base fail."""
	with tally.step("kunit.py: its own tests pass"):
		run([sys.executable, "tools/testing/kunit/kunit_tool_test.py"],
		    cwd=source("series"))
	with tally.step("kunit.py --arch=x86_64_xen: the series passes"):
		results = boot_under_xen("series")
		bad = [name for name, status in results if status not in ("PASS", "SKIP")]
		assert not bad, " ".join(bad)
		assert any(name.startswith(LAZY_SUITE) for name, _ in results), "no such suite"
	with tally.step("kunit.py --arch=x86_64_xen: lazy_mmu_mode fails on the base"):
		results = boot_under_xen("base", f"{LAZY_SUITE}*")
		assert "FAIL" in {status for _, status in results}, results
