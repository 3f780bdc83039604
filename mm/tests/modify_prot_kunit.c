// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the page table protection transaction, that is, of
 * modify_prot_start_ptes(), modify_prot_commit_ptes() and their variants for
 * one entry, ptep_modify_prot_start() and ptep_modify_prot_commit().
 *
 * The entries under test are those of a live mm, which the test thread has
 * attached itself to. They map the pages of one large folio, so hypervisors
 * accept them. Tests make hardware set accessed and dirty bits: they touch the
 * pages through the user mapping, with page faults disabled, while a
 * transaction is open.
 *
 * One rule says what is expected of an entry, see expected_ad(): accessed and
 * dirty are those of the value committed, plus the bits that were set since
 * start and that start did not return.
 */
#include <kunit/test.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pgtable.h>
#include <linux/prandom.h>
#include <linux/uaccess.h>
#include <asm/tlbflush.h>

#define MAX_NR		512U
#define NR_TABLES	3U
#define GUARD		2U	/* entries set up on both sides of a batch */

#define YOUNG		BIT(0)
#define DIRTY		BIT(1)

/**
 * struct modify_prot_ctx - the mapping that a test case works on
 * @mm: the test's mm, attached to the test thread
 * @vma: the only VMA used
 * @addr: user address that the first page table begins at
 * @folio: mapped once in each of the NR_TABLES page tables
 * @ptl: page table locks of these, as they were last taken
 * @nr: number of entries used per table, and of pages in @folio
 * @hw: hardware was seen to set accessed and dirty bits
 * @before: the table before a transaction
 * @after: the table after a transaction
 * @init: YOUNG, DIRTY: what the entries are set up with
 * @plan: YOUNG, DIRTY: what is to be set late; afterwards, what has been set
 */
struct modify_prot_ctx {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned long addr;
	struct folio *folio;
	spinlock_t *ptl[NR_TABLES];	/* the tables' page table locks */
	unsigned int nr;
	bool hw;
	pte_t before[MAX_NR];
	pte_t after[MAX_NR];
	u8 init[MAX_NR];
	u8 plan[MAX_NR];
};

/* How the transactions of a parametrised case are made */
struct modify_prot_param {
	unsigned int nr;
	bool lazy;
	bool single;
};

/* Who sets accessed and dirty bits behind the transaction's back, and when */
enum late {
	LATE_NONE,
	LATE_SOFTWARE,
	LATE_HARDWARE,
	LATE_HARDWARE_QUEUED,
};

typedef pte_t (*change_fn)(struct vm_area_struct *vma, pte_t pte);

struct transaction {
	struct modify_prot_param p;
	unsigned int pos;
	enum late late;
	change_fn change;
	pte_t old;
	pte_t new;
};

static unsigned int ad_bits(pte_t pte)
{
	return (pte_young(pte) ? YOUNG : 0) | (pte_dirty(pte) ? DIRTY : 0);
}

static pte_t set_ad_bits(pte_t pte, unsigned int bits)
{
	if (bits & YOUNG)
		pte = pte_mkyoung(pte);
	if (bits & DIRTY)
		pte = pte_mkdirty(pte);
	return pte;
}

static pte_t strip_ad_bits(pte_t pte)
{
	return pte_mkold(pte_mkclean(pte));
}

#ifdef CONFIG_X86
/* Is this entry still live, so that it can be changed behind our back? */
static bool entry_is_live(pte_t pte)
{
	return pte_flags(pte) & _PAGE_PRESENT;
}

/*
 * Write=0,Dirty=1 is the encoding of a shadow stack. No Xen PV guest has user
 * shadow stacks, and Xen merges the dirty bit without looking at Write.
 */
static bool encoding_is_valid(pte_t pte)
{
	return cpu_feature_enabled(X86_FEATURE_XENPV) ||
	       (pte_flags(pte) & (_PAGE_RW | _PAGE_DIRTY)) != _PAGE_DIRTY;
}

/* Xen sets Global in the entries of user pages, whatever the guest asks for. */
static pte_t strip_hypervisor_bits(pte_t pte)
{
	return pte_flags(pte) & _PAGE_PRESENT ? pte_clrglobal(pte) : pte;
}

/* An entry that is not present to hardware must not hold a cacheable pfn. */
static bool protnone_is_inverted(pte_t pte, unsigned long pfn)
{
	pteval_t inverted = ~((pteval_t)pfn << PAGE_SHIFT) & PTE_PFN_MASK;

	return (pte.pte & PTE_PFN_MASK) == inverted;
}
#else
static bool entry_is_live(pte_t pte)
{
	return false;
}

