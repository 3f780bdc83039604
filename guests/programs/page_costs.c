// SPDX-License-Identifier: GPL-2.0
/*
 * Costs beside those that mprotect_perf measures: mprotect() of more kinds of
 * large folios, what programs use in place of mprotect(), mremap(), KSM, NUMA
 * balancing's scan and page faults.
 *
 *   page_costs BENCH CASE PAGES [folder]
 *
 * See rows[] for benchmarks and cases. One update is one page of one change of
 * protection, or of one move: there and back are two. Runs and output are those of
 * mprotect_perf, see timed_runs.h.
 *
 * TRACING_ON in the environment names a file that is to hold 1 while something is
 * timed, else 0. With WAKER=<microseconds> another process preempts this one that
 * often.
 *
 * "# SKIP reason" if the kernel lacks what a case needs; exit status 1 if it
 * has it and something fails.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sysfs.h"
#include "timed_runs.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define RW		(PROT_READ | PROT_WRITE)
#define PMD_LEN		(2UL << 20)
#define PAGE		4096UL
#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define KSM		"/sys/kernel/mm/ksm/"
#define SCHED		"/sys/kernel/debug/sched/numa_balancing/"
#define COMPOUND	(3ULL << 15)	/* head or tail, in /proc/kpageflags */

struct row {
	const char *bench;
	const char *name;
	void (*setup)(size_t len);
	void (*toggle)(size_t len);	/* two updates per page */
	double (*measure)(size_t len);	/* instead of toggle: ns per page */
};

static const char *folder = "/tmp";
static char *mem, *elsewhere;
static int fd = -1, uffd = -1;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("# page_costs: ");
	vprintf(fmt, args);
	printf(": %s\n", strerror(errno));
	va_end(args);
	exit(1);
}

static void __attribute__((noreturn)) skip(const char *reason)
{
	printf("# SKIP %s\n", reason);
	exit(0);
}

static unsigned long get(const char *path)
{
	unsigned long value;

	if (!read_number(path, &value))
		die("%s", path);
	return value;
}

