# SPDX-License-Identifier: GPL-2.0
"""The image of the stick: partition table, FAT, and GRUB for BIOS and UEFI.

Its only partition is FAT. GRUB finds it by its serial number, and so does the job that a
kernel runs (guests/jobs/stick.sh).
"""
import hashlib
import struct
from pathlib import Path

from common.apt import unpacked
from common.command import ROOT, StrPath, ToolError, build_dir, run

LABEL = "MODIFYPROT"
SUITE = "bookworm"	# where GRUB and mtools come from if the system's apt has none
MIB = 1 << 20
SECTOR = 512
START = 2048			# first sector of the partition
ROOM = 24 * MIB			# for results, and what FAT itself takes
LEAST = 128 * MIB		# with clusters of 1 KiB, FAT32 needs half of that
FAT32_LBA = 0x0c
ENVIRONMENT = 1024		# bytes of GRUB's environment block
# What GRUB needs of its modules.
COMMON = ("part_msdos", "fat", "normal", "configfile", "search", "search_fs_uuid", "linux",
	  "multiboot2", "gzio", "loadenv", "cpuid", "echo", "test", "true", "sleep", "halt",
	  "reboot", "minicmd", "all_video", "serial", "terminal")
TARGETS = {"i386-pc": ("grub-pc-bin", (*COMMON, "biosdisk")),
	   "x86_64-efi": ("grub-efi-amd64-bin", (*COMMON, "efi_gop", "efi_uga"))}
EARLY = """search --no-floppy --fs-uuid {uuid} --set root
set prefix=($root)/grub
"""
# UEFI begins with what Debian has signed, so that with Secure Boot, too, there is a GRUB to
# say what is wrong. It loads ours, which knows multiboot2.
SIGNED = {
	"EFI/BOOT/BOOTX64.EFI": ("shim-signed", "usr/lib/shim/shimx64.efi.signed"),
	"EFI/BOOT/grubx64.efi": ("grub-efi-amd64-signed",
				 "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
}
SIGNED_MENU = "EFI/debian/grub.cfg"	# what the signed GRUB reads
OURS = "EFI/modify-prot/grubx64.efi"
FIRST = f"""if [ "$lockdown" = y ]; then
	echo "error: Secure Boot is on, and the stick's kernels are not signed:"
	echo "switch it off in the firmware's setup."
	while true; do sleep 1000; done
fi
chainloader /{OURS}
boot
"""


def grub_image(target: str, uuid: str, out: Path) -> Path:
	"""Write GRUB's core image for @target to @out; return the directory of its modules."""
	package, modules = TARGETS[target]
	directory = unpacked((package,), SUITE, libraries=False) / "usr" / "lib" / "grub" / target
	tool = unpacked(("grub-common",), SUITE, libraries=False) / "usr" / "bin" / "grub-mkimage"
	early = out.with_suffix(".cfg")
	early.write_text(EARLY.format(uuid=uuid))
	run([tool, "-O", target, "-d", directory, "-c", early, "-p", "/grub", "-o", out, *modules])
	return directory


def partition_table(size: int) -> bytes:
	"""Return the last 66 bytes of an MBR, for an image of @size bytes with one partition."""
	entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", FAT32_LBA, b"\xfe\xff\xff",
			    START, size // SECTOR - START)
	return entry.ljust(64, b"\0") + b"\x55\xaa"


def environment(**variables: object) -> bytes:
	"""Return an environment block of GRUB that has @variables."""
	text = "# GRUB Environment Block\n"
	text += "".join(f"{name}={value}\n" for name, value in variables.items())
	return text.encode().ljust(ENVIRONMENT, b"#")


def settings(minutes: int, rounds: int) -> bytes:
	"""Return the environment block of a stick that has not run yet."""
	return environment(step="", running="", minutes=minutes, rounds=rounds)


def fat_serial(paths: list[Path]) -> str:
	"""Return the serial number of a FAT that holds the files @paths, XXXX-XXXX."""
	digest = hashlib.sha256()
	for path in paths:
		digest.update(hashlib.sha256(path.read_bytes()).digest())
	text = digest.hexdigest()[:8].upper()
	return f"{text[:4]}-{text[4:]}"


def image_size(content: int) -> int:
	"""Return the size of an image with so many bytes of @content, whole MiB."""
	return max(LEAST, -(-(START * SECTOR + content + ROOM) // MIB) * MIB)


def boot_files(uuid: str, kept: bytes) -> tuple[list[Path], dict[str, Path]]:
	"""Return what boots by BIOS, [boot sector, core image], and {name on the FAT: path}.

	The menu looks for the partition with the serial @uuid; it begins with the settings @kept.
	"""
	work = build_dir() / "stick"
	work.mkdir(exist_ok=True)
	modules = grub_image("i386-pc", uuid, work / "core.img")
	grub_image("x86_64-efi", uuid, work / "grubx64.efi")
	menu = (ROOT / "bench" / "stick.cfg").read_text().replace("@uuid@", uuid)
	(work / "grub.cfg").write_text(menu)
	(work / "first.cfg").write_text(FIRST)
	(work / "grubenv").write_bytes(kept)
	found = {name: unpacked((package,), SUITE, libraries=False) / path
		 for name, (package, path) in SIGNED.items()}
	found |= {OURS: work / "grubx64.efi", SIGNED_MENU: work / "first.cfg",
		  "grub/grub.cfg": work / "grub.cfg", "grub/grubenv": work / "grubenv",
		  "README.TXT": ROOT / "bench" / "STICK.md"}
	return [modules / "boot.img", work / "core.img"], found


def mtools(tool: str, img: Path, *arguments: StrPath) -> str:
	"""Run the @tool of mtools on the partition of the image @img; return what it prints.

	Raises ToolError if it fails.
	"""
	path = unpacked(("mtools",), SUITE, libraries=False) / "usr" / "bin" / tool
	return run([path, "-i", f"{img}@@{START * SECTOR}", *arguments],
		   env={"MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"}).stdout


def write_image(out: Path, size: int, boot: list[Path], uuid: str,
		content: dict[str, Path]) -> None:
	"""Write the image @out of @size bytes, with the files @content on its FAT.

	@boot has the boot sector and the core image of GRUB, @uuid is the serial of the FAT.
	"""
	sector, core = (path.read_bytes() for path in boot)
	if len(core) > (START - 1) * SECTOR:
		raise ToolError(f"GRUB's {boot[1]} has {len(core)} bytes, more than fit before "
				f"sector {START}: raise START in bench/stick_image.py")
	with out.open("wb") as f:
		f.write(sector[:446] + partition_table(size) + core)
		f.truncate(size)
	mtools("mformat", out, "-F", "-c", "2", "-v", LABEL, "-N", uuid.replace("-", ""),
	       "-T", str(size // SECTOR - START), "-h", "255", "-s", "63", "-H", str(START), "::")
	parents = {str(parent) for name in content for parent in Path(name).parents[:-1]}
	mtools("mmd", out, *(f"::{parent}" for parent in sorted(parents)))
	for name, path in content.items():
		mtools("mcopy", out, path, f"::{name}")
