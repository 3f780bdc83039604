// SPDX-License-Identifier: GPL-2.0
/*
 * Pte protection transactions in a Xen PV guest.
 *
 * The start of a transaction only reads, as on bare metal.  The commit has the
 * hypervisor change the entries, with MMU_PT_UPDATE_PRESERVE_AD: it writes each
 * value together with the accessed and dirty bits that it finds set in the
 * entry, atomically.  A whole batch becomes consecutive requests of one
 * mmu_update call.  In lazy MMU mode so do consecutive batches, until the
 * section ends or the per-CPU buffer is full.
 *
 * Preserving Dirty may leave Write=0,Dirty=1 behind, as hardware before shadow
 * stacks does on bare metal.  PV guests have no shadow stacks.  To them such an
 * entry is merely dirty, like one with SavedDirty.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/preempt.h>

#include <trace/events/xen.h>

#include <asm/xen/page.h>

#include <xen/interface/xen.h>

#include "xen-ops.h"

/*
 * Does the caller want a bit cleared that the hypervisor would preserve?
 * Either of the two dirty bits makes an entry dirty.
 */
static bool clears_accessed_dirty(pte_t old_pte, pte_t pte)
{
	return (pte_young(old_pte) && !pte_young(pte)) ||
	       (pte_dirty(old_pte) && !pte_dirty(pte));
}

/*
 * Return the value of the next entry of a batch.  An entry that stays present
 * keeps its frame number, so that need not be looked up in the p2m.
 */
static pte_t next_pte(pte_t pte, const pte_t *ptep, pte_t old_pte, unsigned int i)
{
	pteval_t flags = native_pte_val(pte) & ~XEN_PTE_MFN_MASK;
	pte_t live = READ_ONCE(ptep[i]);

	if (!(flags & _PAGE_PRESENT))
		return native_make_pte(native_pte_val(pte) -
				       (1UL << PFN_PTE_SHIFT));

	if (pte_flags(live) & _PAGE_PRESENT)
		return native_make_pte((native_pte_val(live) &
					XEN_PTE_MFN_MASK) | flags);

	return mfn_pte(pfn_to_mfn(pte_pfn(old_pte) + i), __pgprot(flags));
}

/*
 * No mmu_update request clears some bits and preserves others, so do as on bare
 * metal: the hypervisor emulates stores and cmpxchg to page tables.  That is
 * slow, but only mapping_dirty_helpers.c clears bits.  What is queued may be
 * for the same entries, so it has to get there first.
 */
static noinline void clear_accessed_dirty(pte_t *ptep, pte_t old_pte, pte_t pte,
					  unsigned int nr)
{
	unsigned int i;

	preempt_disable();
	xen_mc_flush();
	preempt_enable();

	for (i = 0; ; ) {
		native_modify_prot_commit_slow(ptep + i, old_pte, pte);
		if (++i == nr)
			break;
		pte = next_pte(pte, ptep, old_pte, i);
	}
}

/*
 * Queue a batch in as many portions as it takes, and remember the page table
 * for the batches that follow.
 */
static noinline void queue_batch(pte_t *ptep, pte_t old_pte, pte_t pte,
				 unsigned int nr)
{
	const u64 maddr = virt_to_machine(ptep).maddr;
	struct xen_mc_requests *r;
	struct mmu_update *u;
	unsigned int i, room = 0;

	for (i = 0; i < nr; i++, u++, room--) {
		if (!room) {
			room = nr - i;
			u = xen_mc_mmu_update(&room);
		}
		if (i)
			pte = next_pte(pte, ptep, old_pte, i);

		u->ptr = (maddr + i * sizeof(*ptep)) | MMU_PT_UPDATE_PRESERVE_AD;
		u->val = native_pte_val(pte);
	}

	r = this_cpu_ptr(&xen_mc_requests);
	r->table = (unsigned long)ptep & PAGE_MASK;
	r->table_maddr = maddr & PAGE_MASK;
}

/**
 * xen_modify_prot_commit_ptes - Commit to a batch of entries.
 * @vma: The virtual memory area the pages are mapped into.
 * @addr: Address the first page is mapped at.
 * @ptep: Page table pointer for the first entry.
 * @old_pte: What modify_prot_start_ptes() returned for the first entry.
 * @pte: New page table entry to be set, for the first entry.
 * @nr: Number of entries.
 *
 * This queues the updates in lazy MMU mode, and issues them at once otherwise.
 * If the hypervisor rejects one, xen_mc_flush() warns.
 *
 * Context: The caller has held the page table lock since the start.
 */
void xen_modify_prot_commit_ptes(struct vm_area_struct *vma, unsigned long addr,
				 pte_t *ptep, pte_t old_pte, pte_t pte,
				 unsigned int nr)
{
	struct xen_mc_requests *r;
	struct mmu_update *u = NULL;

	trace_xen_mmu_modify_prot_commit(vma->vm_mm, addr, ptep, old_pte, pte,
					 nr);

	if (unlikely(clears_accessed_dirty(old_pte, pte))) {
		clear_accessed_dirty(ptep, old_pte, pte, nr);
		return;
	}

	xen_mc_batch();

	r = this_cpu_ptr(&xen_mc_requests);
	if (likely(nr == 1))
		u = xen_mc_next_request(r, (unsigned long)ptep & PAGE_MASK);
	if (likely(u)) {
		u->ptr = (r->table_maddr + offset_in_page(ptep)) |
			 MMU_PT_UPDATE_PRESERVE_AD;
		u->val = native_pte_val(pte);
	} else {
		queue_batch(ptep, old_pte, pte, nr);
	}

	xen_mc_issue(!is_lazy_mmu_mode_active());
}
