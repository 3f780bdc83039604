// SPDX-License-Identifier: GPL-2.0
/*
 * torture: random changes of protections and mappings against a model of what
 * memory must hold and which accesses must fault.
 *
 * Each process owns a range of pages and does what its random numbers say:
 * mprotect, pkey_mprotect, madvise, mremap, fork, soft-dirty, userfaultfd with
 * PAGEMAP_SCAN, KSM, reclaim, reads and writes. It checks some pages after each
 * step, and all of them from time to time:
 *
 *  - an access faults if and only if protection or key forbid it;
 *  - a page holds what was written last, or zeroes, in parent and child;
 *  - a page that was written since the last clearing is soft-dirty, and
 *    PAGEMAP_SCAN reports it as written. (It may report more pages, and more may
 *    be soft-dirty: both work by ranges.)
 *
 * With -f, the kernel's allocations on behalf of these processes fail now and
 * then (CONFIG_FAULT_INJECTION; debugfs says how often). A call that fails for
 * lack of memory is then repeated.
 *
 * A process's steps depend on nothing but the seed and its number. So a seed that
 * fails fails again, unless timing (KSM, reclaim) matters.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/userfaultfd.h>

#define PAGE		4096UL
#define PAGES		640U		/* more than one page table maps */
#define WORDS		(PAGE / sizeof(uint64_t))
#define TAGS		8		/* few contents, so that KSM finds some to merge */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#define SOFT_DIRTY	(1ULL << 55)

struct page {
	uint64_t tag;		/* of its contents, 0 for zeroes */
	int prot;
	bool locked_out;	/* has the key that is denied */
	bool dirtied;		/* since soft-dirty was cleared */
	bool mergeable, was_mergeable;	/* the latter since soft-dirty was cleared */
	bool written;		/* since the last PAGEMAP_SCAN */
	struct {
		const char *what;
		uint64_t step;
	} past[8];		/* what was done to it, a ring */
	unsigned int next;
};

static struct page model[PAGES];
static char *area, *elsewhere;
static uint64_t rng, seed = 1, steps, faults, skipped;
static unsigned int number, seconds = 10, processes = 4;
static bool ksm = true, starve;
static int pagemap = -1, clear_refs = -1, make_it_fail = -1, uffd = -1, pkey = -1;
static bool soft_dirty;
static uint64_t refusals;	/* for lack of memory */
static sigjmp_buf escape;
static volatile bool expecting;	/* a fault is possible here */

static void fail(const char *fmt, ...)
{
	va_list args;

	printf("torture: FAILED: seed %llu process %u step %llu: ", (unsigned long long)seed,
	       number, (unsigned long long)steps);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

/* Return whether a call has failed for lack of memory and is to be repeated. */
static bool again(long result)
{
	if (result != -1 || !starve || (errno != ENOMEM && errno != EAGAIN && errno != EFAULT))
		return false;
	refusals++;
	return true;
}

/* Repeat a call for as long as it fails for lack of memory, even half-way. */
#define TRY(call)						\
({								\
	long result_;						\
								\
	do							\
		result_ = (long)(call);				\
	while (again(result_));					\
	result_;						\
})

/*
 * Copy the pages of the stack that fork() has made shared. If a signal's frame
 * can't be written because its page can't be copied, the process is killed. The
 * kernel repeats a write from here.
 */
static void own_stack(void)
{
	volatile char room[64 * 1024];
	size_t i;

	for (i = 0; i < sizeof(room); i += PAGE)
		room[i] = 0;
}

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % below;
}

/* Remember that @what was done to pages, for the message of a failure. */
static void note(unsigned int i, unsigned int nr, const char *what)
{
	for (; nr--; i++) {
		struct page *p = &model[i];

		p->past[p->next % 8].what = what;
		p->past[p->next++ % 8].step = steps;
	}
}

static void print_past(unsigned int i)
{
	struct page *p = &model[i];
	unsigned int n;

	printf("torture: process %u page %u:", number, i);
	for (n = p->next < 8 ? 0 : p->next - 8; n < p->next; n++)
		printf(" %s@%llu", p->past[n % 8].what, (unsigned long long)p->past[n % 8].step);
	printf("\n");
}

static char *at(unsigned int i)
{
	return area + i * PAGE;
}

static void on_segv(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (!expecting)
		fail("spurious fault at page %ld", ((char *)info->si_addr - area) / (long)PAGE);
	expecting = false;
	siglongjmp(escape, 1);
}

/* Return what a page with @tag holds in word @w; two tags differ in all words. */
static uint64_t word(uint64_t tag, unsigned int w)
{
	return tag ? tag * 0x9e3779b97f4a7c15ULL + w : 0;
}

