// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what zap and fork do to batches of present ptes, clear_ptes(),
 * get_and_clear_ptes() and wrprotect_ptes(), and copy-on-write to one of them:
 * ptep_clear_flush() and clear_flush_pte().
 *
 * The entries are those of a live mm that the test thread has attached itself
 * to, and map the pages of one large folio.  Hardware is made to set accessed
 * and dirty bits: the tests touch the pages through the user mapping, with page
 * faults disabled, before the call, and after it as long as the entries may
 * still be live.
 *
 * What counts is what can be lost: a write that did not fault has to show in
 * the entry, or in what get_and_clear_ptes() returned.
 *
 * Under Xen PV there are two more kinds of page tables to test, those that are
 * pinned and updated by the hypervisor, in lazy MMU mode at the end of it, and
 * those of an mm that nobody uses.
 */
#include <kunit/test.h>
#include <linux/cleanup.h>
#include <linux/hugetlb.h>
#include <linux/irq_work.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/pgtable.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>
#include <asm/tlbflush.h>

#include "../internal.h"
#include "../vma.h"

#define MAX_NR		512U
#define NR_TABLES	2U

#define YOUNG		BIT(0)
#define DIRTY		BIT(1)

/**
 * struct pte_batch_ctx - the mapping that a test case works on
 * @mm: the test's mm, attached to the test thread
 * @vma: the only VMA used
 * @addr: user address that the first page table begins at
 * @folio: mapped once in each of the page tables
 * @child: an mm that is in use nowhere, with a copy of the VMA; made on demand
 * @child_vma: that copy
 * @ptl: page table lock of the table that is locked
 * @nr: number of entries used per table, and of pages in @folio
 * @hw: hardware was seen to set accessed and dirty bits
 * @unmapped: the test has unmapped everything
 * @init: YOUNG, DIRTY: what the entries are set up with
 * @before: the table before the call
 * @after: the table afterwards
 */
struct pte_batch_ctx {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned long addr;
	struct folio *folio;
	struct mm_struct *child;
	struct vm_area_struct *child_vma;
	spinlock_t *ptl;	/* of the table that is locked */
	unsigned int nr;
	bool hw;
	bool unmapped;
	u8 init[MAX_NR];
	pte_t before[MAX_NR];
	pte_t after[MAX_NR];
};

/* The size of a batch, and whether it is changed in lazy MMU mode. */
struct batch {
	unsigned int nr;
	bool lazy;
};

static unsigned int ad_bits(pte_t pte)
{
	return (pte_young(pte) ? YOUNG : 0) | (pte_dirty(pte) ? DIRTY : 0);
}

#ifdef CONFIG_PARAVIRT_XXL
static bool hypervisor_updates(void)
{
	return cpu_feature_enabled(X86_FEATURE_XENPV);
}

static bool table_is_pinned(pte_t *ptep)
{
	return PagePinned(virt_to_page(ptep));
}

/* Xen sets Global in the entries of user pages, whatever the guest asks for. */
static pte_t strip_hypervisor_bits(pte_t pte)
{
	return pte_flags(pte) & _PAGE_PRESENT ? pte_clrglobal(pte) : pte;
}

static u64 __maybe_unused nr_tlb_flushes(struct mm_struct *mm)
{
	return atomic64_read(&mm->context.tlb_gen);
}

static void flush_queue(struct irq_work *work)
{
	arch_flush_lazy_mmu_mode();
}

/* Be interrupted by what has hypercalls of its own to make. */
static void flush_from_interrupt(void)
{
	struct irq_work work = IRQ_WORK_INIT_HARD(flush_queue);

	irq_work_queue(&work);
	while (irq_work_is_busy(&work))
		cpu_relax();
}
#else
static bool hypervisor_updates(void)
{
	return false;
}

static bool table_is_pinned(pte_t *ptep)
{
	return false;
}

static pte_t strip_hypervisor_bits(pte_t pte)
{
	return pte;
}

static u64 __maybe_unused nr_tlb_flushes(struct mm_struct *mm)
{
	return 0;
}

static void flush_from_interrupt(void)
{
}
#endif

/* Access to the page tables and to the user mapping */

static unsigned long table_addr(struct pte_batch_ctx *ctx, unsigned int table)
{
	return ctx->addr + table * PMD_SIZE;
}

static pte_t *lock_table_of(struct pte_batch_ctx *ctx, struct mm_struct *mm,
			    unsigned int table)
{
	return get_locked_pte(mm, table_addr(ctx, table), &ctx->ptl);
}

static pte_t *lock_table(struct pte_batch_ctx *ctx, unsigned int table)
{
	return lock_table_of(ctx, ctx->mm, table);
}

static void unlock_table(struct pte_batch_ctx *ctx, pte_t *ptep)
{
	pte_unmap_unlock(ptep, ctx->ptl);
}

static void flush_table(struct pte_batch_ctx *ctx, unsigned int table)
{
	unsigned long addr = table_addr(ctx, table);

	flush_tlb_range(ctx->vma, addr, addr + ctx->nr * PAGE_SIZE);
}

static void read_table(struct pte_batch_ctx *ctx, pte_t *ptep, pte_t *to)
{
	unsigned int i;

	for (i = 0; i < ctx->nr; i++)
		to[i] = ptep_get(ptep + i);
}

static pte_t new_entry(struct pte_batch_ctx *ctx, unsigned int i)
{
	pgprot_t prot = vm_get_page_prot(VM_READ | VM_WRITE);
	pte_t pte = mk_pte(folio_page(ctx->folio, i), prot);

	pte = pte_mkwrite(pte_mkold(pte_mkclean(pte)), ctx->vma);
	if (ctx->init[i] & YOUNG)
		pte = pte_mkyoung(pte);
	if (ctx->init[i] & DIRTY)
		pte = pte_mkdirty(pte);
	return pte;
}

static void fill_locked(struct pte_batch_ctx *ctx, struct mm_struct *mm,
			unsigned int table, pte_t *ptep)
{
	unsigned long addr = table_addr(ctx, table);
	unsigned int i;

	for (i = 0; i < ctx->nr; i++, addr += PAGE_SIZE) {
		ptep_clear(mm, addr, ptep + i);
		set_pte_at(mm, addr, ptep + i, new_entry(ctx, i));
	}
}