static bool encoding_is_valid(pte_t pte)
{
	return true;
}

static pte_t strip_hypervisor_bits(pte_t pte)
{
	return pte;
}

static bool protnone_is_inverted(pte_t pte, unsigned long pfn)
{
	return true;
}
#endif

/* The changes that callers make to an entry */

static pte_t keep(struct vm_area_struct *vma, pte_t pte)
{
	return pte;
}

static pte_t write_protect(struct vm_area_struct *vma, pte_t pte)
{
	return pte_wrprotect(pte);
}

static pte_t make_readonly(struct vm_area_struct *vma, pte_t pte)
{
	return pte_modify(pte, vm_get_page_prot(VM_READ));
}

static pte_t make_exec(struct vm_area_struct *vma, pte_t pte)
{
	return pte_modify(pte, vm_get_page_prot(VM_READ | VM_EXEC));
}

static pte_t make_none(struct vm_area_struct *vma, pte_t pte)
{
	return pte_modify(pte, vm_get_page_prot(VM_NONE));
}

static pte_t make_writable(struct vm_area_struct *vma, pte_t pte)
{
	pte = pte_modify(pte, vm_get_page_prot(VM_READ | VM_WRITE));
	return pte_mkwrite(pte, vma);
}

static pte_t clear_dirty(struct vm_area_struct *vma, pte_t pte)
{
	return pte_mkclean(pte);
}

static pte_t clear_young(struct vm_area_struct *vma, pte_t pte)
{
	return pte_mkold(pte);
}

static pte_t clear_both(struct vm_area_struct *vma, pte_t pte)
{
	return strip_ad_bits(pte);
}

static pte_t clear_dirty_protect(struct vm_area_struct *vma, pte_t pte)
{
	return pte_wrprotect(pte_mkclean(pte));
}

static pte_t clear_soft_dirty(struct vm_area_struct *vma, pte_t pte)
{
	return pte_clear_soft_dirty(pte_wrprotect(pte));
}

static pte_t mark_uffd(struct vm_area_struct *vma, pte_t pte)
{
	return pte_mkuffd(pte);
}

#define NR_CHANGES	8U
#define NR_CLEARS	4U

/* First those that keep accessed and dirty, then those that clear them */
static const change_fn changes[NR_CHANGES + NR_CLEARS] = {
	keep,
	write_protect,
	make_readonly,
	make_exec,
	make_none,
	make_writable,
	clear_soft_dirty,
	mark_uffd,
	clear_dirty,
	clear_young,
	clear_both,
	clear_dirty_protect,
};

static const change_fn *const clears = changes + NR_CHANGES;

/* Access to the page tables and to the user mapping */

static unsigned long table_addr(struct modify_prot_ctx *ctx, unsigned int table)
{
	return ctx->addr + table * PMD_SIZE;
}

static pte_t *lock_table(struct modify_prot_ctx *ctx, unsigned int table)
{
	return get_locked_pte(ctx->mm, table_addr(ctx, table),
			      &ctx->ptl[table]);
}

static void unlock_table(struct modify_prot_ctx *ctx, unsigned int table,
			 pte_t *ptep)
{
	pte_unmap_unlock(ptep, ctx->ptl[table]);
}

static void flush_table(struct modify_prot_ctx *ctx, unsigned int table)
{
	unsigned long addr = table_addr(ctx, table);

	flush_tlb_range(ctx->vma, addr, addr + ctx->nr * PAGE_SIZE);
}

static void read_table(struct modify_prot_ctx *ctx, pte_t *ptep, pte_t *to)
{
	unsigned int i;

	for (i = 0; i < ctx->nr; i++)
		to[i] = ptep_get(ptep + i);
}

static pte_t new_entry(struct modify_prot_ctx *ctx, unsigned int i)
{
	pgprot_t prot = vm_get_page_prot(VM_READ | VM_WRITE);
	pte_t pte = mk_pte(folio_page(ctx->folio, i), prot);

	pte = pte_mkwrite(strip_ad_bits(pte), ctx->vma);
	return pte_mksoft_dirty(set_ad_bits(pte, ctx->init[i]));
}

/* Set writable entries up, accessed and dirty as ctx->init says. */
static void fill_entries(struct modify_prot_ctx *ctx, unsigned int table,
			 unsigned int from, unsigned int to)
{
	unsigned long addr = table_addr(ctx, table) + from * PAGE_SIZE;
	pte_t *ptep;
	unsigned int i;

	ptep = lock_table(ctx, table);
	for (i = from; i < to; i++, addr += PAGE_SIZE) {
		ptep_clear(ctx->mm, addr, ptep + i);
		set_pte_at(ctx->mm, addr, ptep + i, new_entry(ctx, i));
	}
	unlock_table(ctx, table, ptep);
	flush_table(ctx, table);
}

