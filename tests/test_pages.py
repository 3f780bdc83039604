# SPDX-License-Identifier: GPL-2.0
"""Tests of the pages: what README and the others say of the repository is so."""
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from common import command
from common.command import ROOT
from tests.test_layers import FLOORS

NAMED = ("*.py", "*.sh", "deps")	# what a floor's README has to name
LINK = re.compile(r"\]\(([^)\s]+)\)")
README_WORDS = 700
EXAMPLE = ROOT / "examples" / "add-a-kunit-case.patch"


def pages() -> list[Path]:
	"""Return the paths of the pages, the payload's and the build directory's left out."""
	return sorted(p for pattern in ("*.md", "*/*.md", "*/*/*.md") for p in ROOT.glob(pattern)
		      if p.relative_to(ROOT).parts[0] != "build")


def headings(text: str) -> set[str]:
	"""Return the anchors that GitHub gives the headings of @text."""
	words = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-")
		 for h in re.findall(r"^#+ (.+)$", text, re.M)]
	return set(words)


def dead_links(page: Path, text: str) -> list[str]:
	"""Return the targets of links in @text, the contents of @page, that are not there."""
	dead = []
	for target in LINK.findall(text):
		name, _, anchor = target.partition("#")
		other = page.parent / name if name else page
		if re.match(r"\w+:", target):
			continue
		if not other.exists() or anchor and anchor not in headings(other.read_text()):
			dead.append(target)
	return dead


def not_named(text: str, names: list[str]) -> list[str]:
	"""Return those of @names that @text does not name in backquotes."""
	return [n for n in names if f"`{n}`" not in text]


class Pages(unittest.TestCase):
	"""What the pages say."""

	def test_readme_is_short(self):
		words = (ROOT / "README.md").read_text().replace("|", " ").split()
		self.assertLessEqual(len(words), README_WORDS)

	def test_links_lead_somewhere(self):
		self.assertGreater(len(pages()), len(FLOORS))
		for page in pages():
			with self.subTest(page.relative_to(ROOT)):
				self.assertEqual(dead_links(page, page.read_text()), [])

	def test_dead_links_are_seen(self):
		text = "# A b\n[](nowhere.md) [](there.md) [](#a-b) [](#c) [](https://a.org)"
		with tempfile.TemporaryDirectory() as tmp:
			(Path(tmp) / "there.md").write_text("")
			page = Path(tmp) / "README.md"
			page.write_text(text)
			self.assertEqual(dead_links(page, text), ["nowhere.md", "#c"])

	def test_every_page_is_linked(self):
		linked = {(page.parent / target.partition("#")[0]).resolve()
			  for page in pages()
			  for target in LINK.findall(page.read_text())}
		for page in pages():
			with self.subTest(page.relative_to(ROOT)):
				self.assertTrue(page.name == "README.md" or page in linked)

	def test_floors_name_their_modules(self):
		for floor in FLOORS:
			text = (ROOT / floor / "README.md").read_text()
			names = {p.name for pattern in NAMED for p in (ROOT / floor).glob(pattern)}
			names.discard("__init__.py")
			with self.subTest(floor):
				self.assertTrue(names)
				self.assertEqual(not_named(text, sorted(names)), [])

	def test_floors_name_nothing_that_is_gone(self):
		for floor in FLOORS:
			text = (ROOT / floor / "README.md").read_text()
			for name in re.findall(r"`(\w+\.(?:py|sh))`", text):
				with self.subTest(f"{floor}: {name}"):
					self.assertTrue((ROOT / floor / name).is_file())

	def test_a_module_that_is_not_named_is_seen(self):
		self.assertEqual(not_named("`a.py`, b.py", ["a.py", "b.py"]), ["b.py"])

	def test_layout_names_every_directory(self):
		text = (ROOT / "LAYOUT.md").read_text()
		out = command.run(["git", "ls-tree", "-d", "--name-only", "HEAD"], cwd=ROOT).stdout
		for name in out.split():
			with self.subTest(name):
				self.assertRegex(text, rf"\b{re.escape(name.strip('.'))}/")

	def test_exit_codes(self):
		codes = {v for k, v in vars(command).items() if k.startswith("EXIT_")}
		listed = re.findall(r"^\| (\d+) \|", (ROOT / "FAILURES.md").read_text(), re.M)
		self.assertEqual({int(n) for n in listed}, codes | {130})
		self.assertEqual(len(listed), len(set(listed)))


class Example(unittest.TestCase):
	"""The example that CONTRIBUTING makes."""

	def test_contributing_applies_it(self):
		text = (ROOT / "CONTRIBUTING.md").read_text()
		self.assertIn(f"git -C build/linux apply ../../{EXAMPLE.relative_to(ROOT)}", text)

	def test_it_applies(self):
		names = re.findall(r"^\+\+\+ b/(\S+)$", EXAMPLE.read_text(), re.M)
		self.assertTrue(names)
		with tempfile.TemporaryDirectory() as tmp:
			for name in names:
				path = Path(tmp) / name
				path.parent.mkdir(parents=True)
				path.write_bytes((ROOT / name).read_bytes())
			env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(Path(tmp).parent)}
			done = subprocess.run(["git", "apply", EXAMPLE], cwd=tmp, env=env,
					      capture_output=True, check=False)
			self.assertEqual(done.returncode, 0, done.stderr.decode())
			self.assertIn("KUNIT_CASE(example)", (Path(tmp) / names[0]).read_text())

	def test_contributing_names_its_file(self):
		for name in re.findall(r"^\+\+\+ b/(\S+)$", EXAMPLE.read_text(), re.M):
			self.assertIn(name, (ROOT / "CONTRIBUTING.md").read_text())
