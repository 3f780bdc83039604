// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test that KVM follows changes of the primary MMU's PTEs in place, i.e. that
 * the guest doesn't fault when the host copies a page on write or merges it
 * with others (KSM), that it takes one fault if its own write makes the host
 * copy, and that doing so is safe: the guest sees the right data, nobody reads
 * an old page after somebody has written to the new one, the guest can't write
 * to a shared page nor to read-only memory, and dirty logging sees its writes.
 *
 * The number of page faults is checked only if KVM has the statistics that
 * count changed SPTEs.  Without them it is only reported, and one fault per
 * page is to be expected.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <linux/bitmap.h>

#include "change_pte.h"
#include "test_util.h"
#include "smm.h"

#define SMRAM_GPA	0x1000000ul
#define SMI_PORT	0xe

#define RUNNING_ROUNDS	20

enum guest_op {
	OP_READ,
	OP_WRITE,
	OP_WATCH,
	OP_PEEK,
	OP_POKE,
	OP_WRITERS,
	OP_NOP,
};

/* Shared with the guest, in a memslot that isn't inherited by fork(). */
static struct {
	u64 op;
	u64 base;
	u64 nr_pages;
	u64 nr_vcpus;
	u64 gen;
	u64 same;
	u64 watcher;		/* OP_WRITERS: the vCPU that only reads */
} cmd;

static u64 stop_watch;
static u64 rounds;
static u64 at_least[MAX_PAGES];

/* Shared by the host and all guests, and never copied. */
struct control {
	u64 stop;
	u64 round;		/* what to write to all pages */
	u64 done[MAX_VCPUS];	/* the last round of each writer */
	u64 watched;
	u64 at_least[MAX_PAGES];
};

/* Options. */
static unsigned int nr_pages = 64;
static unsigned int nr_vcpus = 1;

/* Read all the time, without an exit that could flush a TLB by the way. */
static void guest_watch(void)
{
	u64 i, n;

	for (n = 0; !READ_ONCE(stop_watch); n++) {
		for (i = 0; i < cmd.nr_pages; i++)
			guest_watch_page(cmd.base, i, &at_least[i]);
		WRITE_ONCE(rounds, n + 1);
	}
}

/*
 * Several vCPUs write to the same pages, so that one of them gets to write as
 * soon as it can, while the fault of another one makes the host copy the page.
 * The watcher may read by another gfn, or in another VM.
 */
static void guest_write_rounds(struct control *ctl, u64 me)
{
	u64 i, n = 0, round, done = 0;

	while (!READ_ONCE(ctl->stop)) {
		round = READ_ONCE(ctl->round);
		if (round == done) {
			/* Or KVM has nothing to change, if the watcher is elsewhere. */
			READ_ONCE(*page_of(cmd.base, n++ % cmd.nr_pages));
			continue;
		}

		for (i = 0; i < cmd.nr_pages; i++) {
			WRITE_ONCE(*page_of(cmd.base, i), round);
			WRITE_ONCE(ctl->at_least[i], round);
		}
		done = round;
		WRITE_ONCE(ctl->done[me], done);
	}
}

static void guest_watch_rounds(struct control *ctl)
{
	u64 i, n;

	for (n = 1; !READ_ONCE(ctl->stop); n++) {
		for (i = 0; i < cmd.nr_pages; i++)
			guest_watch_page(cmd.base, i, &ctl->at_least[i]);
		WRITE_ONCE(ctl->watched, n);
	}
}

static void guest_code(u64 me)
{
	u64 i;

	for (;;) {
		switch (READ_ONCE(cmd.op)) {
		case OP_READ:
			for (i = 0; i < cmd.nr_pages; i++) {
				u64 *page = page_of(cmd.base, i);
				u64 value = pattern(cmd.gen, cmd.same, i);

				GUEST_ASSERT_EQ(READ_ONCE(page[0]), value);
				GUEST_ASSERT_EQ(READ_ONCE(page[WORDS - 1]), value);
			}
			break;
		case OP_WRITE:
			for (i = me; i < cmd.nr_pages; i += cmd.nr_vcpus)
				fill_page(page_of(cmd.base, i),
					  pattern(cmd.gen, cmd.same, i));
			break;
		case OP_WATCH:
			guest_watch();
			break;
		case OP_PEEK:
			GUEST_SYNC(READ_ONCE(*(u64 *)cmd.base));
			continue;
		case OP_POKE:
			WRITE_ONCE(*(u64 *)cmd.base, cmd.gen);
			break;
		case OP_WRITERS:
			if (me == cmd.watcher)
				guest_watch_rounds((struct control *)CONTROL_GPA);
			else
				guest_write_rounds((struct control *)CONTROL_GPA, me);
			break;
		}
		GUEST_SYNC(0);
	}
}

