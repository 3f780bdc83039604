// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of MMU_NOTIFIER_USE_CHANGE_PTE and set_pte_at_notify().  Their
 * rules are in <linux/mmu_notifier.h>.
 *
 * Each test has an mm of its own with two subscribers, one with ->change_pte()
 * and one without.  Some have a second one with ->change_pte().  All log what
 * they are told about a page, or two.
 */
#include <kunit/test.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>
#include <linux/shmem_fs.h>
#include <linux/uaccess.h>

#include "../internal.h"

enum event_type {
	START,
	CHANGE,
	END,
};

struct event {
	enum event_type type;
	bool has_change_pte;	/* which of the two subscribers */
	bool second;		/* CHANGE: the second one with ->change_pte() */
	bool flagged;		/* START, END: MMU_NOTIFIER_USE_CHANGE_PTE */
	unsigned long addr;	/* CHANGE */
	bool none;		/* CHANGE: nothing in the page table */
	bool locked;		/* CHANGE: page table lock held */
	pte_t old, new;
};

#define MAX_EVENTS	16

struct change_pte_test {
	struct mm_struct *mm;
	unsigned long addr;
	struct mmu_notifier with;
	struct mmu_notifier second;
	struct mmu_notifier without;
	bool keeps;		/* what they return from START, if flagged */
	bool second_keeps;
	struct event log[MAX_EVENTS];
	unsigned int nr;
};

static struct event *log_event(struct change_pte_test *t, enum event_type type,
			       bool has_change_pte)
{
	static struct event overflow;
	struct event *event = &overflow;

	if (t->nr < MAX_EVENTS)
		event = &t->log[t->nr];
	t->nr++;

	*event = (struct event) {
		.type = type,
		.has_change_pte = has_change_pte,
	};
	return event;
}

static void log_range(struct change_pte_test *t, enum event_type type,
		      bool has_change_pte, const struct mmu_notifier_range *range)
{
	if (t->addr < range->start || t->addr >= range->end)
		return;

	log_event(t, type, has_change_pte)->flagged =
		mmu_notifier_range_use_change_pte(range);
}

static int with_start(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	struct change_pte_test *t = container_of(mn, struct change_pte_test, with);

	log_range(t, START, true, range);
	return t->keeps && mmu_notifier_range_use_change_pte(range) ?
	       MMU_NOTIFIER_KEPT : 0;
}

static void with_end(struct mmu_notifier *mn,
		     const struct mmu_notifier_range *range)
{
	log_range(container_of(mn, struct change_pte_test, with), END, true,
		  range);
}

static void log_change(struct change_pte_test *t, bool second,
		       const struct mmu_notifier_range *range,
		       unsigned long address, pte_t old, pte_t new)
{
	struct event *event;
	pmd_t *pmd;
	pte_t *ptep;

	if (range->mm != t->mm || address < t->addr ||
	    address >= t->addr + 2 * PAGE_SIZE)
		return;

	event = log_event(t, CHANGE, true);
	event->second = second;
	event->addr = address;
	event->old = old;
	event->new = new;

	pmd = mm_find_pmd(range->mm, address);
	ptep = pmd ? pte_offset_map(pmd, address) : NULL;
	if (!ptep)
		return;

	event->none = pte_none(ptep_get(ptep));
	event->locked = !IS_ENABLED(CONFIG_SMP) ||
			spin_is_locked(pte_lockptr(range->mm, pmd));
	pte_unmap(ptep);
}

static void with_change_pte(struct mmu_notifier *mn,
			    const struct mmu_notifier_range *range,
			    unsigned long address, pte_t old, pte_t new)
{
	log_change(container_of(mn, struct change_pte_test, with), false,
		   range, address, old, new);
}

static int second_start(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	struct change_pte_test *t = container_of(mn, struct change_pte_test, second);

	return t->second_keeps && mmu_notifier_range_use_change_pte(range) ?
	       MMU_NOTIFIER_KEPT : 0;
}

static void second_end(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
}

static void second_change_pte(struct mmu_notifier *mn,
			      const struct mmu_notifier_range *range,
			      unsigned long address, pte_t old, pte_t new)
{
	log_change(container_of(mn, struct change_pte_test, second), true,
		   range, address, old, new);
}

