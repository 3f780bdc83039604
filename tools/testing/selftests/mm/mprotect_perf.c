// SPDX-License-Identifier: GPL-2.0
/*
 * What do mprotect() and its neighbours cost per page table entry?
 *
 * mprotect() is timed by toggling the protection of populated memory. One pte
 * update is one page of one mprotect() call: a toggle of 512 pages from
 * read-only and back is 1024 updates. fork() with the exit of the child,
 * munmap() and madvise(MADV_DONTNEED) are timed per populated page.
 *
 * Each combination of benchmark, case and number of pages is one KTAP result,
 * and prints lines made for machines, one for each metric:
 *
 *   # result bench=mprotect case=anon-4k pages=4096 threads=1
 *	metric=ns_per_pte median=61.88 min=61.59 max=66.34 runs=9	(on one line)
 *
 * Metrics: ns_per_pte, and if perf events can count user and kernel mode,
 * cycles_per_pte and instructions_per_pte. With several threads each one works
 * on a region of its own in the same process. Time runs from the common start
 * until the last thread is done, and is divided by the updates of one thread.
 * So a figure that doesn't change with the number of threads means perfect
 * scaling. Cycles and instructions are divided by the updates of all threads.
 *
 * A combination fails if a system call fails, if a page has lost its contents,
 * or if a protection is not in force when mprotect() has returned.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <linux/perf_event.h>

#include "kselftest.h"
#include "timed_runs.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

#define KIB		1024UL
#define FOLIO_SIZE	(64 * KIB)
#define PMD_ALIGN	(2048 * KIB)	/* keeps the page tables alike everywhere */

#define MAX_PAGES	(16 * KIB * KIB)
#define MAX_SIZES	16
#define MAX_RUNS	1000
#define MAX_THREADS	256

#define WARMUP_PAGES	4096UL

enum metric { NS, CYCLES, INSTRUCTIONS, NR_METRICS };

static const char * const metric_names[NR_METRICS] = {
	[NS]		= "ns_per_pte",
	[CYCLES]	= "cycles_per_pte",
	[INSTRUCTIONS]	= "instructions_per_pte",
};

/* What one combination hands back, in memory shared with the forked child. */
struct outcome {
	int code;			/* KSFT_PASS, KSFT_FAIL, KSFT_SKIP */
	char reason[160];
	char note[160];
	unsigned int runs;
	bool valid[NR_METRICS];
	double value[NR_METRICS][MAX_RUNS];
};

struct thread {
	pthread_t pthread;
	unsigned int id;
	struct region {
		char *reserved;		/* a PROT_NONE mapping around it all */
		size_t reserved_len;
		char *base;
		size_t len;		/* of one piece */
		size_t stride;		/* from one piece to the next */
		unsigned int pieces;
		int memfd;
	} region;
	int perf_fd[NR_METRICS];
	uint64_t start, end;		/* ns */
	uint64_t count[NR_METRICS];
	bool count_valid[NR_METRICS];
	long faults;
	bool failed;
};

struct bench {
	const char *name;
	bool in_pieces;			/* loops over pieces, not over one region */
	bool threads;			/* makes sense with more than one */
	unsigned int updates;		/* per page and loop */
	void (*prepare)(struct thread *t);
	void (*run)(struct thread *t, size_t len, unsigned int loops);
};

/* Which memory, and how it is toggled: the "case" of the output. */
struct variant {
	const char *name;
	int toggle_prot;		/* toggled with PROT_READ | PROT_WRITE */
	bool memfd;
	bool large_folio;
};

static struct {
	const char *bench;
	const char *variant;
	unsigned long pages[MAX_SIZES];
	unsigned int nr_pages;
	unsigned int runs;		/* 0: the default */
	unsigned int threads;
	bool fork;
	int cpu;			/* -1: anywhere */
} opt = { .threads = 1, .fork = true, .cpu = -1 };

static size_t page_size;
static struct outcome *out;

/* The combination at work */
static const struct bench *bench;
static const struct variant *variant;
static unsigned long pages;
static unsigned int loops;
static struct timed_runs runs;
static bool stop;
static pthread_barrier_t barrier;
static struct thread threads[MAX_THREADS];

