# SPDX-License-Identifier: GPL-2.0
"""Tests of make mail and of the figures in cover letters."""
import email.policy
import json
import os
import subprocess

from common.command import EXIT_USAGE, ROOT, ToolError
from series import figures, mail
from series.assemble import assemble
from tests.miniature import FIRST, FakeCase, git

# As much of get_maintainer.pl as the mails need: its --roles output.
GET_MAINTAINER = """#!/bin/sh
echo 'Änne Maintainer <m@example.org> (maintainer:MEMORY (A, B))'
echo '"R. E. Viewer" <r@example.org> (reviewer:MEMORY (A, B))'
grep -q thirtieth "$5" &&
	echo 'Both <b@example.org> (reviewer:MEMORY (A, B),maintainer:TESTS)'
echo 'linux-mm@kvack.org (open list:MEMORY (A, B))'
"""
# A patch that applies only after the miniature's first one.
AFTER_FIRST = FIRST.replace("line_five", "line_5th").replace("line_5;", "line_five;") \
	.replace("rename the fifth line", "once more").replace("Payload: mm/tests/new.c\n", "")
RESULTS = [{"kernel": kernel, "guest": "bare", "bench": "mprotect", "case": "anon-4k", "pages": 16,
	    "metric": "instructions_per_pte", "value": value}
	   for kernel, value in (("base", 524.29), ("series", 290.63))]


class Refusals:
	"""assertRaises for ToolError with its words."""

	def refused(self, words, function, *args):
		with self.assertRaises(ToolError) as caught:
			function(*args)
		self.assertEqual(caught.exception.code, EXIT_USAGE)
		self.assertIn(words, str(caught.exception))
		self.assertNotIn("\n", str(caught.exception))


