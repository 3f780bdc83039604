#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What a kernel of the stick does: it measures, writes that to the stick, and goes on with
# the next kernel. The words stick.<name>=<value> of the kernel's command line say what:
#   uuid      of the stick's partition; nothing else is mounted
#   step      1 to 4 of "everything"; 0: only this one; 5: only the result
#   name      what runs: base-bare, series-bare, base-xen, series-xen
#   minutes   of the race tests, 0: each once     rounds    of the benchmark
# With arguments it does only what these say, for tests/test_stick.py.
all="base-bare series-bare base-xen series-xen"
room=8192	# KiB that the results take at most
stick=${STICK-/stick}
results=$stick/results
tmp=${TMPDIR-/tmp}
# What a result has of the CPU's flags, and of what each run said.
flags="pcid|invpcid|pti|ibt|user_shstk|la57|smap|pku|pdpe1gb|invlpgb|rdtscp|constant_tsc|nonstop_tsc"
flags="$flags|hypervisor"
told="what|KUnit|races|log|kernel|guest|memory|THP|options|rounds"

word()
{
	sed -n "s/.*stick\.$1=\([^ ]*\).*/\1/p" /proc/cmdline
}

# On every console: a screen, and a serial line if there is one.
say()
{
	tr ' ' '\n' < /sys/class/tty/console/active | while read -r tty; do
		echo "$*" > "/dev/$tty"
	done
}

# Nothing can be done: say so, and stay.
stop()
{
	say
	say "error: $*"
	say "The machine can be switched off."
	while :; do sleep 1000; done
}

number()
{
	case $2 in
	'' | *[!0-9]*) stop "$1 is '$2', not a number: write the image anew" ;;
	esac
}

mount_stick()
{
	tries=60
	while ! device=$(busybox findfs "UUID=$uuid" 2> /dev/null); do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] ||
			stop "the stick (partition $uuid) is not found: try another port"
		sleep 1
	done
	mkdir -p "$stick"
	mount -t vfat -o noatime "$device" "$stick" || stop "$device can't be mounted"
	[ -f "$stick/grub/grubenv" ] || stop "$device is not the stick"
	if ! mkdir -p "$results" || ! : > "$stick/test" || ! rm "$stick/test"; then
		stop "the stick can't be written to: is it write-protected?"
	fi
	free=$(df -k "$stick" | awk 'NR > 1 { n = $(NF - 2) } END { print n }')
	[ "$free" -gt "$room" ] ||
		stop "the stick has $free KiB of room, results need $room: delete something"
}

# What GRUB does next: the file keeps its size and place.
next()
{
	awk -v step="$1" -v minutes="$minutes" -v rounds="$rounds" 'BEGIN {
		text = "# GRUB Environment Block\nstep=" step "\nrunning=\nminutes=" minutes \
		       "\nrounds=" rounds "\n"
		while (length(text) < 1024)
			text = text "#"
		printf "%s", text
	}' | dd of="$stick/grub/grubenv" conv=notrunc 2> /dev/null
	sync
}

first_line()
{
	head -n 1 "$1" 2> /dev/null
}

