# SPDX-License-Identifier: GPL-2.0
"""Gate: the stick boots by BIOS and by UEFI, and comes to its end.

The image of make stick, copied, is booted in QEMU with firmware and a disk of the machine's
own. Its settings are the shortest: each race once, one round of the benchmark.
"""
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.stick import stick
from bench.stick_image import (MIB, SECTOR, START, environment, mtools, partition_table,
			       settings)
from bench.stick_report import RUNS, Machine, parse
from common.command import EXIT_GUEST, ToolError, build_dir, replaced, run
from gates.verdict import Verdict
from guests.qemu import FAILURES
from guests.screen import CPU, disk, machine

MINUTES, ROUNDS = 10, 5		# of the image, as make stick has them
BUSES = {"BIOS": "usb", "UEFI": "sata"}
MENU = "switch off"		# the last line of the menu
END = "Enter switches the machine off."
BOOT = 300			# seconds of CPU time until there is a menu
MEASURE = 3600			# ... and until all four kernels are done
LAG = 2				# seconds that the screen is behind the serial line
FACTS = ("machine", "cpu", "microcode", "flags", "firmware")
KUNIT = re.compile(r"(\d+) passed, (\d+) failed, \d+ skipped")
RACES = re.compile(r"\d+ runs, (\d+) passed, (\d+) lost bits, \d+ skipped")
# What fails on the base under Xen: its lazy MMU mode is what the first topic mends.
KNOWN = {"base-xen"}


def copy_of(image: Path, name: str) -> Path:
	"""Return a copy of the stick's @image that measures as shortly as it can."""
	out = build_dir() / "stick" / f"{name}.img"
	with replaced(out) as tmp:
		run(["cp", "--sparse=always", image, tmp])
		replace_file(tmp, "grub/grubenv", settings(0, 1))
	return out


def replace_file(image: Path, name: str, content: bytes) -> None:
	"""Give the file @name on the stick's @image another @content."""
	path = build_dir() / "stick" / "content"
	with replaced(path) as tmp:
		tmp.write_bytes(content)
	mtools("mcopy", image, "-o", path, f"::{name}")


