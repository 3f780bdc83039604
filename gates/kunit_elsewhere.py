# SPDX-License-Identifier: GPL-2.0
"""Gates: the KUnit suites on other architectures, in their QEMU, by the kernel's own kunit.py."""
from collections.abc import Iterator

from common.command import build_dir, jobs
from gates.targets import TARGETS, TARGET_CONFIGS
from gates.verdict import Gate, Verdict
from guests.kernel import ccache
from guests.kunit import cases, kunit_tool
from series.tree import make_tree

# Target of gates/targets.py: kunit.py's name for the architecture.
ARCHS = {"arm64": "arm64", "s390": "s390", "powerpc": "powerpcle"}
TIMEOUT = 600	# seconds, of the guest
GOOD = {"PASS": True, "SKIP": None}


def kunit_gate(name: str) -> Gate:
	"""Return the gate that builds the series for @name of ARCHS and runs its suites."""
	target, arch = TARGETS[name], ARCHS[name]

	def gate() -> Iterator[Verdict]:
		target.compiler()
		_, results = kunit_tool(
			make_tree(), "run", f"--arch={arch}", f"--cross_compile={target.prefix}",
			f"--kunitconfig={TARGET_CONFIGS / f'kunit-{name}.config'}",
			f"--build_dir={build_dir() / 'gates' / f'obj-kunit-{name}'}",
			f"--make_options=CC=ccache {target.prefix}gcc",
			f"--jobs={jobs()}", f"--timeout={TIMEOUT}",
			env=ccache(build_dir()))
		for case, status in cases(results):
			yield case, GOOD.get(status, False), status if status not in GOOD else ""
	gate.__doc__ = f"The KUnit suites pass on {name}, in QEMU."
	return gate
