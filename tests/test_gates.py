# SPDX-License-Identifier: GPL-2.0
"""Tests of the gates: what they compare, and that they see what is new."""
import os
import unittest
import unittest.mock
from collections import Counter
from pathlib import Path

from common.command import EXIT_MISSING, ToolError
from common.tally import Tally
from gates import compile as compiling, run, static, targets
from series import patches
from tests.miniature import FakeCase

# As much of the kernel's makefile as the compile gates use.
MAKEFILE = """VERSION = 7
PATCHLEVEL = 3
SUBLEVEL = 4
.PHONY: mrproper allnoconfig force
mrproper:
allnoconfig:
	@grep -v '=n' $(KCONFIG_ALLCONFIG) > $(O)/.config || :
mm/: mm/code.o mm/tests/new.o
mm/%.o: force
	@mkdir -p $(dir $(O)/$@)
	@echo "  CC      $@"
	@$(CC) -Wall -Wextra -c -o $(O)/$@ mm/$*.c
force:
"""
# What is no part of a kernel.
ELSEWHERE = ("tools/", "Documentation/")
TARGET = targets.Target("fake", "x86_64", (), ("mm/code", "mm/tests/new", "mm/absent"))


class CompileGate(FakeCase):
	"""Each patch is compiled and compared with what came before it."""

	def setUp(self):
		super().setUp()
		(self.linux / "Makefile").write_text(MAKEFILE)

	def edit(self, number, old, new):
		path = next((self.root / "patches" / "1-topic").glob(f"{number:04d}-*"))
		path.write_text(path.read_text().replace(old, new))

	def unused_variable_in_second(self):
		self.edit(2, "+int b;", "+static int b;")
		path = self.root / "mm" / "tests" / "new.c"
		path.write_text(path.read_text().replace("int b;", "static int b;"))

	def outcomes(self):
		return {o.label: o for o in compiling.each_patch(TARGET, self.root)}

	def test_clean_series(self):
		outcomes = self.outcomes()
		self.assertEqual(len(outcomes), 3)
		for outcome in outcomes.values():
			self.assertTrue(outcome.good(), outcome.text())
			self.assertEqual(outcome.compiled, 2)
		self.assertIn("whole series", outcomes)

	def test_new_warning_is_pinned_on_its_patch(self):
		self.unused_variable_in_second()
		first, second, whole = self.outcomes().values()
		self.assertTrue(first.good())
		self.assertFalse(second.good())
		self.assertIn("mm/tests/new.c: ‘b’ defined but not used", second.text())
		self.assertTrue(whole.good(), "it is not new any more")

	def test_directories_compile_without_a_warning(self):
		target = targets.Target("fake", "x86_64", (), (), directories=("mm/",))
		clean, = compiling.whole_directories(target, self.root)
		self.assertTrue(clean.good(), clean.text())
		self.assertEqual(clean.compiled, 2)
		self.unused_variable_in_second()
		warned, = compiling.whole_directories(target, self.root)
		self.assertIn("‘b’ defined but not used", warned.text())
		self.assertFalse(warned.good())

	def test_warnings_of_the_base_do_not_count(self):
		code = self.linux / "mm" / "code.c"
		code.write_text(code.read_text() + "static int old;\n")
		for outcome in self.outcomes().values():
			self.assertTrue(outcome.good(), outcome.text())

	def test_patch_that_does_not_compile(self):
		self.edit(1, "+int line_five;", "+int line_five")
		first, *_ = self.outcomes().values()
		self.assertFalse(first.good())
		self.assertIn("mm/code.c: ", first.errors[0])

	def test_base_that_does_not_compile_is_not_a_fault_of_the_series(self):
		code = self.linux / "mm" / "code.c"
		code.write_text(code.read_text() + "syntax error\n")
		with self.assertRaises(ToolError) as caught:
			self.outcomes()
		self.assertIn("fake: the base does not compile: mm/code.c: ", str(caught.exception))

	def test_gate_counts_and_keeps_results(self):
		self.unused_variable_in_second()
		tally, gate = Tally(), run.compile_gate(TARGET, self.root)
		with unittest.mock.patch.dict(run.GATES, {"fake": gate}), \
		     unittest.mock.patch("builtins.print"):
			run.run_gate("fake", tally)
		self.assertEqual((tally.passed, tally.failed), (2, 1))
		kept = (self.tmp / "build" / "gates" / "fake.json").read_text()
		self.assertIn('"good": false', kept)


