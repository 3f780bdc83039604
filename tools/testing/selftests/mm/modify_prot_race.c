// SPDX-License-Identifier: GPL-2.0
/*
 * Changes of page protection race with accesses to the pages: no accessed or
 * dirty bit that hardware sets, and no write, may be lost, and nobody may get
 * a signal for an access that the protection allows.
 *
 * Threads read and write a small mapping while the main thread changes its
 * page table entries: protection, soft-dirty, uffd-wp. Every case has its own
 * way to tell that a bit got lost:
 *
 *  lazyfree   The pages are clean and writable, as MADV_FREE leaves them. Each
 *             is written once while its protection changes. Reclaim drops pages
 *             that are still clean, so a lost dirty bit is a lost page.
 *  referenced All pages are old, each is accessed once. smaps counts the
 *             pages that are referenced.
 *  softdirty  Pages written after a soft-dirty clear must be soft-dirty; those
 *             never written must not be.
 *  wp_async   Live migration in small: pages that PAGEMAP_SCAN reports as
 *             written are copied; in the end, the copy must be the original.
 *  file       What has been written to a shared file mapping must be what the
 *             disk holds, after msync(), and with the page cache dropped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/userfaultfd.h>

#include "kselftest.h"
#include "vm_util.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define MAX_THREADS	64
#define SMALL_PAGES	16	/* short passes: a write often meets its change */

enum role { WRITER, READER };

struct race;

/**
 * struct race_case - one way to race, and to tell who lost
 * @name: of the test
 * @large: the mapping is one large folio, mapped by base pages
 * @file: the mapping is a shared file
 * @once: nobody accesses the pages of another thread
 * @sparse: only one page is accessed per round, and it is written
 * @prots: protections that the main thread cycles through, the first is RW
 * @nr_prots: number of them
 * @faults: a BIT per role that may get a signal
 * @setup: returns why the case can't be run here, or NULL
 * @prepare: brings the mapping into the state that a round begins with
 * @change: another change of the entries, called once per pass
 * @check: returns the number of pages for which something was lost
 * @cleanup: undoes setup
 */
struct race_case {
	const char *name;
	bool large;
	bool file;
	bool once;
	bool sparse;
	int prots[4];
	int nr_prots;
	unsigned int faults;
	const char *(*setup)(struct race *r);
	void (*prepare)(struct race *r);
	void (*change)(struct race *r);
	unsigned long (*check)(struct race *r);
	void (*cleanup)(struct race *r);
};

struct thread {
	pthread_t id;
	struct race *race;
	enum role role;
	unsigned int nr;
	uint64_t rnd;
	unsigned long spins_per_pass;
	unsigned long faults;
	atomic_bool in_access;
};

struct race {
	const struct race_case *c;
	char *area;
	size_t len;
	unsigned int nr_pages;
	char *reservation;
	size_t reserved;
	uint64_t *expected;	/* what the writers wrote last, per page */
	unsigned long *when;	/* changes completed before that write */
	char *copy;
	int fd;
	int uffd;
	uint64_t generation;
	unsigned long transactions;
	unsigned long rounds;
	pthread_barrier_t barrier;
	atomic_ulong pass;
	atomic_ulong changed;
	atomic_uint working;
	atomic_bool done;
	struct thread threads[MAX_THREADS];
	unsigned int nr_threads;
};

static struct {
	double seconds;
	unsigned long transactions;
	unsigned int threads;
	unsigned int cases;
	uint64_t seed;
	const char *dir;
	const char *only;
} opt = { .seconds = 2, .seed = 1, .dir = "." };

static __thread struct thread *self;
static atomic_ulong bad_signals;
static int clear_refs_fd = -1, pagemap_fd = -1;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static uint64_t rnd_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t *page_word(struct race *r, unsigned int page)
{
	return (uint64_t *)(r->area + (size_t)page * psize());
}

static uint64_t read_word(struct race *r, unsigned int page)
{
	return __atomic_load_n(page_word(r, page), __ATOMIC_SEQ_CST);
}

static void write_word(struct race *r, unsigned int page, uint64_t value)
{
	__atomic_store_n(page_word(r, page), value, __ATOMIC_SEQ_CST);
}

