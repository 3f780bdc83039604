#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The job of a machine that runs a guest under its own KVM, takes a live snapshot of it
# (QEMU's background-snapshot, which write-protects the guest's memory by userfaultfd)
# while ksmd merges its memory, and loads the snapshot. The guest runs counter.c, which
# sees whether its memory is that of one moment. Ends with "snapshot: whole" or
# "snapshot: torn". "mem" (MiB), "merged" (how many pages have to be merged, at least)
# and "append" of the guest are set before this.
# shellcheck disable=SC2154,SC2317

LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH
KSM=/sys/kernel/mm/ksm

fail()
{
	echo "snapshot: $*"
	tail -n 5 /tmp/first /tmp/second /tmp/qmp.log /tmp/vmm.log
	exit 1
}

# $1: the file for the guest's console; the rest: options.
vmm()
{
	file=$1
	shift
	qemu -accel kvm -cpu host -M microvm -L /guest -nodefaults -no-user-config -no-reboot \
		-display none -m "$mem" -smp 1 -chardev "file,id=console,path=$file" \
		-serial chardev:console -kernel /guest/kernel -initrd /guest/initrd \
		-append "$append" -qmp pipe:/tmp/qmp "$@" \
		< /dev/null 2>> /tmp/vmm.log
}

# Send the command $1 to QEMU, with the arguments $2.
qmp()
{
	echo "{\"execute\": \"$1\"${2:+, \"arguments\": $2}}" > /tmp/qmp.in
}

# Wait up to $1 seconds until the command that follows succeeds.
wait_for()
{
	limit=$1
	shift
	until "$@"; do
		limit=$((limit - 1))
		[ "$limit" -gt 0 ] || fail "waited in vain for: $*"
		sleep 1
	done
}

# The generation that the guest whose console is the file $1 has completed last, or 0.
generation()
{
	last=$(sed -n 's/^counter: generation \([0-9]*\) is complete.*/\1/p' "$1" | tail -n 1)
	echo "${last:-0}"
}

has_generation()
{
	[ "$(generation "$1")" -ge "$2" ]
}

has_merged()
{
	[ "$(cat "$KSM/pages_sharing")" -ge "$merged" ]
}

has_said()
{
	grep -q "$1" "$2"
}

has_ended()
{
	has_said 'counter: torn' /tmp/second || has_generation /tmp/second $((last + 2))
}

[ -c /dev/kvm ] || fail "no /dev/kvm: this CPU has no SVM, or the kernel no KVM"
mount -t tmpfs -o size=75% tmp /tmp 2> /dev/null
busybox mkfifo /tmp/qmp.in /tmp/qmp.out /tmp/stream || fail "no fifo"
: > /tmp/first
: > /tmp/second
cat /tmp/qmp.out > /tmp/qmp.log &
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
