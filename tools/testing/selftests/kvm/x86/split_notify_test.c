// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test that the guest keeps its mappings when the VMM splits or merges VMAs
 * beside the memory of the guest, i.e. that KVM is not told about hugepages that are
 * not there, and that it is told about those that are.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>

#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define TEST_SLOT	10
#define TEST_GPA	0x40000000ul

/*
 * In a range of 2 MiB: memory that the guest doesn't use, the NEIGHBOUR page among
 * it, and memory that it does, from FIRST_GUEST on.
 */
#define NR_PAGES	(SZ_2M / PAGE_SIZE)
#define NR_GUEST	(NR_PAGES / 2)
#define FIRST_GUEST	(NR_PAGES - NR_GUEST)
#define NEIGHBOUR	16

/* Of a millisecond or more each, until a guest that does nothing counts as hung. */
#define MAX_POLLS	100000

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"

/* Shared with the guest. */
static u64 stop;
static u64 generation;
static u64 laps;
static u64 pause_guest;
static u64 paused;

static unsigned int stress_seconds = 2;

struct test {
	const char *name;
	bool huge;
	bool in_slot;		/* The memslot has all of the 2 MiB. */
	char *map;
	char *mem;
	char *neighbour;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	u64 *stop;
	u64 *generation;
	u64 *laps;
	u64 *pause;
	u64 *paused;
};

struct counts {
	u64 zapped;
	u64 faults;
};

static u64 *guest_word(char *mem, unsigned int page)
{
	return (u64 *)(mem + page * PAGE_SIZE);
}

/* Nothing that was written may be read as it was before. */
static void guest_code(void)
{
	u64 least, value, i;

	while (!READ_ONCE(stop)) {
		least = READ_ONCE(generation);
		for (i = 0; i < NR_GUEST; i++) {
			value = READ_ONCE(*guest_word((char *)TEST_GPA, FIRST_GUEST + i));
			/* Between MADV_DONTNEED and the write there is nothing. */
			if (value)
				GUEST_ASSERT(value >= least);
		}
		WRITE_ONCE(laps, laps + 1);
		while (READ_ONCE(pause_guest))
			WRITE_ONCE(paused, 1);
	}
	GUEST_DONE();
}

static void *run_vcpu(void *data)
{
	struct test *t = data;
	struct ucall uc;

	vcpu_run(t->vcpu);
	switch (get_ucall(t->vcpu, &uc)) {
	case UCALL_DONE:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
	default:
		vcpu_dump(stderr, t->vcpu, 2);
		TEST_FAIL("%s: unexpected exit: %s", t->name,
			  exit_reason_str(t->vcpu->run->exit_reason));
	}
	return NULL;
}

/* Wait a little; fail, and tell what the vCPU does, if that was too often (@polls). */
static void poll_guest(struct test *t, unsigned int *polls)
{
	u64 exits, faults;

	usleep(1000);
	if (++*polls < MAX_POLLS)
		return;

	exits = vcpu_get_stat(t->vcpu, exits);
	faults = vcpu_get_stat(t->vcpu, pf_taken);
	sleep(1);
	TEST_FAIL("%s: the guest hangs after %lu laps, with %lu exits and %lu faults per second",
		  t->name, (unsigned long)*t->laps,
		  (unsigned long)(vcpu_get_stat(t->vcpu, exits) - exits),
		  (unsigned long)(vcpu_get_stat(t->vcpu, pf_taken) - faults));
}

/* Let the guest access all of its memory, from begin to end. */
static void wait_for_guest(struct test *t)
{
	u64 until = READ_ONCE(*t->laps) + 3;
	unsigned int polls = 0;

	while (READ_ONCE(*t->laps) < until)
		poll_guest(t, &polls);
}

/* Wait until the guest does nothing, and not even that with the memory in question. */
static void pause_vcpu(struct test *t)
{
	unsigned int polls = 0;

	WRITE_ONCE(*t->paused, 0);
	WRITE_ONCE(*t->pause, 1);
	while (!READ_ONCE(*t->paused))
		poll_guest(t, &polls);
}

static void resume_vcpu(struct test *t)
{
	WRITE_ONCE(*t->pause, 0);
	wait_for_guest(t);
}

static void fill(struct test *t, u64 value)
{
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		WRITE_ONCE(*guest_word(t->mem, i), value);
}