/*
 * A signal is in order only for an access to the mapping, by a thread that the
 * case expects it from, and only for the protection of a page that is mapped.
 * The thread then repeats the access until the protection allows it.
 */
static void on_segv(int sig, siginfo_t *info, void *context)
{
	static const char msg[] = "# unexpected SIGSEGV\n";
	char *addr = info->si_addr;
	struct race *r;

	if (self && atomic_load(&self->in_access)) {
		r = self->race;
		if (addr >= r->area && addr < r->area + r->len &&
		    info->si_code == SEGV_ACCERR &&
		    r->c->faults & (1U << self->role)) {
			self->faults++;
			sched_yield();
			return;
		}
	}

	atomic_fetch_add(&bad_signals, 1);
	if (write(STDOUT_FILENO, msg, sizeof(msg) - 1) < 0)
		_exit(KSFT_FAIL);
	/* Repeating the access may well work. If not, this isn't endless. */
	if (atomic_load(&bad_signals) > 100)
		_exit(KSFT_FAIL);
}

/* The threads */

/*
 * Wait for the next pass, and for some random part of it, so that the access
 * comes at any point of it. This also measures the length of a pass. The wait
 * has a limit, because the main thread may not be running.
 */
static void wait_for_pass(struct thread *t)
{
	unsigned long limit = 4 * t->spins_per_pass + 1024, spins, delay;
	struct race *r = t->race;
	unsigned long pass;

	pass = atomic_load(&r->pass);
	for (spins = 0; spins < limit && atomic_load(&r->pass) == pass; spins++)
		;
	if (spins < limit)
		t->spins_per_pass = (7 * t->spins_per_pass + spins + 7) / 8;

	delay = rnd_next(&t->rnd) % (t->spins_per_pass + 1);
	for (spins = 0; spins < delay && !atomic_load(&r->done); spins++)
		;
}

static void write_page(struct race *r, unsigned int page)
{
	uint64_t value = r->generation << 16 | page;

	r->when[page] = atomic_load(&r->changed);
	atomic_store(&self->in_access, true);
	write_word(r, page, value);
	atomic_store(&self->in_access, false);
	r->expected[page] = value;
}

static void read_page(struct race *r, unsigned int page)
{
	atomic_store(&self->in_access, true);
	read_word(r, page);
	atomic_store(&self->in_access, false);
}

static struct thread *owner(struct race *r, unsigned int page)
{
	return &r->threads[page % r->nr_threads];
}

/* Does its owner write the page in this round, or only read it? */
static bool is_written(struct race *r, unsigned int page)
{
	uint64_t one = r->generation * 0x9e3779b97f4a7c15ULL >> 32;

	if (owner(r, page)->role != WRITER)
		return false;
	if (!r->c->sparse)
		return page % 8 != 7;
	one %= r->nr_pages;
	return page == one - one % r->nr_threads;
}

static void access_page(struct thread *t, unsigned int page)
{
	if (owner(t->race, page) == t && is_written(t->race, page))
		write_page(t->race, page);
	else
		read_page(t->race, page);
}

/* Each page once and in random order, some per pass */
static void access_pages(struct thread *t)
{
	struct race *r = t->race;
	unsigned int burst = r->nr_pages / SMALL_PAGES;
	unsigned int i, page, first, step, n = 0;

	first = rnd_next(&t->rnd) % r->nr_pages;
	step = rnd_next(&t->rnd) % r->nr_pages | 1;
	for (i = 0; i < r->nr_pages; i++) {
		page = (first + (size_t)i * step) % r->nr_pages;
		if (owner(r, page) != t && (t->role == WRITER || r->c->once))
			continue;
		if (r->c->sparse && !is_written(r, page))
			continue;
		if (n++ % burst == 0)
			wait_for_pass(t);
		access_page(t, page);
	}
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	struct race *r = t->race;

	self = t;
	for (;;) {
		pthread_barrier_wait(&r->barrier);
		if (atomic_load(&r->done))
			return NULL;
		access_pages(t);
		atomic_fetch_sub(&r->working, 1);
		pthread_barrier_wait(&r->barrier);
	}
}

/* Mappings */

