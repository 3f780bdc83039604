// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the helpers that read and change page table entries.
 *
 * The helpers change flags, and advance pfns, on the raw value of an entry
 * where they can. In a Xen PV guest present entries hold a machine frame
 * number, which pte_val() and __pte() translate. The reference always
 * translates: "convert, change, convert back". Both ways must come to the same
 * entry.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/prandom.h>
#include <asm/tlbflush.h>

#define ORDER		PMD_ORDER
#define NR_ENTRIES	100000

/**
 * struct pgtable_ctx - what the entries of a test case are made of
 * @folio: the pages that they map; Xen has a machine frame for each
 * @rnd: source of their flags
 */
struct pgtable_ctx {
	struct folio *folio;
	struct rnd_state rnd;
};

/**
 * struct random_entry - a random entry
 * @pte: the entry; one in two is PROT_NONE
 * @pfn: of the page that it maps
 * @room: number of pages that follow in the folio
 */
struct random_entry {
	pte_t pte;
	unsigned long pfn;
	unsigned int room;
};

/* The reference */

static pte_t convert_flags(pte_t pte, pteval_t set, pteval_t clear,
			   bool save_dirty)
{
	pteval_t val = (pte_val(pte) & ~clear) | set;

	return __pte(save_dirty ? mksaveddirty_shift(val) : val);
}

static pte_t convert_modify(pte_t pte, pgprot_t prot)
{
	pteval_t val = pte_val(pte), old = val;

	val &= _PAGE_CHG_MASK;
	val |= massage_pgprot(prot) & ~_PAGE_CHG_MASK;
	val = flip_protnone_guard(old, val, PTE_PFN_MASK);
	val = old & _PAGE_RW ? mksaveddirty_shift(val) :
			       clear_saveddirty_shift(val);
	return __pte(val);
}

static pte_t convert_pfn(pte_t pte, unsigned long pfn)
{
	pteval_t val = pte_val(pte) & ~PTE_PFN_MASK;

	pfn ^= protnone_mask(pte_val(pte));
	return __pte(val | (((pteval_t)pfn << PAGE_SHIFT) & PTE_PFN_MASK));
}

static bool convert_needs_flush(pte_t from, pte_t to)
{
	if (!(pte_val(from) & _PAGE_PRESENT))
		return false;
	return pte_pfn(from) != pte_pfn(to) ||
	       pte_flags_need_flush(pte_flags(from), pte_flags(to), true);
}

struct flag_helper {
	const char *name;
	pte_t (*fn)(pte_t pte);
	pteval_t set;
	pteval_t clear;
	bool save_dirty;
};

static const struct flag_helper flag_helpers[] = {
#define HELPER(fn, set, clear, save_dirty) { #fn, fn, set, clear, save_dirty }
	HELPER(pte_wrprotect, 0, _PAGE_RW, true),
	HELPER(pte_mkwrite_novma, _PAGE_RW, 0, false),
	HELPER(pte_mkclean, 0, _PAGE_DIRTY_BITS, false),
	HELPER(pte_mkdirty, _PAGE_DIRTY | _PAGE_SOFT_DIRTY, 0, true),
	HELPER(pte_mkold, 0, _PAGE_ACCESSED, false),
	HELPER(pte_mkyoung, _PAGE_ACCESSED, 0, false),
	HELPER(pte_mkexec, 0, _PAGE_NX, false),
	HELPER(pte_mkspecial, _PAGE_SPECIAL, 0, false),
	HELPER(pte_mkwrite_shstk, _PAGE_DIRTY, _PAGE_RW, false),
	HELPER(pte_mksoft_dirty, _PAGE_SOFT_DIRTY, 0, false),
	HELPER(pte_clear_soft_dirty, 0, _PAGE_SOFT_DIRTY, false),
#ifdef CONFIG_HAVE_ARCH_USERFAULTFD_WP
	HELPER(pte_mkuffd, _PAGE_UFFD, _PAGE_RW, true),
	HELPER(pte_clear_uffd, 0, _PAGE_UFFD, false),
#endif
#undef HELPER
};

/* The entries */

#define RANDOM_FLAGS (_PAGE_RW | _PAGE_USER | _PAGE_PWT | _PAGE_PCD |	\
		      _PAGE_PAT | _PAGE_ACCESSED | _PAGE_DIRTY_BITS |	\
		      _PAGE_SPECIAL | _PAGE_UFFD | _PAGE_SOFT_DIRTY |	\
		      _PAGE_PKEY_MASK | _PAGE_NX)

static pteval_t random_bits(struct rnd_state *rnd, pteval_t mask)
{
	u64 val = prandom_u32_state(rnd);

	return (val << 32 | prandom_u32_state(rnd)) & mask;
}

/* The pfn of a PROT_NONE entry is stored inverted. */
static struct random_entry random_entry(struct pgtable_ctx *ctx)
{
	pteval_t flags = random_bits(&ctx->rnd, RANDOM_FLAGS & __supported_pte_mask);
	unsigned int nr = folio_nr_pages(ctx->folio);
	unsigned int i = prandom_u32_state(&ctx->rnd) % nr;
	unsigned long pfn = folio_pfn(ctx->folio) + i;
	pteval_t stored;

	flags |= prandom_u32_state(&ctx->rnd) & 1 ? _PAGE_PRESENT : _PAGE_PROTNONE;
	stored = pfn ^ protnone_mask(flags);
	return (struct random_entry) {
		.pte = __pte(flags | ((stored << PAGE_SHIFT) & PTE_PFN_MASK)),
		.pfn = pfn,
		.room = nr - i - 1,
	};
}

