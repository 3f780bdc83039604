// SPDX-License-Identifier: GPL-2.0
/*
 * Catch misuse of pte protection transactions (CONFIG_DEBUG_VM).
 *
 * What looks at each entry is left to CONFIG_DEBUG_VM_PGTABLE, because a kernel
 * with CONFIG_DEBUG_VM alone is to be usable in production.
 */
#include <linux/mm.h>
#include <linux/modify_prot_check.h>
#include <linux/pgtable.h>

/* A transaction covers at least one entry, and does not leave its table. */
static bool batch_is_sane(unsigned long addr, unsigned int nr)
{
	return !WARN_ONCE(!nr || nr > PTRS_PER_PTE - pte_index(addr),
			  "pte protection transaction on %u entries from index %lu\n",
			  nr, pte_index(addr));
}

static void check_same_page(pte_t old_pte, pte_t pte)
{
	WARN_ONCE(!pte_present(pte) || pte_pfn(pte) != pte_pfn(old_pte),
		  "pte protection transaction changes pfn %lx to %lx\n",
		  (unsigned long)pte_pfn(old_pte), (unsigned long)pte_pfn(pte));
}

/**
 * modify_prot_check_start - Check the arguments of modify_prot_start_ptes().
 * @vma: The virtual memory area the pages are mapped into.
 * @addr: Address the first page is mapped at.
 * @ptep: Page table pointer for the first entry.
 * @nr: Number of entries.
 *
 * Architectures that override the batch functions have to call this before they
 * touch an entry.
 *
 * Context: The caller holds the page table lock.
 */
void modify_prot_check_start(struct vm_area_struct *vma, unsigned long addr,
			     pte_t *ptep, unsigned int nr)
{
	pte_t pte, first;
	unsigned int i;

	if (!batch_is_sane(addr, nr) || !IS_ENABLED(CONFIG_DEBUG_VM_PGTABLE))
		return;

	first = ptep_get(ptep);
	for (i = 0; i < nr; i++) {
		pte = ptep_get(ptep + i);

		if (WARN_ONCE(!pte_present(pte),
			      "pte protection transaction on non-present entry %u of %u\n",
			      i, nr))
			return;
		WARN_ONCE(pte_pfn(pte) != pte_pfn(first) + i,
			  "pte protection transaction on pfn %lx, expected %lx\n",
			  (unsigned long)pte_pfn(pte),
			  (unsigned long)pte_pfn(first) + i);
	}
}

/**
 * modify_prot_check_commit - Check the arguments of modify_prot_commit_ptes().
 * @vma: The virtual memory area the pages are mapped into.
 * @addr: Address the first page is mapped at.
 * @ptep: Page table pointer for the first entry.
 * @old_pte: What modify_prot_start_ptes() returned for the first entry.
 * @pte: New page table entry to be set, for the first entry.
 * @nr: Number of entries.
 *
 * The entries must be as the start left them: they are cleared, or still map
 * the pages that @old_pte says.  The new ones must map the same pages.
 *
 * Context: The caller has held the page table lock since the start.
 */
void modify_prot_check_commit(struct vm_area_struct *vma, unsigned long addr,
			      pte_t *ptep, pte_t old_pte, pte_t pte,
			      unsigned int nr)
{
	unsigned int i;
	pte_t live;

	check_same_page(old_pte, pte);
	if (!batch_is_sane(addr, nr) || !IS_ENABLED(CONFIG_DEBUG_VM_PGTABLE))
		return;

	for (i = 0; i < nr; i++) {
		live = ptep_get(ptep + i);
		WARN_ONCE(!pte_none(live) &&
			  pte_pfn(live) != pte_pfn(old_pte) + i,
			  "entry %u of %u changed under a pte protection transaction\n",
			  i, nr);
	}
}

#ifdef modify_prot_change_ptes
/**
 * modify_prot_check_change - Check the arguments of modify_prot_change_ptes().
 * @vma: The virtual memory area the pages are mapped into.
 * @addr: Address the first page is mapped at.
 * @ptep: Page table pointer for the first entry.
 * @old_pte: The first entry, as the caller has seen it.
 * @pte: What is to become of it.
 * @nr: Number of entries.
 *
 * The entries must have the flags of @old_pte, but for the accessed and dirty
 * bits that hardware may have set since.
 *
 * Context: The caller has held the page table lock since it saw the entries.
 */
void modify_prot_check_change(struct vm_area_struct *vma, unsigned long addr,
			      pte_t *ptep, pte_t old_pte, pte_t pte,
			      unsigned int nr)
{
	unsigned int i;
	pte_t live;

	check_same_page(old_pte, pte);
	if (!batch_is_sane(addr, nr) || !IS_ENABLED(CONFIG_DEBUG_VM_PGTABLE))
		return;

	old_pte = pte_mkold(pte_mkclean(old_pte));
	for (i = 0; i < nr; i++) {
		live = ptep_get(ptep + i);
		WARN_ONCE(!pte_present(live) ||
			  !pte_same_flags(pte_mkold(pte_mkclean(live)), old_pte),
			  "entry %u of %u does not have the flags that the run has\n",
			  i, nr);
	}
}
#endif
