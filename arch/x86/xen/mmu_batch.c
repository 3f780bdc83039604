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
#define MAX_REQUESTS	32U

DEFINE_PER_CPU(struct xen_pte_run, xen_pte_run);

/*
 * zap and fork come with one pte after the other, unless folios are large.  All
 * it takes to add one to a run is to move its end.
 *
 * A run that ends at @ptep is the caller's own: it was begun under the page table
 * lock, which is not dropped before the queue is flushed.  So the table is pinned,
 * and lazy MMU mode active.  If an interrupt flushes the queue meanwhile, there is
 * no run anymore.
 */
static __always_inline bool add_to_run(pte_t *ptep, enum xen_pte_run_kind kind)
{
	unsigned long end = (unsigned long)ptep | kind;

	return end < this_cpu_read(xen_pte_run.limit) &&
	       this_cpu_try_cmpxchg(xen_pte_run.end, &end, end + sizeof(*ptep));
}

static void begin_run(pte_t *ptep, enum xen_pte_run_kind kind)
{
	unsigned long end = (unsigned long)(ptep + 1);
	unsigned long flags;

	local_irq_save(flags);
	xen_pte_run_end();
	this_cpu_write(xen_pte_run.first, ptep);
	this_cpu_write(xen_pte_run.limit,
		       min(end + (MAX_REQUESTS - 1) * sizeof(*ptep),
			   PAGE_ALIGN(end)));
	this_cpu_write(xen_pte_run.end, end | kind);
	local_irq_restore(flags);
}

/**
 * __xen_pte_run_end - Queue requests for the ptes of a run.
 *
 * A write-protected entry is what the live one is now, without write permission:
 * nobody but the caller of xen_wrprotect_ptes() may have changed it since.
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
	/* Making room may flush the queue. */
	run->end = 0;
	while (ptep != end) {
		unsigned int room = end - ptep;
		struct mmu_update *u = xen_mc_mmu_update(&room);

		for (; room; room--, u++, ptep++, ptr += sizeof(*ptep)) {
			pte_t pte = native_make_pte(0);

			if (wrprotect)
				pte = pte_wrprotect(READ_ONCE(*ptep));
			trace_xen_mmu_set_pte(ptep, pte);
			u->ptr = ptr;
			u->val = native_pte_val(pte);
		}
	}
}

static void clear_batch(pte_t *ptep, unsigned int nr)
{
	u64 ptr = virt_to_machine(ptep).maddr | MMU_NORMAL_PT_UPDATE;

	while (nr) {
		unsigned int room = min(nr, MAX_REQUESTS);
		struct mmu_update *u, *end;
		bool uffd = false;

		xen_mc_batch();
		u = xen_mc_mmu_update(&room);
		nr -= room;
		for (end = u + room; u != end; u++, ptep++, ptr += sizeof(*ptep)) {
			trace_xen_mmu_set_pte(ptep, native_make_pte(0));
			uffd |= pte_uffd(READ_ONCE(*ptep));
			u->ptr = ptr;
			u->val = 0;
		}
		xen_mc_issue(uffd || !is_lazy_mmu_mode_active());
	}
}

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
	const bool single = nr == 1 && !pte_uffd(READ_ONCE(*ptep));

	if (single && add_to_run(ptep, XEN_PTE_RUN_CLEAR))
		return;

	if (!xen_page_pinned(ptep))
		native_clear_ptes(ptep, nr);
	else if (single && is_lazy_mmu_mode_active())
		begin_run(ptep, XEN_PTE_RUN_CLEAR);
	else
		clear_batch(ptep, nr);
}

static void wrprotect_batch(pte_t *ptep, unsigned int nr)
{
	u64 maddr = virt_to_machine(ptep).maddr | MMU_PT_UPDATE_PRESERVE_AD;
	struct mmu_update u;
	unsigned int i, end;

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
	if (nr == 1 && !pte_write(READ_ONCE(*ptep)))
		return;

	if (nr == 1 && add_to_run(ptep, XEN_PTE_RUN_WRPROTECT))
		return;

	if (!xen_page_pinned(ptep))
		native_wrprotect_ptes(ptep, nr);
	else if (nr == 1 && is_lazy_mmu_mode_active())
		begin_run(ptep, XEN_PTE_RUN_WRPROTECT);
	else
		wrprotect_batch(ptep, nr);
}
