/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_GENERIC_PGTABLE_MODIFY_PROT_H
#define _ASM_GENERIC_PGTABLE_MODIFY_PROT_H

/**
 * DOC: pte protection transactions
 *
 * A pte protection transaction changes the protection of present page table
 * entries, and other bits that software sees, but not the page.  Hardware may
 * be using the entries at the same time, and therefore updating them::
 *
 *	old = modify_prot_start_ptes(vma, addr, ptep, nr);
 *	new = pte_modify(old, newprot);
 *	modify_prot_commit_ptes(vma, addr, ptep, old, new, nr);
 *
 * Start and commit are exactly paired, under one hold of the page table lock.
 * They work on @nr >= 1 present entries of one page table (pte_present(), so
 * PROT_NONE entries count).  The entries map consecutive pages of one folio,
 * and differ in nothing but the pfn and the accessed and dirty bits.
 *
 * - Start returns the first entry with the accessed and dirty bits of the
 *   whole batch gathered in.  After it, either no access completes through the
 *   entries, or the bits that hardware sets in them survive the commit.
 * - Commit writes @pte to the first entry, and @pte with the pfn advanced to
 *   those that follow.  It adds every accessed and dirty bit that hardware has
 *   set since start.  A bit that is set in what start returned and clear in
 *   @pte was cleared by the caller, and is clear in every entry afterwards.
 *   A batch may be committed in parts, in ascending order, each with @old_pte
 *   and @pte advanced to it.
 * - Commit may queue the update.  Inside a lazy MMU section it may not have
 *   reached the page table before the section ends; sections end before the
 *   page table lock is dropped.
 * - The architecture decides whether the entries are cleared, or live, between
 *   start and commit, and callers must not depend on either.  Users that need
 *   an entry cleared, so that nobody can find the page through it (for example
 *   folio_try_share_anon_rmap_pte()), must not use this interface.
 * - There is no protection against other software that changes the entries.
 *   That is what the page table lock is for.
 * - The caller flushes the TLB, see pte_needs_flush().
 *
 * An architecture whose transactions leave the entries live may have a short
 * form for entries that have the same flags, whatever pages they map::
 *
 *	old = ptep_get(ptep);
 *	new = pte_modify(old, newprot);
 *	(find nr entries for which pte_same_flags(ptep_get(ptep + i), old))
 *	modify_prot_change_ptes(vma, addr, ptep, old, new, nr);
 *
 * To read the entries is to start the transaction.  The rest of the contract
 * is the same.
 *
 * See Documentation/mm/modify_prot.rst for how architectures override this.
 */

#include <linux/modify_prot_check.h>

#ifndef __HAVE_ARCH_PTEP_MODIFY_PROT_TRANSACTION
/**
 * ptep_modify_prot_start - Start a pte protection transaction on one entry.
 * @vma: The virtual memory area the page is mapped into.
 * @addr: Address the page is mapped at.
 * @ptep: Page table pointer for the entry.
 *
 * The architecture may override this.  Otherwise the entry is cleared, so that
 * no access completes through it until the commit.
 *
 * Context: The caller holds the page table lock.  The entry is present.
 *
 * Return: The entry, for the caller to modify.
 */
static inline pte_t ptep_modify_prot_start(struct vm_area_struct *vma,
					   unsigned long addr, pte_t *ptep)
{
	return ptep_get_and_clear(vma->vm_mm, addr, ptep);
}

/**
 * ptep_modify_prot_commit - Commit a pte protection transaction on one entry.
 * @vma: The virtual memory area the page is mapped into.
 * @addr: Address the page is mapped at.
 * @ptep: Page table pointer for the entry.
 * @old_pte: What ptep_modify_prot_start() returned.
 * @pte: New page table entry to be set.
 *
 * The architecture may override this.  Otherwise the entry is clear, and there
 * are no bits of hardware to preserve.
 *
 * Context: The caller has held the page table lock since the start.
 */
static inline void ptep_modify_prot_commit(struct vm_area_struct *vma,
					   unsigned long addr, pte_t *ptep,
					   pte_t old_pte, pte_t pte)
{
	set_pte_at(vma->vm_mm, addr, ptep, pte);
}
#endif /* __HAVE_ARCH_PTEP_MODIFY_PROT_TRANSACTION */