/* Set writable entries up, accessed and dirty as ctx->init says. */
static void fill_table(struct pte_batch_ctx *ctx, unsigned int table)
{
	pte_t *ptep = lock_table(ctx, table);

	fill_locked(ctx, ctx->mm, table, ptep);
	unlock_table(ctx, ptep);
	flush_table(ctx, table);
}

static void fill_tables(struct pte_batch_ctx *ctx, unsigned int bits)
{
	unsigned int table;

	memset(ctx->init, bits, sizeof(ctx->init));
	for (table = 0; table < NR_TABLES; table++)
		fill_table(ctx, table);
}

/*
 * At the end of a test, while its thread still has the mm: the pages are mapped
 * and referenced by each entry, so all have to be there when they are unmapped.
 */
static void restore(struct pte_batch_ctx *ctx)
{
	if (ctx->child)
		mmput(ctx->child);
	ctx->child = NULL;
	if (!ctx->unmapped)
		fill_tables(ctx, 0);
}

DEFINE_FREE(restore, struct pte_batch_ctx *, restore(_T))

/* Returns 0, or -EFAULT if the entry doesn't allow the access. */
static int touch_page(struct pte_batch_ctx *ctx, unsigned int i, bool write)
{
	u8 __user *p = (u8 __user *)(ctx->addr + i * PAGE_SIZE);
	u8 v __maybe_unused;
	int err;

	pagefault_disable();
	err = write ? __put_user((u8)i, p) : __get_user(v, p);
	pagefault_enable();

	return err;
}

static unsigned int count_touched(struct pte_batch_ctx *ctx, unsigned int pos,
				  unsigned int nr, bool write)
{
	unsigned int i, n = 0;

	for (i = pos; i < pos + nr; i++)
		n += !touch_page(ctx, i, write);
	return n;
}

static void begin(const struct batch *b)
{
	if (b->lazy)
		lazy_mmu_mode_enable();
}

static void end(const struct batch *b)
{
	if (b->lazy)
		lazy_mmu_mode_disable();
}

/* Expectations. One report per batch is enough. */

static bool is_none(pte_t before, pte_t after)
{
	return pte_none(after);
}

static bool is_unchanged(pte_t before, pte_t after)
{
	return pte_same(before, after);
}

/* Nothing but Write has changed, and Dirty may be another bit than before. */
static bool is_wrprotected(pte_t before, pte_t after)
{
	pte_t want = pte_mkold(pte_mkclean(pte_wrprotect(before)));
	pte_t is = pte_mkold(pte_mkclean(after));

	return !pte_write(after) && ad_bits(after) == ad_bits(before) &&
	       pte_same(strip_hypervisor_bits(is), strip_hypervisor_bits(want));
}

/* None or present; Dirty may be either of two bits. */
static bool is_as_wanted(pte_t want, pte_t after)
{
	pte_t is = pte_mkold(pte_mkclean(after));
	pte_t same = pte_mkold(pte_mkclean(want));

	if (pte_none(want))
		return pte_none(after);

	return pte_write(after) == pte_write(want) &&
	       ad_bits(after) == ad_bits(want) &&
	       pte_same(strip_hypervisor_bits(is), strip_hypervisor_bits(same));
}

typedef bool (*check_fn)(pte_t before, pte_t after);

static bool expect_entries(struct kunit *test, unsigned int from,
			   unsigned int to, check_fn check)
{
	struct pte_batch_ctx *ctx = test->priv;
	unsigned int i;

	for (i = from; i < to; i++) {
		if (check(ctx->before[i], ctx->after[i]))
			continue;
		KUNIT_FAIL(test, "entry %u of %u to %u: not %ps: was %llx, is %llx\n",
			   i, from, to, check, (u64)pte_val(ctx->before[i]),
			   (u64)pte_val(ctx->after[i]));
		return false;
	}
	return true;
}

/* Those of the batch as @check says, the others of the table as they were. */
static bool expect_batch(struct kunit *test, unsigned int pos, unsigned int nr,
			 check_fn check)
{
	struct pte_batch_ctx *ctx = test->priv;

	return expect_entries(test, 0, pos, is_unchanged) &&
	       expect_entries(test, pos, pos + nr, check) &&
	       expect_entries(test, pos + nr, ctx->nr, is_unchanged);
}

/* Parameters */

static const struct batch batches[] = {
	{ 1 }, { 1, true }, { 2 }, { 2, true }, { 3 }, { 3, true },
	{ 15 }, { 15, true }, { 16 }, { 16, true }, { 31 }, { 31, true },
	{ 32 }, { 32, true }, { 33 }, { 33, true }, { 63 }, { 63, true },
	{ 64 }, { 64, true }, { 65 }, { 65, true }, { 255 }, { 255, true },
	{ 256 }, { 256, true }, { 257 }, { 257, true }, { 511 }, { 511, true },
	{ 512 }, { 512, true },
};

static void describe_batch(const struct batch *b, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u entries%s", b->nr,
		 b->lazy ? ", lazy" : "");
}

KUNIT_ARRAY_PARAM(batches, batches, describe_batch);

static const struct batch *this_batch(struct kunit *test)
{
	const struct batch *b = test->param_value;
	struct pte_batch_ctx *ctx = test->priv;

	if (b->nr > ctx->nr)
		kunit_skip(test, "only %u entries per page table", ctx->nr);
	return b;
}

static void skip_without_hardware(struct kunit *test)
{
	struct pte_batch_ctx *ctx = test->priv;

	if (!ctx->hw)
		kunit_skip(test, "accessed and dirty are set by software here");
}

/* Spread the batches over start, middle and end of the table. */
static unsigned int batch_pos(struct pte_batch_ctx *ctx, unsigned int nr,
			      unsigned int n)
{
	return (ctx->nr - nr) * (n % 3) / 2;
}

#define NR_PATTERNS	16

/* Sixteen ways to set two neighbours up. */
static void init_pattern(struct pte_batch_ctx *ctx, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < ctx->nr; i++)
		ctx->init[i] = (i % 2 ? n >> 2 : n) & 3;
}

/* The cases */

