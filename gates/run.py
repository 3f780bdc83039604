# SPDX-License-Identifier: GPL-2.0
"""make check: the gates that a maintainer or a CI bot would put the series through.

Prints one line per result and ends with "N passed, N failed". GATE= (or the
arguments) choose gates, default all; --list says what each one does. Results are
kept in build/gates/<gate>.json.
"""
import json
import time

from common.command import ROOT, ToolError, build_dir, main, replaced
from common.settings import Parser
from common.tally import Tally
from gates import rehearsal, static
from gates.boot import boot_gate
from gates.compile import each_patch, whole_folders, whole_series
from gates.kunit_elsewhere import ARCHS, kunit_gate
from gates.lint import lint
from gates.targets import ALLMOD, TARGETS
from gates.typed_figures import figures
from series import patches


# Debian's sparse does not know C23's typeof_unqual, which the headers use.
CHECK = ("C=2", "CHECKFLAGS=-D__typeof_unqual__=__typeof__")


def compile_gate(target, root=ROOT):
	"""Return the gate that compiles each patch for @target."""
	def gate():
		for outcome in each_patch(target, root):
			yield outcome.label, outcome.good(), outcome.text()
	gate.__doc__ = f"Each patch compiles for {target.name} without new warnings (W=1)."
	return gate


def folders_gate(target):
	"""Return the gate that compiles whole folders for @target."""
	def gate():
		for outcome in whole_folders(target):
			yield outcome.label, outcome.good(), outcome.text()
	gate.__doc__ = f"The folders that the series touches compile as a whole for {target.name}, without a warning."
	return gate


def sparse():
	"""sparse has nothing new to say about the objects of compile-x86_64 (C=2)."""
	for outcome in whole_series(TARGETS["x86_64"], "sparse", CHECK):
		yield outcome.label, outcome.good(), outcome.text()


# Each gate is a generator of (what, good or None for skipped, note).
GATES = {
	"lint": lint,
	"series": rehearsal.rehearsal,
	"figures": figures,
	"checkpatch": rehearsal.each_checkpatch,
	"kernel-doc": static.kernel_doc,
	"maintainers": static.maintainers,
	"code-size": static.code_size,
	"coccinelle": static.coccinelle,
	"documentation": static.documentation,
	"sparse": sparse,
	**{f"compile-{name}": compile_gate(target) for name, target in TARGETS.items()},
	**{f"folders-{target.name}": folders_gate(target) for target in (*TARGETS.values(), ALLMOD) if target.folders},
	**{f"boot-{topic.partition('-')[0]}": boot_gate(topic) for topic in patches.topics()},
	**{f"kunit-{name}": kunit_gate(name) for name in ARCHS},
}


def run_gate(name, tally):
	"""Run one gate, count its results, keep them in build/gates/<name>.json."""
	start, kept = time.monotonic(), []
	try:
		for what, good, note in GATES[name]():
			tally.result(f"{name}: {what}", good, note)
			kept.append({"what": what, "good": good, "note": note})
	except (ToolError, AssertionError) as error:
		tally.result(f"{name}: runs to its end", False, str(error))
		kept.append({"what": "runs to its end", "good": False, "note": str(error)})
	seconds = round(time.monotonic() - start)
	if not kept:
		tally.result(f"{name}: finds something to check", False)
	with replaced(build_dir() / "gates" / f"{name}.json") as tmp:
		tmp.write_text(json.dumps({"gate": name, "seconds": seconds, "results": kept}, indent=1) + "\n")
	print(f"# {name}: {seconds} s", flush=True)


def _main():
	parser = Parser(__doc__)
	parser.setting("GATE", known=GATES, many=True, positional=True)
	parser.add_argument("--list", action="store_true", help="list the gates and what they do")
	args = parser.settled()
	if args.list:
		for name, gate in GATES.items():
			print(f"{name:<22}{gate.__doc__.splitlines()[0]}")
		return 0
	names = args.gate or list(GATES)
	print("KTAP version 1", flush=True)
	tally = Tally()
	for name in names:
		run_gate(name, tally)
	return tally.close()


if __name__ == "__main__":
	main(_main)
