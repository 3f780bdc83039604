# SPDX-License-Identifier: GPL-2.0
"""Guests inside a guest: the machine around them, a kernel and initramfs that run them.

GUEST=domU, pvh, pvshim: a dom0 with xl and what it needs from Debian's packages runs a
PV or, on a CPU with SVM, a PVH guest; in pvshim that is Xen's shim, and the kernel runs in
it as a PV guest. GUEST=kvm: a machine with SVM whose kernel runs KVM, and this machine's
QEMU in it. The inner guest's kernel and initramfs are in /guest of the outer one's
initramfs.
"""
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from common.command import EXIT_MISSING, ROOT, StrPath, ToolError, build_dir, replaced
from common.settings import XEN_VERSIONS, setting
from guests.emulator import vmm_files
from guests.initramfs import FilePair, initramfs
from guests.kernel import build, image, output
from guests.libraries import libraries
from guests.xen import tools

NO_KUNIT = "kunit.autorun=0"	# for the command line of a kernel that has the suites built in
# A guest's clock runs on while the machine that QEMU is on stands still: only a stall that is
# longer than that is the guest's own. 300 seconds is the most that the kernel takes.
PATIENCE = "rcupdate.rcu_cpu_stall_timeout=300"
# Which machine a nested guest runs in.
MACHINE_AROUND = {"domU": "xen", "pvh": "xen", "pvshim": "xen", "kvm": "bare"}
# What a line of the inner guest's console begins with on the outer one's.
PREFIX = "guest| "
# What xl makes of a kind: its type, how it has the TSC, and more lines. A native TSC for
# PVH: if Xen emulates it, QEMU 7.2 reports an intercepted RDTSCP as RDTSC, and Xen ends the
# guest.
XL_KINDS = {"domU": ("pv", "default", ""), "pvh": ("pvh", "native", ""),
	    "pvshim": ("pvh", "native", "pvshim = 1\n")}
XL_CONFIG = """name = "guest"
type = "{type}"
kernel = "/guest/kernel"
ramdisk = "/guest/initrd"
cmdline = "{append}"
memory = {mem}
vcpus = {smp}
tsc_mode = "{tsc}"
on_reboot = "destroy"
on_crash = "destroy"
"""
XEN_PROGRAMS = ("xl", "xenconsole", "xenconsoled", "xenstored", "xen-init-dom0",
		"libxl-save-helper")


@dataclass
class Host:
	"""The outer kernel and what it boots with."""
	kernel: Path
	initrd: Path
	append: str = NO_KUNIT


class Around(TypedDict, total=False):
	"""What a caller may choose of the machine around a guest; see host()."""
	inner_mem: int
	inner_smp: int
	scenario: str
	outer_programs: Sequence[StrPath]


def dom0_files(kind: str = "domU") -> list[FilePair]:
	"""Return (guest path, host path) of xl, its daemons and their libraries.

	If @kind is pvshim, Xen's shim is among them: raises ToolError if there is none.
	"""
	root = tools()
	directory = next((root / "usr" / "lib").glob("xen-*/bin"))
	programs = [directory / name for name in XEN_PROGRAMS]
	shim = [directory.parent / "boot" / "xen-shim"] if kind == "pvshim" else []
	if shim and not shim[0].is_file():
		raise ToolError(f"Debian's package of these tools has no {shim[0]}: "
				f"name another version, XEN={'|'.join(XEN_VERSIONS)}", EXIT_MISSING)
	return [*[(f"/{p.relative_to(root)}", p) for p in (*programs, *shim)],
		*libraries(programs, root)]


def host(kind: str, kernel: str, name: str, guest_kernel: Path, guest_initrd: Path, *,
	 append: str, smp: int, mem: int, inner_mem: int | None = None,
	 inner_smp: int | None = None, scenario: str | None = None,
	 outer_programs: Sequence[StrPath] = (), build_it: bool = True) -> Host:
	"""Return the Host that runs a guest of @kind on @kernel ("base", "series").

	@guest_kernel and @guest_initrd are the inner guest's, @append its command
	line, @smp and @mem what the whole machine has; the guest has half the
	memory and as many vCPUs, or @inner_mem and @inner_smp. @scenario is the text
	of a script that the outer job of a domU sources while the guest runs, and
	@outer_programs are host paths that land in the outer /bin.
	"""
	inner_smp, inner_mem = inner_smp or smp, inner_mem or mem // 2
	texts = {"scenario": scenario} if scenario else {}
	if kind == "kvm":
		arguments = shlex.quote(f"console=ttyS0 {append}")
		job = f"smp={inner_smp}\nmem={inner_mem}\nappend={arguments}\n"
		script, programs = "kvm.sh", vmm_files("/guest")
	else:
		virtual, tsc, more = XL_KINDS[kind]
		texts["xl.cfg"] = more + XL_CONFIG.format(append=f"console=hvc0 {append}",
							  type=virtual, tsc=tsc, smp=inner_smp,
							  mem=inner_mem)
		job = ""
		script, programs = "domU.sh", dom0_files(kind)
	job += (ROOT / "guests" / "jobs" / script).read_text()
	files = [("/guest/kernel", guest_kernel), ("/guest/initrd", guest_initrd), *programs]
	store = build_dir() / "guests" / f"{name}-guest"
	store.mkdir(parents=True, exist_ok=True)
	for text_name, text in texts.items():
		with replaced(store / text_name) as tmp:
			tmp.write_text(text)
		files.append((f"/guest/{text_name}", store / text_name))
	out = build(kernel, "lean") if build_it else output(kernel, "lean")
	initrd = initramfs(build_dir() / "linux", f"{name}-host", job, outer_programs, files)
	return Host(image(out), initrd)


def host_kernel(default: str) -> str:
	"""Return which kernel is around the guest: HOST_KERNEL=, else @default."""
	return setting("HOST_KERNEL", default)