static int impudent_start(struct mmu_notifier *mn,
			  const struct mmu_notifier_range *range)
{
	return MMU_NOTIFIER_KEPT;
}

static int without_start(struct mmu_notifier *mn,
			 const struct mmu_notifier_range *range)
{
	log_range(container_of(mn, struct change_pte_test, without), START,
		  false, range);
	return 0;
}

static void without_end(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	log_range(container_of(mn, struct change_pte_test, without), END,
		  false, range);
}

static const struct mmu_notifier_ops with_ops = {
	.invalidate_range_start	= with_start,
	.invalidate_range_end	= with_end,
	.change_pte		= with_change_pte,
};

static const struct mmu_notifier_ops second_ops = {
	.invalidate_range_start	= second_start,
	.invalidate_range_end	= second_end,
	.change_pte		= second_change_pte,
};

/* Keeps what it was not allowed to keep. */
static const struct mmu_notifier_ops impudent_ops = {
	.invalidate_range_start	= impudent_start,
	.invalidate_range_end	= second_end,
	.change_pte		= second_change_pte,
};

static const struct mmu_notifier_ops without_ops = {
	.invalidate_range_start	= without_start,
	.invalidate_range_end	= without_end,
};

static const struct mmu_notifier_ops incomplete_ops = {
	.invalidate_range_start	= with_start,
	.change_pte		= with_change_pte,
};

static void unregister(void *mn)
{
	mmu_notifier_unregister(mn, ((struct mmu_notifier *)mn)->mm);
}

/* Map two private pages, of @file or anonymous, and subscribe to the mm. */
static struct change_pte_test *setup(struct kunit *test, struct file *file)
{
	struct change_pte_test *t;

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);

	t->addr = kunit_vm_mmap(test, file, 0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | (file ? 0 : MAP_ANONYMOUS), 0);
	KUNIT_ASSERT_NE(test, t->addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(t->addr));

	t->mm = current->mm;
	t->keeps = true;
	t->with.ops = &with_ops;
	t->without.ops = &without_ops;
	KUNIT_ASSERT_EQ(test, mmu_notifier_register(&t->with, t->mm), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, unregister, &t->with), 0);
	KUNIT_ASSERT_EQ(test, mmu_notifier_register(&t->without, t->mm), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, unregister, &t->without), 0);

	return t;
}

static void add_second(struct kunit *test, struct change_pte_test *t,
		       const struct mmu_notifier_ops *ops)
{
	t->second.ops = ops;
	KUNIT_ASSERT_EQ(test, mmu_notifier_register(&t->second, t->mm), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, unregister, &t->second), 0);
}

static void read_fault(struct kunit *test, struct change_pte_test *t)
{
	u8 byte __maybe_unused;

	KUNIT_ASSERT_EQ(test, get_user(byte, (u8 __user *)t->addr), 0);
}

static void write_fault(struct kunit *test, struct change_pte_test *t)
{
	KUNIT_ASSERT_EQ(test, put_user(1, (u8 __user *)t->addr), 0);
}

static void range_init(struct change_pte_test *t,
		       struct mmu_notifier_range *range,
		       enum mmu_notifier_event event)
{
	mmu_notifier_range_init(range, event, MMU_NOTIFIER_USE_CHANGE_PTE,
				t->mm, t->addr, t->addr + PAGE_SIZE);
}

/*
 * Expect that both subscribers were told about the start and the end of the
 * range, with the flag as in @flagged, and of nothing but @nr_changes changes in
 * between.
 */
