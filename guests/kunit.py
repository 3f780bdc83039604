# SPDX-License-Identifier: GPL-2.0
"""make kunit: run the KUnit suites in a guest (GUEST=bare|xen) or on UML (GUEST=um).

The suites are built in and run at boot; the console goes through the kernel's own
kunit.py, which prints the results and counts them. It does not boot the guests: that a
kernel warns, or hangs, is not seen by it, and it gives them no init. checks/kunit_tool.py
does it that way.
"""
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypedDict

from common.command import (EXIT_GUEST, EXIT_TESTS, Environment, StrPath, ToolError, build_dir,
			    jobs, main, run, say)
from common.settings import Parser
from common.tally import KUnitCase
from guests import qemu
from guests.job import guest
from guests.kernel import CONFIG_SETS, FRAGMENT_DIR, ccache, known_kernels, make_command, source

KINDS = (*qemu.KINDS, "um")
UM_CONFIG = FRAGMENT_DIR / "um.kunitconfig"


class Case(TypedDict):
	"""A test case as kunit.py reports it in JSON; there are more keys."""
	name: str
	status: str


class Group(TypedDict, total=False):
	"""A suite, or all of them, as kunit.py reports it in JSON; there are more keys."""
	name: str
	test_cases: list[Case]
	sub_groups: list["Group"]


def kunit_tool(tree: StrPath, command: str, *rest: StrPath,
	       env: Environment | None = None) -> tuple[str, Group]:
	"""Run a @command of the kernel's kunit.py in @tree; return (text, results).

	@rest are more arguments, @env is added to the environment. Raises ToolError if it found
	no test at all.
	"""
	with tempfile.TemporaryDirectory() as tmp:
		report = Path(tmp) / "report.json"
		done = run([sys.executable, "tools/testing/kunit/kunit.py", command,
			    f"--json={report}", *rest], cwd=tree, check=False, env=env)
		if not report.is_file():
			tail = (done.stdout + done.stderr).strip().splitlines()[-3:]
			raise ToolError(f"kunit.py {command} gave no results: {' / '.join(tail)}",
					EXIT_GUEST)
		results: Group = json.loads(report.read_text())
	if not list(cases(results)):
		raise ToolError("no KUnit case ran: is a suite in the config?", EXIT_GUEST)
	text = [l for l in done.stdout.splitlines() if "Test results stored in" not in l]
	return "\n".join(text), results


def cases(group: Group, prefix: str = "") -> Iterator[KUnitCase]:
	"""Yield (suite.case, status) of kunit.py's JSON; status is PASS, FAIL, SKIP or ERROR."""
	for case in group.get("test_cases", []):
		yield f"{prefix}{case['name']}", case["status"]
	for sub in group.get("sub_groups", []):
		yield from cases(sub, f"{prefix}{sub['name']}.")


def run_in_guest(kind: str, kernel: str = "series", *, config: str = "lean",
		 name: str | None = None, **options: Any) -> tuple[str, list[KUnitCase]]:
	"""Boot @kernel in guest @kind and return (kunit.py's text, [(case, status)]).

	Raises ToolError if the guest did not come to a good end. @options go to
	Guest; may_warn=True lets the guest warn (a base that is known to),
	timeout= is in seconds.
	"""
	may_warn, timeout = options.pop("may_warn", False), options.pop("timeout", 300)
	name = name or f"kunit-{kernel}-{config}-{kind}"
	machine = guest(kind, kernel, name, "true\n", config=config, kunit=True, **options)
	result = machine.run(name, timeout=timeout, may_warn=may_warn).require()
	log = result.log.with_suffix(".ktap")
	log.write_text("\n".join(without_strays(result.lines)) + "\n")
	text, results = kunit_tool(source(kernel), "parse", log)
	return text, list(cases(results))


def without_strays(lines: Iterable[str]) -> Iterator[str]:
	"""Yield console lines less those that came between a "KTAP version" and its suite.

	Other parts of the kernel print too while the suites run. The parser
	copes with that anywhere else.
	"""
	header = False
	for line in lines:
		if header and not re.match(r"\s*(# |1\.\.|KTAP version)", line):
			continue
		header = line.strip() == "KTAP version 1"
		yield line


def run_on_um(kernel: str = "series") -> tuple[str, list[KUnitCase]]:
	"""Build @kernel for UML with kunit.py and return the same as run_in_guest()."""
	tree = source(kernel)
	cc = next(a for a in make_command(tree, ".") if a.startswith("CC="))
	say(f"building and running {kernel} for UML")
	text, results = kunit_tool(tree, "run", "--arch=um", f"--kunitconfig={UM_CONFIG}",
				   f"--build_dir={build_dir() / ('obj-um-' + kernel)}",
				   f"--make_options={cc}", f"--jobs={jobs()}",
				   "--timeout=300", env=ccache(build_dir()))
	return text, list(cases(results))


def kunit(kind: str, kernel: str = "series",
	  config: str = "lean") -> tuple[str, list[KUnitCase]]:
	"""Run the suites in guest @kind; return (text, [(case, status)]).

	UML has a configuration of its own instead of @config.
	"""
	if kind not in KINDS:
		raise ToolError(f"unknown GUEST '{kind}': known are {' '.join(KINDS)}")
	return run_on_um(kernel) if kind == "um" else run_in_guest(kind, kernel, config=config)


def _main() -> int:
	parser = Parser(__doc__)
	parser.setting("GUEST", "xen", KINDS)
	parser.setting("KERNEL", "series", known_kernels())
	parser.setting("CONFIG", "lean", CONFIG_SETS)
	args = parser.settled()
	text, results = kunit(args.guest, args.kernel, args.config)
	print(text)
	return EXIT_TESTS if any(s in ("FAIL", "ERROR") for _, s in results) else 0


if __name__ == "__main__":
	main(_main)
