# SPDX-License-Identifier: GPL-2.0
"""make race: the races of mprotect(), zap, fork and mremap() in their long mode, in a guest.

  make race GUEST=xen TRANSACTIONS=100000

Threads access memory while its protection changes, or while its entries are taken away: no
accessed or dirty bit, no write and no fault may be lost. A transaction is one of mprotect()'s,
or one entry that is cleared, moved or write-protected; all cases of a program together make as
many as are asked for, by default ten million. Prints KTAP; the last line counts the results.
"""
from pathlib import Path

from checks.in_guest import DISK, begin, run_selftest
from common.command import main
from common.settings import Parser
from guests.job import size
from guests.kernel import CONFIG_SETS
from guests.qemu import MACHINES
from guests.selftests import selftest

# Programs: how many transactions -n stands for, and how many the slowest case makes in a second at
# least, under TCG. One asks for changes of 64 entries in each of seven cases.
RACES = {"modify_prot_race": (1, 100), "zap_race": (64 * 7, 1000)}


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("GUEST", "bare", MACHINES)
	parser.setting("CONFIG", "disk",
		       [name for name, parts in CONFIG_SETS.items() if "disk" in parts])
	parser.setting("TRANSACTIONS")
	args = parser.settled()
	tally = begin()
	for name, (each, per_second) in RACES.items():
		program: Path | None = None
		with tally.step(f"{name}: build"):
			program = selftest("mm", name, args.config)
		if not program:
			continue
		number = -(-args.transactions // each)
		lines = run_selftest(tally, f"{name} {args.guest} {args.config}", args.guest,
				     program, f"-n {number} -d /disk", config=args.config,
				     setup=DISK, timeout=300 + args.transactions // per_second,
				     **size(smp=2))
		for line in lines:
			if line.startswith("# ") and "transactions" in line:
				print(line)
	return tally.close()


if __name__ == "__main__":
	main(_main)
