# SPDX-License-Identifier: GPL-2.0
# The one entry point. 'make help' lists targets and variables.

# Given to the tooling if they are set, on make's command line or in the environment.
VARIABLES := O V J LINUX DL_DIR LLVM CC ARCH CROSS_COMPILE HOSTCC W C \
	GUEST KERNEL HOST_KERNEL CONFIG DEB_CONFIG BOOT FAULT SMP MEM MINUTES SECONDS SEED ACCEL XEN QEMU ROUNDS KEEP FORCE KERNEL_ORG TOPIC PREVIOUS GATE
$(foreach v,$(VARIABLES),$(if $(filter undefined,$(origin $v)),,$(eval export $v)))

# make's built-in default is not a choice of the user's.
ifeq ($(origin CC),default)
unexport CC
endif

export PYTHONDONTWRITEBYTECODE = 1
PYTHON ?= python3
MAKEFLAGS += --no-print-directory

.PHONY: help deps base series tree refresh mail kernel deb shell kunit bench bench-wall bench-dist profile report torture race run test check faults soak upstream-tests clean

help:
	@sed -n 's/^#: \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

#: modify-prot: page-table protection transactions, a Linux 7.3 patch series
#:
#: Main commands
#:   run       fetch, patch, build, boot under Xen, run KUnit and the benchmark, report
#:   test      everything that must pass; ends with "N passed, N failed"
#:   check     the gates of maintainers and CI bots: compilers, architectures, sparse, ...  GATE=<name ...>
#:
#: The series
#:   series    complete patches in build/series/<n>-<topic>/, for git am and quilt
#:   tree      build/linux: a git tree of the base with one commit per patch
#:   refresh   take commits edited in build/linux back into patches/ and the payload
#:   mail      mails with cover letter and recipients in build/mail; never sends    TOPIC= PREVIOUS=
#:   base      only fetch, verify and lay the base tree
#:
#: Kernels and guests
#:   kernel    build a kernel                     KERNEL=base|series CONFIG=lean|debug|...
#:   deb       kernel packages for a real machine  KERNEL= DEB_CONFIG=<file>|local; guests/DEB.md
#:   shell     interactive shell in a guest       GUEST=<kind> KERNEL= SMP= MEM=
#:   kunit     run the KUnit suites               GUEST=<kind>|um KERNEL= CONFIG= SMP=
#:   bench     instructions per pte and hypercalls; GUEST= of: bare bare-noxen xen bare-disk xen-disk;
#:             KERNEL= of: base series topic1... debian-6.1 debian-6.12 debian-7.3; all if not given
#:   bench-wall  wall-clock time, base against series in turn, with spread   GUEST= ROUNDS=6 SMP=1
#:   profile   instructions per function, before and after   GUEST= KERNEL= of: base series topic1...
#:   report    build/bench/report.html and .txt, from what bench, bench-wall and profile left;
#:             KEEP=1 also takes them into bench/results/ and bench/breakdown.txt
#:   bench-dist  build/modify-prot-bench.tar.gz: static programs and run.sh, for real machines
#:
#: Kinds of guest (GUEST=)
#:   bare      the kernel on QEMU's machine       xen   as PV dom0 on the Xen hypervisor
#:   domU      a PV domU that a dom0 runs by xl   pvh   a PVH one, with the debug kernel
#:   kvm       under KVM in a bare machine        um    User Mode Linux, KUnit only
#:
#: More tests, longer ones
#:   race            accesses against mprotect(); GUEST=bare|xen TRANSACTIONS=10000000
#:   torture         random changes of mappings against a model; GUEST=bare|xen SECONDS= SEED=
#:   faults          break the series on purpose, see tests notice     FAULT=<name>...
#:   soak            all tests, longer, and failing allocations, CPU hotplug, frozen tasks;
#:                   CONFIG= of: kasan debug (default: both) kcsan rt up   MINUTES=15 of stress   SMP=2
#:   upstream-tests  upstream's mm and KVM selftests, base against series   CONFIG=lean|upstream
#:
#: Other
#:   deps      install missing Debian packages (root), or print the command
#:   clean     remove build/ (kernels, guests, results; not ccache's cache)
#:
#: Variables
#:   O=build            where everything that is built lands
#:   LINUX=<tree>       use this Linux 7.3.y tree as the base (copied, never modified)
#:   DL_DIR=<folder>    folder with linux-source-7.3.tar.xz and SHA256SUMS
#:   HOST_KERNEL=base   kernel around domU, pvh and kvm, if not the guest's own
#:   XEN=4.17|4.20      hypervisor of a Debian package, or a binary, compressed or not
#:   QEMU=<binary>      QEMU to use instead of qemu-system-x86_64
#:   ACCEL=auto|tcg|kvm accelerator; auto takes KVM only if it boots something
#:   SMP=1 MEM=2048     vCPUs and MiB of a guest; of domU, pvh and kvm, the machine's:
#:                      the guest in it has as many vCPUs and half the memory
#:   CONFIG=lean        a kernel's configuration: lean, disk, debug, noxen, upstream, kasan, kcsan, rt, up
#:   DEB_CONFIG=<file>  make deb: start from this .config; local: from the running kernel's and its
#:                      loaded modules; default x86_64_defconfig for Xen and common machines
#:   BOOT=0             make deb: don't boot the packaged kernel in QEMU
#:   J=2 V=1 LLVM=1 CC= jobs, verbosity and compiler, as in the kernel's build
#:   TOPIC=1-<topic>    make mail: only this topic; default all
#:   PREVIOUS=<commit>  make mail: range-diff against this commit; default tag sent/<topic>-v<n-1>
#:   GATE=<name ...>    make check: only these; python3 -m gates.run --list has them
#:   FORCE=1            make tree: drop work in build/linux that was not refreshed

deps:
	@series/deps

base: deps
	@$(PYTHON) -m series.base

series: deps
	@$(PYTHON) -m series.assemble

tree: deps
	@$(PYTHON) -m series.tree

refresh: deps
	@$(PYTHON) -m series.refresh

mail: deps
	@$(PYTHON) -m series.mail

kernel: deps
	@$(PYTHON) -m guests.kernel $(or $(KERNEL),series)

deb:
	@series/deps --deb
	@$(PYTHON) -m guests.deb $(or $(KERNEL),series)

shell: deps
	@$(PYTHON) -m guests.shell

kunit: deps
	@$(PYTHON) -m guests.kunit

bench: deps
	@$(PYTHON) -m bench.measure

torture: deps
	@$(PYTHON) -m checks.torture

race: deps
	@$(PYTHON) -m checks.race

bench-wall: deps
	@$(PYTHON) -m bench.wall

bench-dist: deps
	@$(PYTHON) -m bench.dist

profile: deps
	@$(PYTHON) -m bench.by_function

report:
	@$(PYTHON) -m bench.report

run: deps
	@$(PYTHON) -m checks.overview

test: deps
	@$(PYTHON) -m checks.suite

check:
	@series/deps --check
	@$(PYTHON) -m gates.run

faults: deps
	@$(PYTHON) -m checks.faults

soak: deps
	@$(PYTHON) -m checks.soak

upstream-tests: deps
	@$(PYTHON) -m checks.upstream

clean:
	rm -rf $(or $(O),build)
