// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit test of change_protection(): whatever it does to entries many at a time
 * has to come to the same as one entry at a time. The latter is written down
 * here, as plainly as it can be, see expected_entry().
 *
 * A page table is filled with random entries of all kinds, in runs of random
 * length, of anonymous pages in folios of several sizes.
 */
#include <kunit/test.h>
#include <linux/leafops.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mman.h>
#include <linux/pgtable.h>
#include <linux/prandom.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd_k.h>
#include <asm/tlb.h>

#define MAX_NR		512U
#define ROUNDS		24U
#define PROT_FLAGS	(VM_READ | VM_WRITE | VM_EXEC | VM_SHARED)
#define MARK_FLAGS	(VM_UFFD_WP | VM_UFFD_RWP)

/**
 * struct mprotect_ctx - the mapping that a test case works on
 * @vma: the VMA, anonymous
 * @addr: user address that its page table begins at
 * @ptl: page table lock, as it was last taken
 * @locked: folio that migration entries are for
 * @rnd: source of all that is random
 * @nr: number of entries that are used
 * @page: the page of each entry
 * @saved: the entries that map the pages, which munmap() will want to find
 * @before: the entries before a change
 * @after: the entries after it
 * @want: the entries as they should be after it
 */
struct mprotect_ctx {
	struct vm_area_struct *vma;
	unsigned long addr;
	spinlock_t *ptl;
	struct folio *locked;
	struct rnd_state rnd;
	unsigned int nr;
	struct page *page[MAX_NR];
	pte_t saved[MAX_NR];
	pte_t before[MAX_NR];
	pte_t after[MAX_NR];
	pte_t want[MAX_NR];
};

/**
 * struct change - a change of protection
 * @name: what it is
 * @vm_flags: those of the VMA
 * @cp_flags: the MM_CP_* flags
 */
struct change {
	const char *name;
	vm_flags_t vm_flags;
	unsigned long cp_flags;
};

static const struct change changes[] = {
	{ "none", 0 },
	{ "read", VM_READ },
	{ "read, exec", VM_READ | VM_EXEC },
	{ "write", VM_READ | VM_WRITE },
	{ "write at once", VM_READ | VM_WRITE, MM_CP_TRY_CHANGE_WRITABLE },
	{ "write at once, soft-dirty VMA", VM_READ | VM_WRITE | VM_SOFTDIRTY,
	  MM_CP_TRY_CHANGE_WRITABLE },
	{ "shared, write at once", VM_READ | VM_WRITE | VM_SHARED,
	  MM_CP_TRY_CHANGE_WRITABLE },
	{ "uffd-wp VMA, write at once", VM_READ | VM_WRITE | VM_UFFD_WP,
	  MM_CP_TRY_CHANGE_WRITABLE },
	{ "uffd-wp", VM_READ | VM_WRITE | VM_UFFD_WP, MM_CP_UFFD_WP },
	{ "uffd-wp, resolve", VM_READ | VM_WRITE | VM_UFFD_WP,
	  MM_CP_UFFD_WP_RESOLVE | MM_CP_TRY_CHANGE_WRITABLE },
	{ "uffd-rwp VMA, write at once", VM_READ | VM_WRITE | VM_UFFD_RWP,
	  MM_CP_TRY_CHANGE_WRITABLE },
	{ "uffd-rwp", VM_READ | VM_WRITE | VM_UFFD_RWP, MM_CP_UFFD_RWP },
	{ "uffd-rwp, resolve", VM_READ | VM_WRITE | VM_UFFD_RWP,
	  MM_CP_UFFD_RWP_RESOLVE | MM_CP_TRY_CHANGE_WRITABLE },
};

