# SPDX-License-Identifier: GPL-2.0
"""What the compile gates compile: architectures, configurations, objects.

Only what the series touches, and the users of the headers that it touches.
"""
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from common.command import EXIT_MISSING, ROOT, StrPath, ToolError
from guests.kernel import FRAGMENT_DIR

TARGET_CONFIGS = ROOT / "gates" / "config"
# By the name that a whole build gives it.
KVM_MAIN = "arch/{arch}/kvm/../../../virt/kvm/kvm_main"
MM = ("mm/mprotect", "mm/mremap", "mm/memory", "mm/filemap", "mm/mapping_dirty_helpers", "mm/ksm",
      "mm/rmap", "mm/modify_prot_debug", "fs/proc/task_mmu", "lib/kunit/user_alloc",
      "mm/tests/modify_prot_kunit", "mm/tests/modify_prot_misuse_kunit",
      "mm/tests/mprotect_kunit")
THP = ("mm/huge_memory",)
NOTIFIER = ("mm/mmu_notifier", "mm/tests/mmu_notifier_kunit")
LAZY = ("mm/tests/lazy_mmu_mode_kunit",)
X86 = ("arch/x86/kernel/paravirt", "arch/x86/mm/modify_prot", "arch/x86/mm/pgtable",
       "arch/x86/mm/pgtable_kunit", "mm/userfaultfd", "mm/tests/pte_batch_kunit",
       "arch/x86/mm/tlb", "arch/x86/mm/pat/set_memory")
X86_MORE = ("mm/hmm", "mm/hugetlb", "mm/migrate_device", "mm/kfence/kfence_test", "lib/test_hmm",
	    "drivers/gpu/drm/nouveau/nouveau_svm")
XEN = ("arch/x86/xen/enlighten_pv", "arch/x86/xen/mmu_pv", "arch/x86/xen/mmu_modify_prot",
       "arch/x86/xen/mmu_batch", "arch/x86/xen/multicalls",
       "arch/x86/xen/multicalls_kunit", "arch/x86/xen/smp_pv", "drivers/xen/gntdev",
       "drivers/xen/privcmd")
KVM_X86 = ("arch/x86/kvm/x86", "arch/x86/kvm/mmu/mmu", "arch/x86/kvm/mmu/spte",
	   "arch/x86/kvm/mmu/tdp_mmu", "arch/x86/kvm/svm/sev", KVM_MAIN)
X86_64 = X86 + X86_MORE + KVM_X86


@dataclass(frozen=True)
class Target:
	"""One configuration to compile for; @fragments are merged in order onto @start."""
	name: str
	arch: str
	fragments: tuple[str, ...]
	objects: tuple[str, ...]
	prefix: str = ""	# of the cross compiler
	llvm: bool = False
	directories: tuple[str, ...] = ()	# the gate directories-<name> compiles all in them
	start: str = "allnoconfig"	# what the fragments are merged onto

	@property
	def srcarch(self) -> str:
		"""Return the directory in arch/ that holds the architecture."""
		return "x86" if self.arch in ("x86_64", "i386") else self.arch

	def paths(self) -> list[str]:
		"""Return the objects' paths, relative to the output directory."""
		return [o.format(arch=self.srcarch) + ".o" for o in self.objects]

	def fragment_files(self) -> list[Path]:
		"""Return the fragments' paths: ours, else those of the guests."""
		found = []
		for name in self.fragments:
			mine = TARGET_CONFIGS / f"{name}.config"
			found.append(mine if mine.is_file() else FRAGMENT_DIR / f"{name}.config")
		return found

	def compiler(self) -> str:
		"""Return the compiler's program; raises ToolError if it is not installed."""
		if self.llvm:
			program = f"clang{llvm_suffix()}"
		else:
			program = f"{self.prefix}gcc"
		if not shutil.which(program):
			raise ToolError(f"{program} not found, {self.name} needs it: "
					"'series/deps --check'", EXIT_MISSING)
		return program

	def make(self, tree: StrPath, out: StrPath) -> list[str]:
		"""Return make's command line for this target, without goals."""
		argv = ["make", "-C", str(tree), f"O={out}", f"ARCH={self.arch}",
			f"CC=ccache {self.compiler()}"]
		if self.llvm:
			argv.append(f"LLVM={llvm_suffix() or 1}")
		if self.prefix:
			argv.append(f"CROSS_COMPILE={self.prefix}")
		return argv


