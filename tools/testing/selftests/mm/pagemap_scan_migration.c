// SPDX-License-Identifier: GPL-2.0
/*
 * PAGEMAP_SCAN, soft-dirty and userfaultfd's read-write protection (RWP) of pages
 * that are not present: they migrate between two nodes, are swapped out, or are
 * the memory of a device.
 *
 * A page that was written (or accessed) since it was protected has to be reported,
 * and a page that was not must not be reported, no matter whether the protection
 * has met the page or an entry that stands for it.
 *
 * A huge page's protection is not lost in migration. What a scan may do wrong to
 * its migration entry can only be seen with CONFIG_PAGE_TABLE_CHECK: it warns of
 * an entry that is write-protected for userfaultfd and writable. So look at the
 * kernel's log, too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "../../../../lib/test_hmm_uapi.h"
#include "hugepage_settings.h"
#include "kselftest_harness.h"
#include "vm_util.h"

#define SECONDS		2
#define NR_SMALL	256
#define NR_HUGE		4
#define NR_NODES	2
#define DEVICE		"/dev/hmm_dmirror0"

/* There are two of each page while it moves. */
HUGETLB_SETUP_DEFAULT_PAGES(2 * NR_NODES * NR_HUGE)

FIXTURE(scan)
{
	char *area;
	size_t page;		/* the size of what one entry maps */
	size_t nr;
	size_t len;
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

/* Return how many bytes are reported as of @category, or -1. */
static long reported(int pagemap, char *area, size_t len, uint64_t category,
		     uint64_t flags)
{
	static struct page_region regions[NR_SMALL];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = flags,
		.start = (uintptr_t)area,
		.end = (uintptr_t)area + len,
		.vec = (uintptr_t)regions,
		.vec_len = NR_SMALL,
		.category_mask = category,
		.return_mask = category,
	};
	size_t bytes = 0;
	int i, n;

	while (arg.start < arg.end) {
		n = ioctl(pagemap, PAGEMAP_SCAN, &arg);
		if (n < 0)
			return -1;
		for (i = 0; i < n; i++)
			bytes += regions[i].end - regions[i].start;
		arg.start = arg.walk_end;
	}
	return bytes;
}

/* Write-protect what was written; return how many bytes that is, or -1. */
static long scan(int pagemap, char *area, size_t len)
{
	return reported(pagemap, area, len, PAGE_IS_WRITTEN,
			PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC);
}

static size_t nr_marked(int pagemap, char *area, size_t nr, uint64_t mark)
{
	size_t i, n = 0;

	for (i = 0; i < nr; i++)
		n += !!(pagemap_get_entry(pagemap, area + i * psize()) & mark);
	return n;
}

static bool uffd_track(int *uffd, char *area, size_t len, uint64_t mode, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)area, .len = len },
		.mode = mode,
	};

	*uffd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	return *uffd >= 0 && !ioctl(*uffd, UFFDIO_API, &api) &&
	       !ioctl(*uffd, UFFDIO_REGISTER, &reg);
}