static void expect_range(struct kunit *test, struct change_pte_test *t,
			 bool flagged, unsigned int nr_changes)
{
	unsigned int i;

	KUNIT_ASSERT_EQ(test, t->nr, 4 + nr_changes);

	for (i = 0; i < t->nr; i++) {
		struct event *event = &t->log[i];
		enum event_type type = i < 2 ? START :
				       i < 2 + nr_changes ? CHANGE : END;

		KUNIT_EXPECT_EQ(test, event->type, type);
		if (type == CHANGE) {
			KUNIT_EXPECT_TRUE(test, event->has_change_pte);
			KUNIT_EXPECT_TRUE(test, event->none);
			KUNIT_EXPECT_TRUE(test, event->locked);
		} else {
			KUNIT_EXPECT_EQ(test, event->flagged, flagged);
		}
	}

	KUNIT_EXPECT_NE(test, t->log[0].has_change_pte, t->log[1].has_change_pte);
	KUNIT_EXPECT_NE(test, t->log[t->nr - 2].has_change_pte,
			t->log[t->nr - 1].has_change_pte);
}

static void expect_cow(struct kunit *test, struct change_pte_test *t,
		       unsigned long old_pfn)
{
	struct event *change = &t->log[2];

	expect_range(test, t, true, 1);
	KUNIT_EXPECT_TRUE(test, pte_present(change->old));
	KUNIT_EXPECT_FALSE(test, pte_write(change->old));
	KUNIT_EXPECT_EQ(test, pte_pfn(change->old), old_pfn);
	KUNIT_EXPECT_TRUE(test, pte_present(change->new));
	KUNIT_EXPECT_TRUE(test, pte_write(change->new));
	KUNIT_EXPECT_NE(test, pte_pfn(change->new), old_pfn);
}

/* Return the entry of the page, which has to be present. */
static pte_t get_entry(struct kunit *test, struct change_pte_test *t)
{
	spinlock_t *ptl;
	pte_t *ptep, pte;

	ptep = get_locked_pte(t->mm, t->addr, &ptl);
	KUNIT_ASSERT_NOT_NULL(test, ptep);
	pte = ptep_get(ptep);
	pte_unmap_unlock(ptep, ptl);

	KUNIT_ASSERT_TRUE(test, pte_present(pte));
	return pte;
}

/*
 * Do to the page what KSM does: make it read-only and shared.  With @bail_out,
 * put the old entry back instead, as if the page were in use.
 */
static void write_protect(struct kunit *test, struct change_pte_test *t,
			  bool bail_out)
{
	struct mmu_notifier_range range;
	struct vm_area_struct *vma;
	pte_t *ptep, old, new;
	struct page *page;
	spinlock_t *ptl;
	int shared = 0;

	mmap_read_lock(t->mm);
	vma = vma_lookup(t->mm, t->addr);

	range_init(t, &range, MMU_NOTIFY_CLEAR);
	mmu_notifier_invalidate_range_start(&range);

	ptep = get_locked_pte(t->mm, t->addr, &ptl);
	if (ptep) {
		old = ptep_clear_flush(vma, t->addr, ptep);
		if (bail_out) {
			set_pte_at(t->mm, t->addr, ptep, old);
		} else {
			page = pfn_to_page(pte_pfn(old));
			if (PageAnonExclusive(page))
				shared = folio_try_share_anon_rmap_pte(page_folio(page), page);
			new = pte_wrprotect(pte_mkclean(old));
			set_pte_at_notify(t->mm, &range, t->addr, ptep, old, new, 1);
		}
		pte_unmap_unlock(ptep, ptl);
	}

	mmu_notifier_invalidate_range_end(&range);
	mmap_read_unlock(t->mm);

	KUNIT_ASSERT_NOT_NULL(test, ptep);
	KUNIT_ASSERT_EQ(test, shared, 0);
}

static void cow_zero_page(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);
	unsigned long old_pfn;

	read_fault(test, t);
	old_pfn = pte_pfn(get_entry(test, t));
	KUNIT_EXPECT_TRUE(test, is_zero_pfn(old_pfn));

	t->nr = 0;
	write_fault(test, t);
	expect_cow(test, t, old_pfn);
}

static void cow_file_page(struct kunit *test)
{
	struct change_pte_test *t;
	unsigned long old_pfn;
	struct file *file;

	file = shmem_kernel_file_setup("mmu_notifier_kunit", 2 * PAGE_SIZE,
				       mk_vma_flags(VMA_NORESERVE_BIT));
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	t = setup(test, file);
	fput(file);

	read_fault(test, t);
	old_pfn = pte_pfn(get_entry(test, t));

	t->nr = 0;
	write_fault(test, t);
	expect_cow(test, t, old_pfn);
}

