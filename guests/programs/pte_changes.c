// SPDX-License-Identifier: GPL-2.0
/*
 * Has the kernel change page table entries, in each of the ways that programs have.
 *
 *   pte_changes SWAP
 *
 * SWAP is a block device of a few MiB that was made a swap device. Each case of cases[]
 * runs in a process of its own. It calls personality() when it is prepared and again
 * when it is done, so that whoever records what the kernel executes knows what belongs
 * to the case; nothing else here calls it. Then it prints
 *
 *   # case NAME entries=N
 *
 * where N is how many entries were changed on behalf of the case, 0 if that can't be told.
 * If a case can't be had on this kernel, or fails, that is "# case NAME skipped: REASON",
 * and personality() is called all the same. Before the first case, getpriority() is called.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE		4096UL
#define PAGES		64UL
#define LEN		(PAGES * PAGE)
#define PMD_LEN		(2UL << 20)
#define RW		(PROT_READ | PROT_WRITE)
#define KSM		"/sys/kernel/mm/ksm/"
#define TRACING		"/sys/kernel/tracing/"
#define GROUP		"/sys/fs/cgroup/pte_changes"
#define LRU_GEN		"/sys/kernel/debug/lru_gen"

/* What headers older than the kernel lack. */
#define WP_UNPOPULATED	(1ULL << 13)	/* features of userfaultfd */
#define POISON		(1ULL << 14)
#define WP_ASYNC	(1ULL << 15)
#define MOVE		(1ULL << 16)
#define WP_SHMEM	(1ULL << 12)

#define GUARD_INSTALL	102		/* of madvise() */
#define GUARD_REMOVE	103

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

static const char *device;
static struct {
	unsigned int marks;
	bool told;
} *shared;
static const char *name;
static int uffd = -1;

static void mark(void)
{
	shared->marks++;
	syscall(SYS_personality, 0xffffffff);
}

static void __attribute__((noreturn, format(printf, 1, 2))) skip(const char *fmt, ...)
{
	va_list args;

	shared->told = true;
	printf("# case %s skipped: ", name);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	exit(1);
}

static void need(bool ok, const char *what)
{
	if (!ok)
		skip("%s: %s", what, strerror(errno));
}

static void told(unsigned long entries)
{
	shared->told = true;
	printf("# case %s entries=%lu\n", name, entries);
}

static void done(unsigned long entries)
{
	mark();
	told(entries);
}

static bool set(const char *path, const char *value)
{
	int file = open(path, O_WRONLY);
	bool ok;

	if (file < 0)
		return false;
	ok = write(file, value, strlen(value)) == (ssize_t)strlen(value);
	close(file);
	return ok;
}

static unsigned long get(const char *path)
{
	char text[32] = "";
	int file = open(path, O_RDONLY);

	need(file >= 0 && read(file, text, sizeof(text) - 1) > 0, path);
	close(file);
	return strtoul(text, NULL, 0);
}

/*
 * PAGES of private memory and one more, which is touched, so that the page table
 * is there. Others have other page tables.
 */
