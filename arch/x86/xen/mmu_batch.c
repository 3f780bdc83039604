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
 * table lock is dropped.  ptep_clear_flush() and clear_flush_pte(), which have
 * both in one call, look for CPUs that were missed.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/preempt.h>

#include <trace/events/xen.h>

#include <asm/xen/page.h>

#include <xen/interface/xen.h>

#include "xen-ops.h"

#define MAX_RUN		32U	/* requests that are made with interrupts off */

DEFINE_PER_CPU(struct xen_pte_run, xen_pte_run);

/*
 * Most ptes come one behind the other.  All it takes to add one to a run is to
 * move its end.  Runs end at multiples of MAX_RUN, hence with the page table.
 *
 * A run that ends at @ptep is the caller's own: it was begun under the page table
 * lock, which is not dropped before the queue is flushed.  So lazy MMU mode is
 * active, or the caller is about to flush, and to the hypervisor the table is
 * pinned until then, although PagePinned may have been cleared already.  If an
 * interrupt flushes the queue meanwhile, there is no run anymore.  (Where bottom
 * halves are disabled, lazy MMU mode counts as not active, but nobody changes ptes
 * of user memory there.)
 */
static __always_inline bool add_to_run(pte_t *ptep, enum xen_pte_run_kind kind)
{
	unsigned long end = (unsigned long)ptep | kind;

	return !IS_ALIGNED((unsigned long)ptep, MAX_RUN * sizeof(*ptep)) &&
	       this_cpu_try_cmpxchg(xen_pte_run.end, &end, end + sizeof(*ptep));
}

/* To be called with preemption disabled, as is xen_mc_flush(). */
static void queue_pte(pte_t *ptep, enum xen_pte_run_kind kind)
{
	unsigned long flags;

	if (add_to_run(ptep, kind))
		return;

	if (xen_pte_run_pending()) {
		local_irq_save(flags);
		xen_pte_run_end();
		local_irq_restore(flags);
	}
	/* For interrupts there is no run until it has an end. */
	this_cpu_write(xen_pte_run.first, ptep);
	this_cpu_write(xen_pte_run.end, (unsigned long)(ptep + 1) | kind);
}

static __always_inline pte_t changed_pte(pte_t *ptep, bool wrprotect)
{
	return wrprotect ? pte_wrprotect(READ_ONCE(*ptep)) : native_make_pte(0);
}

static void trace_run(pte_t *ptep, pte_t *end, bool wrprotect)
{
	for (; ptep != end; ptep++)
		trace_xen_mmu_set_pte(ptep, changed_pte(ptep, wrprotect));
}

/**
 * __xen_pte_run_end - Queue requests for the ptes of a run.
 *
 * A write-protected entry is the live one as it is now, without write permission.
 * The page table lock is held since it joined the run, so it is the same, apart
 * from Accessed and Dirty.
 *
 * Context: There is a run on this CPU, and interrupts are off.
 */
void __xen_pte_run_end(void)
{
	struct xen_pte_run *run = this_cpu_ptr(&xen_pte_run);
	const bool wrprotect = run->end & XEN_PTE_RUN_WRPROTECT;
	pte_t *ptep = run->first;
	pte_t *end = (pte_t *)(run->end & ~XEN_PTE_RUN_WRPROTECT);
	u64 ptr = virt_to_machine(ptep).maddr;

	ptr |= wrprotect ? MMU_PT_UPDATE_PRESERVE_AD : MMU_NORMAL_PT_UPDATE;
	/* Making room may flush the queue, and so may a probe. */
	run->end = 0;
	if (trace_xen_mmu_set_pte_enabled())
		trace_run(ptep, end, wrprotect);
	while (ptep != end) {
		unsigned int room = end - ptep;
		struct mmu_update *u = xen_mc_mmu_update(&room);

		for (; room; room--, u++, ptep++, ptr += sizeof(*ptep)) {
			u->ptr = ptr;
			u->val = native_pte_val(changed_pte(ptep, wrprotect));
		}
	}
}

/*
 * Whether a marker may take the place of @pte before its request is issued, and
 * CONFIG_PAGE_TABLE_CHECK would find @pte mapped still and account for it twice.
 * In an entry that is not present the bit belongs to a swap offset.
 */
static __always_inline bool marker_may_follow(pte_t pte)
{
	return IS_ENABLED(CONFIG_PAGE_TABLE_CHECK) && pte_uffd(pte) &&
	       pte_present(pte);
}

/**
 * xen_clear_ptes - Clear ptes.
 * @ptep: Page table pointer for the first entry.
 * @nr: Number of entries, all in one page table.
 *
 * For entries to which hardware can do nothing more that anybody needs, see
 * <asm/pgtable_batch.h>: what it does before the request is executed, is lost.
 *
 * The requests are queued in lazy MMU mode, when their run ends, and issued at
 * once otherwise.  With CONFIG_PAGE_TABLE_CHECK they are also issued at once if an
 * entry is marked for userfaultfd.
 *
 * Context: The caller holds the page table lock.
 */
void xen_clear_ptes(pte_t *ptep, unsigned int nr)
{
	bool at_once;

	if (nr == 1 && !marker_may_follow(READ_ONCE(*ptep)) &&
	    add_to_run(ptep, XEN_PTE_RUN_CLEAR))
		return;

	if (!xen_page_pinned(ptep)) {
		native_clear_ptes(ptep, nr);
		return;
	}

	at_once = !is_lazy_mmu_mode_active();
	preempt_disable();
	for (; nr; nr--, ptep++) {
		at_once |= marker_may_follow(READ_ONCE(*ptep));
		queue_pte(ptep, XEN_PTE_RUN_CLEAR);
	}
	if (at_once)
		xen_mc_flush();
	preempt_enable();
}

/**
 * xen_wrprotect_ptes - Write-protect present ptes.
 * @ptep: Page table pointer for the first entry.
 * @nr: Number of entries, all in one page table.
 *
 * The requests are queued in lazy MMU mode, when their run ends, and issued at
 * once otherwise.  The hypervisor writes each entry together with the accessed and
 * dirty bits that it finds set, atomically.  This may leave Write=0,Dirty=1 behind,
 * which to a PV guest is merely a dirty entry, as PV guests have no shadow stacks.
 *
 * Context: The caller holds the page table lock.
 */
void xen_wrprotect_ptes(pte_t *ptep, unsigned int nr)
{
	if (nr == 1 && add_to_run(ptep, XEN_PTE_RUN_WRPROTECT))
		return;

	if (!xen_page_pinned(ptep)) {
		native_wrprotect_ptes(ptep, nr);
		return;
	}

	preempt_disable();
	for (; nr; nr--, ptep++) {
		if (pte_write(READ_ONCE(*ptep)))
			queue_pte(ptep, XEN_PTE_RUN_WRPROTECT);
	}
	if (!is_lazy_mmu_mode_active())
		xen_mc_flush();
	preempt_enable();
}