/* Map @len at a multiple of PMD_LEN, with page tables alike everywhere. */
static void map(size_t len, int flags)
{
	char *room = mmap(NULL, len + 2 * PMD_LEN, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		die("mmap");
	mem = (char *)(((uintptr_t)room + PMD_LEN) & ~(PMD_LEN - 1));
	if (mmap(mem, len, RW, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
		die("mmap");
}

/* Write to every page; the values are checked at the end. */
static void touch(size_t len)
{
	size_t i;

	madvise(mem, len, MADV_POPULATE_WRITE);
	for (i = 0; i < len; i += PAGE)
		*(unsigned long *)(mem + i) = i + 1;
}

static void check_contents(size_t len)
{
	size_t i;

	errno = 0;
	for (i = 0; i < len; i += PAGE)
		if (*(unsigned long *)(mem + i) != i + 1)
			die("page %zu has lost its contents", i / PAGE);
}

/* Are all pages parts of large folios? */
static bool compound(size_t len)
{
	int map = open("/proc/self/pagemap", O_RDONLY);
	int flags = open("/proc/kpageflags", O_RDONLY);
	uint64_t entry, bits;
	size_t i;

	if (map < 0 || flags < 0)
		die("pagemap, kpageflags");
	for (i = 0; i < len; i += PAGE) {
		if (pread(map, &entry, 8, (uintptr_t)(mem + i) / PAGE * 8) != 8 ||
		    pread(flags, &bits, 8, (entry & ((1ULL << 55) - 1)) * 8) != 8)
			die("pagemap, kpageflags");
		if (!(bits & COMPOUND))
			break;
	}
	close(map);
	close(flags);
	return i >= len;
}

/* Have PMD-sized mappings replaced with page tables, as a partial change does. */
static void split(size_t len)
{
	size_t i;

	for (i = 0; i < len; i += PMD_LEN)
		if (mprotect(mem + i, PAGE, PROT_READ))
			die("mprotect");
	/* A page table of its own part must be filled before the parts merge again. */
	for (i = 0; i < len; i += PAGE)
		if (i % PMD_LEN)
			*(volatile unsigned long *)(mem + i) = i + 1;
		else
			*(volatile unsigned long *)(mem + i);
	for (i = 0; i < len; i += PMD_LEN)
		if (mprotect(mem + i, PAGE, RW))
			die("mprotect");
	for (i = 0; i < len; i += PMD_LEN)
		*(volatile unsigned long *)(mem + i) = i + 1;
}

static void new_memfd(size_t len)
{
	fd = memfd_create("page_costs", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, len))
		die("memfd");
}

/* ---- cases ---- */

static void anon_thp(size_t len)
{
	if (len % PMD_LEN)
		skip("not a multiple of 2 MiB");
	if (!set(THP "enabled", "madvise"))
		skip("no transparent huge pages in this kernel");
	set(THP "hugepages-2048kB/enabled", "inherit");
	set(THP "khugepaged/scan_sleep_millisecs", "1000000000");
	map(len, MAP_PRIVATE | MAP_ANONYMOUS);
	if (madvise(mem, len, MADV_HUGEPAGE))
		skip("no transparent huge pages in this kernel");
	touch(len);
	if (!compound(len))
		skip("the memory was not populated with huge pages");
}

static void anon_thp_split(size_t len)
{
	anon_thp(len);
	split(len);
}

static void shmem_64k(size_t len)
{
	if (len % 65536)
		skip("not a multiple of 64 KiB");
	if (!set(THP "hugepages-64kB/shmem_enabled", "always"))
		skip("no 64 KiB folios for shared memory in this kernel");
	new_memfd(len);
	map(len, MAP_SHARED);
	touch(len);
	set(THP "hugepages-64kB/shmem_enabled", "never");
	if (!compound(len))
		skip("the memory was not populated with 64 KiB folios");
}

static void shmem_thp_split(size_t len)
{
	if (len % PMD_LEN)
		skip("not a multiple of 2 MiB");
	if (!set(THP "hugepages-2048kB/shmem_enabled", "always"))
		skip("no huge pages for shared memory in this kernel");
	new_memfd(len);
	map(len, MAP_SHARED);
	touch(len);
	set(THP "hugepages-2048kB/shmem_enabled", "never");
	if (!compound(len))
		skip("the memory was not populated with huge pages");
	split(len);
}

/* A file whose page cache has folios as large as what is written at a time. */
static void file_folios(size_t len, size_t chunk)
{
	char path[256], *buffer = calloc(1, chunk);
	size_t i;

	if (len % chunk)
		skip("not a multiple of the folio size");
	snprintf(path, sizeof(path), "%s/page_costs.file", folder);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || !buffer)
		die("%s", path);
	for (i = 0; i < len; i += chunk)
		if (write(fd, buffer, chunk) != (ssize_t)chunk)
			die("write");
	free(buffer);
	map(len, MAP_SHARED);
	touch(len);
	unlink(path);
	if (!compound(len))
		skip("the file system has no large folios in this kernel");
}

static void file_64k(size_t len)
{
	file_folios(len, 65536);
}

static void file_2m(size_t len)
{
	file_folios(len, PMD_LEN);
}

static void file_shared_dirty(size_t len)
{
	new_memfd(len);
	map(len, MAP_SHARED);
	touch(len);
}

static void anon_4k(size_t len)
{
	map(len, MAP_PRIVATE | MAP_ANONYMOUS);
	madvise(mem, len, MADV_NOHUGEPAGE);
	touch(len);
}

/* Memory with room to move to, where its page tables can't be moved as a whole. */
static void anon_4k_movable(size_t len)
{
	char *room = mmap(NULL, len + 2 * PMD_LEN, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		die("mmap");
	elsewhere = (char *)(((uintptr_t)room + PMD_LEN) & ~(PMD_LEN - 1)) + PAGE;
	anon_4k(len);
}

static void uffd_registered(size_t len)
{
	struct uffdio_api api = {
		.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	struct uffdio_register reg = {
		.range.len = len, .mode = UFFDIO_REGISTER_MODE_WP,
	};

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		skip("no userfaultfd write protection in this kernel");
	anon_4k(len);
	reg.range.start = (uintptr_t)mem;
	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("UFFDIO_REGISTER");
}

static void *idle(void *unused)
{
	while (pause() < 0)
		;
	return unused;
}

/* Memory of a process with two threads: what a node has of a single one is not hinted. */
static void anon_4k_threads(size_t len)
{
	pthread_t thread;

	anon_4k(len);
	if (access("/sys/devices/system/node/node1", F_OK) ||
	    !set("/proc/sys/kernel/numa_balancing", "1"))
		skip("no NUMA balancing in this kernel, or a single node");
	if (!set(SCHED "scan_size_mb", "65536") || !set(SCHED "scan_delay_ms", "10") ||
	    !set(SCHED "scan_period_min_ms", "20") || !set(SCHED "scan_period_max_ms", "20"))
		die(SCHED);
	if (pthread_create(&thread, NULL, idle, NULL))
		die("pthread_create");
}

/* ---- what is timed ---- */

static void toggle_mprotect(size_t len)
{
	if (mprotect(mem, len, PROT_READ) || mprotect(mem, len, RW))
		die("mprotect");
}

static void toggle_remap(size_t len)
{
	int flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE;

	if (mmap(mem, len, PROT_READ, flags, fd, 0) == MAP_FAILED ||
	    mmap(mem, len, RW, flags, fd, 0) == MAP_FAILED)
		die("mmap");
}

static void toggle_mremap(size_t len)
{
	if (mremap(mem, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) == MAP_FAILED ||
	    mremap(elsewhere, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, mem) == MAP_FAILED)
		die("mremap");
}

static void protect_uffd(size_t len, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)mem, .len = len },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	if (ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
		die("UFFDIO_WRITEPROTECT");
}

static void toggle_uffd(size_t len)
{
	protect_uffd(len, true);
	protect_uffd(len, false);
}

static pid_t ksmd(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char path[280], name[16];
	pid_t pid = 0;

	while (proc && !pid && (entry = readdir(proc))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(name, sizeof(name), f) && !strcmp(name, "ksmd\n"))
			pid = atoi(entry->d_name);
		fclose(f);
	}
	closedir(proc);
	return pid;
}

/*
 * CPU time of ksmd for three scans (check sums, unstable tree, stable tree) of
 * pages that are alike in pairs. Each scan is one batch, and ksmd sleeps for a
 * second after it: the clock is read while it does.
 */
static double measure_ksm(size_t len)
{
	unsigned long scans, sharing;
	uint64_t start, end;
	clockid_t clock;
	size_t i;

	if (!set(KSM "run", "2"))
		skip("no KSM in this kernel");
	set(KSM "smart_scan", "0");
	set(KSM "pages_to_scan", "10000000");
	set(KSM "sleep_millisecs", "1000");
	if (clock_getcpuclockid(ksmd(), &clock))
		die("ksmd");
	for (i = 0; i < len; i += PAGE)
		*(unsigned long *)(mem + i) = i % (len / 2) + 1;
	if (madvise(mem, len, MADV_MERGEABLE))
		die("MADV_MERGEABLE");
	if (uffd >= 0)
		protect_uffd(len, true);
	scans = get(KSM "full_scans");
	start = clock_ns(clock);
	set(KSM "run", "1");
	for (i = 0; i < 1000 && get(KSM "full_scans") < scans + 3; i++)
		usleep(10000);
	end = clock_ns(clock);
	sharing = get(KSM "pages_sharing");
	if (uffd >= 0)
		protect_uffd(len, false);
	set(KSM "run", "2");
	errno = 0;
	if (sharing != len / PAGE / 2)
		die("%lu of %lu pages merged", sharing, len / PAGE / 2);
	for (i = 0; i < len; i += PAGE)
		*(unsigned long *)(mem + i) = i + 1;
	return (double)(end - start) / (len / PAGE);
}

static double measure_reads(size_t len)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC);
	size_t i;

	for (i = 0; i < len; i += PAGE)
		*(volatile unsigned long *)(mem + i);
	return (double)(clock_ns(CLOCK_MONOTONIC) - start) / (len / PAGE);
}