# The identity of one machine is left out: no serial number, no address.
facts()
{
	dmi=/sys/class/dmi/id
	echo "# machine:   $(first_line $dmi/sys_vendor) $(first_line $dmi/product_name)"
	echo "# cpu:       $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
	echo "# family:    $(awk -F '[ \t]*: ' '$1 ~ /^(cpu family|model|stepping)$/ { print $2 }' \
		/proc/cpuinfo | head -n 3 | tr '\n' ' ')(family, model, stepping)"
	echo "# microcode: $(sed -n 's/^microcode[^:]*: //p' /proc/cpuinfo | head -n 1)"
	echo "# flags:     $(sed -n 's/^flags[^:]*: //p' /proc/cpuinfo | head -n 1 | tr ' ' '\n' |
		grep -xE "$flags" | tr '\n' ' ')"
	echo "# firmware:  $([ -d /sys/firmware/efi ] && echo UEFI || echo BIOS)," \
	     "$(first_line $dmi/bios_vendor) $(first_line $dmi/bios_version)" \
	     "$(first_line $dmi/bios_date)"
	echo "# clock:     $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
	for file in /sys/devices/system/cpu/vulnerabilities/*; do
		echo "# $(basename "$file"): $(cat "$file")"
	done
}

# The suites ran at boot.
kunit()
{
	dmesg | sed 's/^\[[^]]*\] //' > "$tmp/dmesg"
	# A suite of one case has no totals.
	awk '/^# Totals: pass:/ {
		split($0, f, /[: ]+/)
		pass += f[4]; fail += f[6]; skip += f[8]; counted = 1
	}
	/^(not )?ok [0-9]+ / {
		if (!counted && / # SKIP/)
			skip++
		else if (!counted && /^not/)
			fail++
		else if (!counted)
			pass++
		counted = 0
	}
	END { printf "# KUnit:     %d passed, %d failed, %d skipped\n", pass, fail, skip
	}' "$tmp/dmesg"
	sed -n 's/^ *not ok [0-9]* /# KUnit, not ok: /p' "$tmp/dmesg"
	grep -E 'WARNING: |BUG: |Call Trace:|Oops' "$tmp/dmesg" | head -n 20 | sed 's/^/# log:       /'
}

# A disk in memory, and swap there: no disk of the machine is touched.
ram_disks()
{
	mkswap /dev/ram0 > /dev/null && swapon /dev/ram0
	mke2fs /dev/ram1 > /dev/null 2>&1 && mkdir -p /disk && mount -t ext4 /dev/ram1 /disk
}

# "not ok" is a bit that got lost, or a write, or a fault.
races()
{
	end=$(($(date +%s) + minutes * 60))
	runs=0
	: > /tmp/races
	while [ "$runs" = 0 ] || [ "$(date +%s)" -lt "$end" ]; do
		for race in modify_prot_race zap_race; do
			seed=
			[ "$race" = zap_race ] || seed="-S $((runs + 1))"
			# shellcheck disable=SC2086	# two words
			/bin/$race -d /disk $seed > /tmp/race 2>&1
			status=$?
			sed "s/^/$race: /" /tmp/race >> /tmp/races
			case $status in
			0 | 4) ;;
			*) grep -q '^not ok' /tmp/race ||
				echo "$race: not ok: status $status" >> /tmp/races ;;
			esac
		done
		runs=$((runs + 1))
		say "  races: run $runs, lost bits: $(grep -c ': not ok' /tmp/races)"
	done
	awk -v runs=$runs '
	/^[a-z_]+: ok .*# SKIP/ { skip++; next }
	/^[a-z_]+: ok / { ok++ }
	/^[a-z_]+: not ok/ { lost++ }
	END { printf "# races:     %d runs, %d passed, %d lost bits, %d skipped\n", runs, ok,
		     lost, skip
	}' /tmp/races
	grep ': not ok' /tmp/races | head -n 20 | sed 's/^/# races, /'
	sed -n 's/^\([a-z_]*: \)ok [0-9]* \(.* # SKIP.*\)/# races, \1\2/p' /tmp/races | sort -u
}

benchmark()
{
	mkdir -p /tmp/run
	cd /tmp/run || return
	PROGRAMS="mprotect_perf mprotect_workload mprotect_tsc everyday hypercalls" RACES=0 \
	RUNS=1 sh /bin/run.sh "$rounds" 2>&1 > /dev/null | while read -r line; do
		say "  benchmark: $line"
	done
	cat result-*.txt
}

measure()
{
	rm -f "$results/$name.txt" "$results/$name.log"
	ram_disks
	{
		echo "# what:      $name"
		facts
		of=
		[ "$step" = 0 ] || of=" ($step of 4)"
		say "$name$of: KUnit"
		kunit | tee /tmp/kunit
		say "  $(sed -n 's/^# KUnit: *//p' /tmp/kunit)"
		say "$name$of: races, $minutes minutes"
		races
		say "$name$of: benchmark, $rounds rounds"
		benchmark
	} > "$results/$name.new" 2> /tmp/errors
	cp "$tmp/dmesg" "$results/$name.log"
	mv "$results/$name.new" "$results/$name.txt" || stop "the stick can't be written to"
	sync
}