static void write_protect_and_cow_anon_page(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);
	struct event *change = &t->log[2];
	unsigned long pfn;
	struct page *page;

	write_fault(test, t);
	pfn = pte_pfn(get_entry(test, t));

	t->nr = 0;
	write_protect(test, t, false);
	expect_range(test, t, true, 1);
	KUNIT_EXPECT_TRUE(test, pte_write(change->old));
	KUNIT_EXPECT_FALSE(test, pte_write(change->new));
	KUNIT_EXPECT_EQ(test, pte_pfn(change->old), pfn);
	KUNIT_EXPECT_EQ(test, pte_pfn(change->new), pfn);

	/* A page that has another reference is copied, not reused. */
	page = pfn_to_page(pfn);
	get_page(page);
	t->nr = 0;
	write_fault(test, t);
	put_page(page);
	expect_cow(test, t, pfn);
}

static void bail_out(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);
	pte_t pte;

	write_fault(test, t);
	pte = get_entry(test, t);

	t->nr = 0;
	write_protect(test, t, true);
	expect_range(test, t, true, 0);
	KUNIT_EXPECT_TRUE(test, pte_same(pte, get_entry(test, t)));
}

/* A range without the flag is invalidated as it was without change_pte(). */
static void plain_invalidation(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);

	/* The first fault replaces nothing. */
	write_fault(test, t);
	KUNIT_EXPECT_EQ(test, t->nr, 0);

	KUNIT_ASSERT_EQ(test, vm_munmap(t->addr, 2 * PAGE_SIZE), 0);
	expect_range(test, t, false, 0);
}

static void unregistered(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);

	read_fault(test, t);
	kunit_release_action(test, unregister, &t->with);

	t->nr = 0;
	write_fault(test, t);
	KUNIT_ASSERT_EQ(test, t->nr, 2);
	KUNIT_EXPECT_EQ(test, t->log[0].type, START);
	KUNIT_EXPECT_EQ(test, t->log[1].type, END);
}

/* Without a mapping, there is nothing to call change_pte() for. */
static void kept_nothing(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);

	read_fault(test, t);
	t->keeps = false;
	t->nr = 0;
	write_fault(test, t);
	expect_range(test, t, true, 0);
}

static void one_of_two_kept(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);

	add_second(test, t, &second_ops);
	read_fault(test, t);
	t->keeps = false;
	t->second_keeps = true;
	t->nr = 0;
	write_fault(test, t);
	expect_range(test, t, true, 1);
	KUNIT_EXPECT_TRUE(test, t->log[2].second);
	KUNIT_EXPECT_TRUE(test, pte_write(t->log[2].new));
}

/* Nobody writes to the copy before everybody has let go of the original. */
static void two_subscribers(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);

	add_second(test, t, &second_ops);
	read_fault(test, t);
	t->second_keeps = true;
	t->nr = 0;
	write_fault(test, t);
	expect_range(test, t, true, 2);
	KUNIT_EXPECT_NE(test, t->log[2].second, t->log[3].second);
	KUNIT_EXPECT_EQ(test, pte_pfn(t->log[2].new), pte_pfn(t->log[3].new));
	KUNIT_EXPECT_TRUE(test, pte_present(t->log[2].new));
	KUNIT_EXPECT_FALSE(test, pte_write(t->log[2].new));
	KUNIT_EXPECT_TRUE(test, pte_write(t->log[3].new));
}

static void impudent_subscriber(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);

	add_second(test, t, &impudent_ops);
	kunit_warning_suppress(test) {
		KUNIT_ASSERT_EQ(test, vm_munmap(t->addr, 2 * PAGE_SIZE), 0);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
}

/*
 * Tell subscribers of a change from @old to @new in @range, of @nr entries, but
 * leave the entries as they are.
 */
