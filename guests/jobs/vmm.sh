#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What the jobs of a machine have in common that runs a guest in QEMU under its own KVM:
# this comes before them. The guest runs counter.c; it has "mem" MiB and "append" on its
# command line, which are set before this. A job that fails ends with a line that begins
# with "snapshot: ".
# shellcheck disable=SC2154,SC2317,SC2034

LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH

fail()
{
	echo "snapshot: $*"
	tail -n 5 /tmp/first /tmp/second /tmp/qmp.log /tmp/vmm.log
	exit 1
}

# In the background. $1: the file for the guest's console; the rest: options.
vmm()
{
	file=$1
	shift
	exec qemu -accel kvm -cpu host -M microvm -L /guest -nodefaults -no-user-config -no-reboot \
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

has_said()
{
	grep -q "$1" "$2"
}

[ -c /dev/kvm ] || fail "no /dev/kvm: this CPU has no SVM, or the kernel no KVM"
mount -t tmpfs -o size=75% tmp /tmp 2> /dev/null
busybox mkfifo /tmp/qmp.in /tmp/qmp.out || fail "no fifo"
: > /tmp/first
: > /tmp/second
cat /tmp/qmp.out > /tmp/qmp.log &