static void guest_run(struct change_pte_test *t, enum guest_op op, gpa_t base,
		      u64 gen, bool same)
{
	int i;

	cmd.op = op;
	cmd.base = base;
	cmd.gen = gen;
	cmd.same = same;
	cmd.nr_pages = nr_pages;
	cmd.nr_vcpus = nr_vcpus;
	sync_global_to_guest(t->vm, cmd);

	for (i = 0; i < nr_vcpus; i++)
		change_pte_run_vcpu(t->vcpus[i]);
}

static void guest_read(struct change_pte_test *t, u64 gen, bool same)
{
	guest_run(t, OP_READ, TEST_GPA, gen, same);
	if (t->alias)
		guest_run(t, OP_READ, ALIAS_GPA, gen, same);
}

static void guest_write(struct change_pte_test *t, u64 gen, bool same)
{
	guest_run(t, OP_WRITE, TEST_GPA, gen, same);
}

static bool host_check(u64 *mem, u64 gen, bool same)
{
	u64 i, w;

	for (i = 0; i < nr_pages; i++) {
		for (w = 0; w < WORDS; w++) {
			if (READ_ONCE(page_of((u64)mem, i)[w]) != pattern(gen, same, i))
				return false;
		}
	}
	return true;
}

/*
 * Check that @accesses took no page faults, and that at least @sptes SPTEs have
 * been changed in place since @from, and as many pages in the alias as may be
 * replaced; or none if they can't be.
 */
static void expect_in_place(struct change_pte_test *t,
			    struct change_pte_counts from,
			    struct change_pte_counts accesses, u64 sptes)
{
	struct change_pte_counts c = change_pte_get_counts(t);

	if (!t->has_stats)
		return;

	ksft_print_msg("%s: SPTEs changed in place %lu, zapped %lu\n", t->name,
		       c.changed - from.changed, c.zapped - from.zapped);

	if (t->huge)
		return;

	if (t->gmem) {
		TEST_ASSERT_EQ(c.changed - from.changed, 0);
		return;
	}

	/* What is only read there may be read-only already. */
	if (t->alias)
		sptes += nr_pages - 1;
	TEST_ASSERT_EQ(accesses.faults, 0);
	TEST_ASSERT(c.changed - from.changed >= sptes,
		    "Expected at least %lu SPTEs to be changed, got %lu",
		    sptes, c.changed - from.changed);
}

/*
 * Check that a guest that writes to pages that the host has copied took at most
 * @faults per page. Only a direct MMU can let it write without asking.
 */
static void expect_writable(struct change_pte_test *t,
			    struct change_pte_counts writes, u64 faults)
{
	if (!t->has_stats || t->huge || t->gmem)
		return;
	if (!kvm_is_tdp_enabled() || (t->slot_flags & KVM_MEM_LOG_DIRTY_PAGES))
		faults = 1;

	/* The guest's own page tables may share a fault or two. */
	TEST_ASSERT(writes.faults <= faults * nr_pages + nr_pages / 8,
		    "%lu faults of a guest that writes to %u pages",
		    writes.faults, nr_pages);
}

/* Count the dirty pages, and start over. */
static unsigned int dirty_pages(struct change_pte_test *t)
{
	unsigned long *bitmap = bitmap_zalloc(nr_pages);
	unsigned int i, nr = 0;

	kvm_vm_get_dirty_log(t->vm, TEST_SLOT, bitmap);
	for (i = 0; i < nr_pages; i++)
		nr += test_bit(i, bitmap);
	free(bitmap);

	return nr;
}

static void expect_dirty(struct change_pte_test *t, unsigned int nr)
{
	if (t->slot_flags & KVM_MEM_LOG_DIRTY_PAGES)
		TEST_ASSERT_EQ(dirty_pages(t), nr);
}