/* Read *@p into *@value, or write *@value to *@p; return false if that faults. */
static bool try_access(volatile uint64_t *p, uint64_t *value, bool write)
{
	if (sigsetjmp(escape, 1)) {
		faults++;
		return false;
	}
	expecting = true;
	if (write)
		*p = *value;
	else
		*value = *p;
	expecting = false;
	return true;
}

static void check_page(unsigned int i, char *p)
{
	static const unsigned int words[] = { 0, 1, WORDS / 2, WORDS - 1 };
	bool readable = (model[i].prot & PROT_READ) && !model[i].locked_out;
	uint64_t value, want;
	unsigned int w;

	for (w = 0; w < sizeof(words) / sizeof(*words); w++) {
		bool did = try_access((uint64_t *)p + words[w], &value, false);

		if (did != readable)
			fail("page %u, prot %d: read %s", i, model[i].prot,
			     did ? "went through" : "faulted");
		if (!did)
			return;
		want = word(model[i].tag, words[w]);
		if (value != want)
			fail("page %u word %u is %llx, not %llx", i, words[w],
			     (unsigned long long)value, (unsigned long long)want);
	}
}

static void write_page(unsigned int i)
{
	bool writable = (model[i].prot & PROT_WRITE) && !model[i].locked_out;
	uint64_t tag = 1 + rnd(TAGS), first = word(tag, 0);
	uint64_t *p = (uint64_t *)at(i);
	unsigned int w;
	bool did = try_access(p, &first, true);

	if (did != writable)
		fail("page %u, prot %d: write %s", i, model[i].prot,
		     did ? "went through" : "faulted");
	if (!did)
		return;
	for (w = 1; w < WORDS; w++)
		p[w] = word(tag, w);
	model[i].tag = tag;
	model[i].dirtied = model[i].written = true;
	note(i, 1, "write");
}

static void check_all(void)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		check_page(i, at(i));
}

/* Return the first of *@nr random pages: mostly a few, sometimes of two page tables. */
static unsigned int run_at(unsigned int *nr)
{
	unsigned int i = rnd(PAGES);

	*nr = 1 + rnd(rnd(4) ? 16 : PAGES);
	if (*nr > PAGES - i)
		*nr = PAGES - i;
	return i;
}

static void track_writes(char *p, unsigned int nr)
{
	struct uffdio_register reg = {
		.range = { (unsigned long)p, nr * PAGE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	if (uffd >= 0 && TRY(ioctl(uffd, UFFDIO_REGISTER, &reg)))
		fail("UFFDIO_REGISTER: %s", strerror(errno));
}

/* The steps. None fails for lack of memory, unless allocations are made to fail. */

static void step_mprotect(void)
{
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
				     PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC };
	int prot = prots[rnd(sizeof(prots) / sizeof(*prots))];
	unsigned int nr, i = run_at(&nr);

	if (TRY(mprotect(at(i), nr * PAGE, prot)))
		fail("mprotect: %s", strerror(errno));
	note(i, nr, prot & PROT_WRITE ? "rw" : prot ? "ro" : "none");
	while (nr--)
		model[i++].prot = prot;
}

static void step_pkey(void)
{
	bool lock = rnd(2);
	unsigned int nr, i = run_at(&nr);

	if (pkey < 0) {
		skipped++;
		return;
	}
	if (TRY(syscall(SYS_pkey_mprotect, at(i), nr * PAGE, PROT_READ | PROT_WRITE, lock ? pkey : 0)))
		fail("pkey_mprotect: %s", strerror(errno));
	note(i, nr, "pkey");
	while (nr--) {
		model[i].prot = PROT_READ | PROT_WRITE;
		model[i++].locked_out = lock;
	}
}

static void step_dontneed(void)
{
	unsigned int nr, i = run_at(&nr);

	if (TRY(madvise(at(i), nr * PAGE, MADV_DONTNEED)))
		fail("MADV_DONTNEED: %s", strerror(errno));
	note(i, nr, "dontneed");
	/* A page that is no longer there need not be reported. */
	for (; nr--; i++) {
		model[i].tag = 0;
		model[i].dirtied = model[i].written = false;
	}
}

static void step_advice(void)
{
	static const struct {
		int advice;
		const char *name;
	} advice[] = {
		{ MADV_MERGEABLE, "mergeable" }, { MADV_UNMERGEABLE, "unmergeable" },
		{ MADV_HUGEPAGE, "hugepage" }, { MADV_NOHUGEPAGE, "nohugepage" },
		{ MADV_COLD, "cold" }, { MADV_PAGEOUT, "pageout" }, { MADV_COLLAPSE, "collapse" },
	};
	unsigned int nr, i = run_at(&nr), pick = rnd(sizeof(advice) / sizeof(*advice));

	bool done = !madvise(at(i), nr * PAGE, advice[pick].advice);

	/* The kernel refuses what it can't do, or can't do here. */
	if (done)
		note(i, nr, advice[pick].name);
	else
		skipped++;
	for (; nr--; i++) {
		if (advice[pick].advice == MADV_MERGEABLE)
			model[i].mergeable = model[i].was_mergeable = true;
		if (advice[pick].advice == MADV_UNMERGEABLE && done)
			model[i].mergeable = false;
	}
}

static void step_mremap(void)
{
	unsigned int i = rnd(PAGES);
	char *p = (char *)TRY(mremap(at(i), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere));

	if (p == MAP_FAILED)
		fail("mremap: %s", strerror(errno));
	check_page(i, p);
	if ((char *)TRY(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(i))) != at(i))
		fail("mremap back: %s", strerror(errno));
	if ((char *)TRY(mmap(elsewhere, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			     -1, 0)) != elsewhere)
		fail("mmap: %s", strerror(errno));
	note(i, 1, "mremap");
	/* A page that moves leaves the userfaultfd. */
	track_writes(at(i), 1);
}

