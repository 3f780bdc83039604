# SPDX-License-Identifier: GPL-2.0
"""Run a job in a guest: what kunit, bench and the tests have in common."""
from common.command import build_dir
from common.settings import setting
from guests.initramfs import initramfs
from guests.kernel import build, image, output
from guests.nested import MACHINE_AROUND, NO_KUNIT, host, host_kernel
from guests.qemu import Guest


# What a config needs on the kernel's command line.
APPEND = {
	"debug": "page_table_check=on",
	# KASAN asks the CPU's features for the paging levels. identify_cpu() of the boot CPU clears them for a
	# while, and an interrupt that comes then seems to access memory without a shadow.
	"kasan": "page_table_check=on no5lvl",
	# It watches one in so many accesses; 4000 by default is too few for a slow machine.
	"kcsan": "kcsan.skip_watch=500",
	# Without a constant TSC there is no KVM with PREEMPT_RT, and TCG has none.
	"rt": "setcpuid=constant_tsc",
}
# Kinds of guest that the lean kernel can't be, and the config that can.
CONFIG_OF = {"pvh": "debug"}


def size(smp=1, mem=2048):
	"""Return the options of a Guest that settings decide, SMP=, MEM= and ACCEL=; else @smp and @mem (MiB)."""
	return {"smp": setting("SMP", smp), "mem": setting("MEM", mem), "accel": setting("ACCEL")}


def guest(kind, kernel, name, job, *, config=None, programs=(), files=(), build_it=True, around=None,
	  kunit=False, **options):
	"""Return a Guest of @kind with @kernel ("base", "series") and the job script @job.

	@options go to Guest; size() says what is left open. @config is lean if not given,
	or what the kind needs beyond that. The kernel is built unless @build_it is False,
	and runs its KUnit suites at boot only with @kunit.
	A guest in a guest has the same kernel around it unless HOST_KERNEL= names
	another; @around has options of what is around it (nested.host()).
	"""
	config = CONFIG_OF.get(kind, "lean") if config in (None, "lean") else config
	out = build(kernel, config) if build_it else output(kernel, config)
	tree = build_dir() / "linux"
	initrd = initramfs(tree, name, job, programs, files)
	append = ("" if kunit else NO_KUNIT, options.get("append"), APPEND.get(config))
	options = {**size(), **options, "append": " ".join(filter(None, append))}
	if kind in MACHINE_AROUND:
		options["host"] = host(kind, host_kernel(kernel), name, image(out), initrd,
				       append=f"panic=-1 {options['append']}".strip(), smp=options["smp"],
				       mem=options["mem"], build_it=build_it, **(around or {}))
	return Guest(kind, image(out), initrd, **options)