static void fill_batch(struct modify_prot_ctx *ctx, unsigned int table,
		       const struct transaction *t)
{
	fill_entries(ctx, table, t->pos < GUARD ? 0 : t->pos - GUARD,
		     min(t->pos + t->p.nr + GUARD, ctx->nr));
}

/* Returns 0, or -EFAULT if the entry doesn't allow the access. */
static int touch_page(struct modify_prot_ctx *ctx, unsigned int table,
		      unsigned int i, bool write)
{
	unsigned long addr = table_addr(ctx, table) + i * PAGE_SIZE;
	u8 __user *p = (u8 __user *)addr;
	int err;
	u8 v __maybe_unused;

	pagefault_disable();
	if (write)
		err = __put_user((u8)i, p);
	else
		err = __get_user(v, p);
	pagefault_enable();

	return err;
}

/* Does the entry lead to the page that it should lead to? */
static bool entry_maps_page(struct modify_prot_ctx *ctx, unsigned int table,
			    unsigned int i)
{
	u8 *p = kmap_local_folio(ctx->folio, i * PAGE_SIZE);
	bool ok;

	*p = ~i;
	ok = !touch_page(ctx, table, i, true) && READ_ONCE(*p) == (u8)i;
	kunmap_local(p);

	return ok;
}

/* The late updates */

/* Afterwards ctx->plan is what was set; a touched page is accessed, too. */
static void touch_planned(struct modify_prot_ctx *ctx, unsigned int table,
			  const struct transaction *t)
{
	unsigned int i;

	for (i = t->pos; i < t->pos + t->p.nr; i++) {
		if (!ctx->plan[i])
			continue;
		if (touch_page(ctx, table, i, ctx->plan[i] & DIRTY))
			ctx->plan[i] = 0;
		else
			ctx->plan[i] |= YOUNG;
	}
}

/* Hardware's updates don't wait for lazy MMU mode to end, nor do these. */
static void update_planned(struct modify_prot_ctx *ctx, unsigned int table,
			   pte_t *ptep, const struct transaction *t)
{
	unsigned long addr;
	unsigned int i;
	pte_t pte;

	lazy_mmu_mode_pause();
	for (i = t->pos; i < t->pos + t->p.nr; i++) {
		if (!entry_is_live(ptep_get(ptep + i))) {
			ctx->plan[i] = 0;
			continue;
		}
		addr = table_addr(ctx, table) + i * PAGE_SIZE;
		pte = ptep_get_and_clear(ctx->mm, addr, ptep + i);
		set_pte_at(ctx->mm, addr, ptep + i, set_ad_bits(pte, ctx->plan[i]));
	}
	lazy_mmu_mode_resume();
}

/* Set bits of every third entry late. */
static void plan_late(struct modify_prot_ctx *ctx, unsigned int bits)
{
	unsigned int i;

	for (i = 0; i < ctx->nr; i++)
		ctx->plan[i] = i % 3 ? 0 : bits;
}

/* The transaction itself */

static void start(struct modify_prot_ctx *ctx, unsigned int table, pte_t *ptep,
		  struct transaction *t)
{
	unsigned long addr = table_addr(ctx, table) + t->pos * PAGE_SIZE;

	if (t->p.single)
		t->old = ptep_modify_prot_start(ctx->vma, addr, ptep + t->pos);
	else
		t->old = modify_prot_start_ptes(ctx->vma, addr, ptep + t->pos,
						t->p.nr);
}

static void commit(struct modify_prot_ctx *ctx, unsigned int table, pte_t *ptep,
		   struct transaction *t)
{
	unsigned long addr = table_addr(ctx, table) + t->pos * PAGE_SIZE;

	if (t->p.single)
		ptep_modify_prot_commit(ctx->vma, addr, ptep + t->pos, t->old,
					t->new);
	else
		modify_prot_commit_ptes(ctx->vma, addr, ptep + t->pos, t->old,
					t->new, t->p.nr);
}

static void transact_locked(struct modify_prot_ctx *ctx, unsigned int table,
			    pte_t *ptep, struct transaction *t)
{
	start(ctx, table, ptep, t);
	t->new = t->change(ctx->vma, t->old);

	if (t->late == LATE_SOFTWARE)
		update_planned(ctx, table, ptep, t);
	else if (t->late == LATE_HARDWARE)
		touch_planned(ctx, table, t);

	commit(ctx, table, ptep, t);

	if (t->late == LATE_HARDWARE_QUEUED)
		touch_planned(ctx, table, t);
}

