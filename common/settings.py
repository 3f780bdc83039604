# SPDX-License-Identifier: GPL-2.0
"""The settings: every variable that a person may give to make, in one table.

A setting has a type, which checks its text, a default and a line of help. make help
prints the table. A program names the settings that it takes; all that are set are
checked, whether it takes them or not, before anything is installed, fetched or built.
"""
import argparse
import contextlib
import gzip
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.command import EXIT_MISSING, ToolError, build_dir
from common.linux import tree_version

XEN_VERSIONS = ("4.17", "4.20")		# with a Debian package; the first is the default
QEMU_SUITES = ("trixie", "trixie-backports")	# Debian's, with a QEMU newer than Debian 12's
# What a multiboot image has, and in how many bytes.
MULTIBOOT, MULTIBOOT_WITHIN = b"\x02\xb0\xad\x1b", 8192
KERNELS = ("base", "series")
ACCELERATORS = ("auto", "tcg", "kvm")
Check = Callable[[str, str], Any]
# What follows a tag in a message, as a pattern and in words.
PERSON = (r"[^<>@]*[^<>@\s] <[^<>@\s]+@[^<>@\s]+>", "Name <address>")
URL = (r"https?://\S+", "URL")
TAGS = {
	**dict.fromkeys((f"{did}-by" for did in (
		"Reported", "Suggested", "Co-developed", "Signed-off", "Tested", "Reviewed",
		"Acked")), PERSON),
	"Assisted-by": (r"\S.*", "tools"),
	"Cc": PERSON, "Closes": URL, "Link": URL,
}


def number(name: str, text: str) -> int:
	"""Return @text as a positive int; raise ToolError if it is not one."""
	if not re.fullmatch(r"[0-9]{1,12}", text) or not int(text):
		raise ToolError(f"{name}={text} is not a positive number")
	return int(text)


def flag(name: str, text: str) -> bool:
	"""Return whether @text is 1; raise ToolError if it is neither 0 nor 1."""
	if text not in ("0", "1"):
		raise ToolError(f"{name}={text} is neither 0 nor 1")
	return text == "1"


def one_of(*known: str) -> Check:
	"""Return the type of a setting that has one of the values @known."""
	def check(name: str, text: str) -> str:
		if text not in known:
			raise ToolError(f"unknown {name} '{text}': known are {' '.join(known)}")
		return text
	return check


def words(name: str, text: str) -> list[str]:
	"""Return the words of @text; raise ToolError if one could not be a name."""
	for word in text.split():
		like(r"[\w.+:=/-]+", "a list of names")(name, word)
	return text.split()


def like(pattern: str, what: str) -> Check:
	"""Return the type of a setting that matches @pattern; errors say that it is not @what."""
	def check(name: str, text: str) -> str:
		if not re.fullmatch(pattern, text):
			raise ToolError(f"{name}={text!r} is not {what}")
		return text
	return check


def directory(name: str, text: str) -> Path:
	"""Return the directory @text; raise ToolError if it is not there."""
	if not Path(text).is_dir():
		raise ToolError(f"{name}={text} is not a directory: correct it or leave it out")
	return Path(text)


def output(_name: str, _text: str) -> Path:
	"""Return the build directory, made if need be; raise ToolError if that can't be done."""
	return build_dir()


def kernel_tree(_name: str, text: str) -> Path:
	"""Return the tree @text; raise ToolError unless it is one that the series is for."""
	tree_version(text)
	return Path(text)


def emulator(name: str, text: str) -> str:
	"""Return @text: a suite of Debian, or the path of a program; raise ToolError if neither."""
	if text in QEMU_SUITES:
		return text
	if not Path(text).is_file() or not os.access(text, os.X_OK):
		raise ToolError(f"{name}={text} is not executable, nor a suite of Debian: known "
				f"are {' '.join(QEMU_SUITES)}", EXIT_MISSING)
	return text