static void clear_leaves_none(struct kunit *test)
{
	const struct batch *b = this_batch(test);
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int n, pos;
	pte_t *ptep;

	for (n = 0; n < NR_PATTERNS; n++) {
		init_pattern(ctx, n);
		fill_table(ctx, 0);
		pos = batch_pos(ctx, b->nr, n);

		ptep = lock_table(ctx, 0);
		read_table(ctx, ptep, ctx->before);
		begin(b);
		clear_ptes(ctx->mm, ctx->addr + pos * PAGE_SIZE, ptep + pos,
			   b->nr);
		end(b);
		read_table(ctx, ptep, ctx->after);
		unlock_table(ctx, ptep);
		flush_table(ctx, 0);

		if (!expect_batch(test, pos, b->nr, is_none))
			return;
		KUNIT_EXPECT_EQ(test, 0,
				count_touched(ctx, pos, b->nr, false));
	}
}

static pte_t get_and_clear(struct pte_batch_ctx *ctx, pte_t *ptep,
			   unsigned int pos, unsigned int nr)
{
	return get_and_clear_ptes(ctx->mm, ctx->addr + pos * PAGE_SIZE,
				  ptep + pos, nr);
}

static void get_and_clear_gathers(struct kunit *test)
{
	const struct batch *b = this_batch(test);
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int n, i, pos, want;
	pte_t *ptep, pte;

	for (n = 0; n < NR_PATTERNS; n++) {
		init_pattern(ctx, n);
		fill_table(ctx, 0);
		pos = batch_pos(ctx, b->nr, n);

		ptep = lock_table(ctx, 0);
		read_table(ctx, ptep, ctx->before);
		for (i = 0, want = 0; i < b->nr; i++)
			want |= ad_bits(ctx->before[pos + i]);
		begin(b);
		pte = get_and_clear(ctx, ptep, pos, b->nr);
		end(b);
		read_table(ctx, ptep, ctx->after);
		unlock_table(ctx, ptep);
		flush_table(ctx, 0);

		KUNIT_EXPECT_EQ(test, ad_bits(pte), want);
		KUNIT_EXPECT_EQ(test, pte_pfn(pte),
				folio_pfn(ctx->folio) + pos);
		if (!expect_batch(test, pos, b->nr, is_none))
			return;
	}
}

/* What is set between the caller's look at the entries and the call. */
static void late_bits_are_returned(struct kunit *test)
{
	const struct batch *b = this_batch(test);
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int n, pos, touched;
	pte_t *ptep, pte;
	bool write;

	skip_without_hardware(test);
	for (n = 0; n < 2 * NR_PATTERNS; n++) {
		init_pattern(ctx, n / 2);
		fill_table(ctx, 0);
		pos = batch_pos(ctx, b->nr, n);
		write = n & 1;

		ptep = lock_table(ctx, 0);
		begin(b);
		touched = count_touched(ctx, pos + b->nr - 1, 1, write);
		pte = get_and_clear(ctx, ptep, pos, b->nr);
		end(b);
		unlock_table(ctx, ptep);
		flush_table(ctx, 0);

		KUNIT_EXPECT_EQ(test, touched, 1);
		KUNIT_EXPECT_TRUE(test, pte_young(pte));
		if (write)
			KUNIT_EXPECT_TRUE(test, pte_dirty(pte));
	}
}

/* Cleared, not flushed from the queue and the TLB: writes fault, or are known. */
static void later_writes_are_known(struct kunit *test)
{
	const struct batch *b = this_batch(test);
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int n, pos, touched;
	pte_t *ptep, pte;

	skip_without_hardware(test);
	for (n = 0; n < 4; n++) {
		memset(ctx->init, n, sizeof(ctx->init));
		fill_table(ctx, 0);
		pos = batch_pos(ctx, b->nr, n);

		ptep = lock_table(ctx, 0);
		begin(b);
		pte = get_and_clear(ctx, ptep, pos, b->nr);
		touched = count_touched(ctx, pos, b->nr, true);
		end(b);
		read_table(ctx, ptep, ctx->after);
		unlock_table(ctx, ptep);
		flush_table(ctx, 0);

		if (!pte_dirty(pte))
			KUNIT_EXPECT_EQ(test, touched, 0);
		KUNIT_EXPECT_EQ(test, 0, count_touched(ctx, pos, b->nr, true));
		if (!expect_entries(test, pos, pos + b->nr, is_none))
			return;
	}
}

static void wrprotect_keeps_the_rest(struct kunit *test)
{
	const struct batch *b = this_batch(test);
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int n, pos;
	pte_t *ptep;

	for (n = 0; n < NR_PATTERNS; n++) {
		init_pattern(ctx, n);
		fill_table(ctx, 0);
		pos = batch_pos(ctx, b->nr, n);

		ptep = lock_table(ctx, 0);
		read_table(ctx, ptep, ctx->before);
		begin(b);
		wrprotect_ptes(ctx->mm, ctx->addr + pos * PAGE_SIZE, ptep + pos,
			       b->nr);
		end(b);
		read_table(ctx, ptep, ctx->after);
		unlock_table(ctx, ptep);
		flush_table(ctx, 0);

		if (!expect_batch(test, pos, b->nr, is_wrprotected))
			return;
		KUNIT_EXPECT_EQ(test, 0, count_touched(ctx, pos, b->nr, true));
		if (ctx->hw)
			KUNIT_EXPECT_EQ(test, b->nr,
					count_touched(ctx, pos, b->nr, false));
	}
}

/* Before the call, and after it if the protection is still queued. */
static void late_writes_stay_dirty(struct kunit *test)
{
	const struct batch *b = this_batch(test);
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int n, i, pos;
	pte_t *ptep;

	skip_without_hardware(test);
	for (n = 0; n < 8; n++) {
		memset(ctx->init, n & 3, sizeof(ctx->init));
		fill_table(ctx, 0);
		pos = batch_pos(ctx, b->nr, n);

		ptep = lock_table(ctx, 0);
		memset(ctx->init, 0, sizeof(ctx->init));
		begin(b);
		for (i = pos; n & 4 && i < pos + b->nr; i += 3)
			ctx->init[i] = !touch_page(ctx, i, true);
		wrprotect_ptes(ctx->mm, ctx->addr + pos * PAGE_SIZE, ptep + pos,
			       b->nr);
		for (i = pos; i < pos + b->nr; i++)
			ctx->init[i] |= !touch_page(ctx, i, true);
		end(b);
		read_table(ctx, ptep, ctx->after);
		unlock_table(ctx, ptep);
		flush_table(ctx, 0);

		for (i = pos; i < pos + b->nr; i++) {
			if (!pte_write(ctx->after[i]) &&
			    (!ctx->init[i] || pte_dirty(ctx->after[i])))
				continue;
			KUNIT_FAIL(test, "entry %u, %swritten: %llx\n", i,
				   ctx->init[i] ? "" : "not ",
				   (u64)pte_val(ctx->after[i]));
			return;
		}
	}
}