static __printf(1, 2) void fail(const char *fmt, ...)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int saved_errno = errno;
	va_list args;
	size_t len;

	pthread_mutex_lock(&lock);
	if (out->code == KSFT_PASS) {
		out->code = KSFT_FAIL;
		va_start(args, fmt);
		vsnprintf(out->reason, sizeof(out->reason), fmt, args);
		va_end(args);
		len = strlen(out->reason);
		if (saved_errno)
			snprintf(out->reason + len, sizeof(out->reason) - len,
				 ": %s", strerror(saved_errno));
	}
	pthread_mutex_unlock(&lock);
}

static __printf(2, 3) void thread_fail(struct thread *t, const char *fmt, ...)
{
	char text[128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fail("thread %u: %s", t->id, text);
	t->failed = true;
}

static __printf(1, 2) void skip(const char *fmt, ...)
{
	va_list args;

	out->code = KSFT_SKIP;
	va_start(args, fmt);
	vsnprintf(out->reason, sizeof(out->reason), fmt, args);
	va_end(args);
}

static uint64_t now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static long faults(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) ? 0 :
	       usage.ru_minflt + usage.ru_majflt;
}

/* ---- hardware counters ---- */

static int perf_open(uint64_t config)
{
	struct perf_event_attr attr = {
		.type		= PERF_TYPE_HARDWARE,
		.size		= sizeof(attr),
		.config		= config,
		.disabled	= 1,
		.inherit	= 1,	/* fork: the child's exit counts, too */
		.exclude_hv	= 0,
		.read_format	= PERF_FORMAT_TOTAL_TIME_ENABLED |
				  PERF_FORMAT_TOTAL_TIME_RUNNING,
	};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static void perf_start(struct thread *t)
{
	int i;

	for (i = CYCLES; i < NR_METRICS; i++) {
		if (t->perf_fd[i] < 0)
			continue;
		ioctl(t->perf_fd[i], PERF_EVENT_IOC_RESET, 0);
		ioctl(t->perf_fd[i], PERF_EVENT_IOC_ENABLE, 0);
	}
}

static void perf_stop(struct thread *t)
{
	uint64_t data[3];	/* value, time enabled, time running */
	int i;

	for (i = CYCLES; i < NR_METRICS; i++)
		if (t->perf_fd[i] >= 0)
			ioctl(t->perf_fd[i], PERF_EVENT_IOC_DISABLE, 0);

	for (i = CYCLES; i < NR_METRICS; i++) {
		t->count_valid[i] = false;
		if (t->perf_fd[i] < 0 ||
		    read(t->perf_fd[i], data, sizeof(data)) != sizeof(data))
			continue;
		/* An extrapolated count is not a count. */
		t->count[i] = data[0];
		t->count_valid[i] = data[0] && data[1] == data[2];
	}
}

/* ---- memory ---- */

static char *piece(const struct region *r, unsigned int i)
{
	return r->base + i * r->stride;
}

static bool map_piece(struct thread *t, unsigned int i)
{
	struct region *r = &t->region;
	int flags = MAP_FIXED;
	char *p;

	flags |= variant->memfd ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	p = mmap(piece(r, i), r->len, PROT_READ | PROT_WRITE, flags, r->memfd,
		 variant->memfd ? i * r->len : 0);
	if (p == MAP_FAILED) {
		thread_fail(t, "mmap of %zu bytes", r->len);
		return false;
	}

	/* EINVAL: a kernel without transparent huge pages */
	if (madvise(p, r->len, variant->large_folio ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) &&
	    errno != EINVAL) {
		thread_fail(t, "madvise(MADV_[NO]HUGEPAGE)");
		return false;
	}
	return true;
}

static unsigned long signature(unsigned int i, size_t off)
{
	return (i + 1) * 0x9e3779b9UL ^ off;
}

/* Touch all pages for writing, and leave a signature in each one of them. */
static void populate_piece(struct thread *t, unsigned int i)
{
	struct region *r = &t->region;
	char *p = piece(r, i);
	size_t off;

	/* This saves a page fault per page. Without it, faults come below. */
	madvise(p, r->len, MADV_POPULATE_WRITE);
	for (off = 0; off < r->len; off += page_size)
		*(unsigned long *)(p + off) = signature(i, off);
}

static void check_contents(struct thread *t)
{
	struct region *r = &t->region;
	unsigned int i;
	size_t off;

	for (i = 0; i < r->pieces; i++) {
		for (off = 0; off < r->len; off += page_size) {
			if (*(unsigned long *)(piece(r, i) + off) ==
			    signature(i, off))
				continue;
			errno = 0;
			thread_fail(t, "page %zu has lost its contents",
				    off / page_size);
			return;
		}
	}
}

/* Can the kernel write to this page on our behalf? */
static bool writable(char *page)
{
	/* Keep clear of the signature at the start of the page. */
	return !uname((struct utsname *)(page + page_size / 2));
}

static void check_prot(struct thread *t, bool expected)
{
	struct region *r = &t->region;

	if (writable(r->base) == expected &&
	    writable(r->base + r->len - page_size) == expected)
		return;
	errno = 0;
	thread_fail(t, "memory is %swritable", expected ? "not " : "");
}

static bool setup_region(struct thread *t)
{
	struct region *r = &t->region;
	unsigned int i;
	char *p;

	r->pieces = bench->in_pieces ? loops : 1;
	r->len = pages * page_size;
	/* Leave a page in between, or else the kernel merges the mappings. */
	r->stride = r->len + page_size;
	if (variant->large_folio)
		r->stride = (r->stride + FOLIO_SIZE - 1) & ~(FOLIO_SIZE - 1);
	r->reserved_len = r->pieces * r->stride + 2 * PMD_ALIGN;

	p = mmap(NULL, r->reserved_len, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		thread_fail(t, "mmap of %zu bytes", r->reserved_len);
		return false;
	}
	r->reserved = p;
	r->base = (char *)(((uintptr_t)p + PMD_ALIGN) & ~(PMD_ALIGN - 1));

	r->memfd = -1;
	if (variant->memfd) {
		r->memfd = memfd_create("mprotect_perf", MFD_CLOEXEC);
		if (r->memfd < 0 ||
		    ftruncate(r->memfd, (off_t)r->pieces * r->len)) {
			thread_fail(t, "memfd");
			return false;
		}
	}

	for (i = 0; i < r->pieces; i++) {
		if (!map_piece(t, i))
			return false;
		populate_piece(t, i);
	}
	return true;
}

static void drop_region(struct thread *t)
{
	struct region *r = &t->region;

	if (r->reserved)
		munmap(r->reserved, r->reserved_len);
	if (variant->memfd && r->memfd >= 0)
		close(r->memfd);
	memset(r, 0, sizeof(*r));
	r->memfd = -1;
}

/* ---- the benchmarks ---- */

static void mprotect_run(struct thread *t, size_t len, unsigned int n)
{
	char *p = t->region.base;

	while (n--) {
		if (mprotect(p, len, variant->toggle_prot) ||
		    mprotect(p, len, PROT_READ | PROT_WRITE)) {
			thread_fail(t, "mprotect");
			return;
		}
	}
}

static void munmap_prepare(struct thread *t)
{
	unsigned int i;

	for (i = 0; i < t->region.pieces; i++) {
		if (!map_piece(t, i))
			return;
		populate_piece(t, i);
	}
}

static void munmap_run(struct thread *t, size_t len, unsigned int n)
{
	while (n--) {
		if (munmap(piece(&t->region, n), len)) {
			thread_fail(t, "munmap");
			return;
		}
	}
}

static void populate(struct thread *t)
{
	unsigned int i;

	for (i = 0; i < t->region.pieces; i++)
		populate_piece(t, i);
}

static void madv_dontneed_run(struct thread *t, size_t len, unsigned int n)
{
	while (n--) {
		if (madvise(piece(&t->region, n), len, MADV_DONTNEED)) {
			thread_fail(t, "madvise(MADV_DONTNEED)");
			return;
		}
	}
}

static void fork_run(struct thread *t, size_t len, unsigned int n)
{
	int status;
	pid_t pid;

	while (n--) {
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
			thread_fail(t, "fork");
			return;
		}
	}
}