static double measure_writes(size_t len)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC);
	size_t i;

	for (i = 0; i < len; i += PAGE)
		*(volatile unsigned long *)(mem + i) = i + 1;
	return (double)(clock_ns(CLOCK_MONOTONIC) - start) / (len / PAGE);
}

/* How many ptes the kernel has made NUMA hints. */
static unsigned long hints(void)
{
	FILE *f = fopen("/proc/vmstat", "r");
	unsigned long n = 0;
	char line[80];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "numa_pte_updates %lu", &n) == 1)
			break;
	if (!f)
		die("/proc/vmstat");
	fclose(f);
	return n;
}

/*
 * The kernel scans our memory in our own time, on the way back to user space: it is
 * the longest that we are gone, the faults that follow not counted.
 */
static double measure_numa_scan(size_t len)
{
	uint64_t now, last, longest, until;
	unsigned long before;
	int i;

	for (i = 0; i < 100; i++) {
		measure_writes(len);	/* no hints are left */
		before = hints();
		longest = 0;
		last = clock_ns(CLOCK_MONOTONIC);
		until = last + 50 * 1000 * 1000;
		while (last < until) {
			now = clock_ns(CLOCK_MONOTONIC);
			if (now - last > longest)
				longest = now - last;
			last = now;
		}
		if (hints() - before >= len / PAGE)
			return (double)longest / (len / PAGE);
	}
	errno = 0;
	die("NUMA balancing does not scan");
}

