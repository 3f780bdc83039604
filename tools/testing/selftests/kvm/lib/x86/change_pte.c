// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the tests of SPTEs that KVM changes in place have in common.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/sizes.h>

#include "change_pte.h"
#include "test_util.h"

/* Does KVM count SPTEs that change in place? */
bool change_pte_has_stats(struct kvm_vm *vm)
{
	static const char name[] = "mmu_change_pte_writable";
	struct kvm_stats_header header;
	struct kvm_stats_desc *desc;
	bool found = false;
	int i;

	read_stats_header(vm->stats.fd, &header);
	desc = read_stats_descriptors(vm->stats.fd, &header);
	for (i = 0; i < header.num_desc && !found; i++)
		found = !strcmp(get_stats_descriptor(desc, i, &header)->name, name);
	free(desc);

	return found;
}

static void alloc_mem(struct change_pte_test *t)
{
	/* One more page than the guest has; a hugepage has to be aligned. */
	const size_t align = t->huge ? SZ_2M : PAGE_SIZE;

	t->mem_size = align_up((t->nr_pages + 1) * PAGE_SIZE, align);
	t->map_size = t->mem_size + (t->huge ? SZ_2M : 0);
	if (t->file)
		t->fd = kvm_memfd_alloc(t->map_size, false);
	t->map = kvm_mmap(t->map_size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_NORESERVE |
			  (t->file ? 0 : MAP_ANONYMOUS), t->fd);
	t->mem = align_ptr_up(t->map, align);
	/* This fails without CONFIG_TRANSPARENT_HUGEPAGE, which does no harm. */
	madvise(t->mem, t->mem_size, t->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

/* Create a VM whose vCPUs run @guest_code with their number as its argument. */
void change_pte_setup(struct change_pte_test *t, void *guest_code)
{
	/* A hugepage is only mapped as such where all of it is in the slot. */
	u64 slot_size = t->huge ? SZ_2M : t->nr_pages * PAGE_SIZE;
	struct vm_shape shape = VM_SHAPE_DEFAULT;
	struct userspace_mem_region *region;
	int i, fd;

	t->fd = -1;
	if (t->gmem)
		shape.type = KVM_X86_SW_PROTECTED_VM;
	t->vm = __vm_create_with_vcpus(shape, t->nr_vcpus, 4 * t->nr_pages + 1024,
				       guest_code, t->vcpus);

	/* Children share the test's memory with the VM, and nothing else. */
	hash_for_each(t->vm->regions.slot_hash, i, region, slot_node)
		TEST_ASSERT(!madvise(region->mmap_start, region->mmap_size,
				     MADV_DONTFORK), "MADV_DONTFORK failed");

	if (t->gmem) {
		fd = vm_create_guest_memfd(t->vm, t->nr_pages * PAGE_SIZE, 0);
		vm_mem_add(t->vm, VM_MEM_SRC_ANONYMOUS, TEST_GPA, TEST_SLOT,
			   t->nr_pages, KVM_MEM_GUEST_MEMFD, fd, 0);
		t->mem = addr_gpa2hva(t->vm, TEST_GPA);
	} else {
		alloc_mem(t);
		vm_set_user_memory_region(t->vm, TEST_SLOT, t->slot_flags,
					  TEST_GPA, slot_size, t->mem);
	}
	virt_map(t->vm, TEST_GPA, TEST_GPA, t->nr_pages);

	if (t->alias) {
		vm_set_user_memory_region(t->vm, ALIAS_SLOT, 0, ALIAS_GPA,
					  t->nr_pages * PAGE_SIZE, t->mem);
		virt_map(t->vm, ALIAS_GPA, ALIAS_GPA, t->nr_pages);
	}

	for (i = 0; i < t->nr_vcpus; i++)
		vcpu_args_set(t->vcpus[i], 1, i);

	t->has_stats = change_pte_has_stats(t->vm);
}

void change_pte_teardown(struct change_pte_test *t)
{
	kvm_vm_free(t->vm);
	if (t->fd >= 0)
		close(t->fd);
	if (t->map)
		kvm_munmap(t->map, t->map_size);
}

/* Return what the guest has passed to GUEST_SYNC(), fail if it did not. */
u64 change_pte_expect_sync(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("Unexpected exit: %s",
			  exit_reason_str(vcpu->run->exit_reason));
	}
	return uc.args[1];
}

/* Run a vCPU until its next GUEST_SYNC(); the body of a thread. */
void *change_pte_run_vcpu(void *vcpu)
{
	vcpu_run(vcpu);
	change_pte_expect_sync(vcpu);
	return NULL;
}

/* Wait until a guest that counts @rounds has read all pages, from now on. */
void change_pte_wait_rounds(const u64 *rounds)
{
	u64 start = READ_ONCE(*rounds);

	while (READ_ONCE(*rounds) < start + 2)
		usleep(100);
}

/* Have the host fill all pages. */
void change_pte_write(struct change_pte_test *t, u64 gen, bool same)
{
	u64 i;

	for (i = 0; i < t->nr_pages; i++)
		fill_page(page_of((u64)t->mem, i), pattern(gen, same, i));
}

struct change_pte_counts change_pte_get_counts(struct change_pte_test *t)
{
	struct change_pte_counts c = {};
	int i;

	for (i = 0; i < t->nr_vcpus; i++) {
		c.faults += vcpu_get_stat(t->vcpus[i], pf_taken);
		c.exits += vcpu_get_stat(t->vcpus[i], exits);
	}
	if (t->has_stats) {
		c.changed = vm_get_stat(t->vm, mmu_change_pte_in_place);
		c.writable = vm_get_stat(t->vm, mmu_change_pte_writable);
		c.zapped = vm_get_stat(t->vm, mmu_change_pte_zapped);
	}
	return c;
}

/* Print what was counted since @from, and return it. */
struct change_pte_counts change_pte_report(struct change_pte_test *t,
					   const char *what,
					   struct change_pte_counts from)
{
	struct change_pte_counts c = change_pte_get_counts(t);
	char stats[96] = "";

	c.faults -= from.faults;
	c.exits -= from.exits;
	c.changed -= from.changed;
	c.writable -= from.writable;
	c.zapped -= from.zapped;

	if (t->has_stats)
		snprintf(stats, sizeof(stats), " in place %lu writable %lu zapped %lu",
			 c.changed, c.writable, c.zapped);
	ksft_print_msg("%s: %s: %u pages, %u vCPUs: faults %lu exits %lu%s\n",
		       t->name, what, t->nr_pages, t->nr_vcpus, c.faults,
		       c.exits, stats);

	return c;
}

static void __ksm_write(const char *name, unsigned int value, bool optional)
{
	char path[64], buf[16];
	int fd, len;

	snprintf(path, sizeof(path), "/sys/kernel/mm/ksm/%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0 && optional)
		return;
	if (fd < 0) {
		ksft_print_msg("Cannot write to %s\n", path);
		exit(KSFT_SKIP);
	}
	len = snprintf(buf, sizeof(buf), "%u", value);
	TEST_ASSERT(write(fd, buf, len) == len, "Writing %u to %s failed", value, path);
	close(fd);
}

/* Write to one of KSM's files; a test is skipped if there is no such file. */
void ksm_write(const char *name, unsigned int value)
{
	__ksm_write(name, value, false);
}

/* Have KSM scan fast, and not skip pages that it has scanned in vain. */
void ksm_setup(bool use_zero_pages)
{
	ksm_write("use_zero_pages", use_zero_pages);
	ksm_write("pages_to_scan", 10000);
	ksm_write("sleep_millisecs", 1);
	__ksm_write("smart_scan", 0, true);
}

/* What ksm_setup() and the tests change.  The last one makes use of the others. */
static const char * const ksm_settings[] = {
	"use_zero_pages", "pages_to_scan", "sleep_millisecs", "smart_scan", "run",
};

struct ksm_setting {
	unsigned int value;
	bool known;
};

static void ksm_save(struct ksm_setting *settings)
{
	char path[64];
	FILE *f;
	int i;

	for (i = 0; i < ARRAY_SIZE(ksm_settings); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/mm/ksm/%s", ksm_settings[i]);
		f = fopen(path, "r");
		settings[i].known = f && fscanf(f, "%u", &settings[i].value) == 1;
		if (f)
			fclose(f);
	}
}

static void ksm_restore(const struct ksm_setting *settings)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(ksm_settings); i++)
		if (settings[i].known)
			__ksm_write(ksm_settings[i], settings[i].value, true);
}

