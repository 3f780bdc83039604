/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_MODIFY_PROT_CHECK_H
#define _LINUX_MODIFY_PROT_CHECK_H

#include <linux/mm_types.h>

/*
 * CONFIG_DEBUG_VM checks of pte protection transactions.  They have a header of
 * their own, because <asm/pgtable.h> needs them, which <linux/pgtable.h>
 * includes before it declares anything.
 */
#ifdef CONFIG_DEBUG_VM
void modify_prot_check_start(struct vm_area_struct *vma, unsigned long addr,
			     pte_t *ptep, unsigned int nr);
void modify_prot_check_commit(struct vm_area_struct *vma, unsigned long addr,
			      pte_t *ptep, pte_t old_pte, pte_t pte,
			      unsigned int nr);
void modify_prot_check_change(struct vm_area_struct *vma, unsigned long addr,
			      pte_t *ptep, pte_t old_pte, pte_t pte,
			      unsigned int nr);
#else
static inline void modify_prot_check_start(struct vm_area_struct *vma,
					   unsigned long addr, pte_t *ptep,
					   unsigned int nr)
{
}

static inline void modify_prot_check_commit(struct vm_area_struct *vma,
					    unsigned long addr, pte_t *ptep,
					    pte_t old_pte, pte_t pte,
					    unsigned int nr)
{
}

static inline void modify_prot_check_change(struct vm_area_struct *vma,
					    unsigned long addr, pte_t *ptep,
					    pte_t old_pte, pte_t pte,
					    unsigned int nr)
{
}
#endif

#endif /* _LINUX_MODIFY_PROT_CHECK_H */
