// SPDX-License-Identifier: GPL-2.0
/* Cases of pte_changes: userfaultfd, PAGEMAP_SCAN, KSM, migration, kernel memory, uprobes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pte_changes.h"
#include "sysfs.h"

#define KSM		"/sys/kernel/mm/ksm/"
#define TRACING		"/sys/kernel/tracing/"

/* What headers older than the kernel lack. */
#define WP_UNPOPULATED	(1ULL << 13)	/* features of userfaultfd */
#define POISON		(1ULL << 14)
#define WP_ASYNC	(1ULL << 15)
#define MOVE		(1ULL << 16)
#define WP_SHMEM	(1ULL << 12)

struct uffd_move {
	uint64_t dst, src, len, mode;
	int64_t moved;
};

struct uffd_poison {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};

struct scan {				/* PAGEMAP_SCAN's argument */
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof, returned;
};

struct region {				/* what PAGEMAP_SCAN returns */
	uint64_t start, end, categories;
};

#define UFFD_MOVE	_IOWR(0xAA, 0x05, struct uffd_move)
#define UFFD_POISON	_IOWR(0xAA, 0x08, struct uffd_poison)
#define SCAN		_IOWR('f', 16, struct scan)
#define SCAN_WP		(1 << 0)
#define SCAN_WPASYNC	(1 << 1)
#define IS_WRITTEN	(1 << 1)

static int uffd = -1;

/* ---- userfaultfd ---- */

static void new_uffd(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	need(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api), "userfaultfd");
}

static void register_with(char *p, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)p, .len = LEN }, .mode = mode,
	};

	need(!ioctl(uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER");
}

static void protect(char *p, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)p, .len = LEN },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	need(!ioctl(uffd, UFFDIO_WRITEPROTECT, &wp), "UFFDIO_WRITEPROTECT");
}

static void uffd_protect(void)
{
	char *p = touched();

	new_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	register_with(p, UFFDIO_REGISTER_MODE_WP);
	mark();
	protect(p, true);
	done(PAGES);
}

static char *markers(void)
{
	char *p = room();

	new_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | WP_UNPOPULATED);
	register_with(p, UFFDIO_REGISTER_MODE_WP);
	return p;
}

static void uffd_protect_none(void)
{
	char *p = markers();

	mark();
	protect(p, true);
	done(PAGES);
}

static void uffd_unprotect_none(void)
{
	char *p = markers();

	protect(p, true);
	mark();
	protect(p, false);
	done(PAGES);
}

static void uffd_protect_swapped(void)
{
	char *p = swapped();

	new_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	register_with(p, UFFDIO_REGISTER_MODE_WP);
	mark();
	protect(p, true);
	done(PAGES);
}

static void uffd_written(void)
{
	char *p = touched();

	new_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | WP_UNPOPULATED | WP_ASYNC);
	register_with(p, UFFDIO_REGISTER_MODE_WP);
	protect(p, true);
	mark();
	write_to(p);
	done(PAGES);
}

static void uffd_zap(void)
{
	char *p = file_room(MAP_SHARED);

	write_to(p);
	new_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | WP_SHMEM);
	register_with(p, UFFDIO_REGISTER_MODE_WP);
	protect(p, true);
	mark();
	need(!madvise(p, LEN, MADV_DONTNEED), "madvise");
	done(PAGES);
}

static void pagemap_scan(void)
{
	struct region regions[PAGES];
	struct scan scan = {
		.size = sizeof(scan), .flags = SCAN_WP | SCAN_WPASYNC,
		.vec = (uintptr_t)regions, .vec_len = PAGES,
		.mask = IS_WRITTEN, .returned = IS_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY);
	char *p = touched();

	scan.start = (uintptr_t)p;
	scan.end = scan.start + LEN;
	new_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | WP_UNPOPULATED | WP_ASYNC);
	register_with(p, UFFDIO_REGISTER_MODE_WP);
	mark();
	need(ioctl(fd, SCAN, &scan) > 0, "PAGEMAP_SCAN");
	done(PAGES);
}

static char *missing(uint64_t features)
{
	char *p = room();

	new_uffd(features);
	register_with(p, UFFDIO_REGISTER_MODE_MISSING);
	return p;
}

static void uffd_copy(void)
{
	struct uffdio_copy copy = { .len = LEN };
	char *from = touched(), *p = missing(0);

	copy.src = (uintptr_t)from;
	copy.dst = (uintptr_t)p;
	mark();
	need(!ioctl(uffd, UFFDIO_COPY, &copy), "UFFDIO_COPY");
	done(PAGES);
}

static void uffd_zero(void)
{
	struct uffdio_zeropage zero = { .range.len = LEN };
	char *p = missing(0);

	zero.range.start = (uintptr_t)p;
	mark();
	need(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero), "UFFDIO_ZEROPAGE");
	done(PAGES);
}

static void uffd_poison(void)
{
	struct uffd_poison poison = { .range.len = LEN };
	char *p = missing(POISON);

	poison.range.start = (uintptr_t)p;
	mark();
	need(!ioctl(uffd, UFFD_POISON, &poison), "UFFDIO_POISON");
	done(PAGES);
}

