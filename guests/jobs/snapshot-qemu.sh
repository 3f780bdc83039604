#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The job of a machine that runs a guest under its own KVM, takes a live snapshot of it
# (QEMU's background-snapshot, which write-protects the guest's memory by userfaultfd)
# while ksmd merges its memory, and loads the snapshot. The guest runs counter.c, which
# sees whether its memory is that of one moment. Ends with "snapshot: whole" or
# "snapshot: torn". "merged", how many pages have to be merged at least, is set before this,
# and vmm.sh comes before it.
# shellcheck disable=SC2154,SC2317

KSM=/sys/kernel/mm/ksm

has_merged()
{
	[ "$(cat "$KSM/pages_sharing")" -ge "$merged" ]
}

has_ended()
{
	has_said 'counter: torn' /tmp/second || has_generation /tmp/second $((last + 2))
}

busybox mkfifo /tmp/stream || fail "no fifo"
echo 0 > $KSM/sleep_millisecs
echo 10000 > $KSM/pages_to_scan

vmm /tmp/first &
first=$!
wait_for 300 has_generation /tmp/first 1

# The stream is read slowly at first: there has to be time to merge, and to write after
# that. Whoever writes to a protected page waits until it has gone into the stream.
(
	until [ -e /tmp/fast ]; do
		busybox dd bs=16k count=1 2> /dev/null
	done
	cat
) < /tmp/stream > /tmp/snapshot &
reader=$!
qmp qmp_capabilities
qmp migrate-set-capabilities '{"capabilities": [
	{"capability": "background-snapshot", "state": true},
	{"capability": "events", "state": true}]}'
qmp migrate '{"uri": "exec:cat > /tmp/stream"}'
wait_for 60 has_said '"status": "active"' /tmp/qmp.log
before=$(generation /tmp/first)
echo 1 > $KSM/run
wait_for 60 has_merged
sharing=$(cat $KSM/pages_sharing)
wait_for 300 has_generation /tmp/first $((before + 1))
: > /tmp/fast
wait_for 300 has_said '"status": "completed"' /tmp/qmp.log
wait $reader
echo "snapshot: $sharing pages merged before they were written," \
	"$(($(generation /tmp/first) - before)) generations written meanwhile," \
	"$(wc -c < /tmp/snapshot) bytes"
kill $first
wait $first
echo 0 > $KSM/run

cat /tmp/qmp.out >> /tmp/qmp.log &
vmm /tmp/second -incoming "exec:cat /tmp/snapshot" &
second=$!
last=$before
wait_for 300 has_ended
grep 'counter: ' /tmp/second | head -n 2
if has_said 'counter: torn' /tmp/second; then
	echo "snapshot: torn"
else
	echo "snapshot: whole"
fi
kill $second 2> /dev/null	# unless the guest has ended by itself
wait $second
exit 0