/* A child that shares the memory, and checks in the end that it hasn't changed. */
static pid_t fork_child(struct change_pte_test *t, int *wfd, u64 gen, bool same)
{
	int fds[2];
	pid_t pid;
	char c;

	TEST_ASSERT(!pipe(fds), "pipe() failed");
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		close(fds[1]);
		while (read(fds[0], &c, 1) < 0)
			;
		_exit(!host_check(t->mem, gen, same));
	}
	close(fds[0]);
	*wfd = fds[1];

	return pid;
}

static void finish_child(pid_t pid, int wfd)
{
	int status;

	close(wfd);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");
	TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status),
		    "A child's copy of the memory has changed");
}

/* A child that shares the memory and does nothing, until it is killed. */
static pid_t fork_idle_child(void)
{
	pid_t pid = fork();

	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

static void kill_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Write to the file, so that the memory still maps the file's own pages. */
static void file_write(struct change_pte_test *t, u64 gen, bool same)
{
	off_t offset = (void *)t->mem - t->map;
	u64 page[WORDS];
	u64 i;

	for (i = 0; i < nr_pages; i++) {
		fill_page(page, pattern(gen, same, i));
		TEST_ASSERT(pwrite(t->fd, page, PAGE_SIZE, offset + i * PAGE_SIZE) == PAGE_SIZE,
			    "pwrite() failed");
	}
}

static void test_cow(struct change_pte_test *t)
{
	struct change_pte_counts start, c;
	pid_t pid;
	int wfd;

	if (t->file)
		file_write(t, 1, false);
	else
		change_pte_write(t, 1, false);
	guest_read(t, 1, false);

	pid = fork_child(t, &wfd, 1, false);

	/* Read-only from now on, and shared with the child. */
	guest_read(t, 1, false);
	if (t->huge)
		ksft_print_msg("%s: %lu SPTEs of 2 MiB\n", t->name,
			       vm_get_stat(t->vm, pages_2m));
	if (t->slot_flags & KVM_MEM_LOG_DIRTY_PAGES)
		dirty_pages(t);

	start = change_pte_get_counts(t);
	change_pte_write(t, 2, false);
	c = change_pte_get_counts(t);
	guest_read(t, 2, false);
	c = change_pte_report(t, "read after COW by the host", c);
	expect_in_place(t, start, c, nr_pages);
	/*
	 * With dirty logging, an SPTE changed in place is read-only until the
	 * guest writes, whereas a read fault on a page that is writable again
	 * makes the SPTE writable, and the page dirty.
	 */
	if (t->has_stats)
		expect_dirty(t, 0);
	else if (t->slot_flags & KVM_MEM_LOG_DIRTY_PAGES)
		dirty_pages(t);

	c = change_pte_get_counts(t);
	guest_write(t, 3, false);
	c = change_pte_report(t, "write after COW by the host", c);
	expect_writable(t, c, 0);
	TEST_ASSERT(host_check(t->mem, 3, false), "The guest's writes are lost");
	guest_read(t, 3, false);
	expect_dirty(t, nr_pages);

	finish_child(pid, wfd);

	/* This time, the guest's write faults are what makes the host copy. */
	pid = fork_child(t, &wfd, 3, false);
	guest_read(t, 3, false);
	c = change_pte_get_counts(t);
	guest_write(t, 4, false);
	c = change_pte_report(t, "write that makes the host COW", c);
	expect_writable(t, c, 1);
	TEST_ASSERT(host_check(t->mem, 4, false), "The guest's writes are lost");
	guest_read(t, 4, false);
	expect_dirty(t, nr_pages);
	finish_child(pid, wfd);
}

static void test_ksm(struct change_pte_test *t, bool zero)
{
	u64 gen = zero ? 0 : 5;
	u64 *control = page_of((u64)t->mem, nr_pages);
	struct change_pte_counts start, c;
	int i;

	/* KSM merges the control page with the guest's; it is not the guest's. */
	fill_page(control, pattern(gen, true, 0));
	guest_write(t, gen, true);
	guest_read(t, gen, true);
	if (t->slot_flags & KVM_MEM_LOG_DIRTY_PAGES)
		dirty_pages(t);

	start = change_pte_get_counts(t);
	ksm_merge(t->mem, t->mem_size, nr_pages + 1, zero);
	c = change_pte_get_counts(t);
	guest_read(t, gen, true);
	c = change_pte_report(t, zero ? "read after KSM merge with the zero page" :
					"read after KSM merge", c);
	/* Each page is write-protected, and all but one may be replaced. */
	expect_in_place(t, start, c, 2 * nr_pages - 1);
	expect_dirty(t, 0);

	c = change_pte_get_counts(t);
	guest_write(t, 6, false);
	c = change_pte_report(t, "write after KSM merge", c);
	expect_writable(t, c, 1);
	TEST_ASSERT(host_check(t->mem, 6, false), "The guest's writes are lost");
	guest_read(t, 6, false);
	expect_dirty(t, nr_pages);

	for (i = 0; i < WORDS; i++)
		TEST_ASSERT(READ_ONCE(control[i]) == pattern(gen, true, 0),
			    "The KSM page was written to");

	TEST_ASSERT(!madvise(t->mem, t->mem_size, MADV_UNMERGEABLE),
		    "MADV_UNMERGEABLE failed");
}

static void test_slot(struct change_pte_test *t)
{
	test_cow(t);
	/* The control page is the page after the guest's. */
	if (!t->gmem) {
		test_ksm(t, false);
		test_ksm(t, true);
	}
}

/* An SMI handler in a page that is only visible in SMM, i.e. to other SPTEs. */
static void test_smm(struct change_pte_test *t)
{
	static const u8 handler[] = {
		0xb0, 0xfe,	/* mov $0xfe, %al */
		0xe4, SMI_PORT,	/* in $SMI_PORT, %al */
		0x0f, 0xaa,	/* rsm */
	};
	struct kvm_vcpu *vcpu = t->vcpus[0];
	struct change_pte_counts start, c;
	u8 *page;
	pid_t pid;
	int i;

	setup_smram(t->vm, vcpu, SMRAM_GPA, handler, sizeof(handler));
	page = addr_gpa2hva(t->vm, SMRAM_GPA + 0x8000);

	guest_run(t, OP_NOP, 0, 0, false);

	pid = fork_idle_child();

	for (i = 0; i < 2; i++) {
		start = change_pte_get_counts(t);
		if (i)
			WRITE_ONCE(page[PAGE_SIZE - 1], 1);

		c = change_pte_get_counts(t);
		inject_smi(vcpu);
		vcpu_run(vcpu);
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
		TEST_ASSERT_EQ(vcpu->run->io.port, SMI_PORT);
		if (i) {
			c = change_pte_report(t, "SMI after COW of its handler", c);
			if (t->has_stats) {
				TEST_ASSERT_EQ(c.faults, 0);
				TEST_ASSERT(change_pte_get_counts(t).changed > start.changed,
					    "No SPTE was changed in place");
			}
		}
		change_pte_run_vcpu(vcpu);
	}

	kill_child(pid);
}

/*
 * Copy pages on write while the guest is reading from them: once the host has
 * written to the new page, the guest must not read from the old one any more,
 * even if it is running and has the old page in its TLB.
 */
static void test_running(struct change_pte_test *t)
{
	u64 *least = addr_gva2hva(t->vm, (gva_t)at_least);
	u64 *done = addr_gva2hva(t->vm, (gva_t)&rounds);
	struct change_pte_counts start, c = {};
	pthread_t thread;
	u64 round, i;
	pid_t pid;

	memset(least, 0, sizeof(at_least));
	change_pte_write(t, 0, true);
	stop_watch = 0;
	sync_global_to_guest(t->vm, stop_watch);
	cmd.op = OP_WATCH;
	cmd.base = TEST_GPA;
	cmd.nr_pages = nr_pages;
	sync_global_to_guest(t->vm, cmd);

	start = change_pte_get_counts(t);
	kvm_pthread_create(&thread, NULL, change_pte_run_vcpu, t->vcpus[0]);

	for (round = 1; round <= RUNNING_ROUNDS; round++) {
		pid = fork_idle_child();

		/* fork() has zapped the SPTEs: let the guest map the pages again. */
		change_pte_wait_rounds(done);
		c.faults -= vcpu_get_stat(t->vcpus[0], pf_taken);
		for (i = 0; i < nr_pages; i++) {
			WRITE_ONCE(*page_of((u64)t->mem, i), round);
			WRITE_ONCE(least[i], round);
		}
		change_pte_wait_rounds(done);
		c.faults += vcpu_get_stat(t->vcpus[0], pf_taken);

		kill_child(pid);
	}

	WRITE_ONCE(stop_watch, 1);
	sync_global_to_guest(t->vm, stop_watch);
	kvm_pthread_join(thread, NULL);

	change_pte_report(t, "in total", start);
	if (!t->has_stats)
		return;

	/*
	 * The guest may find an SPTE non-present on its way from one page to
	 * the other, but rarely.
	 */
	ksft_print_msg("%s: %lu faults while pages were copied\n", t->name, c.faults);
	c.changed = change_pte_get_counts(t).changed - start.changed;
	TEST_ASSERT(c.changed >= RUNNING_ROUNDS * nr_pages,
		    "Only %lu SPTEs were changed in place", c.changed);
	TEST_ASSERT(c.faults < c.changed / 4,
		    "%lu faults, %lu SPTEs changed in place", c.faults, c.changed);
}

/*
 * Have two vCPUs write to pages that are to be copied first, while another one
 * reads them: nobody may read the old page once somebody has written to the new
 * one. With t->alias, the reader uses another memslot; with two VMs, it is in
 * one of them and the writers are in the other one, which KVM is told about
 * first.
 */
static void test_writers_of(struct change_pte_test *t, bool two_vms)
{
	const int nr_writers = 2;
	struct kvm_vcpu *vcpus[3] = { t->vcpus[0] };
	pthread_t threads[3];
	struct control *ctl;
	struct kvm_vm *vms[2] = { t->vm, t->vm };
	u64 round;
	pid_t pid;
	int i;

	ctl = kvm_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	if (two_vms) {
		struct userspace_mem_region *region;

		vms[1] = vm_create_with_vcpus(nr_writers, guest_code, &vcpus[1]);
		hash_for_each(vms[1]->regions.slot_hash, i, region, slot_node)
			TEST_ASSERT(!madvise(region->mmap_start, region->mmap_size,
					     MADV_DONTFORK), "MADV_DONTFORK failed");
		vm_set_user_memory_region(vms[1], TEST_SLOT, 0, TEST_GPA,
					  nr_pages * PAGE_SIZE, t->mem);
		virt_map(vms[1], TEST_GPA, TEST_GPA, nr_pages);
		for (i = 0; i < nr_writers; i++)
			vcpu_args_set(vcpus[1 + i], 1, 1 + i);
	} else {
		vcpus[1] = t->vcpus[1];
		vcpus[2] = t->vcpus[2];
	}
	for (i = 0; i <= two_vms; i++) {
		vm_set_user_memory_region(vms[i], CONTROL_SLOT, 0, CONTROL_GPA,
					  PAGE_SIZE, ctl);
		virt_map(vms[i], CONTROL_GPA, CONTROL_GPA, 1);

		cmd.op = OP_WRITERS;
		cmd.base = t->alias ? ALIAS_GPA : TEST_GPA;
		cmd.nr_pages = nr_pages;
		cmd.watcher = two_vms && i ? -1 : 0;
		sync_global_to_guest(vms[i], cmd);
	}

	change_pte_write(t, 0, true);
	for (i = 0; i < 1 + nr_writers; i++)
		kvm_pthread_create(&threads[i], NULL, change_pte_run_vcpu, vcpus[i]);

	for (round = 1; round <= RUNNING_ROUNDS; round++) {
		pid = fork_idle_child();

		/* Have the pages mapped, read-only. */
		change_pte_wait_rounds(&ctl->watched);

		WRITE_ONCE(ctl->round, round);
		while (READ_ONCE(ctl->done[1]) < round || READ_ONCE(ctl->done[2]) < round)
			usleep(100);
		kill_child(pid);
	}

	WRITE_ONCE(ctl->stop, 1);
	for (i = 0; i < 1 + nr_writers; i++)
		kvm_pthread_join(threads[i], NULL);

	for (i = 0; i < nr_pages; i++)
		TEST_ASSERT_EQ(*page_of((u64)t->mem, i), RUNNING_ROUNDS);
	change_pte_report(t, "in total", (struct change_pte_counts) {});
	if (two_vms)
		kvm_vm_free(vms[1]);
}

static void test_writers(struct change_pte_test *t)
{
	test_writers_of(t, false);
}

static void test_two_vms(struct change_pte_test *t)
{
	test_writers_of(t, true);
}

/*
 * Merging pages that the guest can't write to anyway takes a flush of the TLBs for
 * many of them together, but it does take one: the old pages are freed.
 */
static void test_flush(struct change_pte_test *t)
{
	u64 *control = page_of((u64)t->mem, nr_pages);
	struct change_pte_counts c;
	u64 requests;
	pid_t pid;

	fill_page(control, pattern(5, true, 0));
	change_pte_write(t, 5, true);
	pid = fork_idle_child();
	guest_read(t, 5, true);

	c = change_pte_get_counts(t);
	requests = vm_get_stat(t->vm, remote_tlb_flush_requests);
	ksm_merge(t->mem, t->mem_size, nr_pages + 1, false);
	requests = vm_get_stat(t->vm, remote_tlb_flush_requests) - requests;
	guest_read(t, 5, true);
	c = change_pte_report(t, "KSM merge and read", c);
	ksft_print_msg("%s: %lu flushes of TLBs\n", t->name, requests);
	if (t->has_stats) {
		TEST_ASSERT_EQ(c.faults, 0);
		TEST_ASSERT(requests > 0, "TLBs were not flushed");
		TEST_ASSERT(requests <= nr_pages / 4, "%lu flushes", requests);
	}
	kill_child(pid);
}

/* A write to a read-only slot goes to the VMM, also if the memory was copied. */
static void test_readonly(struct change_pte_test *t)
{
	struct kvm_vcpu *vcpu = t->vcpus[0];
	struct change_pte_counts start, c;
	pid_t pid;

	change_pte_write(t, 1, false);
	guest_read(t, 1, false);
	pid = fork_idle_child();
	guest_read(t, 1, false);

	start = change_pte_get_counts(t);
	change_pte_write(t, 2, false);
	c = change_pte_get_counts(t);
	guest_read(t, 2, false);
	c = change_pte_report(t, "read after COW by the host", c);
	expect_in_place(t, start, c, nr_pages);

	cmd.op = OP_POKE;
	cmd.base = TEST_GPA;
	cmd.gen = 3;
	sync_global_to_guest(t->vm, cmd);
	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_MMIO);
	TEST_ASSERT(vcpu->run->mmio.is_write, "Expected a write");
	change_pte_run_vcpu(vcpu);
	TEST_ASSERT_EQ(t->mem[0], pattern(2, false, 0));

	kill_child(pid);
}