/* Return the number that follows @key in the file @path, 0 if there is none. */
unsigned long read_proc(const char *path, const char *key)
{
	char line[128];
	unsigned long value = 0;
	FILE *f;

	f = fopen(path, "r");
	TEST_ASSERT(f, "Cannot open %s", path);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)))
			continue;
		value = strtoul(line + strlen(key), NULL, 10);
		break;
	}
	fclose(f);

	return value;
}

/*
 * Have KSM merge at least @nr pages of this process, or as many zero pages, among
 * them those at @mem, whose contents don't change meanwhile. What KSM counts is
 * as of the last time it looked at a page, and it merges what it finds unchanged:
 * wait for some scans.
 */
void ksm_merge(void *mem, size_t size, unsigned long nr, bool use_zero_pages)
{
	const char *scans = "/sys/kernel/mm/ksm/full_scans";
	unsigned long merged, start;
	int i;

	ksm_setup(use_zero_pages);
	TEST_ASSERT(!madvise(mem, size, MADV_MERGEABLE), "MADV_MERGEABLE failed");
	start = read_proc(scans, "");
	ksm_write("run", 1);

	for (i = 0; i < 1200; i++) {
		usleep(100000);
		merged = use_zero_pages ?
			 read_proc("/proc/self/ksm_stat", "ksm_zero_pages") :
			 read_proc("/proc/self/ksm_merging_pages", "");
		if (merged >= nr && read_proc(scans, "") >= start + 4)
			break;
	}
	ksm_write("run", 0);
	TEST_ASSERT(i < 1200, "KSM has merged %lu pages of %lu in %lu scans", merged, nr,
		    read_proc(scans, "") - start);
}

/*
 * Run a test in a child and return its kselftest exit code: a TEST_ASSERT() that
 * fails ends the process, and the tests that follow are to run nevertheless.  KSM's
 * settings are as before then.
 */
int change_pte_run_test(void (*fn)(const void *arg), const void *arg)
{
	struct ksm_setting settings[ARRAY_SIZE(ksm_settings)];
	int status;
	pid_t pid;

	ksm_save(settings);
	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		fn(arg);
		exit(KSFT_PASS);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");
	ksm_restore(settings);
	if (WIFEXITED(status) &&
	    (WEXITSTATUS(status) == KSFT_PASS || WEXITSTATUS(status) == KSFT_SKIP))
		return WEXITSTATUS(status);

	ksft_print_msg("Test process ended with status %#x\n", status);
	return KSFT_FAIL;
}