static void reserve(struct race *r, size_t len, size_t align)
{
	r->len = len;
	r->reserved = len + 2 * align;
	r->reservation = mmap(NULL, r->reserved, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->reservation == MAP_FAILED)
		ksft_exit_fail_perror("mmap reservation");
	r->area = (char *)(((uintptr_t)r->reservation + 2 * align - 1) &
			   ~((uintptr_t)align - 1));
}

static void map_area(struct race *r, int flags, int fd)
{
	if (mmap(r->area, r->len, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
		 0) == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
}

/* One page's protection changes to and fro: base pages then map the THP. */
static const char *map_large(struct race *r)
{
	size_t size = read_pmd_pagesize();

	if (!size)
		return "no transparent huge pages";
	reserve(r, size, size);
	map_area(r, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (madvise(r->area, r->len, MADV_HUGEPAGE))
		return "no transparent huge pages";
	memset(r->area, 1, r->len);
	if (!check_huge_anon(r->area, r->len, 1, size))
		return "no huge page to be had";
	if (madvise(r->area, r->len, MADV_NOHUGEPAGE) ||
	    mprotect(r->area, psize(), PROT_READ) ||
	    mprotect(r->area, psize(), PROT_READ | PROT_WRITE))
		ksft_exit_fail_perror("splitting the mapping");
	return NULL;
}

static const char *map_file(struct race *r)
{
	char path[4096];
	struct statfs fs;

	snprintf(path, sizeof(path), "%s/modify_prot_race.XXXXXX", opt.dir);
	r->fd = mkstemp(path);
	if (r->fd < 0)
		return "can't create a file";
	unlink(path);
	if (fstatfs(r->fd, &fs) || fs.f_type == TMPFS_MAGIC ||
	    fs.f_type == RAMFS_MAGIC || fs.f_type == OVERLAYFS_SUPER_MAGIC)
		return "needs a directory on a disk (-d)";
	reserve(r, SMALL_PAGES * psize(), psize());
	if (ftruncate(r->fd, r->len))
		return "can't extend the file";
	map_area(r, MAP_SHARED, r->fd);
	return NULL;
}

static const char *map_pages(struct race *r)
{
	const char *why = NULL;

	if (r->c->file) {
		why = map_file(r);
	} else if (r->c->large) {
		why = map_large(r);
	} else {
		reserve(r, SMALL_PAGES * psize(), psize());
		map_area(r, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		if (madvise(r->area, r->len, MADV_NOHUGEPAGE) && errno != EINVAL)
			ksft_exit_fail_perror("MADV_NOHUGEPAGE");
	}
	r->nr_pages = r->len / psize();
	return why;
}

static void write_all(struct race *r)
{
	unsigned int page;

	for (page = 0; page < r->nr_pages; page++) {
		r->expected[page] = ~(r->generation << 16 | page);
		write_word(r, page, r->expected[page]);
	}
}

static unsigned long count_changed(struct race *r)
{
	unsigned long lost = 0;
	unsigned int page;

	for (page = 0; page < r->nr_pages; page++) {
		if (read_word(r, page) != r->expected[page])
			lost++;
	}
	return lost;
}

/* lazyfree */

/* Pages that nobody wrote to are dropped, as they should be. */
static unsigned long lazyfree_check(struct race *r)
{
	unsigned long lost = 0;
	unsigned int page;

	if (madvise(r->area, r->len, MADV_PAGEOUT))
		ksft_exit_fail_perror("MADV_PAGEOUT");
	for (page = 0; page < r->nr_pages; page++) {
		if (is_written(r, page) &&
		    read_word(r, page) != r->expected[page])
			lost++;
	}
	return lost;
}

static void lazyfree_prepare(struct race *r)
{
	write_all(r);
	if (madvise(r->area, r->len, MADV_FREE))
		ksft_exit_fail_perror("MADV_FREE");
}

/*
 * Clean pages must be dropped, or nothing would be noticed. A large folio is
 * dropped or kept as a whole, so some cases access only one page.
 */
static const char *lazyfree_setup(struct race *r)
{
	lazyfree_prepare(r);
	if (madvise(r->area, r->len, MADV_PAGEOUT))
		return "no MADV_PAGEOUT";
	if (count_changed(r) < r->nr_pages / 2)
		return "clean pages are not dropped";
	if (r->c->large) {
		munmap(r->reservation, r->reserved);
		return map_large(r);
	}
	return NULL;
}

/* referenced */

static void clear_refs(const char *what)
{
	if (pwrite(clear_refs_fd, what, 1, 0) != 1)
		ksft_exit_fail_perror("clear_refs");
}

static unsigned long referenced_pages(struct race *r)
{
	char line[256], name[64];
	unsigned long start, end, kb;
	bool here = false;
	FILE *f;

	f = fopen("/proc/self/smaps", "r");
	if (!f)
		ksft_exit_fail_perror("/proc/self/smaps");
	kb = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start == (unsigned long)r->area;
		else if (here && sscanf(line, "%63s %lu", name, &kb) == 2 &&
			 !strcmp(name, "Referenced:"))
			break;
	}
	fclose(f);
	return kb * 1024 / psize();
}

/* Change the protection once, so that no cached translation is in use. */
static void referenced_prepare(struct race *r)
{
	clear_refs("1");
	if (mprotect(r->area, r->len, PROT_READ) ||
	    mprotect(r->area, r->len, PROT_READ | PROT_WRITE))
		ksft_exit_fail_perror("mprotect");
}

static const char *referenced_setup(struct race *r)
{
	write_all(r);
	if (clear_refs_fd < 0 || access("/proc/self/smaps", R_OK))
		return "no /proc/self/clear_refs or smaps";
	if (referenced_pages(r) != r->nr_pages)
		return "smaps doesn't count accessed pages";
	referenced_prepare(r);
	if (referenced_pages(r))
		return "pages stay referenced";
	return NULL;
}

/* If only one page was accessed, it may have made others of its batch young. */
static unsigned long referenced_check(struct race *r)
{
	if (r->c->sparse)
		return !referenced_pages(r);
	return r->nr_pages - referenced_pages(r);
}

/* softdirty */

static const char *softdirty_setup(struct race *r)
{
	if (clear_refs_fd < 0 || pagemap_fd < 0 || !softdirty_supported())
		return "no soft-dirty";
	return NULL;
}

static void softdirty_prepare(struct race *r)
{
	write_all(r);
	clear_refs("4");
}

/* Writers note the number of clears completed before their write. */
static void softdirty_change(struct race *r)
{
	if (atomic_load(&r->pass) % 4)
		return;
	clear_refs("4");
	atomic_fetch_add(&r->changed, 1);
	r->transactions += r->nr_pages;
}

static bool is_softdirty(struct race *r, unsigned int page)
{
	return pagemap_is_softdirty(pagemap_fd, (char *)page_word(r, page));
}

static unsigned long softdirty_lost(struct race *r)
{
	unsigned long changed = atomic_load(&r->changed), lost = 0;
	unsigned int page;

	for (page = 0; page < r->nr_pages; page++) {
		if (is_written(r, page) && r->when[page] == changed)
			lost += !is_softdirty(r, page);
	}
	return lost;
}

static unsigned long softdirty_check(struct race *r)
{
	unsigned long invented = 0;
	unsigned int page;

	for (page = 0; page < r->nr_pages; page++) {
		if (!is_written(r, page))
			invented += is_softdirty(r, page);
	}
	return invented + softdirty_lost(r);
}

static unsigned long softdirty_check_lazyfree(struct race *r)
{
	unsigned long lost = softdirty_lost(r);

	return lost + lazyfree_check(r);
}

static const char *softdirty_setup_lazyfree(struct race *r)
{
	const char *why = softdirty_setup(r);

	return why ? why : lazyfree_setup(r);
}

/* wp_async */

static void wp_async_change(struct race *r)
{
	struct page_region regions[SMALL_PAGES];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)r->area,
		.end = (uintptr_t)r->area + r->len,
		.vec = (uintptr_t)regions,
		.vec_len = SMALL_PAGES,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	size_t offset;
	int i, n;

	while (arg.start < arg.end) {
		n = ioctl(pagemap_fd, PAGEMAP_SCAN, &arg);
		if (n < 0)
			ksft_exit_fail_perror("PAGEMAP_SCAN");
		for (i = 0; i < n; i++) {
			offset = regions[i].start - (uintptr_t)r->area;
			memcpy(r->copy + offset, r->area + offset,
			       regions[i].end - regions[i].start);
		}
		arg.start = arg.walk_end;
	}
	r->transactions += r->nr_pages;
}

static const char *wp_async_setup(struct race *r)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED,
	};
	struct uffdio_register reg = {
		.range = { (uintptr_t)r->area, r->len },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect wp = {
		.range = { (uintptr_t)r->area, r->len },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	struct pm_scan_arg arg = { .size = sizeof(arg) };

	if (pagemap_fd < 0 || ioctl(pagemap_fd, PAGEMAP_SCAN, &arg))
		return "no PAGEMAP_SCAN";
	r->uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK |
			  UFFD_USER_MODE_ONLY);
	if (r->uffd < 0 || ioctl(r->uffd, UFFDIO_API, &api))
		return "no asynchronous userfaultfd write-protection";
	write_all(r);
	r->copy = malloc(r->len);
	if (!r->copy)
		ksft_exit_fail_perror("malloc");
	memcpy(r->copy, r->area, r->len);
	if (ioctl(r->uffd, UFFDIO_REGISTER, &reg) ||
	    ioctl(r->uffd, UFFDIO_WRITEPROTECT, &wp))
		return "can't write-protect with userfaultfd";
	return NULL;
}

