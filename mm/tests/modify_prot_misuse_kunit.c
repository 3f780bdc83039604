// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what CONFIG_DEBUG_VM makes of misused page table protection
 * transactions: it warns. Where going on would do harm, only the checks are
 * called.
 */
#include <kunit/test.h>

#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pgtable.h>
#include <linux/uaccess.h>

#include <asm/tlbflush.h>

struct misuse_ctx {
	struct vm_area_struct *vma;
	unsigned long addr;
	pte_t *ptep;
	spinlock_t *ptl;
};

static void lock_entry(struct kunit *test, unsigned int index)
{
	struct misuse_ctx *ctx = test->priv;

	ctx->ptep = get_locked_pte(current->mm, ctx->addr + index * PAGE_SIZE,
				   &ctx->ptl);
	KUNIT_ASSERT_NOT_NULL(test, ctx->ptep);
}

static void unlock_entry(struct misuse_ctx *ctx)
{
	pte_unmap_unlock(ctx->ptep, ctx->ptl);
	flush_tlb_mm(current->mm);
}

static pte_t take(struct misuse_ctx *ctx, unsigned int i)
{
	return ptep_get_and_clear(current->mm, ctx->addr + i * PAGE_SIZE,
				  ctx->ptep + i);
}

static void put(struct misuse_ctx *ctx, unsigned int i, pte_t pte)
{
	set_pte_at(current->mm, ctx->addr + i * PAGE_SIZE, ctx->ptep + i, pte);
}

static void skip_unless_each_entry_is_checked(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_DEBUG_VM_PGTABLE))
		kunit_skip(test, "needs CONFIG_DEBUG_VM_PGTABLE");
}

static pte_t start(struct misuse_ctx *ctx, unsigned int index, unsigned int nr)
{
	return modify_prot_start_ptes(ctx->vma, ctx->addr + index * PAGE_SIZE,
				      ctx->ptep, nr);
}

/* A place that warns only once, on architectures where that is how it works. */
static bool warns_again(void)
{
	return IS_ENABLED(CONFIG_X86_64) && !IS_ENABLED(CONFIG_UML);
}

/* A batch has no entry or too many, at the first and last entry of a table. */
static void bad_numbers_are_noticed(struct kunit *test)
{
	const unsigned int bad[][2] = {
		{ 0, 0 }, { 0, PTRS_PER_PTE + 1 }, { PTRS_PER_PTE - 1, 2 },
	};
	struct misuse_ctx *ctx = test->priv;
	unsigned long addr;
	unsigned int i;
	pte_t pte;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		addr = ctx->addr + bad[i][0] * PAGE_SIZE;
		kunit_warning_suppress(test) {
			lock_entry(test, bad[i][0]);
			pte = ptep_get(ctx->ptep);
			modify_prot_check_start(ctx->vma, addr, ctx->ptep, bad[i][1]);
			modify_prot_check_commit(ctx->vma, addr, ctx->ptep, pte,
						 pte, bad[i][1]);
			unlock_entry(ctx);

			if (!i || warns_again())
				KUNIT_EXPECT_NE(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 0);
		}
	}
}