/**
 * modify_prot_start_ptes - Start a pte protection transaction on a batch.
 * @vma: The virtual memory area the pages are mapped into.
 * @addr: Address the first page is mapped at.
 * @ptep: Page table pointer for the first entry.
 * @nr: Number of entries, at least one.
 *
 * The architecture may override this.  Otherwise it is a simple loop over
 * ptep_modify_prot_start(), which collects the accessed and dirty bits of each
 * entry in the batch.
 *
 * Context: The caller holds the page table lock.  The entries are present, in
 * the same page table, map consecutive pages that belong to the same folio,
 * and are otherwise identical except for the accessed and dirty bits.
 *
 * Return: The first entry, accessed and dirty if any entry of the batch is.
 */
#ifndef modify_prot_start_ptes
static inline pte_t modify_prot_start_ptes(struct vm_area_struct *vma,
		unsigned long addr, pte_t *ptep, unsigned int nr)
{
	pte_t pte, tmp_pte;
	unsigned int i;

	modify_prot_check_start(vma, addr, ptep, nr);

	pte = ptep_modify_prot_start(vma, addr, ptep);
	for (i = 1; i < nr; i++) {
		ptep++;
		addr += PAGE_SIZE;
		tmp_pte = ptep_modify_prot_start(vma, addr, ptep);
		if (pte_dirty(tmp_pte))
			pte = pte_mkdirty(pte);
		if (pte_young(tmp_pte))
			pte = pte_mkyoung(pte);
	}
	return pte;
}
#endif

/**
 * modify_prot_commit_ptes - Commit a pte protection transaction on a batch.
 * @vma: The virtual memory area the pages are mapped into.
 * @addr: Address the first page is mapped at.
 * @ptep: Page table pointer for the first entry.
 * @old_pte: What modify_prot_start_ptes() returned for the first entry.
 * @pte: New page table entry to be set, for the first entry.
 * @nr: Number of entries, at least one.
 *
 * The architecture may override this.  Otherwise it is a simple loop over
 * ptep_modify_prot_commit().
 *
 * Afterwards, or once the lazy MMU section is left, the entries may have
 * accessed and dirty bits that @pte does not have, if hardware set them.
 *
 * Context: The caller has held the page table lock since the start.
 */
#ifndef modify_prot_commit_ptes
static inline void modify_prot_commit_ptes(struct vm_area_struct *vma,
		unsigned long addr, pte_t *ptep, pte_t old_pte, pte_t pte,
		unsigned int nr)
{
	unsigned int i;

	modify_prot_check_commit(vma, addr, ptep, old_pte, pte, nr);

	for (i = 1; ; i++) {
		ptep_modify_prot_commit(vma, addr, ptep, old_pte, pte);
		if (i >= nr)
			break;

		/* Advance PFN only, set same prot */
		old_pte = pte_next_pfn(old_pte);
		pte = pte_next_pfn(pte);
		addr += PAGE_SIZE;
		ptep++;
	}
}
#endif

#ifndef modify_prot_change_ptes
/**
 * pte_same_flags - Whether two present entries differ in nothing but the page.
 * @a: An entry.
 * @b: Another entry.
 *
 * Defined by architectures that define modify_prot_change_ptes() as well.
 *
 * Return: True if everything but the pfn is the same.
 */
bool pte_same_flags(pte_t a, pte_t b);

/**
 * modify_prot_change_ptes - Change entries that have the same flags.
 * @vma: The virtual memory area the pages are mapped into.
 * @addr: Address the first page is mapped at.
 * @ptep: Page table pointer for the first entry.
 * @old_pte: The first entry, as the caller has seen it.
 * @pte: What is to become of it.
 * @nr: Number of entries, at least one.
 *
 * Defined by architectures whose transactions leave the entries live, and
 * absent otherwise.  Each entry keeps its page and gets the flags of @pte, plus
 * the accessed and dirty bits that hardware has set since the caller saw it.
 *
 * Context: The caller has held the page table lock since it saw the entries.
 * They are in one page table, present, and had the flags of @old_pte, see
 * pte_same_flags().
 */
void modify_prot_change_ptes(struct vm_area_struct *vma, unsigned long addr,
			     pte_t *ptep, pte_t old_pte, pte_t pte,
			     unsigned int nr);
#endif

#endif /* _ASM_GENERIC_PGTABLE_MODIFY_PROT_H */
