# SPDX-License-Identifier: GPL-2.0
"""Configure and build a kernel: base or series, from config fragments.

build/linux (series) and build/base/linux (base) are built into sibling directories
build/<config> and build/base/<config>, so that both have the same relative paths
and ccache can share what the series leaves alone.
"""
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.command import (EXIT_CONFIG, EXIT_MISSING, ROOT, StrPath, ToolError, build_dir, jobs,
			    locked, main, run, say, verbose)
from common.settings import KERNELS, Parser, setting
from series import patches
from series.base import base_worktree
from series.tree import make_tree, topic_worktree

FRAGMENT_DIR = ROOT / "guests" / "config"
# A config is a list of fragments, merged in order; what only the series has is last.
CONFIG_SETS = {
	"lean": ("lean", "kunit"),
	"disk": ("lean", "kunit", "disk"),
	"debug": ("lean", "kunit", "disk", "debug", "lockdep", "inject"),
	"stick": ("lean", "kunit", "disk", "stick"),
	"noxen": ("lean", "kunit", "noxen"),
	"upstream": ("lean", "kunit", "upstream", "criu"),
	"kasan": ("lean", "kunit", "upstream", "disk", "debug", "lockdep", "kasan", "inject"),
	"kcsan": ("lean", "kunit", "disk", "kcsan"),
	"rt": ("lean", "kunit", "disk", "rt"),
	"up": ("lean", "kunit", "disk", "up"),
	"preempt": ("lean", "kunit", "disk", "preempt"),
	"irqsoff": ("lean", "kunit", "disk", "irqsoff"),
	"latency": ("lean", "kunit", "latency"),
}
# Suites that only the series has, and those of them that need Xen PV.
SERIES_ONLY = "kunit-series"
SERIES_XEN = "kunit-xen"
Options = dict[str, str]	# {"CONFIG_...": value}


def topic_kernels() -> dict[str, str]:
	"""Return {kernel: topic}: "topic1" is the base with the first topic alone, and so on."""
	return {f"topic{topic.partition('-')[0]}": topic for topic in patches.topics()}


def known_kernels() -> tuple[str, ...]:
	"""Return the names of the kernels that can be built: "base", "series", "topic1"..."""
	return (*KERNELS, *topic_kernels())


def check_kernel(kernel: str) -> None:
	"""Raise ToolError unless @kernel is one of known_kernels()."""
	if kernel not in known_kernels():
		raise ToolError(f"unknown kernel '{kernel}': known are {' '.join(known_kernels())}")


def source(kernel: str) -> Path:
	"""Return the source tree of "base", "series" or "topic1"..., made if need be."""
	check_kernel(kernel)
	if kernel in topic_kernels():
		return topic_worktree(build_dir() / kernel / "linux", topic_kernels()[kernel])
	return make_tree() if kernel == "series" else base_worktree()


def output(kernel: str, config: str) -> Path:
	"""Return the directory that @kernel is built into with @config."""
	return build_dir() / ("." if kernel == "series" else kernel) / f"obj-{config}"


def fragments(kernel: str, config: str) -> tuple[str, ...]:
	"""Return the names of the fragments that make up @config for @kernel."""
	names = CONFIG_SETS[config]
	if kernel != "series":
		return names
	suites = (SERIES_ONLY,) if "noxen" in names else (SERIES_ONLY, SERIES_XEN)
	return (*names, *(s for s in suites if (FRAGMENT_DIR / f"{s}.config").is_file()))


def make_command(tree: StrPath, out: StrPath) -> list[str]:
	"""Return the make command line with the user's own kernel variables."""
	argv = ["make", "-C", str(tree), f"O={out}", f"-j{jobs()}"]
	for name in ("ARCH", "CROSS_COMPILE", "LLVM", "W", "C", "HOSTCC"):
		if setting(name):
			argv.append(f"{name}={setting(name)}")
	argv.append(f"CC={setting('CC') or ('ccache clang' if setting('LLVM') else 'ccache gcc')}")
	if verbose():
		argv.append(f"V={setting('V')}")
	return [*argv, "KBUILD_BUILD_USER=modify-prot", "KBUILD_BUILD_HOST=localhost"]


def ccache(directory: StrPath) -> dict[str, str]:
	"""Return the environment by which ccache takes paths below @directory as relative.

	So builds in sibling directories share objects. Not in depend mode, which overlooks
	.incbin: a kernel's compressed payload would be taken from an earlier kernel of the
	same size.
	"""
	return {"CCACHE_BASEDIR": str(directory), "CCACHE_NOHASHDIR": "1", "CCACHE_NODEPEND": "1"}