/*
 * The page tables stay for the whole VMA: each run faults pages in, one by one, or
 * all those of a large folio of a file.
 */
static double measure_first_touch(size_t len)
{
	if (madvise(mem, len, MADV_DONTNEED))
		die("MADV_DONTNEED");
	return measure_writes(len);
}

/* Fault-around maps several pages in one fault. */
static double measure_file_reads(size_t len)
{
	if (madvise(mem, len, MADV_DONTNEED))
		die("MADV_DONTNEED");
	return measure_reads(len);
}

/* What the first write to each page of a file costs that is mapped privately and was read. */
static double measure_file_cow(size_t len)
{
	if (mmap(mem, len, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED)
		die("mmap");
	measure_reads(len);
	return measure_writes(len);
}

/* What munmap() of a file costs, each page of which was read. */
static double measure_file_unmap(size_t len, int flags)
{
	char *file = mmap(NULL, len, flags & MAP_SHARED ? RW : PROT_READ, flags, fd, 0);
	uint64_t start;
	size_t i;

	if (file == MAP_FAILED)
		die("mmap");
	for (i = 0; i < len; i += PAGE)
		*(volatile unsigned long *)(file + i);
	start = clock_ns(CLOCK_MONOTONIC);
	if (munmap(file, len))
		die("munmap");
	return (double)(clock_ns(CLOCK_MONOTONIC) - start) / (len / PAGE);
}

static double measure_private_unmap(size_t len)
{
	return measure_file_unmap(len, MAP_PRIVATE);
}

static double measure_shared_unmap(size_t len)
{
	return measure_file_unmap(len, MAP_SHARED);
}

/* What the first write to each page costs that a child shares. */
static double measure_fork_cow(size_t len)
{
	int done[2];
	double ns;
	pid_t pid;
	char c;

	if (pipe(done))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		close(done[1]);
		_exit(read(done[0], &c, 1));
	}
	ns = measure_writes(len);
	close(done[0]);
	close(done[1]);
	if (waitpid(pid, NULL, 0) != pid)
		die("waitpid");
	return ns;
}

