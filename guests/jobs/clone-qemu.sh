#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The job of a machine that starts a guest from a snapshot, as hosts of many small guests
# do: a first guest runs in a file, is stopped and saved; another one maps the file
# private (QEMU's memory-backend-file, share=off) and goes on from there. It runs counter.c,
# which reads all of "pages", then writes to them. Ends with "clone: PAGES pages READ WRITTEN",
# how many faults the second guest took until all were read, and from then until all were
# written. vmm.sh comes before this.
# shellcheck disable=SC2154,SC2317

STATS=/sys/kernel/debug/kvm
IGNORE='{"capabilities": [{"capability": "x-ignore-shared", "state": true},
	{"capability": "events", "state": true}]}'

# $1: on or off; the rest as vmm()'s.
vmm_in_file()
{
	share=$1
	shift
	vmm "$@" -machine memory-backend=ram \
		-object "memory-backend-file,id=ram,size=${mem}M,mem-path=/tmp/ram,share=$share"
}

faults()
{
	cat $STATS/pf_taken
}

# Whether the guest took next to no faults in a second: all that it reads is mapped.
has_settled()
{
	earlier=$(faults)
	sleep 1
	[ $(($(faults) - earlier)) -lt 8 ] && [ "$earlier" -gt "$pages" ]
}

faults > /dev/null || fail "no $STATS/pf_taken"
vmm_in_file on /tmp/first &
first=$!
wait_for 300 has_generation /tmp/first 1
qmp qmp_capabilities
qmp migrate-set-capabilities "$IGNORE"
qmp stop
qmp migrate '{"uri": "exec:cat > /tmp/state"}'
wait_for 300 has_said '"status": "completed"' /tmp/qmp.log
kill $first
wait $first
last=$(generation /tmp/first)

cat /tmp/qmp.out > /tmp/qmp.log &
vmm_in_file off /tmp/second -incoming defer &
second=$!
qmp qmp_capabilities
qmp migrate-set-capabilities "$IGNORE"
qmp migrate-incoming '{"uri": "exec:cat /tmp/state"}'
wait_for 300 has_said '"status": "completed"' /tmp/qmp.log
qmp cont
wait_for 300 has_settled
has_generation /tmp/second $((last + 1)) && fail "the guest wrote before it was looked at"
read=$(faults)
wait_for 300 has_generation /tmp/second $((last + 1))
written=$(faults)
grep 'counter: torn' /tmp/second && fail "the guest's memory is not the file's"
kill $second
wait $second
echo "clone: $pages pages $read $((written - read))"
exit 0
