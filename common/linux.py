# SPDX-License-Identifier: GPL-2.0
"""Which Linux the series is for, and which one a tree holds."""
import re
from pathlib import Path

from common.command import ToolError

VERSION = "7.3"


def tree_version(tree: Path | str) -> str:
	"""Return a tree's version, "7.3.4"; raise ToolError if it is not a Linux 7.3.y tree."""
	makefile = Path(tree) / "Makefile"
	fields = {}
	if makefile.is_file() and (Path(tree) / "Kbuild").is_file():
		text = makefile.read_text(errors="replace")[:2000]
		fields = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", text, re.M))
	if not fields.keys() >= {"VERSION", "PATCHLEVEL"}:
		raise ToolError(f"{tree} is not a kernel tree (no top Makefile with a VERSION): "
				f"point LINUX= at the top of a Linux {VERSION}.y tree")
	version = f"{fields['VERSION']}.{fields['PATCHLEVEL']}"
	full = f"{version}.{fields.get('SUBLEVEL', '0')}"
	if version != VERSION:
		raise ToolError(f"{tree} is Linux {full}, the series is for {VERSION}.y: "
				f"point LINUX= at a {VERSION}.y tree or leave it out")
	return full
