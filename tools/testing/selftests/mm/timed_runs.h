/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Timed runs of a benchmark that changes pages: how many there are, how much
 * each does, and the line with the result:
 *
 *   # result bench=mprotect case=anon-4k pages=4096 threads=1 metric=ns_per_pte
 *	median=61.88 min=61.59 max=66.34 runs=9		(on one line)
 */
#ifndef _TIMED_RUNS_H
#define _TIMED_RUNS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/*
 * One run works on RUN_PAGES pages. If it has fewer, it repeats what it does,
 * but RUN_LOOPS times at most. The default number of runs is DEFAULT_RUNS, or
 * as many as fit into DEFAULT_NS. Real machines seldom reach that limit, but
 * emulated ones do, such as under qemu -icount. There are MIN_RUNS in any case,
 * so that one interrupt doesn't move the median.
 */
#define RUN_PAGES	1024UL
#define RUN_LOOPS	64UL
#define DEFAULT_RUNS	9
#define MIN_RUNS	3
#define DEFAULT_NS	50000000ULL

struct timed_runs {
	unsigned int wanted;		/* 0: the default */
	unsigned int done;
	uint64_t began;			/* ns */
};

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts)) {
		perror("# clock_gettime");
		exit(1);
	}
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* How often a run repeats what it does to @pages pages. */
static inline unsigned int loops_per_run(unsigned long pages)
{
	unsigned long loops = RUN_PAGES / pages;

	return loops < 1 ? 1 : loops > RUN_LOOPS ? RUN_LOOPS : loops;
}

static inline void begin_runs(struct timed_runs *runs, unsigned int wanted)
{
	runs->wanted = wanted;
	runs->done = 0;
	runs->began = clock_ns(CLOCK_MONOTONIC);
}

/* After each run: is there to be another one? */
static inline bool another_run(struct timed_runs *runs)
{
	runs->done++;
	if (runs->wanted)
		return runs->done < runs->wanted;
	if (runs->done < MIN_RUNS)
		return true;
	return runs->done < DEFAULT_RUNS &&
	       clock_ns(CLOCK_MONOTONIC) - runs->began <= DEFAULT_NS;
}

static inline int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts @values, of which there is one per run. */
static inline void print_result(const char *bench, const char *variant,
				unsigned long pages, unsigned int threads,
				const char *metric, double *values, unsigned int runs)
{
	qsort(values, runs, sizeof(*values), compare_doubles);
	printf("# result bench=%s case=%s pages=%lu threads=%u metric=%s ",
	       bench, variant, pages, threads, metric);
	printf("median=%.2f min=%.2f max=%.2f runs=%u\n",
	       (values[runs / 2] + values[(runs - 1) / 2]) / 2, values[0],
	       values[runs - 1], runs);
}

#endif /* _TIMED_RUNS_H */
