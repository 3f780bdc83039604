// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that live on mprotect(), in small:
 *
 *  gc     The write barrier of a generational garbage collector. The old
 *         generation is write-protected; the first write to a page faults, and
 *         the handler remembers the page and makes it writable. A collection
 *         reads the remembered pages for pointers into the young generation
 *         and protects the old generation again: all of it at once, or only
 *         the pages remembered (gc_runs).
 *  jit    W^X: a code region is made writable, code is emitted, and it is made
 *         executable again, a method at a time.
 *  guard  A debugging allocator: memory is accessible only between alloc and
 *         free.
 *
 * Each checks that its protections did what it relies on. It says what one
 * operation costs, by CLOCK_MONOTONIC:
 *
 *  # result bench=workload case=... pages=... metric=...
 *	median=... min=... max=... runs=...	(on one line)
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"

#define MAX_REPEATS	101

/* What a repetition measured, in ns per operation */
struct metric {
	const char *name;
	double values[MAX_REPEATS];
};

struct workload {
	const char *name;
	unsigned int pages;
	unsigned int ops;	/* writes per collection, methods, allocations */
	bool (*run)(const struct workload *w, struct metric *m, unsigned int n);
	const char *metrics[3];
};

static unsigned int repeats = 9;
static uint64_t seed = 1;

/* The memory of the workload that runs */
static char *heap;
static size_t heap_len;
static size_t page_size;

/* The remembered set: filled in by the handler, in order of the faults */
static unsigned int *remembered;
static bool *is_remembered;
static unsigned int nr_remembered;
static atomic_uint nr_unexpected;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static uint64_t rnd_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static char *heap_page(unsigned int page)
{
	return heap + (size_t)page * page_size;
}

static void protect(void *addr, size_t len, int prot)
{
	if (mprotect(addr, len, prot))
		ksft_exit_fail_perror("mprotect");
}

/* The barrier. The CPU repeats the access once the page is writable. */
static void on_segv(int sig, siginfo_t *info, void *context)
{
	char *addr = info->si_addr;
	unsigned int page;

	if (addr < heap || addr >= heap + heap_len ||
	    info->si_code != SEGV_ACCERR)
		_exit(KSFT_FAIL);
	page = (addr - heap) / page_size;
	if (is_remembered[page])
		atomic_fetch_add(&nr_unexpected, 1);
	is_remembered[page] = true;
	remembered[nr_remembered++ % (heap_len / page_size)] = page;
	if (mprotect(heap_page(page), page_size, PROT_READ | PROT_WRITE))
		_exit(KSFT_FAIL);
}

/* gc */

/*
 * Objects are two words: a link, and the number of times that it was changed.
 * Most writes hit pages that were written lately, as mutators do.
 */
static void mutate(const struct workload *w)
{
	unsigned int recent[8] = {}, i, page;
	uint64_t rnd = seed, *object;

	for (i = 0; i < w->ops; i++) {
		if (i < 8 || rnd_next(&rnd) % 4 == 0)
			recent[i % 8] = rnd_next(&rnd) % w->pages;
		page = recent[rnd_next(&rnd) % (i < 8 ? i + 1 : 8)];
		object = (uint64_t *)heap_page(page);
		object += 2 * (rnd_next(&rnd) % (page_size / 16));
		object[0] = rnd;
		object[1]++;
	}
}