static const struct bench benches[] = {
	{
		.name = "mprotect", .threads = true, .updates = 2,
		.run = mprotect_run,
	}, {
		/* Prepare by writing: a fork leaves the pages write-protected. */
		.name = "fork", .updates = 1,
		.prepare = populate, .run = fork_run,
	}, {
		.name = "munmap", .threads = true, .updates = 1, .in_pieces = true,
		.prepare = munmap_prepare, .run = munmap_run,
	}, {
		.name = "madv_dontneed", .threads = true, .updates = 1, .in_pieces = true,
		.prepare = populate, .run = madv_dontneed_run,
	},
};

static const struct variant variants[] = {
	{ .name = "anon-4k", .toggle_prot = PROT_READ },
	{ .name = "anon-4k-none", .toggle_prot = PROT_NONE },
	{ .name = "file-shared-dirty", .toggle_prot = PROT_READ, .memfd = true },
	{ .name = "large-folio-64k", .toggle_prot = PROT_READ, .large_folio = true },
};

/* The matrix: what is run unless options choose otherwise. */
static const struct row {
	const char *bench;
	const char *variant;
	unsigned long pages[MAX_SIZES];
} rows[] = {
	{ "mprotect",		"anon-4k",		{ 1, 16, 512, 4096, 65536 } },
	{ "mprotect",		"anon-4k-none",		{ 1, 16, 512, 4096, 65536 } },
	{ "mprotect",		"file-shared-dirty",	{ 1, 16, 512, 4096 } },
	{ "mprotect",		"large-folio-64k",	{ 16, 512, 4096 } },
	{ "fork",		"anon-4k",		{ 512, 4096 } },
	{ "munmap",		"anon-4k",		{ 1, 512, 4096 } },
	{ "madv_dontneed",	"anon-4k",		{ 1, 512, 4096 } },
};

