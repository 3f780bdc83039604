# SPDX-License-Identifier: GPL-2.0
"""make shell: an interactive shell in a guest (GUEST=, KERNEL=, SMP=, MEM=)."""
import argparse
import os

from common.command import main
from guests.job import guest

JOB = "echo 'busybox shell; exit powers the guest off'; /bin/sh -i; true\n"


def _main():
	parser = argparse.ArgumentParser(description=__doc__)
	parser.add_argument("--guest", default=os.environ.get("GUEST") or "xen")
	parser.add_argument("--kernel", default=os.environ.get("KERNEL") or "series")
	args = parser.parse_args()
	return guest(args.guest, args.kernel, "shell", JOB, append="kunit.autorun=0").shell()


if __name__ == "__main__":
	main(_main)
