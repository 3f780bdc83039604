// SPDX-License-Identifier: GPL-2.0
/*
 * What zap and fork do to present ptes, in a Xen PV guest.
 *
 * On bare metal these are plain stores.  A page table in use is mapped
 * read-only, so here each of them would trap into the hypervisor, to be
 * emulated.  An mmu_update request costs less, and in lazy MMU mode many of
 * them share one hypercall.
 *
 * Until the queue is flushed the entries remain as they were: hardware, and
 * whoever reads page tables without their lock, still find the pages.  That is
 * no different from TLB entries that have not been flushed yet, and ends no
 * later, as lazy MMU mode is left before the TLB is flushed and before the page
 * table lock is dropped.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>

#include <trace/events/xen.h>

#include <asm/xen/page.h>

#include <xen/interface/xen.h>

#include "xen-ops.h"

/* Requests that are made with interrupts off, before there is a chance for one. */
#define MAX_REQUESTS	32

/**
 * xen_clear_ptes - Clear present ptes.
 * @ptep: Page table pointer for the first entry.
 * @nr: Number of entries, all in one page table.
 *
 * For entries to which hardware can do nothing more that anybody needs, see
 * <asm/pgtable_batch.h>: what it does before the request is executed, is lost.
 *
 * The requests are queued in lazy MMU mode, and issued at once otherwise.  If
 * one of the entries is marked for userfaultfd they are always issued at once,
 * because the caller may put a marker in its place, in the same section, and
 * CONFIG_PAGE_TABLE_CHECK would find it mapped still, and account for it twice.
 *
 * Context: The caller holds the page table lock.
 */
void xen_clear_ptes(pte_t *ptep, unsigned int nr)
{
	struct mmu_update u = { .val = 0 };
	unsigned int i, end;
	bool uffd = false;

	if (!xen_page_pinned(ptep)) {
		native_clear_ptes(ptep, nr);
		return;
	}

	u.ptr = virt_to_machine(ptep).maddr | MMU_NORMAL_PT_UPDATE;
	for (i = 0; i < nr; ) {
		end = min(nr, i + MAX_REQUESTS);

		xen_mc_batch();
		for (; i < end; i++, u.ptr += sizeof(*ptep)) {
			trace_xen_mmu_set_pte(ptep + i, native_make_pte(0));
			uffd |= pte_uffd(READ_ONCE(ptep[i]));
			xen_extend_mmu_update(&u);
		}
		xen_mc_issue(uffd || !is_lazy_mmu_mode_active());
	}
}

/**
 * xen_wrprotect_ptes - Write-protect present ptes.
 * @ptep: Page table pointer for the first entry.
 * @nr: Number of entries, all in one page table.
 *
 * The requests are queued in lazy MMU mode, and issued at once otherwise.  The
 * hypervisor writes each entry together with the accessed and dirty bits that
 * it finds set, atomically.  This may leave Write=0,Dirty=1 behind, which to a
 * PV guest is merely a dirty entry, as PV guests have no shadow stacks.
 *
 * Context: The caller holds the page table lock.
 */
void xen_wrprotect_ptes(pte_t *ptep, unsigned int nr)
{
	struct mmu_update u;
	unsigned int i, end;
	u64 maddr;

	if (!xen_page_pinned(ptep)) {
		native_wrprotect_ptes(ptep, nr);
		return;
	}

	maddr = virt_to_machine(ptep).maddr | MMU_PT_UPDATE_PRESERVE_AD;
	for (i = 0; i < nr; ) {
		end = min(nr, i + MAX_REQUESTS);

		xen_mc_batch();
		for (; i < end; i++) {
			pte_t pte = READ_ONCE(ptep[i]);

			if (!pte_write(pte))
				continue;

			pte = pte_wrprotect(pte);
			trace_xen_mmu_set_pte(ptep + i, pte);
			u.ptr = maddr + i * sizeof(*ptep);
			u.val = native_pte_val(pte);
			xen_extend_mmu_update(&u);
		}
		xen_mc_issue(!is_lazy_mmu_mode_active());
	}
}
