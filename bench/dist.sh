#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What changes of page protections cost on this machine, by its own timers.
#
#   ./run.sh [ROUNDS]              measure (default 5 rounds, a few minutes), print a
#                                  table; keeps it as result-<kernel>-<guest>.txt
#   ./run.sh compare BEFORE AFTER  two such files beside each other
#
# Run it on the kernel without the series, boot the one with it, run it again,
# compare, and mail all three outputs. Needs no root and installs nothing. The
# machine should be idle; in a VM, its host too. Programs: mprotect_perf (one
# operation), mprotect_workload (in small, programs that live on mprotect), and
# modify_prot_race (that no access is lost: "not ok" there is a bug, please report).
set -eu

here=$(dirname "$0")
programs=${PROGRAMS-"mprotect_perf mprotect_workload"}
options='^(mitigations|spectre|pti|nopti|retbleed|transparent_hugepage|xen|dom0|kvm|idle|nosmt|isolcpus|nohz)'

die()
{
	echo "error: $*" >&2
	exit 2
}

# What this kernel runs on, in one word.
guest()
{
	if grep -qs control_d /proc/xen/capabilities; then
		echo xen-dom0
	elif [ "$(cat /sys/hypervisor/type 2>/dev/null)" = xen ]; then
		echo "xen-$(tr '[:upper:]' '[:lower:]' < /sys/hypervisor/guest_type 2>/dev/null || echo guest)"
	elif grep -q '^flags.* hypervisor' /proc/cpuinfo; then
		echo vm
	else
		echo bare
	fi
}

facts()
{
	echo "# kernel:  $(uname -r) $(uname -v)"
	echo "# guest:   $guest"
	echo "# cpu:     $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) online"
	echo "# memory:  $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
	echo "# THP:     $(cat /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || echo none)"
	# Of the command line only what matters here.
	echo "# options: $(tr ' ' '\n' < /proc/cmdline | grep -E "$options" | tr '\n' ' ')"
	echo "# rounds:  $rounds"
}

# Run a program; take its figures, its lines that match $2, and a bad exit status
# (4 is "skipped").
measure()
{
	status=0
	"$here/$1" > "$raw.one" || status=$?
	grep '^# result ' "$raw.one" >> "$raw" || true
	grep -E "$2" "$raw.one" | sed "s/^/# $1: /" >> "$result.new" || true
	[ "$status" = 0 ] || [ "$status" = 4 ] || echo "# $1: status $status" >> "$result.new"
}

# From lines "# result key=value ...": one row per figure, with median and range
# over the rounds.
summary()
{
	awk -v guest="$guest" '
	/^# result / {
		delete f
		for (i = 3; i <= NF; i++) {
			split($i, pair, "=")
			f[pair[1]] = pair[2]
		}
		key = sprintf("%-10s %-18s %-18s %7s  %-22s", guest, f["bench"], f["case"], f["pages"], f["metric"])
		if (!(key in n))
			keys[++nr] = key
		v[key, ++n[key]] = f["median"] + 0
	}
	END {
		printf "%-10s %-18s %-18s %7s  %-22s %11s %11s %11s\n",
			"guest", "bench", "case", "pages", "metric", "median", "min", "max"
		for (k = 1; k <= nr; k++) {
			key = keys[k]
			for (i = 2; i <= n[key]; i++)
				for (j = i; j > 1 && v[key, j] < v[key, j - 1]; j--) {
					t = v[key, j]; v[key, j] = v[key, j - 1]; v[key, j - 1] = t
				}
			printf "%s %11.2f %11.2f %11.2f\n", key, v[key, int((n[key] + 1) / 2)],
				v[key, 1], v[key, n[key]]
		}
		if (!nr)
			exit 1
	}'
}

# Rows of two results side by side; a star where their ranges do not overlap.
compare()
{
	awk '
	/^#/ || $1 == "guest" { next }
	NF == 8 {
		key = sprintf("%-18s %-18s %7s  %-22s", $2, $3, $4, $5)
		if (FNR == NR) {
			before[key] = $6; low[key] = $7; high[key] = $8
		} else if (key in before) {
			if (!rows++)
				printf "%-18s %-18s %7s  %-22s %11s %11s %8s\n",
					"bench", "case", "pages", "metric", "before", "after", "ratio"
			star = $8 < low[key] || $7 > high[key] ? " *" : ""
			ratio = before[key] > 0 ? sprintf("%.3f", $6 / before[key]) : "-"
			printf "%s %11.2f %11.2f %8s%s\n", key, before[key], $6, ratio, star
		}
	}
	END {
		if (!rows)
			exit 1
		print "# * the ranges over the rounds do not overlap"
	}' "$1" "$2" || die "$1 and $2 have no row in common"
}

if [ "${1-}" = compare ]; then
	[ $# = 3 ] || die "usage: $0 compare BEFORE AFTER"
	for file in "$2" "$3"; do
		[ -r "$file" ] || die "cannot read $file"
	done
	compare "$2" "$3"
	exit 0
fi

rounds=${1-5}
case $rounds in
'' | *[!0-9]* | 0*) die "unknown argument '$rounds': known are a number of rounds, and compare" ;;
esac
guest=$(guest)
result=result-$(uname -r)-$guest.txt
raw=$(mktemp)
trap 'rm -f "$raw" "$raw.one" "$result.new"' EXIT
trap 'exit 130' INT TERM

facts > "$result.new"
round=1
while [ "$round" -le "$rounds" ]; do
	echo "round $round of $rounds" >&2
	for program in $programs; do
		measure "$program" '^not ok'
	done
	round=$((round + 1))
done
if [ "${RACES-1}" = 1 ]; then
	echo "races" >&2
	measure modify_prot_race '^(not )?ok'
fi
summary < "$raw" >> "$result.new" || die "the benchmark printed no result"
mv "$result.new" "$result"
cat "$result"
echo "kept as $result" >&2
if grep -qE '^# .*: (not ok|status)' "$result"; then
	exit 1
fi
