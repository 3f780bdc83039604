#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The part of a job that changes the kernel's text while page tables change: it switches the
# function tracer on and off, and loads and unloads "module", while modify_prot_race and
# zap_race run, until each of them ran and the "rounds" are over. Ends with
# "text: <n> times traced, <n> loaded", and fails if the tracer did not see mprotect(),
# munmap() and fork(), or if a race fails. "module" and "tracer" are empty if there is none;
# "seconds", of each case of the races, and "rounds" are set before this.
# shellcheck disable=SC2154

TRACING=/sys/kernel/tracing
FUNCTIONS="mprotect_fixup unmap_vmas copy_page_range"
traced=0
loaded=0

fail()
{
	: > /tmp/enough
	echo "text: $*"
	exit 1
}

race()
{
	while [ ! -e /tmp/enough ]; do
		for program in modify_prot_race zap_race; do
			echo "text: $program begins"
			status=0
			$program -s "$seconds" -d /tmp || status=$?
			[ $status = 0 ] || [ $status = 4 ] || : > /tmp/lost
		done
		: > /tmp/raced
	done
}

# $1: the functions to trace; none for all.
trace_on()
{
	echo "$1" > $TRACING/set_ftrace_filter || fail "cannot choose what is traced"
	echo function > $TRACING/current_tracer || fail "cannot trace functions"
	traced=$((traced + 1))
}

trace_off()
{
	echo nop > $TRACING/current_tracer || fail "cannot end tracing"
}

# Note in /tmp/seen-<function> which of FUNCTIONS were traced.
look()
{
	for function in $FUNCTIONS; do
		[ -e "/tmp/seen-$function" ] || ! grep -q "$function" $TRACING/trace ||
			: > "/tmp/seen-$function"
	done
}

load()
{
	busybox modprobe "$module" || fail "cannot load $module"
	grep -q "^$module " /proc/modules || fail "$module is not loaded"
	loaded=$((loaded + 1))
}

unload()
{
	busybox modprobe -r "$module" || fail "cannot unload $module"
	! grep -q "^$module " /proc/modules || fail "$module is still loaded"
}

[ -z "$tracer" ] || echo 64 > $TRACING/buffer_size_kb || fail "no $TRACING"
[ -z "$module" ] || ! grep -q "^$module " /proc/modules || unload
race &
while [ "$rounds" -gt 0 ] || [ ! -e /tmp/raced ]; do
	[ -z "$tracer" ] || trace_on "$FUNCTIONS"
	[ -z "$module" ] || load
	[ -z "$tracer" ] || look
	[ -z "$tracer" ] || trace_off
	[ -z "$module" ] || unload
	# A module's functions are traced as well, from its first on.
	[ -z "$tracer" ] || trace_on ""
	[ -z "$module" ] || load
	[ -z "$module" ] || unload
	[ -z "$tracer" ] || trace_off
	rounds=$((rounds - 1))
done
: > /tmp/enough
wait
echo "text: $traced times traced, $loaded loaded"
[ ! -e /tmp/lost ] || fail "a race failed"
for function in ${tracer:+$FUNCTIONS}; do
	[ -e "/tmp/seen-$function" ] || fail "the tracer did not see $function()"
done