static unsigned long wp_async_check(struct race *r)
{
	unsigned int page, lost = 0;

	wp_async_change(r);
	for (page = 0; page < r->nr_pages; page++)
		lost += !!memcmp(r->copy + (size_t)page * psize(),
				 r->area + (size_t)page * psize(), psize());
	return lost;
}

static void wp_async_cleanup(struct race *r)
{
	if (r->uffd >= 0)
		close(r->uffd);
	free(r->copy);
}

/* file */

static void file_change(struct race *r)
{
	if (msync(r->area, r->len, MS_SYNC))
		ksft_exit_fail_perror("msync");
}

/* Unmapping tells the page cache what the entries know to be dirty. */
static void file_drop(struct race *r)
{
	if (msync(r->area, r->len, MS_SYNC) || munmap(r->area, r->len) ||
	    fsync(r->fd) ||
	    posix_fadvise(r->fd, 0, r->len, POSIX_FADV_DONTNEED))
		ksft_exit_fail_perror("writing the file back");
	map_area(r, MAP_SHARED, r->fd);
}

static const char *file_setup(struct race *r)
{
	unsigned char resident[SMALL_PAGES];
	unsigned int page;

	write_all(r);
	file_drop(r);
	if (mincore(r->area, r->len, resident))
		return "no mincore";
	for (page = 0; page < r->nr_pages; page++) {
		if (resident[page] & 1)
			return "the page cache can't be dropped";
	}
	return NULL;
}