static char *room(void)
{
	char *p = mmap(NULL, 2 * PMD_LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(p != MAP_FAILED, "mmap");
	p = (char *)(((uintptr_t)p + PMD_LEN - 1) & ~(PMD_LEN - 1));
	need(mmap(p, LEN + PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p, "mmap");
	madvise(p, LEN + PAGE, MADV_NOHUGEPAGE);
	p[LEN] = 1;
	return p;
}

static void write_to(char *p)
{
	unsigned long i;

	for (i = 0; i < PAGES; i++)
		*(volatile unsigned long *)(p + i * PAGE) = i + 1;
}

static void read_from(const char *p)
{
	unsigned long i;

	for (i = 0; i < PAGES; i++)
		(void)*(const volatile unsigned long *)(p + i * PAGE);
}

static char *touched(void)
{
	char *p = room();

	write_to(p);
	return p;
}

/* How many pages we have mapped, or how many that are not of a file. */
static unsigned long resident(bool anonymous)
{
	unsigned long pages, of_files;
	FILE *f = fopen("/proc/self/statm", "r");

	need(f && fscanf(f, "%*u %lu %lu", &pages, &of_files) == 2, "statm");
	fclose(f);
	return anonymous ? pages - of_files : pages;
}

/* Put a file that is in memory over the first PAGES of a room(). */
static char *file_room(int flags)
{
	int fd = memfd_create("pte_changes", MFD_CLOEXEC);
	char page[PAGE] = "x", *p = room();
	unsigned int i;

	need(fd >= 0, "memfd");
	for (i = 0; i < PAGES; i++)
		need(write(fd, page, PAGE) == (ssize_t)PAGE, "write");
	need(mmap(p, LEN, RW, flags | MAP_FIXED, fd, 0) == p, "mmap");
	return p;
}

static pid_t child(void (*run)(char *p), char *p)
{
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (!pid) {
		run(p);
		_exit(0);
	}
	return pid;
}

static void wait_for(pid_t pid)
{
	int status;

	need(waitpid(pid, &status, 0) == pid && !status, "child");
}

static void nothing(char *p)
{
	(void)p;
}

static void sleep_on(char *p)
{
	(void)p;
	pause();
}

/* ---- faults ---- */

static void first_touch(void)
{
	char *p = room();

	mark();
	write_to(p);
	done(PAGES);
}

static void zero_page(void)
{
	char *p = room();

	mark();
	read_from(p);
	done(PAGES);
}

static void fault_around(void)
{
	char *p = file_room(MAP_SHARED);

	mark();
	read_from(p);
	done(PAGES);
}

static void shared_write(void)
{
	char *p = file_room(MAP_SHARED);

	mark();
	write_to(p);
	done(PAGES);
}

static void cow(void)
{
	char *p = touched();
	pid_t pid = child(sleep_on, p);

	usleep(10000);
	mark();
	write_to(p);
	done(PAGES);
	kill(pid, SIGKILL);
}

static void cow_file(void)
{
	char *p = file_room(MAP_PRIVATE);

	read_from(p);
	mark();
	write_to(p);
	done(PAGES);
}

static void write_again(void)
{
	char *p = touched();

	wait_for(child(nothing, p));
	mark();
	write_to(p);
	done(PAGES);
}

/* ---- what processes do ---- */

static void fork_with(unsigned long entries)
{
	pid_t pid;

	mark();
	pid = fork();
	if (!pid)
		_exit(0);
	done(entries);
	wait_for(pid);
}

static void of_fork(void)
{
	touched();
	fork_with(resident(true));
}

static void of_munmap(void)
{
	char *p = touched();

	mark();
	munmap(p, LEN);
	done(PAGES);
}

static void munmap_file(void)
{
	char *p = file_room(MAP_SHARED);

	write_to(p);
	mark();
	munmap(p, LEN);
	done(PAGES);
}

static void munmap_file_clean(void)
{
	char *p = file_room(MAP_PRIVATE);

	read_from(p);
	mark();
	munmap(p, LEN);
	done(PAGES);
}

static void dontneed(void)
{
	char *p = touched();

	mark();
	need(!madvise(p, LEN, MADV_DONTNEED), "madvise");
	done(PAGES);
}

static void of_exit(void)
{
	char *p = touched();
	int ends[2], status;
	pid_t pid;
	char c;

	need(!pipe(ends), "pipe");
	pid = fork();
	if (!pid) {
		write_to(p);	/* its own pages, in place of ours */
		(void)!read(ends[0], &c, 1);
		_exit(0);
	}
	usleep(100000);
	mark();
	(void)!write(ends[1], &c, 1);
	waitpid(pid, &status, 0);
	done(PAGES);
}

static void of_mprotect(void)
{
	char *p = touched();

	mark();
	need(!mprotect(p, LEN, PROT_READ), "mprotect");
	done(PAGES);
}

static void of_mremap(void)
{
	char *p = touched(), *q = room();

	mark();
	need(mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, q + PMD_LEN / 2) != MAP_FAILED,
	     "mremap");
	done(PAGES);
}

static void advice(int what)
{
	char *p = touched();

	mark();
	need(!madvise(p, LEN, what), "madvise");
	done(PAGES);
}

static void madv_free(void)
{
	advice(MADV_FREE);
}

static void madv_cold(void)
{
	advice(MADV_COLD);
}

static void guard_install(void)
{
	char *p = room();

	mark();
	need(!madvise(p, LEN, GUARD_INSTALL), "MADV_GUARD_INSTALL");
	done(PAGES);
}

static void guard_remove(void)
{
	char *p = room();

	need(!madvise(p, LEN, GUARD_INSTALL), "MADV_GUARD_INSTALL");
	mark();
	need(!madvise(p, LEN, GUARD_REMOVE), "MADV_GUARD_REMOVE");
	done(PAGES);
}

/* ---- swap ---- */

static void swap_on(void)
{
	need(!swapon(device, 0) || errno == EBUSY, "swapon");
}

static char *swapped(void)
{
	unsigned char present[PAGES];
	char *p = touched();
	unsigned int i;

	swap_on();
	need(!madvise(p, LEN, MADV_PAGEOUT), "MADV_PAGEOUT");
	need(!mincore(p, LEN, present), "mincore");
	for (i = 0; i < PAGES; i++)
		if (present[i] & 1)
			skip("page %u was not swapped", i);
	return p;
}

static void swap_out(void)
{
	swap_on();
	advice(MADV_PAGEOUT);
}

static void swap_in(void)
{
	char *p = swapped();

	mark();
	read_from(p);
	done(PAGES);
}

static void swap_off(void)
{
	swapped();
	mark();
	need(!swapoff(device), "swapoff");
	done(PAGES);
}

static void fork_swapped(void)
{
	swapped();
	fork_with(PAGES + resident(true));
}

static void munmap_swapped(void)
{
	char *p = swapped();

	mark();
	munmap(p, LEN);
	done(PAGES);
}

static void free_swapped(void)
{
	char *p = swapped();

	mark();
	need(!madvise(p, LEN, MADV_FREE), "MADV_FREE");
	done(PAGES);
}

/* ---- reclaim and ageing ---- */

static void own_group(void)
{
	char text[16];

	mkdir(GROUP, 0755);
	snprintf(text, sizeof(text), "%d", getpid());
	need(set(GROUP "/cgroup.procs", text), GROUP);
}

/* By lists of active and inactive pages. With generations it ages as below. */
static void reclaim(void)
{
	swap_on();
	own_group();
	need(set("/sys/kernel/mm/lru_gen/enabled", "0"), "lru_gen/enabled");
	touched();
	mark();
	set(GROUP "/memory.reclaim", "128K");
	done(0);
	set("/sys/kernel/mm/lru_gen/enabled", "7");
}

static void age_generations(void)
{
	unsigned long seq = 0;
	char line[256], wanted[64];
	unsigned int memcg = 0;
	FILE *f;

	own_group();
	touched();
	f = fopen(LRU_GEN, "r");
	need(f, LRU_GEN);
	wanted[0] = 0;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, " memcg %u %63s", &memcg, wanted);
		if (strstr(wanted, "pte_changes"))
			sscanf(line, " %lu", &seq);
	}
	fclose(f);
	if (!strstr(wanted, "pte_changes"))
		skip("no generations of our group");
	snprintf(line, sizeof(line), "+ %u 0 %lu 1 1", memcg, seq);
	mark();
	need(set(LRU_GEN, line), line);
	done(0);
}

