// SPDX-License-Identifier: GPL-2.0
/*
 * Pte protection transactions on bare metal: what is not inlined.
 */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/static_call.h>

/* The pfn of an entry that is not present to hardware is stored inverted. */
static __always_inline pteval_t pte_pfn_step(pte_t pte)
{
	pteval_t step = _AT(pteval_t, 1) << PFN_PTE_SHIFT;

	return __pte_needs_invert(native_pte_val(pte)) ? -step : step;
}

/**
 * native_modify_prot_gather - Gather the accessed and dirty bits of a batch.
 * @pte: The first entry.
 * @ptep: Page table pointer for the first entry.
 * @nr: Number of entries, at least two.
 *
 * Unlike pte_mkdirty() this leaves soft-dirty alone: an entry must not become
 * soft-dirty because a neighbour is dirty.
 *
 * Context: The caller holds the page table lock.
 *
 * Return: @pte, accessed and dirty if any of the entries is.
 */
pte_t native_modify_prot_gather(pte_t pte, pte_t *ptep, unsigned int nr)
{
	pteval_t val = native_pte_val(pte);
	pteval_t seen = 0;
	unsigned int i;

	for (i = 1; i < nr; i++)
		seen |= native_pte_val(READ_ONCE(ptep[i]));

	val |= seen & _PAGE_ACCESSED;
	if ((seen & _PAGE_DIRTY_BITS) && !(val & _PAGE_DIRTY_BITS))
		val = mksaveddirty_shift(val | _PAGE_DIRTY);

	return native_make_pte(val);
}
EXPORT_SYMBOL_GPL(native_modify_prot_gather);

/*
 * What has to be written is @pte, and the bits that hardware has set in @live
 * and that @old_pte does not have.  A bit that @old_pte has and @pte does not
 * have was cleared by the caller on purpose.
 */
static __always_inline pte_t merge_late_bits(pte_t old_pte, pte_t pte, pte_t live)
{
	pteval_t late = native_pte_val(live) & ~native_pte_val(old_pte);
	pteval_t val = native_pte_val(pte);

	val |= late & _PAGE_ACCESSED;

	/*
	 * A late Dirty must not make a shadow stack page, Write=0,Dirty=1, so
	 * it moves to SavedDirty where Write is clear.  A @pte that is dirty
	 * already may well be a shadow stack page, and has to remain one.
	 */
	if ((late & _PAGE_DIRTY) && !pte_dirty(old_pte) && !pte_dirty(pte))
		val = mksaveddirty_shift(val | _PAGE_DIRTY);

	return native_make_pte(val);
}

/*
 * Can a plain store of @pte over @live lose nothing?  Each of the two bits has
 * to be in @live, so that hardware does not set it again, or in @pte.  No
 * access completes through an entry that is not present.
 */
static __always_inline bool hardware_is_done(pte_t live, pte_t pte)
{
	if (!(pte_flags(live) & _PAGE_PRESENT))
		return true;

	return (pte_flags(live) & _PAGE_ACCESSED || pte_young(pte)) &&
	       (pte_flags(live) & _PAGE_DIRTY || pte_dirty(pte));
}

static __always_inline void commit_one(pte_t *ptep, pte_t old_pte, pte_t pte)
{
	pte_t live = READ_ONCE(*ptep);
	pte_t new;

	do {
		new = merge_late_bits(old_pte, pte, live);
		if (hardware_is_done(live, new)) {
			native_set_pte(ptep, new);
			return;
		}
	} while (!try_cmpxchg((pteval_t *)ptep, (pteval_t *)&live,
			      native_pte_val(new)));
}

/**
 * native_modify_prot_commit_slow - Commit to an entry hardware may be updating.
 * @ptep: Page table pointer for the entry.
 * @old_pte: What the start of the transaction returned.
 * @pte: New page table entry to be set.
 *
 * This takes a locked instruction, unless the entry in memory is not present to
 * hardware, or hardware has no bit left to set that @pte does not have.
 *
 * Context: The caller has held the page table lock since the start.
 */
void native_modify_prot_commit_slow(pte_t *ptep, pte_t old_pte, pte_t pte)
{
	commit_one(ptep, old_pte, pte);
}
EXPORT_SYMBOL_GPL(native_modify_prot_commit_slow);

/**
 * native_modify_prot_commit_ptes - Commit to a batch of entries.
 * @vma: The virtual memory area the pages are mapped into, not used.
 * @addr: Address the first page is mapped at, not used.
 * @ptep: Page table pointer for the first entry.
 * @old_pte: What modify_prot_start_ptes() returned for the first entry.
 * @pte: New page table entry to be set, for the first entry.
 * @nr: Number of entries.
 *
 * Context: The caller has held the page table lock since the start.
 */
void native_modify_prot_commit_ptes(struct vm_area_struct *vma,
				    unsigned long addr, pte_t *ptep,
				    pte_t old_pte, pte_t pte, unsigned int nr)
{
	const pteval_t step = pte_pfn_step(pte);
	const bool plain = pte_absorbs_accessed_dirty(pte);

	for (; nr; nr--, ptep++) {
		if (plain)
			native_set_pte(ptep, pte);
		else
			commit_one(ptep, old_pte, pte);
		pte = native_make_pte(native_pte_val(pte) + step);
	}
}
EXPORT_SYMBOL_GPL(native_modify_prot_commit_ptes);

#ifdef CONFIG_PARAVIRT_XXL
/*
 * The hook for implementations that need more than the inlined commit, for a
 * whole batch.  It is not a pv_ops call, because it has more arguments than one
 * can pass.  The start of a transaction only reads the entries, so it has no
 * hook.
 */
DEFINE_STATIC_CALL(pv_modify_prot_commit_ptes, native_modify_prot_commit_ptes);
EXPORT_STATIC_CALL_TRAMP_GPL(pv_modify_prot_commit_ptes);
#endif
