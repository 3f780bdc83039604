# SPDX-License-Identifier: GPL-2.0
"""Programs of Debian's that live by write-protection and fork(): collectors and a database.

A garbage collector finds by page faults, or by marks of its own, which old objects were
written to, and a compiler at run time changes the protection of its code; redis saves by a
child that has to see the memory of one moment. Each program here checks its own data at the
end, and says "whole" then. CRIU and QEMU, which take snapshots, are in snapshot.py.
"""
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from checks.outcomes import WARNED, WORDS, Report
from common.apt import package_version, unpacked
from common.command import EXIT_MISSING, ROOT, StrPath, ToolError, build_dir, replaced
from guests.initramfs import FilePair, compile_static
from guests.job import guest
from guests.libraries import libraries
from guests.qemu import Guest

SUITE = "bookworm"
SOURCES = ROOT / "guests" / "programs"
LIBC_LIBRARIES = "usr/lib/x86_64-linux-gnu"
COLLECTORS = ("G1", "Parallel", "Serial", "Z")
NODE = ("nodejs", "node-acorn", "node-busboy", "node-cjs-module-lexer", "node-undici")
SBCL = "/usr/lib/sbcl/sbcl.core"
WHOLE = re.compile(r"^(?:marks|gc_marks|redis): whole$")
Files = list[FilePair]


@dataclass(frozen=True)
class Program:
	"""A set of Debian @packages, what makes its @files from where they are unpacked, and its
	@runs: {name: shell command}. @seconds is the limit of each."""
	packages: tuple[str, ...]
	files: Callable[[Path], Files]
	runs: dict[str, str]
	seconds: int = 240


def inside(root: Path, path: Path) -> Path:
	"""Return the file that @path, below @root, is or links to, as if @root were "/"."""
	while path.is_symlink():
		target = path.readlink()
		path = root / target.relative_to("/") if target.is_absolute() \
			else path.parent / target
	return path


def below(root: Path, directory: str) -> Files:
	"""Return (guest path, host path) of all files below @directory of the packages at @root."""
	found: Files = []
	for path in sorted((root / directory).rglob("*")):
		real = inside(root, path)
		if real.is_file():
			found.append((f"/{path.relative_to(root)}", real))
	return found


def sbcl_files(root: Path) -> Files:
	"""Return what SBCL needs."""
	program = root / "usr" / "bin" / "sbcl"
	return [("/bin/sbcl", program), (SBCL, root / SBCL.lstrip("/")),
		("/marks.lisp", SOURCES / "marks.lisp"), *libraries([program], root)]


def node_files(root: Path) -> Files:
	"""Return what node needs."""
	program = root / "usr" / "bin" / "node"
	return [("/bin/node", program), ("/marks.js", SOURCES / "marks.js"),
		*below(root, "usr/share/nodejs"), *libraries([program], root)]


def java_files(root: Path) -> Files:
	"""Return what the Java virtual machine needs, which has a compiler, too."""
	home = next((path for path in (root / "usr/lib/jvm").glob("java-*") if not
		     path.is_symlink()), None)
	if not home:
		raise ToolError(f"{root} has no Java: remove that directory, it will be fetched "
				"again", EXIT_MISSING)
	own = [path for path in home.rglob("*.so") if path.parent.name in ("lib", "server")]
	wanted = [path for path in own if path.name in (
		"libjvm.so", "libjava.so", "libjli.so", "libnio.so", "libnet.so", "libzip.so",
		"libjimage.so", "libmanagement.so", "libverify.so")]
	files = [(guest, path) for guest, path in below(root, str(home.relative_to(root)))
		 if not re.search(r"/(legal|man|docs)/|/lib/(ct\.sym|src\.zip)$", guest)]
	return [*(("/java/" + guest.partition(f"/{home.name}/")[2], path)
		  for guest, path in files),
		("/Marks.java", SOURCES / "Marks.java"),
		*libraries([home / "bin" / "java", *wanted], root, [path.name for path in own])]


