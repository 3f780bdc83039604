# SPDX-License-Identifier: GPL-2.0
"""make check: the gates that a maintainer or a CI bot would put the series through.

Prints one line per result and ends with "N passed, N failed". GATE= (or the
arguments) choose gates, default all; --list says what each one does. Results are
kept in build/gates/<gate>.json.
"""
import json
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from common.command import ROOT, ToolError, build_dir, main, replaced
from common.settings import Parser
from common.tally import Tally
from gates import rehearsal, static
from gates.boot import boot_gate
from gates.compile import Outcome, each_patch, whole_directories, whole_series
from gates.kunit_elsewhere import ARCHS, kunit_gate
from gates.lint import lint
from gates.stick_boot import stick_gate
from gates.targets import ALLMOD, TARGETS, Target
from gates.typed_figures import figures
from gates.verdict import Gate, Verdict
from series import patches

# Debian's sparse does not know C23's typeof_unqual, which the headers use.
CHECK = ("C=2", "CHECKFLAGS=-D__typeof_unqual__=__typeof__")


def verdicts(outcomes: Iterable[Outcome]) -> Iterator[Verdict]:
	"""Yield a verdict on each of @outcomes."""
	for outcome in outcomes:
		yield outcome.label, outcome.good(), outcome.text()


def compile_gate(target: Target, root: Path = ROOT) -> Gate:
	"""Return the gate that compiles each patch for @target."""
	def gate() -> Iterator[Verdict]:
		return verdicts(each_patch(target, root))
	gate.__doc__ = f"Each patch compiles for {target.name} without new warnings (W=1)."
	return gate


def directories_gate(target: Target) -> Gate:
	"""Return the gate that compiles whole directories for @target."""
	def gate() -> Iterator[Verdict]:
		return verdicts(whole_directories(target))
	gate.__doc__ = "The directories that the series touches compile without a warning " \
		f"for {target.name}."
	return gate


def sparse() -> Iterator[Verdict]:
	"""sparse has nothing new to say about the objects of compile-x86_64 (C=2)."""
	return verdicts(whole_series(TARGETS["x86_64"], "sparse", CHECK))


GATES: dict[str, Gate] = {
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
	**{f"directories-{target.name}": directories_gate(target)
	   for target in (*TARGETS.values(), ALLMOD) if target.directories},
	**{f"boot-{topic.partition('-')[0]}": boot_gate(topic) for topic in patches.topics()},
	**{f"kunit-{name}": kunit_gate(name) for name in ARCHS},
	"stick": stick_gate,
}


def run_gate(name: str, tally: Tally) -> None:
	"""Run one gate, count its results, keep them in build/gates/<name>.json."""
	start, kept = time.monotonic(), []
	try:
		for what, good, note in GATES[name]():
			tally.result(f"{name}: {what}", good, note)
			kept.append({"what": what, "good": good, "note": note})
	except Exception as error:  # pylint: disable=broad-exception-caught
		if not isinstance(error, (ToolError, AssertionError)):
			traceback.print_exc()
		tally.result(f"{name}: runs to its end", False, str(error))
		kept.append({"what": "runs to its end", "good": False, "note": str(error)})
	seconds = round(time.monotonic() - start)
	if not kept:
		tally.result(f"{name}: finds something to check", False)
	with replaced(build_dir() / "gates" / f"{name}.json") as tmp:
		found = {"gate": name, "seconds": seconds, "results": kept}
		tmp.write_text(json.dumps(found, indent=1) + "\n")
	print(f"# {name}: {seconds} s", flush=True)


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("GATE", known=GATES, many=True, positional=True)
	parser.add_argument("--list", action="store_true", help="list the gates and what they do")
	args = parser.settled()
	if args.list:
		for name, gate in GATES.items():
			print(f"{name:<22}{(gate.__doc__ or '').splitlines()[0]}")
		return 0
	names = args.gate or list(GATES)
	print("KTAP version 1", flush=True)
	tally = Tally()
	for name in names:
		run_gate(name, tally)
	return tally.close()


if __name__ == "__main__":
	main(_main)
