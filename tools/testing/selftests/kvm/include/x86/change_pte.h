/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of SPTEs that KVM changes in place have in common: a VM with
 * memory that the host copies or merges, counts of its faults and of the SPTEs
 * that changed, KSM's settings, and a process for each test.
 */
#ifndef SELFTEST_KVM_CHANGE_PTE_H
#define SELFTEST_KVM_CHANGE_PTE_H

#include <linux/compiler.h>

#include "kvm_util.h"
#include "processor.h"

#define TEST_SLOT	10
#define ALIAS_SLOT	11
#define CONTROL_SLOT	12
#define TEST_GPA	0x40000000ul
#define ALIAS_GPA	0x50000000ul
#define CONTROL_GPA	0x60000000ul

/* KSM shares a page at most 256 times by default, and there is one more page. */
#define MAX_PAGES	255
#define MAX_VCPUS	8
#define WORDS		(PAGE_SIZE / sizeof(u64))

/*
 * A test and the VM that it runs. The test fills in the first part;
 * change_pte_setup() fills in the rest.
 */
struct change_pte_test {
	const char *name;
	unsigned int nr_pages;
	unsigned int nr_vcpus;
	u32 slot_flags;
	bool alias;		/* a second slot maps the same memory */
	bool huge;		/* memory is backed by a hugepage */
	bool gmem;		/* the slot has a guest_memfd */
	bool file;		/* memory is a private mapping of a file */

	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[MAX_VCPUS];
	u64 *mem;
	size_t mem_size;
	int fd;			/* of the file that memory privately maps, or -1 */
	void *map;
	size_t map_size;
	bool has_stats;		/* KVM counts SPTEs that change */
};

struct change_pte_counts {
	u64 faults;
	u64 exits;
	u64 changed;
	u64 writable;
	u64 zapped;
};

/* What each word of a page holds: the same for all pages, or not. */
static inline u64 pattern(u64 gen, bool same, u64 page)
{
	return gen * 0x0101010101010101ul + (same ? 0 : page << 32);
}

static inline void fill_page(u64 *page, u64 value)
{
	int i;

	for (i = 0; i < WORDS; i++)
		WRITE_ONCE(page[i], value);
}

static inline u64 *page_of(u64 base, u64 i)
{
	return (u64 *)(base + i * PAGE_SIZE);
}

/*
 * What was written before the guest reads a page must be what it reads. If it
 * is not, a second read tells a stale translation from a write that got lost.
 */
static inline void guest_watch_page(u64 base, u64 i, const u64 *at_least)
{
	u64 *page = page_of(base, i);
	u64 least = READ_ONCE(*at_least);
	u64 value = READ_ONCE(*page);

	__GUEST_ASSERT(value >= least, "page %lu is %lu after %lu was written, then %lu",
		       i, value, least, READ_ONCE(*page));
}

void change_pte_setup(struct change_pte_test *t, void *guest_code);
void change_pte_teardown(struct change_pte_test *t);

bool change_pte_has_stats(struct kvm_vm *vm);
u64 change_pte_expect_sync(struct kvm_vcpu *vcpu);
void *change_pte_run_vcpu(void *vcpu);
void change_pte_wait_rounds(const u64 *rounds);
void change_pte_write(struct change_pte_test *t, u64 gen, bool same);

struct change_pte_counts change_pte_get_counts(struct change_pte_test *t);
struct change_pte_counts change_pte_report(struct change_pte_test *t,
					   const char *what,
					   struct change_pte_counts from);

void ksm_write(const char *name, unsigned int value);
void ksm_merge(void *mem, size_t size, unsigned long nr, bool use_zero_pages);
void ksm_setup(bool use_zero_pages);
unsigned long read_proc(const char *path, const char *key);

int change_pte_run_test(void (*fn)(const void *arg), const void *arg);

#endif /* SELFTEST_KVM_CHANGE_PTE_H */