class Mail(Refusals, FakeCase):
	"""What make mail writes."""

	def setUp(self):
		super().setUp()
		script = self.linux / "scripts" / "get_maintainer.pl"
		script.parent.mkdir()
		script.write_text(GET_MAINTAINER)
		script.chmod(0o755)
		os.environ.update(GIT_COMMITTER_NAME="Sénder", GIT_COMMITTER_EMAIL="s@example.org",
				  HOME=str(self.tmp), GIT_CONFIG_NOSYSTEM="1")
		for name in ("PREVIOUS", "AUTHOR", "TRAILERS"):
			os.environ.pop(name, None)

	def cover(self, text):
		(self.root / "patches" / "1-topic" / "cover.txt").write_text(text)

	def mails(self):
		mails = mail.make_mails(None, self.root) / "1-topic"
		return [email.message_from_bytes(p.read_bytes(), policy=email.policy.default)
			for p in sorted(mails.iterdir())]

	def test_cover_letter_and_numbers(self):
		cover, first, second = self.mails()
		self.assertEqual(cover["Subject"], "[PATCH 0/2] mm: cover")
		self.assertEqual(first["Subject"], "[PATCH 1/2] mm: rename the fifth line")
		self.assertEqual(second["Subject"], "[PATCH 2/2] mm: extend the new file")
		text = cover.get_content()
		self.assertIn("\nText.\n", "\n" + text)
		self.assertIn("\n 2 files changed, 5 insertions(+), 2 deletions(-)\n", text)
		self.assertIn("\nbase: Linux 7.3.4\n\n-- \n", text)
		self.assertNotIn("***", text)

	def test_recipients(self):
		cover, first, second = self.mails()
		self.assertEqual(first["To"], "Änne Maintainer <m@example.org>")
		self.assertEqual(first["Cc"], '"R. E. Viewer" <r@example.org>, linux-mm@kvack.org')
		self.assertEqual(second["To"],
				 "Änne Maintainer <m@example.org>, Both <b@example.org>")
		self.assertEqual(cover["To"], second["To"])
		self.assertEqual(cover["Cc"], first["Cc"])
		raw = (self.tmp / "build" / "mail" / "1-topic.mbox").read_bytes()
		self.assertTrue((head := raw.partition(b"\n\n")[0]).isascii(), head)

	def test_text_that_is_not_ascii(self):
		self.cover("mm: cöver\n\nJérôme.\n")
		cover = self.mails()[0]
		self.assertEqual(cover["Subject"], "[PATCH 0/2] mm: cöver")
		self.assertIn("Jérôme.", cover.get_content())

	def test_signed_off_by_the_sender_and_from_the_author(self):
		_, first, _ = self.mails()
		self.assertEqual(first["From"], "Sénder <s@example.org>")
		text = first.get_content()
		self.assertTrue(text.startswith("From: A Uthor <a@example.org>\n\n"), text)
		self.assertIn("\nSigned-off-by: Sénder <s@example.org>\n---\n", text)

	def keep_under(self, author):
		"""Have the first patch kept under @author."""
		path = next((self.root / "patches" / "1-topic").glob("0001-*"))
		path.write_text(path.read_text().replace("A Uthor <a@example.org>", author))

	def test_a_patch_of_nobody_is_from_the_sender(self):
		self.keep_under("T <t@users.noreply.h.example>")
		_, first, second = self.mails()
		self.assertEqual(first["From"], "Sénder <s@example.org>")
		self.assertFalse(first.get_content().startswith("From:"), first.get_content())
		self.assertTrue(second.get_content().startswith("From: A Uthor"), second)

	def test_author_instead_of_gits_identity(self):
		self.keep_under("T <t@invalid>")
		os.environ["AUTHOR"] = "Jérôme P. Erson <j@example.org>"
		cover, first, second = self.mails()
		for one in (cover, first, second):
			self.assertEqual(one["From"], "\"Jérôme P. Erson\" <j@example.org>")
		text = first.get_content()
		self.assertNotIn("From:", text)
		self.assertIn("\nSigned-off-by: Jérôme P. Erson <j@example.org>\n---\n", text)

	def test_nobody_can_not_send(self):
		for address in ("x@users.noreply.github.com", "x@localhost", "x@a.example",
				"no-reply@example.org"):
			with self.subTest(address):
				os.environ["GIT_COMMITTER_EMAIL"] = address
				self.refused(f"<{address}> gets no mail", mail.make_mails,
					     None, self.root)
		self.assertFalse((self.tmp / "build" / "mail").exists())

	TAGS = ("Assisted-by: LLM sparse", "Link: https://example.org/x",
		"Co-developed-by: B <b@example.org>", "Signed-off-by: B <b@example.org>")

	def test_tags_come_before_the_sign_off_of_each_mail(self):
		path = next((self.root / "patches" / "1-topic").glob("0002-*"))
		path.write_text(path.read_text().replace("with it.\n---", """with it.

This: is not a tag.

Fixes: 0123456789ab ("mm: x")
Link: https://example.org/x
---""", 1))
		os.environ["TRAILERS"] = "; ".join(self.TAGS)
		cover, first, second = self.mails()
		sign_off = "Signed-off-by: Sénder <s@example.org>\n---\n"
		self.assertIn("\n\n" + "\n".join(self.TAGS) + f"\n{sign_off}",
			      first.get_content())
		link, *others = self.TAGS[1], self.TAGS[0], *self.TAGS[2:]
		self.assertIn('\n\nThis: is not a tag.\n\nFixes: 0123456789ab ("mm: x")\n'
			      + "\n".join([link, *others]) + f"\n{sign_off}",
			      second.get_content())
		self.assertNotIn("Assisted-by", cover.get_content())

	def test_settings_of_git_do_not_move_the_tags(self):
		(self.tmp / ".gitconfig").write_text("[trailer]\n\twhere = start\n")
		os.environ["TRAILERS"] = "\n".join(self.TAGS[:2])
		self.assertIn("\n\n" + "\n".join(self.TAGS[:2]) + "\nSigned-off-by: S",
			      self.mails()[1].get_content())

	def test_tags_and_author_make_no_range_diff(self):
		git(self.root, "init", "-q")
		git(self.root, "add", "-A")
		git(self.root, "commit", "-qm", "x")
		git(self.root, "tag", "sent/1-topic-v1")
		self.cover("[v2] mm: cover\n\nText.\n")
		os.environ["TRAILERS"] = self.TAGS[0]
		self.assertRegex(self.mails()[0].get_content(),
				 r"1:  \w+ = 1:  \w+ .*\n2:  \w+ = 2:  \w+ ")

	def test_malformed_tags_are_refused(self):
		for tag, words in (("Asisted-by: x", "is not a tag"), ("Assisted-by:", "is not a"),
				   ("no tag", "is not a tag"), ("Link: x", "'Link: URL'"),
				   ("Reviewed-by: R", "'Reviewed-by: Name <address>'"),
				   ("Tested-by: <t@example.org>", "'Tested-by: Name <address>'"),
				   (self.TAGS[2], "'Signed-off-by: B <b@example.org>' has to")):
			with self.subTest(tag):
				os.environ["TRAILERS"] = f"{self.TAGS[0]};{tag}"
				self.refused(words, mail.make_mails, None, self.root)
		self.assertFalse((self.tmp / "build" / "mail").exists())

	def needy(self, needs):
		"""Add a topic that comes after the first one's change; return its cover letter."""
		topic = self.root / "patches" / "2-needy"
		topic.mkdir()
		(topic / "cover.txt").write_text("mm: needy\n\nText.\n")
		(topic / "0001-mm-once-more.patch").write_text(AFTER_FIRST)
		(topic / "needs").write_text(needs)
		mails = mail.make_mails("2-needy", self.root) / "2-needy"
		return next(mails.glob("0000-*")).read_text()

	def test_needs_are_named_by_their_patch_ids_as_git_does(self):
		text = self.needy("topic: 1-topic\n")
		linux = self.tmp / "build" / "linux"
		out = git(linux, "format-patch", "-1", "--stdout", "--base=base")
		ids = [l for l in out.splitlines() if l.startswith("prerequisite-patch-id: ")]
		self.assertEqual(len(ids), 2)
		self.assertIn("\nbase: Linux 7.3.4\n" + "\n".join(ids) + "\n\n-- \n", text)

	def test_what_tests_need_is_named_as_it_is_sent(self):
		text = self.needy("tests: mm: extend the new file\ntopic: 1-topic\n")
		self.assertEqual(text.count("\nprerequisite-patch-id: "), 2)
		(self.root / "patches" / "2-needy" / "needs").write_text("")
		self.assertEqual(mail.prerequisites(self.tmp / "build" / "linux", "2-needy",
						    self.root), [])
		(self.root / "patches" / "2-needy" / "needs").write_text(
			"tests: mm: extend the new file\n")
		linux = self.tmp / "build" / "linux"
		sent = mail.make_mails("1-topic", self.root) / "1-topic"
		patch = next(sent.glob("0002-*")).read_text()
		done = subprocess.run(["git", "patch-id", "--stable"], input=patch, text=True,
				      capture_output=True, check=True)
		self.assertEqual(mail.prerequisites(linux, "2-needy", self.root),
				 [f"prerequisite-patch-id: {done.stdout.split()[0]}"])

	def test_program_ends_with_what_to_read(self):
		script = "import sys; from pathlib import Path; from common import command; " \
			f"command.ROOT = Path({str(self.root)!r}); " \
			"from series import mail; sys.argv[1:] = []; command.main(mail._main)"
		done = subprocess.run(["python3", "-c", script], cwd=ROOT, text=True,
				      capture_output=True, check=False)
		self.assertEqual(done.returncode, 0, done.stderr)
		last = done.stdout.splitlines()[-1]
		for name in ("submitting-patches.rst", "coding-assistants.rst",
			     "generated-content.rst"):
			self.assertIn(name, last)

	def test_sender_must_be_known(self):
		for variable, key in (("GIT_COMMITTER_NAME", "user.name"),
				      ("GIT_COMMITTER_EMAIL", "user.email")):
			with self.subTest(key):
				saved = os.environ.pop(variable)
				self.refused(f"no {key} for the Signed-off-by", mail.make_mails,
					     None, self.root)
				self.assertFalse((self.tmp / "build" / "mail").exists())
				os.environ[variable] = saved
		git(self.root, "init", "-q")
		git(self.root, "config", "user.email", "config@example.org")
		del os.environ["GIT_COMMITTER_EMAIL"]
		self.assertEqual(mail.identity(self.root), ("Sénder", "config@example.org"))

	def test_settings_of_the_sender_change_nothing(self):
		config = self.tmp / ".gitconfig"
		config.write_text("[format]\n\tsubjectPrefix = X\n\tattach\n\tcc = x@example.org\n")
		self.assertEqual(self.mails()[1]["Subject"],
				 "[PATCH 1/2] mm: rename the fifth line")
		self.assertNotIn("x@example.org", self.mails()[1]["Cc"])

	def test_mbox_applies_with_git_am(self):
		mails = mail.make_mails(None, self.root)
		git(self.linux, "init", "-q")
		git(self.linux, "add", "-A", "-f")
		git(self.linux, "commit", "-qm", "base")
		git(self.linux, "am", "-q", "--empty=drop", str(mails / "1-topic.mbox"))
		tree = self.tmp / "build" / "linux"
		self.assertEqual(git(self.linux, "rev-parse", "HEAD^{tree}"),
				 git(tree, "rev-parse", "HEAD^{tree}"))

	def test_base_from_git_is_named_by_its_commit(self):
		git(self.linux, "init", "-q")
		git(self.linux, "add", "-A", "-f")
		git(self.linux, "commit", "-qm", "base")
		head = git(self.linux, "rev-parse", "HEAD").strip()
		self.assertIn(f"\nbase-commit: {head}\n", self.mails()[0].get_content())
		code = self.linux / "mm" / "code.c"
		code.write_text(code.read_text() + "int x;\n")
		self.assertIn("\nbase: Linux 7.3.4\n", self.mails()[0].get_content())

	def test_rfc_and_second_version_with_range_diff(self):
		git(self.root, "init", "-q")
		git(self.root, "add", "-A")
		git(self.root, "commit", "-qm", "x")
		git(self.root, "tag", "sent/1-topic-v1")
		self.cover("[RFC v2] mm: cover\n\nText.\n")
		path = next((self.root / "patches" / "1-topic").glob("0002-*"))
		path.write_text(path.read_text().replace("line_thirty", "line_30th"))
		cover, first, second = self.mails()
		self.assertEqual(cover["Subject"], "[RFC PATCH v2 0/2] mm: cover")
		self.assertEqual(second["Subject"], "[RFC PATCH v2 2/2] mm: extend the new file")
		text = cover.get_content()
		self.assertIn("Range-diff against v1:\n1:", text)
		self.assertRegex(text, r"2:  \w+ ! 2:  \w+ mm: extend the new file")
		self.assertRegex(text, r"\n +-\+int line_thirty;\n +\+\+int line_30th;")
		self.assertNotIn("Range-diff", first.get_content())

	def test_bad_input_is_refused(self):
		self.refused("unknown topic '9-x': known are 1-topic", mail.make_mails, "9-x",
			     self.root)
		for text in ("mm: no empty line\nText.\n", "[RFX] mm: cover\n\nText.\n",
			     "mm: cover\n"):
			with self.subTest(text):
				self.cover(text)
				self.refused("is malformed", mail.make_mails, None, self.root)
		(self.root / "patches" / "1-topic" / "cover.txt").unlink()
		self.refused("cover.txt is missing", mail.make_mails, None, self.root)

	def test_failure_keeps_the_mails_of_before(self):
		mails = mail.make_mails(None, self.root)
		before = (mails / "1-topic.mbox").read_bytes()
		self.cover("mm: cover\n\n{bare:16:base}\n")
		self.refused("results.json is missing", mail.make_mails, None, self.root)
		self.assertEqual(before, (mails / "1-topic.mbox").read_bytes())
		self.assertEqual(len(list((mails / "1-topic").iterdir())), 3)