/* Leaves the table as it was in ctx->before and as it is in ctx->after. */
static void transact(struct modify_prot_ctx *ctx, unsigned int table,
		     struct transaction *t)
{
	pte_t *ptep;

	ptep = lock_table(ctx, table);
	read_table(ctx, ptep, ctx->before);
	if (t->p.lazy)
		lazy_mmu_mode_enable();
	transact_locked(ctx, table, ptep, t);
	if (t->p.lazy)
		lazy_mmu_mode_disable();
	read_table(ctx, ptep, ctx->after);
	unlock_table(ctx, table, ptep);
	flush_table(ctx, table);
}

/*
 * The contract: what the caller commits, plus what was set late. A bit that
 * start returned is not late: if the caller cleared it, it is to be clear.
 */
static unsigned int expected_ad(const struct transaction *t, unsigned int late)
{
	if (t->late == LATE_NONE)
		late = 0;
	return ad_bits(t->new) | (late & ~ad_bits(t->old));
}

/*
 * An access after commit, to an entry of which the caller cleared bits, may
 * have used the new entry (bits are set again) or the old one (they are not).
 */
static unsigned int unknown_ad(const struct transaction *t, unsigned int late)
{
	if (t->late != LATE_HARDWARE_QUEUED)
		return 0;
	return late & ad_bits(t->old) & ~ad_bits(t->new);
}

/* Are they the same but for the accessed and dirty bits? */
static bool same_entry(pte_t a, pte_t b)
{
	return pte_same(strip_hypervisor_bits(strip_ad_bits(a)),
			strip_hypervisor_bits(strip_ad_bits(b)));
}

static bool entry_as_expected(struct modify_prot_ctx *ctx,
			      const struct transaction *t, unsigned int i)
{
	pte_t want = pte_advance_pfn(t->new, i - t->pos);
	unsigned int diff;

	diff = ad_bits(ctx->after[i]) ^ expected_ad(t, ctx->plan[i]);
	return !(diff & ~unknown_ad(t, ctx->plan[i])) &&
	       same_entry(ctx->after[i], want) &&
	       pte_pfn(ctx->after[i]) == folio_pfn(ctx->folio) + i &&
	       encoding_is_valid(ctx->after[i]);
}

static void report_entry(struct kunit *test, const struct transaction *t,
			 unsigned int i)
{
	struct modify_prot_ctx *ctx = test->priv;

	KUNIT_FAIL(test,
		   "%ps, %u entries at %u%s%s, entry %u: was %llx, start returned %llx, committed %llx, late %x, is %llx\n",
		   t->change, t->p.nr, t->pos, t->p.single ? ", single" : "",
		   t->p.lazy ? ", lazy" : "", i,
		   (u64)pte_val(ctx->before[i]), (u64)pte_val(t->old),
		   (u64)pte_val(t->new), ctx->plan[i],
		   (u64)pte_val(ctx->after[i]));
}

/* One report per transaction is enough. */
static bool expect_contract(struct kunit *test, const struct transaction *t)
{
	struct modify_prot_ctx *ctx = test->priv;
	unsigned int i;
	bool ok;

	for (i = 0; i < ctx->nr; i++) {
		if (i < t->pos || i >= t->pos + t->p.nr)
			ok = pte_same(ctx->before[i], ctx->after[i]);
		else
			ok = entry_as_expected(ctx, t, i);
		if (!ok) {
			report_entry(test, t, i);
			return false;
		}
	}
	return true;
}

/* Spread the batches over start, middle and end of the table. */
static unsigned int batch_pos(struct modify_prot_ctx *ctx, unsigned int nr,
			      unsigned int n)
{
	return (ctx->nr - nr) * (n % 3) / 2;
}

static struct transaction new_transaction(struct kunit *test, change_fn change,
					  enum late late, unsigned int n)
{
	const struct modify_prot_param *p = test->param_value;
	struct modify_prot_ctx *ctx = test->priv;
	struct transaction t = {
		.p = *p,
		.change = change,
		.late = late,
		.pos = batch_pos(ctx, p->nr, n),
	};

	return t;
}

static void skip_if_too_many(struct kunit *test)
{
	const struct modify_prot_param *p = test->param_value;
	struct modify_prot_ctx *ctx = test->priv;

	if (p->nr > ctx->nr)
		kunit_skip(test, "only %u entries per page table", ctx->nr);
}

static void skip_without_hardware(struct kunit *test)
{
	struct modify_prot_ctx *ctx = test->priv;

	if (!ctx->hw)
		kunit_skip(test, "accessed and dirty are set by software here");
}

/* The cases */