/* Call this while allocations don't fail: /proc returns ENOENT for lack of memory. */
static void open_make_it_fail(void)
{
	if (!starve)
		return;
	close(make_it_fail);	/* the parent's */
	make_it_fail = open("/proc/self/make-it-fail", O_WRONLY);
	if (make_it_fail < 0)
		fail("make-it-fail: %s", strerror(errno));
}

/* Make allocations of this process, and of its children, fail or not. */
static void set_starving(bool on)
{
	if (starve && TRY(pwrite(make_it_fail, on ? "1" : "0", 1, 0)) != 1)
		fail("make-it-fail: %s", strerror(errno));
}

static void step_fork(void)
{
	unsigned int n;
	int status;
	pid_t child;

	/* The kernel warns if it can't allocate a task's stack. */
	set_starving(false);
	child = fork();
	if (child < 0)
		fail("fork: %s", strerror(errno));
	own_stack();
	if (!child) {
		uffd = -1;	/* the child's memory is not registered */
		open_make_it_fail();
		set_starving(true);
		check_all();
		for (n = 0; n < 40; n++)
			write_page(rnd(PAGES));
		step_mprotect();
		check_all();
		_exit(0);
	}
	set_starving(true);
	for (n = 0; n < 40; n++)
		write_page(rnd(PAGES));
	if (waitpid(child, &status, 0) != child || status)
		fail("child ended with status %#x", status);
	check_all();
}

static void step_soft_dirty(void)
{
	uint64_t entry;
	unsigned int i;

	if (!soft_dirty) {
		skipped++;
		return;
	}
	for (i = 0; i < PAGES; i++) {
		/* KSM forgets soft-dirty, with the series and without. */
		if (!model[i].dirtied || model[i].was_mergeable)
			continue;
		if (TRY(pread(pagemap, &entry, 8, (uintptr_t)at(i) / PAGE * 8)) != 8)
			fail("pagemap: %s", strerror(errno));
		if (!(entry & SOFT_DIRTY)) {
			print_past(i);
			fail("page %u was written and is not soft-dirty", i);
		}
	}
	if (TRY(pwrite(clear_refs, "4", 1, 0)) != 1)
		fail("clear_refs: %s", strerror(errno));
	for (i = 0; i < PAGES; i++) {
		model[i].dirtied = false;
		model[i].was_mergeable = model[i].mergeable;
	}
	note(0, PAGES, "clear");
}

static void step_scan(void)
{
	static struct page_region regions[PAGES];
	static bool seen[PAGES];
	struct pm_scan_arg arg = {
		.size = sizeof(arg), .flags = PM_SCAN_WP_MATCHING,
		.start = (uintptr_t)area, .end = (uintptr_t)area + PAGES * PAGE,
		.vec = (uintptr_t)regions, .vec_len = PAGES,
		.category_mask = PAGE_IS_WRITTEN, .return_mask = PAGE_IS_WRITTEN,
	};
	unsigned int i;
	long n, r;

	if (uffd < 0) {
		skipped++;
		return;
	}
	n = ioctl(pagemap, PAGEMAP_SCAN, &arg);
	/* The scan may have protected some pages already, and does not say which. */
	if (again(n)) {
		for (i = 0; i < PAGES; i++)
			model[i].written = false;
		return;
	}
	if (n < 0)
		fail("PAGEMAP_SCAN: %s", strerror(errno));
	memset(seen, 0, sizeof(seen));
	for (r = 0; r < n; r++)
		for (i = (regions[r].start - (uintptr_t)area) / PAGE;
		     i < (regions[r].end - (uintptr_t)area) / PAGE; i++)
			seen[i] = true;
	for (i = 0; i < PAGES; i++) {
		if (model[i].written && !seen[i]) {
			print_past(i);
			fail("page %u was written and PAGEMAP_SCAN does not say so", i);
		}
		model[i].written = false;
	}
}

