# SPDX-License-Identifier: GPL-2.0
"""make deb: Debian packages of a kernel for real machines, by the kernel's own bindeb-pkg.

Packages land in build/deb/<kernel>/ when they are complete and the kernel in them has
booted, bare and as Xen's dom0, and has loaded modules and traced functions while page
tables changed. guests/DEB.md says how to install, boot and remove them.
"""
import gzip
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from common.command import (EXIT_BUILD, EXIT_MISSING, StrPath, ToolError, build_dir, main,
			    replaced, run, say)
from common.linux import tree_version
from common.settings import Parser, deb_config
from guests.initramfs import FilePair, initramfs
from guests.job import script, size
from guests.kernel import (FRAGMENT_DIR, Options, ccache, check_config, check_kernel,
			   known_kernels, make_command, output, read_config, read_fragments,
			   source)
from guests.qemu import MACHINES, Guest
from guests.selftests import compile_selftest, exported_headers
from series.worktree import git

# What the default configuration is merged from, after x86_64_defconfig.
UPSTREAM = ("kernel/configs/xen.config", "arch/x86/configs/xen.config",
	    "kernel/configs/kvm_guest.config")
MACHINE, ANY = "deb-machine", "deb"
TOOLS = ("dpkg-buildpackage", "dpkg-deb", "dh_builddeb", "depmod", "rsync", "zstd")
# What a guest needs built in to be heard, by kind.
NEEDS = {"bare": ("BLK_DEV_INITRD", "RD_GZIP", "SERIAL_8250_CONSOLE"),
	 "xen": ("BLK_DEV_INITRD", "RD_GZIP", "HVC_XEN", "XEN_PV_DOM0")}
# One of these is loaded in the guest, the first that the package has as a plain .ko.
MODULES = ("xfs", "btrfs", "ext4", "loop")
JOB = """set -e
cat /proc/version
[ "$(uname -r)" = "{release}" ]
case "$(uname -v)" in "#{revision} "*) ;; *) exit 1 ;; esac
hypervisor=none
if [ -e /sys/hypervisor/type ]; then hypervisor=$(cat /sys/hypervisor/type); fi
[ "$hypervisor" = {hypervisor} ]
for module in {modules}; do
	busybox modprobe "$module"
	grep "^$module " /proc/modules
done
"""
# What runs while the kernel changes its own text, if it can: jobs/kernel-text.sh.
RACES = ("modify_prot_race", "zap_race")
RACE_SECONDS = 1	# per case
ROUNDS = 2		# of tracing some functions, then all, and loading a module each time
UNLOADS, TRACES = "CONFIG_MODULE_UNLOAD", "CONFIG_DYNAMIC_FTRACE"
BOOT_LIMIT = 600	# seconds


def check_tools() -> None:
	"""Raise ToolError if a program of Debian's packaging is missing."""
	for name in TOOLS:
		if not shutil.which(name):
			raise ToolError(f"{name} not found: run 'series/deps --deb'", EXIT_MISSING)


def running_config() -> str:
	"""Return the text of the running kernel's configuration, or raise ToolError."""
	packaged, proc = Path(f"/boot/config-{os.uname().release}"), Path("/proc/config.gz")
	if packaged.is_file():
		return packaged.read_text()
	if proc.is_file():
		return gzip.decompress(proc.read_bytes()).decode()
	raise ToolError(f"DEB_CONFIG=local: neither {packaged} nor {proc} is there: "
			"name a .config instead", EXIT_MISSING)


def given_config(given: str) -> str | None:
	"""Return the text of the configuration that @given names, "local" or a file.

	Returns None if it is empty. Raises ToolError if there is none, or if it is not complete.
	"""
	if not given:
		return None
	deb_config("DEB_CONFIG", given)
	if given == "local":
		text = running_config()
	else:
		text = Path(given).read_text(errors="replace")
	if not re.search(r"^CONFIG_X86_64=y$", text, re.M):
		raise ToolError(f"DEB_CONFIG={given} is not a complete configuration of an x86_64 "
				"kernel (it lacks CONFIG_X86_64=y): take one from /boot/config-*")
	return text