/* ---- one combination ---- */

static bool any_failed(void)
{
	return out->code != KSFT_PASS;
}

static void one_run(struct thread *t)
{
	long before;

	if (bench->prepare && !t->failed)
		bench->prepare(t);

	pthread_barrier_wait(&barrier);
	before = faults();
	t->start = now();
	perf_start(t);
	if (!t->failed)
		bench->run(t, t->region.len, loops);
	perf_stop(t);
	t->end = now();
	t->faults = faults() - before;
	pthread_barrier_wait(&barrier);
}

/* Between two barriers, by the first thread only. */
static void collect(unsigned int run)
{
	unsigned long updates = pages * loops * bench->updates;
	uint64_t start = UINT64_MAX, end = 0;
	long nr_faults = 0;
	unsigned int i;
	int m;

	for (i = 0; i < opt.threads; i++) {
		if (threads[i].start < start)
			start = threads[i].start;
		if (threads[i].end > end)
			end = threads[i].end;
		nr_faults += threads[i].faults;
	}

	out->value[NS][run] = (double)(end - start) / updates;
	out->valid[NS] = true;

	for (m = CYCLES; m < NR_METRICS; m++) {
		double sum = 0;

		for (i = 0; i < opt.threads; i++) {
			if (!threads[i].count_valid[m])
				out->valid[m] = false;
			sum += threads[i].count[m];
		}
		out->value[m][run] = sum / (updates * opt.threads);
	}

	/* fork() itself takes some. */
	if (nr_faults && strcmp(bench->name, "fork"))
		snprintf(out->note, sizeof(out->note),
			 "%ld page faults while run %u was timed", nr_faults, run + 1);
}