/* Make the vDSO writable, as for a debugger's breakpoints; NULL if that fails. */
static u64 *writable_vdso(void)
{
	unsigned long start, end;
	char line[256];
	void *vdso = NULL;
	FILE *f;

	f = fopen("/proc/self/maps", "r");
	TEST_ASSERT(f, "Cannot open /proc/self/maps");
	while (!vdso && fgets(line, sizeof(line), f)) {
		/* It can't be split, so all of it has to change. */
		if (strstr(line, "[vdso]") &&
		    sscanf(line, "%lx-%lx", &start, &end) == 2 &&
		    !mprotect((void *)start, end - start,
			      PROT_READ | PROT_WRITE | PROT_EXEC))
			vdso = (void *)start;
	}
	fclose(f);

	return vdso;
}

static u64 guest_peek(struct change_pte_test *t, gpa_t gpa)
{
	cmd.op = OP_PEEK;
	cmd.base = gpa;
	sync_global_to_guest(t->vm, cmd);
	vcpu_run(t->vcpus[0]);

	return change_pte_expect_sync(t->vcpus[0]);
}

static void __noreturn skip(struct change_pte_test *t, const char *why)
{
	ksft_print_msg("%s: skipped, %s\n", t->name, why);
	exit(KSFT_SKIP);
}