static const struct row rows[] = {
	{ "mprotect", "anon-4k", anon_4k, toggle_mprotect, NULL },
	{ "mprotect", "anon-thp-split", anon_thp_split, toggle_mprotect, NULL },
	{ "mprotect", "anon-thp", anon_thp, toggle_mprotect, NULL },
	{ "mprotect", "shmem-64k", shmem_64k, toggle_mprotect, NULL },
	{ "mprotect", "shmem-thp-split", shmem_thp_split, toggle_mprotect, NULL },
	{ "mprotect", "file-64k", file_64k, toggle_mprotect, NULL },
	{ "mprotect", "file-2m", file_2m, toggle_mprotect, NULL },
	{ "remap", "file-shared-dirty", file_shared_dirty, toggle_remap, NULL },
	{ "mremap", "anon-4k", anon_4k_movable, toggle_mremap, NULL },
	{ "uffd_wp", "anon-4k", uffd_registered, toggle_uffd, NULL },
	{ "ksm_merge", "anon-4k", anon_4k, NULL, measure_ksm },
	{ "ksm_merge", "uffd-wp", uffd_registered, NULL, measure_ksm },
	{ "numa_scan", "anon-4k", anon_4k_threads, NULL, measure_numa_scan },
	{ "page_fault", "anon-4k", anon_4k, NULL, measure_first_touch },
	{ "page_fault", "file-read", file_shared_dirty, NULL, measure_file_reads },
	{ "page_fault", "file-64k-write", file_64k, NULL, measure_first_touch },
	{ "page_fault", "cow-file", file_shared_dirty, NULL, measure_file_cow },
	{ "page_fault", "cow-fork", anon_4k, NULL, measure_fork_cow },
	{ "munmap", "file-private", file_shared_dirty, NULL, measure_private_unmap },
	{ "munmap", "file-shared", file_shared_dirty, NULL, measure_shared_unmap },
};

/* Have a process of higher priority run every @us microseconds, until we end. */
static void start_waker(const char *us)
{
	struct timespec interval = { .tv_nsec = strtol(us, NULL, 10) * 1000 };
	const struct sched_param param = { .sched_priority = 1 };
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid)
		return;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || sched_setscheduler(0, SCHED_FIFO, &param))
		die("waker");
	for (;;)
		nanosleep(&interval, NULL);
}

/* Return ns per page of one change of protection, or of one move. */
static double measure_toggle(const struct row *row, size_t len)
{
	unsigned long loops = loops_per_run(len / PAGE), i;
	uint64_t start = clock_ns(CLOCK_MONOTONIC);

	for (i = 0; i < loops; i++)
		row->toggle(len);
	return (double)(clock_ns(CLOCK_MONOTONIC) - start) / (2 * loops * (len / PAGE));
}

static void run(const struct row *row, unsigned long pages)
{
	const char *tracing_on = getenv("TRACING_ON"), *waker = getenv("WAKER");
	size_t len = pages * PAGE;
	struct timed_runs runs;
	double ns[DEFAULT_RUNS];

	if (waker)
		start_waker(waker);
	row->setup(len);
	if (row->toggle)
		row->toggle(len);
	if (tracing_on && !set(tracing_on, "1"))
		die("%s", tracing_on);
	begin_runs(&runs, 0);
	do {
		ns[runs.done] = row->measure ? row->measure(len) : measure_toggle(row, len);
	} while (another_run(&runs));
	if (tracing_on && !set(tracing_on, "0"))
		die("%s", tracing_on);
	check_contents(len);
	print_result(row->bench, row->name, pages, 1, "ns_per_pte", ns, runs.done);
}

int main(int argc, char **argv)
{
	unsigned long pages;
	unsigned int i;
	char *rest;

	if (argc < 4 || argc > 5) {
		fprintf(stderr, "usage: page_costs BENCH CASE PAGES [folder]\n");
		for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			fprintf(stderr, "  %s %s\n", rows[i].bench, rows[i].name);
		return 2;
	}
	if (argc == 5)
		folder = argv[4];
	pages = strtoul(argv[3], &rest, 10);
	if (!pages || *rest || pages > 1UL << 24) {
		fprintf(stderr, "page_costs: bad number of pages '%s'\n", argv[3]);
		return 2;
	}
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!strcmp(rows[i].bench, argv[1]) && !strcmp(rows[i].name, argv[2])) {
			printf("# %s %s %lu\n", argv[1], argv[2], pages);
			run(&rows[i], pages);
			return 0;
		}
	fprintf(stderr, "page_costs: no benchmark '%s %s'\n", argv[1], argv[2]);
	return 2;
}
