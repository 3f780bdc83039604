# SPDX-License-Identifier: GPL-2.0
# The one entry point. 'make help' lists targets and variables.

# make's built-in default is not a choice of the user's.
ifeq ($(origin CC),default)
unexport CC
endif

export PYTHONDONTWRITEBYTECODE = 1
PYTHON ?= python3
MAKEFLAGS += --no-print-directory

.PHONY: help deps base series tree refresh mail kernel deb shell kunit bench bench-wall bench-dist profile report torture race run test check faults soak upstream-tests clean

# A program of the tooling: all settings are checked before anything is installed.
define program
	@! command -v $(PYTHON) > /dev/null || $(PYTHON) -m $(1) --check
	@series/deps $(2)
	@$(PYTHON) -m $(1)
endef

help:
	@sed -n 's/^#: \{0,1\}//p' $(firstword $(MAKEFILE_LIST))
	@echo; echo Settings
	@$(PYTHON) -m common.settings

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

deps:
	@series/deps

base:
	$(call program,series.base)

series:
	$(call program,series.assemble)

tree:
	$(call program,series.tree)

refresh:
	$(call program,series.refresh)

mail:
	$(call program,series.mail)

kernel:
	$(call program,guests.kernel)

shell:
	$(call program,guests.shell)

kunit:
	$(call program,guests.kunit)

bench:
	$(call program,bench.measure)

torture:
	$(call program,checks.torture)

race:
	$(call program,checks.race)

bench-wall:
	$(call program,bench.wall)

bench-dist:
	$(call program,bench.dist)

profile:
	$(call program,bench.by_function)

run:
	$(call program,checks.overview)

test:
	$(call program,checks.suite)

faults:
	$(call program,checks.faults)

soak:
	$(call program,checks.soak)

upstream-tests:
	$(call program,checks.upstream)

check:
	$(call program,gates.run,--check)

deb:
	$(call program,guests.deb,--deb)

report:
	@$(PYTHON) -m bench.report

clean:
	rm -rf $(or $(O),build)