# Base against series, of the rows that both have.
table()
{
	awk '
	/^#/ || $1 == "guest" || NF != 8 { next }
	{ key = sprintf("%-9s %-18s %7s %-23s", $2, $3, $4, $5) }
	FNR == NR { base[key] = $6; low[key] = $7; high[key] = $8; next }
	key in base {
		if (!rows++)
			printf "%-9s %-18s %7s %-23s %11s %11s %11s %11s %11s %11s %6s\n",
			       "bench", "case", "pages", "metric", "base", "least", "most",
			       "series", "least", "most", "ratio"
		ratio = base[key] > 0 ? sprintf("%.3f", $6 / base[key]) : "-"
		# One round has no range.
		rounds = low[key] != high[key] || $7 != $8
		star = rounds && ($8 < low[key] + 0 || $7 > high[key] + 0) ? " *" : ""
		printf "%s %11s %11s %11s %11s %11s %11s %6s%s\n", key, base[key], low[key],
		       high[key], $6, $7, $8, ratio, star
	}' "$results/base-$1.txt" "$results/series-$1.txt"
}

# One file of all that is there.
report()
{
	{
		echo "modify-prot: what the series does on one machine"
		echo "Mail: reply to the cover letter of the series, to its author and to"
		echo "Mail: linux-mm@kvack.org, and attach this file (as plain text, not compressed:"
		echo "Mail: mail programs break its long lines if it is not attached)."
		have=
		for one in $all; do
			[ ! -f "$results/$one.txt" ] || {
				awk '/^# KUnit/ { exit } NR > 1' "$results/$one.txt"
				have=1
				break
			}
		done
		[ -n "$have" ] || facts
		for one in $all; do
			echo
			if [ -f "$results/$one.txt" ]; then
				grep -E "^# ($told|[a-z_]+: (not ok|status))" "$results/$one.txt"
			else
				echo "# what:      $one"
				echo "# no result: it did not run, or crashed, hung or was switched off"
			fi
		done
		for place in bare xen; do
			if [ -f "$results/base-$place.txt" ] && [ -f "$results/series-$place.txt" ]; then
				echo
				echo "== $place: base against series, least and most of the rounds;" \
				     "* they don't overlap"
				table $place
			fi
		done
	} > "$stick/RESULT.new"
	mv "$stick/RESULT.new" "$stick/RESULT.TXT"
	sync
}

# What fits on a screen of 80 by 25.
short()
{
	awk '
	function short(value) { return value < 1000000 ? value : sprintf("%.2fM", value / 1000000) }
	BEGIN { line = "%-5s%-9s%-9s%5s %-20s%10s%10s%7s%s\n"
		printf line, "", "", "", "pages", "", "base", "series", "ratio", "" }
	/^== / { place = $2; sub(":", "", place) }
	NF < 11 || $4 ~ /^(cycles|instructions)/ { next }
	$1 == "mprotect" && $2 == "anon-4k" && $3 == 4096 ||
	($1 == "fork" || $1 == "munmap") && $3 == 512 && $4 ~ /^ns/ || $1 == "everyday" {
		star = NF > 11 ? " *" : ""
		printf line, place, $1, $2, $3, $4, short($5), short($8), $11, star
	}' "$stick/RESULT.TXT"
}

screen()
{
	clear=$(printf '\033[2J\033[H')
	say "${clear}modify-prot: $(sed -n 's/^# cpu: *//p' "$stick/RESULT.TXT" | cut -c 1-60)"
	for one in $all; do
		found=$(sed -n 's/^# KUnit: */KUnit: /p; s/^# races: *[0-9]* runs, /; races: /p' \
			"$results/$one.txt" 2> /dev/null | tr -d '\n' | sed 's/, [0-9]* skipped//g')
		say "$(printf %-12s "$one")${found:-no result}"
	done
	short > /tmp/short
	while IFS= read -r line; do say "$line"; done < /tmp/short
	say "complete: RESULT.TXT on the stick has all of it, and says where to mail it."
	say "Enter switches the machine off."
}

if [ $# -gt 0 ]; then
	"$@"
	exit
fi
uuid=$(word uuid)
step=$(word step)
name=$(word name)
minutes=$(word minutes)
rounds=$(word rounds)
dmesg -n 1
number minutes "$minutes"
number rounds "$rounds"
mount_stick
[ "$step" != 1 ] || rm -f "$results"/*
[ "$step" = 5 ] || measure
if [ "$step" = 0 ] || [ "$step" -ge 4 ]; then
	report
	screen
	next ""
	umount "$stick"
	read -r _ < /dev/console
	exit 0
fi
next $((step + 1))
umount "$stick"
say "$name: done. The machine boots again, and goes on by itself."
sleep 3
busybox reboot -f
