# SPDX-License-Identifier: GPL-2.0
"""The kernels that are compared: base, series, each topic alone, and Debian's own."""
from collections.abc import Iterable
from typing import Any

from bench import debian
from bench.matrix import DEBIAN_PLACES, PLACES, Place
from common.command import EXIT_GUEST, StrPath, ToolError
from common.result import Result, counted, parse
from guests.initramfs import FilePair, initramfs
from guests.job import guest, size
from guests.kernel import KERNELS, build, output, source, topic_kernels
from guests.qemu import Guest
from series import patches

# Mappings land where they always do, because it changes what fork and exec cost.
APPEND = "norandmaps"


def known() -> tuple[str, ...]:
	"""Return the names of all kernels that can be measured."""
	return (*KERNELS, *topic_kernels(), *debian.KERNELS)


def touched(topic: str) -> list[str]:
	"""Return the paths of files that @topic changes or adds."""
	return [name for patch in patches.load() if patch.topic == topic
		for name in (*patch.files(), *patch.payload)]


def runs_in(kernel: str, name: str) -> bool:
	"""Return whether @kernel is measured in the place @name of the matrix."""
	if kernel in debian.KERNELS:
		return name in DEBIAN_PLACES
	if kernel in KERNELS:
		return True
	wanted, topic = PLACES[name].topics, topic_kernels()[kernel]
	return bool(wanted) and any(path.startswith(wanted) for path in touched(topic))


def prepare(kernel: str, config: str) -> None:
	"""Build @kernel with @config, or fetch it."""
	if kernel in debian.KERNELS:
		debian.fetch(debian.KERNELS[kernel])
	else:
		build(kernel, config)


def machine(kernel: str, place: Place, log: str, job: str, programs: Iterable[StrPath] = (),
	    files: Iterable[FilePair] = (), **options: Any) -> Guest:
	"""Return a Guest that runs @job on @kernel, prepared before, in @place.

	@programs, @files and @options are as in guests.job.guest(), @log names what belongs to
	the guest. It boots with APPEND. A kernel of Debian's comes to rest first: it works in
	the background after boot.
	"""
	options["append"] = " ".join(filter(None, (APPEND, place.append,
						   options.get("append"))))
	if kernel not in debian.KERNELS:
		return guest(place.kind, kernel, log, job, config=place.config, programs=programs,
			     files=files, build_it=False, **options)
	job = f"sleep {debian.SETTLE}\n{job}"
	initrd = initramfs(source("series"), log, job, programs, files)
	options = {**size(), **options}
	return Guest(place.kind, debian.fetch(debian.KERNELS[kernel]), initrd, **options)


def measured(vm: Guest, log: str, kernel: str, name: str, timeout: float,
	     least: int = 1, may_warn: bool = False) -> list[Result]:
	"""Run @vm and return what its programs have measured of @kernel in the place @name.

	@log names its log, @timeout and @may_warn are as in Guest.run(). Raises
	ToolError if it did not end well or printed fewer than @least results.
	"""
	done = vm.run(log, timeout=timeout, may_warn=may_warn).require()
	found = counted(parse(done.lines, kernel, name))
	if len(found) < least:
		raise ToolError(f"{len(found)} of {least} results: see {done.log}", EXIT_GUEST)
	return found


def title(kernel: str) -> str:
	"""Return what a reader is told of @kernel."""
	if kernel in debian.KERNELS:
		return f"Debian's package {debian.title(debian.KERNELS[kernel])}"
	topics = topic_kernels()
	if kernel in topics:
		return f"base and topic {topics[kernel]} alone"
	release = output(kernel, "lean") / "include" / "config" / "kernel.release"
	text = release.read_text().strip() if release.is_file() else ""
	return f"Linux {text}{' and the whole series' if kernel == 'series' else ''}"
