# SPDX-License-Identifier: GPL-2.0
"""What a KVM guest loses because its host announces changes that are none.

The payload's split_notify_test and numa_hint_test count the SPTEs that are zapped and
the faults of a running guest when its VMM changes 4 KiB that the guest does not use,
and when NUMA balancing scans memory that it will not migrate. They need nothing of the
series to do so, but say that they failed on the base. Events are counted, not
instructions: two CPUs, no -icount.
"""
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from bench.matrix import KVM_HOST
from bench.table import table
from common.command import EXIT_GUEST, ToolError, main
from common.result import Result
from common.settings import Parser
from guests.job import guest
from guests.kernel import KERNELS
from guests.selftests import selftest

BENCH = "notify"
RUNS = 3
SPLIT = re.compile(r"^(small|huge) pages?: (\w+)\(\) of 4 KiB (in|outside) the memslot, "
		   r"beside (\d+) pages of the guest: (\d+) SPTEs zapped, (\d+) faults$")
NUMA = re.compile(r"^(shared|merged|pinned|plain)[a-z ]*: (\d+) pages, "
		  r"scanned (\d+) times: (\d+) faults$")
Figure = tuple[str, int, str, float]	# case, pages, metric, value


@dataclass(frozen=True)
class Program:
	"""A selftest of KVM with its @options, and the kernel that it needs.

	@cases is how many cases it counts.
	"""
	name: str
	options: str
	config: str
	append: str
	cases: int


PROGRAMS = (
	Program("x86/split_notify_test", "-s 0", "lean", "", 7),
	Program("x86/numa_hint_test", "", "debug", "numa=fake=2", 4),
)
CONFIGS = tuple(dict.fromkeys(program.config for program in PROGRAMS))


def parse_notify(lines: Iterable[str]) -> list[Figure]:
	"""Return the figures that the programs' @lines hold, in their order."""
	found: list[Figure] = []
	for line in lines:
		if match := SPLIT.match(line):
			pages, call, where, total, zapped, faults = match.groups()
			case = f"{call}-{'huge' if pages == 'huge' else where}"
			found.append((case, int(total), "sptes_zapped", int(zapped)))
			found.append((case, int(total), "page_faults", int(faults)))
		elif match := NUMA.match(line):
			how, total, scans, faults = match.groups()
			found.append((f"numa-{how}", int(total), "page_faults_per_scan",
				      int(faults) / int(scans)))
	return found


def summed_up(figures: Iterable[Figure], kernel: str) -> list[Result]:
	"""Return the results of @kernel: of each case and metric the median of all @figures."""
	values: dict[tuple[str, int, str], list[float]] = defaultdict(list)
	for case, pages, metric, value in figures:
		values[case, pages, metric].append(value)
	return [Result(kernel, KVM_HOST, BENCH, *key, statistics.median(found), min(found),
		       max(found), len(found)) for key, found in values.items()]


def measure_notify(kernel: str, build_it: bool = True) -> list[Result]:
	"""Run the programs on @kernel, RUNS times each; return the results.

	Raises ToolError if a guest did not end well, or one has not counted all its cases.
	"""
	results: list[Result] = []
	for program in PROGRAMS:
		path = selftest("kvm", program.name, program.config)
		name = f"bench-{kernel}-{KVM_HOST}-{path.stem.replace('_', '-')}"
		# On the base it ends as failed, once it has counted.
		job = f"/bin/{path.name} {program.options}\n" * RUNS + "true\n"
		machine = guest("bare", kernel, name, job, config=program.config, programs=[path],
				smp=2, svm=True, accel="tcg", append=program.append,
				build_it=build_it)
		done = machine.run(name, timeout=600).require()
		found = summed_up(parse_notify(done.lines), kernel)
		cases = {r.case for r in found if r.runs == RUNS}
		if len(cases) != program.cases:
			raise ToolError(f"{path.name} has counted {len(cases)} of {program.cases} "
					f"cases {RUNS} times: see {done.log}", EXIT_GUEST)
		results += found
	return results


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("KERNEL", KERNELS, KERNELS, many=True)
	args = parser.settled()
	print(table([item for kernel in args.kernel for item in measure_notify(kernel)]))
	return 0


if __name__ == "__main__":
	main(_main)