static void step_access(void)
{
	unsigned int n, i;

	for (n = 0; n < 32; n++) {
		i = rnd(PAGES);
		if (rnd(2))
			write_page(i);
		else
			check_page(i, at(i));
	}
}

static const struct {
	void (*step)(void);
	unsigned int weight;
} table[] = {
	{ step_access, 40 }, { step_mprotect, 30 }, { step_pkey, 5 }, { step_dontneed, 4 },
	{ step_advice, 5 }, { step_mremap, 5 }, { step_fork, 1 }, { step_soft_dirty, 3 },
	{ step_scan, 3 }, { check_all, 4 },
};

static void set_up(void)
{
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED,
	};
	unsigned int i;
	uint64_t entry;

	rng = seed * 0x2545f4914f6cdd1dULL + number + 1;
	sigaction(SIGSEGV, &sa, NULL);
	area = mmap(NULL, (PAGES + 2) * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	elsewhere = area + (PAGES + 1) * PAGE;
	for (i = 0; i < PAGES; i++)
		model[i].prot = PROT_READ | PROT_WRITE;

	pagemap = open("/proc/self/pagemap", O_RDONLY);
	clear_refs = open("/proc/self/clear_refs", O_WRONLY);
	open_make_it_fail();
	pkey = syscall(SYS_pkey_alloc, 0, 1 /* PKEY_DISABLE_ACCESS */);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (uffd >= 0 && ioctl(uffd, UFFDIO_API, &api)) {
		close(uffd);
		uffd = -1;
	}
	track_writes(area, PAGES);

	/* If the kernel has the bit at all, a page that was just written is soft-dirty. */
	write_page(0);
	soft_dirty = pread(pagemap, &entry, 8, (uintptr_t)area / PAGE * 8) == 8 &&
		     (entry & SOFT_DIRTY);
	if (!number)
		printf("torture: soft-dirty %s, userfaultfd %s, protection keys %s\n",
		       soft_dirty ? "yes" : "no", uffd >= 0 ? "yes" : "no", pkey >= 0 ? "yes" : "no");
}

static void run_process(void)
{
	unsigned int total = 0, i, pick;
	time_t end = time(NULL) + seconds;

	set_up();
	set_starving(true);
	for (i = 0; i < sizeof(table) / sizeof(*table); i++)
		total += table[i].weight;
	for (; time(NULL) < end; steps++) {
		pick = rnd(total);
		for (i = 0; pick >= table[i].weight; i++)
			pick -= table[i].weight;
		table[i].step();
	}
	check_all();
	printf("torture: process %u: %llu steps, %llu faults as expected, %llu skipped", number,
	       (unsigned long long)steps, (unsigned long long)faults, (unsigned long long)skipped);
	if (starve)
		printf(", %llu refused for lack of memory", (unsigned long long)refusals);
	printf("\n");
	fflush(stdout);
	_exit(0);
}

/* Make KSM as eager as it gets; a kernel without KSM has no such files. */
static void start_ksm(void)
{
	static const char *const settings[][2] = {
		{ "/sys/kernel/mm/ksm/sleep_millisecs", "10" },
		{ "/sys/kernel/mm/ksm/pages_to_scan", "1000" },
		{ "/sys/kernel/mm/ksm/run", "1" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		int fd = open(settings[i][0], O_WRONLY);

		if (fd < 0 || write(fd, settings[i][1], strlen(settings[i][1])) < 0)
			printf("torture: %s: %s\n", settings[i][0], strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

int main(int argc, char **argv)
{
	int opt, status, failed = 0;

	while ((opt = getopt(argc, argv, "s:t:p:fkh")) != -1) {
		switch (opt) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			seconds = atoi(optarg);
			break;
		case 'p':
			processes = atoi(optarg);
			break;
		case 'f':
			starve = true;
			break;
		case 'k':
			ksm = false;
			break;
		default:
			printf("%s [-fk] [-s SEED] [-t SECONDS] [-p PROCESSES]\n"
			       "  -f: allocations fail (CONFIG_FAULT_INJECTION)\n"
			       "  -k: leave KSM alone\n", argv[0]);
			return opt == 'h' ? 0 : 2;
		}
	}
	printf("torture: seed %llu, %u processes, %u s\n", (unsigned long long)seed, processes, seconds);
	fflush(stdout);
	if (ksm)
		start_ksm();
	for (number = 0; number < processes; number++)
		if (!fork())
			run_process();
	while (wait(&status) > 0)
		failed |= status;
	printf("torture: %s\n", failed ? "failed" : "passed");
	return !!failed;
}