class Figures(Refusals, FakeCase):
	"""Placeholders in cover letters."""

	def setUp(self):
		super().setUp()
		path = self.root / figures.RESULTS
		path.parent.mkdir(parents=True)
		path.write_text(json.dumps(RESULTS))

	def fill(self, text):
		return figures.fill(text, self.root)

	def test_figures_come_from_the_results(self):
		self.assertEqual(self.fill("{bare:16:base} and {bare:16:series}"), "524 and 291")
		self.assertEqual(self.fill("[{bare:16:base|8}] [{:16:base|8.1}]"),
				 "[     524] [   524.3]")
		self.assertEqual(self.fill("{bare/mprotect/anon-4k/instructions_per_pte:16:ratio}"),
				 "0.554")

	def test_other_braces_stay(self):
		for text in ("__task_lazy_mmu_mode_{pause,resume}()", "{ a: b: c }", "{a:b}", "{}"):
			self.assertEqual(self.fill(text), text)

	def test_missing_figures_are_refused_with_what_is_known(self):
		for text, words in (("{xen:16:base}", "guest 'xen' is unknown, known are bare"),
				    ("{bare:17:base}", "pages '17' is unknown, known are 16"),
				    ("{bare:16:best}",
				     "kernel 'best' is unknown, known are base series"),
				    ("{bare/fork:16:ratio}",
				     "bench 'fork' is unknown, known are mprotect"),
				    ("{a/b/c/d/e:16:base}", "bad placeholder")):
			with self.subTest(text):
				self.refused(words, self.fill, text)
		(self.root / figures.RESULTS).unlink()
		self.refused("make bench", self.fill, "{bare:16:base}")
		self.assertEqual(self.fill("none needed"), "none needed")

	def test_kernels_are_compared(self):
		for kernel, says in (("series/base", "0.554"), ("base/series|0.2", "1.80"),
				     ("base+%series|0.1", "80.4"),
				     ("series-%base|0.1", "44.6")):
			self.assertEqual(self.fill(f"{{:16:{kernel}}}"), says)
		self.assertEqual(self.fill("{bare&/mprotect:16:base|0.2}"), "1048.58")
		self.refused("guest 'xen' is unknown", self.fill, "{bare&xen:16:base}")
		self.refused("kernel 'best' is unknown", self.fill, "{:16:best/base}")
		self.refused("bad placeholder", self.fill, "{bare:all:base}")

	TABLE = """Before.

{table kernels=base,series,ratio width=9
  ""            | "bare metal"
                | "7.3.4" "series" "ratio"
  mprotect()
    "16 | small" | bare:16
    none         | "-" "" "123456789"
}

After, {bare:16:base}.
"""

	def test_tables_are_aligned(self):
		self.assertEqual(self.fill(self.TABLE).splitlines(), [
			"Before.", "",
			"                       bare metal",
			"                  7.3.4   series    ratio",
			"  mprotect()",
			"    16 | small      524      291    0.554",
			"    none              -         123456789",
			"", "After, 524."])

	def test_digits_of_a_table_are_not_those_of_ratios(self):
		text = "{table kernels=base,series+%base,ratio width=10 digits=2\nx | :16\n}\n"
		self.assertEqual(self.fill(text), "  x    524.29     -44.6     0.554\n")

	def test_malformed_tables_are_refused(self):
		row = "  x | bare:16\n"
		for first, body, words in (
				("kernels=base", row, "width= is missing"),
				("width=9", row, "kernels= is missing"),
				("kernels=base width=9 height=1", row, "unknown option 'height'"),
				("kernels=base width=big", row, "width=big is not a number"),
				("kernels=base width=9 digits=-1", row,
				 "digits=-1 is not a number"),
				("kernels=base width=9", "\n", "no rows"),
				("kernels=base width=3", row,
				 "row 'x | bare:16': '524' does not fit into width=3"),
				("kernels=base width=9", "  x | bare\n",
				 "'bare' is neither place:pages nor quoted"),
				("kernels=base width=9", '  x | "a" "b"\n',
				 "has 2 words for 1 columns"),
				("kernels=base width=9", '  x | "a\n', "a quote has no end"),
				("kernels=base width=9", '  x | "much too long"\n',
				 "does not fit into"),
				("kernels=next width=9", row, "kernel 'next' is unknown"),
				("kernels=base width=9", "  x | xen:16\n",
				 "guest 'xen' is unknown"),
				("kernels=base width=9", f"  {'x' * 70} | :16\n",
				 "has 81 columns, 76 is the most")):
			with self.subTest(words):
				self.refused(words, self.fill, f"{{table {first}\n{body}}}\n")
		self.refused("has no end", self.fill, "{table kernels=base width=9\n  x | :16\n")

	def test_every_cover_letter_can_be_filled(self):
		for cover in sorted((ROOT / "patches").glob("*/cover.txt")):
			text = figures.fill(cover.read_text())
			self.assertFalse(figures.has_figures(text), cover)

	def test_make_series_fills_the_cover_letter(self):
		cover = self.root / "patches" / "1-topic" / "cover.txt"
		cover.write_text("mm: x\n\n{bare:16:base}\n")
		text = (assemble(self.root) / "1-topic" / "cover-letter.txt").read_text()
		self.assertEqual(text, "mm: x\n\n524\n")

	def test_the_program_reads_standard_input(self):
		done = subprocess.run(["python3", "-m", "series.figures"], input="plain {x}\n",
				      text=True, capture_output=True, check=False)
		self.assertEqual((done.returncode, done.stdout), (0, "plain {x}\n"))
