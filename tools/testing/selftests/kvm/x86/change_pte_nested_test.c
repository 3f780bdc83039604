// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test changes of SPTEs in place with a guest (L2) in a guest (L1).
 *
 * copied: L2 sees what the host has written to a page that it copied, and KVM sees
 * what L1 writes to a page table of L2 that the host has copied.  KVM shadows such
 * a page table and has to intercept writes to it, so its SPTE must not become
 * writable.
 *
 * merged: L2 runs, without an exit to L1, while the host merges its pages, and
 * copies them again to write to them.  L2 must not read the merged page then.
 */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "change_pte.h"
#include "svm_util.h"
#include "test_util.h"

/* What L2 calls memory, in two areas with a page table each. */
#define L2_GPA(area)	(0x40000000ul + (area) * 0x200000ul)
/* Where L2 and L1 see it, and where L1 sees L2's page directory. */
#define L2_GVA		0x40000000ul
#define PD_GVA		0x60000000ul

#define NR_PAGES	16
#define MERGE_ROUNDS	5

/* copied */
static u64 l2_value;
static u64 pd_offset[2];

/* merged */
static u64 stop;
static u64 rounds;
static u64 at_least[NR_PAGES];

static void l2_guest_code(void)
{
	for (;;) {
		WRITE_ONCE(l2_value, READ_ONCE(*(u64 *)L2_GVA));
		vmmcall();
	}
}

static void run_l2(struct svm_test_data *svm, u64 expected)
{
	struct vmcb *vmcb = svm->vmcb;

	/* L1 may have changed L2's page tables. */
	vmcb->control.tlb_ctl = 1;
	run_guest(vmcb, svm->vmcb_gpa);
	GUEST_ASSERT_EQ(vmcb->control.exit_code, SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(READ_ONCE(l2_value), expected);
	/* Go on behind VMMCALL. */
	vmcb->save.rip += 3;
}

static void l1_guest_code(struct svm_test_data *svm, u64 *data)
{
	u64 *pde[2] = {
		(u64 *)(PD_GVA + pd_offset[0]),
		(u64 *)(PD_GVA + pd_offset[1]),
	};

	generic_svm_setup(svm, l2_guest_code);

	run_l2(svm, 1);
	GUEST_SYNC(0);

	/* The memory is read-only for the host now.  Have SPTEs for it. */
	run_l2(svm, 1);
	GUEST_ASSERT(READ_ONCE(*pde[0]));
	GUEST_ASSERT_EQ(READ_ONCE(*data), 1);
	GUEST_SYNC(1);

	/* The host has copied the pages, and has changed L2's. */
	run_l2(svm, 3);

	/* L2's page is another one from now on. */
	WRITE_ONCE(*pde[0], READ_ONCE(*pde[1]));
	run_l2(svm, 2);

	GUEST_DONE();
}

/* Return L2's page directory entry for @gpa. */
static u64 *get_pde(struct kvm_vm *vm, u64 gpa)
{
	u64 *table = addr_gpa2hva(vm, vm->stage2_mmu.pgd);
	int level;

	for (level = vm->stage2_mmu.pgtable_levels; level > PG_LEVEL_2M; level--)
		table = addr_gpa2hva(vm, PTE_GET_PA(table[(gpa >> PG_LEVEL_SHIFT(level)) & 0x1ff]));

	return &table[(gpa >> PG_LEVEL_SHIFT(PG_LEVEL_2M)) & 0x1ff];
}

static void run_until_sync(struct kvm_vcpu *vcpu, u64 stage)
{
	struct ucall uc;

	vcpu_run(vcpu);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		TEST_ASSERT_EQ(uc.args[1], stage);
		break;
	case UCALL_DONE:
		TEST_ASSERT_EQ(stage, 2);
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
	default:
		TEST_FAIL("Unexpected exit: %s",
			  exit_reason_str(vcpu->run->exit_reason));
	}
}

static struct kvm_vm *create_nested_vm(void *l1_code, struct kvm_vcpu **vcpu,
				       gva_t *svm_gva)
{
	struct kvm_vm *vm = vm_create_with_one_vcpu(vcpu, l1_code);

	vm_enable_tdp(vm);
	vcpu_alloc_svm(vm, svm_gva);
	return vm;
}

static u64 nr_changed(struct kvm_vm *vm)
{
	return change_pte_has_stats(vm) ? vm_get_stat(vm, mmu_change_pte_in_place) : 0;
}