static void commit_changes_the_batch(struct kunit *test)
{
	struct modify_prot_ctx *ctx = test->priv;
	struct transaction t;
	unsigned int n;

	skip_if_too_many(test);
	for (n = 0; n < 2 * NR_CHANGES; n++) {
		t = new_transaction(test, changes[n / 2], LATE_NONE, n);
		memset(ctx->init, n % 2 ? YOUNG | DIRTY : 0, sizeof(ctx->init));
		fill_batch(ctx, 0, &t);
		transact(ctx, 0, &t);
		if (!expect_contract(test, &t))
			return;
	}
}

static void start_gathers_young_and_dirty(struct kunit *test)
{
	const struct modify_prot_param *p = test->param_value;
	struct modify_prot_ctx *ctx = test->priv;
	struct transaction t;
	unsigned int n, k;

	skip_if_too_many(test);
	for (n = 0; n < 4; n++) {
		t = new_transaction(test, keep, LATE_NONE, n);
		memset(ctx->init, 0, sizeof(ctx->init));
		if (n) {
			k = (p->nr - 1) * (n - 1) / 2;
			ctx->init[t.pos + k] |= YOUNG;
			ctx->init[t.pos + p->nr - 1 - k] |= DIRTY;
		}
		fill_batch(ctx, 0, &t);
		transact(ctx, 0, &t);

		KUNIT_EXPECT_EQ(test, ad_bits(t.old), n ? YOUNG | DIRTY : 0);
		KUNIT_EXPECT_EQ(test, pte_pfn(t.old),
				folio_pfn(ctx->folio) + t.pos);
		if (!expect_contract(test, &t))
			return;
	}
}

/* Accessed and dirty, at start and late. What start did not know counts. */
static const struct { u8 init, late; } late_cases[] = {
	{ 0, YOUNG },
	{ 0, YOUNG | DIRTY },
	{ YOUNG, DIRTY },
	{ DIRTY, YOUNG },
	{ YOUNG | DIRTY, YOUNG | DIRTY },
};

static void late_bits_survive(struct kunit *test, const change_fn *change,
			      unsigned int nr, enum late late)
{
	struct modify_prot_ctx *ctx = test->priv;
	unsigned int n, m, seen = 0;
	struct transaction t;

	skip_if_too_many(test);
	for (n = 0; n < nr * ARRAY_SIZE(late_cases); n++) {
		m = n % ARRAY_SIZE(late_cases);
		t = new_transaction(test, change[n / ARRAY_SIZE(late_cases)],
				    late, n);
		memset(ctx->init, late_cases[m].init, sizeof(ctx->init));
		plan_late(ctx, late_cases[m].late);
		ctx->plan[t.pos] = late_cases[m].late;

		fill_batch(ctx, 0, &t);
		transact(ctx, 0, &t);
		seen += !!ctx->plan[t.pos];
		if (!expect_contract(test, &t))
			return;
	}
	if (t.p.nr == ctx->nr)
		kunit_info(test, "%u of %u transactions left the entries live",
			   seen, n);
}

static void late_software_bits_survive(struct kunit *test)
{
	late_bits_survive(test, changes, NR_CHANGES, LATE_SOFTWARE);
}

static void late_hardware_bits_survive(struct kunit *test)
{
	skip_without_hardware(test);
	late_bits_survive(test, changes, NR_CHANGES, LATE_HARDWARE);
}

static void queued_hardware_bits_survive(struct kunit *test)
{
	skip_without_hardware(test);
	late_bits_survive(test, changes, NR_CHANGES, LATE_HARDWARE_QUEUED);
}

static void late_bits_survive_clearing(struct kunit *test)
{
	struct modify_prot_ctx *ctx = test->priv;

	late_bits_survive(test, clears, NR_CLEARS, LATE_SOFTWARE);
	if (!ctx->hw)
		return;
	late_bits_survive(test, clears, NR_CLEARS, LATE_HARDWARE);
	late_bits_survive(test, clears, NR_CLEARS, LATE_HARDWARE_QUEUED);
}

/* Only some of the entries had the bits that the caller clears for all. */
static void cleared_bits_are_clear(struct kunit *test)
{
	struct modify_prot_ctx *ctx = test->priv;
	struct transaction t;
	unsigned int n, i;

	skip_if_too_many(test);
	for (n = 0; n < 4 * NR_CLEARS; n++) {
		t = new_transaction(test, clears[n / 4], LATE_NONE, n);
		for (i = 0; i < ctx->nr; i++)
			ctx->init[i] = n & BIT(0) || i % 2 ? n & 3 : 0;
		fill_batch(ctx, 0, &t);
		transact(ctx, 0, &t);
		if (!expect_contract(test, &t))
			return;
	}
}