static pgprot_t random_prot(struct pgtable_ctx *ctx)
{
	vm_flags_t flags = random_bits(&ctx->rnd, VM_READ | VM_WRITE | VM_EXEC |
						  VM_SHARED);
	pteval_t prot = pgprot_val(vm_get_page_prot(flags));

	return __pgprot(prot | random_bits(&ctx->rnd, _PAGE_PKEY_MASK));
}

static void assert_same(struct kunit *test, const char *what, pte_t pte,
			pte_t is, pte_t want)
{
	KUNIT_ASSERT_TRUE_MSG(test, pte_same(is, want),
			      "%s of %llx: %llx instead of %llx", what,
			      (u64)pte.pte, (u64)is.pte, (u64)want.pte);
}

/* The cases */

static void predicates(struct kunit *test)
{
	struct pgtable_ctx *ctx = test->priv;
	unsigned int n;

	for (n = 0; n < NR_ENTRIES; n++) {
		struct random_entry e = random_entry(ctx);
		pteval_t val = pte_val(e.pte);

		KUNIT_ASSERT_EQ(test, pte_flags(e.pte), val & PTE_FLAGS_MASK);
		KUNIT_ASSERT_EQ(test, !!pte_dirty(e.pte), !!(val & _PAGE_DIRTY_BITS));
		KUNIT_ASSERT_EQ(test, !!pte_young(e.pte), !!(val & _PAGE_ACCESSED));
		KUNIT_ASSERT_EQ(test, !!pte_special(e.pte), !!(val & _PAGE_SPECIAL));
		KUNIT_ASSERT_EQ(test, !!pte_protnone(e.pte), !(val & _PAGE_PRESENT));
		KUNIT_ASSERT_TRUE(test, pte_present(e.pte));
	}
}

static void flags_change(struct kunit *test)
{
	struct pgtable_ctx *ctx = test->priv;
	const struct flag_helper *h;
	unsigned int n, i;

	for (n = 0; n < NR_ENTRIES; n++) {
		pte_t pte = random_entry(ctx).pte;

		for (i = 0; i < ARRAY_SIZE(flag_helpers); i++) {
			h = &flag_helpers[i];
			assert_same(test, h->name, pte, h->fn(pte),
				    convert_flags(pte, h->set, h->clear,
						  h->save_dirty));
		}
	}
}

static void pfns_advance(struct kunit *test)
{
	struct pgtable_ctx *ctx = test->priv;
	unsigned int n, nr;

	for (n = 0; n < NR_ENTRIES; n++) {
		struct random_entry e = random_entry(ctx);

		nr = prandom_u32_state(&ctx->rnd) % (e.room + 1);
		KUNIT_ASSERT_EQ(test, pte_pfn(e.pte), e.pfn);
		assert_same(test, "pte_advance_pfn", e.pte,
			    pte_advance_pfn(e.pte, nr),
			    convert_pfn(e.pte, e.pfn + nr));
	}
}

static void protection_changes(struct kunit *test)
{
	struct pgtable_ctx *ctx = test->priv;
	unsigned int n;

	for (n = 0; n < NR_ENTRIES; n++) {
		struct random_entry e = random_entry(ctx);
		pgprot_t prot = random_prot(ctx);
		pte_t pte = pte_modify(e.pte, prot);

		KUNIT_ASSERT_EQ(test, pte_pfn(pte), e.pfn);
		assert_same(test, "pte_modify", e.pte, pte,
			    convert_modify(e.pte, prot));
	}
}

/* One protection becomes another, of the same page or of the one behind it. */
static void flush_is_needed(struct kunit *test)
{
	struct pgtable_ctx *ctx = test->priv;
	unsigned int n;

	for (n = 0; n < NR_ENTRIES; n++) {
		struct random_entry e = random_entry(ctx);
		pte_t to = pte_modify(e.pte, random_prot(ctx));

		if (n % 2 && e.room)
			to = pte_next_pfn(to);
		KUNIT_ASSERT_EQ_MSG(test, pte_needs_flush(e.pte, to),
				    convert_needs_flush(e.pte, to),
				    "from %llx to %llx", (u64)e.pte.pte,
				    (u64)to.pte);
	}
}

static struct kunit_case pgtable_test_cases[] = {
	KUNIT_CASE(predicates),
	KUNIT_CASE(flags_change),
	KUNIT_CASE(pfns_advance),
	KUNIT_CASE(protection_changes),
	KUNIT_CASE(flush_is_needed),
	{}
};

static void put_folio(void *folio)
{
	folio_put(folio);
}

static int pgtable_test_init(struct kunit *test)
{
	struct pgtable_ctx *ctx;

	ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx);

	ctx->folio = folio_alloc(GFP_KERNEL | __GFP_NOWARN, ORDER);
	if (!ctx->folio)
		kunit_skip(test, "no folio of order %u", ORDER);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_folio,
							ctx->folio), 0);

	prandom_seed_state(&ctx->rnd, 2019);
	test->priv = ctx;
	return 0;
}

static struct kunit_suite pgtable_test_suite = {
	.name = "x86_pgtable",
	.init = pgtable_test_init,
	.test_cases = pgtable_test_cases,
};

kunit_test_suite(pgtable_test_suite);

MODULE_DESCRIPTION("Tests of the helpers for x86 page table entries");
MODULE_LICENSE("GPL");
