# SPDX-License-Identifier: GPL-2.0
"""make bench-alike: base and series in Debian's configuration, beside Debian's packages.

The other figures are those of a lean kernel, which does not compare with a distribution's.
Here base and series get the configuration of Debian's 7.3 package, as far as it can be
had without modules: what is compared is built in. On 2 cores each of the two kernels
takes some 45 minutes; then Debian's own are fetched and all are measured, bare and under
Xen, a minute for each.

Writes build/bench/alike.json and alike.txt.
"""
from functools import partial
from pathlib import Path
from typing import Any

from bench import debian, kernels, matrix
from bench.measure import TIMEOUT
from bench.programs import costs_program, program
from bench.steps import Steps
from bench.table import table
from common.command import ToolError, build_dir, main, replaced, run, say
from common.result import Result, dump
from common.settings import Parser
from guests import deb
from guests.initramfs import initramfs
from guests.job import size
from guests.kernel import KERNELS, ccache, image, make_command, output, source
from guests.qemu import Guest

VERSION = "7.3"		# whose configuration
CONFIG = "debian"	# names the directory of the objects
PLACES = matrix.DEBIAN_PLACES
PERF: tuple[matrix.PerfRow, ...] = tuple((bench, "anon-4k", matrix.SOME, 1)
					 for bench in ("mprotect", "fork", "munmap"))
COSTS: tuple[matrix.CostRow, ...] = (("uffd_wp", "anon-4k", matrix.SOME),)
Found = list[Result]


def build(kernel: str) -> Found:
	"""Build @kernel ("base", "series") in Debian's configuration, no modules; return [].

	Raises ToolError if the configuration can't be had, or with the log's path.
	"""
	tree, out = source(kernel), output(kernel, CONFIG)
	config = debian.config(VERSION)
	log = build_dir() / "log" / f"build-{kernel}-{CONFIG}.log"
	stamp, text = out / ".from", config.read_text()
	if not stamp.is_file() or stamp.read_text() != text:
		log.unlink(missing_ok=True)
		deb.configure(tree, out, str(config), log)
		stamp.write_text(text)
	say(f"building {kernel} kernel in Debian's configuration (log: {log})")
	run([*make_command(tree, out), "bzImage"], log=log, env=ccache(out.parent))
	return []


def kernel_image(kernel: str) -> Path:
	"""Return the image of @kernel, which was built or fetched before."""
	if kernel in debian.KERNELS:
		return debian.fetch(debian.KERNELS[kernel])
	return image(output(kernel, CONFIG))


def measure(kernel: str, place: str) -> Found:
	"""Measure PERF and COSTS on @kernel in @place; return the results.

	All come to rest first, as Debian's kernels have to, and mappings land where they always
	do, for fork() of few pages differs by 6 % otherwise. Raises ToolError if the guest did
	not end well or printed no result.
	"""
	name = f"alike-{kernel}-{place}"
	job = "\n".join([f"sleep {debian.SETTLE}", *matrix.cost_commands(COSTS, "/tmp"),
			 *matrix.perf_commands(PERF)]) + "\n"
	initrd = initramfs(source("series"), name, job, [program(), costs_program()])
	options: dict[str, Any] = {**size(), "smp": 1, "append": kernels.APPEND}
	machine = Guest(place, kernel_image(kernel), initrd, icount=True, **options)
	return kernels.measured(machine, name, kernel, place, TIMEOUT)


def fetched(kernel: str) -> bool:
	"""Return whether Debian's @kernel is there, fetched if need be; say so if it is not."""
	try:
		kernels.prepare(kernel, "")
	except ToolError as error:
		say(f"skipped: {kernel}: {error}")
		return False
	return True


def packages(names: list[str]) -> str:
	"""Return a line for each kernel of Debian's among @names: which package it is."""
	return "".join(f"{name}: {debian.title(debian.KERNELS[name])}\n"
		       for name in names if name in debian.KERNELS)


def alike(names: list[str]) -> Found:
	"""Build or fetch the kernels @names, measure them, write the files; return the results.

	Raises ToolError if a kernel did not build, or, when the figures of the others are
	written, if a guest failed.
	"""
	names = [n for n in names if n not in debian.KERNELS or fetched(n)]
	steps: Steps[Found] = Steps("alike")
	for kernel in names:
		if kernel not in debian.KERNELS:
			steps.add(f"build {kernel} {CONFIG}", partial(build, kernel))
	for place in PLACES:
		for kernel in names:
			steps.add(f"{kernel} {place}", partial(measure, kernel, place),
				  optional=True)
	results = [item for found in steps.run() for item in found]
	out = build_dir() / "bench"
	with replaced(out / "alike.json") as tmp:
		tmp.write_text(dump(results))
	with replaced(out / "alike.txt") as tmp:
		tmp.write_text(packages(names) + table(results) + "\n")
	steps.require()
	return results


def _main() -> int:
	parser = Parser(__doc__)
	known = (*KERNELS, *debian.KERNELS)
	parser.setting("KERNEL", list(known), known, many=True)
	print(table(alike(parser.settled().kernel)))
	return 0


if __name__ == "__main__":
	main(_main)