/* What is left behind by sections with batches of many sizes. */
static void nothing_stays_queued(struct kunit *test)
{
	static const unsigned int sizes[][2] = {
		{ 1, 1 }, { 1, 2 }, { 3, 1 }, { 31, 31 }, { 32, 32 }, { 33, 31 },
		{ 1, 300 }, { 64, 1 }, { 255, 257 }, { 512, 512 },
	};
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int n, i, pos, nr;
	unsigned long addr;
	pte_t *ptep;

	for (n = 0; n < 2 * ARRAY_SIZE(sizes); n++) {
		memset(ctx->init, YOUNG | DIRTY, sizeof(ctx->init));
		fill_table(ctx, 0);

		ptep = lock_table(ctx, 0);
		read_table(ctx, ptep, ctx->before);
		lazy_mmu_mode_enable();
		for (pos = 0, i = 0; pos < ctx->nr; pos += nr, i++) {
			nr = min(sizes[n / 2][i % 2], ctx->nr - pos);
			addr = ctx->addr + pos * PAGE_SIZE;
			if (n % 2)
				wrprotect_ptes(ctx->mm, addr, ptep + pos, nr);
			else if (i % 2)
				get_and_clear(ctx, ptep, pos, nr);
			else
				clear_ptes(ctx->mm, addr, ptep + pos, nr);
		}
		lazy_mmu_mode_disable();
		read_table(ctx, ptep, ctx->after);
		unlock_table(ctx, ptep);
		flush_table(ctx, 0);

		expect_entries(test, 0, ctx->nr, n % 2 ? is_wrprotected : is_none);
	}
}

/*
 * A sequence of changes in one section, most of them of single entries one behind
 * the other, as zap and fork come with them.  ctx->before is what has to come of it,
 * ctx->init[i] whether entry i must not be looked at before the queue is flushed.
 */
struct sequence {
	struct pte_batch_ctx *ctx;
	struct rnd_state rnd;
	pte_t *ptep;
	unsigned int pos;
};

enum step {
	STEP_CLEAR,
	STEP_WRPROTECT,
	STEP_CLEAR_BATCH,
	STEP_WRPROTECT_BATCH,
	STEP_SET,
	STEP_JUMP,
	STEP_LEAVE_NESTED,
	STEP_INTERRUPT,
	NR_STEPS,
};

/* The number of entries from s->pos on that may be changed, up to @nr. */
static unsigned int nr_present(struct sequence *s, unsigned int nr)
{
	unsigned int i;

	for (i = s->pos; i < s->pos + nr; i++) {
		if (s->ctx->init[i] || pte_none(s->ctx->before[i]))
			break;
	}
	return i - s->pos;
}

static void clear_some(struct sequence *s, unsigned int nr)
{
	struct pte_batch_ctx *ctx = s->ctx;

	nr = nr_present(s, nr);
	if (nr)
		clear_ptes(ctx->mm, ctx->addr + s->pos * PAGE_SIZE,
			   s->ptep + s->pos, nr);
	for (; nr; nr--, s->pos++) {
		ctx->before[s->pos] = __pte(0);
		ctx->init[s->pos] = true;
	}
}

static void wrprotect_some(struct sequence *s, unsigned int nr)
{
	struct pte_batch_ctx *ctx = s->ctx;

	nr = nr_present(s, nr);
	if (nr)
		wrprotect_ptes(ctx->mm, ctx->addr + s->pos * PAGE_SIZE,
			       s->ptep + s->pos, nr);
	for (; nr; nr--, s->pos++)
		ctx->before[s->pos] = pte_wrprotect(ctx->before[s->pos]);
}

/*
 * An entry that was cleared in the same section is not set, see markers below.
 * Some architectures don't have live entries changed by a store, and may copy
 * accessed and dirty bits among neighbours.
 */
static void set_one(struct sequence *s)
{
	struct pte_batch_ctx *ctx = s->ctx;
	pte_t pte = new_entry(ctx, s->pos);

	if (ctx->init[s->pos] ||
	    (!hypervisor_updates() && !pte_none(ctx->before[s->pos])))
		return;
	if (!hypervisor_updates())
		pte = pte_mkyoung(pte_mkdirty(pte));
	set_pte_at(ctx->mm, ctx->addr + s->pos * PAGE_SIZE, s->ptep + s->pos, pte);
	ctx->before[s->pos] = pte;
	ctx->init[s->pos] = true;
}

static void take_step(struct sequence *s, enum step step)
{
	struct pte_batch_ctx *ctx = s->ctx;
	unsigned int nr = 1 + prandom_u32_state(&s->rnd) % (ctx->nr - s->pos);

	switch (step) {
	case STEP_CLEAR:
		clear_some(s, 1);
		break;
	case STEP_WRPROTECT:
		wrprotect_some(s, 1);
		break;
	case STEP_CLEAR_BATCH:
		clear_some(s, nr);
		break;
	case STEP_WRPROTECT_BATCH:
		wrprotect_some(s, nr);
		break;
	case STEP_SET:
		/* Rather one whose protection may be queued. */
		s->pos += ctx->nr - prandom_u32_state(&s->rnd) % 4;
		s->pos %= ctx->nr;
		set_one(s);
		break;
	case STEP_LEAVE_NESTED:
		lazy_mmu_mode_enable();
		lazy_mmu_mode_disable();
		memset(ctx->init, false, sizeof(ctx->init));
		break;
	case STEP_INTERRUPT:
		flush_from_interrupt();
		break;
	default:
		s->pos = prandom_u32_state(&s->rnd);
	}
	s->pos %= ctx->nr;
}

