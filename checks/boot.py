# SPDX-License-Identifier: GPL-2.0
"""Gate: each patch of each topic boots, bare and under Xen, and passes the KUnit suites that are there by then."""
from checks.compile import Compiler, concerns
from checks.targets import Target
from guests import kunit
from guests.initramfs import initramfs
from guests.kernel import image
from guests.qemu import GUESTS, Guest
from series import patches
from series.cmd import ROOT, ToolError, jobs, run
from series.tree import commit_series, make_tree

TARGET = Target("boot", "x86_64", ("lean", "kunit", "kunit-series"), ())
TIMEOUT = 300	# seconds, of a guest


class Booter(Compiler):
	"""Builds the lean kernel of one state after the other, and boots it."""

	def build(self, commit, label):
		"""Check @commit out and build it; return the image. Raises ToolError if it does not build."""
		self.switch(commit, label)
		run([*self.target.make(self.tree, self.out), f"-j{jobs()}", "bzImage"], log=self.log,
		    env={"CCACHE_BASEDIR": str(self.out.parent), "CCACHE_NOHASHDIR": "1", "CCACHE_DEPEND": "1"})
		return image(self.out)

	def boot(self, kernel, kind):
		"""Boot @kernel in guest @kind; return the (case, status) of the suites that it has.

		Raises ToolError if the guest does not come to a good end.
		"""
		name = f"gate-boot-{kind}"
		initrd = initramfs(make_tree(), name, "true\n")
		result = Guest(kind, kernel, initrd, accel="tcg").run(name, timeout=TIMEOUT).require()
		if not any("KTAP version" in line for line in result.lines):
			return []
		log = result.log.with_suffix(".ktap")
		log.write_text("\n".join(kunit.without_strays(result.lines)) + "\n")
		_, results = kunit.kunit_tool(self.tree, "parse", log)
		return list(kunit.cases(results))


def states(linux, root=ROOT):
	"""Yield (commit, label) of the patches to boot, topic by topic, each on the base alone."""
	series = patches.load(root)
	for topic in patches.topics(root):
		for commit, patch in commit_series(linux, [p for p in series if p.topic == topic], root):
			if concerns(patch, TARGET):
				yield commit, patch.label


def boot():
	"""Each patch boots, bare and under Xen, and passes the KUnit suites that are there by then."""
	with Booter(TARGET) as booter:
		for commit, label in states(make_tree()):
			try:
				kernel = booter.build(commit, label)
			except ToolError as error:
				yield f"{label}: builds", False, str(error)
				continue
			for kind in GUESTS:
				try:
					results = booter.boot(kernel, kind)
				except ToolError as error:
					yield f"{label}: {kind}", False, str(error)
					continue
				bad = [name for name, status in results if status not in ("PASS", "SKIP")]
				passed = sum(status == "PASS" for _, status in results)
				yield f"{label}: {kind}", not bad, f"{passed} cases passed {' '.join(bad)}".strip()
