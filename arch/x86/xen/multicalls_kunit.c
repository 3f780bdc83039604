// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of requests that the hypervisor refuses: those that happen to be
 * queued with them must be carried out all the same.
 *
 * A writable mapping of a page table is what no PV guest gets.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pgtable.h>
#include <linux/uaccess.h>

#include <xen/xen.h>
#include <asm/xen/hypercall.h>

#include "xen-ops.h"

#define NR	150		/* more than two calls take */

struct multicalls_ctx {
	unsigned long addr;
	pte_t *ptep;
	spinlock_t *ptl;	/* of the page table */
};

static void lock_table(struct kunit *test)
{
	struct multicalls_ctx *ctx = test->priv;

	ctx->ptep = get_locked_pte(current->mm, ctx->addr, &ctx->ptl);
	KUNIT_ASSERT_NOT_NULL(test, ctx->ptep);
}

static void unlock_table(struct multicalls_ctx *ctx)
{
	pte_unmap_unlock(ctx->ptep, ctx->ptl);
	flush_tlb_mm(current->mm);
}

static void set_write(struct multicalls_ctx *ctx, unsigned int i, bool write)
{
	pte_t pte = ptep_get(ctx->ptep + i);

	set_pte_at(current->mm, ctx->addr + i * PAGE_SIZE, ctx->ptep + i,
		   write ? pte_mkwrite_novma(pte) : pte_wrprotect(pte));
}

static void queue_refused_request(struct multicalls_ctx *ctx, unsigned int i)
{
	set_pte(ctx->ptep + i, mk_pte(virt_to_page(ctx->ptep), PAGE_SHARED));
}

/* Write-protect all but one, for which something impossible is asked. */
static void others_arrive(struct kunit *test)
{
	static const unsigned int refused[] = { 0, 1, 17, 61, 62, 63, 64, NR - 1 };
	struct multicalls_ctx *ctx = test->priv;
	unsigned int n, i, wrong;

	for (n = 0; n < ARRAY_SIZE(refused); n++) {
		kunit_warning_suppress(test) {
			lock_table(test);
			lazy_mmu_mode_enable();
			for (i = 0; i < NR; i++) {
				if (i == refused[n])
					queue_refused_request(ctx, i);
				else
					set_write(ctx, i, false);
			}
			lazy_mmu_mode_disable();
			for (i = 0, wrong = 0; i < NR; i++)
				wrong += !!pte_write(ptep_get(ctx->ptep + i)) !=
					 (i == refused[n]);
			for (i = 0; i < NR; i++)
				set_write(ctx, i, true);
			unlock_table(ctx);

			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
		}
		KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "refused: %u", refused[n]);
	}
}

/* Any call, so that the next request does not extend the one before. */
static void queue_another_call(void)
{
	struct multicall_space mcs = xen_mc_entry(0);

	MULTI_fpu_taskswitch(mcs.mc, 0);
	xen_mc_issue(false);
}

/* What is left of the call that failed must not undo what came after it. */
static void last_one_wins(struct kunit *test)
{
	struct multicalls_ctx *ctx = test->priv;
	bool first, second;

	kunit_warning_suppress(test) {
		lock_table(test);
		lazy_mmu_mode_enable();
		queue_refused_request(ctx, 0);
		set_write(ctx, 1, false);
		set_write(ctx, 2, false);
		queue_another_call();
		set_write(ctx, 1, true);
		lazy_mmu_mode_disable();
		first = pte_write(ptep_get(ctx->ptep + 1));
		second = pte_write(ptep_get(ctx->ptep + 2));
		set_write(ctx, 2, true);
		unlock_table(ctx);

		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	KUNIT_EXPECT_TRUE(test, first);
	KUNIT_EXPECT_FALSE(test, second);
}

static int multicalls_test_init(struct kunit *test)
{
	struct multicalls_ctx *ctx;
	unsigned long addr;
	unsigned int i;

	if (!xen_pv_domain())
		kunit_skip(test, "needs a Xen PV guest");

	ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx);
	addr = kunit_vm_mmap(test, NULL, 0, 2 * PMD_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	ctx->addr = ALIGN(addr, PMD_SIZE);

	for (i = 0; i < NR; i++) {
		u8 __user *p = (u8 __user *)(ctx->addr + i * PAGE_SIZE);

		KUNIT_ASSERT_EQ(test, put_user(i, p), 0);
	}
	test->priv = ctx;
	return 0;
}

static struct kunit_case multicalls_test_cases[] = {
	KUNIT_CASE(others_arrive),
	KUNIT_CASE(last_one_wins),
	{}
};

static struct kunit_suite multicalls_test_suite = {
	.name = "xen_multicalls",
	.init = multicalls_test_init,
	.test_cases = multicalls_test_cases,
};

kunit_test_suite(multicalls_test_suite);

MODULE_DESCRIPTION("Tests of requests that the hypervisor refuses");
MODULE_LICENSE("GPL");