static void change_entries(struct kunit *test, struct change_pte_test *t,
			   struct mmu_notifier_range *range, bool clear,
			   pte_t old, pte_t new, unsigned int nr)
{
	struct vm_area_struct *vma;
	spinlock_t *ptl;
	pte_t *ptep, pte[2];
	unsigned int i;

	mmap_read_lock(t->mm);
	vma = vma_lookup(t->mm, t->addr);
	ptep = get_locked_pte(t->mm, t->addr, &ptl);
	if (ptep) {
		for (i = 0; clear && i < nr; i++)
			pte[i] = ptep_clear_flush(vma, t->addr + i * PAGE_SIZE,
						  ptep + i);
		__mmu_notifier_change_pte(range, t->addr, ptep, old, new, nr);
		for (i = 0; clear && i < nr; i++)
			set_pte_at(t->mm, t->addr + i * PAGE_SIZE, ptep + i, pte[i]);
		pte_unmap_unlock(ptep, ptl);
	}
	mmap_read_unlock(t->mm);
	KUNIT_ASSERT_NOT_NULL(test, ptep);
}

/* Entries of one page table that lie on both sides of its end can't be had. */
static void several_entries(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);
	struct mmu_notifier_range range;
	struct event *change = &t->log[2];
	pte_t rw, ro;
	int i;

	if (!((t->addr + PAGE_SIZE) & ~PMD_MASK))
		kunit_skip(test, "the pages are in two page tables");

	write_fault(test, t);
	rw = get_entry(test, t);
	ro = pte_wrprotect(pte_mkclean(rw));

	t->nr = 0;
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR,
				MMU_NOTIFIER_USE_CHANGE_PTE, t->mm, t->addr,
				t->addr + 2 * PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	change_entries(test, t, &range, true, rw, ro, 2);
	mmu_notifier_invalidate_range_end(&range);

	expect_range(test, t, true, 2);
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, change[i].addr, t->addr + i * PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, pte_pfn(change[i].old), pte_pfn(rw) + i);
		KUNIT_EXPECT_EQ(test, pte_pfn(change[i].new), pte_pfn(rw) + i);
		KUNIT_EXPECT_TRUE(test, pte_write(change[i].old));
		KUNIT_EXPECT_FALSE(test, pte_write(change[i].new));
	}
}

static void expect_drop(struct kunit *test, struct change_pte_test *t)
{
	expect_range(test, t, true, 1);
	KUNIT_EXPECT_FALSE(test, pte_present(t->log[2].new));
}

static void illegal_change(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);
	struct mmu_notifier_range range;
	pte_t ro, rw, other_rw;
	int i;

	write_fault(test, t);
	rw = get_entry(test, t);
	ro = pte_wrprotect(pte_mkclean(rw));
	other_rw = pfn_pte(zero_pfn(t->addr), PAGE_SHARED);
	KUNIT_ASSERT_TRUE(test, pte_write(rw));
	KUNIT_ASSERT_TRUE(test, pte_write(other_rw));

	{
		const struct {
			pte_t old, new;
		} illegal[] = {
			{ ro, rw },		/* gains write permission */
			{ rw, other_rw },	/* old page may be written to */
			{ rw, __pte(0) },	/* goes away */
			{ __pte(0), rw },	/* nothing was there */
		};

		for (i = 0; i < ARRAY_SIZE(illegal); i++) {
			t->nr = 0;
			range_init(t, &range, MMU_NOTIFY_CLEAR);
			mmu_notifier_invalidate_range_start(&range);
			kunit_warning_suppress(test) {
				change_entries(test, t, &range, true,
					       illegal[i].old, illegal[i].new, 1);
				KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
			}
			mmu_notifier_invalidate_range_end(&range);
			expect_drop(test, t);
		}
	}
}

static void not_cleared(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);
	struct mmu_notifier_range range;
	pte_t rw;

	if (!IS_ENABLED(CONFIG_DEBUG_VM))
		kunit_skip(test, "needs CONFIG_DEBUG_VM");

	write_fault(test, t);
	rw = get_entry(test, t);

	t->nr = 0;
	range_init(t, &range, MMU_NOTIFY_CLEAR);
	mmu_notifier_invalidate_range_start(&range);
	kunit_warning_suppress(test) {
		change_entries(test, t, &range, false, rw, pte_wrprotect(rw), 1);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	mmu_notifier_invalidate_range_end(&range);

	KUNIT_ASSERT_EQ(test, t->nr, 5);
	KUNIT_EXPECT_EQ(test, t->log[2].type, CHANGE);
	KUNIT_EXPECT_FALSE(test, pte_present(t->log[2].new));
}

