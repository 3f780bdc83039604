/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_X86_PGTABLE_BATCH_H
#define _ASM_X86_PGTABLE_BATCH_H

/*
 * What zap, fork and copy-on-write do to present ptes, without locked instructions.
 *
 * All that hardware does to a pte is to set Accessed and Dirty.  There is
 * nothing that it could still do, and that anybody needs, to a pte
 *  - that has both set already.  The software bit SavedDirty counts as Dirty,
 *  - that is not present to hardware, which includes PROT_NONE,
 *  - whose two bits the caller has no use for.
 * So a plain store loses nothing there, and takes the place of xchg and cmpxchg.
 *
 * This asks of hardware that it does not set Dirty in a pte that is not present
 * and then lets the write complete; clearing by xchg depends on the same.  That
 * a stray Accessed or Dirty may land in a pte that was just cleared is known,
 * and pte_none() ignores them.
 *
 * 32-bit ptes may be two words wide (PAE).  32-bit kernels use the generic
 * functions.
 */
#ifdef CONFIG_X86_64

void native_wrprotect_pte_slow(pte_t *ptep);

static __always_inline bool pte_accessed_dirty(pte_t pte)
{
	return (pte_flags(pte) & _PAGE_ACCESSED) &&
	       (pte_flags(pte) & _PAGE_DIRTY_BITS);
}

/* Is there nothing left that hardware could set in the live @pte? */
static __always_inline bool pte_hw_done(pte_t pte)
{
	return likely(pte_accessed_dirty(pte)) ||
	       !(pte_flags(pte) & _PAGE_PRESENT);
}

static __always_inline void native_clear_ptes(pte_t *ptep, unsigned int nr)
{
	for (;;) {
		native_set_pte(ptep, native_make_pte(0));
		if (--nr == 0)
			break;
		ptep++;
	}
}

/* What pte_wrprotect() makes of a dirty @pte: dirty is SavedDirty then. */
static __always_inline pte_t pte_wrprotect_dirty(pte_t pte)
{
	pteval_t val = native_pte_val(pte) & ~(_PAGE_RW | _PAGE_DIRTY);

	return native_make_pte(val | _PAGE_SAVED_DIRTY);
}

static __always_inline void native_wrprotect_ptes(pte_t *ptep, unsigned int nr)
{
	for (;;) {
		pte_t pte = READ_ONCE(*ptep);

		if (likely(pte_accessed_dirty(pte)))
			native_set_pte(ptep, pte_wrprotect_dirty(pte));
		else
			native_wrprotect_pte_slow(ptep);
		if (--nr == 0)
			break;
		ptep++;
	}
}

/*
 * Where the hypervisor updates page tables, in Xen PV guests, it may do so no
 * earlier than lazy MMU mode is left.
 */
static __always_inline void pv_clear_ptes(pte_t *ptep, unsigned int nr)
{
#ifdef CONFIG_PARAVIRT_XXL
	if (cpu_feature_enabled(X86_FEATURE_XENPV)) {
		PVOP_VCALL2(pv_ops, mmu.clear_ptes, ptep, nr);
		return;
	}
#endif
	native_clear_ptes(ptep, nr);
}

static __always_inline void pv_wrprotect_ptes(pte_t *ptep, unsigned int nr)
{
#ifdef CONFIG_PARAVIRT_XXL
	if (cpu_feature_enabled(X86_FEATURE_XENPV)) {
		PVOP_VCALL2(pv_ops, mmu.wrprotect_ptes, ptep, nr);
		return;
	}
#endif
	native_wrprotect_ptes(ptep, nr);
}

#define clear_full_ptes clear_full_ptes
static __always_inline
void clear_full_ptes(struct mm_struct *mm, unsigned long addr, pte_t *ptep,
		     unsigned int nr, int full)
{
	unsigned int i;

	if (IS_ENABLED(CONFIG_PAGE_TABLE_CHECK)) {
		for (i = 0; i < nr; i++)
			page_table_check_pte_clear(mm, addr + i * PAGE_SIZE,
						   READ_ONCE(ptep[i]));
	}

	/* The page tables of an mm that is torn down are nobody else's. */
	if (full)
		native_clear_ptes(ptep, nr);
	else
		pv_clear_ptes(ptep, nr);
}

/* As ptep_get_and_clear_full(), which it leaves to do what takes an xchg. */
static __always_inline
pte_t get_and_clear_full_pte(struct mm_struct *mm, unsigned long addr,
			     pte_t *ptep, int full)
{
	pte_t pte = READ_ONCE(*ptep);

	if (full || unlikely(!pte_hw_done(pte)))
		return ptep_get_and_clear_full(mm, addr, ptep, full);

	page_table_check_pte_clear(mm, addr, pte);
	pv_clear_ptes(ptep, 1);
	return pte;
}

#define get_and_clear_full_ptes get_and_clear_full_ptes
static __always_inline
pte_t get_and_clear_full_ptes(struct mm_struct *mm, unsigned long addr,
			      pte_t *ptep, unsigned int nr, int full)
{
	pte_t pte, tmp_pte;

	pte = get_and_clear_full_pte(mm, addr, ptep, full);
	while (--nr) {
		ptep++;
		addr += PAGE_SIZE;
		tmp_pte = get_and_clear_full_pte(mm, addr, ptep, full);
		if (pte_dirty(tmp_pte))
			pte = pte_mkdirty(pte);
		if (pte_young(tmp_pte))
			pte = pte_mkyoung(pte);
	}
	return pte;
}

#define __HAVE_ARCH_PTEP_CLEAR_FLUSH
pte_t ptep_clear_flush(struct vm_area_struct *vma, unsigned long address,
		       pte_t *ptep);

#define clear_flush_pte clear_flush_pte
void clear_flush_pte(struct vm_area_struct *vma, unsigned long address,
		     pte_t *ptep);

#define wrprotect_ptes wrprotect_ptes
static __always_inline
void wrprotect_ptes(struct mm_struct *mm, unsigned long addr, pte_t *ptep,
		    unsigned int nr)
{
	pv_wrprotect_ptes(ptep, nr);
}

#endif /* CONFIG_X86_64 */

#endif /* _ASM_X86_PGTABLE_BATCH_H */