static void test_copied(const void *unused)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	u64 *pde[2], *data[2];
	gva_t svm_gva, gva;
	u64 changed;
	pid_t pid;
	int i;

	vm = create_nested_vm(l1_guest_code, &vcpu, &svm_gva);

	for (i = 0; i < 2; i++) {
		gva = vm_alloc_page(vm);
		data[i] = addr_gva2hva(vm, gva);
		if (!i)
			vcpu_args_set(vcpu, 2, svm_gva, gva);
		*data[i] = i + 1;
		tdp_map(vm, L2_GPA(i), addr_gva2gpa(vm, gva), PAGE_SIZE);
	}
	for (i = 0; i < 2; i++) {
		pde[i] = get_pde(vm, L2_GPA(i));
		pd_offset[i] = (u64)pde[i] & ~PAGE_MASK;
	}
	sync_global_to_guest(vm, pd_offset);
	virt_map(vm, L2_GVA, L2_GPA(0), 1);
	virt_map(vm, PD_GVA, addr_hva2gpa(vm, pde[0]) & PAGE_MASK, 1);
	tdp_identity_map_default_memslots(vm);

	run_until_sync(vcpu, 0);

	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}

	run_until_sync(vcpu, 1);

	changed = nr_changed(vm);
	/* Copy the page directory as it is, and the page with a change. */
	WRITE_ONCE(*pde[0], READ_ONCE(*pde[0]));
	WRITE_ONCE(*data[0], 3);
	if (change_pte_has_stats(vm)) {
		changed = nr_changed(vm) - changed;
		ksft_print_msg("copied: %lu SPTEs changed in place\n", changed);
		/* L1's of the two pages, and L2's of one of them. */
		TEST_ASSERT(changed >= 3, "Expected 3 SPTEs to be changed");
	}

	run_until_sync(vcpu, 2);

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	kvm_vm_free(vm);
}

/* Read all the time, and see that nothing is older than it may be. */
static void l2_watch_code(void)
{
	u64 i, n;

	for (n = 1; !READ_ONCE(stop); n++) {
		for (i = 0; i < NR_PAGES; i++)
			guest_watch_page(L2_GVA, i, &at_least[i]);
		WRITE_ONCE(rounds, n);
	}
	vmmcall();
}

static void l1_watch_code(struct svm_test_data *svm)
{
	generic_svm_setup(svm, l2_watch_code);
	run_guest(svm->vmcb, svm->vmcb_gpa);
	GUEST_ASSERT_EQ(svm->vmcb->control.exit_code, SVM_EXIT_VMMCALL);
	GUEST_SYNC(0);
}

static void test_merged(const void *unused)
{
	u64 *done, *least, *mem, round, changed, i;
	struct kvm_vcpu *vcpu;
	gva_t svm_gva, gva;
	struct kvm_vm *vm;
	pthread_t thread;

	vm = create_nested_vm(l1_watch_code, &vcpu, &svm_gva);
	vcpu_args_set(vcpu, 1, svm_gva);
	done = addr_gva2hva(vm, (gva_t)&rounds);
	least = addr_gva2hva(vm, (gva_t)at_least);

	gva = vm_alloc(vm, NR_PAGES * PAGE_SIZE, KVM_UTIL_MIN_VADDR);
	mem = addr_gva2hva(vm, gva);
	for (i = 0; i < NR_PAGES; i++) {
		/* KSM doesn't look at what is only read, i.e. the zero page. */
		WRITE_ONCE(*page_of((u64)mem, i), 0);
		tdp_map(vm, L2_GPA(0) + i * PAGE_SIZE, addr_gva2gpa(vm, gva + i * PAGE_SIZE),
			PAGE_SIZE);
	}
	virt_map(vm, L2_GVA, L2_GPA(0), NR_PAGES);
	tdp_identity_map_default_memslots(vm);

	kvm_pthread_create(&thread, NULL, change_pte_run_vcpu, vcpu);
	changed = nr_changed(vm);

	for (round = 1; round <= MERGE_ROUNDS; round++) {
		/* All pages are alike. */
		change_pte_wait_rounds(done);
		ksm_merge(mem, NR_PAGES * PAGE_SIZE, NR_PAGES, false);
		change_pte_wait_rounds(done);

		for (i = 0; i < NR_PAGES; i++) {
			WRITE_ONCE(*page_of((u64)mem, i), round);
			WRITE_ONCE(least[i], round);
		}
	}
	change_pte_wait_rounds(done);

	stop = 1;
	sync_global_to_guest(vm, stop);
	kvm_pthread_join(thread, NULL);

	changed = nr_changed(vm) - changed;
	ksft_print_msg("merged: %lu pages, %u times: %lu SPTEs changed in place\n",
		       (u64)NR_PAGES, MERGE_ROUNDS, changed);
	/* One page becomes the merged one; all are copied. */
	if (change_pte_has_stats(vm))
		TEST_ASSERT(changed >= MERGE_ROUNDS * (2 * NR_PAGES - 1),
			    "Expected at least %u SPTEs to be changed",
			    MERGE_ROUNDS * (2 * NR_PAGES - 1));
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	ksft_print_header();
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_BINARY_STATS_FD));
	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_SVM));
	TEST_REQUIRE(kvm_cpu_has_npt());
	ksft_set_plan(2);

	ksft_test_result_code(change_pte_run_test(test_copied, NULL), "copied", NULL);
	ksft_test_result_code(change_pte_run_test(test_merged, NULL), "merged", NULL);

	ksft_finished();
}