def llvm_suffix() -> str:
	"""Return what Debian appends to the newest installed clang's name, "-19", or ""."""
	names = [Path(d) / f"clang-{v}" for d in os.get_exec_path() for v in range(30, 14, -1)]
	versions = [int(n.name.rpartition("-")[2]) for n in names if os.access(n, os.X_OK)]
	return f"-{max(versions)}" if versions else ""


COMMON = MM + THP + NOTIFIER	# of all that have transparent huge pages and KVM
X86_FRAGMENTS = ("lean", "kunit", "kunit-series", "kunit-xen", "x86", "x86-xen")
NOXEN_FRAGMENTS = ("lean", "kunit", "noxen", "kunit-series", "x86")
FAR = ("common", "common64")
TARGETS = {t.name: t for t in (
	Target("x86_64", "x86_64", X86_FRAGMENTS, COMMON + LAZY + X86_64 + XEN),
	Target("x86_64-noxen", "x86_64", NOXEN_FRAGMENTS, COMMON + X86_64),
	Target("i386-pae", "i386", ("common", "i386-pae"), MM + THP + X86),
	Target("um", "um", ("common", "um"), MM),
	Target("arm64", "arm64", (*FAR, "arm64"),
	       COMMON + LAZY + ("arch/arm64/mm/mmu", KVM_MAIN, "arch/arm64/kvm/mmu"),
	       "aarch64-linux-gnu-", directories=("mm/", "fs/proc/", "arch/arm64/kvm/")),
	Target("s390", "s390", (*FAR, "s390"), COMMON + ("arch/s390/mm/pgtable", KVM_MAIN),
	       "s390x-linux-gnu-", directories=("mm/", "fs/proc/", "arch/s390/kvm/")),
	Target("powerpc", "powerpc", (*FAR, "powerpc"),
	       COMMON + LAZY + ("arch/powerpc/mm/book3s64/pgtable",
				"arch/powerpc/mm/book3s64/radix_pgtable",
				KVM_MAIN, "arch/powerpc/kvm/book3s_64_mmu_hv"),
	       "powerpc64le-linux-gnu-", directories=("mm/", "fs/proc/", "arch/powerpc/kvm/")),
	Target("riscv", "riscv", (*FAR, "riscv"), COMMON + (KVM_MAIN, "arch/riscv/kvm/mmu"),
	       "riscv64-linux-gnu-", directories=("mm/", "fs/proc/")),
	Target("nommu", "riscv", ("nommu",), ("mm/nommu", "mm/page_alloc", "fs/proc/task_nommu"),
	       "riscv64-linux-gnu-", directories=("mm/", "fs/proc/", "lib/kunit/")),
	Target("loongarch", "loongarch", (*FAR, "loongarch"),
	       COMMON + (KVM_MAIN, "arch/loongarch/kvm/mmu"),
	       llvm=True, directories=("mm/", "fs/proc/", "arch/loongarch/kvm/")),
	Target("clang", "x86_64", X86_FRAGMENTS, COMMON + LAZY + X86_64 + XEN, llvm=True),
)}
# As much enabled as can be: for the gate directories-allmod alone.
ALLMOD = Target("allmod", "x86_64", ("allmod",), (), start="allmodconfig",
		directories=("mm/", "fs/proc/", "lib/kunit/", "arch/x86/kernel/", "arch/x86/mm/",
			     "arch/x86/xen/", "arch/x86/kvm/", "drivers/xen/"))
