#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The job of a machine that runs one guest under its own KVM, by QEMU. Each line
# of the guest's console is printed with "guest| " in front, which tells it from
# those around it. With "guest_shell" on the command line the console is the
# guest's alone. "smp", "mem" (MiB) and "append" of the guest are set before this.
# shellcheck disable=SC2154

LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH

if [ ! -c /dev/kvm ]; then
	echo "host: no /dev/kvm: this CPU has no SVM, or the kernel no KVM"
	exit 1
fi

vmm()
{
	qemu -accel kvm -cpu host -M microvm -L /guest -nodefaults -no-user-config -no-reboot \
		-display none -m "$mem" -smp "$smp" -chardev stdio,id=console,signal=off \
		-serial chardev:console -kernel /guest/kernel -initrd /guest/initrd -append "$append"
}

if grep -qw guest_shell /proc/cmdline; then
	dmesg -n 1
	vmm
else
	dmesg -n 5
	vmm < /dev/null | sed 's/^/guest| /'
fi