class Comparisons(unittest.TestCase):
	"""What counts as the same finding, and bad input."""

	def test_findings_are_compared_without_line_numbers(self):
		text = "/x/mm/a.c:10:5: warning: odd [-Wodd]\n" \
			"Warning: mm/b.h:7 no return value of 'f'\n" \
			"MAINTAINERS:5: warning: y\n" \
			"/x/kvm/m.c:31:3-12: second lock on line 31\n"
		moved = text
		for old, new in ((":10:5", ":12:7"), (":7 ", ":9 "), (":5:", ":6:"), ("31", "44")):
			moved = moved.replace(old, new)
		found = static.without_lines(text, "/x")
		self.assertEqual(found, static.without_lines(moved, "/x"))
		self.assertNotEqual(found, static.without_lines(text.replace("odd", "new"), "/x"))

	def test_a_second_finding_of_the_same_text_is_new(self):
		finding = "a.c: warning: x"
		trees = {"series": Counter({finding: 2}), "base": Counter({finding: 1})}
		with unittest.mock.patch.object(static, "make_tree", lambda: "series"), \
		     unittest.mock.patch.object(static, "base_worktree", lambda: "base"):
			self.assertEqual(static.compare("x", trees.get), ("x", False, finding))
			self.assertEqual(static.compare("x", lambda tree: trees["base"])[1], True)

	def test_compiler_output_is_understood(self):
		unused = "unused variable ‘x’ [-Wunused-variable]"
		log = (f"../linux/mm/a.c:3:9: warning: {unused}\n/t/mm/b.c:4: error: no\n"
		       "mm/c.o: warning: objtool: f+0x1: odd\n  CC      mm/a.o\n")
		warnings, errors = compiling.findings(log, "/t", "/o")
		self.assertEqual(warnings, {("mm/a.c", unused), ("mm/c.o", "objtool: f+0x1: odd")})
		self.assertEqual(errors, ["mm/b.c: no"])

	def test_patches_of_other_architectures_are_not_compiled(self):
		def patch(*files):
			hunks = "".join(f"diff --git a/{f} b/{f}\n" for f in files)
			return patches.Patch("n", "t", {}, "", [], hunks)
		arm64, um = targets.TARGETS["arm64"], targets.TARGETS["um"]
		self.assertFalse(compiling.concerns(patch("arch/x86/mm/a.c", "Documentation/x.rst"),
						    arm64))
		self.assertTrue(compiling.concerns(patch("arch/x86/mm/a.c", "mm/b.c"), arm64))
		self.assertTrue(compiling.concerns(patch("arch/x86/mm/a.c"), um))

	def test_missing_compiler_names_the_remedy(self):
		target = targets.Target("z", "s390", (), (), prefix="no-such-")
		with self.assertRaises(ToolError) as caught:
			target.compiler()
		self.assertEqual(caught.exception.code, EXIT_MISSING)
		self.assertIn("series/deps --check", str(caught.exception))

	def test_every_file_is_compiled(self):
		compiled = {str(Path(os.path.normpath(path))) for target in targets.TARGETS.values()
			    for path in target.paths()}
		for patch in patches.load():
			for name in (*patch.files(), *patch.payload):
				if name.endswith(".c") and not name.startswith(ELSEWHERE):
					self.assertIn(str(Path(name).with_suffix(".o")), compiled)

	def test_every_fragment_is_there(self):
		for target in (*targets.TARGETS.values(), targets.ALLMOD):
			for path in target.fragment_files():
				self.assertTrue(Path(path).is_file(), f"{target.name}: {path}")


class BootGate(FakeCase):
	"""What a topic needs of another one is declared."""

	def test_dependency_is_in_the_cover_letter(self):
		cover = self.root / "patches" / "1-topic" / "cover.txt"
		cover.write_text("mm: cover\n\nIt needs \"mm: extend\n  the new file\".\n")
		self.assertEqual(patches.needed("1-topic", self.root), [])
		declared = self.root / "patches" / "1-topic" / "needs"
		declared.write_text("# why\ntests: mm: extend the new file\n")
		self.assertEqual([p.subject for p in patches.needed("1-topic", self.root)],
				 ["mm: extend the new file"])
		cover.write_text("mm: cover\n\nIt needs nothing.\n")
		with self.assertRaisesRegex(ToolError, "its cover letter has to name it"):
			patches.needed("1-topic", self.root)
		declared.write_text("tests: no such patch\n")
		with self.assertRaisesRegex(ToolError, "0 patches have that subject"):
			patches.needed("1-topic", self.root)
		for text in ("topic: 2-nope", "topic: 1-topic", "something"):
			declared.write_text(text + "\n")
			with self.assertRaisesRegex(ToolError, "is neither"):
				patches.needed("1-topic", self.root)

	def test_dependencies_are_there(self):
		declared = [topic for topic in patches.topics() if patches.needs(topic) != ([], [])]
		self.assertIn("8-change-pte", declared)
		for topic in declared:
			self.assertEqual(len(patches.needed(topic)), len(patches.needs(topic)[1]))