static void pin(struct thread *t)
{
	cpu_set_t set;

	if (opt.cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(opt.cpu + t->id, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		thread_fail(t, "pinning to CPU %u", opt.cpu + t->id);
}

static void *worker(void *data)
{
	struct thread *t = data;
	size_t warmup;
	int m;

	pin(t);
	t->perf_fd[CYCLES] = perf_open(PERF_COUNT_HW_CPU_CYCLES);
	t->perf_fd[INSTRUCTIONS] = perf_open(PERF_COUNT_HW_INSTRUCTIONS);

	if (!t->failed)
		setup_region(t);

	if (!t->failed && bench->run == mprotect_run) {
		if (mprotect(t->region.base, t->region.len, variant->toggle_prot))
			thread_fail(t, "mprotect");
		else
			check_prot(t, false);
		if (mprotect(t->region.base, t->region.len, PROT_READ | PROT_WRITE))
			thread_fail(t, "mprotect");
		else
			check_prot(t, true);
	}

	/*
	 * From here on each thread maps memory in its own region only, so
	 * munmap() can leave holes there.
	 */
	pthread_barrier_wait(&barrier);

	/* Warm up, but not at length. */
	warmup = t->region.len;
	if (warmup > WARMUP_PAGES * page_size)
		warmup = WARMUP_PAGES * page_size;
	if (!t->failed)
		bench->run(t, warmup, loops);

	if (!t->id)
		begin_runs(&runs, opt.runs);
	do {
		one_run(t);
		if (!t->id) {
			collect(runs.done);
			stop = !another_run(&runs) || any_failed();
			out->runs = runs.done;
		}
		pthread_barrier_wait(&barrier);
	} while (!stop);

	if (!t->failed && (bench->run == mprotect_run || bench->run == fork_run))
		check_contents(t);
	drop_region(t);
	for (m = CYCLES; m < NR_METRICS; m++)
		if (t->perf_fd[m] >= 0)
			close(t->perf_fd[m]);
	return NULL;
}

static void run_combination(void)
{
	unsigned int i;
	int m, err;

	loops = loops_per_run(pages);
	stop = false;
	for (m = CYCLES; m < NR_METRICS; m++)
		out->valid[m] = true;

	memset(threads, 0, sizeof(threads));
	pthread_barrier_init(&barrier, NULL, opt.threads);
	for (i = 1; i < opt.threads; i++) {
		threads[i].id = i;
		err = pthread_create(&threads[i].pthread, NULL, worker, &threads[i]);
		if (err) {
			/* The others wait at the barrier for ever: give up. */
			errno = err;
			fail("pthread_create");
			if (opt.fork)
				_exit(KSFT_FAIL);
			ksft_exit_fail_perror("pthread_create");
		}
	}
	worker(&threads[0]);
	for (i = 1; i < opt.threads; i++)
		pthread_join(threads[i].pthread, NULL);
	pthread_barrier_destroy(&barrier);
}

/* ---- 64 KiB folios ---- */

#define THP_DIR		"/sys/kernel/mm/transparent_hugepage/"
#define THP_ENABLED	THP_DIR "hugepages-%lukB/enabled"
#define THP_MAX_KIB	(1024 * KIB * KIB)
#define NR_THP_SIZES	32

static struct {
	char path[96];
	char value[16];
} thp_saved[NR_THP_SIZES];

static unsigned int nr_thp_saved;

static bool read_text(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "r");
	bool ok;

	if (!f)
		return false;
	ok = fgets(buf, len, f);
	fclose(f);
	return ok;
}

static bool write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	bool ok;

	if (!f)
		return false;
	ok = fputs(text, f) >= 0;
	return !fclose(f) && ok;
}

static void thp_restore(void)
{
	while (nr_thp_saved) {
		nr_thp_saved--;
		if (!write_text(thp_saved[nr_thp_saved].path,
				thp_saved[nr_thp_saved].value))
			ksft_print_msg("could not set %s back to %s\n",
				       thp_saved[nr_thp_saved].path,
				       thp_saved[nr_thp_saved].value);
	}
}

