#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Run the lazy_mmu_mode KUnit suite again while CPU 1 comes and goes, and let
# freshly forked processes use the CPU that has just come up.
#
# In a guest with two CPUs or more; needs debugfs, sysfs, and CONFIG_KUNIT_DEBUGFS.
# Prints the suite's results, and "hotplug: ok" or "hotplug: FAILED" as last line.

suite=/sys/kernel/debug/kunit/lazy_mmu_mode
online=/sys/devices/system/cpu/cpu1/online
rounds=${1:-3}
failed=0

fail()
{
	echo "hotplug: $*"
	failed=1
}

run_suite()
{
	echo "# $1: CPUs online: $(cat /sys/devices/system/cpu/online)"
	echo 1 > "$suite/run" || fail "cannot run the suite"
	cat "$suite/results"
	tail -n 1 "$suite/results" | grep -q '^ok .* lazy_mmu_mode' ||
		fail "the suite does not pass ($1)"
}

set_online()
{
	echo "$1" > "$online" || fail "cannot write $1 to $online"
	[ "$(cat "$online")" = "$1" ] || fail "CPU 1 should be $1"
}

if [ ! -w "$suite/run" ] || [ ! -w "$online" ]; then
	echo "hotplug: FAILED (needs $suite/run and $online)"
	exit 1
fi

run_suite "at the start"
i=1
while [ "$i" -le "$rounds" ]; do
	set_online 0
	run_suite "round $i, CPU 1 offline"
	set_online 1
	run_suite "round $i, CPU 1 online again"
	# A user process, forked before it moves to the new CPU and there again.
	if command -v mprotect_perf > /dev/null; then
		mprotect_perf -b mprotect -c anon-4k -p 512 -n 3 -C 1 |
			grep '^# result' || fail "mprotect_perf on CPU 1"
	fi
	i=$((i + 1))
done

if [ "$failed" = 0 ]; then
	echo "hotplug: ok"
else
	echo "hotplug: FAILED"
fi
exit "$failed"
