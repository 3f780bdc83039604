# SPDX-License-Identifier: GPL-2.0
"""make stick: build/modify-prot.img, which boots on a PC and says what the series does there.

The image is for a USB stick or a virtual disk. BIOS and UEFI boot it. Its only partition
is FAT: it has both kernels, Xen, the programs, and takes the results (bench/STICK.md).

  dd if=build/modify-prot.img of=/dev/<the stick> bs=4M conv=fsync
"""
import shutil
from pathlib import Path

from bench import everyday
from bench.measure import TRACE_JOB, TRACED_PAGES, TRACED_UPDATES
from bench.programs import program, tsc_program, workload_program
from bench.stick_image import MIB, boot_files, fat_serial, image_size, settings, write_image
from common.command import ROOT, StrPath, ToolError, build_dir, main, replaced
from common.settings import Parser
from guests.initramfs import initramfs
from guests.kernel import KERNELS, build, image
from guests.selftests import compile_selftest, exported_headers
from guests.xen import hypervisor
from series.tree import make_tree

NAME = "modify-prot.img"
RACES = ("modify_prot_race", "zap_race")
# What run.sh runs besides programs that print results themselves.
WRAPPERS = {
	"everyday": "exec /bin/bash /everyday",
	"mprotect_tsc": "/bin/mprotect_perf_tsc | "
			"sed -n 's/metric=ns_/metric=tsc_ticks_/p; /^not ok/p'",
	"hypercalls": f"""[ "$(cat /sys/hypervisor/type 2> /dev/null)" = xen ] || exit 4
{TRACE_JOB}
awk -v n=$((many - few)) 'BEGIN {{
	printf "# result bench=mprotect case=anon-4k pages={TRACED_PAGES} threads=1 "
	v = n * 1000 / {TRACED_UPDATES}
	printf "metric=hypercalls_per_1000 median=%.2f min=%.2f max=%.2f runs=1\\n", v, v, v
}}'
""",
}


def script(name: str, text: str) -> Path:
	"""Return the path of an executable shell script @name that holds @text."""
	path = build_dir() / "stick" / name
	with replaced(path) as tmp:
		tmp.write_text(f"#!/bin/sh\n{text}\n")
		tmp.chmod(0o755)
	return path


def initrd() -> Path:
	"""Return the initramfs of both kernels."""
	include = exported_headers()
	programs: list[StrPath] = [program(), tsc_program(), workload_program()]
	programs += [compile_selftest("mm", name, include) for name in RACES]
	programs += [script(name, text) for name, text in WRAPPERS.items()]
	job = (ROOT / "guests" / "jobs" / "stick.sh").read_text()
	return initramfs(make_tree(), "stick", job, programs,
			 [("/bin/run.sh", ROOT / "bench" / "dist.sh"),
			  *everyday.files(everyday.timed(), "everyday-stick")])


def stick(minutes: int, rounds: int) -> Path:
	"""Build the image and return its path.

	Race tests run for @minutes, the benchmark @rounds times, with each kernel. Raises
	ToolError if something is missing or does not build.
	"""
	content = {f"boot/{kernel}": image(build(kernel, "stick")) for kernel in KERNELS}
	content |= {"boot/initrd": initrd(), "boot/xen": hypervisor()}
	uuid = fat_serial([*content.values(), ROOT / "bench" / "stick.cfg"])
	boot, loaders = boot_files(uuid, settings(minutes, rounds))
	content |= loaders
	size = image_size(sum(path.stat().st_size for path in content.values()))
	free = shutil.disk_usage(build_dir()).free
	if free < size:
		raise ToolError(f"{build_dir()} has {free // MIB} MiB of room, the image needs "
				f"{size // MIB}: remove something, or set O=")
	with replaced(build_dir() / NAME) as tmp:
		write_image(tmp, size, boot, uuid, content)
	return build_dir() / NAME


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("MINUTES", 10)
	parser.setting("ROUNDS", 5)
	args = parser.settled()
	print(stick(args.minutes, args.rounds))
	return 0


if __name__ == "__main__":
	main(_main)