static void absent_entries_are_noticed(struct kunit *test)
{
	struct misuse_ctx *ctx = test->priv;
	pte_t saved;

	skip_unless_each_entry_is_checked(test);
	kunit_warning_suppress(test) {
		lock_entry(test, 0);
		saved = take(ctx, 0);
		modify_prot_check_start(ctx->vma, ctx->addr, ctx->ptep, 1);
		put(ctx, 0, saved);
		unlock_entry(ctx);

		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
}

/* Two pages may be consecutive in one order, but not in both. */
static void pages_out_of_order_are_noticed(struct kunit *test)
{
	struct misuse_ctx *ctx = test->priv;
	pte_t entries[2];
	unsigned int i;

	skip_unless_each_entry_is_checked(test);
	kunit_warning_suppress(test) {
		lock_entry(test, 0);
		entries[0] = ptep_get(ctx->ptep);
		entries[1] = ptep_get(ctx->ptep + 1);
		for (i = 0; i < 2; i++) {
			start(ctx, 0, 2);
			take(ctx, 0);
			take(ctx, 1);
			swap(entries[0], entries[1]);
			put(ctx, 0, entries[0]);
			put(ctx, 1, entries[1]);
		}
		unlock_entry(ctx);

		KUNIT_EXPECT_NE(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 0);
	}
}

static void another_page_is_noticed(struct kunit *test)
{
	struct misuse_ctx *ctx = test->priv;
	pte_t first, second;

	kunit_warning_suppress(test) {
		lock_entry(test, 0);
		first = ptep_get(ctx->ptep);
		second = ptep_get(ctx->ptep + 1);
		modify_prot_check_commit(ctx->vma, ctx->addr, ctx->ptep, first,
					 pte_wrprotect(second), 1);
		unlock_entry(ctx);

		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
}

/* The start has seen another page than the entry maps by the time of the commit. */
static void change_by_others_is_noticed(struct kunit *test)
{
	struct misuse_ctx *ctx = test->priv;
	pte_t old;

	skip_unless_each_entry_is_checked(test);
	kunit_warning_suppress(test) {
		lock_entry(test, 0);
		old = ptep_get(ctx->ptep + 1);
		modify_prot_check_commit(ctx->vma, ctx->addr, ctx->ptep, old, old, 1);
		unlock_entry(ctx);

		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
}

#ifdef modify_prot_change_ptes
/* Two entries, of which the second has other flags than the first. */
static void other_flags_are_noticed(struct kunit *test)
{
	struct misuse_ctx *ctx = test->priv;
	pte_t first, second;

	skip_unless_each_entry_is_checked(test);
	kunit_warning_suppress(test) {
		lock_entry(test, 0);
		first = ptep_get(ctx->ptep);
		second = take(ctx, 1);
		put(ctx, 1, pte_wrprotect(second));
		modify_prot_change_ptes(ctx->vma, ctx->addr, ctx->ptep, first,
					pte_mkold(first), 2);
		take(ctx, 0);
		put(ctx, 0, first);
		take(ctx, 1);
		put(ctx, 1, second);
		unlock_entry(ctx);

		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
}
#else
static void other_flags_are_noticed(struct kunit *test)
{
	kunit_skip(test, "no runs of entries on this architecture");
}
#endif

static int misuse_init(struct kunit *test)
{
	const unsigned int used[] = { 0, 1, PTRS_PER_PTE - 1, PTRS_PER_PTE };
	struct misuse_ctx *ctx;
	unsigned long addr;
	unsigned int i;

	if (!IS_ENABLED(CONFIG_DEBUG_VM))
		kunit_skip(test, "needs CONFIG_DEBUG_VM");

	ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx);
	addr = kunit_vm_mmap(test, NULL, 0, 3 * PMD_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	ctx->addr = ALIGN(addr, PMD_SIZE);

	mmap_write_lock(current->mm);
	ctx->vma = find_vma(current->mm, ctx->addr);
	vm_flags_set(ctx->vma, VM_NOHUGEPAGE);
	mmap_write_unlock(current->mm);

	for (i = 0; i < ARRAY_SIZE(used); i++) {
		u8 __user *p = (u8 __user *)(ctx->addr + used[i] * PAGE_SIZE);

		KUNIT_ASSERT_EQ(test, put_user(i, p), 0);
	}
	test->priv = ctx;
	return 0;
}

static struct kunit_case misuse_test_cases[] = {
	KUNIT_CASE(bad_numbers_are_noticed),
	KUNIT_CASE(absent_entries_are_noticed),
	KUNIT_CASE(pages_out_of_order_are_noticed),
	KUNIT_CASE(another_page_is_noticed),
	KUNIT_CASE(change_by_others_is_noticed),
	KUNIT_CASE(other_flags_are_noticed),
	{}
};

static struct kunit_suite misuse_test_suite = {
	.name = "modify_prot_misuse",
	.init = misuse_init,
	.test_cases = misuse_test_cases,
};

kunit_test_suite(misuse_test_suite);

MODULE_DESCRIPTION("Tests of misused page table protection transactions");
MODULE_LICENSE("GPL");
