/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_MODIFY_PROT_CHECK_H
#define _LINUX_MODIFY_PROT_CHECK_H

#include <linux/mm_types.h>

/*
 * CONFIG_DEBUG_VM checks of pte protection transactions.  In a header of its
 * own for the sake of <asm/pgtable.h>, which <linux/pgtable.h> includes first.
 */
#ifdef CONFIG_DEBUG_VM
bool modify_prot_check_start(struct vm_area_struct *vma, unsigned long addr,
			     pte_t *ptep, unsigned int nr);
bool modify_prot_check_commit(struct vm_area_struct *vma, unsigned long addr,
			      pte_t *ptep, pte_t old_pte, pte_t pte,
			      unsigned int nr);
#else
static inline bool modify_prot_check_start(struct vm_area_struct *vma,
					   unsigned long addr, pte_t *ptep,
					   unsigned int nr)
{
	return true;
}

static inline bool modify_prot_check_commit(struct vm_area_struct *vma,
					    unsigned long addr, pte_t *ptep,
					    pte_t old_pte, pte_t pte,
					    unsigned int nr)
{
	return true;
}
#endif

#endif /* _LINUX_MODIFY_PROT_CHECK_H */
