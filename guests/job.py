# SPDX-License-Identifier: GPL-2.0
"""Run a job in a guest: what kunit, bench and the tests have in common."""
from collections.abc import Iterable
from typing import Any, TypedDict

from common.command import ROOT, StrPath, build_dir
from common.settings import setting
from guests.initramfs import FilePair, initramfs
from guests.kernel import build, image, output
from guests.nested import MACHINE_AROUND, NO_KUNIT, PATIENCE, Around, host, host_kernel
from guests.qemu import Guest


# What a config needs on the kernel's command line.
APPEND = {
	"debug": "page_table_check=on",
	# KASAN asks the CPU's features for the paging levels. identify_cpu() of the boot CPU
	# clears them for a while, and an interrupt that comes then seems to access memory without
	# a shadow.
	"kasan": "page_table_check=on no5lvl",
	# It watches one in so many accesses; 4000 by default is too few for a slow machine.
	"kcsan": "kcsan.skip_watch=500",
	# Without a constant TSC there is no KVM with PREEMPT_RT, and TCG has none.
	"rt": "setcpuid=constant_tsc",
	# The vmalloc test is built in, so it would run at every boot.
	"preempt": "test_vmalloc.run_test_mask=0",
}


class Size(TypedDict):
	"""The options of a Guest that settings decide; @mem is in MiB."""
	smp: int
	mem: int
	accel: str


def size(smp: int = 1, mem: int = 2048) -> Size:
	"""Return what SMP=, MEM= and ACCEL= say of a Guest; @smp and @mem (MiB) are defaults."""
	return {"smp": setting("SMP", smp), "mem": setting("MEM", mem), "accel": setting("ACCEL")}


def script(*names: str, **variables: object) -> str:
	"""Return the text of the scripts @names of guests/jobs/, shell @variables set before."""
	lines = [f'{key}="{value}"\n' for key, value in variables.items()]
	return "".join([*lines, *[(ROOT / "guests" / "jobs" / name).read_text()
				  for name in names]])


def guest(kind: str, kernel: str, name: str, job: str, *, config: str | None = None,
	  programs: Iterable[StrPath] = (), files: Iterable[FilePair] = (), build_it: bool = True,
	  around: Around | None = None, kunit: bool = False, **options: Any) -> Guest:
	"""Return a Guest of @kind with @kernel ("base", "series") and the job script @job.

	@options go to Guest; size() says what is left open. @config is lean if not given.
	The kernel is built unless @build_it is False, and runs its KUnit suites at boot only with
	@kunit. A guest in a guest has the same kernel around it unless HOST_KERNEL= names
	another; @around has options of what is around it (nested.host()).
	"""
	config = config or "lean"
	out = build(kernel, config) if build_it else output(kernel, config)
	tree = build_dir() / "linux"
	initrd = initramfs(tree, name, job, programs, files)
	append = ("" if kunit else NO_KUNIT, APPEND.get(config), options.get("append"))
	options = {**size(), **options, "append": " ".join(filter(None, append))}
	if kind in MACHINE_AROUND:
		patience = "" if options.get("icount") else PATIENCE
		inner_append = " ".join(f"panic=-1 {patience} {options['append']}".split())
		options["host"] = host(kind, host_kernel(kernel), name, image(out), initrd,
				       append=inner_append, smp=options["smp"], mem=options["mem"],
				       build_it=build_it, **(around or {}))
	return Guest(kind, image(out), initrd, **options)