static unsigned long file_check(struct race *r)
{
	file_drop(r);
	return count_changed(r);
}

#define RW	(PROT_READ | PROT_WRITE)
#define RWX	(RW | PROT_EXEC)
#define MAY(role)	(1U << (role))

static const struct race_case race_cases[] = {
	{
		.name = "lazyfree, RW and RWX",
		.prots = { RW, RWX }, .nr_prots = 2,
		.setup = lazyfree_setup,
		.prepare = lazyfree_prepare,
		.check = lazyfree_check,
	}, {
		.name = "lazyfree, RW and RO",
		.prots = { RW, PROT_READ }, .nr_prots = 2,
		.faults = MAY(WRITER),
		.setup = lazyfree_setup,
		.prepare = lazyfree_prepare,
		.check = lazyfree_check,
	}, {
		.name = "lazyfree, RW and none",
		.prots = { RW, PROT_NONE, RWX, PROT_READ }, .nr_prots = 4,
		.faults = MAY(WRITER) | MAY(READER),
		.setup = lazyfree_setup,
		.prepare = lazyfree_prepare,
		.check = lazyfree_check,
	}, {
		.name = "lazyfree, large folio, RW and RWX",
		.large = true, .sparse = true,
		.prots = { RW, RWX }, .nr_prots = 2,
		.setup = lazyfree_setup,
		.prepare = lazyfree_prepare,
		.check = lazyfree_check,
	}, {
		.name = "lazyfree, large folio, RW and RO",
		.large = true, .sparse = true,
		.prots = { RW, PROT_READ }, .nr_prots = 2,
		.faults = MAY(WRITER),
		.setup = lazyfree_setup,
		.prepare = lazyfree_prepare,
		.check = lazyfree_check,
	}, {
		.name = "referenced, RW and RWX",
		.once = true,
		.prots = { RW, RWX }, .nr_prots = 2,
		.setup = referenced_setup,
		.prepare = referenced_prepare,
		.check = referenced_check,
	}, {
		.name = "referenced, large folio, RW and RO",
		.large = true, .once = true, .sparse = true,
		.prots = { RW, PROT_READ }, .nr_prots = 2,
		.faults = MAY(WRITER),
		.setup = referenced_setup,
		.prepare = referenced_prepare,
		.check = referenced_check,
	}, {
		.name = "softdirty, RW and RWX",
		.prots = { RW, RWX }, .nr_prots = 2,
		.setup = softdirty_setup,
		.prepare = softdirty_prepare,
		.change = softdirty_change,
		.check = softdirty_check,
	}, {
		.name = "softdirty and lazyfree, RW and RO",
		.prots = { RW, PROT_READ }, .nr_prots = 2,
		.faults = MAY(WRITER),
		.setup = softdirty_setup_lazyfree,
		.prepare = lazyfree_prepare,
		.change = softdirty_change,
		.check = softdirty_check_lazyfree,
	}, {
		.name = "wp_async, RW and RWX",
		.prots = { RW, RWX }, .nr_prots = 2,
		.setup = wp_async_setup,
		.change = wp_async_change,
		.check = wp_async_check,
		.cleanup = wp_async_cleanup,
	}, {
		.name = "wp_async, large folio, RW and RO",
		.large = true,
		.prots = { RW, PROT_READ }, .nr_prots = 2,
		.faults = MAY(WRITER),
		.setup = wp_async_setup,
		.change = wp_async_change,
		.check = wp_async_check,
		.cleanup = wp_async_cleanup,
	}, {
		.name = "file, RW and RO",
		.file = true,
		.prots = { RW, PROT_READ, RWX }, .nr_prots = 3,
		.faults = MAY(WRITER),
		.setup = file_setup,
		.change = file_change,
		.check = file_check,
	},
};