static void random_sequences(struct kunit *test)
{
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	struct sequence s = { .ctx = ctx };
	unsigned int n, i, steps, run;
	enum step step, mostly;

	prandom_seed_state(&s.rnd, 2026);
	for (n = 0; n < 300; n++) {
		memset(ctx->init, YOUNG | DIRTY, sizeof(ctx->init));
		fill_table(ctx, 0);
		s.ptep = lock_table(ctx, 0);
		read_table(ctx, s.ptep, ctx->before);
		memset(ctx->init, false, sizeof(ctx->init));

		lazy_mmu_mode_enable();
		steps = prandom_u32_state(&s.rnd) % 20;
		for (; steps; steps--) {
			mostly = prandom_u32_state(&s.rnd) % 2 ? STEP_CLEAR : STEP_WRPROTECT;
			run = prandom_u32_state(&s.rnd) % 40;
			for (i = 0; i < run; i++)
				take_step(&s, mostly);
			step = prandom_u32_state(&s.rnd) % NR_STEPS;
			take_step(&s, step);
		}
		lazy_mmu_mode_disable();
		read_table(ctx, s.ptep, ctx->after);
		unlock_table(ctx, s.ptep);
		flush_table(ctx, 0);

		if (!expect_entries(test, 0, ctx->nr, is_as_wanted))
			return;
	}
}

static void nested_sections(struct kunit *test)
{
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int quarter = ctx->nr / 4;
	pte_t *ptep;

	fill_tables(ctx, YOUNG | DIRTY);
	ptep = lock_table(ctx, 0);
	read_table(ctx, ptep, ctx->before);
	lazy_mmu_mode_enable();
	get_and_clear(ctx, ptep, 0, quarter);

	{
		/* Nested section: leaving it flushes all there is */
		lazy_mmu_mode_enable();
		get_and_clear(ctx, ptep, quarter, quarter);
		lazy_mmu_mode_disable();
		read_table(ctx, ptep, ctx->after);
		expect_batch(test, 0, 2 * quarter, is_none);
	}

	{
		/* Paused section: takes effect at once */
		lazy_mmu_mode_pause();
		get_and_clear(ctx, ptep, 2 * quarter, quarter);
		read_table(ctx, ptep, ctx->after);
		lazy_mmu_mode_resume();
		expect_batch(test, 0, 3 * quarter, is_none);
	}

	get_and_clear(ctx, ptep, 3 * quarter, quarter);
	lazy_mmu_mode_disable();
	read_table(ctx, ptep, ctx->after);
	unlock_table(ctx, ptep);
	flush_table(ctx, 0);

	expect_batch(test, 0, 4 * quarter, is_none);
}

/*
 * Zapping puts a marker in the place of an entry that userfaultfd has write-
 * protected, in the same section. CONFIG_PAGE_TABLE_CHECK must not find the
 * page mapped still, it has taken it off its accounts already.
 */
static void markers_replace_entries(struct kunit *test)
{
	const struct batch *b = this_batch(test);
	const pte_t marker = make_pte_marker(PTE_MARKER_UFFD_WP);
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int n, i, pos, markers = 0;
	unsigned long addr;
	pte_t *ptep;

	if (!IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP))
		kunit_skip(test, "no userfaultfd write protection");

	for (n = 0; n < 2; n++) {
		fill_tables(ctx, YOUNG | DIRTY);
		pos = batch_pos(ctx, b->nr, n);
		addr = ctx->addr + pos * PAGE_SIZE;

		ptep = lock_table(ctx, 0);
		for (i = 0; i < b->nr; i++)
			set_pte_at(ctx->mm, addr + i * PAGE_SIZE, ptep + pos + i,
				   pte_mkuffd(ptep_get(ptep + pos + i)));

		begin(b);
		if (n)
			get_and_clear(ctx, ptep, pos, b->nr);
		else
			clear_ptes(ctx->mm, addr, ptep + pos, b->nr);
		for (i = 0; i < b->nr; i++)
			set_pte_at(ctx->mm, addr + i * PAGE_SIZE, ptep + pos + i,
				   marker);
		end(b);

		for (i = 0; i < b->nr; i++) {
			markers += pte_same(ptep_get(ptep + pos + i), marker);
			pte_clear(ctx->mm, addr + i * PAGE_SIZE, ptep + pos + i);
		}
		unlock_table(ctx, ptep);
		flush_table(ctx, 0);
	}
	KUNIT_EXPECT_EQ(test, markers, 2 * b->nr);
}

/* An mm without users, with a copy of the VMA: what a child of fork starts as. */
static void make_child(struct kunit *test)
{
	struct pte_batch_ctx *ctx = test->priv;
	int err;

	ctx->child = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, ctx->child);

	mmap_write_lock(ctx->mm);
	vma_start_write(ctx->vma);
	ctx->child_vma = vm_area_dup(ctx->vma);
	mmap_write_unlock(ctx->mm);
	KUNIT_ASSERT_NOT_NULL(test, ctx->child_vma);

	ctx->child_vma->vm_mm = ctx->child;
	mmap_write_lock(ctx->child);
	err = insert_vm_struct(ctx->child, ctx->child_vma);
	mmap_write_unlock(ctx->child);
	if (err)
		vm_area_free(ctx->child_vma);
	KUNIT_ASSERT_EQ(test, err, 0);
}

static void skip_without_pinning(struct kunit *test)
{
	struct pte_batch_ctx *ctx = test->priv;
	pte_t *ptep;
	bool pinned;

	if (!hypervisor_updates())
		kunit_skip(test, "page tables are not pinned");
	ptep = lock_table(ctx, 0);
	pinned = table_is_pinned(ptep);
	unlock_table(ctx, ptep);
	if (!pinned)
		kunit_skip(test, "the page tables of the test's mm are not pinned");
}

