// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test that userfaultfd and PAGEMAP_SCAN learn of each page that a guest writes
 * to, and of no other, while KSM merges the guest's memory and pages of it move
 * between two nodes. It is what a live snapshot and a live migration rely on.
 *
 * It needs KSM. Without a second node (numa=fake=2 will do) no page moves.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"

#define TEST_SLOT	10
#define TEST_GPA	0x40000000ul
#define NR_PAGES	256
#define NR_HOT		16	/* that the guest writes to at a time */
#define KSM		"/sys/kernel/mm/ksm/"
#define TIMEOUT		60

enum guest_op { OP_READ, OP_WRITE_HALF, OP_WRITE_ON };

/* Shared with the guest. */
static u64 op;
static u64 stop;
static u64 paused;
static u64 writes;

struct test {
	char *mem;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	int uffd;
	int pagemap;
	bool done;
	u64 events;
	u64 moves;
};

static u64 *counter(char *mem, u64 i)
{
	return (u64 *)(mem + i * PAGE_SIZE);
}

static void guest_write(u64 i)
{
	u64 *page = counter((char *)TEST_GPA, i);

	WRITE_ONCE(*page, *page + 1);
}

/* Write here and there, and leave all other pages alone for KSM to merge. */
static void guest_write_on(void)
{
	u64 n, seed = 1;

	for (n = 0; !READ_ONCE(stop); n++) {
		while (READ_ONCE(stop) == 0 && READ_ONCE(op) == OP_READ)
			WRITE_ONCE(paused, 1);
		seed = seed * 6364136223846793005ul + 1442695040888963407ul;
		guest_write((n / 65536 * NR_HOT + (seed >> 32) % NR_HOT) % NR_PAGES);
		WRITE_ONCE(writes, n + 1);
	}
}

static void guest_code(void)
{
	u64 i;

	for (;;) {
		switch (READ_ONCE(op)) {
		case OP_READ:
			for (i = 0; i < NR_PAGES; i++)
				READ_ONCE(*counter((char *)TEST_GPA, i));
			break;
		case OP_WRITE_HALF:
			for (i = 0; i < NR_PAGES; i += 2)
				guest_write(i);
			break;
		case OP_WRITE_ON:
			guest_write_on();
			break;
		}
		GUEST_SYNC(0);
	}
}

static void run_guest(struct test *t, enum guest_op what)
{
	struct ucall uc;

	WRITE_ONCE(*(u64 *)addr_gva2hva(t->vm, (gva_t)&op), what);
	vcpu_run(t->vcpu);
	TEST_ASSERT(get_ucall(t->vcpu, &uc) == UCALL_SYNC, "Unexpected exit");
}

static bool ksm_write(const char *name, const char *value)
{
	int fd = open(name, O_WRONLY);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == strlen(value);

	if (fd >= 0)
		close(fd);
	return ok;
}

static long ksm_read(const char *name)
{
	long value = -1;
	FILE *f = fopen(name, "r");

	if (f) {
		if (fscanf(f, "%ld", &value) != 1)
			value = -1;
		fclose(f);
	}
	return value;
}

/* What was set before, to be restored at the end. */
static const char * const settings[] = {
	KSM "sleep_millisecs", KSM "pages_to_scan", KSM "run",
};
static long old_settings[ARRAY_SIZE(settings)];

static void save_settings(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(settings); i++)
		old_settings[i] = ksm_read(settings[i]);
}

static void restore_settings(void)
{
	char value[24];
	int i;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		snprintf(value, sizeof(value), "%ld", old_settings[i]);
		if (old_settings[i] >= 0)
			ksm_write(settings[i], value);
	}
}

/* Let ksmd merge what is equal now; returns how many pages share others. */
static long merge(struct test *t)
{
	time_t until = time(NULL) + TIMEOUT;
	long from, sharing = 0;

	TEST_ASSERT(!madvise(t->mem, NR_PAGES * PAGE_SIZE, MADV_MERGEABLE),
		    "madvise() failed");
	TEST_ASSERT(ksm_write(KSM "run", "1"), "Can't start ksmd");
	from = ksm_read(KSM "full_scans");
	while (time(NULL) < until && ksm_read(KSM "full_scans") < from + 4)
		usleep(10000);
	sharing = ksm_read(KSM "pages_sharing");
	TEST_ASSERT(ksm_write(KSM "run", "0"), "Can't stop ksmd");
	return sharing;
}