/* Have 64 KiB folios, and nothing larger, handed out on MADV_HUGEPAGE. */
static bool thp_prepare(void)
{
	char path[96], buf[128], value[16];
	const char *wanted, *p;
	unsigned long kib;

	if (page_size >= FOLIO_SIZE) {
		skip("pages are not smaller than 64 KiB");
		return false;
	}

	for (kib = FOLIO_SIZE / KIB; kib <= THP_MAX_KIB; kib *= 2) {
		wanted = kib == FOLIO_SIZE / KIB ? "madvise" : "never";
		snprintf(path, sizeof(path), THP_ENABLED, kib);
		if (!read_text(path, buf, sizeof(buf))) {
			if (kib != FOLIO_SIZE / KIB)
				continue;
			skip("no 64 KiB folios for anonymous memory in this kernel");
			return false;
		}
		p = strchr(buf, '[');
		if (!p || sscanf(p, "[%15[a-z]]", value) != 1) {
			skip("%s is not understood", path);
			return false;
		}
		if (!strcmp(value, wanted))
			continue;
		if (!write_text(path, wanted)) {
			skip("cannot set %s to %s", path, wanted);
			return false;
		}
		strcpy(thp_saved[nr_thp_saved].path, path);
		strcpy(thp_saved[nr_thp_saved].value, value);
		nr_thp_saved++;
	}
	return true;
}

static long thp_allocated(void)
{
	char buf[32];

	if (!read_text(THP_DIR "hugepages-64kB/stats/anon_fault_alloc",
		       buf, sizeof(buf)))
		return -1;
	return atol(buf);
}

/* ---- the matrix ---- */

static void report(const char *name)
{
	int m;

	for (m = 0; m < NR_METRICS; m++) {
		if (out->code != KSFT_PASS || !out->valid[m] || !out->runs)
			continue;
		print_result(bench->name, variant->name, pages, opt.threads,
			     metric_names[m], out->value[m], out->runs);
	}
	if (out->note[0])
		ksft_print_msg("%s: %s\n", name, out->note);

	switch (out->code) {
	case KSFT_PASS:
		ksft_test_result_pass("%s\n", name);
		break;
	case KSFT_SKIP:
		ksft_test_result_skip("%s: %s\n", name, out->reason);
		break;
	default:
		ksft_print_msg("%s: %s\n", name, out->reason);
		ksft_test_result_fail("%s\n", name);
	}
}

static void run_forked(void)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_combination();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		fail("fork");
		return;
	}
	errno = 0;
	if (WIFSIGNALED(status))
		fail("killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		fail("exit status %d", WEXITSTATUS(status));
}

static void test_combination(void)
{
	char name[96];
	long before;

	snprintf(name, sizeof(name), "%s %s pages=%lu threads=%u",
		 bench->name, variant->name, pages, opt.threads);
	memset(out, 0, sizeof(*out));

	if (opt.threads > 1 && !bench->threads) {
		skip("would copy the memory of all threads");
	} else if (variant->large_folio && pages * page_size % FOLIO_SIZE) {
		skip("not a multiple of 64 KiB");
	} else if (!variant->large_folio || thp_prepare()) {
		before = thp_allocated();
		if (opt.fork)
			run_forked();
		else
			run_combination();
		if (variant->large_folio && out->code == KSFT_PASS &&
		    (before < 0 || thp_allocated() - before <
				   (long)(pages * page_size / FOLIO_SIZE) * opt.threads))
			skip("the memory was not populated with 64 KiB folios");
	}
	thp_restore();
	report(name);
}

static const struct bench *find_bench(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(benches); i++)
		if (!strcmp(benches[i].name, name))
			return &benches[i];
	return NULL;
}

static const struct variant *find_variant(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(variants); i++)
		if (!strcmp(variants[i].name, name))
			return &variants[i];
	return NULL;
}

/* Go through the matrix, as far as it was chosen; with @dry, just count. */
static unsigned int matrix(bool dry)
{
	unsigned int count = 0, i, j;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const unsigned long *sizes = opt.nr_pages ? opt.pages : rows[i].pages;

		if ((opt.bench && strcmp(opt.bench, rows[i].bench)) ||
		    (opt.variant && strcmp(opt.variant, rows[i].variant)))
			continue;
		for (j = 0; j < MAX_SIZES && sizes[j]; j++) {
			count++;
			if (dry)
				continue;
			bench = find_bench(rows[i].bench);
			variant = find_variant(rows[i].variant);
			pages = sizes[j];
			test_combination();
		}
	}
	return count;
}