/* All that is done to an mm in use in a lazy section, is done at its end. */
static void pinned_tables_are_batched(struct kunit *test)
{
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned long flags;
	pte_t *ptep, pte;

	skip_without_pinning(test);
	fill_tables(ctx, YOUNG | DIRTY);
	ptep = lock_table(ctx, 0);
	read_table(ctx, ptep, ctx->before);
	pte = ptep_get(ptep + 3);
	lazy_mmu_mode_enable();
	/* They may flush the queue. */
	local_irq_save(flags);
	clear_ptes(ctx->mm, ctx->addr, ptep, 1);
	get_and_clear(ctx, ptep, 1, 1);
	wrprotect_ptes(ctx->mm, ctx->addr + 2 * PAGE_SIZE, ptep + 2, 1);
	set_pte_at(ctx->mm, ctx->addr + 3 * PAGE_SIZE, ptep + 3, pte_mkold(pte));
	read_table(ctx, ptep, ctx->after);
	local_irq_restore(flags);
	lazy_mmu_mode_disable();
	expect_entries(test, 0, 4, is_unchanged);
	read_table(ctx, ptep, ctx->after);
	unlock_table(ctx, ptep);
	flush_table(ctx, 0);

	expect_entries(test, 0, 2, is_none);
	expect_entries(test, 2, 3, is_wrprotected);
	KUNIT_EXPECT_FALSE(test, pte_young(ctx->after[3]));
}

static pte_t clear_flush(struct vm_area_struct *vma, unsigned long addr,
			 pte_t *ptep, bool replaced)
{
	pte_t pte = ptep_get(ptep);

	if (!replaced)
		return ptep_clear_flush(vma, addr, ptep);
	clear_flush_pte(vma, addr, ptep);
	return pte;
}

/*
 * Access right before is in the entry that is returned, but to those who replace
 * it, and there is none afterwards. Other CPUs' TLBs are not tested.
 */
static void clear_flush_ends_access(struct kunit *test)
{
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int bits, i, before = 0, after = 0, lost = 0;
	unsigned long addr;
	pte_t *ptep, pte;
	bool write;

	for (bits = 0; bits <= (YOUNG | DIRTY); bits++) {
		if (!ctx->hw && bits != (YOUNG | DIRTY))
			continue;
		fill_tables(ctx, bits);
		ptep = lock_table(ctx, 0);
		for (i = 0; i < ctx->nr; i++) {
			write = i & 2;
			addr = ctx->addr + i * PAGE_SIZE;
			before += !touch_page(ctx, i, write);
			pte = clear_flush(ctx->vma, addr, ptep + i, i & 1);
			after += count_touched(ctx, i, 1, write);
			lost += pte_pfn(pte) != page_to_pfn(folio_page(ctx->folio, i)) ||
				!pte_young(pte) || (write && !pte_dirty(pte));
		}
		read_table(ctx, ptep, ctx->after);
		unlock_table(ctx, ptep);
		KUNIT_EXPECT_EQ(test, before, ctx->nr);
		KUNIT_EXPECT_EQ(test, after, 0);
		KUNIT_EXPECT_EQ(test, lost, 0);
		expect_entries(test, 0, ctx->nr, is_none);
		before = 0;
	}
}

/* No matter whether in lazy MMU mode. */
static void unused_tables_are_written_at_once(struct kunit *test)
{
	const struct batch *b = this_batch(test);
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int n, pos;
	unsigned long addr;
	pte_t *ptep;

	make_child(test);
	ptep = lock_table_of(ctx, ctx->child, 0);
	KUNIT_EXPECT_FALSE(test, table_is_pinned(ptep));
	begin(b);
	for (n = 0; n < NR_PATTERNS; n++) {
		init_pattern(ctx, n);
		pos = batch_pos(ctx, b->nr, n);
		addr = ctx->addr + pos * PAGE_SIZE;
		fill_locked(ctx, ctx->child, 0, ptep);

		read_table(ctx, ptep, ctx->before);
		wrprotect_ptes(ctx->child, addr, ptep + pos, b->nr);
		read_table(ctx, ptep, ctx->after);
		if (!expect_batch(test, pos, b->nr, is_wrprotected))
			break;

		read_table(ctx, ptep, ctx->before);
		if (n % 2)
			get_and_clear_ptes(ctx->child, addr, ptep + pos, b->nr);
		else
			clear_ptes(ctx->child, addr, ptep + pos, b->nr);
		read_table(ctx, ptep, ctx->after);
		if (!expect_batch(test, pos, b->nr, is_none))
			break;
	}
	for (n = 0; n < ctx->nr; n++)
		ptep_clear(ctx->child, ctx->addr + n * PAGE_SIZE, ptep + n);
	end(b);
	unlock_table(ctx, ptep);
}

#ifdef CONFIG_MMU_NOTIFIER
/*
 * A secondary TLB that is invalidated, and a CPU that switches to the mm once it
 * was decided which ones to flush.
 */
struct newcomer {
	struct mmu_notifier mn;
	pte_t *ptep;
	bool queued;	/* The entry was there once. */
	bool gone;	/* It was not, the last time. */
};

static void switch_to_mm(struct mmu_notifier *mn, struct mm_struct *mm,
			 unsigned long start, unsigned long end)
{
	struct newcomer *cpu = container_of(mn, struct newcomer, mn);

	if (!cpu->ptep)
		return;
	cpu->gone = pte_none(ptep_get(cpu->ptep));
	cpu->queued |= !cpu->gone;
	cpumask_set_cpu(raw_smp_processor_id(), mm_cpumask(mm));
}

static const struct mmu_notifier_ops newcomer_ops = {
	.arch_invalidate_secondary_tlbs = switch_to_mm,
};

/* The child's mm has not run anywhere, so the mask is empty at first. */
static void clear_flush_reaches_new_cpus(struct kunit *test)
{
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	const u64 least = IS_ENABLED(CONFIG_PREEMPT_RT) ? 2 : 1;
	struct newcomer cpu = { .mn.ops = &newcomer_ops };
	u64 begun[5];
	unsigned int i;
	pte_t *ptep;

	if (!hypervisor_updates())
		kunit_skip(test, "entries are cleared before the TLB is flushed");

	make_child(test);
	memset(ctx->init, YOUNG | DIRTY, sizeof(ctx->init));
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(&cpu.mn, ctx->child));
	ptep = lock_table_of(ctx, ctx->child, 0);
	fill_locked(ctx, ctx->child, 0, ptep);

	for (i = 0; i < 4; i++) {
		/* It comes in the first call of each function. */
		if (i % 2 == 0)
			cpumask_clear(mm_cpumask(ctx->child));
		cpu.ptep = ptep + i;
		begun[i] = nr_tlb_flushes(ctx->child);
		clear_flush(ctx->child_vma, ctx->addr + i * PAGE_SIZE, ptep + i,
			    i >= 2);
	}
	begun[i] = nr_tlb_flushes(ctx->child);

	for (; i < ctx->nr; i++)
		ptep_clear(ctx->child, ctx->addr + i * PAGE_SIZE, ptep + i);
	unlock_table(ctx, ptep);
	mmu_notifier_unregister(&cpu.mn, ctx->child);

	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, begun[i + 1] - begun[i], i % 2 ? least : 2);
}

