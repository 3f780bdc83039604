# SPDX-License-Identifier: GPL-2.0
"""Build kernel selftests statically, from build/linux, for the guests' initramfs."""
from pathlib import Path

from common.command import build_dir, run
from guests.kernel import build, make_command, output, source


def headers(config: str = "lean") -> Path:
	"""Build the series' kernel of @config and export its headers; return their directory."""
	tree = source("series")
	build("series", config)
	objects = output("series", config)
	log = build_dir() / "log" / f"headers-{config}.log"
	log.unlink(missing_ok=True)
	run([*make_command(tree, objects), "headers"], log=log)
	return objects / "usr" / "include"


def exported_headers() -> Path:
	"""Export the series' headers for user space; return their directory.

	No kernel has to be configured for that.
	"""
	objects = build_dir() / "obj-headers"
	objects.mkdir(exist_ok=True)
	log = build_dir() / "log" / "headers.log"
	log.unlink(missing_ok=True)
	run([*make_command(source("series"), objects), "headers"], log=log)
	return objects / "usr" / "include"


def selftest(directory: str, name: str, config: str = "lean") -> Path:
	"""Build tools/testing/selftests/@directory's program @name; return its path.

	The kernel of @config is built first: the program uses its exported
	headers. Raises ToolError with the log's path if the build fails.
	"""
	return compile_selftest(directory, name, headers(config))


def compile_selftest(directory: str, name: str, include: Path) -> Path:
	"""Build the program as selftest() does, with the exported headers in @include."""
	tree = source("series")
	log = build_dir() / "log" / f"selftest-{name.replace('/', '-')}.log"
	log.unlink(missing_ok=True)
	out = build_dir() / "selftests" / directory
	out.mkdir(parents=True, exist_ok=True)
	run(["make", "-C", tree / "tools" / "testing" / "selftests" / directory, f"OUTPUT={out}",
	     f"KHDR_INCLUDES=-isystem {include}", "LDFLAGS=-static", "CC=gcc",
	     out / name], log=log)
	return out / name
