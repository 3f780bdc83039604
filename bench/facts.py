# SPDX-License-Identifier: GPL-2.0
"""What a reader must know beside the figures: machine, tools, kernels, command."""
import os
import platform
import re
from pathlib import Path

from bench import kernels, matrix
from common.command import ROOT, build_dir, run
from common.result import Result
from guests.qemu import qemu_binary
from guests.xen import hypervisor
from series.worktree import git


def processor() -> str:
	"""Return the name of this machine's processor."""
	info = Path("/proc/cpuinfo")
	text = info.read_text() if info.is_file() else ""
	match = re.search(r"^model name\s*: (.*)$", text, re.M)
	return match[1] if match else platform.machine()


def xen_version() -> str:
	"""Return the hypervisor's version, from what it prints when it boots."""
	logs = (build_dir() / "log").glob("bench-*-xen.log")
	for log in sorted(logs, key=lambda p: p.stat().st_mtime, reverse=True):
		match = re.search(r"\(XEN\) Xen version (\S+ \([^)]*\))",
				  log.read_text(errors="replace"))
		if match:
			return match[1]
	return f"unknown, {hypervisor().name}"


def facts(results: list[Result]) -> dict[str, str]:
	"""Return a dict of title and text; @results says which kernels and guests count."""
	names = list(dict.fromkeys(r.kernel for r in results))
	configs = dict.fromkeys(matrix.PLACES[r.guest].config for r in results
				if r.guest in matrix.PLACES)
	found = {
		"unit": "instructions of guest and hypervisor "
			"(qemu -accel tcg -icount shift=0,sleep=off); "
			"the same on any machine; two runs of mprotect() agree to 0.5 %",
		"machine": f"{processor()}, {os.cpu_count()} CPUs (emulated: QEMU -cpu max)",
		"compiler": run(["gcc", "--version"]).stdout.splitlines()[0],
		"config": f"{' '.join(configs)}: allnoconfig and fragments of guests/config/ "
			  "(CONFIG_SETS in guests/kernel.py)",
		"qemu": run([qemu_binary(), "--version"]).stdout.splitlines()[0],
	}
	if any(r.guest.startswith("xen") for r in results):
		found["hypervisor"] = f"Xen {xen_version()}"
	for name in names:
		found[f"kernel {name}"] = kernels.title(name)
	commit = git(ROOT, "describe", "--always", "--dirty", check=False)
	found["repository"] = commit or "unknown"
	chosen = {"GUEST": [r.guest for r in results], "KERNEL": [r.kernel for r in results]}
	known = {"GUEST": set(matrix.PLACES), "KERNEL": set(kernels.known())}
	settings = [f"{variable}='{' '.join(dict.fromkeys(values))}'"
		    for variable, values in chosen.items() if set(values) != known[variable]]
	found["command"] = " ".join(["make bench", *settings])
	return found
