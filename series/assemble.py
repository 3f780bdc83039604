# SPDX-License-Identifier: GPL-2.0
"""make series: complete patches in build/series/, for git am and quilt.

Each topic's folder holds numbered mails, cover-letter.txt and a quilt "series"
file; build/series/series lists the patches of all topics. No kernel tree and none
of this tooling is needed to use them:

  git am build/series/*/0*.patch
  QUILT_PATCHES=.../build/series quilt push -a
"""

from common.command import ROOT, build_dir, main, replaced, run, say
from common.settings import Parser
from series import patches
from series.figures import fill


def mail(patch, diff, number, total):
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


def assemble(root=ROOT):
	"""Write build/series anew and return its path."""
	series = patches.load(root)
	contents = patches.contents_at_introduction(series, root)
	out = build_dir() / "series"
	with replaced(out) as tmp:
		order = []
		for topic in patches.topics(root):
			mine = [p for p in series if p.topic == topic]
			(tmp / topic).mkdir(parents=True)
			for number, patch in enumerate(mine, 1):
				diff = patches.whole_diff(patch, contents, root)
				(tmp / topic / patch.name).write_text(mail(patch, diff, number, len(mine)))
				order.append(f"{topic}/{patch.name}")
			(tmp / topic / "series").write_text("".join(f"{p.name}\n" for p in mine))
			cover = root / "patches" / topic / "cover.txt"
			if cover.is_file():
				(tmp / topic / "cover-letter.txt").write_text(fill(cover.read_text(), root))
		(tmp / "series").write_text("".join(f"{name}\n" for name in order))
	say(f"{out}: {len(order)} patches in {len(patches.topics(root))} topics")
	return out


def _main():
	Parser(__doc__).settled()
	assemble()
	return 0


if __name__ == "__main__":
	main(_main)