/*
 * Have a page copied on write whose SPTE isn't to be changed in place: the vDSO
 * is part of the kernel's image, i.e. isn't ordinary memory.
 */
static void test_vdso(struct change_pte_test *t)
{
	/* The padding at the end of e_ident in the ELF header. */
	const int word = 1;
	u64 *vdso = writable_vdso();
	gpa_t gpa = ALIAS_GPA + word * sizeof(*vdso);
	struct change_pte_counts start, c;

	if (!vdso)
		skip(t, "the vDSO can't be made writable");

	vm_set_user_memory_region(t->vm, ALIAS_SLOT, 0, ALIAS_GPA, PAGE_SIZE, vdso);
	virt_map(t->vm, ALIAS_GPA, ALIAS_GPA, 1);
	TEST_ASSERT_EQ(guest_peek(t, gpa), vdso[word]);

	start = change_pte_get_counts(t);
	WRITE_ONCE(vdso[word], 0x77);
	c = change_pte_get_counts(t);
	TEST_ASSERT_EQ(guest_peek(t, gpa), 0x77);
	c = change_pte_report(t, "read after COW of the vDSO", c);
	if (!t->has_stats)
		return;

	TEST_ASSERT_EQ(c.faults, 1);
	c = change_pte_get_counts(t);
	TEST_ASSERT_EQ(c.changed - start.changed, 0);
	TEST_ASSERT_EQ(c.zapped - start.zapped, 1);
}