def hypervisor(name: str, text: str) -> str:
	"""Return @text: a version that Debian has a package of, or the path of an ELF file.

	The file may be compressed. Raises ToolError for anything else.
	"""
	if text in XEN_VERSIONS:
		return text
	if not Path(text).is_file():
		raise ToolError(f"{name}={text} is not a file: name a xen binary "
				"(xen-4.17-amd64.gz or unpacked) or a version, "
				f"known are {' '.join(XEN_VERSIONS)}")
	head = b""
	with contextlib.suppress(OSError, EOFError), Path(text).open("rb") as raw:
		head = raw.read(MULTIBOOT_WITHIN)
		if head[:2] == b"\x1f\x8b":
			head = gzip.open(text).read(MULTIBOOT_WITHIN)
	if not head.startswith(b"\x7fELF") or MULTIBOOT not in head:
		raise ToolError(f"{name}={text} is not a multiboot ELF image, QEMU can't load it: "
				"name a xen-*.gz, not an .efi")
	return text


def trailers(name: str, text: str) -> list[str]:
	"""Return the tags of a message in @text, which has ";" or line ends between them.

	Raises ToolError for one that the kernel does not know, that lacks what belongs behind
	it, or for a Co-developed-by without the Signed-off-by of that person after it.
	"""
	found = [tag.strip() for tag in re.split(r"[;\n]", text) if tag.strip()]
	for tag, following in zip(found, [*found[1:], ""]):
		key, colon, value = tag.partition(": ")
		pattern, what = TAGS.get(key, ("", ""))
		if not colon or not what:
			raise ToolError(f"{name}: '{tag}' is not a tag of a kernel patch: "
					f"known are {': '.join(TAGS)}:")
		if not re.fullmatch(pattern, value):
			raise ToolError(f"{name}: '{tag}' is malformed: "
					f"it has to be '{key}: {what}'")
		if key == "Co-developed-by" and following != f"Signed-off-by: {value}":
			raise ToolError(f"{name}: 'Signed-off-by: {value}' has to follow '{tag}'")
	return found


def person(name: str, text: str) -> tuple[str, str]:
	"""Return (name, address) of @text; raise ToolError if it is not "Name <address>"."""
	like(PERSON[0], f"'{PERSON[1]}'")(name, text)
	who, _, address = text.rstrip(">").partition(" <")
	return who, address


def deb_config(name: str, text: str) -> str:
	"""Return @text, "local" or the path of a file; raise ToolError if there is no such file."""
	if text != "local" and not Path(text).is_file():
		raise ToolError(f"{name}={text} is not a file: name a kernel's .config, or 'local' "
				"for the running kernel's and its loaded modules")
	return text


@dataclass(frozen=True)
class Setting:
	"""One variable: its type @check(name, text), and its @help.

	@default is what it is if nobody sets it; None means that @help says it.
	"""
	name: str
	check: Check
	default: Any
	help: str
	example: str = ""