static bool track_writes(int *uffd, char *area, size_t len)
{
	return uffd_track(uffd, area, len, UFFDIO_REGISTER_MODE_WP,
			  UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
			  UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
}

/* Write through new entries: an asynchronous write fault would split a huge one. */
static void write_all(FIXTURE_DATA(scan) * self)
{
	size_t i;

	madvise(self->area, self->len, MADV_DONTNEED);
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
	self->len = self->nr * self->page;

	align = variant->thp ? self->page : 0;
	self->area = mmap(NULL, self->len + align, PROT_READ | PROT_WRITE,
			  variant->flags, -1, 0);
	ASSERT_NE(MAP_FAILED, self->area);
	if (variant->thp) {
		self->area += -(uintptr_t)self->area % align;
		madvise(self->area, self->len, MADV_HUGEPAGE);
	} else if (!hugetlb) {
		madvise(self->area, self->len, MADV_NOHUGEPAGE);
	}

	write_all(self);
	if (variant->thp && !check_huge_anon(self->area, self->len, self->nr, self->page))
		SKIP(return, "no transparent huge pages");
}

FIXTURE_TEARDOWN(scan)
{
	if (self->uffd >= 0)
		close(self->uffd);
	close(self->pagemap);
}

static bool start_moving(FIXTURE_DATA(scan) * self)
{
	return move_to(self, 0) > 0 && move_to(self, 1) > 0 &&
	       !pthread_create(&self->mover, NULL, mover, self);
}

static void stop_moving(FIXTURE_DATA(scan) * self)
{
	atomic_store(&self->stop, true);
	pthread_join(self->mover, NULL);
}

/* A move takes about as long as a round. Wait until it has begun. */
static void wait_at_random(unsigned long max)
{
	unsigned long end = microseconds() + rand() % (max + 1);

	while (microseconds() < end)
		;
}

/* To read a page is to wait until it has migrated. */
static void read_all(FIXTURE_DATA(scan) * self)
{
	force_read_pages(self->area, self->nr, self->page);
}

static void write_half(FIXTURE_DATA(scan) * self)
{
	size_t i;

	for (i = 0; i < self->nr; i += 2)
		self->area[i * self->page]++;
}

/* What write_half() writes, as PAGEMAP_SCAN counts: it splits transparent huge pages. */
static long half(FIXTURE_DATA(scan) * self, const FIXTURE_VARIANT(scan) * variant)
{
	return self->nr / 2 * (variant->thp ? psize() : self->page);
}

TEST_F(scan, reports_what_was_written)
{
	unsigned long rounds = 0, missed = 0, invented = 0;
	unsigned long end = microseconds() + SECONDS * 1000000ul, start;
	long n = 0, expected = half(self, variant);

	if (!track_writes(&self->uffd, self->area, self->len))
		SKIP(return, "no asynchronous userfaultfd write-protection");
	if (!start_moving(self))
		SKIP(return, "no two nodes to migrate between");
	for (; microseconds() < end && n >= 0; rounds++) {
		start = microseconds();
		write_all(self);
		wait_at_random(microseconds() - start);
		n = scan(self->pagemap, self->area, self->len);
		if (n < 0)
			break;
		missed += (self->len - n) / self->page;
		read_all(self);
		n = scan(self->pagemap, self->area, self->len);
		if (n < 0)
			break;
		invented += n / self->page;
		/* What is protected migrates, is written, and migrates again. */
		write_half(self);
		n = scan(self->pagemap, self->area, self->len);
		missed += n < expected;
		invented += n > expected;
	}
	stop_moving(self);

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

TEST_F(scan, soft_dirty)
{
	unsigned long end = microseconds() + SECONDS * 1000000ul;
	unsigned long rounds = 0, missed = 0, invented = 0;
	bool dirty;
	size_t i;

	if (variant->flags & MAP_HUGETLB || !softdirty_supported())
		SKIP(return, "no soft-dirty");
	if (!start_moving(self))
		SKIP(return, "no two nodes to migrate between");
	for (; microseconds() < end; rounds++) {
		wait_at_random(2000);
		clear_softdirty();
		read_all(self);
		write_half(self);
		for (i = 0; i < self->nr; i++) {
			dirty = pagemap_is_softdirty(self->pagemap,
						     self->area + i * self->page);
			missed += !dirty && i % 2 == 0;
			invented += dirty && i % 2 == 1;
		}
	}
	stop_moving(self);

	TH_LOG("%lu rounds of %zu pages, %lu moves", rounds, self->nr,
	       atomic_load(&self->moved));
	EXPECT_GT(atomic_load(&self->moved), 0);
	EXPECT_EQ(0, missed)
		TH_LOG("pages were written and are not soft-dirty");
	/* A dirty huge page may be soft-dirty for no other reason. */
	if (!variant->thp) {
		EXPECT_EQ(0, invented)
			TH_LOG("pages were not written and are soft-dirty");
	}
}

TEST_F(scan, reports_what_was_accessed)
{
	unsigned long end = microseconds() + SECONDS * 1000000ul;
	unsigned long rounds = 0, missed = 0, invented = 0;
	struct uffdio_rwprotect protect = {
		.range = { .start = (uintptr_t)self->area, .len = self->len },
		.mode = UFFDIO_RWPROTECT_MODE_RWP,
	};
	long n = 0, expected = self->nr / 2 * self->page;
	int tries;
	size_t i;

	if (!uffd_track(&self->uffd, self->area, self->len, UFFDIO_REGISTER_MODE_RWP,
			UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC))
		SKIP(return, "no asynchronous userfaultfd read-write protection");
	if (!start_moving(self))
		SKIP(return, "no two nodes to migrate between");
	for (; microseconds() < end && n >= 0; rounds++) {
		write_all(self);
		wait_at_random(2000);
		n = ioctl(self->uffd, UFFDIO_RWPROTECT, &protect);
		if (n < 0)
			break;
		wait_at_random(2000);
		n = reported(self->pagemap, self->area, self->len, PAGE_IS_ACCESSED, 0);
		if (n < 0)
			break;
		invented += n / self->page;
		for (i = 0; i < self->nr; i += 2)
			FORCE_READ(self->area[i * self->page]);
		/*
		 * Without a lock, the scan of hugetlb may find an entry clear
		 * that migration is about to set: look again.
		 */
		tries = variant->flags & MAP_HUGETLB ? 10 : 1;
		do {
			n = reported(self->pagemap, self->area, self->len, PAGE_IS_ACCESSED, 0);
		} while (n >= 0 && n < expected && --tries);
		missed += n < expected;
		invented += n > expected;
	}
	stop_moving(self);

	TH_LOG("%lu rounds of %zu pages, %lu moves", rounds, self->nr,
	       atomic_load(&self->moved));
	EXPECT_GE(n, 0)
		TH_LOG("UFFDIO_RWPROTECT or PAGEMAP_SCAN: %m");
	EXPECT_EQ(0, missed)
		TH_LOG("pages were accessed and not reported");
	EXPECT_EQ(0, invented)
		TH_LOG("pages were reported and not accessed");
}

/* What is swapped out is marked for userfaultfd and, being exclusive, could be writable. */
TEST_F(scan, swap)
{
	size_t swapped = 0;
	int read_first;

	if (variant->flags & MAP_HUGETLB)
		SKIP(return, "no swap of hugetlb");
	if (!track_writes(&self->uffd, self->area, self->len))
		SKIP(return, "no asynchronous userfaultfd write-protection");
	for (read_first = 0; read_first < 2; read_first++) {
		write_all(self);
		ASSERT_EQ(self->len, scan(self->pagemap, self->area, self->len));
		madvise(self->area, self->len, MADV_PAGEOUT);
		swapped += nr_marked(self->pagemap, self->area, self->len / psize(), PM_SWAP);
		if (read_first)
			read_all(self);
		write_half(self);
		EXPECT_EQ(half(self, variant), scan(self->pagemap, self->area, self->len));
		EXPECT_EQ(0, scan(self->pagemap, self->area, self->len));
	}
	if (!swapped)
		SKIP(return, "nothing to swap to");
}

/* Memory of a device that does not share it with the CPU, see lib/test_hmm.c */
FIXTURE(device)
{
	char *area;
	char *data;		/* of the device */
	size_t len;
	size_t page;
	int pagemap;
	int uffd;
	int device;
};

FIXTURE_VARIANT(device)
{
	bool thp;
};

FIXTURE_VARIANT_ADD(device, base)
{
};

FIXTURE_VARIANT_ADD(device, thp)
{
	.thp = true,
};

/* What the device does to @nr base pages from the @first one on; returns 0, or -1. */
static int command(FIXTURE_DATA(device) * self, unsigned long request, size_t first,
		   size_t nr)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)self->area + first * psize(),
		.ptr = (uintptr_t)self->data,
		.npages = nr,
	};

	return ioctl(self->device, request, &cmd);
}