static const struct test {
	const char *name;
	void (*fn)(struct change_pte_test *t);
	u32 slot_flags;
	unsigned int min_vcpus;
	bool alias;
	bool huge;
	bool gmem;
	bool file;
} tests[] = {
	{ "plain", test_slot },
	{ "dirty-log", test_slot, .slot_flags = KVM_MEM_LOG_DIRTY_PAGES },
	{ "alias", test_slot, .alias = true },
	{ "file", test_slot, .file = true },
	{ "thp", test_slot, .huge = true },
	{ "guest_memfd", test_slot, .gmem = true },
	{ "smm", test_smm },
	{ "running", test_running },
	{ "writers", test_writers, .min_vcpus = 3 },
	{ "writers-alias", test_writers, .min_vcpus = 3, .alias = true },
	{ "two-vms", test_two_vms },
	{ "flush", test_flush },
	{ "read-only", test_readonly, .slot_flags = KVM_MEM_READONLY },
	{ "vdso", test_vdso },
};

/*
 * Leave no page of the guest's code to be used for the first time while faults are
 * counted, as the one where a ucall returns to could be.
 */
static void warm_up(struct change_pte_test *t)
{
	int i;

	sync_global_to_guest(t->vm, cmd);
	for (i = 0; i < 2 * t->nr_vcpus; i++)
		change_pte_run_vcpu(t->vcpus[i / 2]);
}

