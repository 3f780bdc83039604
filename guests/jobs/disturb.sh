#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs the command in "$@" while CPU 1 goes and comes and, where the kernel can
# (CONFIG_PM_DEBUG), all tasks are frozen for a second now and then. Ends with the
# command's status, after a line "disturb: <n> times offline, <n> frozen".
# In a guest with two CPUs or more.

cpu1=/sys/devices/system/cpu/cpu1/online
count=/tmp/disturbed

disturb()
{
	offline=0
	frozen=0
	if [ -w /sys/power/pm_test ]; then
		echo freezer > /sys/power/pm_test
		echo 1 > /sys/module/suspend/parameters/pm_test_delay
	fi
	while [ ! -e /tmp/stop ]; do
		echo 0 > "$cpu1" && offline=$((offline + 1))
		sleep 0.5
		echo 1 > "$cpu1"
		sleep 0.5
		if [ -w /sys/power/pm_test ] && [ $((offline % 4)) = 0 ]; then
			echo freeze > /sys/power/state && frozen=$((frozen + 1))
		fi
		echo "$offline times offline, $frozen frozen" > "$count"
	done
}

[ -w "$cpu1" ] || { echo "disturb: no $cpu1"; exit 1; }
disturb &
"$@"
status=$?
: > /tmp/stop
wait
echo "disturb: $(cat "$count")"
exit "$status"