def configure(tree: Path, out: Path, given: str, log: Path) -> None:
	"""Write out/.config from DEB_CONFIG=@given; raise ToolError naming lost options."""
	text = given_config(given)
	make, dotconfig = make_command(tree, out), out / ".config"
	names = (ANY,) if text else (MACHINE, ANY)
	files = [FRAGMENT_DIR / f"{name}.config" for name in names]
	out.mkdir(parents=True, exist_ok=True)
	if text:
		dotconfig.write_text(text)
		run([*make, "olddefconfig"], log=log)
		if given == "local":
			run([*make, "localmodconfig"], log=log)
	else:
		run([*make, "x86_64_defconfig"], log=log)
		files = [*(tree / name for name in UPSTREAM), *files]
	before = read_config(dotconfig)
	run(["scripts/kconfig/merge_config.sh", "-m", "-O", out, dotconfig, *files], cwd=tree,
	    log=log)
	run([*make, "olddefconfig"], log=log)
	# Keys are only a question where the kernel checks signatures.
	wanted = {k: v for k, v in read_fragments(names).items()
		  if v != '""' or before.get(k, v) != v}
	check_config(wanted, dotconfig)
	if text:
		asked = dict(re.findall(r"^(CONFIG_\w+)=([ym])$", text, re.M))
		lost = sorted(asked.keys() - read_config(dotconfig).keys())
		(out / "lost-options").write_text("".join(f"{name}\n" for name in lost))
		say(f"{len(lost)} of {len(asked)} options of DEB_CONFIG={given} are not set: "
		    f"{out}/lost-options")


def identity(tree: StrPath, kernel: str) -> tuple[dict[str, str], dict[str, str]]:
	"""Return (make's variables, environment) that name the packages.

	They are made from the tree's last commit. Nothing of the machine or the clock is in them.
	"""
	seconds, commit = git(tree, "log", "-1", "--format=%ct %h", "--abbrev=12").split()
	changed = git(tree, "status", "--porcelain", "--untracked-files=no")
	suffix = ".changed" if changed else ""
	when = time.gmtime(int(seconds))
	version = f"{tree_version(tree)}+{time.strftime('%Y%m%d', when)}-g{commit}{suffix}"
	# The part after the last dash is also the build's number: "uname -v" begins with it.
	variables = {"LOCALVERSION": "-modify-prot" if kernel == "series" else f"-{kernel}",
		     "KDEB_PKGVERSION": version, "KDEB_CHANGELOG_DIST": "unstable",
		     "KBUILD_BUILD_TIMESTAMP": time.strftime("%a %b %e %H:%M:%S UTC %Y", when)}
	return variables, {"SOURCE_DATE_EPOCH": seconds}


def bindeb(tree: Path, out: Path, kernel: str, log: Path) -> list[Path]:
	"""Build and package what is configured in @out; return [image's, headers' package]."""
	variables, env = identity(tree, kernel)
	for old in out.parent.glob("*.deb"):
		old.unlink()
	# mkdebian dates the changelog by the clock.
	seconds, version = env["SOURCE_DATE_EPOCH"], variables["KDEB_PKGVERSION"]
	date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(int(seconds)))
	edits = out.parent / "changelog.sed"
	edits.write_text(f"s/^\\( -- .*>\\).*/\\1  {date}/\n")
	variables["DPKG_FLAGS"] = f"--hook-binary='sed -i -f {edits} debian/changelog'"
	# A kernel is not linked again only because its name and date change.
	stamp, linked_as = out.parent / "linked-as", f"{version} {seconds}\n"
	if not stamp.is_file() or stamp.read_text() != linked_as:
		(out / "vmlinux.unstripped").unlink(missing_ok=True)
	run([*make_command(tree, out), *(f"{k}={v}" for k, v in variables.items()), "bindeb-pkg"],
	    log=log, env={**env, **ccache(out.parent.parent)})
	stamp.write_text(linked_as)
	release = (out / "include" / "config" / "kernel.release").read_text().strip()
	debs = [out.parent / f"linux-{what}-{release}_{version}_amd64.deb"
		for what in ("image", "headers")]
	for deb in debs:
		if not deb.is_file():
			raise ToolError(f"bindeb-pkg left no {deb.name}: see {log}", EXIT_BUILD)
	return debs


def pick_module(root: Path, release: str) -> tuple[str, list[FilePair]]:
	"""Return (name, files that it needs) of a module below @root to load.

	The files are (guest path, host path). Returns ("", []) if there is no module.
	"""
	directory = root / "lib" / "modules" / release
	index = directory / "modules.dep"
	text = index.read_text() if index.is_file() else ""
	for name in MODULES:
		if match := re.search(rf"^(\S*/{name}\.ko):(.*)$", text, re.M):
			names = ["modules.dep", match[1], *match[2].split()]
			return name, [(f"/lib/modules/{release}/{n}", directory / n) for n in names]
	return "", []