static void print_usage(FILE *f)
{
	unsigned int i;

	fprintf(f,
		"usage: mprotect_perf [options]\n"
		"  -b bench    only this benchmark\n"
		"  -c case     only this case\n"
		"  -p n[,n]... numbers of pages, in place of each case's own\n"
		"  -n runs     timed runs of each (default: %u, or what fits into %llu ms, at least %u)\n"
		"  -t threads  threads, each with a region of its own (default: 1)\n"
		"  -F 0|1      run each combination in a forked child (default: 1)\n"
		"  -C cpu      pin the first thread to this CPU, the others to those behind\n"
		"  -h          this text\n"
		"benchmarks and their cases:\n",
		DEFAULT_RUNS, DEFAULT_NS / 1000000, MIN_RUNS);
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		fprintf(f, "  %-15s %s\n", rows[i].bench, rows[i].variant);
}

static void __noreturn bad_usage(const char *what, const char *arg)
{
	fprintf(stderr, "mprotect_perf: %s: '%s'\n", what, arg);
	print_usage(stderr);
	exit(KSFT_FAIL);
}

static unsigned long parse_number(const char *arg, const char **rest,
				  unsigned long min, unsigned long max,
				  const char *what)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(arg, &end, 10);
	if (end == arg || (*end && !rest) || errno || *arg == '-' ||
	    value < min || value > max)
		bad_usage(what, arg);
	if (rest)
		*rest = end;
	return value;
}

static void parse_pages(const char *arg)
{
	const char *rest = arg;

	opt.nr_pages = 0;
	for (;;) {
		if (opt.nr_pages == MAX_SIZES)
			bad_usage("too many numbers of pages", arg);
		opt.pages[opt.nr_pages++] = parse_number(rest, &rest, 1, MAX_PAGES,
							 "bad number of pages");
		if (!*rest)
			return;
		if (*rest++ != ',')
			bad_usage("bad number of pages", arg);
	}
}

static void parse_options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "b:c:p:n:t:F:C:h")) != -1) {
		switch (c) {
		case 'b':
			if (!find_bench(optarg))
				bad_usage("no such benchmark", optarg);
			opt.bench = optarg;
			break;
		case 'c':
			if (!find_variant(optarg))
				bad_usage("no such case", optarg);
			opt.variant = optarg;
			break;
		case 'p':
			parse_pages(optarg);
			break;
		case 'n':
			opt.runs = parse_number(optarg, NULL, 1, MAX_RUNS,
						"bad number of runs");
			break;
		case 't':
			opt.threads = parse_number(optarg, NULL, 1, MAX_THREADS,
						   "bad number of threads");
			break;
		case 'F':
			opt.fork = parse_number(optarg, NULL, 0, 1, "neither 0 nor 1");
			break;
		case 'C':
			opt.cpu = parse_number(optarg, NULL, 0,
					       CPU_SETSIZE - MAX_THREADS, "bad CPU");
			break;
		case 'h':
			print_usage(stdout);
			exit(KSFT_PASS);
		default:
			print_usage(stderr);
			exit(KSFT_FAIL);
		}
	}
	if (optind < argc)
		bad_usage("what is this", argv[optind]);
	if (!matrix(true))
		bad_usage("this benchmark has no such case", opt.variant);
}

static void interrupted(int sig)
{
	thp_restore();
	signal(sig, SIG_DFL);
	raise(sig);
}

int main(int argc, char **argv)
{
	int fd;

	parse_options(argc, argv);
	page_size = sysconf(_SC_PAGESIZE);

	ksft_print_header();
	ksft_set_plan(matrix(true));

	out = mmap(NULL, sizeof(*out), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (out == MAP_FAILED)
		ksft_exit_fail_perror("mmap");

	fd = perf_open(PERF_COUNT_HW_CPU_CYCLES);
	if (fd < 0)
		ksft_perror("no cycle counts, perf_event_open");
	else
		close(fd);

	signal(SIGINT, interrupted);
	signal(SIGTERM, interrupted);
	matrix(false);
	ksft_finished();
}
