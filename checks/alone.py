# SPDX-License-Identifier: GPL-2.0
"""make alone: the tests of a topic on a kernel that has that topic alone.

  make alone KERNEL="topic2 topic3"

Each is the base with the topic, and with what it and its tests need. The whole series passes
these tests in make test; a list takes one topic at a time. Two kernel builds for a topic
at most. Prints KTAP; the last line counts the results.
"""
from collections.abc import Callable, Iterable

from checks.in_guest import begin
from checks.ptes import check_guest_marks, check_marks
from checks.scan import check_scan
from checks.spte import check_hints, check_split
from common.command import main
from common.settings import Parser
from common.tally import Tally

Check = Callable[[Tally, str], None]
CHECKS: dict[str, tuple[Check, ...]] = {
	"topic2": (check_marks,),
	"topic3": (check_scan, check_guest_marks),
	"topic4": (check_split,),
	"topic5": (check_hints,),
}


def check_alone(tally: Tally, kernels: Iterable[str]) -> None:
	"""Run the tests of the topic of each of the @kernels on it; count them."""
	for kernel in kernels:
		for check in CHECKS[kernel]:
			check(tally, kernel)


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("KERNEL", list(CHECKS), CHECKS, many=True)
	args = parser.settled()
	tally = begin()
	check_alone(tally, args.kernel)
	return tally.close()


if __name__ == "__main__":
	main(_main)