/* It is in a section of the caller's, too. */
static void expect_one_call(struct kunit *test, unsigned int bits,
			    bool replaced, bool queued)
{
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	struct newcomer cpu = { .mn.ops = &newcomer_ops };
	unsigned int i, left = 0;
	bool gone = true;
	pte_t *ptep;

	fill_tables(ctx, bits);
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(&cpu.mn, ctx->mm));
	ptep = lock_table(ctx, 0);
	lazy_mmu_mode_enable();
	/* Interrupts may flush the queue, but hardly each time. */
	for (i = 0; i < ctx->nr; i++) {
		cpu.ptep = ptep + i;
		clear_flush(ctx->vma, ctx->addr + i * PAGE_SIZE, ptep + i,
			    replaced);
		left += !pte_none(ptep_get(ptep + i));
		gone &= cpu.gone;
	}
	lazy_mmu_mode_disable();
	unlock_table(ctx, ptep);
	mmu_notifier_unregister(&cpu.mn, ctx->mm);

	KUNIT_EXPECT_EQ(test, left, 0);
	KUNIT_EXPECT_TRUE(test, gone);
	KUNIT_EXPECT_EQ(test, cpu.queued, queued);
}

static void clear_flush_waits_for_the_queue(struct kunit *test)
{
	skip_without_pinning(test);
	expect_one_call(test, YOUNG | DIRTY, false, true);
}

/* What is cleared at once returns what hardware sets until then. */
static void clear_flush_queues_no_clean_entry(struct kunit *test)
{
	skip_without_pinning(test);
	expect_one_call(test, 0, false, false);
	expect_one_call(test, YOUNG, false, false);
	expect_one_call(test, DIRTY, false, false);
}

/* Of what is replaced, nobody wants to know. */
static void replaced_entries_are_queued(struct kunit *test)
{
	skip_without_pinning(test);
	expect_one_call(test, 0, true, true);
}
#endif

/* When the parent's page table lock is dropped, nothing is writable anymore. */
static void fork_protects_both(struct kunit *test)
{
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int table;
	pte_t *ptep;
	int err;

	make_child(test);
	fill_tables(ctx, YOUNG | DIRTY);

	mmap_write_lock(ctx->mm);
	vma_start_write(ctx->vma);
	mmap_write_lock_nested(ctx->child, SINGLE_DEPTH_NESTING);
	err = copy_page_range(ctx->child_vma, ctx->vma);
	/* Not by lock_table(), which is where a queue could be flushed. */
	for (table = 0; table < NR_TABLES; table++) {
		ptep = pte_offset_map(mm_find_pmd(ctx->mm, table_addr(ctx, table)),
				      table_addr(ctx, table));
		read_table(ctx, ptep, ctx->after);
		pte_unmap(ptep);
		KUNIT_EXPECT_FALSE(test, pte_write(ctx->after[0]));
		KUNIT_EXPECT_FALSE(test, pte_write(ctx->after[ctx->nr - 1]));
	}
	mmap_write_unlock(ctx->child);
	mmap_write_unlock(ctx->mm);
	flush_table(ctx, 0);
	flush_table(ctx, 1);

	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, folio_mapcount(ctx->folio), 2 * NR_TABLES * ctx->nr);
	KUNIT_EXPECT_EQ(test, 0, count_touched(ctx, 0, ctx->nr, true));
	if (ctx->hw)
		KUNIT_EXPECT_EQ(test, ctx->nr,
				count_touched(ctx, 0, ctx->nr, false));

	ptep = lock_table_of(ctx, ctx->child, 0);
	read_table(ctx, ptep, ctx->after);
	unlock_table(ctx, ptep);
	for (table = 0; table < ctx->nr; table++) {
		KUNIT_EXPECT_TRUE(test, pte_present(ctx->after[table]));
		KUNIT_EXPECT_FALSE(test, pte_write(ctx->after[table]));
	}

	mmput(ctx->child);
	ctx->child = NULL;
	KUNIT_EXPECT_EQ(test, folio_mapcount(ctx->folio), NR_TABLES * ctx->nr);
}

static bool move_down(struct pte_batch_ctx *ctx, unsigned int nr)
{
	unsigned long from = ctx->addr + nr * PAGE_SIZE;
	unsigned long len = (ctx->nr - nr) * PAGE_SIZE;
	unsigned long moved;

	PAGETABLE_MOVE(pmc, ctx->vma, ctx->vma, from, ctx->addr, len);

	mmap_write_lock(ctx->mm);
	vma_start_write(ctx->vma);
	pmc.for_stack = true;
	moved = move_page_tables(&pmc);
	mmap_write_unlock(ctx->mm);
	return moved == len;
}

/*
 * As exec() moves its stack.  With every second entry none, each is moved by
 * itself, to where one was cleared.  CONFIG_DEBUG_VM warns if that is still there.
 */
static void overlapping_tables_are_moved(struct kunit *test)
{
	struct pte_batch_ctx *ctx __free(restore) = test->priv;
	unsigned int i;
	pte_t *ptep;

	fill_tables(ctx, YOUNG | DIRTY);
	ptep = lock_table(ctx, 0);
	ptep_clear(ctx->mm, ctx->addr + PAGE_SIZE, ptep + 1);
	for (i = 0; i < ctx->nr; i += 2)
		ptep_clear(ctx->mm, ctx->addr + i * PAGE_SIZE, ptep + i);
	unlock_table(ctx, ptep);
	flush_table(ctx, 0);

	KUNIT_EXPECT_TRUE(test, move_down(ctx, 2));

	ptep = lock_table(ctx, 0);
	read_table(ctx, ptep, ctx->after);
	unlock_table(ctx, ptep);
	for (i = 0; i < ctx->nr; i++) {
		if (i % 2 == 0 || i == ctx->nr - 1)
			KUNIT_EXPECT_TRUE(test, pte_none(ctx->after[i]));
		else
			KUNIT_EXPECT_EQ(test, pte_pfn(ctx->after[i]),
					folio_pfn(ctx->folio) + i + 2);
	}
}