static void expect_protnone(struct kunit *test, const struct transaction *t)
{
	struct modify_prot_ctx *ctx = test->priv;
	unsigned long pfn = folio_pfn(ctx->folio);
	unsigned int i;

	for (i = t->pos; i < t->pos + t->p.nr; i++) {
		KUNIT_ASSERT_TRUE(test, pte_present(ctx->after[i]));
		if (IS_ENABLED(CONFIG_ARCH_HAS_PTE_PROTNONE))
			KUNIT_ASSERT_TRUE(test, pte_protnone(ctx->after[i]));
		KUNIT_ASSERT_EQ(test, pte_pfn(ctx->after[i]), pfn + i);
		KUNIT_ASSERT_TRUE(test,
				  protnone_is_inverted(ctx->after[i], pfn + i));
		if (ctx->hw)
			KUNIT_ASSERT_NE(test, touch_page(ctx, 0, i, false), 0);
	}
}

static void expect_accessible(struct kunit *test, const struct transaction *t)
{
	struct modify_prot_ctx *ctx = test->priv;
	unsigned int i;

	for (i = t->pos; ctx->hw && i < t->pos + t->p.nr; i++)
		KUNIT_ASSERT_TRUE(test, entry_maps_page(ctx, 0, i));
}

static void protnone_round_trip(struct kunit *test)
{
	struct modify_prot_ctx *ctx = test->priv;
	struct transaction t;
	unsigned int n, i;

	skip_if_too_many(test);
	for (n = 0; n < 6; n++) {
		t = new_transaction(test, make_none, LATE_NONE, n);
		for (i = 0; i < ctx->nr; i++)
			ctx->init[i] = (n + i) % 4;
		fill_batch(ctx, 0, &t);

		transact(ctx, 0, &t);
		KUNIT_ASSERT_TRUE(test, expect_contract(test, &t));
		expect_protnone(test, &t);

		/* Every other time, change something else first */
		if (n % 2) {
			t.change = mark_uffd;
			transact(ctx, 0, &t);
			KUNIT_ASSERT_TRUE(test, expect_contract(test, &t));
		}

		t.change = n % 2 ? make_exec : make_writable;
		transact(ctx, 0, &t);
		KUNIT_ASSERT_TRUE(test, expect_contract(test, &t));
		if (n % 2 == 0)
			expect_accessible(test, &t);
	}
}

/* All sizes, outside of lazy MMU mode and in it */
static const struct modify_prot_param batches[] = {
	{ 1, false, true }, { 1, true, true },
	{ 1 }, { 1, true }, { 2 }, { 2, true }, { 3 }, { 3, true },
	{ 4 }, { 4, true }, { 7 }, { 7, true }, { 8 }, { 8, true },
	{ 15 }, { 15, true }, { 16 }, { 16, true }, { 31 }, { 31, true },
	{ 32 }, { 32, true }, { 33 }, { 33, true }, { 63 }, { 63, true },
	{ 64 }, { 64, true }, { 65 }, { 65, true }, { 127 }, { 127, true },
	{ 128 }, { 128, true }, { 255 }, { 255, true }, { 511 }, { 511, true },
	{ 512 }, { 512, true },
};

static void describe_batch(const struct modify_prot_param *p, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u entries%s%s", p->nr,
		 p->single ? ", single" : "", p->lazy ? ", lazy" : "");
}

KUNIT_ARRAY_PARAM(batches, batches, describe_batch);

static void random_transactions(struct kunit *test)
{
	struct modify_prot_ctx *ctx = test->priv;
	struct transaction t = {};
	struct rnd_state rnd;
	unsigned int n, i;

	prandom_seed_state(&rnd, 2008);
	for (n = 0; n < 2000; n++) {
		t.p.nr = 1 + prandom_u32_state(&rnd) % ctx->nr;
		t.p.nr = 1 + prandom_u32_state(&rnd) % t.p.nr;
		t.p.lazy = prandom_u32_state(&rnd) & 1;
		t.p.single = t.p.nr == 1 && prandom_u32_state(&rnd) & 1;
		t.pos = prandom_u32_state(&rnd) % (ctx->nr - t.p.nr + 1);
		t.change = changes[prandom_u32_state(&rnd) % ARRAY_SIZE(changes)];
		t.late = prandom_u32_state(&rnd) %
			 (1 + (ctx->hw ? LATE_HARDWARE_QUEUED : LATE_SOFTWARE));
		for (i = 0; i < ctx->nr; i++) {
			ctx->init[i] = prandom_u32_state(&rnd) & 3;
			ctx->plan[i] = prandom_u32_state(&rnd) & 3;
		}
		fill_batch(ctx, 0, &t);
		transact(ctx, 0, &t);
		KUNIT_ASSERT_TRUE_MSG(test, expect_contract(test, &t),
				      "transaction %u", n);
	}
}

