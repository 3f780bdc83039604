# SPDX-License-Identifier: GPL-2.0
"""Make an initramfs: our static init, busybox, a job script and its programs.

Uses the kernel's own usr/gen_init_cpio.c, which needs no root for device nodes.
"""
import gzip
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from common.command import EXIT_MISSING, ROOT, StrPath, ToolError, build_dir, replaced, run

FilePair = tuple[str, StrPath]	# (guest path, host path)
APPLETS = ("sh", "cat", "echo", "ls", "grep", "sed", "awk", "head", "tail", "wc", "sleep", "sync",
	   "mkdir", "find", "mount", "umount", "dmesg", "ps", "kill", "taskset", "seq", "test",
	   "true", "vi", "false", "uname", "free", "top", "poweroff", "reboot", "cut", "tr", "sort",
	   "rm", "cp", "mkswap", "swapon", "swapoff", "mke2fs", "ln", "tee")


def busybox() -> str:
	"""Return the path of a statically linked busybox."""
	path = shutil.which("busybox")
	if not path:
		raise ToolError("busybox not found: run 'make deps' (package busybox-static)",
				EXIT_MISSING)
	return path


def compile_static(source: Path, name: str, *flags: str, headers: tuple[Path, ...] = ()) -> Path:
	"""Compile a C program statically to build/guests/@name; return the path.

	@flags may name more sources. Nothing is done if the program is newer than @source
	and @headers, the other files of ours that it is made from.
	"""
	out = build_dir() / "guests" / name
	newest = max(path.stat().st_mtime for path in (source, *headers))
	if out.is_file() and out.stat().st_mtime > newest:
		return out
	with replaced(out) as tmp:
		run(["gcc", "-O2", "-Wall", "-static", *flags, "-o", tmp, source])
	return out


def gen_init_cpio(linux: StrPath) -> Path:
	"""Return the kernel's gen_init_cpio, compiled from the tree @linux."""
	return compile_static(Path(linux) / "usr" / "gen_init_cpio.c", "gen_init_cpio")


def initramfs(linux: StrPath, name: str, job: str, programs: Iterable[StrPath] = (),
	      files: Iterable[FilePair] = ()) -> Path:
	"""Write build/guests/@name.cpio.gz and return its path.

	@linux is a kernel tree, @job the text of the shell script to run,
	@programs host paths that land in /bin, @files (guest path, host path)
	pairs that land where they say, with their mode.
	"""
	init = compile_static(ROOT / "guests" / "programs" / "init.c", "init")
	lines = ["dir /dev 0755 0 0", "nod /dev/console 0600 0 0 c 5 1", "dir /bin 0755 0 0",
		 "dir /etc 0755 0 0", "dir /var 0755 0 0", "dir /run 0755 0 0",
		 "dir /root 0700 0 0", f"file /init {init} 0755 0 0",
		 f"file /bin/busybox {busybox()} 0755 0 0"]
	lines += [f"slink /bin/{applet} busybox 0777 0 0" for applet in APPLETS]
	lines += [f"file /bin/{Path(p).name} {p} 0755 0 0" for p in programs]
	made = {"/bin", "/etc", "/var", "/run", "/root"}
	for guest, host in files:
		for parent in reversed(Path(guest).parents):
			if str(parent) != "/" and str(parent) not in made:
				lines.append(f"dir {parent} 0755 0 0")
				made.add(str(parent))
		mode = Path(host).stat().st_mode & 0o777
		lines.append(f"file {guest} {host} {mode:04o} 0 0")
	out = build_dir() / "guests" / f"{name}.cpio.gz"
	out.parent.mkdir(parents=True, exist_ok=True)
	with tempfile.TemporaryDirectory(dir=out.parent) as tmp:
		(Path(tmp) / "job").write_text(job)
		lines.append(f"file /job {tmp}/job 0755 0 0")
		(Path(tmp) / "list").write_text("\n".join(lines) + "\n")
		data = run([gen_init_cpio(linux), f"{tmp}/list"], text=False).stdout
	with replaced(out) as new:
		new.write_bytes(gzip.compress(data, 1))
	return out
