# SPDX-License-Identifier: GPL-2.0
"""make soak: the long mode, on a kernel with KASAN, lockdep and KVM's own proofs (config kasan).

KUnit, the races of mprotect(), and change_pte_test with each of KVM's MMUs, whose
stress test gets MINUTES= of time in all (default 15), and has swap to use. A
warning on the console ends the run.
"""
import argparse
import re

from checks.selftests import DISK, MMUS, run_selftest
from checks.tally import Tally
from guests import kunit
from guests.job import number
from guests.kernel import build
from guests.qemu import check_tools
from guests.selftests import selftest
from series.cmd import main

CONFIG = "kasan"
SWAP = "mkswap /dev/ram0 > /dev/null && swapon /dev/ram0 || exit 1"
RACE_SECONDS = 10	# per case
SLOW = 20		# how much slower than real time a set-up may be under TCG with KASAN


def check_soak(tally, minutes):
	"""Run everything, the stress tests for @minutes in all, and count the results."""
	smp, seconds = number("SMP", 2), minutes * 60 // len(MMUS)
	programs = []
	with tally.step(f"soak: build: series kernel, config {CONFIG}, and its selftests"):
		build("series", CONFIG)
		programs = [selftest("kvm", "x86/change_pte_test", CONFIG),
			    selftest("mm", "modify_prot_race", CONFIG)]
	if not programs:
		return
	change_pte, race = programs
	results = []
	with tally.step(f"soak: kunit: bare, {smp} vCPUs: complete run"):
		_, results = kunit.run_in_guest("bare", config=CONFIG, smp=smp, timeout=900)
	tally.cases("soak: kunit:", results)
	run_selftest(tally, "soak: races of mprotect()", "bare", race, f"-s {RACE_SECONDS} -d /disk",
		     config=CONFIG, setup=DISK, timeout=RACE_SECONDS * 60 * SLOW, smp=smp, append="kunit.autorun=0")
	for title, append in MMUS:
		options = {"config": CONFIG, "svm": True, "accel": "tcg", "smp": smp, "setup": SWAP,
			   "append": f"kunit.autorun=0 {append}"}
		run_selftest(tally, f"soak: change_pte {title}", "bare", change_pte, "-s 0", timeout=1800, **options)
		name = f"soak: change_pte stress {title}, {seconds} s"
		lines = run_selftest(tally, name, "bare", change_pte, f"-v {smp} -t stress -s {seconds}",
				     timeout=300 + seconds * SLOW, **options)
		with tally.step(f"{name}: pages merged, swapped and aged meanwhile"):
			text = "\n".join(lines)
			for what in (r"in place [1-9]", r"^[1-9]\d* pages swapped out", r"^[1-9]\d* generations"):
				assert re.search(what, text, re.M), f"not a line with '{what}'"


def _main():
	parser = argparse.ArgumentParser(description=__doc__,
					 formatter_class=argparse.RawDescriptionHelpFormatter)
	parser.parse_args()
	minutes = number("MINUTES", 15)
	check_tools()
	print("KTAP version 1", flush=True)
	tally = Tally()
	check_soak(tally, minutes)
	return tally.close()


if __name__ == "__main__":
	main(_main)
