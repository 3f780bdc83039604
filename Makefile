# SPDX-License-Identifier: GPL-2.0
# The one entry point. 'make help' lists targets and variables.

# make's built-in default is not a choice of the user's.
ifeq ($(origin CC),default)
unexport CC
endif

export PYTHONDONTWRITEBYTECODE = 1
# What is given to one target: it has to take that.
export GIVEN := $(if $(word 2,$(MAKECMDGOALS)),,$(foreach name,$(.VARIABLES),\
		$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
PYTHON ?= python3
MAKEFLAGS += --no-print-directory

# Programs of the tooling.
programs := run test check series tree refresh mail base kernel deb shell kunit \
	    bench bench-wall bench-alike bench-dist profile pte-changes irqsoff will-it-scale race \
	    torture snapshot alone faults soak upstream-tests others stick stick-report

.PHONY: help deps report clean $(programs)

help:
	@sed -n 's/^#: \{0,1\}//p' $(firstword $(MAKEFILE_LIST))
	@echo; echo Settings
	@$(PYTHON) -m common.settings

#: modify-prot: page-table protection transactions, a Linux 7.3 patch series
#:
#: Main commands
#:   run       fetch, patch, build, boot bare and under Xen, run KUnit and the benchmark, report
#:   test      everything that must pass; ends with "N passed, N failed"
#:   check     the gates of maintainers and CI bots: compilers, architectures, sparse, ...;
#:             GATE=<name ...>
#:
#: The series
#:   series    complete patches in build/series/<n>-<topic>/, for git am and quilt
#:   tree      build/linux: a git tree of the base with one commit per patch
#:   refresh   take commits edited in build/linux back into patches/ and the payload
#:   mail      mails with cover letter and recipients in build/mail; never sends
#:             TOPIC= PREVIOUS= TRAILERS="<tag>; <tag>" AUTHOR=
#:   base      only fetch, verify and lay the base tree
#:
#: Kernels and guests
#:   kernel    build a kernel                     KERNEL=base|series CONFIG=lean|debug|...
#:   deb       kernel packages for a real machine  KERNEL= DEB_CONFIG=<file>|local; guests/DEB.md
#:   shell     interactive shell in a guest       GUEST=<kind> KERNEL= SMP= MEM=
#:   kunit     run the KUnit suites               GUEST=<kind>|um KERNEL= CONFIG= SMP=
#:
#: Kinds of guest: GUEST=, except in the benchmark
#:   bare      the kernel on QEMU's machine       xen   as PV dom0 on the Xen hypervisor
#:   domU      a PV domU that a dom0 runs by xl   pvh   a PVH one
#:   pvshim    a PV domU inside of Xen's shim, which is a PVH one
#:   kvm       under KVM in a bare machine        um    User Mode Linux, KUnit only
#:
#: The benchmark
#:   bench     instructions per pte and hypercalls; KERNEL= of: base series topic1...
#:             debian-6.1 debian-6.12 debian-7.3; all places and kernels if not given
#:   bench-wall  wall-clock time, base against series in turn, with spread;
#:             bare and xen if not given          GUEST=<place> ROUNDS=6 SMP=1
#:   bench-alike  base and series in Debian's configuration, beside Debian's packages;
#:             KERNEL= of: base series debian-6.1 ...; 90 minutes on 2 cores
#:   profile   instructions per function, before and after, and who enters the hypervisor;
#:             GUEST= of: bare bare-noxen xen domU; KERNEL= of: base series topic1...; BENCH=
#:   pte-changes  how each place in mm/ changes ptes under Xen PV, before and after
#:   will-it-scale  instructions per iteration of will-it-scale's tests of memory;
#:             WIS=<its tree>; bare and xen if not given
#:   irqsoff   longest time with interrupts off during mprotect();
#:             GUEST= of: bare xen; KERNEL= of: base series topic1...
#:   report    build/bench/report.html and .txt, from what bench, bench-wall and profile left;
#:             KEEP=1 also takes them into bench/results/ and bench/breakdown.txt
#:   bench-dist  build/modify-prot-bench.tar.gz: static programs and run.sh, for real machines
#:
#: Real machines
#:   stick     build/modify-prot.img: boots from a USB stick, BIOS or UEFI, and measures base
#:             and series, bare and under Xen; bench/STICK.md     MINUTES=10 ROUNDS=5
#:   stick-report  what sticks wrote, beside each other; FILE="<RESULT.TXT> ..."
#:
#: Places of the benchmark: GUEST= of bench, bench-wall and profile
#:   bare        bare metal, with XEN_PV=y        bare-noxen  without
#:   xen         PV dom0 on Xen                   kvm-host    KVM host, and a guest of its own
#:   domU        a PV domU, its dom0 idle         pvh         a PVH one
#:   bare-numa   bare metal, two nodes
#:   bare-disk   bare metal, files on ext4        xen-disk    PV dom0 on Xen, files on ext4
#:   bare-debug  bare metal, DEBUG_VM, PREEMPT    xen-debug   PV dom0 on Xen, the same
#:
#: More tests, longer ones
#:   race            accesses against mprotect(), zap, fork and mremap(); GUEST=bare|xen
#:                   TRANSACTIONS=10000000
#:   torture         random changes of mappings against a model; GUEST=bare|xen SECONDS= SEED=
#:   snapshot        QEMU's live snapshot and CRIU, of memory that KSM merges meanwhile;
#:                   KERNEL= of: base series
#:   alone           the tests of bug fixes on the base with that topic alone;
#:                   KERNEL= of: topic2 topic3 topic4 topic5
#:   faults          break the series on purpose, see tests notice     FAULT=<name>...
#:   soak            all tests, longer, and failing allocations, CPU hotplug, frozen tasks;
#:                   CONFIG= of: kasan debug (default: both) kcsan rt up preempt
#:                   MINUTES=15 of stress   SMP=2
#:   upstream-tests  upstream's selftests of KVM, mm, x86, proc, base against series;
#:                   CONFIG=lean|upstream
#:   others          stress-ng, collectors, redis and LTP, base against series;
#:                   LTP=<its tree>   GUEST="bare xen" CONFIG=lean
#:
#: Other
#:   deps      install missing Debian packages (root), or print the command
#:   clean     remove build/ (kernels, guests, results; not ccache's cache)

deps:
	@series/deps

# Which program a target runs, and which packages series/deps has to install besides.
packages :=
base: module = series.base
series: module = series.assemble
tree: module = series.tree
refresh: module = series.refresh
mail: module = series.mail
kernel: module = guests.kernel
shell: module = guests.shell
kunit: module = guests.kunit
bench: module = bench.measure
torture: module = checks.torture
race: module = checks.race
snapshot: module = checks.snapshot
alone: module = checks.alone
bench-wall: module = bench.wall
bench-dist: module = bench.dist
profile: module = bench.by_function
pte-changes: module = bench.pte_changes
will-it-scale: module = bench.will_it_scale
bench-alike: module = bench.alike
irqsoff: module = bench.irqsoff
stick: module = bench.stick
stick-report: module = bench.stick_report
run: module = checks.overview
test: module = checks.suite
faults: module = checks.faults
soak: module = checks.soak
upstream-tests: module = checks.upstream
others: module = checks.others
check: module = gates.run
check: packages = --check
deb: module = guests.deb
deb: packages = --deb

# Who takes the patches needs no more than git and Python 3.10.
without_deps := series

# All settings are checked before anything is installed.
$(programs):
	@! command -v $(PYTHON) > /dev/null || $(PYTHON) -m $(module) --check
	@$(if $(filter $(without_deps),$@),:,series/deps $(packages))
	@$(PYTHON) -m $(module)

report:
	@$(PYTHON) -m bench.report

clean:
	rm -rf "$(or $(O),build)"