static void run_test(const void *arg)
{
	const struct test *test = arg;
	struct change_pte_test t = {
		.name = test->name,
		.nr_pages = nr_pages,
		.nr_vcpus = max(nr_vcpus, test->min_vcpus),
		.slot_flags = test->slot_flags,
		.alias = test->alias,
		.huge = test->huge,
		.gmem = test->gmem,
		.file = test->file,
	};

	if (t.gmem && !(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM)))
		skip(&t, "no VMs with private memory");
	if (test->fn == test_smm && !kvm_has_cap(KVM_CAP_X86_SMM))
		skip(&t, "no SMM");

	change_pte_setup(&t, guest_code);
	warm_up(&t);
	test->fn(&t);
	change_pte_teardown(&t);
}

static void help(const char *name)
{
	int i;

	printf("usage: %s [-h] [-n pages] [-v vcpus] [-t test]\n"
	       " -n: number of pages (default %u)\n"
	       " -v: number of vCPUs (default %u)\n"
	       " -t: run this test only, one of\n",
	       name, nr_pages, nr_vcpus);
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		printf("     %s\n", tests[i].name);
	exit(0);
}

int main(int argc, char *argv[])
{
	const char *only = NULL;
	bool found = false;
	int opt, i;

	while ((opt = getopt(argc, argv, "hn:v:t:")) != -1) {
		switch (opt) {
		case 'n':
			nr_pages = atoi_positive("Number of pages", optarg);
			break;
		case 'v':
			nr_vcpus = atoi_positive("Number of vCPUs", optarg);
			break;
		case 't':
			only = optarg;
			break;
		case 'h':
		default:
			help(argv[0]);
		}
	}
	TEST_ASSERT(nr_pages <= MAX_PAGES && nr_vcpus <= MAX_VCPUS,
		    "At most %u pages and %u vCPUs", MAX_PAGES, MAX_VCPUS);

	ksft_print_header();
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_BINARY_STATS_FD));
	TEST_REQUIRE(access("/sys/kernel/mm/ksm/run", W_OK) == 0);
	ksft_set_plan(only ? 1 : ARRAY_SIZE(tests));

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		if (only && strcmp(only, tests[i].name))
			continue;
		found = true;
		ksft_test_result_code(change_pte_run_test(run_test, &tests[i]),
				      tests[i].name, NULL);
	}
	TEST_ASSERT(found, "No such test: %s", only);

	ksft_finished();
}
