# SPDX-License-Identifier: GPL-2.0
"""A machine that runs a guest in QEMU under its own KVM, and does to it what a job says.

The guest runs counter.c. The job is one of guests/jobs/, after vmm.sh there.
"""
from common.command import ROOT, build_dir
from guests.emulator import vmm_files
from guests.initramfs import compile_static, initramfs
from guests.job import guest, script
from guests.kernel import build, image
from guests.nested import NO_KUNIT
from guests.qemu import Guest


def vmm_machine(kernel: str, name: str, job: str, pages: int, passes: int,
		**variables: object) -> Guest:
	"""Return the Guest @name on @kernel, lean, whose QEMU runs a guest on the same kernel.

	The inner guest counts in @pages of its memory and reads them in @passes in between.
	@job is the name of the script; "pages" and @variables are set before it: "mem", the
	inner guest's MiB, is among them. The kernel is built if it is not up to date.
	"""
	bzimage = image(build(kernel, "lean"))
	counter = compile_static(ROOT / "guests" / "programs" / "counter.c", "counter")
	inner = initramfs(build_dir() / "linux", f"{name}-guest",
			  f"/bin/counter {pages} {passes}\n", [counter])
	text = script("vmm.sh", job, append=f"console=ttyS0 panic=-1 {NO_KUNIT}", pages=pages,
		      **variables)
	files = [("/guest/kernel", bzimage), ("/guest/initrd", inner), *vmm_files("/guest")]
	return guest("bare", kernel, name, text, files=files, smp=2, vmm=True, accel="tcg")
