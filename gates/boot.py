# SPDX-License-Identifier: GPL-2.0
"""Gates: each patch of a topic boots, bare and under Xen, and fails only the base's KUnit cases."""
from collections.abc import Iterable, Iterator
from pathlib import Path

from common.command import ROOT, ToolError, run
from common.tally import KUnitCase
from gates.compile import Compiler, concerns, write_fragment
from gates.targets import Target
from gates.verdict import Gate, Verdict
from guests import kunit
from guests.initramfs import initramfs
from guests.kernel import ccache, configure, image, make_command
from guests.qemu import MACHINES, Guest
from series import patches
from series.tree import commit_series, make_tree

TARGET = Target("boot", "x86_64", ("lean", "kunit", "kunit-series", "kunit-xen"), ())
TIMEOUT = 300	# seconds, of a guest


class Booter(Compiler):
	"""Builds the lean kernel of one state after the other, and boots it."""

	def configure(self) -> None:
		"""Write .config as for the guests' kernels.

		What is new to allnoconfig is at its default.
		"""
		fragment = write_fragment(self.out / "fragment.config", self.wanted())
		(self.out / ".fragments").unlink(missing_ok=True)
		configure(self.tree, self.out, [fragment.stem], self.out)

	def build(self, commit: str, label: str) -> Path:
		"""Check @commit out and build it; return the image.

		Raises ToolError if it does not build.
		"""
		self.switch(commit, label)
		run([*make_command(self.tree, self.out), "bzImage"], log=self.log,
		    env=ccache(self.out.parent))
		return image(self.out)

	def boot(self, kernel: Path, kind: str) -> list[KUnitCase]:
		"""Boot @kernel in guest @kind; return the (case, status) of the suites that it has.

		Raises ToolError if the guest does not come to a good end.
		"""
		name = f"gate-boot-{kind}"
		initrd = initramfs(make_tree(), name, "true\n")
		machine = Guest(kind, kernel, initrd, accel="tcg")
		result = machine.run(name, timeout=TIMEOUT).require()
		if not any("KTAP version" in line for line in result.lines):
			return []
		log = result.log.with_suffix(".ktap")
		log.write_text("\n".join(kunit.without_strays(result.lines)) + "\n")
		_, results = kunit.kunit_tool(self.tree, "parse", log)
		return list(kunit.cases(results))


def boot_gate(topic: str, root: Path = ROOT) -> Gate:
	"""Return the gate that boots each patch of @topic, on the base without the other topics."""
	def gate() -> Iterator[Verdict]:
		series = patches.with_tests(topic, root)
		with Booter(TARGET, root=root) as booter:
			kernel = booter.build("base", "base")
			known = {kind: failures(booter.boot(kernel, kind)) for kind in MACHINES}
			for commit, patch in commit_series(make_tree(root), series, root):
				if patch.topic == topic and concerns(patch, TARGET):
					yield from outcomes(booter, commit, patch.label, known)
	gate.__doc__ = f"Each patch of {topic} boots, bare and under Xen, and fails no KUnit " \
		"case but the base's."
	return gate


def failures(results: Iterable[KUnitCase]) -> set[str]:
	"""Return the names of the cases that failed."""
	return {name for name, status in results if status not in ("PASS", "SKIP")}


def outcomes(booter: Booter, commit: str, label: str,
	     known: dict[str, set[str]]) -> Iterator[Verdict]:
	"""Yield a verdict on each guest of one state, or that it does not build.

	@known has the base's failures by guest.
	"""
	try:
		kernel = booter.build(commit, label)
	except ToolError as error:
		yield f"{label}: builds", False, str(error)
		return
	for kind in MACHINES:
		try:
			results = booter.boot(kernel, kind)
		except ToolError as error:
			yield f"{label}: {kind}", False, str(error)
			continue
		bad = failures(results) - known[kind]
		passed = sum(status == "PASS" for _, status in results)
		old = len(failures(results)) - len(bad)
		note = f"{passed} cases passed{f', {old} fail as on the base' if old else ''} "
		yield f"{label}: {kind}", not bad, f"{note}{' '.join(sorted(bad))}".strip()
