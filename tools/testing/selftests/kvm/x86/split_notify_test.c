// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test that the guest keeps its mappings when the VMM splits or merges VMAs
 * beside the memory of the guest, i.e. that KVM is not told about hugepages that are
 * not there, and that it is told about those that are.
 */
#include <errno.h>
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

/* In a range of 2 MiB: memory of the VMM, and of the guest after it. */
#define NR_PAGES	(SZ_2M / PAGE_SIZE)
#define NR_GUEST	(NR_PAGES / 2)
#define FIRST_GUEST	(NR_PAGES - NR_GUEST)
#define NEIGHBOUR	16

/* Shared with the guest. */
static u64 stop;
static u64 generation;
static u64 laps;

static unsigned int stress_seconds = 2;

struct test {
	const char *name;
	bool huge;
	char *map;
	char *mem;
	char *neighbour;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	u64 *stop;
	u64 *generation;
	u64 *laps;
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
			value = READ_ONCE(*guest_word((char *)TEST_GPA, i));
			/* Between MADV_DONTNEED and the write there is nothing. */
			if (value)
				GUEST_ASSERT(value >= least);
		}
		WRITE_ONCE(laps, laps + 1);
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
		TEST_FAIL("%s: unexpected exit", t->name);
	}
	return NULL;
}

/* Let the guest access all of its memory, from begin to end. */
static void wait_for_guest(struct test *t)
{
	u64 until = READ_ONCE(*t->laps) + 3;

	while (READ_ONCE(*t->laps) < until)
		usleep(1000);
}

static void fill(struct test *t, u64 value)
{
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		WRITE_ONCE(*guest_word(t->mem, i), value);
}

static void begin(struct test *t)
{
	t->map = kvm_mmap(2 * SZ_2M, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	t->mem = align_ptr_up(t->map, SZ_2M);
	t->neighbour = t->mem + NEIGHBOUR * PAGE_SIZE;
	madvise(t->mem, SZ_2M, t->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	fill(t, 1);

	t->vm = vm_create_with_one_vcpu(&t->vcpu, guest_code);
	vm_set_user_memory_region(t->vm, TEST_SLOT, 0, TEST_GPA,
				  NR_GUEST * PAGE_SIZE,
				  t->mem + FIRST_GUEST * PAGE_SIZE);
	virt_map(t->vm, TEST_GPA, TEST_GPA, NR_GUEST);
	t->stop = addr_gva2hva(t->vm, (gva_t)&stop);
	t->generation = addr_gva2hva(t->vm, (gva_t)&generation);
	t->laps = addr_gva2hva(t->vm, (gva_t)&laps);
	pthread_create(&t->thread, NULL, run_vcpu, t);
	wait_for_guest(t);
}

static void end(struct test *t)
{
	WRITE_ONCE(*t->stop, 1);
	pthread_join(t->thread, NULL);
	kvm_vm_free(t->vm);
	munmap(t->map, 2 * SZ_2M);
}

static void do_mprotect(struct test *t)
{
	TEST_ASSERT(!mprotect(t->neighbour, PAGE_SIZE, PROT_READ), "mprotect() failed");
	wait_for_guest(t);
	TEST_ASSERT(!mprotect(t->neighbour, PAGE_SIZE, PROT_READ | PROT_WRITE),
		    "mprotect() failed");
}

static void do_madvise(struct test *t)
{
	TEST_ASSERT(!madvise(t->neighbour, PAGE_SIZE, MADV_DONTDUMP), "madvise() failed");
	wait_for_guest(t);
	TEST_ASSERT(!madvise(t->neighbour, PAGE_SIZE, MADV_DODUMP), "madvise() failed");
}

static void do_munmap(struct test *t)
{
	TEST_ASSERT(!munmap(t->neighbour, PAGE_SIZE), "munmap() failed");
	wait_for_guest(t);
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

/* Returns the faults that the guest takes because of a change beside its memory. */
static u64 faults_of(struct test *t, void (*change)(struct test *t))
{
	u64 faults = vcpu_get_stat(t->vcpu, pf_taken);

	change(t);
	wait_for_guest(t);
	return vcpu_get_stat(t->vcpu, pf_taken) - faults;
}

static void test_small(void)
{
	struct test t = { .name = "small pages" };
	u64 faults, sum = 0;
	int i;

	begin(&t);
	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		faults = faults_of(&t, changes[i].change);
		pr_info("%s: %s() of a page beside %lu of the guest: %lu faults\n",
			t.name, changes[i].name, (unsigned long)NR_GUEST, faults);
		sum += faults;
	}
	end(&t);
	TEST_ASSERT(!sum, "KVM was told of hugepages that are not there");
}

static void test_huge(void)
{
	struct test t = { .name = "huge page", .huge = true };
	u64 faults;

	begin(&t);
	if (madvise(t.mem, SZ_2M, MADV_COLLAPSE)) {
		pr_info("%s: skipped, MADV_COLLAPSE: %s\n", t.name, strerror(errno));
		end(&t);
		return;
	}
	wait_for_guest(&t);
	faults = faults_of(&t, do_mprotect);
	pr_info("%s: mprotect() of a page beside %lu of the guest: %lu faults\n",
		t.name, (unsigned long)NR_GUEST, faults);
	TEST_ASSERT(faults, "KVM was not told that a huge page was split");
	end(&t);
}

static void *collapse(void *data)
{
	struct test *t = data;
	unsigned long collapsed = 0;

	while (!READ_ONCE(*t->stop))
		collapsed += !madvise(t->mem, SZ_2M, MADV_COLLAPSE);
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
	}
	return (void *)rounds;
}

/* Huge pages come and go, pages are replaced: the guest has to follow. */
static void test_stress(void)
{
	struct test t = { .name = "stress", .huge = true };
	time_t until = time(NULL) + stress_seconds;
	void *collapsed, *rounds;
	pthread_t threads[2];
	unsigned long splits;

	if (!stress_seconds)
		return;
	begin(&t);
	pthread_create(&threads[0], NULL, collapse, &t);
	pthread_create(&threads[1], NULL, rewrite, &t);
	for (splits = 0; time(NULL) < until; splits++) {
		mprotect(t.neighbour, PAGE_SIZE, PROT_READ);
		mprotect(t.neighbour, PAGE_SIZE, PROT_READ | PROT_WRITE);
	}
	WRITE_ONCE(*t.stop, 1);
	pthread_join(threads[0], &collapsed);
	pthread_join(threads[1], &rounds);
	end(&t);
	pr_info("%s: %lu splits, %lu collapses, %lu times written\n", t.name, splits,
		(unsigned long)collapsed, (unsigned long)rounds);
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

	test_huge();
	test_stress();
	test_small();
	return 0;
}