PROGRAM = like(r"[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*", "a command")
NAME = like(r"[\w.,=/-]+", "a name")
TABLE = {s.name: s for s in (
	Setting("O", output, "build", "where everything that is built lands", "build"),
	Setting("LINUX", kernel_tree, None,
		"use this Linux 7.3.y tree as the base (copied, never modified)", "<tree>"),
	Setting("DL_DIR", directory, None,
		"directory with linux-source-7.3.tar.xz and SHA256SUMS", "<directory>"),
	Setting("KERNEL_ORG", like(r"(https?|file)://\S+", "a URL"), None,
		"mirror of kernel.org's /pub/linux/kernel", "<URL>"),
	Setting("GUEST", words, None,
		"kind of guest, or place of the benchmark: see above"),
	Setting("KERNEL", words, None,
		"base, series, topic1 ...; the benchmark also knows Debian's own"),
	Setting("HOST_KERNEL", one_of(*KERNELS), None,
		"kernel around domU, pvh, pvshim and kvm, if not the guest's own", "base|series"),
	Setting("CONFIG", words, None,
		"a kernel's configuration: lean disk debug stick noxen upstream "
		"kasan kcsan rt up preempt irqsoff"),
	Setting("SMP", number, None,
		"vCPUs of a guest; of domU, pvh, pvshim and kvm, the machine's", "1"),
	Setting("MEM", number, None,
		"MiB of a guest; the guest in domU, pvh, pvshim, kvm has half", "2048"),
	Setting("ACCEL", one_of(*ACCELERATORS), "auto",
		"accelerator; auto takes KVM only if it boots something", "|".join(ACCELERATORS)),
	Setting("XEN", hypervisor, XEN_VERSIONS[0],
		"hypervisor of a Debian package, or a binary, compressed or not",
		"|".join(XEN_VERSIONS)),
	Setting("QEMU", emulator, None,
		"QEMU of that suite of Debian, or a program, instead of qemu-system-x86_64",
		"|".join((*QEMU_SUITES, "<path>"))),
	Setting("J", number, None, "jobs of a build, default one per CPU", "2"),
	Setting("V", one_of("0", "1", "2"), "0", "1: print commands and their output", "1"),
	Setting("CC", PROGRAM, None,
		"compiler of kernels; default ccache gcc, with LLVM=1 ccache clang", "<command>"),
	Setting("HOSTCC", PROGRAM, None, "compiler of a kernel build's own programs", "<command>"),
	Setting("LLVM",
		like(r"1|-\d+|\S+/", "1, -<version> or a directory's path with a slash at its end"),
		None, "build kernels with LLVM, as in the kernel's build", "1"),
	Setting("ARCH", like(r"[a-z0-9_]+", "an architecture"), None,
		"as in the kernel's build", "x86_64"),
	Setting("CROSS_COMPILE", like(r"\S+", "a prefix"), None,
		"as in the kernel's build", "<prefix>"),
	Setting("W", like(r"[123ce]+", "made of 1, 2, 3, c and e"), None,
		"extra warnings of a kernel build", "1"),
	Setting("C", one_of("0", "1", "2"), None, "sparse in a kernel build", "1"),
	Setting("TOPIC", NAME, None, "make mail: only this topic; default all", "1-<topic>"),
	Setting("PREVIOUS", like(r"[^\s-]\S*", "a commit"), None,
		"make mail: range-diff against this commit; default tag sent/<topic>-v<n-1>",
		"<commit>"),
	Setting("TRAILERS", trailers, None,
		"make mail: tags for each patch, before your Signed-off-by, with ; between them",
		"<tags>"),
	Setting("AUTHOR", person, None,
		"make mail: who sends, 'Name <address>', instead of git's identity", "<person>"),
	Setting("FORCE", flag, False,
		"make tree: drop work in build/linux that was not refreshed", "1"),
	Setting("GATE", words, None,
		"make check: only these; python3 -m gates.run --list has them", "<name ...>"),
	Setting("FAULT", words, None,
		"make faults: only these files of checks/faults", "<name ...>"),
	Setting("FILE", words, None,
		"make stick-report: results of sticks, to show beside each other", "<file ...>"),
	Setting("MINUTES", number, 15,
		"make soak: of stress, per configuration; make stick: of races, default 10", "15"),
	Setting("SECONDS", number, 120, "make torture: how long", "120"),
	Setting("SEED", number, None,
		"make torture: repeat the run that printed it; default by the clock", "7"),
	Setting("TRANSACTIONS", number, 10000000, "make race: how many at least", "10000000"),
	Setting("BENCH", words, None,
		"make profile: of mprotect, fork, munmap, madv_dontneed, everyday", "<name ...>"),
	Setting("WIS", directory, None, "make will-it-scale: its tree", "<directory>"),
	Setting("LTP", directory, None,
		"make others: a tree of the Linux Test Project, configured with LDFLAGS=-static",
		"<directory>"),
	Setting("ROUNDS", number, 6,
		"make bench-wall: boots of each kernel; make stick: of its benchmark, default 5",
		"6"),
	Setting("KEEP", flag, False, "make report: also take the results into bench/", "1"),
	Setting("DEB_CONFIG", deb_config, None,
		"make deb: start from this .config; local: the running kernel's, loaded modules",
		"<file>"),
	Setting("BOOT", flag, True, "make deb: 0: don't boot the packaged kernel in QEMU", "0"),
)}