static void describe_change(const struct change *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(changes, changes, describe_change);

static unsigned int random(struct mprotect_ctx *ctx, unsigned int below)
{
	return prandom_u32_state(&ctx->rnd) % below;
}

static pte_t *lock_table(struct mprotect_ctx *ctx)
{
	return get_locked_pte(current->mm, ctx->addr, &ctx->ptl);
}

/* What one entry becomes, by itself */

static pte_t expected_present(struct vm_area_struct *vma, unsigned long addr,
			      pte_t pte, unsigned long cp_flags)
{
	pte_t to = pte_modify(pte, vma->vm_page_prot);

	if (IS_ENABLED(CONFIG_ARCH_HAS_PTE_PROTNONE) && (cp_flags & MM_CP_UFFD_RWP))
		to = pte_modify(pte, PAGE_NONE);
	if ((cp_flags & MM_CP_UFFD_RWP) && pte_protnone(pte) && pte_uffd(pte))
		return pte;

	if (cp_flags & (MM_CP_UFFD_WP | MM_CP_UFFD_RWP))
		to = pte_mkuffd(to);
	if (cp_flags & (MM_CP_UFFD_WP_RESOLVE | MM_CP_UFFD_RWP_RESOLVE))
		to = pte_clear_uffd(to);
	if (userfaultfd_rwp(vma) && pte_uffd(to))
		to = pte_modify(to, PAGE_NONE);

	if ((cp_flags & MM_CP_TRY_CHANGE_WRITABLE) && !pte_write(to) &&
	    can_change_pte_writable(vma, addr, to))
		to = pte_mkwrite(to, vma);
	return to;
}

static pte_t expected_softleaf(pte_t pte, unsigned long cp_flags)
{
	softleaf_t entry = softleaf_from_pte(pte);
	pte_t to = pte;

	if (softleaf_is_marker(entry)) {
		if (softleaf_is_uffd_wp_marker(entry) &&
		    (cp_flags & (MM_CP_UFFD_WP_RESOLVE | MM_CP_UFFD_RWP_RESOLVE)))
			return __pte(0);
		return pte;
	}

	if (softleaf_is_migration_write(entry)) {
		entry = make_readable_migration_entry(swp_offset(entry));
		to = swp_entry_to_pte(entry);
		if (pte_swp_soft_dirty(pte))
			to = pte_swp_mksoft_dirty(to);
	}
	if (cp_flags & (MM_CP_UFFD_WP | MM_CP_UFFD_RWP))
		to = pte_swp_mkuffd(to);
	if (cp_flags & (MM_CP_UFFD_WP_RESOLVE | MM_CP_UFFD_RWP_RESOLVE))
		to = pte_swp_clear_uffd(to);
	return to;
}

static pte_t expected_entry(struct mprotect_ctx *ctx, unsigned int i,
			    unsigned long cp_flags)
{
	pte_t pte = ctx->before[i];

	if (pte_none(pte))
		return pte;
	if (!pte_present(pte))
		return expected_softleaf(pte, cp_flags);
	return expected_present(ctx->vma, ctx->addr + i * PAGE_SIZE, pte, cp_flags);
}

/*
 * Xen sets Global in the entries of user pages, whatever the guest asks for, and
 * preserves Dirty where a value with SavedDirty is written. One is as good as
 * the other.
 */
static bool same_entry(pte_t a, pte_t b)
{
#ifdef CONFIG_X86
	if (cpu_feature_enabled(X86_FEATURE_XENPV) && pte_present(a) &&
	    pte_present(b)) {
		if (!pte_dirty(a) != !pte_dirty(b))
			return false;
		a = pte_mkclean(a);
		b = pte_mkclean(b);
		if (!pte_protnone(a))
			a = pte_clrglobal(a);
		if (!pte_protnone(b))
			b = pte_clrglobal(b);
	}
#endif
	return pte_same(a, b);
}

static void expect_same_entries(struct kunit *test, unsigned int from,
				unsigned int to)
{
	struct mprotect_ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < ctx->nr; i++) {
		if (!same_entry(ctx->after[i], ctx->want[i]))
			KUNIT_FAIL_AND_ABORT(test,
				"entry %u of %u to %u: was %llx, is %llx instead of %llx",
				i, from, to, (u64)pte_val(ctx->before[i]),
				(u64)pte_val(ctx->after[i]),
				(u64)pte_val(ctx->want[i]));
	}
}

