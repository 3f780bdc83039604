/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For "gcc -include": what a program takes for nanoseconds are ticks of the TSC, read by
 * itself and not by the kernel.
 */
#ifndef TSC_CLOCK_H
#define TSC_CLOCK_H

#define _GNU_SOURCE
#include <time.h>
#include <x86intrin.h>

static inline int tsc_gettime(clockid_t clock, struct timespec *ts)
{
	unsigned long long ticks;

	(void)clock;
	_mm_lfence();
	ticks = __rdtsc();
	ts->tv_sec = ticks / 1000000000;
	ts->tv_nsec = ticks % 1000000000;
	return 0;
}
#define clock_gettime tsc_gettime

#endif /* TSC_CLOCK_H */
