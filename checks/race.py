# SPDX-License-Identifier: GPL-2.0
"""make race: the races of mprotect() in their long mode, ten million transactions, in a guest.

  make race GUEST=xen TRANSACTIONS=100000

Threads access memory while its protection changes; no accessed or dirty bit, no
write and no fault may be lost. Prints KTAP; the last line counts the results.
"""
from checks.in_guest import DISK, begin, run_selftest
from common.command import main
from common.settings import Parser
from guests.job import size
from guests.kernel import CONFIG_SETS
from guests.qemu import MACHINES
from guests.selftests import selftest

PER_SECOND = 100	# transactions that the slowest case makes at least, under TCG


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("GUEST", "bare", MACHINES)
	parser.setting("CONFIG", "disk",
		       [name for name, parts in CONFIG_SETS.items() if "disk" in parts])
	parser.setting("TRANSACTIONS")
	args = parser.settled()
	tally = begin()
	race = selftest("mm", "modify_prot_race", args.config)
	lines = run_selftest(tally, f"race {args.guest} {args.config}", args.guest, race,
			     f"-n {args.transactions} -d /disk", config=args.config, setup=DISK,
			     timeout=300 + args.transactions // PER_SECOND, **size(smp=2))
	for line in lines:
		if line.startswith("# ") and "transactions" in line:
			print(line)
	return tally.close()


if __name__ == "__main__":
	main(_main)
