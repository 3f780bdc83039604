// SPDX-License-Identifier: GPL-2.0
/*
 * Pte protection transactions in a Xen PV guest.
 *
 * The start of a transaction only reads, as on bare metal.  The commit has the
 * hypervisor change the entries, with MMU_PT_UPDATE_PRESERVE_AD: it writes each
 * value together with the accessed and dirty bits that it finds set in the
 * entry, atomically.  The entries become consecutive requests of mmu_update
 * calls.  In lazy MMU mode so do those of consecutive transactions, until the
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
 * Return the entry for the page that @live maps, with the flags of @pte.  An
 * entry that is present to hardware holds an mfn, a PROT_NONE entry an inverted
 * pfn.
 */
static __always_inline pte_t xen_pte_with_flags_of(pte_t live, pte_t pte)
{
	pteval_t flags = pte_flags(pte);

	if (likely(flags & native_pte_val(live) & _PAGE_PRESENT))
		return native_make_pte((native_pte_val(live) & PTE_PFN_MASK) |
				       flags);

	return pte_pfn_with_flags(live, flags);
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
	preempt_disable();
	xen_mc_flush();
	preempt_enable();

	for (; nr; nr--, ptep++) {
		pte = xen_pte_with_flags_of(READ_ONCE(*ptep), pte);
		native_modify_prot_commit_slow(ptep, old_pte, pte);
	}
}

/**
 * xen_modify_prot_commit_ptes - Commit to entries, each keeps its page.
 * @ptep: Page table pointer for the first entry.
 * @old_pte: What the start of the transaction returned.
 * @pte: New page table entry to be set, for the first entry.
 * @nr: Number of entries.
 *
 * This queues the updates in lazy MMU mode, and issues them at once otherwise.
 * If the hypervisor refuses one, xen_mc_flush() warns.
 *
 * Context: The caller has held the page table lock since the start.
 */
void xen_modify_prot_commit_ptes(pte_t *ptep, pte_t old_pte, pte_t pte,
				 unsigned int nr)
{
	u64 ptr = virt_to_machine(ptep).maddr | MMU_PT_UPDATE_PRESERVE_AD;

	trace_xen_mmu_modify_prot_commit(ptep, old_pte, pte, nr);

	if (unlikely(clears_accessed_dirty(old_pte, pte))) {
		clear_accessed_dirty(ptep, old_pte, pte, nr);
		return;
	}

	/* Interrupts are off for as many requests as one call takes. */
	while (nr) {
		struct mmu_update *u, *end;
		unsigned int room = nr;

		xen_mc_batch();
		u = xen_mc_mmu_update(&room);
		nr -= room;
		for (end = u + room; u != end; u++, ptep++, ptr += sizeof(*ptep)) {
			u->ptr = ptr;
			u->val = pte_val_ma(xen_pte_with_flags_of(
						READ_ONCE(*ptep), pte));
		}
		xen_mc_issue(!is_lazy_mmu_mode_active());
	}
}
