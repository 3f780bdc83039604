# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154  # sourced by domU.sh
#
# What dom0 does to the guest while migrate-guest.sh runs in it: save and restore, take
# memory and a vCPU away, give them back; "rounds" times. Prints one line for each. The
# guest has "memory" MiB and can do with "less".

# Wait up to $1 seconds for a command to succeed.
wait_for()
{
	limit=$1
	shift
	until "$@"; do
		limit=$((limit - 1))
		[ "$limit" -gt 0 ] || fail "waited in vain: $*"
		sleep 1
	done
}

# Whether vCPU 1 is as said: p for offline.
vcpu_is_offline()
{
	xl vcpu-list guest | awk '$3 == 1 { print $5 }' | grep -q p
}

vcpu_is_online()
{
	! vcpu_is_offline
}

# Whether the guest has as many MiB as said, or one more or less.
has_memory()
{
	now=$(xl list guest | awk 'NR == 2 { print $3 }')
	[ "$now" -ge $(($1 - 1)) ] && [ "$now" -le $(($1 + 1)) ]
}

# Whether the guest has begun its n-th race since it was started.
raced()
{
	[ "$(grep -c '^# race: begins' /tmp/console)" -ge "$1" ]
}

save_and_restore()
{
	old=$(xl domid guest)
	xl save guest /tmp/saved > /dev/null || fail "xl save failed"
	xl domid guest > /dev/null 2>&1 && fail "the guest still runs after xl save"
	xl restore -p /tmp/saved > /dev/null || fail "xl restore failed"
	rm /tmp/saved
	[ "$(xl domid guest)" != "$old" ] || fail "the guest is the one before xl save"
	relay
	xl unpause guest || fail "xl unpause failed"
}

round=1
while [ "$round" -le "$rounds" ]; do
	wait_for 120 raced "$round"
	save_and_restore
	echo "dom0: round $round: saved and restored"
	for size in "$less" "$memory"; do
		xl mem-set guest "$size" || fail "xl mem-set $size failed"
		wait_for 60 has_memory "$size"
	done
	echo "dom0: round $round: memory taken away and given back"
	xl vcpu-set guest 1 || fail "xl vcpu-set 1 failed"
	wait_for 60 vcpu_is_offline
	sleep 2
	# It may have more vCPUs than the machine has.
	xl vcpu-set --ignore-host guest 2 || fail "xl vcpu-set 2 failed"
	wait_for 60 vcpu_is_online
	echo "dom0: round $round: vCPU 1 taken away and given back"
	round=$((round + 1))
done
