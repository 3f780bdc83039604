// SPDX-License-Identifier: GPL-2.0
/*
 * PAGEMAP_SCAN write-protects pages while they migrate between two nodes.
 *
 * The next scan has to report a page that was written since then, and must not
 * report a page that was not written, no matter whether a scan has met the page
 * or a migration entry.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "hugepage_settings.h"
#include "kselftest_harness.h"
#include "vm_util.h"

#define SECONDS		2
#define NR_SMALL	256
#define NR_HUGE		4
#define NR_NODES	2

/* There are two of each page while it moves. */
HUGETLB_SETUP_DEFAULT_PAGES(2 * NR_NODES * NR_HUGE)

FIXTURE(scan)
{
	char *area;
	size_t page;		/* the size of what one entry maps */
	size_t nr;
	int uffd;
	int pagemap;
	pthread_t mover;
	atomic_bool stop;
	atomic_ulong moved;
};

FIXTURE_VARIANT(scan)
{
	int flags;
	bool thp;
};

FIXTURE_VARIANT_ADD(scan, anon)
{
	.flags = MAP_PRIVATE | MAP_ANONYMOUS,
};

FIXTURE_VARIANT_ADD(scan, shmem)
{
	.flags = MAP_SHARED | MAP_ANONYMOUS,
};

FIXTURE_VARIANT_ADD(scan, thp)
{
	.flags = MAP_PRIVATE | MAP_ANONYMOUS,
	.thp = true,
};

FIXTURE_VARIANT_ADD(scan, hugetlb)
{
	.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
};

/* Move all pages to @node; return how many are there then, or -1. */
static int move_to(FIXTURE_DATA(scan) * self, int node)
{
	void *pages[NR_SMALL];
	int nodes[NR_SMALL], status[NR_SMALL];
	int there = 0;
	size_t i;

	for (i = 0; i < self->nr; i++) {
		pages[i] = self->area + i * self->page;
		nodes[i] = node;
		status[i] = -ENOENT;
	}
	if (syscall(__NR_move_pages, 0, self->nr, pages, nodes, status,
		    MPOL_MF_MOVE) < 0)
		return -1;
	for (i = 0; i < self->nr; i++)
		there += status[i] == node;
	return there;
}

static void *mover(void *data)
{
	FIXTURE_DATA(scan) * self = data;
	unsigned int turn;
	int there;

	for (turn = 0; !atomic_load(&self->stop); turn++) {
		there = move_to(self, turn % NR_NODES);
		if (there > 0)
			atomic_fetch_add(&self->moved, there);
	}
	return NULL;
}

/* Write-protect the pages that were written; return their number, or -1. */
static long scan(FIXTURE_DATA(scan) * self)
{
	static struct page_region regions[NR_SMALL];
	size_t len = self->nr * self->page;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)self->area,
		.end = (uintptr_t)self->area + len,
		.vec = (uintptr_t)regions,
		.vec_len = NR_SMALL,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	size_t bytes = 0;
	int i, n;

	while (arg.start < arg.end) {
		n = ioctl(self->pagemap, PAGEMAP_SCAN, &arg);
		if (n < 0)
			return -1;
		for (i = 0; i < n; i++)
			bytes += regions[i].end - regions[i].start;
		arg.start = arg.walk_end;
	}
	return bytes / self->page;
}

/* Write through new entries: an asynchronous write fault would split a huge one. */
static void write_all(FIXTURE_DATA(scan) * self)
{
	size_t i;

	madvise(self->area, self->nr * self->page, MADV_DONTNEED);
	for (i = 0; i < self->nr; i++)
		self->area[i * self->page] = 1;
}

static unsigned long microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ul + now.tv_nsec / 1000;
}

FIXTURE_SETUP(scan)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC |
			    UFFD_FEATURE_WP_UNPOPULATED |
			    UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	bool hugetlb = variant->flags & MAP_HUGETLB;
	size_t align;

	self->uffd = -1;
	self->pagemap = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_GE(self->pagemap, 0);
	self->page = hugetlb ? default_huge_page_size() :
		     variant->thp ? read_pmd_pagesize() : psize();
	if (!self->page)
		SKIP(return, "no such pages");
	if (hugetlb && hugetlb_free_default_pages() < 2 * NR_HUGE)
		SKIP(return, "not enough huge pages");
	self->nr = self->page > psize() ? NR_HUGE : NR_SMALL;

	align = variant->thp ? self->page : 0;
	self->area = mmap(NULL, self->nr * self->page + align,
			  PROT_READ | PROT_WRITE, variant->flags, -1, 0);
	ASSERT_NE(MAP_FAILED, self->area);
	if (variant->thp) {
		self->area += -(uintptr_t)self->area % align;
		madvise(self->area, self->nr * self->page, MADV_HUGEPAGE);
	} else if (!hugetlb) {
		madvise(self->area, self->nr * self->page, MADV_NOHUGEPAGE);
	}

	self->uffd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (self->uffd < 0 || ioctl(self->uffd, UFFDIO_API, &api))
		SKIP(return, "no asynchronous userfaultfd write-protection");
	reg.range.start = (uintptr_t)self->area;
	reg.range.len = self->nr * self->page;
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_REGISTER, &reg));

	write_all(self);
	if (variant->thp && !check_huge_anon(self->area, self->nr * self->page,
					     self->nr, self->page))
		SKIP(return, "no transparent huge pages");
	if (move_to(self, 0) <= 0 || move_to(self, 1) <= 0)
		SKIP(return, "no two nodes to migrate between");
}

FIXTURE_TEARDOWN(scan)
{
	if (self->uffd >= 0)
		close(self->uffd);
	close(self->pagemap);
}

TEST_F(scan, reports_what_was_written)
{
	unsigned long rounds = 0, missed = 0, invented = 0;
	unsigned long end = microseconds() + SECONDS * 1000000ul, start;
	long n = 0;

	ASSERT_EQ(0, pthread_create(&self->mover, NULL, mover, self));
	for (; microseconds() < end; rounds++) {
		start = microseconds();
		write_all(self);
		/* A move takes about as long as the writes. Wait until it has begun. */
		start = microseconds() + rand() % (microseconds() - start + 1);
		while (microseconds() < start)
			;
		n = scan(self);
		if (n < 0)
			break;
		missed += self->nr - n;
		/* To read a page is to wait until it has migrated. */
		force_read_pages(self->area, self->nr, self->page);
		n = scan(self);
		if (n < 0)
			break;
		invented += n;
	}
	atomic_store(&self->stop, true);
	pthread_join(self->mover, NULL);

	TH_LOG("%lu rounds of %zu pages, %lu moves", rounds, self->nr,
	       atomic_load(&self->moved));
	EXPECT_GE(n, 0)
		TH_LOG("PAGEMAP_SCAN: %m");
	EXPECT_GT(atomic_load(&self->moved), 0);
	EXPECT_EQ(0, missed)
		TH_LOG("pages were written and not reported");
	EXPECT_EQ(0, invented)
		TH_LOG("pages were reported and not written since the last scan");
}

TEST_HARNESS_MAIN