def checked(name: str, text: str, known: Iterable[str] = (), many: bool = True) -> Any:
	"""Return @text as the type of the setting @name has it.

	That is a list of words, if that is its type and @many. Raises ToolError for a bad
	value, for one that is not @known, and for several if not @many.
	"""
	found, known = TABLE[name].check(name, text), tuple(known)
	for word in (found if isinstance(found, list) else [found]) if known else ():
		one_of(*known)(name, word)
	if many or not isinstance(found, list):
		return found
	if len(found) != 1:
		raise ToolError(f"{name}='{text}' has to be one of: {' '.join(known)}")
	return found[0]


def setting(name: str, default: Any = None) -> Any:
	"""Return the setting @name as its type has it.

	If it is not set or empty, that is @default, else the table's. Raises ToolError for a
	bad value.
	"""
	text = os.environ.get(name)
	if text:
		return checked(name, text)
	return TABLE[name].default if default is None else default


def check_all() -> None:
	"""Check every setting that the environment has; raise ToolError for the first bad one."""
	for name in TABLE:
		setting(name)


# Who takes these names them; all else is for whatever builds, boots or fetches.
OWN = ("AUTHOR", "BENCH", "BOOT", "CONFIG", "DEB_CONFIG", "FAULT", "FILE", "FORCE", "GATE", "GUEST",
       "KEEP", "KERNEL", "LTP", "MINUTES", "PREVIOUS", "ROUNDS", "SECONDS", "SEED", "TOPIC",
       "TRAILERS", "TRANSACTIONS", "WIS")


class Parser(argparse.ArgumentParser):
	"""A program's arguments; those that are settings take the environment's value unless given.

	Every program takes --check: it checks all settings and the arguments, and does nothing
	else.
	"""

	def __init__(self, description: str | None) -> None:
		super().__init__(description=description,
				 formatter_class=argparse.RawDescriptionHelpFormatter)
		self.add_argument("--check", action="store_true",
				  help="only check settings and arguments")
		self.taken: set[str] = set()

	def setting(self, name: str, default: Any = None, known: Iterable[str] = (),
		    many: bool = False, positional: bool = False) -> None:
		"""Take the setting @name as --<name>, or as words without an option if @positional.

		@known are its possible values, several of them if @many. @default is what it is if
		it is not set, else that of the table. Raises ToolError for a bad value.
		"""
		def word(text: str) -> Any:
			return checked(name, text, known, False)

		self.taken.add(name)
		row, known = TABLE[name], tuple(known)
		fallback = default if default is not None else [] if many else row.default
		text = os.environ.get(name)
		start = checked(name, text, known, many) if text else fallback
		hint = row.help + (f"; known are {' '.join(known)}" if known else "")
		if fallback:
			hint += f"; default: {' '.join(fallback) if many else fallback}"
		option = name.lower().replace("_", "-")
		options: dict[str, Any] = {"default": start, "help": hint.replace("%", "%%")}
		if row.check is flag:
			options["action"] = argparse.BooleanOptionalAction
		elif many:
			options.update(nargs="*", metavar=name, type=word)
		else:
			options.update(metavar=row.example or name, type=word)
			if positional:
				options["nargs"] = "?"
		self.add_argument(option if positional else f"--{option}", **options)

	def settled(self, argv: list[str] | None = None) -> argparse.Namespace:
		"""Return the arguments of @argv, by default the program's, and check all settings.

		Ends the program if --check is among them. Raises ToolError for a bad setting, and
		for one that make was given for this program and that it does not take.
		"""
		args = self.parse_args(argv)
		check_all()
		for name in os.environ.get("GIVEN", "").split():
			if name in OWN and name not in self.taken:
				takes = " ".join(sorted(self.taken)) or "none of its own"
				raise ToolError(f"{name}= is nothing that this target takes; "
						f"it takes {takes}")
		if args.check:
			raise SystemExit(0)
		return args


def help_text() -> str:
	"""Return the table as make help shows it."""
	lines = []
	for row in TABLE.values():
		left = f"{row.name}={row.example}"
		if len(left) > 18:
			lines.append(f"  {left}")
			left = ""
		lines.append(f"  {left:<18} {row.help}")
	return "\n".join(lines)


if __name__ == "__main__":
	Parser(__doc__).settled()
	print(help_text())