static void begin(struct test *t)
{
	unsigned int first = t->in_slot ? 0 : FIRST_GUEST;

	t->map = kvm_mmap(2 * SZ_2M, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	t->mem = align_ptr_up(t->map, SZ_2M);
	t->neighbour = t->mem + NEIGHBOUR * PAGE_SIZE;
	madvise(t->mem, SZ_2M, t->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	fill(t, 1);

	t->vm = vm_create_with_one_vcpu(&t->vcpu, guest_code);
	vm_set_user_memory_region(t->vm, TEST_SLOT, 0, TEST_GPA + first * PAGE_SIZE,
				  (NR_PAGES - first) * PAGE_SIZE,
				  t->mem + first * PAGE_SIZE);
	virt_map(t->vm, TEST_GPA + FIRST_GUEST * PAGE_SIZE,
		 TEST_GPA + FIRST_GUEST * PAGE_SIZE, NR_GUEST);
	t->stop = addr_gva2hva(t->vm, (gva_t)&stop);
	t->generation = addr_gva2hva(t->vm, (gva_t)&generation);
	t->laps = addr_gva2hva(t->vm, (gva_t)&laps);
	t->pause = addr_gva2hva(t->vm, (gva_t)&pause_guest);
	t->paused = addr_gva2hva(t->vm, (gva_t)&paused);
	pthread_create(&t->thread, NULL, run_vcpu, t);
	wait_for_guest(t);
}

static void end(struct test *t)
{
	unsigned int polls = 0;

	WRITE_ONCE(*t->stop, 1);
	while (pthread_tryjoin_np(t->thread, NULL))
		poll_guest(t, &polls);
	kvm_vm_free(t->vm);
	munmap(t->map, 2 * SZ_2M);
}

static void do_mprotect(struct test *t)
{
	TEST_ASSERT(!mprotect(t->neighbour, PAGE_SIZE, PROT_READ), "mprotect() failed");
	TEST_ASSERT(!mprotect(t->neighbour, PAGE_SIZE, PROT_READ | PROT_WRITE),
		    "mprotect() failed");
}

static void do_madvise(struct test *t)
{
	TEST_ASSERT(!madvise(t->neighbour, PAGE_SIZE, MADV_DONTDUMP), "madvise() failed");
	TEST_ASSERT(!madvise(t->neighbour, PAGE_SIZE, MADV_DODUMP), "madvise() failed");
}

static void do_munmap(struct test *t)
{
	TEST_ASSERT(!munmap(t->neighbour, PAGE_SIZE), "munmap() failed");
	TEST_ASSERT(mmap(t->neighbour, PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == t->neighbour,
		    "mmap() failed");
}

static const struct {
	const char *name;
	void (*change)(struct test *t);
} changes[] = {
	{ "mprotect", do_mprotect },
	{ "madvise", do_madvise },
	{ "munmap", do_munmap },
};

/*
 * Change something that the guest doesn't use. Returns how many SPTEs that zaps, and
 * the faults that the guest takes to get them back.
 */
static struct counts counts_of(struct test *t, const char *name,
			       void (*change)(struct test *t))
{
	struct counts c;

	wait_for_guest(t);
	pause_vcpu(t);
	c.zapped = vm_get_stat(t->vm, pages_4k);
	c.faults = vcpu_get_stat(t->vcpu, pf_taken);
	change(t);
	c.zapped -= vm_get_stat(t->vm, pages_4k);
	resume_vcpu(t);
	c.faults = vcpu_get_stat(t->vcpu, pf_taken) - c.faults;

	pr_info("%s: %s() of 4 KiB %s the memslot, beside %lu pages of the guest: %lu SPTEs zapped, %lu faults\n",
		t->name, name, t->in_slot ? "in" : "outside", (unsigned long)NR_GUEST,
		(unsigned long)c.zapped, (unsigned long)c.faults);
	return c;
}

/* Returns whether the guest lost anything. */
static bool small_loses(bool in_slot)
{
	struct test t = { .name = "small pages", .in_slot = in_slot };
	bool loses = false;
	struct counts c;
	int i;

	begin(&t);
	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		c = counts_of(&t, changes[i].name, changes[i].change);
		loses |= c.zapped || c.faults;
	}
	end(&t);
	return loses;
}

static void test_small(void)
{
	bool outside = small_loses(false);

	TEST_ASSERT(!small_loses(true) && !outside,
		    "KVM was told of hugepages that are not there");
}

static void test_huge(void)
{
	struct test t = { .name = "huge page", .huge = true };
	struct counts c;

	begin(&t);
	if (madvise(t.mem, SZ_2M, MADV_COLLAPSE)) {
		pr_info("%s: skipped, MADV_COLLAPSE: %s\n", t.name, strerror(errno));
		end(&t);
		return;
	}
	c = counts_of(&t, "mprotect", do_mprotect);
	TEST_ASSERT(c.zapped && c.faults, "KVM was not told that a huge page was split");
	end(&t);
}

/* Returns the number in the file @path, 0 if it can't be read; then writes @text if given. */
static unsigned long sysfs(const char *path, const char *text)
{
	char old[32] = "";
	int fd;

	fd = open(path, text ? O_RDWR : O_RDONLY);
	if (fd < 0)
		return 0;
	if (read(fd, old, sizeof(old) - 1) < 0 ||
	    (text && pwrite(fd, text, strlen(text), 0) != strlen(text)))
		pr_info("%s: %s\n", path, strerror(errno));
	close(fd);
	return strtoul(old, NULL, 10);
}

static const struct {
	const char *path;
	const char *fast;
} khugepaged[] = {
	{ KHUGEPAGED "scan_sleep_millisecs", "1" },
	{ KHUGEPAGED "alloc_sleep_millisecs", "1" },
	{ KHUGEPAGED "pages_to_scan", "4096" },
};

static unsigned long khugepaged_was[ARRAY_SIZE(khugepaged)];

/* Have khugepaged scan as fast as it can, or as it did before. */
static void set_khugepaged(bool fast)
{
	char text[32];
	int i;

	for (i = 0; i < ARRAY_SIZE(khugepaged); i++) {
		if (fast) {
			khugepaged_was[i] = sysfs(khugepaged[i].path, khugepaged[i].fast);
			continue;
		}
		snprintf(text, sizeof(text), "%lu", khugepaged_was[i]);
		if (khugepaged_was[i])
			sysfs(khugepaged[i].path, text);
	}
}

static void *collapse(void *data)
{
	struct test *t = data;
	unsigned long collapsed = 0, n;

	/* Now and then it is khugepaged's turn. */
	for (n = 0; !READ_ONCE(*t->stop); n++) {
		collapsed += !madvise(t->mem, SZ_2M, MADV_COLLAPSE);
		if (n % 64 == 63)
			usleep(200000);
	}
	return (void *)collapsed;
}

static void *rewrite(void *data)
{
	struct test *t = data;
	unsigned long rounds = 1;
	unsigned int i;

	while (!READ_ONCE(*t->stop)) {
		rounds++;
		for (i = FIRST_GUEST; i < NR_PAGES; i++) {
			/* A new page, every so often. */
			if ((i + rounds) % 8 == 0)
				madvise(guest_word(t->mem, i), PAGE_SIZE, MADV_DONTNEED);
			WRITE_ONCE(*guest_word(t->mem, i), rounds);
		}
		WRITE_ONCE(*t->generation, rounds);
		/* Leave time for a huge page to be made, and mapped by KVM. */
		usleep(100000);
	}
	return (void *)rounds;
}

/*
 * Huge pages come and go, pages are replaced: the guest has to follow. Where a VMA
 * ends in the middle there can't be a huge page, so KVM must not map one any more.
 */
static void test_stress(void)
{
	struct test t = { .name = "stress", .huge = true, .in_slot = true };
	time_t until = time(NULL) + stress_seconds;
	unsigned long splits, huge = 0, by_khugepaged;
	void *collapsed, *rounds;
	pthread_t threads[2];
	int i;

	if (!stress_seconds)
		return;
	begin(&t);
	set_khugepaged(true);
	by_khugepaged = sysfs(KHUGEPAGED "pages_collapsed", NULL);
	pthread_create(&threads[0], NULL, collapse, &t);
	pthread_create(&threads[1], NULL, rewrite, &t);
	for (splits = 0; time(NULL) < until; splits++) {
		/* Now and then, give a huge page the time to be mapped. */
		for (i = 0; splits % 4 == 0 && i < 100 && !vm_get_stat(t.vm, pages_2m); i++)
			usleep(1000);
		huge += vm_get_stat(t.vm, pages_2m);
		/* madvise() announces nothing by itself. */
		if (splits % 2)
			mprotect(t.neighbour, PAGE_SIZE, PROT_READ);
		else
			madvise(t.neighbour, PAGE_SIZE, MADV_DONTDUMP);
		TEST_ASSERT(!vm_get_stat(t.vm, pages_2m),
			    "KVM still maps a huge page that was split");
		if (splits % 2)
			mprotect(t.neighbour, PAGE_SIZE, PROT_READ | PROT_WRITE);
		else
			madvise(t.neighbour, PAGE_SIZE, MADV_DODUMP);
	}
	WRITE_ONCE(*t.stop, 1);
	pthread_join(threads[0], &collapsed);
	pthread_join(threads[1], &rounds);
	by_khugepaged = sysfs(KHUGEPAGED "pages_collapsed", NULL) - by_khugepaged;
	set_khugepaged(false);
	end(&t);
	pr_info("%s: %lu splits, of %lu huge SPTEs, %lu times collapsed, %lu times by khugepaged, %lu times written\n",
		t.name, splits, huge, (unsigned long)collapsed, by_khugepaged,
		(unsigned long)rounds);
}

int main(int argc, char *argv[])
{
	int opt;

	while ((opt = getopt(argc, argv, "s:h")) != -1) {
		switch (opt) {
		case 's':
			stress_seconds = atoi_non_negative("Seconds of stress", optarg);
			break;
		default:
			printf("usage: %s [-s seconds of stress]\n", argv[0]);
			exit(opt == 'h' ? 0 : KSFT_FAIL);
		}
	}

	test_stress();
	test_huge();
	test_small();
	return 0;
}