def gc_files(root: Path) -> Files:
	"""Return our program with Debian's libgc in it."""
	libc = root / LIBC_LIBRARIES
	program = compile_static(SOURCES / "gc_marks.c", "gc_marks", f"-I{root}/usr/include",
				 "-Wl,--whole-archive", str(libc / "libgc.a"),
				 "-Wl,--no-whole-archive", "-pthread")
	return [("/bin/gc_marks", program)]


def redis_files(root: Path) -> Files:
	"""Return what redis needs: its server and its client."""
	programs = {name: inside(root, root / "usr" / "bin" / name)
		    for name in ("redis-server", "redis-cli")}
	settings = "saves=6\nkeys=2000\n"
	script = build_dir() / "guests" / "redis.sh"
	with replaced(script) as tmp:
		tmp.write_text(settings + (ROOT / "guests" / "jobs" / "redis.sh").read_text())
	return [*((f"/bin/{name}", path) for name, path in programs.items()),
		("/redis.sh", script), *libraries(programs.values(), root)]


COMPILE = "[ -e /tmp/Marks.class ] || /java/bin/java -Xint -m " \
	  "jdk.compiler/com.sun.tools.javac.Main -d /tmp /Marks.java || exit 1; "
PROGRAMS = {
	"redis": Program(("redis-server", "redis-tools"), redis_files,
			 {"redis, saves by fork()": "sh /redis.sh"}),
	"sbcl": Program(("sbcl",), sbcl_files, {
		"sbcl": f"sbcl --core {SBCL} --dynamic-space-size 64MB --script /marks.lisp"}),
	"libgc": Program(("libgc-dev",), gc_files, {
		"libgc, incremental": "GC_ENABLE_INCREMENTAL=1 gc_marks 100"}),
	"nodejs": Program(NODE, node_files, {"nodejs": "node --expose-gc /marks.js"}),
	"openjdk": Program(("openjdk-17-jre-headless",), java_files, {
		f"openjdk, {name}": f"{COMPILE}/java/bin/java -Xmx16m -XX:+Use{name}GC "
				    "-cp /tmp Marks 20" for name in COLLECTORS}),
}


def version(name: str) -> str:
	"""Return "package version" of the first package of PROGRAMS[@name], as it was unpacked."""
	package = PROGRAMS[name].packages[0]
	return package_version(unpacked(PROGRAMS[name].packages, SUITE), package)


def job(program: Program) -> str:
	"""Return the script that makes the runs of @program, and reports on each."""
	lines = ["mkdir -p /dev/shm; mount -t tmpfs tmpfs /dev/shm", "dmesg -n 1",
		 "busybox ip link set lo up 2> /dev/null", "cd /tmp"]
	for name, command in program.runs.items():
		lines += [f"echo '== begin {name}'",
			  f"busybox timeout -k 5 {program.seconds} sh -c '{command}' "
			  "> /run/out 2>&1; s=$?",
			  "tail -n 40 /run/out; rm -f /run/out", f'echo "== end {name}: $s"']
	return "\n".join(lines) + f"\n{WARNED}\ntrue\n"


def parse(lines: Iterable[str]) -> dict[str, Report]:
	"""Return {run: its Report} of a console's @lines."""
	results: dict[str, Report] = {}
	whole = False
	for line in lines:
		if line.startswith("== begin "):
			whole = False
		elif WHOLE.match(line):
			whole = True
		elif match := re.match(r"^== end (.*): (\d+)$", line):
			word = WORDS.get(match[2], "fail")
			results[match[1]] = ("fail" if word == "pass" and not whole else word,
					     Counter(), [])
	return results


def machine(name: str, kind: str, kernel: str, config: str) -> Guest:
	"""Return the Guest of @kind that runs PROGRAMS[@name] on @kernel."""
	program = PROGRAMS[name]
	root = unpacked(program.packages, SUITE)
	files: list[tuple[str, StrPath]] = program.files(root)
	return guest(kind, kernel, f"others-{name}-{kind}-{kernel}-{config}", job(program),
		     config=config, files=files, build_it=False, smp=2, mem=3072)