/* The entries */

enum kind { PRESENT, PROTNONE, ZERO, SPECIAL, NONE, SWAP, MIGRATION, MARKER, NR_KINDS };

/* @bits: nine random ones, that entries of a run have in common. */
static pte_t present_entry(struct mprotect_ctx *ctx, enum kind kind,
			   unsigned long pfn, unsigned int bits)
{
	vm_flags_t flags = kind == PROTNONE ? VM_NONE : VM_READ;
	pte_t pte;

	if (bits & BIT(0))
		flags |= flags & VM_READ ? VM_EXEC : 0;
#ifdef CONFIG_ARCH_HAS_PKEYS
	if (bits & BIT(1))
		flags |= VM_PKEY_BIT0;
	if (bits & BIT(2))
		flags |= VM_PKEY_BIT1;
#endif
	pte = pfn_pte(pfn, vm_get_page_prot(flags));
	pte = bits & BIT(3) ? pte_mkyoung(pte) : pte_mkold(pte);
	pte = pte_mkclean(pte);
	if (kind == ZERO || kind == SPECIAL)
		pte = pte_mkspecial(pte);
	else if (bits & BIT(4))
		pte = pte_mkdirty(pte);
	pte = bits & BIT(5) ? pte_mksoft_dirty(pte) : pte_clear_soft_dirty(pte);
	if (kind == PRESENT && (bits & BIT(6)))
		pte = pte_mkwrite(pte, ctx->vma);
	else if ((ctx->vma->vm_flags & MARK_FLAGS) && (bits & BIT(7)))
		pte = pte_mkuffd(pte);
	return pte;
}

static pte_t absent_entry(struct mprotect_ctx *ctx, enum kind kind,
			  unsigned int i, unsigned int bits)
{
	unsigned long pfn = folio_pfn(ctx->locked);
	pte_t pte;

	if (kind == NONE || !IS_ENABLED(CONFIG_SWAP) ||
	    (kind == MIGRATION && !IS_ENABLED(CONFIG_MIGRATION)))
		return __pte(0);
	if (kind == MARKER)
		return make_pte_marker(bits & BIT(0) ? PTE_MARKER_POISONED :
				       bits & BIT(1) ? PTE_MARKER_GUARD :
						       PTE_MARKER_UFFD_WP);
	if (kind == SWAP)
		pte = swp_entry_to_pte(swp_entry(0, i + 1));
	else if (bits & BIT(0))
		pte = swp_entry_to_pte(make_writable_migration_entry(pfn));
	else
		pte = swp_entry_to_pte(make_readable_migration_entry(pfn));

	if (bits & BIT(1))
		pte = pte_swp_mksoft_dirty(pte);
	if ((ctx->vma->vm_flags & MARK_FLAGS) && !(bits & BIT(0)) && (bits & BIT(2)))
		pte = pte_swp_mkuffd(pte);
	return pte;
}

static pte_t new_entry(struct mprotect_ctx *ctx, enum kind kind, unsigned int i,
		       unsigned int bits)
{
	if (kind >= NONE)
		return absent_entry(ctx, kind, i, bits);
	if (kind == ZERO)
		return present_entry(ctx, kind, zero_pfn(ctx->addr), bits);
	return present_entry(ctx, kind, page_to_pfn(ctx->page[i]), bits);
}

static void set_entry(struct mprotect_ctx *ctx, pte_t *ptep, unsigned int i,
		      pte_t pte)
{
	unsigned long addr = ctx->addr + i * PAGE_SIZE;

	/* Not by pte_clear(), of which CONFIG_PAGE_TABLE_CHECK learns nothing. */
	ptep_get_and_clear(current->mm, addr, ptep + i);
	if (!pte_none(pte))
		set_pte_at(current->mm, addr, ptep + i, pte);
}

