# SPDX-License-Identifier: GPL-2.0
"""Tests of the gate lint: what it has to find."""
import tempfile
import unittest
from pathlib import Path

from gates.lint import MAX_COLUMNS, NARROW, mypy, tracked, wide_lines

# A module and what mypy says of it, "" for nothing.
MODULES = (
	("def twice(number: int) -> int:\n\treturn 2 * number\n", ""),
	("def twice(number):\n\treturn 2 * number\n", "missing a type annotation"),
	("def half(number: int) -> int:\n\treturn number / 2\n", "Incompatible return value"),
	("NUMBER = 1  # type: ignore\n", "Unused"),
	("def find(name: str = None) -> None:\n\tprint(name)\n", "Incompatible default"),
)


class Lint(unittest.TestCase):
	"""Each check passes what is good and names what is not."""

	def test_wide_lines(self):
		full = "x" * MAX_COLUMNS
		self.assertEqual(wide_lines(f"{full}\n\t{full[8:]}\n"), [])
		self.assertEqual(wide_lines(f"a\n{full}x\n"), [2])
		self.assertEqual(wide_lines(f"\t{full[7:]}\n"), [1])

	def test_narrow_patterns_match_files(self):
		for pattern in NARROW:
			if not pattern.startswith(":!"):
				self.assertTrue(tracked(pattern), pattern)

	def test_mypy_wants_hints_that_are_true(self):
		for text, message in MODULES:
			with self.subTest(text), tempfile.TemporaryDirectory() as tmp:
				path = Path(tmp) / "module.py"
				path.write_text(text)
				good, found = mypy(str(path))
				self.assertEqual(good, not message, found)
				self.assertIn(message, found)