def read_fragments(names: Iterable[str], directory: StrPath = FRAGMENT_DIR) -> Options:
	"""Return {symbol: value} that the fragments ask for; "n" for "is not set"."""
	wanted: Options = {}
	for name in names:
		path = Path(directory) / f"{name}.config"
		if not path.is_file():
			known = " ".join(sorted(p.stem for p in Path(directory).glob("*.config")))
			raise ToolError(f"no config fragment '{name}': known are {known}")
		for line in path.read_text().splitlines():
			if match := re.match(r"(CONFIG_\w+)=(.*)$", line):
				wanted[match[1]] = match[2]
			elif match := re.match(r"# (CONFIG_\w+) is not set$", line):
				wanted[match[1]] = "n"
	return wanted


def read_config(path: StrPath) -> Options:
	"""Return {symbol: value} of a .config."""
	return dict(re.findall(r"^(CONFIG_\w+)=(.*)$", Path(path).read_text(), re.M))


def check_config(wanted: Options, dotconfig: StrPath) -> None:
	"""Raise ToolError with the names of the requested symbols that did not survive."""
	have = read_config(dotconfig)
	lost = [f"{k}={v} (is {have.get(k, 'n')})" for k, v in wanted.items()
		if have.get(k, "n") != v]
	if lost:
		raise ToolError(f"config options did not survive: {', '.join(lost)}: "
				f"see their dependencies in {dotconfig}", EXIT_CONFIG)


def configure(tree: StrPath, out: Path, names: Sequence[str],
	      directory: StrPath = FRAGMENT_DIR) -> None:
	"""Write out/.config: allnoconfig plus fragments, checked; keep it if nothing changed."""
	wanted = read_fragments(names, directory)
	files = [Path(directory) / f"{name}.config" for name in names]
	stamp = out / ".fragments"
	variables = [a for a in make_command(tree, out)[3:] if not a.startswith(("-j", "V="))]
	text = shlex.join(variables) + "\n" + "".join(f.read_text() for f in files)
	if stamp.is_file() and stamp.read_text() == text and (out / ".config").is_file():
		return
	out.mkdir(parents=True, exist_ok=True)
	stamp.unlink(missing_ok=True)
	log = out / "config.log"
	run([*make_command(tree, out), "allnoconfig"], log=log)
	run(["scripts/kconfig/merge_config.sh", "-m", "-O", out, out / ".config", *files],
	    cwd=tree, log=log)
	run([*make_command(tree, out), "olddefconfig"], log=log)
	check_config(wanted, out / ".config")
	stamp.write_text(text)


def build(kernel: str, config: str, targets: Sequence[str] = ("bzImage",)) -> Path:
	"""Build @kernel with @config; return the output directory.

	Raises ToolError for an unknown config, a lost config option (its name)
	or a failed build (the log's path).
	"""
	if config not in CONFIG_SETS:
		raise ToolError(f"unknown config '{config}': known are {' '.join(CONFIG_SETS)}")
	tree = source(kernel)
	out = output(kernel, config)
	with locked(out / ".lock"):
		configure(tree, out, fragments(kernel, config))
		state = built_from(tree, out, targets)
		stamp = out / ".built-from"
		if state and stamp.is_file() and stamp.read_text() == state:
			return out
		stamp.unlink(missing_ok=True)
		log = build_dir() / "log" / f"build-{kernel}-{config}.log"
		log.unlink(missing_ok=True)
		say(f"building {kernel} kernel, config {config} (log: {log})")
		run([*make_command(tree, out), *targets], log=log, env=ccache(out.parent))
		if state:
			stamp.write_text(state)
	return out


def built_from(tree: StrPath, out: Path, targets: Iterable[str]) -> str | None:
	"""Return what a build depends on as text, or None if the tree has local changes."""
	if run(["git", "-C", tree, "status", "--porcelain", "--untracked-files=no"]).stdout:
		return None
	head = run(["git", "-C", tree, "rev-parse", "HEAD^{tree}"]).stdout
	return head + " ".join(targets) + (out / ".fragments").read_text()


def image(out: StrPath) -> Path:
	"""Return the bzImage in an output directory; raise ToolError if it is not there."""
	path = Path(out) / "arch" / "x86" / "boot" / "bzImage"
	if not path.is_file():
		raise ToolError(f"{path} is missing: 'make kernel'", EXIT_MISSING)
	return path


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("KERNEL", "series", known_kernels())
	parser.setting("CONFIG", "lean", CONFIG_SETS)
	args = parser.settled()
	print(image(build(args.kernel, args.config)))
	return 0


if __name__ == "__main__":
	main(_main)
