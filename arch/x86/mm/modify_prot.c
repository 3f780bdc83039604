// SPDX-License-Identifier: GPL-2.0
/*
 * Pte protection transactions on bare metal: what is not inlined.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>

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
 * native_modify_prot_commit_ptes - Commit to entries, each keeps its page.
 * @ptep: Page table pointer for the first entry.
 * @old_pte: What the start of the transaction returned.
 * @pte: New page table entry to be set, for the first entry.
 * @nr: Number of entries.
 *
 * Context: The caller has held the page table lock since the start.
 */
void native_modify_prot_commit_ptes(pte_t *ptep, pte_t old_pte, pte_t pte,
				    unsigned int nr)
{
	pte_t *const end = ptep + nr;

	if (pte_absorbs_accessed_dirty(pte)) {
		/* All entries have to be inverted (PROT_NONE), or none. */
		const pteval_t changed = native_pte_val(old_pte) ^ native_pte_val(pte);
		const pteval_t invert = changed & _PAGE_PRESENT ? PTE_PFN_MASK : 0;

		for (; ptep != end; ptep++) {
			pteval_t frame = native_pte_val(READ_ONCE(*ptep)) ^ invert;

			native_set_pte(ptep, native_make_pte(
				(frame & PTE_PFN_MASK) | pte_flags(pte)));
		}
		return;
	}

	for (; ptep != end; ptep++)
		native_modify_prot_commit_slow(ptep, old_pte,
				pte_with_flags_of(READ_ONCE(*ptep), pte));
}