static void fill_table(struct mprotect_ctx *ctx)
{
	pte_t *ptep = lock_table(ctx);
	enum kind kind = PRESENT;
	unsigned int i, bits = 0;

	for (i = 0; i < ctx->nr; i++) {
		if (!random(ctx, 8)) {
			kind = random(ctx, 2) ? PRESENT : random(ctx, NR_KINDS);
			bits = random(ctx, 256);
		}
		if (random(ctx, 8))
			SetPageAnonExclusive(ctx->page[i]);
		else
			ClearPageAnonExclusive(ctx->page[i]);
		set_entry(ctx, ptep, i, new_entry(ctx, kind, i, bits));
		ctx->before[i] = ptep_get(ptep + i);
	}
	pte_unmap_unlock(ptep, ctx->ptl);
}

static void restore_table(struct mprotect_ctx *ctx)
{
	pte_t *ptep = lock_table(ctx);
	unsigned int i;

	for (i = 0; i < ctx->nr; i++) {
		SetPageAnonExclusive(ctx->page[i]);
		set_entry(ctx, ptep, i, ctx->saved[i]);
	}
	pte_unmap_unlock(ptep, ctx->ptl);
	flush_tlb_mm(current->mm);
}

/* The test */

static void set_vma(struct vm_area_struct *vma, vm_flags_t vm_flags)
{
	vm_flags_clear(vma, PROT_FLAGS);
	if (IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		vm_flags_clear(vma, VM_SOFTDIRTY);
	if (MARK_FLAGS)
		vm_flags_clear(vma, MARK_FLAGS);
	vm_flags_set(vma, vm_flags);
	/* Even if shared, so that there is something to make writable. */
	vma->vm_page_prot = vm_get_page_prot(vm_flags & PROT_FLAGS & ~VM_SHARED);
}

static void change_range(struct mprotect_ctx *ctx, unsigned int from,
			 unsigned int to, unsigned long cp_flags)
{
	struct mmu_gather tlb;
	pte_t *ptep;
	unsigned int i;

	mmap_write_lock(current->mm);
	tlb_gather_mmu(&tlb, current->mm);
	change_protection(&tlb, ctx->vma, ctx->addr + from * PAGE_SIZE,
			  ctx->addr + to * PAGE_SIZE, cp_flags);
	tlb_finish_mmu(&tlb);
	mmap_write_unlock(current->mm);

	ptep = lock_table(ctx);
	for (i = 0; i < ctx->nr; i++)
		ctx->after[i] = ptep_get(ptep + i);
	pte_unmap_unlock(ptep, ctx->ptl);
}

static void same_as_one_by_one(struct kunit *test)
{
	const struct change *c = test->param_value;
	struct mprotect_ctx *ctx = test->priv;
	unsigned int n, i, from, to;

	if ((c->cp_flags & ~MM_CP_TRY_CHANGE_WRITABLE) && !pgtable_supports_uffd())
		kunit_skip(test, "no userfaultfd marks on this architecture");
	if ((c->vm_flags & MARK_FLAGS) && !IS_ENABLED(CONFIG_USERFAULTFD))
		kunit_skip(test, "needs CONFIG_USERFAULTFD");

	mmap_write_lock(current->mm);
	set_vma(ctx->vma, c->vm_flags);
	mmap_write_unlock(current->mm);

	for (n = 0; n < ROUNDS; n++) {
		fill_table(ctx);
		from = random(ctx, ctx->nr);
		to = from + 1 + random(ctx, ctx->nr - from);

		for (i = 0; i < ctx->nr; i++)
			ctx->want[i] = i < from || i >= to ? ctx->before[i] :
				       expected_entry(ctx, i, c->cp_flags);
		change_range(ctx, from, to, c->cp_flags);
		restore_table(ctx);
		expect_same_entries(test, from, to);
	}
}

static struct kunit_case mprotect_test_cases[] = {
	KUNIT_CASE_PARAM(same_as_one_by_one, changes_gen_params),
	{}
};

/* The pages */

static struct folio *new_folio(struct mprotect_ctx *ctx, unsigned int i,
			       unsigned int order)
{
	unsigned long addr = ctx->addr + i * PAGE_SIZE;
	gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_NOWARN;
	struct folio *folio = vma_alloc_folio(gfp, order, ctx->vma, addr);

	if (folio && (mem_cgroup_charge(folio, current->mm, gfp) ||
		      (order > 1 && folio_memcg_alloc_deferred(folio)))) {
		folio_put(folio);
		return NULL;
	}
	if (folio)
		__folio_mark_uptodate(folio);
	return folio;
}

/* As a page fault does. */
static void map_folio(struct mprotect_ctx *ctx, unsigned int i,
		      struct folio *folio)
{
	unsigned long addr = ctx->addr + i * PAGE_SIZE;
	unsigned int nr = folio_nr_pages(folio);
	pte_t pte = folio_mk_pte(folio, ctx->vma->vm_page_prot);
	pte_t *ptep = lock_table(ctx);

	pte = pte_mkwrite(pte_mkdirty(pte_mkyoung(pte)), ctx->vma);
	folio_ref_add(folio, nr - 1);
	folio_add_new_anon_rmap(folio, ctx->vma, addr, RMAP_EXCLUSIVE);
	folio_add_lru(folio);
	add_mm_counter(current->mm, MM_ANONPAGES, nr);
	set_ptes(current->mm, addr, ptep + i, pte, nr);
	while (nr--) {
		ctx->page[i + nr] = folio_page(folio, nr);
		ctx->saved[i + nr] = ptep_get(ptep + i + nr);
	}
	pte_unmap_unlock(ptep, ctx->ptl);
}

/*
 * Batches of a large folio have their accessed and dirty bits gathered, which
 * is not the same as one by one.  Where runs are changed nothing is gathered.
 */
#ifdef modify_prot_change_ptes
#define LARGE_FOLIOS	IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE)
#else
#define LARGE_FOLIOS	false
#endif

static void map_folios(struct kunit *test)
{
	static const unsigned int orders[] = { 0, 0, 0, 2, 4, 5 };
	struct mprotect_ctx *ctx = test->priv;
	struct folio *folio;
	unsigned int i, order;

	for (i = 0; i < ctx->nr; i += folio_nr_pages(folio)) {
		order = orders[random(ctx, ARRAY_SIZE(orders))];
		folio = NULL;
		if (LARGE_FOLIOS && IS_ALIGNED(i, 1U << order) &&
		    i + (1U << order) <= ctx->nr)
			folio = new_folio(ctx, i, order);
		if (!folio)
			folio = new_folio(ctx, i, 0);
		KUNIT_ASSERT_NOT_NULL(test, folio);
		map_folio(ctx, i, folio);
	}
}

static void drop_locked(void *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

static int mprotect_test_init(struct kunit *test)
{
	struct mprotect_ctx *ctx;
	unsigned long addr;

	ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx);
	test->priv = ctx;
	ctx->nr = min_t(unsigned int, PTRS_PER_PTE, MAX_NR);
	prandom_seed_state(&ctx->rnd, 7304);

	addr = kunit_vm_mmap(test, NULL, 0, 3 * PMD_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	ctx->addr = ALIGN(addr, PMD_SIZE);

	mmap_write_lock(current->mm);
	ctx->vma = find_vma(current->mm, ctx->addr);
	vm_flags_set(ctx->vma, VM_NOHUGEPAGE | VM_MIXEDMAP);
	mmap_write_unlock(current->mm);
	/* Brings the anon_vma. */
	KUNIT_ASSERT_EQ(test, put_user(0, (u8 __user *)ctx->addr + PMD_SIZE), 0);

	ctx->locked = folio_alloc(GFP_KERNEL, 0);
	KUNIT_ASSERT_NOT_NULL(test, ctx->locked);
	folio_lock(ctx->locked);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, drop_locked,
							ctx->locked), 0);
	map_folios(test);
	return 0;
}

static struct kunit_suite mprotect_test_suite = {
	.name = "mprotect",
	.init = mprotect_test_init,
	.test_cases = mprotect_test_cases,
};

kunit_test_suite(mprotect_test_suite);

MODULE_DESCRIPTION("Test of changes of protection");
MODULE_LICENSE("GPL");
