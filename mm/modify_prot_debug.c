// SPDX-License-Identifier: GPL-2.0
/*
 * Catch misuse of pte protection transactions (CONFIG_DEBUG_VM).
 */
#include <linux/export.h>
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

/**
 * modify_prot_check_start - Check the arguments of modify_prot_start_ptes().
 * @vma: The virtual memory area the pages are mapped into.
 * @addr: Address the first page is mapped at.
 * @ptep: Page table pointer for the first entry.
 * @nr: Number of entries.
 *
 * Architectures that override the batch functions have to call this before they
 * touch an entry.  Without CONFIG_DEBUG_VM it is always true, at no cost.
 *
 * Context: The caller holds the page table lock.
 *
 * Return: False if the entries must not be touched.
 */
bool modify_prot_check_start(struct vm_area_struct *vma, unsigned long addr,
			     pte_t *ptep, unsigned int nr)
{
	unsigned long pfn;
	unsigned int i;

	if (!batch_is_sane(addr, nr))
		return false;

	pfn = pte_pfn(ptep_get(ptep));
	for (i = 0; i < nr; i++) {
		pte_t pte = ptep_get(ptep + i);

		if (WARN_ONCE(!pte_present(pte),
			      "pte protection transaction on non-present entry %u of %u\n",
			      i, nr))
			return false;
		WARN_ONCE(pte_pfn(pte) != pfn + i,
			  "pte protection transaction on pfn %lx, expected %lx\n",
			  (unsigned long)pte_pfn(pte), pfn + i);
	}
	return true;
}
EXPORT_SYMBOL_GPL(modify_prot_check_start);

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
 *
 * Return: False if the entries must not be touched.
 */
bool modify_prot_check_commit(struct vm_area_struct *vma, unsigned long addr,
			      pte_t *ptep, pte_t old_pte, pte_t pte,
			      unsigned int nr)
{
	unsigned long pfn;
	unsigned int i;

	if (!batch_is_sane(addr, nr))
		return false;

	/* modify_prot_start_ptes() has refused this batch, and has said so. */
	if (!pte_present(old_pte))
		return false;

	pfn = pte_pfn(old_pte);
	WARN_ONCE(!pte_present(pte) || pte_pfn(pte) != pfn,
		  "pte protection transaction changes pfn %lx to %lx\n",
		  pfn, (unsigned long)pte_pfn(pte));
	for (i = 0; i < nr; i++) {
		pte_t live = ptep_get(ptep + i);

		WARN_ONCE(!pte_none(live) && pte_pfn(live) != pfn + i,
			  "entry %u of %u changed under a pte protection transaction\n",
			  i, nr);
	}
	return true;
}
EXPORT_SYMBOL_GPL(modify_prot_check_commit);
