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


def processor():
	"""Return the name of this machine's processor."""
	info = Path("/proc/cpuinfo")
	match = re.search(r"^model name\s*: (.*)$", info.read_text(), re.M) if info.is_file() else None
	return match[1] if match else platform.machine()


def xen_version():
	"""Return the hypervisor's version, from what it prints when it boots."""
	logs = sorted((build_dir() / "log").glob("bench-*-xen.log"), key=lambda p: p.stat().st_mtime)
	for log in reversed(logs):
		match = re.search(r"\(XEN\) Xen version (\S+ \([^)]*\))", log.read_text(errors="replace"), re.M)
		if match:
			return match[1]
	return f"unknown, {hypervisor().name}"


def facts(results: list[Result]) -> dict[str, str]:
	"""Return a dict of title and text; @results says which kernels and guests count."""
	names = list(dict.fromkeys(r.kernel for r in results))
	configs = "lean kunit noxen disk".split()
	found = {
		"unit": "instructions of guest and hypervisor (qemu -accel tcg -icount shift=0,sleep=off); "
			"the same on any machine; two runs of mprotect() agree to 0.5 %",
		"machine": f"{processor()}, {os.cpu_count()} CPUs (emulated: QEMU -cpu max)",
		"compiler": run(["gcc", "--version"]).stdout.splitlines()[0],
		"config": "allnoconfig + " + ", ".join(
			f"guests/config/{c}.config" for c in configs if (ROOT / f"guests/config/{c}.config").is_file())
			+ " (see CONFIG_SETS in guests/kernel.py)",
		"qemu": run([qemu_binary(), "--version"]).stdout.splitlines()[0],
	}
	if any(r.guest.startswith("xen") for r in results):
		found["hypervisor"] = f"Xen {xen_version()}"
	for name in names:
		found[f"kernel {name}"] = kernels.title(name)
	commit = run(["git", "-C", ROOT, "describe", "--always", "--dirty"], check=False).stdout.strip()
	found["repository"] = commit or "unknown"
	chosen = {"GUEST": [r.guest for r in results], "KERNEL": [r.kernel for r in results]}
	known = {"GUEST": matrix.PLACES, "KERNEL": kernels.known()}
	found["command"] = " ".join(["make bench", *(f"{v}='{' '.join(dict.fromkeys(names))}'" for v, names in
						     chosen.items() if set(names) != set(known[v]))])
	return found