def text_job(config: Options, module: str) -> str:
	"""Return the job that changes the kernel's text while page tables change, or "".

	@config are the kernel's options, @module is one that it can load. What it can't do is
	left out, and said.
	"""
	traces = config.get("CONFIG_FUNCTION_TRACER") == config.get(TRACES) == "y"
	unloads = module if config.get(UNLOADS) == "y" else ""
	for done, what, option in ((traces, "tracing", TRACES),
				   (unloads or not module, "unloading", UNLOADS)):
		if not done:
			say(f"{what} is not tested: this configuration has no {option}=y")
	if not traces and not unloads:
		return ""
	return script("kernel-text.sh", module=unloads, tracer="function" if traces else "",
		      seconds=RACE_SECONDS, rounds=ROUNDS)


def boot(kernel: str, deb: Path, config: Options, kind: str, tree: Path) -> None:
	"""Boot the kernel in package @deb in a guest of @kind; load a module, run text_job().

	@kernel is the one that the package was made of, @config its options, @tree its source.
	Raises ToolError if the guest does not end well.
	"""
	if missing := [o for o in NEEDS[kind] if config.get(f"CONFIG_{o}") != "y"]:
		say(f"not booted, {kind}: this configuration has no CONFIG_{missing[0]}=y")
		return
	include = exported_headers()
	races = [compile_selftest("mm", race, include) for race in RACES]
	name = f"deb-{kernel}-{kind}"
	with tempfile.TemporaryDirectory(dir=build_dir()) as tmp:
		root = Path(tmp)
		run(["dpkg-deb", "-x", deb, root])
		image, = (root / "boot").glob("vmlinuz-*")
		release = image.name.partition("-")[2]
		module, files = pick_module(root, release)
		if not module:
			say(f"no plain module of {' '.join(MODULES)} in {deb.name}: none is loaded")
		revision = deb.name.split("_")[1].rpartition("-")[2]
		job = JOB.format(release=release, revision=revision, modules=module,
				 hypervisor="xen" if kind == "xen" else "none")
		job += text_job(config, module)
		initrd = initramfs(tree, name, job, races, files)
		# With a thread for each CPU, QEMU 7.2 runs an int3 that was taken out before.
		guest = Guest(kind, image, initrd, in_turns=True, **size(smp=2))
		result = guest.run(name, timeout=BOOT_LIMIT).require()
	line = next(l for l in result.lines if l.startswith("Linux version "))
	text = next((l for l in result.lines if l.startswith("text: ") and "times" in l), "")
	say(f"booted, {kind}, {result.seconds:.0f} s, module {module or '-'}: "
	    f"{' '.join(line.split()[:3])}{text.replace('text:', ',', 1)}")


def package(kernel: str = "series", given: str = "", boot_it: bool = True) -> list[Path]:
	"""Build the packages of @kernel with DEB_CONFIG=@given; return their paths.

	They land in build/deb/@kernel. Raises ToolError for an unknown kernel or
	configuration, a missing tool, lost options, a failed build and a package whose
	kernel does not boot; packages of an earlier run are then as they were.
	"""
	check_kernel(kernel)
	given_config(given)
	check_tools()
	tree = source(kernel)
	out = output(kernel, "deb") / "obj"	# bindeb-pkg leaves packages in its parent
	log = build_dir() / "log" / f"deb-{kernel}.log"
	log.unlink(missing_ok=True)
	configure(tree, out, given, log)
	say(f"building packages of the {kernel} kernel (log: {log})")
	debs = bindeb(tree, out, kernel, log)
	for kind in MACHINES if boot_it else ():
		boot(kernel, debs[0], read_config(out / ".config"), kind, tree)
	final = build_dir() / "deb" / kernel
	with replaced(final) as tmp:
		tmp.mkdir()
		for deb in debs:
			shutil.copy(deb, tmp)
	return [final / deb.name for deb in debs]


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("KERNEL", "series", known_kernels())
	parser.setting("DEB_CONFIG")
	parser.setting("BOOT")
	args = parser.settled()
	for deb in package(args.kernel, args.deb_config or "", args.boot):
		print(f"{deb} ({deb.stat().st_size / 1e6:.1f} MB)")
	return 0


if __name__ == "__main__":
	main(_main)
