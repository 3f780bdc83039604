#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The job of a machine that checkpoints a process (written.c) with CRIU: a pre-dump, from
# which on the kernel tracks by soft-dirty what is written; a write to all pages; a merge
# by KSM; a dump of what was written since; a restore. Ends with "snapshot: whole" if the
# process then finds in its memory what it has written, else "snapshot: torn". "pages", how
# many it has, is set before this.
# shellcheck disable=SC2154,SC2317

LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH
KSM=/sys/kernel/mm/ksm
CONSOLE=/run/written

fail()
{
	echo "snapshot: $*"
	exit 1
}

# $1: what CRIU is to do; $2: the directory with the images; the rest: options.
checkpoint()
{
	action=$1
	images=$2
	shift 2
	criu "$action" -D "$images" -v4 -o "$action.log" --manage-cgroups=ignore "$@" || {
		tail -n 30 "$images/$action.log"
		fail "CRIU's $action failed"
	}
}

# Wait up to half a minute until the command that follows succeeds.
wait_for()
{
	limit=300
	until "$@"; do
		limit=$((limit - 1))
		[ "$limit" -gt 0 ] || fail "waited in vain for: $*"
		sleep 0.1
	done
}

has_said()
{
	grep -q "$1" $CONSOLE
}

has_merged()
{
	[ "$(cat $KSM/pages_sharing)" -ge $((pages - 1)) ]
}

# CRIU binds to it when it looks what the kernel can do.
busybox ip link set lo up || fail "no loopback device"
mkdir -p /run/pre /run/dump
busybox setsid written "$pages" < /dev/null > $CONSOLE 2>&1 &
wait_for has_said 'generation 1 is complete'
pid=$(busybox pidof written)

checkpoint pre-dump /run/pre -t "$pid" --track-mem
kill -USR1 "$pid"
wait_for has_said 'generation 2 is complete'
echo 10000 > $KSM/pages_to_scan
echo 1 > $KSM/run
wait_for has_merged
echo "snapshot: $(cat $KSM/pages_sharing) pages merged after they were written"

checkpoint dump /run/dump -t "$pid" --prev-images-dir ../pre --track-mem
checkpoint restore /run/dump --restore-detached
kill -USR2 "$pid"
wait_for has_said 'have not generation'
cat $CONSOLE
if has_said 'written: whole'; then
	echo "snapshot: whole"
else
	echo "snapshot: torn"
fi
