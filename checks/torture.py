# SPDX-License-Identifier: GPL-2.0
"""make torture: random changes of protections and mappings against a model, in a guest.

  make torture GUEST=xen SECONDS=300 SEED=7

SEED= repeats a run; without, it is taken from the clock and printed. The guest has
two vCPUs, the debug kernel, KSM at work, and swap on a RAM disk.
"""
import time
from typing import Any

from common.command import ROOT, main, say
from common.settings import Parser
from guests.initramfs import compile_static
from guests.job import guest, size
from guests.qemu import MACHINES
from guests.selftests import headers

# Which allocations fail, if they are to: this share (per cent) of the processes' own.
FAILING = """\
for fault in failslab fail_page_alloc; do
	cd /sys/kernel/debug/$fault || exit 1
	echo Y > task-filter
	echo N > ignore-gfp-wait
	echo 2 > probability
	echo -1 > times
	echo 0 > verbose
done
echo 0 > /sys/kernel/debug/fail_page_alloc/min-order
"""
JOB = """\
if mkswap /dev/ram0 > /dev/null 2>&1; then swapon /dev/ram0; fi
/bin/torture -s {seed} -t {seconds} -p {processes} {flags}
"""


def torture(kind: str, seconds: int, seed: int, config: str = "debug", kernel: str = "series",
	    starve: bool = False, may_warn: bool = False, **options: Any) -> list[str]:
	"""Run the program for @seconds with @seed in guest @kind; return its lines.

	With @starve, allocations fail now and then, which takes a config with
	fault injection. @may_warn is that of Guest.run(), @options go to Guest.
	Raises ToolError if it failed, or the kernel did (see guests.qemu).
	"""
	program = compile_static(ROOT / "guests" / "programs" / "torture.c", "torture",
				 f"-I{headers(config)}")
	name = f"torture-{kernel}-{config}-{kind}"
	job = (FAILING if starve else "") + JOB.format(seed=seed, seconds=seconds, processes=4,
						       flags="-f" if starve else "")
	options = {**size(smp=2), **options}
	machine = guest(kind, kernel, name, job, config=config, programs=[program], **options)
	done = machine.run(name, timeout=300 + 4 * seconds, may_warn=may_warn).require()
	return [line for line in done.lines if line.startswith("torture: ")]


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("GUEST", "bare", MACHINES)
	parser.setting("SECONDS")
	parser.setting("SEED", int(time.time()))
	args = parser.settled()
	say(f"torture: GUEST={args.guest} SECONDS={args.seconds} SEED={args.seed}")
	print("\n".join(torture(args.guest, args.seconds, args.seed)))
	return 0


if __name__ == "__main__":
	main(_main)