static void expect_readonly(struct kunit *test, const pte_t *ptes,
			    unsigned int from, unsigned int to, bool readonly)
{
	unsigned int i;

	for (i = from; i < to; i++) {
		if (pte_write(ptes[i]) == !readonly)
			continue;
		KUNIT_FAIL(test, "entry %u is %swritable: %llx\n", i,
			   readonly ? "" : "not ", (u64)pte_val(ptes[i]));
		return;
	}
}

static void protect_range(struct modify_prot_ctx *ctx, unsigned int table,
			  pte_t *ptep, unsigned int pos, unsigned int nr)
{
	struct transaction t = {
		.p.nr = nr,
		.pos = pos,
		.change = write_protect,
	};

	transact_locked(ctx, table, ptep, &t);
}

/* The batches of a lazy section can be many, of any size, and mixed. */
static void nothing_stays_queued(struct kunit *test)
{
	static const unsigned int sizes[][2] = {
		{ 1, 1 }, { 1, 2 }, { 3, 1 }, { 31, 31 }, { 32, 32 }, { 33, 31 },
		{ 1, 300 }, { 64, 1 }, { 255, 257 }, { 512, 512 },
	};
	struct modify_prot_ctx *ctx = test->priv;
	unsigned int n, pos, i, nr;
	pte_t *ptep;

	for (n = 0; n < ARRAY_SIZE(sizes); n++) {
		fill_entries(ctx, 0, 0, ctx->nr);
		ptep = lock_table(ctx, 0);
		lazy_mmu_mode_enable();
		for (pos = 0, i = 0; pos < ctx->nr; pos += nr, i++) {
			nr = min(sizes[n][i % 2], ctx->nr - pos);
			protect_range(ctx, 0, ptep, pos, nr);
		}
		lazy_mmu_mode_disable();
		read_table(ctx, ptep, ctx->after);
		unlock_table(ctx, 0, ptep);

		expect_readonly(test, ctx->after, 0, ctx->nr, true);
	}
}

static void nested_sections(struct kunit *test)
{
	struct modify_prot_ctx *ctx = test->priv;
	unsigned int quarter = ctx->nr / 4;
	pte_t *ptep;

	fill_entries(ctx, 0, 0, ctx->nr);
	ptep = lock_table(ctx, 0);
	lazy_mmu_mode_enable();
	protect_range(ctx, 0, ptep, 0, quarter);

	{
		/* Nested section: leaving it flushes all there is */
		lazy_mmu_mode_enable();
		protect_range(ctx, 0, ptep, quarter, quarter);
		lazy_mmu_mode_disable();
		read_table(ctx, ptep, ctx->before);
	}

	{
		/* Paused section: takes effect at once */
		lazy_mmu_mode_pause();
		protect_range(ctx, 0, ptep, 2 * quarter, quarter);
		read_table(ctx, ptep, ctx->after);
		lazy_mmu_mode_resume();
	}

	protect_range(ctx, 0, ptep, 3 * quarter, quarter - 1);
	lazy_mmu_mode_disable();

	unlock_table(ctx, 0, ptep);

	expect_readonly(test, ctx->before, 0, 2 * quarter, true);
	expect_readonly(test, ctx->before, 2 * quarter, ctx->nr, false);
	expect_readonly(test, ctx->after, 0, 3 * quarter, true);
	expect_readonly(test, ctx->after, 3 * quarter, ctx->nr, false);

	ptep = lock_table(ctx, 0);
	read_table(ctx, ptep, ctx->after);
	unlock_table(ctx, 0, ptep);
	expect_readonly(test, ctx->after, 0, ctx->nr - 1, true);
	expect_readonly(test, ctx->after, ctx->nr - 1, ctx->nr, false);
}

/*
 * Change whole tables in one section, after some single entries, so that the
 * last of them fall on all sides of the end of any buffer. The tables may share
 * a lock.
 */
