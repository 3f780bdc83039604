# SPDX-License-Identifier: GPL-2.0
"""Guests inside a guest: the machine around them, a kernel and initramfs that run them.

GUEST=domU: a dom0 with xl and what it needs from Debian's packages. The inner
guest's kernel and initramfs are in /guest of the outer one's initramfs.
"""
import os
from dataclasses import dataclass
from pathlib import Path

from guests.initramfs import initramfs
from guests.kernel import KERNELS, build, image, output
from guests.programs import libraries
from guests.xen import tools
from series.cmd import ROOT, ToolError, build_dir, replaced

# Which machine a nested guest runs in.
MACHINES = {"domU": "xen"}
# What a line of the inner guest's console begins with on the outer one's.
PREFIX = "guest| "
XL_CONFIG = """name = "guest"
type = "{type}"
kernel = "/guest/kernel"
ramdisk = "/guest/initrd"
cmdline = "{append}"
memory = {mem}
vcpus = {smp}
on_reboot = "destroy"
on_crash = "destroy"
"""
XEN_PROGRAMS = ("xl", "xenconsole", "xenconsoled", "xenstored", "xen-init-dom0", "libxl-save-helper")


@dataclass
class Host:
	"""The outer kernel and what it boots with."""
	kernel: Path
	initrd: Path
	append: str = "kunit.autorun=0"


def dom0_files():
	"""Return (guest path, host path) of xl, its daemons and their libraries."""
	root = tools()
	folder = next((root / "usr" / "lib").glob("xen-*/bin"))
	programs = [folder / name for name in XEN_PROGRAMS]
	return [*[(f"/{p.relative_to(root)}", p) for p in programs], *libraries(programs, root)]


def host(kind, kernel, name, guest_kernel, guest_initrd, *, append, smp, mem,
	 inner_mem=None, inner_smp=None, scenario=None, build_it=True):
	"""Return the Host that runs a guest of @kind on @kernel ("base", "series").

	@guest_kernel and @guest_initrd are the inner guest's, @append its command
	line, @smp and @mem what the whole machine has; the guest has half the
	memory and as many vCPUs, or @inner_mem and @inner_smp. @scenario is the text of a script that the outer job sources
	while the guest runs.
	"""
	store = build_dir() / "guests" / f"{name}-guest"
	store.mkdir(parents=True, exist_ok=True)
	texts = {"xl.cfg": XL_CONFIG.format(type="pv", append=f"console=hvc0 {append}", mem=inner_mem or mem // 2, smp=inner_smp or smp)}
	if scenario:
		texts["scenario"] = scenario
	files = [("/guest/kernel", guest_kernel), ("/guest/initrd", guest_initrd)]
	for text_name, text in texts.items():
		with replaced(store / text_name) as tmp:
			tmp.write_text(text)
		files.append((f"/guest/{text_name}", store / text_name))
	out = build(kernel, "lean") if build_it else output(kernel, "lean")
	job = (ROOT / "guests" / "jobs" / "domU.sh").read_text()
	initrd = initramfs(build_dir() / "linux", f"{name}-host", job, files=[*files, *dom0_files()])
	return Host(image(out), initrd)


def host_kernel(default):
	"""Return which kernel is around the guest: HOST_KERNEL=, else @default."""
	kernel = os.environ.get("HOST_KERNEL") or default
	if kernel not in KERNELS:
		raise ToolError(f"unknown HOST_KERNEL '{kernel}': known are {' '.join(KERNELS)}")
	return kernel
