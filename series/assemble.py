# SPDX-License-Identifier: GPL-2.0
"""make series: complete patches in build/series/, for git am and quilt.

Each topic's directory holds numbered mails, cover-letter.txt and a quilt "series"
file; build/series/series lists the patches of all topics. No kernel tree and none
of this tooling is needed to use them:

  git am $(sed 's,^,build/series/,' build/series/series)
  QUILT_PATCHES=.../build/series quilt push -a
"""
from pathlib import Path

from common.command import ROOT, build_dir, main, replaced, run, say
from common.settings import Parser
from series import patches
from series.figures import fill
from series.patches import Patch


def mail(patch: Patch, diff: str, number: int, total: int) -> str:
	"""Return a patch as an mbox message with diffstat, as git format-patch has it."""
	stat = run(["git", "apply", "--stat", "--summary", "-"], stdin=diff,
		   env={"GIT_CEILING_DIRECTORIES": str(ROOT.parent)}, cwd=build_dir()).stdout
	head = f"From {'0' * 40} Mon Sep 17 00:00:00 2001\n"
	for key, value in patch.header.items():
		if key == "Subject":
			width = len(str(total))
			value = f"[PATCH {number:0{width}d}/{total}] {value}"
		head += f"{key}: {value}\n"
	return f"{head}\n{patch.body.strip()}\n---\n{stat}\n{diff}"


def assemble(root: Path = ROOT) -> Path:
	"""Write build/series anew and return its path."""
	series = patches.load(root)
	contents = patches.contents_at_introduction(series, root)
	out = build_dir() / "series"
	with replaced(out) as tmp:
		order = []
		for topic in patches.topics(root):
			mine = [p for p in series if p.topic == topic]
			directory = tmp / topic
			directory.mkdir(parents=True)
			for number, patch in enumerate(mine, 1):
				diff = patches.whole_diff(patch, contents, root)
				text = mail(patch, diff, number, len(mine))
				(directory / patch.name).write_text(text)
				order.append(f"{topic}/{patch.name}")
			(directory / "series").write_text("".join(f"{p.name}\n" for p in mine))
			cover = root / "patches" / topic / "cover.txt"
			if cover.is_file():
				text = fill(cover.read_text(), root)
				(directory / "cover-letter.txt").write_text(text)
		(tmp / "series").write_text("".join(f"{name}\n" for name in order))
	say(f"{out}: {len(order)} patches in {len(patches.topics(root))} topics")
	return out


def _main() -> int:
	Parser(__doc__).settled()
	assemble()
	return 0


if __name__ == "__main__":
	main(_main)