def own_disk(firmware: str) -> Path:
	"""Return the image of a disk of the machine's own, with a FAT like the stick's."""
	out = build_dir() / "stick" / f"own-disk-{firmware}.img"
	with replaced(out) as tmp, tmp.open("wb") as f:
		f.write(bytes(446) + partition_table(64 * MIB))
		f.truncate(64 * MIB)
		f.flush()
		mtools("mformat", tmp, "-v", "MODIFYPROT", "-T",
		       str((64 * MIB) // SECTOR - START), "-h", "255", "-s", "63", "::")
	return out


def everything(image: Path, firmware: str) -> str:
	"""Run everything from the stick's @image by @firmware; return the result that it wrote.

	Pictures of the menu and of the last screen land beside the image. Raises ToolError if
	it does not come to its end.
	"""
	name = f"stick-{firmware}"
	own = own_disk(firmware)
	before = own.read_bytes()
	disks = [*disk(image, BUSES[firmware], 0), *disk(own, "sata", 1)]
	with machine(name, firmware, disks) as pc:
		pc.wait_for(MENU, BOOT)
		time.sleep(LAG)
		pc.picture(image.with_name(f"menu-{firmware}.png"))
		pc.press("ret")
		said = pc.wait_for(END, MEASURE)
		time.sleep(LAG)
		pc.picture(image.with_name(f"last-{firmware}.png"))
		pc.press("ret")
		pc.wait_for("", BOOT)
	if match := FAILURES.search(said):
		raise ToolError(f"a kernel said '{match[0]}': see {pc.log}", EXIT_GUEST)
	if own.read_bytes() != before:
		raise ToolError("the machine's own disk was written to", EXIT_GUEST)
	return mtools("mtype", image, "::RESULT.TXT")


def judge(found: Machine) -> Iterator[Verdict]:
	"""Yield verdicts on a result: each of the four runs, the facts, both kernels beside."""
	missing = [fact for fact in FACTS if not found.facts.get(fact, "").strip(" ,")]
	yield "says what the machine is", not missing, f"missing: {' '.join(missing)}"
	for name in RUNS:
		told = {what: texts[0] for what, texts in found.runs.get(name, {}).items()}
		kunit = KUNIT.match(told.get("KUnit", ""))
		passed, failed = map(int, kunit.groups()) if kunit else (0, 0)
		good = passed + failed > 0 and (not failed or name in KNOWN)
		yield f"{name}: KUnit", good, told.get("KUnit", "no result")
		races = RACES.match(told.get("races", ""))
		good = bool(races and int(races[1]) > 0 and not int(races[2]))
		yield f"{name}: no lost bit", good, told.get("races", "no result")
	for place in ("bare", "xen"):
		wanted = {("mprotect", "ns_per_pte"), ("mprotect", "tsc_ticks_per_pte"),
			  ("fork", "ns_per_pte"), ("everyday", "ns_per_round")}
		if place == "xen":
			wanted.add(("mprotect", "hypercalls_per_1000"))
		have = {(key[1], key[4]) for key in found.rows if key[0] == place}
		yield f"{place}: base against series", wanted <= have, \
			f"{sum(key[0] == place for key in found.rows)} rows; missing: " \
			f"{' '.join(':'.join(pair) for pair in sorted(wanted - have))}"
	wrong = {key: pair for key, pair in found.rows.items()
		 if key[4] == "hypercalls_per_1000" and not 0 < pair.series < pair.base / 10}
	yield "the series needs less than a tenth of the hypercalls", not wrong, str(wrong)


@dataclass(frozen=True)
class Bad:
	"""A machine or a stick that can't do it: the @line that it has to say.

	@spoil makes the stick's image bad, @keys are pressed at the menu.
	"""
	line: str
	firmware: str = "BIOS"
	cpu: str = CPU
	keys: tuple[str, ...] = ()
	spoil: Callable[[Path], None] | None = None


def says(image: Path, bad: Bad) -> Verdict:
	"""Return the verdict: booted from the stick's @image, the machine says what is @bad."""
	what = f"says '{bad.line}'"
	try:
		if bad.spoil:
			bad.spoil(image)
		with machine(image.stem, bad.firmware, disk(image, "usb", 0), bad.cpu) as pc:
			if bad.keys:
				pc.wait_for(MENU, BOOT)
			for key in bad.keys:
				pc.press(key)
			pc.wait_for(bad.line, BOOT)
	except ToolError as error:
		return what, False, str(error)
	return what, True, ""


def full(image: Path) -> None:
	"""Fill the FAT of the stick's @image, less 4 MiB."""
	with replaced(build_dir() / "stick" / "filler") as tmp:
		with tmp.open("wb") as f:
			f.truncate(free_bytes(mtools("mdir", image, "::")) - 4 * MIB)
		mtools("mcopy", image, tmp, "::FILLER")


def free_bytes(listing: str) -> int:
	"""Return how many bytes are free, from the @listing that mdir prints."""
	match = re.search(r"([\d ]+) bytes free", listing)
	if not match:
		raise ToolError("mdir does not say how many bytes are free")
	return int(match[1].replace(" ", ""))


def other_serial(image: Path) -> None:
	"""Let the stick's @image look for another partition once GRUB has booted it."""
	menu = mtools("mtype", image, "::grub/grub.cfg")
	replace_file(image, "grub/grub.cfg",
		     re.sub(r"stick\.uuid=\S+", "stick.uuid=0000-0000", menu).encode())


FIRST_KERNEL = ("down", "ret")		# "only: base, bare"
BAD = {
	"stick-32-bit": Bad("this CPU has no 64-bit mode", cpu="pentium3"),
	"stick-secure-boot": Bad("Secure Boot is on", "Secure Boot"),
	"stick-full": Bad("results need", keys=FIRST_KERNEL, spoil=full),
	"stick-lost": Bad("is not found", keys=FIRST_KERNEL, spoil=other_serial),
}


def bad_input(image: Path) -> Iterator[Verdict]:
	"""Yield a verdict on each machine and stick that can't do it, with copies of @image."""
	for name, bad in BAD.items():
		copy = copy_of(image, name)
		yield says(copy, bad)
		copy.unlink()


def crash(image: Path) -> Verdict:
	"""Return the verdict: a hypervisor that does not come up is passed over and named.

	It is the third of four boots of everything, from the stick's @image. QEMU 7.2's SMAP
	lets Xen's dom0 crash at once.
	"""
	copy = copy_of(image, "stick-crash")
	kept = environment(step=3, running="", minutes=0, rounds=1)
	replace_file(copy, "grub/grubenv", kept)
	with machine("stick-crash", "BIOS", disk(copy, "usb", 0), "max") as pc:
		for name in ("base-xen", "series-xen"):
			pc.wait_for(f"note: {name} did not come to its end", 2 * BOOT)
		pc.wait_for(END, BOOT)
		pc.press("ret")
		pc.wait_for("", BOOT)
	found = parse(mtools("mtype", copy, "::RESULT.TXT"), "RESULT.TXT")
	copy.unlink()
	good = all("no result" in found.runs.get(name, {}) for name in RUNS)
	return "Xen crashes: passed over and named", good, str(found.runs)


def stick_gate() -> Iterator[Verdict]:
	"""The image of make stick boots by BIOS and UEFI, measures all four, says what is wrong."""
	image = stick(MINUTES, ROUNDS)
	yield from bad_input(image)
	try:
		yield crash(image)
	except ToolError as error:
		yield "Xen crashes: passed over and named", False, str(error)
	for firmware in BUSES:
		copy = copy_of(image, f"everything-{firmware}")
		try:
			text = everything(copy, firmware)
		except ToolError as error:
			yield f"{firmware}: everything, to its end", False, str(error)
			continue
		yield f"{firmware}: everything, to its end", True, ""
		(build_dir() / "stick" / f"RESULT-{firmware}.TXT").write_text(text)
		for what, good, note in judge(parse(text, firmware)):
			yield f"{firmware}: {what}", good, note
		copy.unlink()