/* The main thread's part */

static void start_threads(struct race *r)
{
	struct thread *t;
	unsigned int i;

	r->nr_threads = opt.threads;
	pthread_barrier_init(&r->barrier, NULL, r->nr_threads + 1);
	for (i = 0; i < r->nr_threads; i++) {
		t = &r->threads[i];
		t->race = r;
		t->nr = i;
		t->role = i % 2 ? READER : WRITER;
		t->rnd = opt.seed * 0x9e3779b97f4a7c15ULL + i + 1;
		if (pthread_create(&t->id, NULL, thread_main, t))
			ksft_exit_fail_perror("pthread_create");
	}
}

static unsigned long stop_threads(struct race *r)
{
	unsigned long faults = 0;
	unsigned int i;

	atomic_store(&r->done, true);
	pthread_barrier_wait(&r->barrier);
	for (i = 0; i < r->nr_threads; i++) {
		pthread_join(r->threads[i].id, NULL);
		faults += r->threads[i].faults;
	}
	pthread_barrier_destroy(&r->barrier);
	return faults;
}

static void change_all(struct race *r, int prot)
{
	if (mprotect(r->area, r->len, prot))
		ksft_exit_fail_perror("mprotect");
	r->transactions += r->nr_pages;
}

/* Passes over the mapping until every thread has been through all its pages */
static unsigned long run_round(struct race *r)
{
	unsigned long pass;

	r->generation++;
	if (r->c->prepare)
		r->c->prepare(r);
	atomic_store(&r->working, r->nr_threads);
	pthread_barrier_wait(&r->barrier);
	while (atomic_load(&r->working)) {
		pass = atomic_fetch_add(&r->pass, 1);
		change_all(r, r->c->prots[pass % r->c->nr_prots]);
		if (r->c->change)
			r->c->change(r);
	}
	pthread_barrier_wait(&r->barrier);
	change_all(r, RW);
	r->rounds++;
	return r->c->check(r);
}

