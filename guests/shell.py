# SPDX-License-Identifier: GPL-2.0
"""make shell: an interactive shell in a guest (GUEST=, KERNEL=, SMP=, MEM=)."""

from common.command import main
from common.settings import Parser
from guests.job import guest
from guests.kernel import known_kernels
from guests.qemu import KINDS

JOB = "echo 'busybox shell; exit powers the guest off'; /bin/sh -i; true\n"


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("GUEST", "xen", KINDS)
	parser.setting("KERNEL", "series", known_kernels())
	args = parser.settled()
	return guest(args.guest, args.kernel, "shell", JOB).shell()


if __name__ == "__main__":
	main(_main)
