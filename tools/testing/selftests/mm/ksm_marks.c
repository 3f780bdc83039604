// SPDX-License-Identifier: GPL-2.0
/*
 * Marks that page table entries carry for those that track accesses to memory:
 * userfaultfd's write-protection and read-write protection, soft-dirty.
 *
 * The kernel makes entries anew for pages that it merges, splits, moves or
 * migrates. The new entry has to have the marks of the old one: if one is lost,
 * so is what was written to the page, for whoever relies on it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "../../../../lib/test_hmm_uapi.h"
#include "kselftest_harness.h"
#include "vm_util.h"

#define NR		8
#define NR_NODES	2
#define DEVICE		"/dev/hmm_dmirror0"
#define KSM_RUN		"/sys/kernel/mm/ksm/run"
#define USE_ZERO_PAGES	"/sys/kernel/mm/ksm/use_zero_pages"
#define SLEEP_MILLISECS	"/sys/kernel/mm/ksm/sleep_millisecs"

static void write_all(char *area, size_t nr, int value)
{
	size_t i;

	for (i = 0; i < nr; i++)
		memset(area + i * psize(), value, psize());
}

/* Returns how many of @nr pages have @mark in /proc/self/pagemap. */
static int marked(int pagemap, char *area, size_t nr, uint64_t mark)
{
	int n = 0;
	size_t i;

	for (i = 0; i < nr; i++)
		n += !!(pagemap_get_entry(pagemap, area + i * psize()) & mark);
	return n;
}

/* Returns a userfaultfd with the @features, or -1 if there is none. */
static int uffd_open(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd >= 0 && ioctl(uffd, UFFDIO_API, &api)) {
		close(uffd);
		return -1;
	}
	return uffd;
}

static int uffd_register_mode(int uffd, char *area, size_t len, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)area, .len = len },
		.mode = mode,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &reg);
}

/* Set or clear the mark that belongs to the registered @mode. */
static int uffd_protect(int uffd, char *area, size_t len, uint64_t mode, bool on)
{
	struct uffdio_range range = { .start = (uintptr_t)area, .len = len };
	struct uffdio_writeprotect wp = {
		.range = range,
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};
	struct uffdio_rwprotect rwp = {
		.range = range,
		.mode = on ? UFFDIO_RWPROTECT_MODE_RWP : 0,
	};

	return mode == UFFDIO_REGISTER_MODE_WP ?
	       ioctl(uffd, UFFDIO_WRITEPROTECT, &wp) :
	       ioctl(uffd, UFFDIO_RWPROTECT, &rwp);
}

static long uffd_move(int uffd, char *to, char *from, size_t len)
{
	struct uffdio_move move = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)from,
		.len = len,
	};

	return ioctl(uffd, UFFDIO_MOVE, &move) ? -errno : move.move;
}

/* Returns how many pages PAGEMAP_SCAN reports with @category. */
static int scan(int pagemap, char *area, size_t nr, uint64_t category, uint64_t flags)
{
	struct page_region regions[NR];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = flags,
		.start = (uintptr_t)area,
		.end = (uintptr_t)area + nr * psize(),
		.vec = (uintptr_t)regions,
		.vec_len = NR,
		.category_mask = category,
		.return_mask = category,
	};
	int i, n = ioctl(pagemap, PAGEMAP_SCAN, &arg), pages = 0;

	if (n < 0)
		return -1;
	for (i = 0; i < n; i++)
		pages += (regions[i].end - regions[i].start) / psize();
	return pages;
}

/* Move the pages to @node; returns how many are there, or -1. */
static int move_to(char *area, size_t nr, size_t size, int node, int flags)
{
	void *pages[NR];
	int nodes[NR], status[NR];
	int there = 0;
	size_t i;

	for (i = 0; i < nr; i++) {
		pages[i] = area + i * size;
		nodes[i] = node;
		status[i] = -ENOENT;
	}
	if (syscall(__NR_move_pages, 0, nr, pages, nodes, status, flags) < 0)
		return -1;
	for (i = 0; i < nr; i++)
		there += status[i] == node;
	return there;
}

/* What happens to one page if a thread touches it. */
struct touch {
	char *page;
	bool write;
	atomic_bool done;
};

static void *toucher(void *data)
{
	struct touch *touch = data;

	if (touch->write)
		*touch->page = 'x';
	else
		FORCE_READ(*touch->page);
	atomic_store(&touch->done, true);
	return NULL;
}

