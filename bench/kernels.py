# SPDX-License-Identifier: GPL-2.0
"""The kernels that are compared: base, series, each topic alone, and Debian's own."""

from bench import debian
from common.command import build_dir
from guests.initramfs import initramfs
from guests.job import guest, size
from guests.kernel import KERNELS, build, source, topic_kernels
from guests.qemu import Guest

DEBIAN_GUESTS = ("bare", "xen")		# their config is their own, so in these only
TOPIC_CONFIG = "lean"			# topics alone are built with this one


def known():
	"""Return the names of all kernels that can be measured."""
	return (*KERNELS, *topic_kernels(), *debian.KERNELS)


def runs_in(kernel, name, place):
	"""Return whether @kernel is measured in the guest @name, a matrix.GuestType @place."""
	if kernel in debian.KERNELS:
		return name in DEBIAN_GUESTS
	return kernel in KERNELS or (place.config == TOPIC_CONFIG and name != "kvm") or (name, kernel) == ("kvm", "topic3")


def prepare(kernel, config):
	"""Build @kernel with @config, or fetch it."""
	if kernel in debian.KERNELS:
		debian.fetch(debian.KERNELS[kernel])
	else:
		build(kernel, config)


def machine(kernel, place, log, job, programs=(), files=(), **options):
	"""Return a Guest that runs @job on @kernel, prepared before, in @place.

	A kernel of Debian's comes to rest first: it works in the background
	after boot.
	"""
	if kernel not in debian.KERNELS:
		return guest(place.kind, kernel, log, job, config=place.config, programs=programs, files=files,
			     build_it=False, **options)
	job = f"sleep {debian.SETTLE}\n{job}"
	initrd = initramfs(source("series"), log, job, programs, files)
	return Guest(place.kind, debian.fetch(debian.KERNELS[kernel]), initrd, **{**size(), **options})


def title(kernel):
	"""Return what a reader is told of @kernel."""
	if kernel in debian.KERNELS:
		return f"Debian's package {debian.title(debian.KERNELS[kernel])}"
	topics = topic_kernels()
	if kernel in topics:
		return f"base and topic {topics[kernel]} alone"
	release = build_dir() / ("." if kernel == "series" else kernel) / "obj-lean/include/config/kernel.release"
	text = release.read_text().strip() if release.is_file() else ""
	return f"Linux {text}{' and the whole series' if kernel == 'series' else ''}"