static void whole_tables_in_one_section(struct kunit *test)
{
	static const unsigned int ahead[] = { 0, 1, 2, 30, 31, 32, 33, 63, 64 };
	struct modify_prot_ctx *ctx = test->priv;
	pte_t *ptep[NR_TABLES];
	unsigned int n, i, t;

	for (n = 0; n < ARRAY_SIZE(ahead); n++) {
		for (t = 0; t < NR_TABLES; t++)
			fill_entries(ctx, t, 0, ctx->nr);

		for (t = 0; t < NR_TABLES; t++) {
			ptep[t] = lock_table(ctx, t);
			spin_unlock(ctx->ptl[t]);
		}
		for (t = 0; t < NR_TABLES; t++)
			if (!t || ctx->ptl[t] != ctx->ptl[0])
				spin_lock_nested(ctx->ptl[t], t);

		lazy_mmu_mode_enable();
		for (i = 0; i < min(ahead[n], ctx->nr / 2); i++)
			protect_range(ctx, 0, ptep[0], i, 1);
		for (t = 1; t < NR_TABLES; t++)
			protect_range(ctx, t, ptep[t], 0, ctx->nr);
		protect_range(ctx, 0, ptep[0], i, ctx->nr - i);
		lazy_mmu_mode_disable();

		read_table(ctx, ptep[0], ctx->before);
		read_table(ctx, ptep[NR_TABLES - 1], ctx->after);
		for (t = NR_TABLES; t--; ) {
			if (!t || ctx->ptl[t] != ctx->ptl[0])
				spin_unlock(ctx->ptl[t]);
			pte_unmap(ptep[t]);
		}

		expect_readonly(test, ctx->before, 0, ctx->nr, true);
		expect_readonly(test, ctx->after, 0, ctx->nr, true);
	}
}

/* With CONFIG_PAGE_TABLE_CHECK, the kernel BUG()s here if it lost count. */
static void unmapping_leaves_nothing_behind(struct kunit *test)
{
	static const change_fn last[NR_TABLES] = {
		make_none, make_readonly, mark_uffd,
	};
	struct modify_prot_ctx *ctx = test->priv;
	struct transaction t = { .p.lazy = true, .p.nr = ctx->nr };
	unsigned int n;

	for (n = 0; n < NR_TABLES; n++) {
		fill_entries(ctx, n, 0, ctx->nr);
		t.change = make_none;
		transact(ctx, n, &t);
		t.change = make_writable;
		transact(ctx, n, &t);
		t.change = last[n];
		transact(ctx, n, &t);
	}

	KUNIT_EXPECT_EQ(test, folio_mapcount(ctx->folio), NR_TABLES * ctx->nr);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ctx->addr, NR_TABLES * PMD_SIZE));
	KUNIT_EXPECT_EQ(test, folio_mapcount(ctx->folio), 0);
	KUNIT_EXPECT_EQ(test, folio_ref_count(ctx->folio), 1);
}

static struct kunit_case modify_prot_test_cases[] = {
	KUNIT_CASE_PARAM(commit_changes_the_batch, batches_gen_params),
	KUNIT_CASE_PARAM(start_gathers_young_and_dirty, batches_gen_params),
	KUNIT_CASE_PARAM(late_software_bits_survive, batches_gen_params),
	KUNIT_CASE_PARAM(late_hardware_bits_survive, batches_gen_params),
	KUNIT_CASE_PARAM(queued_hardware_bits_survive, batches_gen_params),
	KUNIT_CASE_PARAM(cleared_bits_are_clear, batches_gen_params),
	KUNIT_CASE_PARAM(late_bits_survive_clearing, batches_gen_params),
	KUNIT_CASE_PARAM(protnone_round_trip, batches_gen_params),
	KUNIT_CASE(random_transactions),
	KUNIT_CASE(nothing_stays_queued),
	KUNIT_CASE(nested_sections),
	KUNIT_CASE(whole_tables_in_one_section),
	KUNIT_CASE(unmapping_leaves_nothing_behind),
	{}
};

/* An entry that is old and clean tells who sets the bits. */
static void probe_hardware(struct modify_prot_ctx *ctx)
{
	pte_t *ptep;

	fill_entries(ctx, 0, 0, 1);
	if (touch_page(ctx, 0, 0, true))
		return;
	ptep = lock_table(ctx, 0);
	ctx->hw = ad_bits(ptep_get(ptep)) == (YOUNG | DIRTY);
	unlock_table(ctx, 0, ptep);
}

static void put_folio(void *folio)
{
	folio_put(folio);
}

static int map_folio(struct kunit *test, struct modify_prot_ctx *ctx)
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

static int modify_prot_test_init(struct kunit *test)
{
	struct modify_prot_ctx *ctx;
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

	probe_hardware(ctx);
	test->priv = ctx;
	return 0;
}

static struct kunit_suite modify_prot_test_suite = {
	.name = "modify_prot",
	.init = modify_prot_test_init,
	.test_cases = modify_prot_test_cases,
};

kunit_test_suite(modify_prot_test_suite);

MODULE_DESCRIPTION("Tests of the page table protection transaction");
MODULE_LICENSE("GPL");