static void wp_all(struct test *t, u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register reg = {
		.range = { .start = (u64)t->mem, .len = NR_PAGES * PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect wp = {
		.range = reg.range,
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	t->uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	TEST_ASSERT(t->uffd >= 0 && !ioctl(t->uffd, UFFDIO_API, &api) &&
		    !ioctl(t->uffd, UFFDIO_REGISTER, &reg) &&
		    !ioctl(t->uffd, UFFDIO_WRITEPROTECT, &wp),
		    "Can't write-protect by userfaultfd");
}

/* Write-protect what was written; call @found, if given, for each such page. */
static u64 scan(struct test *t, void (*found)(struct test *t, u64 i))
{
	static struct page_region regions[NR_PAGES];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (u64)t->mem,
		.end = (u64)t->mem + NR_PAGES * PAGE_SIZE,
		.vec = (u64)regions,
		.vec_len = NR_PAGES,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int i, n = ioctl(t->pagemap, PAGEMAP_SCAN, &arg);
	u64 addr, pages = 0;

	TEST_ASSERT(n >= 0, "PAGEMAP_SCAN failed");
	for (i = 0; i < n; i++) {
		for (addr = regions[i].start; addr < regions[i].end; addr += PAGE_SIZE) {
			if (found)
				found(t, (addr - (u64)t->mem) / PAGE_SIZE);
			pages++;
		}
	}
	return pages;
}

static void create(struct test *t)
{
	u64 i;

	memset(t, 0, sizeof(*t));
	t->mem = kvm_mmap(NR_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(t->mem, NR_PAGES * PAGE_SIZE, MADV_NOHUGEPAGE);
	for (i = 0; i < NR_PAGES; i++)
		*counter(t->mem, i) = 1;
	t->pagemap = open("/proc/self/pagemap", O_RDONLY);
	t->vm = vm_create_with_one_vcpu(&t->vcpu, guest_code);
	vm_set_user_memory_region(t->vm, TEST_SLOT, 0, TEST_GPA,
				  NR_PAGES * PAGE_SIZE, t->mem);
	virt_map(t->vm, TEST_GPA, TEST_GPA, NR_PAGES);
	run_guest(t, OP_READ);
}

static void destroy(struct test *t)
{
	close(t->uffd);
	close(t->pagemap);
	kvm_vm_free(t->vm);
	munmap(t->mem, NR_PAGES * PAGE_SIZE);
}

static void *handle_events(void *data)
{
	struct test *t = data;
	struct pollfd poll_fd = { .fd = t->uffd, .events = POLLIN };
	struct uffdio_writeprotect wp = { .range = { .len = PAGE_SIZE } };
	struct uffd_msg msg;

	while (!READ_ONCE(t->done)) {
		if (poll(&poll_fd, 1, 10) <= 0 ||
		    read(t->uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		t->events++;
		wp.range.start = msg.arg.pagefault.address & ~(PAGE_SIZE - 1);
		TEST_ASSERT(!ioctl(t->uffd, UFFDIO_WRITEPROTECT, &wp),
			    "Can't resolve an event");
	}
	return NULL;
}

/* Each page's first write raises an event, as snapshots need it. */
static void test_events(void)
{
	pthread_t thread;
	struct test t;
	long merged;

	create(&t);
	wp_all(&t, 0);
	merged = merge(&t);
	run_guest(&t, OP_READ);
	pthread_create(&thread, NULL, handle_events, &t);
	run_guest(&t, OP_WRITE_HALF);
	run_guest(&t, OP_WRITE_HALF);
	WRITE_ONCE(t.done, true);
	pthread_join(thread, NULL);

	pr_info("events: %d pages, %ld merged: %lu events of %d pages written\n",
		NR_PAGES, merged, t.events, NR_PAGES / 2);
	TEST_ASSERT(merged >= NR_PAGES / 2, "KSM doesn't merge");
	TEST_ASSERT(t.events == NR_PAGES / 2, "Writes were not announced");
	destroy(&t);
}

/* A scan reports what was written, and nothing else. */
static void test_scan(void)
{
	u64 before, after, again;
	struct test t;
	long merged;

	create(&t);
	wp_all(&t, UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED);
	merged = merge(&t);
	before = scan(&t, NULL);
	run_guest(&t, OP_READ);
	run_guest(&t, OP_WRITE_HALF);
	after = scan(&t, NULL);
	again = scan(&t, NULL);

	pr_info("scan: %d pages, %ld merged: %lu reported, %lu after %d were written, then %lu\n",
		NR_PAGES, merged, before, after, NR_PAGES / 2, again);
	TEST_ASSERT(merged >= NR_PAGES / 2, "KSM doesn't merge");
	TEST_ASSERT(!before && !again, "Pages are reported that were not written");
	TEST_ASSERT(after == NR_PAGES / 2, "What was written is not reported");
	destroy(&t);
}

static void *move_pages(void *data)
{
	struct test *t = data;
	void *pages[NR_PAGES];
	int nodes[NR_PAGES], status[NR_PAGES], i, turn;

	for (turn = 0; !READ_ONCE(t->done); turn ^= 1) {
		for (i = 0; i < NR_PAGES; i++) {
			pages[i] = t->mem + i * PAGE_SIZE;
			nodes[i] = turn;
			status[i] = -ENOENT;
		}
		if (syscall(__NR_move_pages, 0, NR_PAGES, pages, nodes, status,
			    MPOL_MF_MOVE_ALL) < 0)
			break;
		for (i = 0; i < NR_PAGES; i++)
			t->moves += status[i] == turn;
	}
	return NULL;
}

static void *run_on(void *data)
{
	run_guest(data, OP_WRITE_ON);
	return NULL;
}

static u64 copies[NR_PAGES];

static void copy(struct test *t, u64 i)
{
	copies[i] = READ_ONCE(*counter(t->mem, i));
}

/*
 * Copy what is reported while the guest writes, KSM merges and pages move. When
 * the guest pauses, and after one more scan, the copies have to be the memory.
 */
static void test_stress(int seconds)
{
	u64 *guest_op, *guest_paused, i, scans = 0, pauses = 0, copied = 0, wrong = 0;
	bool moving = !access("/sys/devices/system/node/node1", F_OK);
	time_t until = time(NULL) + seconds;
	pthread_t vcpu, mover;
	struct test t;
	long merged = 0;

	create(&t);
	guest_op = addr_gva2hva(t.vm, (gva_t)&op);
	guest_paused = addr_gva2hva(t.vm, (gva_t)&paused);
	wp_all(&t, UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED);
	for (i = 0; i < NR_PAGES; i++)
		copy(&t, i);
	TEST_ASSERT(!madvise(t.mem, NR_PAGES * PAGE_SIZE, MADV_MERGEABLE) &&
		    ksm_write(KSM "run", "1"), "Can't start ksmd");
	pthread_create(&vcpu, NULL, run_on, &t);
	if (moving)
		pthread_create(&mover, NULL, move_pages, &t);

	while (time(NULL) < until) {
		for (i = 0; i < 20; i++, scans++) {
			copied += scan(&t, copy);
			usleep(1000);
		}
		merged = max(merged, ksm_read(KSM "pages_sharing"));
		WRITE_ONCE(*guest_paused, 0);
		WRITE_ONCE(*guest_op, OP_READ);
		while (!READ_ONCE(*guest_paused))
			usleep(100);
		copied += scan(&t, copy);
		for (i = 0; i < NR_PAGES; i++)
			wrong += copies[i] != READ_ONCE(*counter(t.mem, i));
		pauses++;
		WRITE_ONCE(*guest_op, OP_WRITE_ON);
	}

	WRITE_ONCE(*(u64 *)addr_gva2hva(t.vm, (gva_t)&stop), 1);
	WRITE_ONCE(t.done, true);
	pthread_join(vcpu, NULL);
	if (moving)
		pthread_join(mover, NULL);
	TEST_ASSERT(ksm_write(KSM "run", "0"), "Can't stop ksmd");

	pr_info("stress: %lu writes, %lu scans, %lu pages copied, %lu moved, up to %ld merged\n",
		*(u64 *)addr_gva2hva(t.vm, (gva_t)&writes), scans, copied, t.moves, merged);
	pr_info("stress: %lu copies wrong in %lu pauses\n", wrong, pauses);
	TEST_ASSERT(!wrong, "Writes were not reported");
	TEST_ASSERT(copied && pauses && merged > 0, "Nothing was tested");
	TEST_ASSERT(!moving || t.moves, "No page moves");
	destroy(&t);
}

static void help(const char *name)
{
	printf("usage: %s [-s <seconds>]\n"
	       " -s  how long the stress lasts, default 5; 0: leave it out\n", name);
	exit(1);
}

int main(int argc, char *argv[])
{
	int seconds = 5, c;

	while ((c = getopt(argc, argv, "s:")) != -1) {
		if (c != 's')
			help(argv[0]);
		seconds = atoi_non_negative("seconds", optarg);
	}

	save_settings();
	atexit(restore_settings);
	TEST_REQUIRE(ksm_write(KSM "sleep_millisecs", "1"));
	TEST_REQUIRE(ksm_write(KSM "pages_to_scan", "10000"));

	test_events();
	test_scan();
	if (seconds)
		test_stress(seconds);
	return 0;
}