static int by_number(const void *a, const void *b)
{
	const unsigned int *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Returns the number of changes since the last collection; resets them. */
static unsigned int scan_remembered(void)
{
	unsigned int i, k, changes = 0;
	uint64_t *object;

	qsort(remembered, nr_remembered, sizeof(*remembered), by_number);
	for (i = 0; i < nr_remembered; i++) {
		object = (uint64_t *)heap_page(remembered[i]);
		for (k = 0; k < page_size / 16; k++, object += 2) {
			if (!object[1])
				continue;
			changes += object[1];
			object[1] = 0;
		}
		is_remembered[remembered[i]] = false;
	}
	return changes;
}

static void protect_remembered(void)
{
	unsigned int i, n;

	for (i = 0; i < nr_remembered; i += n) {
		for (n = 1; i + n < nr_remembered; n++) {
			if (remembered[i + n] != remembered[i] + n)
				break;
		}
		protect(heap_page(remembered[i]), n * page_size, PROT_READ);
	}
}

/* Every write must be found in a remembered page, or the barrier is leaky. */
static bool run_gc(const struct workload *w, struct metric *m, unsigned int n)
{
	bool runs = !strcmp(w->name, "gc_runs");
	uint64_t t0, t1, t2, t3;
	unsigned int found;

	memset(heap, 0, heap_len);
	protect(heap, heap_len, PROT_READ);

	t0 = now_ns();
	mutate(w);
	t1 = now_ns();
	found = scan_remembered();
	t2 = now_ns();
	if (runs)
		protect_remembered();
	else
		protect(heap, heap_len, PROT_READ);
	t3 = now_ns();

	m[0].values[n] = (double)(t1 - t0) / nr_remembered;
	m[1].values[n] = (double)(t3 - t2) / (runs ? nr_remembered : w->pages);
	m[2].values[n] = t3 - t0;
	nr_remembered = 0;
	protect(heap, heap_len, PROT_READ | PROT_WRITE);

	return found == w->ops;
}

/* jit */

static bool run_jit(const struct workload *w, struct metric *m, unsigned int n)
{
	uint64_t rnd = seed, t0, sum = 0, want = 0;
	size_t pos = 0, len, i;
	unsigned int k;

	protect(heap, heap_len, PROT_READ | PROT_EXEC);
	t0 = now_ns();
	for (k = 0; k < w->ops; k++) {
		len = 64 + rnd_next(&rnd) % 448;
		if (pos + len > heap_len)
			pos = 0;
		protect(heap, heap_len, PROT_READ | PROT_WRITE);
		memset(heap + pos, k, len);
		protect(heap, heap_len, PROT_READ | PROT_EXEC);
		for (i = 0; i < len; i += 64)
			sum += (unsigned char)heap[pos + i];
		want += (k & 255) * ((len + 63) / 64);
		pos += len;
	}
	m[0].values[n] = (double)(now_ns() - t0) / w->ops;
	m[1].values[n] = m[0].values[n] / (2.0 * w->pages);
	protect(heap, heap_len, PROT_READ | PROT_WRITE);

	return sum == want && !nr_remembered;
}

/* guard */

/* Slots are used round robin; one in 64 is written to after its free. */
static bool run_guard(const struct workload *w, struct metric *m, unsigned int n)
{
	unsigned int slots = heap_len / page_size / w->pages, k, caught = 0;
	size_t len = (size_t)w->pages * page_size;
	char *slot;
	uint64_t t0;

	protect(heap, heap_len, PROT_NONE);
	t0 = now_ns();
	for (k = 0; k < w->ops; k++) {
		slot = heap + (k % slots) * len;
		protect(slot, len, PROT_READ | PROT_WRITE);
		*(uint64_t *)slot = k;
		protect(slot, len, PROT_NONE);
	}
	m[0].values[n] = (double)(now_ns() - t0) / w->ops;
	m[1].values[n] = m[0].values[n] / (2.0 * w->pages);

	for (k = 0; k < slots; k += 64, caught++)
		atomic_store((atomic_char *)(heap + k * len), 1);
	caught -= nr_remembered;
	for (k = 0; k < slots; k += 64)
		is_remembered[k * w->pages] = false;
	nr_remembered = 0;
	protect(heap, heap_len, PROT_READ | PROT_WRITE);

	return !caught;
}

static const struct workload workloads[] = {
	{ "gc", 4096, 4096, run_gc,
	  { "ns_per_barrier", "ns_per_page_protected", "ns_per_cycle" } },
	{ "gc", 256, 512, run_gc,
	  { "ns_per_barrier", "ns_per_page_protected", "ns_per_cycle" } },
	{ "gc_runs", 4096, 4096, run_gc,
	  { "ns_per_barrier", "ns_per_page_protected", "ns_per_cycle" } },
	{ "jit", 256, 64, run_jit, { "ns_per_method", "ns_per_page_protected" } },
	{ "jit", 16, 512, run_jit, { "ns_per_method", "ns_per_page_protected" } },
	{ "guard", 1, 4096, run_guard, { "ns_per_alloc", "ns_per_page_protected" } },
	{ "guard", 16, 1024, run_guard, { "ns_per_alloc", "ns_per_page_protected" } },
};

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void report(const struct workload *w, struct metric *m)
{
	qsort(m->values, repeats, sizeof(m->values[0]), by_value);
	printf("# result bench=workload case=%s pages=%u metric=%s ",
	       w->name, w->pages, m->name);
	printf("median=%.2f min=%.2f max=%.2f runs=%u\n",
	       (m->values[repeats / 2] + m->values[(repeats - 1) / 2]) / 2,
	       m->values[0], m->values[repeats - 1], repeats);
}

/* The allocator needs more than one slot. */
static void map_heap(const struct workload *w)
{
	unsigned int pages = w->run == run_guard ? 1024 : w->pages;

	heap_len = (size_t)pages * page_size;
	heap = mmap(NULL, heap_len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (heap == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	madvise(heap, heap_len, MADV_NOHUGEPAGE);
	memset(heap, 0, heap_len);

	remembered = calloc(pages, sizeof(*remembered));
	is_remembered = calloc(pages, sizeof(*is_remembered));
	if (!remembered || !is_remembered)
		ksft_exit_fail_perror("calloc");
}

static void unmap_heap(void)
{
	munmap(heap, heap_len);
	free(remembered);
	free(is_remembered);
}

/* The first repetition is to warm up. */
static void run_workload(const struct workload *w)
{
	struct metric m[3] = {};
	bool ok = true;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(m); i++)
		m[i].name = w->metrics[i];
	map_heap(w);
	ok &= w->run(w, m, 0);
	for (i = 0; i < repeats; i++)
		ok &= w->run(w, m, i);
	unmap_heap();

	ok &= !atomic_load(&nr_unexpected);
	for (i = 0; i < ARRAY_SIZE(m) && m[i].name; i++)
		report(w, &m[i]);
	ksft_test_result(ok, "%s, %u pages\n", w->name, w->pages);
}

static void usage(const char *name)
{
	printf("%s [-r REPEATS] [-S SEED] [-c CASE]\n"
	       "  -r  repetitions, of which the median counts (default %u, at most %u)\n"
	       "  -S  seed of the writes (default %llu)\n"
	       "  -c  only workloads whose name contains this\n",
	       name, repeats, MAX_REPEATS, (unsigned long long)seed);
	exit(KSFT_FAIL);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	const char *only = "";
	unsigned int i, n = 0;
	int o;

	page_size = sysconf(_SC_PAGESIZE);
	while ((o = getopt(argc, argv, "r:S:c:")) != -1) {
		switch (o) {
		case 'r':
			repeats = atoi(optarg);
			break;
		case 'S':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			only = optarg;
			break;
		default:
			usage(argv[0]);
		}
	}
	if (!repeats || repeats > MAX_REPEATS || !seed || optind != argc)
		usage(argv[0]);

	ksft_print_header();
	for (i = 0; i < ARRAY_SIZE(workloads); i++)
		n += !!strstr(workloads[i].name, only);
	ksft_set_plan(n);
	sigaction(SIGSEGV, &sa, NULL);

	for (i = 0; i < ARRAY_SIZE(workloads); i++) {
		if (strstr(workloads[i].name, only))
			run_workload(&workloads[i]);
	}
	ksft_finished();
}