static void frames_of(char *p, uint64_t *frames)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);

	need(fd >= 0 && pread(fd, frames, PAGES * 8, (uintptr_t)p / PAGE * 8) == PAGES * 8,
	     "pagemap");
	close(fd);
}

static void idle_pages(void)
{
	uint64_t frames[PAGES], frame, bit;
	char *p = touched();
	unsigned int i;
	int fd;

	frames_of(p, frames);
	fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);
	need(fd >= 0, "page_idle");
	mark();
	for (i = 0; i < PAGES; i++) {
		frame = frames[i] & ((1ULL << 55) - 1);
		bit = 1ULL << frame % 64;
		need(pwrite(fd, &bit, 8, frame / 64 * 8) == 8, "page_idle");
	}
	done(0);		/* it passes over pages that are not on a list yet */
}

static void clear_refs(const char *what)
{
	char *p = touched();
	unsigned long pages = resident(false);

	mark();
	need(set("/proc/self/clear_refs", what), "clear_refs");
	done(pages);
	write_to(p);
}

static void clear_referenced(void)
{
	clear_refs("1");
}

static void clear_soft_dirty(void)
{
	clear_refs("4");
}

/* A shared mapping of the device's own pages, which are written back. */
static void write_back(void)
{
	int fd = open(device, O_RDWR);
	char *p = room();

	swapoff(device);
	need(fd >= 0 && mmap(p, LEN, RW, MAP_SHARED | MAP_FIXED, fd, 1 << 20) == p, device);
	write_to(p);
	mark();
	need(!msync(p, LEN, MS_SYNC), "msync");
	done(PAGES);
}

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

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "first-touch", first_touch },
	{ "zero-page", zero_page },
	{ "fault-around", fault_around },
	{ "shared-write", shared_write },
	{ "cow", cow },
	{ "cow-file", cow_file },
	{ "write-again", write_again },
	{ "fork", of_fork },
	{ "fork-swapped", fork_swapped },
	{ "fork-pinned", fork_pinned },
	{ "munmap", of_munmap },
	{ "munmap-file", munmap_file },
	{ "munmap-file-clean", munmap_file_clean },
	{ "munmap-swapped", munmap_swapped },
	{ "dontneed", dontneed },
	{ "exit", of_exit },
	{ "mprotect", of_mprotect },
	{ "mremap", of_mremap },
	{ "madv-free", madv_free },
	{ "madv-free-swapped", free_swapped },
	{ "madv-cold", madv_cold },
	{ "guard-install", guard_install },
	{ "guard-remove", guard_remove },
	{ "swap-out", swap_out },
	{ "swap-in", swap_in },
	{ "swapoff", swap_off },
	{ "reclaim", reclaim },
	{ "age-generations", age_generations },
	{ "page-idle", idle_pages },
	{ "clear-referenced", clear_referenced },
	{ "clear-soft-dirty", clear_soft_dirty },
	{ "write-back", write_back },
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
};

#define NR_CASES	(sizeof(cases) / sizeof(cases[0]))

static void run(unsigned int i)
{
	pid_t pid;

	name = cases[i].name;
	shared->marks = 0;
	shared->told = false;
	pid = fork();
	if (!pid) {
		cases[i].run();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
		perror("# pte_changes");
		exit(1);
	}
	if (!shared->told)
		printf("# case %s skipped: it died\n", name);
	while (shared->marks < 2)
		mark();
}

int main(int argc, char **argv)
{
	unsigned int i;

	if (argc != 2) {
		fprintf(stderr, "usage: pte_changes SWAP\n");
		return 2;
	}
	device = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("# pte_changes");
		return 1;
	}
	syscall(SYS_getpriority, 0, 0);
	for (i = 0; i < NR_CASES; i++)
		run(i);
	return 0;
}