/* With CONFIG_PAGE_TABLE_CHECK, the kernel BUG()s here if it lost count. */
static void unmapping_leaves_nothing_behind(struct kunit *test)
{
	struct pte_batch_ctx *ctx __free(restore) = test->priv;

	/* Only in a shared mapping do writes go to a page that is not anonymous. */
	mmap_write_lock(ctx->mm);
	vma_start_write(ctx->vma);
	vm_flags_set(ctx->vma, VM_SHARED);
	mmap_write_unlock(ctx->mm);

	fill_tables(ctx, YOUNG);
	KUNIT_EXPECT_EQ(test, folio_mapcount(ctx->folio), NR_TABLES * ctx->nr);
	folio_clear_dirty(ctx->folio);
	if (ctx->hw)
		KUNIT_EXPECT_EQ(test, touch_page(ctx, ctx->nr / 2, true), 0);

	ctx->unmapped = true;
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ctx->addr, NR_TABLES * PMD_SIZE));
	KUNIT_EXPECT_EQ(test, folio_mapcount(ctx->folio), 0);
	KUNIT_EXPECT_EQ(test, folio_ref_count(ctx->folio), 1);
	if (ctx->hw)
		KUNIT_EXPECT_TRUE(test, folio_test_dirty(ctx->folio));
	folio_clear_dirty(ctx->folio);
}

static struct kunit_case pte_batch_test_cases[] = {
	KUNIT_CASE_PARAM(clear_leaves_none, batches_gen_params),
	KUNIT_CASE_PARAM(get_and_clear_gathers, batches_gen_params),
	KUNIT_CASE_PARAM(late_bits_are_returned, batches_gen_params),
	KUNIT_CASE_PARAM(later_writes_are_known, batches_gen_params),
	KUNIT_CASE_PARAM(wrprotect_keeps_the_rest, batches_gen_params),
	KUNIT_CASE_PARAM(late_writes_stay_dirty, batches_gen_params),
	KUNIT_CASE_PARAM(markers_replace_entries, batches_gen_params),
	KUNIT_CASE_PARAM(unused_tables_are_written_at_once, batches_gen_params),
	KUNIT_CASE(nothing_stays_queued),
	KUNIT_CASE(random_sequences),
	KUNIT_CASE(nested_sections),
	KUNIT_CASE(pinned_tables_are_batched),
	KUNIT_CASE(clear_flush_ends_access),
#ifdef CONFIG_MMU_NOTIFIER
	KUNIT_CASE(clear_flush_reaches_new_cpus),
	KUNIT_CASE(clear_flush_waits_for_the_queue),
	KUNIT_CASE(clear_flush_queues_no_clean_entry),
	KUNIT_CASE(replaced_entries_are_queued),
#endif
	KUNIT_CASE(fork_protects_both),
	KUNIT_CASE(overlapping_tables_are_moved),
	KUNIT_CASE(unmapping_leaves_nothing_behind),
	{}
};

/* An entry that is old and clean tells who sets the bits. */
static void probe_hardware(struct pte_batch_ctx *ctx)
{
	pte_t *ptep;

	fill_tables(ctx, 0);
	if (touch_page(ctx, 0, true))
		return;
	ptep = lock_table(ctx, 0);
	ctx->hw = ad_bits(ptep_get(ptep)) == (YOUNG | DIRTY);
	unlock_table(ctx, ptep);
}

static void put_folio(void *folio)
{
	folio_put(folio);
}

static int map_folio(struct kunit *test, struct pte_batch_ctx *ctx)
{
	unsigned long num = ctx->nr;
	struct page **pages;
	unsigned int i, t;
	int err = 0;

	pages = kunit_kmalloc_array(test, num, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	for (i = 0; i < ctx->nr; i++)
		pages[i] = folio_page(ctx->folio, i);

	mmap_write_lock(ctx->mm);
	ctx->vma = find_vma(ctx->mm, ctx->addr);
	for (t = 0; t < NR_TABLES && !err; t++, num = ctx->nr)
		err = vm_insert_pages(ctx->vma, table_addr(ctx, t), pages, &num);
	mmap_write_unlock(ctx->mm);

	return err;
}

static int pte_batch_test_init(struct kunit *test)
{
	struct pte_batch_ctx *ctx;
	unsigned long addr;
	int err;

	ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->nr = min_t(unsigned int, PTRS_PER_PTE, MAX_NR);

	addr = kunit_vm_mmap(test, NULL, 0, (NR_TABLES + 1) * PMD_SIZE,
			     PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	ctx->addr = ALIGN(addr, PMD_SIZE);
	ctx->mm = current->mm;

	ctx->folio = folio_alloc(GFP_KERNEL | __GFP_NOWARN, ilog2(ctx->nr));
	if (!ctx->folio)
		kunit_skip(test, "no folio of %u pages", ctx->nr);
	err = kunit_add_action_or_reset(test, put_folio, ctx->folio);
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_ASSERT_EQ(test, map_folio(test, ctx), 0);
	test->priv = ctx;

	probe_hardware(ctx);
	return 0;
}

/* Of a test that was aborted. */
static void pte_batch_test_exit(struct kunit *test)
{
	struct pte_batch_ctx *ctx = test->priv;

	if (ctx && ctx->child)
		mmput(ctx->child);
}

static struct kunit_suite pte_batch_test_suite = {
	.name = "pte_batch",
	.init = pte_batch_test_init,
	.exit = pte_batch_test_exit,
	.test_cases = pte_batch_test_cases,
};

kunit_test_suite(pte_batch_test_suite);

MODULE_DESCRIPTION("Tests of clearing and write-protecting batches of ptes");
MODULE_LICENSE("GPL");
