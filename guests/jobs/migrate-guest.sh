#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Races mprotect() with accesses while dom0 saves, restores and shrinks the guest
# (migrate-dom0.sh): nothing may get lost. Goes on until CPU 1 has come back
# "rounds" times, then runs the KUnit suites again, which see if anything is left
# in a queue. Needs two CPUs, debugfs, and CONFIG_KUNIT_DEBUGFS.
# "rounds" and "seconds" (per case of the race) are set before this.
# shellcheck disable=SC2154

online=/sys/devices/system/cpu/online
cpu1=/sys/devices/system/cpu/cpu1/online
suites="lazy_mmu_mode modify_prot"
failed=0

# Use CPU 1 when it is given back, as udev does elsewhere, and append a line to
# /tmp/returns each time.
watch_cpu()
{
	last=0-1
	while sleep 0.2; do
		grep -qs 0 "$cpu1" && echo 1 2> /dev/null > "$cpu1"
		now=$(cat "$online")
		[ "$now" = "$last" ] || echo "# CPUs online: $now"
		[ "$now" = 0-1 ] && [ "$last" = 0 ] && echo back >> /tmp/returns
		last=$now
	done
}

if [ "$(cat "$online")" != 0-1 ]; then
	echo "migrate: FAILED (needs two CPUs)"
	exit 1
fi
: > /tmp/returns
watch_cpu &
while [ "$(wc -l < /tmp/returns)" -lt "$rounds" ]; do
	echo "# race: begins"
	modify_prot_race -s "$seconds"
	status=$?
	[ "$status" = 0 ] || [ "$status" = 4 ] || failed=1
done
for suite in $suites; do
	echo 1 > "/sys/kernel/debug/kunit/$suite/run"
	tail -n 1 "/sys/kernel/debug/kunit/$suite/results"
	tail -n 1 "/sys/kernel/debug/kunit/$suite/results" | grep -q "^ok .* $suite" || failed=1
done
if [ "$failed" = 0 ]; then
	echo "migrate: ok"
else
	echo "migrate: FAILED"
fi
exit "$failed"