/* An address outside of the range: nobody was asked whether it is mapped. */
static void not_announced(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);
	struct mmu_notifier_range range;
	pte_t rw;

	write_fault(test, t);
	rw = get_entry(test, t);

	t->keeps = false;
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR,
				MMU_NOTIFIER_USE_CHANGE_PTE, t->mm,
				t->addr + PAGE_SIZE, t->addr + 2 * PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	t->nr = 0;
	kunit_warning_suppress(test) {
		change_entries(test, t, &range, true, rw, pte_wrprotect(rw), 1);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	KUNIT_ASSERT_EQ(test, t->nr, 1);
	KUNIT_EXPECT_EQ(test, t->log[0].type, CHANGE);
	KUNIT_EXPECT_FALSE(test, pte_present(t->log[0].new));
	mmu_notifier_invalidate_range_end(&range);
}

/* What CPUs lose access to, secondary MMUs drop. That breaks no rule. */
static void inaccessible(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);
	struct mmu_notifier_range range;
	pte_t rw, none;

	write_fault(test, t);
	rw = get_entry(test, t);
	none = pte_modify(pte_wrprotect(rw), PAGE_NONE);
	if (!pte_protnone(none))
		kunit_skip(test, "PROT_NONE can't be told from other entries");

	t->nr = 0;
	range_init(t, &range, MMU_NOTIFY_CLEAR);
	mmu_notifier_invalidate_range_start(&range);
	kunit_warning_suppress(test) {
		change_entries(test, t, &range, true, rw, none, 1);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
	mmu_notifier_invalidate_range_end(&range);
	expect_drop(test, t);
}

static void illegal_range(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);
	struct mmu_notifier_range range;

	range_init(t, &range, MMU_NOTIFY_UNMAP);
	kunit_warning_suppress(test) {
		mmu_notifier_invalidate_range_start(&range);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	mmu_notifier_invalidate_range_end(&range);
	expect_range(test, t, false, 0);

	t->nr = 0;
	range_init(t, &range, MMU_NOTIFY_CLEAR);
	range.end--;
	kunit_warning_suppress(test) {
		mmu_notifier_invalidate_range_start(&range);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	mmu_notifier_invalidate_range_end(&range);
	expect_range(test, t, false, 0);
}

static void illegal_subscriber(struct kunit *test)
{
	struct change_pte_test *t = setup(test, NULL);
	struct mmu_notifier incomplete = { .ops = &incomplete_ops };

	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, mmu_notifier_register(&incomplete, t->mm),
				-EINVAL);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
}

static struct kunit_case mmu_notifier_test_cases[] = {
	KUNIT_CASE(cow_zero_page),
	KUNIT_CASE(cow_file_page),
	KUNIT_CASE(write_protect_and_cow_anon_page),
	KUNIT_CASE(bail_out),
	KUNIT_CASE(plain_invalidation),
	KUNIT_CASE(unregistered),
	KUNIT_CASE(kept_nothing),
	KUNIT_CASE(one_of_two_kept),
	KUNIT_CASE(two_subscribers),
	KUNIT_CASE(impudent_subscriber),
	KUNIT_CASE(several_entries),
	KUNIT_CASE(inaccessible),
	KUNIT_CASE(illegal_change),
	KUNIT_CASE(not_cleared),
	KUNIT_CASE(not_announced),
	KUNIT_CASE(illegal_range),
	KUNIT_CASE(illegal_subscriber),
	{}
};

static struct kunit_suite mmu_notifier_test_suite = {
	.name = "mmu_notifier_change_pte",
	.test_cases = mmu_notifier_test_cases,
};
kunit_test_suite(mmu_notifier_test_suite);

MODULE_DESCRIPTION("Tests of the mmu notifier's change_pte()");
MODULE_LICENSE("GPL");