static bool go_on(struct race *r, double end)
{
	if (opt.transactions)
		return r->transactions < opt.transactions / opt.cases;
	return now() < end;
}

static void alloc_notes(struct race *r)
{
	size_t max = read_pmd_pagesize() / psize();

	if (max < SMALL_PAGES)
		max = SMALL_PAGES;
	r->expected = calloc(max, sizeof(*r->expected));
	r->when = calloc(max, sizeof(*r->when));
	if (!r->expected || !r->when)
		ksft_exit_fail_perror("calloc");
}

static unsigned long race(struct race *r)
{
	unsigned long lost = 0, bad = atomic_load(&bad_signals), faults;
	double begin = now();

	start_threads(r);
	do {
		lost += run_round(r);
	} while (!lost && go_on(r, begin + opt.seconds));
	faults = stop_threads(r);

	bad = atomic_load(&bad_signals) - bad;
	ksft_print_msg("%lu transactions, %lu rounds of %u pages, %.1f s\n",
		       r->transactions, r->rounds, r->nr_pages, now() - begin);
	ksft_print_msg("%lu signals in order, %lu not, %lu pages lost\n",
		       faults, bad, lost);
	return lost + bad;
}

static void run_case(const struct race_case *c)
{
	struct race r = { .c = c, .fd = -1, .uffd = -1 };
	const char *why;

	alloc_notes(&r);
	why = map_pages(&r);
	if (!why && c->setup)
		why = c->setup(&r);

	if (why)
		ksft_test_result_skip("%s: %s\n", c->name, why);
	else
		ksft_test_result(!race(&r), "%s\n", c->name);

	if (c->cleanup)
		c->cleanup(&r);
	if (r.reservation)
		munmap(r.reservation, r.reserved);
	if (r.fd >= 0)
		close(r.fd);
	free(r.expected);
	free(r.when);
}

static void usage(const char *name)
{
	printf("%s [-s SECONDS | -n TRANSACTIONS | -l] [options]\n"
	       "  -s  seconds per case (default %g)\n"
	       "  -n  number of transactions, of all cases together\n"
	       "  -l  the long mode, as -n 10000000\n"
	       "  -t  accessing threads, every other one only reads (default %u)\n"
	       "  -S  seed of the order of accesses (default %llu)\n"
	       "  -d  directory for the file case, on a disk (default %s)\n"
	       "  -c  only cases whose name contains this\n", name, opt.seconds,
	       opt.threads, (unsigned long long)opt.seed, opt.dir);
	exit(KSFT_FAIL);
}

static void parse_options(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int o;

	opt.threads = cpus > 8 ? 8 : cpus > 3 ? cpus - 1 : 2;
	while ((o = getopt(argc, argv, "s:n:lt:S:d:c:")) != -1) {
		switch (o) {
		case 's':
			opt.seconds = atof(optarg);
			break;
		case 'n':
			opt.transactions = strtoul(optarg, NULL, 0);
			break;
		case 'l':
			opt.transactions = 10000000;
			break;
		case 't':
			opt.threads = atoi(optarg);
			break;
		case 'S':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'd':
			opt.dir = optarg;
			break;
		case 'c':
			opt.only = optarg;
			break;
		default:
			usage(argv[0]);
		}
	}
	if (!opt.threads || opt.threads > MAX_THREADS || optind != argc)
		usage(argv[0]);
}

static bool selected(const struct race_case *c)
{
	return !opt.only || strstr(c->name, opt.only);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	unsigned int i;

	parse_options(argc, argv);
	ksft_print_header();
	for (i = 0; i < ARRAY_SIZE(race_cases); i++)
		opt.cases += selected(&race_cases[i]);
	ksft_set_plan(opt.cases);
	ksft_print_msg("%u threads, seed %llu\n", opt.threads,
		       (unsigned long long)opt.seed);

	sigaction(SIGSEGV, &sa, NULL);
	clear_refs_fd = open("/proc/self/clear_refs", O_WRONLY);
	pagemap_fd = open("/proc/self/pagemap", O_RDONLY);

	for (i = 0; i < ARRAY_SIZE(race_cases); i++) {
		if (selected(&race_cases[i]))
			run_case(&race_cases[i]);
	}
	ksft_finished();
}