/* Touch a page, resolve the event; returns the number of events, or -1. */
static int events_of(int uffd, uint64_t mode, char *page, bool write)
{
	struct touch touch = { .page = page, .write = write };
	struct pollfd poll_fd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;
	pthread_t thread;
	int events = 0;

	if (pthread_create(&thread, NULL, toucher, &touch))
		return -1;
	while (!atomic_load(&touch.done)) {
		if (poll(&poll_fd, 1, 1) <= 0)
			continue;
		if (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		events += msg.event == UFFD_EVENT_PAGEFAULT;
		if (uffd_protect(uffd, page, psize(), mode, false))
			events = -1;
	}
	pthread_join(thread, NULL);
	return events;
}

/* Pages of equal content that ksmd may merge. */
FIXTURE(ksm)
{
	char *area;
	size_t len;
	int pagemap;
	int uffd;
	unsigned long use_zero_pages;
	unsigned long sleep_millisecs;
};

FIXTURE_VARIANT(ksm)
{
	int value;
	bool zero;
};

FIXTURE_VARIANT_ADD(ksm, page)
{
	.value = 0x5a,
};

FIXTURE_VARIANT_ADD(ksm, zero_page)
{
	.value = 0,
	.zero = true,
};

FIXTURE_SETUP(ksm)
{
	self->uffd = -1;
	self->pagemap = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_GE(self->pagemap, 0);
	if (read_sysfs(USE_ZERO_PAGES, &self->use_zero_pages) ||
	    read_sysfs(SLEEP_MILLISECS, &self->sleep_millisecs) || ksm_stop())
		SKIP(return, "no KSM, or not permitted");
	write_sysfs(USE_ZERO_PAGES, variant->zero);
	write_sysfs(SLEEP_MILLISECS, 0);

	self->len = NR * psize();
	self->area = mmap(NULL, self->len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->area);
	madvise(self->area, self->len, MADV_NOHUGEPAGE);
	/* A mapping that is new counts as soft-dirty. */
	clear_softdirty();
	write_all(self->area, NR, variant->value);
}

FIXTURE_TEARDOWN(ksm)
{
	if (self->uffd >= 0)
		close(self->uffd);
	ksm_stop();
	write_sysfs(USE_ZERO_PAGES, self->use_zero_pages);
	write_sysfs(SLEEP_MILLISECS, self->sleep_millisecs);
	munmap(self->area, self->len);
	close(self->pagemap);
}

/* One of the first two pages is not replaced, the others get it. */
static bool merge(FIXTURE_DATA(ksm) * self, bool zero)
{
	int tries = 10;
	long merged;

	if (madvise(self->area, self->len, MADV_MERGEABLE))
		return false;
	/* A page that is held for a moment is left out until the next scan. */
	do {
		if (ksm_start())
			return false;
		merged = zero ? ksm_get_self_zero_pages() : ksm_get_self_merging_pages();
	} while (merged < NR - 1 && --tries);
	/* ksmd holds what it looks at, and may merge again what a test writes. */
	write_sysfs(KSM_RUN, 0);
	if (merged < NR - 1)
		printf("# %ld of %d pages merged\n", merged, NR);
	return merged >= NR - 1;
}

static bool track(FIXTURE_DATA(ksm) * self, uint64_t mode, uint64_t features)
{
	self->uffd = uffd_open(features);
	return self->uffd >= 0 &&
	       !uffd_register_mode(self->uffd, self->area, self->len, mode) &&
	       !uffd_protect(self->uffd, self->area, self->len, mode, true);
}

static int events(FIXTURE_DATA(ksm) * self, uint64_t mode, bool write)
{
	int n = 0;
	size_t i;

	for (i = 0; i < NR; i++)
		n += events_of(self->uffd, mode, self->area + i * psize(), write);
	return n;
}

TEST_F(ksm, wp_events)
{
	if (!track(self, UFFDIO_REGISTER_MODE_WP, 0))
		SKIP(return, "no userfaultfd write-protection");
	ASSERT_TRUE(merge(self, variant->zero));
	EXPECT_EQ(NR, marked(self->pagemap, self->area, NR, PM_UFFD_WP));
	EXPECT_EQ(NR, events(self, UFFDIO_REGISTER_MODE_WP, true));
	EXPECT_EQ(0, marked(self->pagemap, self->area, NR, PM_UFFD_WP));
}

/* The other way round: what is merged can be marked, and a mark can be lifted. */
TEST_F(ksm, wp_after_merge)
{
	if (!track(self, UFFDIO_REGISTER_MODE_WP, 0))
		SKIP(return, "no userfaultfd write-protection");
	ASSERT_EQ(0, uffd_protect(self->uffd, self->area, self->len,
				  UFFDIO_REGISTER_MODE_WP, false));
	ASSERT_TRUE(merge(self, variant->zero));
	EXPECT_EQ(0, marked(self->pagemap, self->area, NR, PM_UFFD_WP));
	ASSERT_EQ(0, uffd_protect(self->uffd, self->area, self->len,
				  UFFDIO_REGISTER_MODE_WP, true));
	EXPECT_EQ(NR, events(self, UFFDIO_REGISTER_MODE_WP, true));
}

TEST_F(ksm, wp_async_scan)
{
	const uint64_t flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC;
	int i;

	if (!track(self, UFFDIO_REGISTER_MODE_WP, UFFD_FEATURE_WP_ASYNC))
		SKIP(return, "no asynchronous userfaultfd write-protection");
	ASSERT_TRUE(merge(self, variant->zero));
	EXPECT_EQ(0, scan(self->pagemap, self->area, NR, PAGE_IS_WRITTEN, flags));
	for (i = 0; i < NR; i += 2)
		self->area[i * psize()]++;
	EXPECT_EQ(NR / 2, scan(self->pagemap, self->area, NR, PAGE_IS_WRITTEN, flags));
	EXPECT_EQ(0, scan(self->pagemap, self->area, NR, PAGE_IS_WRITTEN, flags));
}

TEST_F(ksm, rwp_events)
{
	if (!track(self, UFFDIO_REGISTER_MODE_RWP, UFFD_FEATURE_RWP))
		SKIP(return, "no userfaultfd read-write protection");
	ASSERT_TRUE(merge(self, variant->zero));
	EXPECT_EQ(NR, events(self, UFFDIO_REGISTER_MODE_RWP, false));
	EXPECT_EQ(0, events(self, UFFDIO_REGISTER_MODE_RWP, true));
}

TEST_F(ksm, rwp_async_scan)
{
	int i;

	if (!track(self, UFFDIO_REGISTER_MODE_RWP,
		   UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC))
		SKIP(return, "no asynchronous userfaultfd read-write protection");
	ASSERT_TRUE(merge(self, variant->zero));
	EXPECT_EQ(0, scan(self->pagemap, self->area, NR, PAGE_IS_ACCESSED, 0));
	for (i = 0; i < NR; i += 2)
		FORCE_READ(self->area[i * psize()]);
	EXPECT_EQ(NR / 2, scan(self->pagemap, self->area, NR, PAGE_IS_ACCESSED, 0));
}

TEST_F(ksm, soft_dirty_before_merge)
{
	if (!softdirty_supported())
		SKIP(return, "no soft-dirty");
	clear_softdirty();
	write_all(self->area, NR, variant->value);
	ASSERT_TRUE(merge(self, variant->zero));
	EXPECT_EQ(NR, marked(self->pagemap, self->area, NR, PM_SOFT_DIRTY));
}

TEST_F(ksm, soft_dirty_after_merge)
{
	int i;

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty");
	clear_softdirty();
	ASSERT_TRUE(merge(self, variant->zero));
	EXPECT_EQ(0, marked(self->pagemap, self->area, NR, PM_SOFT_DIRTY));
	for (i = 0; i < NR; i += 2)
		self->area[i * psize()]++;
	EXPECT_EQ(NR / 2, marked(self->pagemap, self->area, NR, PM_SOFT_DIRTY));
}

/* Mark half of the pages in each way that can be had beside each other. */
static bool mark_half(FIXTURE_DATA(ksm) * self, int value, uint64_t mode, uint64_t features)
{
	clear_softdirty();
	write_all(self->area, NR / 2, value);
	self->uffd = uffd_open(features);
	return self->uffd >= 0 &&
	       !uffd_register_mode(self->uffd, self->area, self->len, mode) &&
	       !uffd_protect(self->uffd, self->area, self->len / 2, mode, true);
}

static bool half_is_marked(FIXTURE_DATA(ksm) * self)
{
	int low = marked(self->pagemap, self->area, NR / 2, PM_UFFD_WP);
	int high = marked(self->pagemap, self->area + self->len / 2, NR / 2, PM_UFFD_WP);
	int low_dirty = marked(self->pagemap, self->area, NR / 2, PM_SOFT_DIRTY);
	int high_dirty = marked(self->pagemap, self->area + self->len / 2, NR / 2,
				PM_SOFT_DIRTY);
	bool dirty = softdirty_supported();

	if (low == NR / 2 && !high && (!dirty || (low_dirty == NR / 2 && !high_dirty)))
		return true;
	printf("# of %d marked pages %d are, %d are soft-dirty; of %d others %d and %d\n",
	       NR / 2, low, low_dirty, NR / 2, high, high_dirty);
	return false;
}

/* Returns how many pages map what another one maps. */
static int shared(FIXTURE_DATA(ksm) * self)
{
	unsigned long pfns[NR];
	int i, j, n = 0;

	for (i = 0; i < NR; i++) {
		pfns[i] = pagemap_get_pfn(self->pagemap, self->area + i * psize());
		for (j = 0; j < i && pfns[j] != pfns[i]; j++)
			;
		n += j < i;
	}
	return n;
}

TEST_F(ksm, unmerge_wp)
{
	if (!mark_half(self, variant->value, UFFDIO_REGISTER_MODE_WP, 0))
		SKIP(return, "no userfaultfd write-protection");
	ASSERT_TRUE(merge(self, variant->zero));
	EXPECT_TRUE(half_is_marked(self));
	ASSERT_EQ(0, madvise(self->area, self->len, MADV_UNMERGEABLE));
	EXPECT_EQ(0, shared(self));
	EXPECT_TRUE(half_is_marked(self));
	EXPECT_EQ(NR / 2, events(self, UFFDIO_REGISTER_MODE_WP, true));
}

static void unmerge_rwp(struct __test_metadata *_metadata, FIXTURE_DATA(ksm) * self,
			const FIXTURE_VARIANT(ksm) * variant, uint64_t features)
{
	if (!mark_half(self, variant->value, UFFDIO_REGISTER_MODE_RWP, features))
		SKIP(return, "no userfaultfd read-write protection");
	ASSERT_TRUE(merge(self, variant->zero));
	EXPECT_TRUE(half_is_marked(self));
	ASSERT_EQ(0, madvise(self->area, self->len, MADV_UNMERGEABLE));
	EXPECT_TRUE(half_is_marked(self));
	/* Nothing is left merged, although nobody has accessed it. */
	EXPECT_EQ(0, shared(self));
}

TEST_F(ksm, unmerge_rwp)
{
	unmerge_rwp(_metadata, self, variant, UFFD_FEATURE_RWP);
	if (self->uffd < 0)
		return;
	EXPECT_EQ(NR / 2, events(self, UFFDIO_REGISTER_MODE_RWP, false));
}

TEST_F(ksm, unmerge_rwp_async)
{
	unmerge_rwp(_metadata, self, variant, UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC);
}

TEST_F(ksm, fork)
{
	int status, pagemap;

	if (!mark_half(self, variant->value, UFFDIO_REGISTER_MODE_WP, 0))
		SKIP(return, "no userfaultfd write-protection");
	ASSERT_TRUE(merge(self, variant->zero));
	pagemap = fork();
	if (!pagemap) {
		/* The child is not tracked by our userfaultfd, see UFFD_EVENT_FORK. */
		pagemap = open("/proc/self/pagemap", O_RDONLY);
		_exit(!softdirty_supported() ? 0 :
		      marked(pagemap, self->area, NR, PM_SOFT_DIRTY) != NR / 2 ||
		      marked(pagemap, self->area, NR, PM_UFFD_WP));
	}
	ASSERT_GE(pagemap, 0);
	ASSERT_EQ(pagemap, waitpid(pagemap, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(half_is_marked(self));
	EXPECT_EQ(NR / 2, events(self, UFFDIO_REGISTER_MODE_WP, true));
}

TEST_F(ksm, migrate)
{
	int there = 0, tries = 100;

	if (variant->zero)
		SKIP(return, "the zero page does not move");
	if (!mark_half(self, variant->value, UFFDIO_REGISTER_MODE_WP, 0))
		SKIP(return, "no userfaultfd write-protection");
	if (move_to(self->area, NR, psize(), 1, MPOL_MF_MOVE) <= 0 ||
	    move_to(self->area, NR, psize(), 0, MPOL_MF_MOVE) <= 0)
		SKIP(return, "no two nodes to migrate between");
	ASSERT_TRUE(merge(self, variant->zero));
	/* A page that is held for a moment does not move. */
	while (!there && tries--) {
		there = move_to(self->area, NR, psize(), 1, MPOL_MF_MOVE_ALL);
		usleep(10000);
	}
	ASSERT_GT(there, 0);
	EXPECT_TRUE(half_is_marked(self));
	EXPECT_EQ(NR / 2, events(self, UFFDIO_REGISTER_MODE_WP, true));
}

TEST_F(ksm, swap)
{
	/* The last that is marked: it was replaced, not one of the first two. */
	const size_t before = (NR / 2 - 1) * psize();
	char *page = self->area + before;

	if (variant->zero)
		SKIP(return, "the zero page is not swapped");
	if (!mark_half(self, variant->value, UFFDIO_REGISTER_MODE_WP, 0))
		SKIP(return, "no userfaultfd write-protection");
	ASSERT_TRUE(merge(self, variant->zero));
	/* MADV_PAGEOUT leaves pages alone that several entries map. */
	madvise(self->area, before, MADV_DONTNEED);
	madvise(page + psize(), self->len - before - psize(), MADV_DONTNEED);
	madvise(page, psize(), MADV_PAGEOUT);
	if (!marked(self->pagemap, page, 1, PM_SWAP))
		SKIP(return, "nothing to swap to");
	EXPECT_EQ(1, marked(self->pagemap, page, 1, PM_UFFD_WP));
	EXPECT_EQ(softdirty_supported(), marked(self->pagemap, page, 1, PM_SOFT_DIRTY));
	FORCE_READ(*page);
	EXPECT_EQ(0, marked(self->pagemap, page, 1, PM_SWAP));
	EXPECT_EQ(1, marked(self->pagemap, page, 1, PM_UFFD_WP));
	EXPECT_EQ(softdirty_supported(), marked(self->pagemap, page, 1, PM_SOFT_DIRTY));
	EXPECT_EQ(1, events_of(self->uffd, UFFDIO_REGISTER_MODE_WP, page, true));
}

/* The memory of a device takes the place of zero pages: see lib/test_hmm.c */
static int to_device(int device, char *area, size_t nr)
{
	char data[NR * psize()];
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)area,
		.ptr = (uintptr_t)data,
		.npages = nr,
	};

	return ioctl(device, HMM_DMIRROR_MIGRATE_TO_DEV, &cmd);
}

/* KSM counts its zero pages until something else takes their place. */
TEST_F(ksm, count_after_move)
{
	char *to;

	if (!variant->zero)
		SKIP(return, "what is counted is the zero page");
	to = mmap(NULL, self->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		  -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	self->uffd = uffd_open(UFFD_FEATURE_MOVE);
	if (self->uffd < 0 || uffd_register_mode(self->uffd, to, self->len,
						 UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no UFFDIO_MOVE");
	ASSERT_TRUE(merge(self, true));
	ASSERT_EQ(self->len, uffd_move(self->uffd, to, self->area, self->len));
	EXPECT_EQ(0, ksm_get_self_zero_pages());
	munmap(to, self->len);
}

TEST_F(ksm, count_after_migration_to_device)
{
	int device;

	if (!variant->zero)
		SKIP(return, "what is counted is the zero page");
	device = open(DEVICE, O_RDWR);
	if (device < 0)
		SKIP(return, "no " DEVICE " (CONFIG_TEST_HMM)");
	ASSERT_TRUE(merge(self, true));
	ASSERT_EQ(0, to_device(device, self->area, NR));
	EXPECT_EQ(NR, marked(self->pagemap, self->area, NR, PM_SWAP));
	EXPECT_EQ(0, ksm_get_self_zero_pages());
	close(device);
}

/* Memory that another place of the kernel makes entries anew for. */
FIXTURE(entry)
{
	char *area;
	size_t len;
	int pagemap;
	int uffd;
};

FIXTURE_SETUP(entry)
{
	self->uffd = -1;
	self->pagemap = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_GE(self->pagemap, 0);
	/* Two huge pages, aligned. */
	self->len = 2 * read_pmd_pagesize();
	if (!self->len)
		self->len = 2 * NR * psize();
	self->area = mmap(NULL, 2 * self->len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->area);
	self->area += -(uintptr_t)self->area % (self->len / 2);
}

FIXTURE_TEARDOWN(entry)
{
	if (self->uffd >= 0)
		close(self->uffd);
	close(self->pagemap);
}

/* mremap() marks what it has moved; splitting the huge zero page keeps that. */
TEST_F(entry, split_huge_zero_page)
{
	size_t half = self->len / 2, nr = half / psize();
	char *to = self->area + half;

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty");
	if (!read_pmd_pagesize() || !detect_huge_zeropage())
		SKIP(return, "no huge zero page");
	madvise(self->area, half, MADV_HUGEPAGE);
	FORCE_READ(self->area[0]);
	if (scan(self->pagemap, self->area, nr, PAGE_IS_HUGE, 0) != nr)
		SKIP(return, "no huge zero page");
	clear_softdirty();
	ASSERT_EQ(to, mremap(self->area, half, half, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	ASSERT_EQ(nr, marked(self->pagemap, to, nr, PM_SOFT_DIRTY));
	ASSERT_EQ(0, mprotect(to + psize(), psize(), PROT_READ));
	ASSERT_EQ(0, scan(self->pagemap, to, nr, PAGE_IS_HUGE, 0));
	EXPECT_EQ(nr, marked(self->pagemap, to, nr, PM_SOFT_DIRTY));
}

/* A huge page keeps its marks when it is split, and so do pages of it. */
TEST_F(entry, split_huge_page)
{
	size_t half = self->len / 2, nr = half / psize();

	if (!read_pmd_pagesize() || allocate_transhuge(self->area, self->pagemap) == -1)
		SKIP(return, "no transparent huge pages");
	self->uffd = uffd_open(0);
	if (self->uffd < 0 ||
	    uffd_register_mode(self->uffd, self->area, half, UFFDIO_REGISTER_MODE_WP))
		SKIP(return, "no userfaultfd write-protection");
	clear_softdirty();
	self->area[0]++;
	ASSERT_EQ(0, uffd_protect(self->uffd, self->area, half,
				  UFFDIO_REGISTER_MODE_WP, true));
	ASSERT_EQ(0, mprotect(self->area + psize(), psize(), PROT_READ));
	ASSERT_EQ(0, scan(self->pagemap, self->area, nr, PAGE_IS_HUGE, 0));
	EXPECT_EQ(nr, marked(self->pagemap, self->area, nr, PM_UFFD_WP));
	EXPECT_EQ(softdirty_supported() ? nr : 0,
		  marked(self->pagemap, self->area, nr, PM_SOFT_DIRTY));
}

/* As mremap() does, UFFDIO_MOVE marks what it has moved, be it zero. */
TEST_F(entry, uffd_move_zero_page)
{
	char *from = self->area, *to = self->area + self->len / 2;

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty");
	madvise(self->area, self->len, MADV_NOHUGEPAGE);
	FORCE_READ(*from);
	from[psize()] = 1;
	clear_softdirty();
	self->uffd = uffd_open(UFFD_FEATURE_MOVE);
	if (self->uffd < 0)
		SKIP(return, "no UFFDIO_MOVE");
	ASSERT_EQ(0, uffd_register_mode(self->uffd, to, self->len / 2,
					UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(2 * psize(), uffd_move(self->uffd, to, from, 2 * psize()));
	EXPECT_EQ(1, marked(self->pagemap, to, 1, PM_SOFT_DIRTY));
	EXPECT_EQ(1, marked(self->pagemap, to + psize(), 1, PM_SOFT_DIRTY));
}

/*
 * A page that UFFDIO_MOVE moves is not write-protected at its new place, and
 * one that is in the swap is not, either.
 */
TEST_F(entry, uffd_move_swapped)
{
	size_t half = self->len / 2;
	char *from = self->area, *to = self->area + half;

	madvise(self->area, self->len, MADV_NOHUGEPAGE);
	write_all(from, NR, 1);
	self->uffd = uffd_open(UFFD_FEATURE_MOVE);
	if (self->uffd < 0 ||
	    uffd_register_mode(self->uffd, from, half, UFFDIO_REGISTER_MODE_WP))
		SKIP(return, "no UFFDIO_MOVE, or no userfaultfd write-protection");
	ASSERT_EQ(0, uffd_register_mode(self->uffd, to, half,
					UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, uffd_protect(self->uffd, from, NR * psize(),
				  UFFDIO_REGISTER_MODE_WP, true));
	madvise(from, NR / 2 * psize(), MADV_PAGEOUT);
	if (marked(self->pagemap, from, NR / 2, PM_SWAP) != NR / 2)
		SKIP(return, "nothing to swap to");
	ASSERT_EQ(NR * psize(), uffd_move(self->uffd, to, from, NR * psize()));
	EXPECT_EQ(0, marked(self->pagemap, to, NR, PM_UFFD_WP));
	/* If it is, this makes an entry that is both protected and writable. */
	write_all(to, NR, 2);
	EXPECT_EQ(0, marked(self->pagemap, to, NR, PM_UFFD_WP));
}

TEST_HARNESS_MAIN
