#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The job of a dom0 that runs one guest, /guest/xl.cfg, by xl. Each line of the
# guest's console is printed with "guest| " in front, which tells it from dom0's
# own. With "guest_shell" on dom0's command line the console is the guest's alone.
#
# /guest/scenario, if there, is sourced while the guest runs; it may use the
# functions here.

PATH=$(echo /usr/lib/xen-*/bin):$PATH
export PATH

fail()
{
	echo "dom0: $*"
	exit 1
}

start_xen_services()
{
	mkdir -p /dev/pts /var/lock /run/xen /run/xenstored /var/lib/xen /var/lib/xenstored /var/log/xen
	mount -t devpts devpts /dev/pts || fail "cannot mount devpts"
	[ -e /var/run ] || ln -s /run /var/run
	mkdir -p /etc/xen && echo 'autoballoon="off"' > /etc/xen/xl.conf
	xenstored || fail "xenstored does not start"
	xen-init-dom0 > /dev/null || fail "xen-init-dom0 failed"
	xenconsoled || fail "xenconsoled does not start"
}

# Print the console of the guest until it is gone; /tmp/console keeps it.
relay()
{
	xl console guest < /dev/null | tee -a /tmp/console | sed 's/^/guest| /' &
}

if grep -qw guest_shell /proc/cmdline; then
	dmesg -n 1
	start_xen_services
	xl create -q /guest/xl.cfg || fail "xl create failed"
	exec xl console guest
fi

dmesg -n 5
start_xen_services
xl create -q -p /guest/xl.cfg || fail "xl create failed"
relay
xl unpause guest || fail "xl unpause failed"
if [ -f /guest/scenario ]; then
	# shellcheck disable=SC1091  # only there in the guest
	. /guest/scenario
fi
wait