static void move(char *from)
{
	struct uffd_move args = { .src = (uintptr_t)from, .len = LEN };
	char *p = missing(MOVE);

	args.dst = (uintptr_t)p;
	mark();
	need(!ioctl(uffd, UFFD_MOVE, &args), "UFFDIO_MOVE");
	done(PAGES);
}

static void uffd_move(void)
{
	move(touched());
}

static void uffd_move_swapped(void)
{
	move(swapped());
}

static void uffd_move_zero(void)
{
	char *p = room();

	read_from(p);
	move(p);
}

/* ---- KSM, migration, kernel memory, uprobes ---- */

static char *mergeable(void)
{
	char *p = touched();
	unsigned int i;

	need(set(KSM "run", "2"), "KSM");
	set(KSM "smart_scan", "0");
	set(KSM "pages_to_scan", "100000");
	set(KSM "sleep_millisecs", "100");
	for (i = 0; i < PAGES; i++)
		*(unsigned long *)(p + i * PAGE) = i % (PAGES / 2) + 1;
	need(!madvise(p, LEN, MADV_MERGEABLE), "MADV_MERGEABLE");
	return p;
}

static void merge(void)
{
	unsigned int i;

	need(set(KSM "run", "1"), "KSM");
	for (i = 0; i < 100 && get(KSM "pages_sharing") < PAGES / 2; i++)
		usleep(50000);
}

static void ksm_merge(void)
{
	mergeable();
	mark();
	merge();
	mark();
	if (get(KSM "pages_sharing") != PAGES / 2)
		skip("%lu pages merged", get(KSM "pages_sharing"));
	told(PAGES);
	set(KSM "run", "0");
}

static void ksm_unmerge(void)
{
	mergeable();
	merge();
	mark();
	need(set(KSM "run", "2"), "KSM");
	done(PAGES);
}

/* Registered memory is pinned, and does not stay in a movable zone. */
static void pin(char *p)
{
	struct io_uring_params params = { };
	struct iovec vec = { p, LEN };
	int fd = syscall(SYS_io_uring_setup, 1, &params);

	need(fd >= 0, "io_uring");
	need(!syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &vec, 1),
	     "io_uring buffers");
}

static void migrate(void)
{
	uint64_t before[PAGES], after[PAGES];
	char *p = touched();
	unsigned int i;

	frames_of(p, before);
	mark();
	pin(p);
	mark();
	frames_of(p, after);
	for (i = 0; i < PAGES; i++)
		if (before[i] == after[i])
			skip("page %u was not migrated", i);
	told(PAGES);
}

static void fork_pinned(void)
{
	pin(touched());
	fork_with(resident(true));
}

static void map_ring(void)
{
	struct io_uring_params params = { };
	int fd = syscall(SYS_io_uring_setup, LEN / sizeof(struct io_uring_sqe), &params);

	need(fd >= 0, "io_uring");
	mark();
	need(mmap(NULL, LEN, RW, MAP_SHARED, fd, IORING_OFF_SQES) != MAP_FAILED, "mmap");
	done(PAGES);
}

/* Kernel stacks are in vmalloc space. */
static void kernel_stacks(void)
{
	pid_t pids[16];
	unsigned int i;

	mark();
	for (i = 0; i < 16; i++)
		pids[i] = child(sleep_on, NULL);
	done(0);
	for (i = 0; i < 16; i++)
		kill(pids[i], SIGKILL);
}

static void __attribute__((noinline)) probed(void)
{
	asm volatile("" ::: "memory");
}

extern char __executable_start[];

static void uprobe(void)
{
	char text[128];

	snprintf(text, sizeof(text), "p:pte_changes /proc/self/exe:0x%lx",
		 (unsigned long)((char *)probed - __executable_start));
	need(set(TRACING "uprobe_events", text), "uprobe_events");
	probed();
	mark();
	need(set(TRACING "events/uprobes/pte_changes/enable", "1"), "uprobe");
	done(2);		/* in our parent, too */
	set(TRACING "events/uprobes/pte_changes/enable", "0");
	set(TRACING "uprobe_events", "-:pte_changes");
}

const struct change tracking_changes[] = {
	{ "fork-pinned", fork_pinned },
	{ "uffd-wp", uffd_protect },
	{ "uffd-wp-none", uffd_protect_none },
	{ "uffd-unwp-none", uffd_unprotect_none },
	{ "uffd-wp-swapped", uffd_protect_swapped },
	{ "uffd-wp-written", uffd_written },
	{ "uffd-wp-zap", uffd_zap },
	{ "pagemap-scan", pagemap_scan },
	{ "uffd-copy", uffd_copy },
	{ "uffd-zero", uffd_zero },
	{ "uffd-poison", uffd_poison },
	{ "uffd-move", uffd_move },
	{ "uffd-move-swapped", uffd_move_swapped },
	{ "uffd-move-zero", uffd_move_zero },
	{ "ksm-merge", ksm_merge },
	{ "ksm-unmerge", ksm_unmerge },
	{ "migrate", migrate },
	{ "map-ring", map_ring },
	{ "kernel-stacks", kernel_stacks },
	{ "uprobe", uprobe },
	{ }
};
