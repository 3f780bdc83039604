# SPDX-License-Identifier: GPL-2.0
"""The tooling's floors: no import goes up or round in a circle, or is hidden in a function."""
import ast
import sys
import unittest

from common.command import ROOT

FLOORS = ("common", "series", "guests", "bench", "gates", "checks", "tests")


def imports(path):
	"""Return [(line, module of the tooling, whether at the top level)] of a file's imports."""
	tree = ast.parse(path.read_text())
	found = []
	for node in ast.walk(tree):
		names = []
		if isinstance(node, ast.Import):
			names = [alias.name for alias in node.names]
		elif isinstance(node, ast.ImportFrom):
			inner = [f"{node.module}.{alias.name}" for alias in node.names]
			names = [n if (ROOT / (n.replace(".", "/") + ".py")).is_file()
				 else node.module for n in inner]
		found += [(node.lineno, name, node in tree.body) for name in dict.fromkeys(names)
			  if name.partition(".")[0] in FLOORS]
	return found


def modules():
	"""Return {name: path} of the tooling's modules."""
	return {f"{floor}.{path.stem}": path
		for floor in FLOORS for path in sorted((ROOT / floor).glob("*.py"))}


def circle(graph):
	"""Return the names of one circle in {name: [names]}, [] if there is none."""
	done, path = set(), []

	def visit(name):
		if name in path:
			return path[path.index(name):]
		if name in done:
			return []
		path.append(name)
		for other in graph.get(name, []):
			if found := visit(other):
				return found
		done.add(path.pop())
		return []

	return next(filter(None, map(visit, graph)), [])


class Layers(unittest.TestCase):
	"""What LAYOUT.md says of the rooms is true."""

	def test_no_arrow_goes_up(self):
		for name, path in modules().items():
			floor = FLOORS.index(name.partition(".")[0])
			for line, other, _ in imports(path):
				below = FLOORS.index(other.partition(".")[0])
				with self.subTest(f"{path.relative_to(ROOT)}:{line}"):
					self.assertLessEqual(below, floor, other)

	def test_no_circle(self):
		graph = {name: [other for _, other, _ in imports(path)]
			 for name, path in modules().items()}
		self.assertEqual(circle(graph), [])
		self.assertEqual(circle({"a": ["b"], "b": ["c"], "c": ["b"]}), ["b", "c"])

	def test_no_import_hides_in_a_function(self):
		for path in modules().values():
			for line, other, top in imports(path):
				with self.subTest(f"{path.relative_to(ROOT)}:{line}"):
					self.assertTrue(top, other)

	def test_no_module_is_named_like_one_of_python(self):
		for name in modules():
			with self.subTest(name):
				self.assertNotIn(name.partition(".")[2], sys.stdlib_module_names)

	def test_no_two_modules_have_the_same_name(self):
		names = [name.partition(".")[2] for name in modules()
			 if not name.endswith("__init__")]
		self.assertEqual(sorted(n for n in names if names.count(n) > 1), [])

	def test_product_code_imports_no_test(self):
		for name, path in modules().items():
			if not name.startswith("tests."):
				self.assertFalse([o for _, o, _ in imports(path)
						  if o.startswith("tests")], name)
