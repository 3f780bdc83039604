# SPDX-License-Identifier: GPL-2.0
"""Checks of mprotect() of foreign pages, in dom0 and in a domU: no worse than on the base.

guests/programs/foreign.c tells what comes of it. The hypervisor lets no domain change
the protection of a page that is not its own: gntdev unmaps when it hears of the change,
privcmd's entries stay as they are.
"""
import re
from collections.abc import Iterable
from dataclasses import dataclass

from common.command import EXIT_GUEST, ROOT, ToolError
from common.tally import Tally
from guests.initramfs import compile_static
from guests.job import guest
from guests.nested import PREFIX
from guests.qemu import FAILURES

# From best to worst, as foreign.c has it.
OUTCOMES = ("works", "refused", "unchanged", "lost", "stuck", "other")
WHERE = ("dom0", "domU")
SCENARIO = 'foreign "$(xl domid guest)"\n'
LINE = re.compile(r"foreign: (begins )?((dom0|domU) \w+ [\w-]+)(?:: (\w+))?$")
# dom0's kernel may interrupt a line of domU's; what it says begins here.
INTERRUPTS = re.compile(r"(?<=[\w-])(?=(?:WARNING|BUG): )")


@dataclass
class Case:
	"""A case: its @outcome, one of OUTCOMES, and whether the kernel @warned of it."""
	outcome: str = ""
	warned: bool = False

	def worse_than(self, other: "Case") -> bool:
		"""Return whether this is worse than @other in either respect."""
		return OUTCOMES.index(self.outcome) > OUTCOMES.index(other.outcome) or \
			self.warned > other.warned

	def __str__(self) -> str:
		return f"{self.outcome}{', and the kernel warns' if self.warned else ''}"


def parse(console: Iterable[str]) -> dict[str, Case]:
	"""Return {case: Case} of the lines of dom0's @console, which has domU's with a prefix.

	Raises ToolError if a case ends that was not seen to begin, has not ended, or not with
	one of OUTCOMES.
	"""
	cases: dict[str, Case] = {}
	running: dict[bool, Case] = {}	# in domU, or not
	for line in (part for whole in console for part in INTERRUPTS.split(whole)):
		inner = line.startswith(PREFIX)
		match = LINE.match(line.removeprefix(PREFIX))
		if match and match[1]:
			running[inner] = cases[match[2]] = Case()
		elif match and match[4]:
			if match[2] not in cases:
				raise ToolError(f"{match[2]}: ends, but was not seen to begin",
						EXIT_GUEST)
			cases[match[2]].outcome = match[4]
			running.pop(inner, None)
		elif inner in running and FAILURES.search(line):
			running[inner].warned = True
	for title, case in cases.items():
		if case.outcome not in OUTCOMES:
			raise ToolError(f"{title}: '{case.outcome}' is not one of {OUTCOMES}",
					EXIT_GUEST)
	return cases


def run_foreign(kernel: str) -> dict[str, Case]:
	"""Run the program in dom0 and domU with @kernel; return {case: Case}.

	Raises ToolError unless both come to a good end.
	"""
	program = compile_static(ROOT / "guests" / "programs" / "foreign.c", "foreign")
	name = f"foreign-{kernel}"
	machine = guest("domU", kernel, name, "/bin/foreign\n", programs=[program],
			build_it=False, mem=2560, append="xen_privcmd.unrestricted=1",
			around={"inner_mem": 256, "outer_programs": [program],
				"scenario": SCENARIO})
	result = machine.run(name, timeout=600, may_warn=True).require()
	for where in WHERE:
		done = f"foreign: {where} done"
		assert any(l.removeprefix(PREFIX) == done for l in result.console), \
			f"no '{done}': see {result.log}"
	return parse(result.console)


def check_foreign(tally: Tally) -> None:
	"""Count for each case whether the series does no worse than the base."""
	seen: dict[str, dict[str, Case]] = {}
	for kernel in ("base", "series"):
		with tally.step(f"foreign pages: mprotect() in dom0 and domU, {kernel}"):
			seen[kernel] = run_foreign(kernel)
			assert seen[kernel], "no case ran"
	if len(seen) < 2:
		return
	for title in sorted(seen["base"] | seen["series"]):
		with tally.step(f"foreign pages: {title}: no worse than on the base"):
			base, series = seen["base"].get(title), seen["series"].get(title)
			assert base and series, "did not run on both"
			assert not series.worse_than(base), f"{series}; on the base: {base}"
			assert series.outcome != "other", "some other page is mapped"
