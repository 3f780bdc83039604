/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_X86_PGTABLE_MODIFY_PROT_H
#define _ASM_X86_PGTABLE_MODIFY_PROT_H

/*
 * Pte protection transactions, see <asm-generic/pgtable_modify_prot.h> for
 * their contract.
 *
 * The entries stay live between start and commit.  Hardware may set Accessed
 * and Dirty in them meanwhile, atomically.  A plain store over such an entry
 * loses nothing if
 *
 * - each of the two bits is set in the value to be written or, already, in the
 *   entry in memory; the software bit SavedDirty counts as Dirty; or
 * - the entry in memory is not present to hardware, which includes PROT_NONE:
 *   hardware does not set Dirty in such an entry and then let the write
 *   complete.  Clearing the entry at the start would need exactly the same.
 *
 * Nothing else is asked of hardware, neither of a CPU nor of an IOMMU that
 * walks the same page tables (SVA).  Setting Dirty need not check Write again:
 * hardware before shadow stack can (rarely) set Dirty on a Write=0 entry.  And
 * stray bits in an entry that is not present may get lost, see
 * _PAGE_KNL_ERRATUM_MASK.
 *
 * The *old* value decides nothing.  In a batch it was gathered from many
 * entries, so a single one need not have the bits that it has.
 *
 * What remains, mostly clean pages, takes native_modify_prot_commit_slow().
 *
 * 32-bit kernels use the generic transactions, because entries of PAE have two
 * words.
 */
#ifdef CONFIG_X86_64

#include <linux/modify_prot_check.h>

pte_t native_modify_prot_gather(pte_t pte, pte_t *ptep, unsigned int nr);
void native_modify_prot_commit_slow(pte_t *ptep, pte_t old_pte, pte_t pte);
void native_modify_prot_commit_ptes(pte_t *ptep, pte_t old_pte, pte_t pte,
				    unsigned int nr);

void xen_modify_prot_commit_ptes(pte_t *ptep, pte_t old_pte, pte_t pte,
				 unsigned int nr);

/* Would @pte absorb whatever hardware may do to the entry it is written to? */
static __always_inline bool pte_absorbs_accessed_dirty(pte_t pte)
{
	return (pte_flags(pte) & _PAGE_ACCESSED) &&
	       (pte_flags(pte) & _PAGE_DIRTY_BITS);
}

/* The page of the present entry @live, with the flags of @pte. */
static __always_inline pte_t pte_with_flags_of(pte_t live, pte_t pte)
{
	pteval_t frame = native_pte_val(live);

	/* PROT_NONE entries hold an inverted pfn. */
	if ((native_pte_val(live) ^ native_pte_val(pte)) & _PAGE_PRESENT)
		frame = ~frame;

	return native_make_pte((frame & PTE_PFN_MASK) | pte_flags(pte));
}

/*
 * The same by way of the pfn, which the entries of a Xen PV guest hold only if
 * they are not present to hardware.
 */
static __always_inline pte_t pte_pfn_with_flags(pte_t live, pteval_t flags)
{
	phys_addr_t pfn = PFN_PHYS(pte_pfn(live)) ^ protnone_mask(flags);

	return __pte((pfn & PTE_PFN_MASK) | flags);
}

/*
 * Takes the live entries off the accounts of CONFIG_PAGE_TABLE_CHECK before it
 * adds the new ones, so it comes ahead of the commit.
 */
static __always_inline
void modify_prot_account(struct mm_struct *mm, unsigned long addr, pte_t *ptep,
			 pte_t pte, unsigned int nr)
{
#ifdef CONFIG_PAGE_TABLE_CHECK
	unsigned int i;

	if (static_branch_likely(&page_table_check_disabled))
		return;

	for (i = 0; i < nr; i++, ptep++, addr += PAGE_SIZE)
		__page_table_check_ptes_set(mm, addr, ptep,
			pte_pfn_with_flags(READ_ONCE(*ptep), pte_flags(pte)), 1);
#endif
}

#define modify_prot_start_ptes modify_prot_start_ptes
static __always_inline
pte_t modify_prot_start_ptes(struct vm_area_struct *vma, unsigned long addr,
			     pte_t *ptep, unsigned int nr)
{
	pte_t pte = READ_ONCE(*ptep);

	modify_prot_check_start(vma, addr, ptep, nr);
	if (nr > 1)
		pte = native_modify_prot_gather(pte, ptep, nr);
	return pte;
}

/* Each entry keeps its page, which the live entry tells, and gets flags of @pte. */
static __always_inline
void modify_prot_commit(struct vm_area_struct *vma, unsigned long addr,
			pte_t *ptep, pte_t old_pte, pte_t pte, unsigned int nr)
{
	modify_prot_account(vma->vm_mm, addr, ptep, pte, nr);

	if (cpu_feature_enabled(X86_FEATURE_XENPV))
		xen_modify_prot_commit_ptes(ptep, old_pte, pte, nr);
	else if (nr == 1 && likely(pte_absorbs_accessed_dirty(pte)))
		native_set_pte(ptep, pte);
	else
		native_modify_prot_commit_ptes(ptep, old_pte, pte, nr);
}

#define modify_prot_commit_ptes modify_prot_commit_ptes
static __always_inline
void modify_prot_commit_ptes(struct vm_area_struct *vma, unsigned long addr,
			     pte_t *ptep, pte_t old_pte, pte_t pte,
			     unsigned int nr)
{
	modify_prot_check_commit(vma, addr, ptep, old_pte, pte, nr);
	modify_prot_commit(vma, addr, ptep, old_pte, pte, nr);
}

/* The start is a mere read. */
#define modify_prot_change_ptes modify_prot_change_ptes
static __always_inline
void modify_prot_change_ptes(struct vm_area_struct *vma, unsigned long addr,
			     pte_t *ptep, pte_t old_pte, pte_t pte,
			     unsigned int nr)
{
	modify_prot_check_change(vma, addr, ptep, old_pte, pte, nr);
	modify_prot_commit(vma, addr, ptep, old_pte, pte, nr);
}

static __always_inline bool pte_same_flags(pte_t a, pte_t b)
{
	return pte_flags(a) == pte_flags(b);
}

#define __HAVE_ARCH_PTEP_MODIFY_PROT_TRANSACTION
static inline
pte_t ptep_modify_prot_start(struct vm_area_struct *vma, unsigned long addr,
			     pte_t *ptep)
{
	return modify_prot_start_ptes(vma, addr, ptep, 1);
}

static inline
void ptep_modify_prot_commit(struct vm_area_struct *vma, unsigned long addr,
			     pte_t *ptep, pte_t old_pte, pte_t pte)
{
	modify_prot_commit_ptes(vma, addr, ptep, old_pte, pte, 1);
}

#endif /* CONFIG_X86_64 */

#endif /* _ASM_X86_PGTABLE_MODIFY_PROT_H */