/* Return how many pages the device may access with @prot, or -1. */
static int nr_with(FIXTURE_DATA(device) * self, int prot)
{
	size_t i, nr = self->len / psize();
	int n = 0;

	if (command(self, HMM_DMIRROR_SNAPSHOT, 0, nr))
		return -1;
	for (i = 0; i < nr; i++)
		n += (self->data[i] & prot) == prot;
	return n;
}

FIXTURE_SETUP(device)
{
	size_t i, nr, align;
	int prot = HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL | HMM_DMIRROR_PROT_WRITE;

	self->uffd = -1;
	self->device = -1;
	self->pagemap = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_GE(self->pagemap, 0);
	self->page = variant->thp ? read_pmd_pagesize() : psize();
	if (!self->page)
		SKIP(return, "no such pages");
	self->device = open(DEVICE, O_RDWR);
	if (self->device < 0)
		SKIP(return, "no " DEVICE " (CONFIG_TEST_HMM)");
	self->len = (variant->thp ? NR_HUGE : NR_SMALL) * self->page;
	nr = self->len / psize();
	align = variant->thp ? self->page : 0;
	self->area = mmap(NULL, self->len + align, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->area);
	self->area += -(uintptr_t)self->area % (align ? : 1);
	madvise(self->area, self->len, variant->thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	self->data = malloc(self->len);
	ASSERT_NE(NULL, self->data);
	if (!track_writes(&self->uffd, self->area, self->len))
		SKIP(return, "no asynchronous userfaultfd write-protection");

	/* All of a new mapping counts as soft-dirty, whatever its entries say. */
	if (softdirty_supported())
		clear_softdirty();
	for (i = 0; i < self->len; i += psize())
		self->area[i] = 1;
	if (variant->thp && !check_huge_anon(self->area, self->len, NR_HUGE, self->page))
		SKIP(return, "no transparent huge pages");
	ASSERT_EQ(0, command(self, HMM_DMIRROR_MIGRATE_TO_DEV, 0, nr));
	ASSERT_EQ(nr, nr_with(self, prot | (variant->thp ? HMM_DMIRROR_PROT_PMD : 0)));
}

FIXTURE_TEARDOWN(device)
{
	if (self->uffd >= 0)
		close(self->uffd);
	if (self->device >= 0)
		close(self->device);
	close(self->pagemap);
	free(self->data);
}

/* The device may not write without a fault: that would never be reported. */
TEST_F(device, reports_what_was_written)
{
	size_t nr = self->len / psize();

	EXPECT_EQ(self->len, scan(self->pagemap, self->area, self->len));
	EXPECT_EQ(nr, nr_marked(self->pagemap, self->area, nr, PM_UFFD_WP));
	EXPECT_EQ(0, nr_with(self, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(0, scan(self->pagemap, self->area, self->len));

	/* A page has to migrate for the CPU to write to it. */
	self->area[0] = 2;
	EXPECT_EQ(psize(), scan(self->pagemap, self->area, self->len));
	EXPECT_EQ(0, scan(self->pagemap, self->area, self->len));

	/* For the device, too: it takes the fault. */
	memset(self->data, 3, psize());
	ASSERT_EQ(0, command(self, HMM_DMIRROR_WRITE, nr - 1, 1));
	EXPECT_EQ(3, self->area[self->len - 1]);
	EXPECT_EQ(psize(), scan(self->pagemap, self->area, self->len));
	EXPECT_EQ(0, scan(self->pagemap, self->area, self->len));
}

TEST_F(device, soft_dirty)
{
	size_t nr = self->len / psize();

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty");
	EXPECT_EQ(nr, nr_marked(self->pagemap, self->area, nr, PM_SOFT_DIRTY));
	EXPECT_EQ(self->len, scan(self->pagemap, self->area, self->len));
	EXPECT_EQ(nr, nr_marked(self->pagemap, self->area, nr, PM_SOFT_DIRTY));
}

/* What the CPU writes when a page has come back is seen. */
TEST_F(device, write_after_clear_refs)
{
	size_t nr = self->len / psize();

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty");
	clear_softdirty();
	EXPECT_EQ(0, nr_marked(self->pagemap, self->area, nr, PM_SOFT_DIRTY));
	self->area[0] = 2;
	EXPECT_EQ(1, nr_marked(self->pagemap, self->area, 1, PM_SOFT_DIRTY));
	/* This device takes a fault as well. */
	memset(self->data, 3, psize());
	ASSERT_EQ(0, command(self, HMM_DMIRROR_WRITE, nr - 1, 1));
	EXPECT_EQ(1, nr_marked(self->pagemap, self->area + self->len - psize(), 1,
			       PM_SOFT_DIRTY));
}

/* Let the device's memory take the place of zero pages, and of what is not there. */
TEST_F(device, write_to_new_pages)
{
	size_t nr = self->len / psize(), last = self->len - psize();

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty");
	ASSERT_EQ(0, madvise(self->area, self->len, MADV_DONTNEED));
	force_read_pages(self->area, nr / 2, psize());
	ASSERT_EQ(0, nr_marked(self->pagemap, self->area, nr, PM_SOFT_DIRTY));
	ASSERT_EQ(0, command(self, HMM_DMIRROR_MIGRATE_TO_DEV, 0, nr));
	self->area[0] = 2;
	self->area[last] = 2;
	EXPECT_EQ(1, nr_marked(self->pagemap, self->area, 1, PM_SOFT_DIRTY));
	EXPECT_EQ(1, nr_marked(self->pagemap, self->area + last, 1, PM_SOFT_DIRTY));
}

/* What protects zero pages protects the device's memory that takes their place. */
TEST_F(device, protected_zero_pages)
{
	size_t nr = self->len / psize();

	ASSERT_EQ(0, madvise(self->area, self->len, MADV_DONTNEED));
	force_read_pages(self->area, nr, psize());
	ASSERT_EQ(self->len, scan(self->pagemap, self->area, self->len));
	ASSERT_EQ(0, command(self, HMM_DMIRROR_MIGRATE_TO_DEV, 0, nr));
	EXPECT_EQ(nr, nr_marked(self->pagemap, self->area, nr, PM_SWAP));
	EXPECT_EQ(nr, nr_marked(self->pagemap, self->area, nr, PM_UFFD_WP));
	EXPECT_EQ(0, nr_with(self, HMM_DMIRROR_PROT_WRITE));
	self->area[0] = 2;
	EXPECT_EQ(psize(), scan(self->pagemap, self->area, self->len));
}

TEST_F(device, protected_zero_pages_rwp)
{
	size_t nr = self->len / psize();
	struct uffdio_rwprotect protect = {
		.range = { .start = (uintptr_t)self->area, .len = self->len },
		.mode = UFFDIO_RWPROTECT_MODE_RWP,
	};

	close(self->uffd);
	if (!uffd_track(&self->uffd, self->area, self->len, UFFDIO_REGISTER_MODE_RWP,
			UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC))
		SKIP(return, "no asynchronous userfaultfd read-write protection");
	ASSERT_EQ(0, madvise(self->area, self->len, MADV_DONTNEED));
	force_read_pages(self->area, nr, psize());
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_RWPROTECT, &protect));
	ASSERT_EQ(0, command(self, HMM_DMIRROR_MIGRATE_TO_DEV, 0, nr));
	EXPECT_EQ(nr, nr_marked(self->pagemap, self->area, nr, PM_SWAP));
	EXPECT_EQ(nr, nr_marked(self->pagemap, self->area, nr, PM_UFFD_WP));
	EXPECT_EQ(0, reported(self->pagemap, self->area, self->len, PAGE_IS_ACCESSED, 0));
	FORCE_READ(self->area[0]);
	EXPECT_LT(0, reported(self->pagemap, self->area, self->len, PAGE_IS_ACCESSED, 0));
}

/* Returns how often NUMA balancing has scanned our memory, or -1. */
static long numa_scans(void)
{
	char line[256];
	long n = -1;
	FILE *f = fopen("/proc/self/sched", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "mm->numa_scan_seq : %ld", &n);
	if (f)
		fclose(f);
	return n;
}

static void *idler(void *unused)
{
	pause();
	return NULL;
}

/*
 * NUMA balancing learns nothing from the device, and takes nothing away from it.
 * But it tells the device to unmap all that lies behind a page that is in memory.
 * A page of a single thread on its own node is left alone.
 */
TEST_F(device, numa_balancing)
{
	const int prot = HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL | HMM_DMIRROR_PROT_WRITE;
	unsigned long end = microseconds() + 5 * SECONDS * 1000000ul;
	long from = numa_scans();
	pthread_t thread;
	int nr;

	self->area[0] = 2;
	nr = nr_with(self, prot);
	ASSERT_GT(nr, 0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, idler, NULL));
	/* A scan comes if we have used a second of CPU time. */
	while (from >= 0 && numa_scans() < from + 3 && microseconds() < end)
		FORCE_READ(self->area[0]);
	if (from < 0 || numa_scans() < from + 3)
		SKIP(return, "no NUMA balancing");
	EXPECT_EQ(nr, nr_with(self, prot));
	memset(self->data, 3, psize());
	ASSERT_EQ(0, command(self, HMM_DMIRROR_WRITE, self->len / psize() - 1, 1));
	EXPECT_EQ(nr, nr_with(self, prot));
	EXPECT_EQ(3, self->area[self->len - 1]);
}

/* mprotect() takes the permission to write away, and nothing else. */
TEST_F(device, mprotect)
{
	size_t nr = self->len / psize();

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty");
	ASSERT_EQ(0, mprotect(self->area, self->len, PROT_READ));
	EXPECT_EQ(0, nr_with(self, HMM_DMIRROR_PROT_WRITE));
	ASSERT_EQ(0, mprotect(self->area, self->len, PROT_READ | PROT_WRITE));
	EXPECT_EQ(nr, nr_marked(self->pagemap, self->area, nr, PM_SOFT_DIRTY));

	/* The device gets it back by a fault. */
	memset(self->data, 3, psize());
	ASSERT_EQ(0, command(self, HMM_DMIRROR_WRITE, nr - 1, 1));
	EXPECT_EQ(3, self->area[self->len - 1]);
}

TEST_HARNESS_MAIN
