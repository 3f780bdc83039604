// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test that KVM follows changes of the primary MMU's PTEs in place, i.e. that
 * the guest doesn't fault when the host copies a page on write or merges it
 * with others (KSM), and that doing so is safe: the guest sees the right data,
 * can't write to a shared page, and its writes are seen by dirty logging.
 *
 * The number of page faults is checked only if KVM has the statistics that
 * count changed SPTEs, otherwise it is reported: one per page is to be expected.
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/bitmap.h>
#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "smm.h"

#define TEST_SLOT	10
#define ALIAS_SLOT	11
#define TEST_GPA	0x40000000ul
#define ALIAS_GPA	0x50000000ul
#define SMRAM_GPA	0x1000000ul

/* KSM shares a page at most 256 times by default, and there is one more page. */
#define MAX_PAGES	255
#define MAX_VCPUS	8
#define WORDS		(PAGE_SIZE / sizeof(u64))

#define RUNNING_ROUNDS	20

#define SMI_PORT	0xe

enum guest_op {
	OP_READ,
	OP_WRITE,
	OP_STRESS,
	OP_WATCH,
	OP_PEEK,
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
} cmd;

static u64 stop_stress;
static u64 rounds[MAX_VCPUS];
static u8 expected[MAX_PAGES];
static u64 at_least[MAX_PAGES];

/* Options. */
static unsigned int nr_pages = 64;
static unsigned int nr_vcpus = 1;
static unsigned int stress_seconds = 5;

struct test {
	const char *name;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[MAX_VCPUS];
	u64 *mem;
	size_t mem_size;
	int fd;			/* of the file that memory privately maps, or -1 */
	void *map;
	size_t map_size;
	u32 slot_flags;
	bool alias;
	bool huge;
	bool gmem;
	bool file;
	bool has_stats;
};

struct counts {
	u64 faults;
	u64 exits;
	u64 changed;
	u64 zapped;
};

/* What each word of a page holds: the same for all pages, or not. */
static u64 pattern(u64 gen, bool same, u64 page)
{
	return gen * 0x0101010101010101ul + (same ? 0 : page << 32);
}

static void fill_page(u64 *page, u64 value)
{
	int i;

	for (i = 0; i < WORDS; i++)
		WRITE_ONCE(page[i], value);
}

static u64 *page_of(u64 base, u64 i)
{
	return (u64 *)(base + i * PAGE_SIZE);
}

static void guest_stress(u64 me)
{
	u64 i, w, n;

	for (n = 0; !READ_ONCE(stop_stress); n++) {
		for (i = me; i < cmd.nr_pages; i += cmd.nr_vcpus) {
			u64 *page = page_of(cmd.base, i);
			u64 value = pattern(expected[i], true, i);

			for (w = 0; w < WORDS; w += 73)
				GUEST_ASSERT_EQ(READ_ONCE(page[w]), value);

			/* Rarely enough for KSM to find the page unchanged. */
			if ((i * 509 + n) % 32768)
				continue;

			expected[i] = (expected[i] + 1) & 3;
			fill_page(page, pattern(expected[i], true, i));
		}
		WRITE_ONCE(rounds[me], n + 1);
	}
}

/* Read all the time, without an exit that could flush a TLB by the way. */
static void guest_watch(u64 me)
{
	u64 i, n, least;

	for (n = 0; !READ_ONCE(stop_stress); n++) {
		for (i = 0; i < cmd.nr_pages; i++) {
			least = READ_ONCE(at_least[i]);
			GUEST_ASSERT(READ_ONCE(*page_of(cmd.base, i)) >= least);
		}
		WRITE_ONCE(rounds[me], n + 1);
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
		case OP_STRESS:
			guest_stress(me);
			break;
		case OP_WATCH:
			guest_watch(me);
			break;
		case OP_PEEK:
			GUEST_SYNC(READ_ONCE(*(u64 *)cmd.base));
			continue;
		}
		GUEST_SYNC(0);
	}
}

static u64 expect_sync(struct kvm_vcpu *vcpu)
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

static void guest_run(struct test *t, enum guest_op op, gpa_t base, u64 gen,
		      bool same)
{
	int i;

	cmd.op = op;
	cmd.base = base;
	cmd.gen = gen;
	cmd.same = same;
	cmd.nr_pages = nr_pages;
	cmd.nr_vcpus = nr_vcpus;
	sync_global_to_guest(t->vm, cmd);

	for (i = 0; i < nr_vcpus; i++) {
		vcpu_run(t->vcpus[i]);
		expect_sync(t->vcpus[i]);
	}
}

static void guest_read(struct test *t, u64 gen, bool same)
{
	guest_run(t, OP_READ, TEST_GPA, gen, same);
	if (t->alias)
		guest_run(t, OP_READ, ALIAS_GPA, gen, same);
}

static void guest_write(struct test *t, u64 gen, bool same)
{
	guest_run(t, OP_WRITE, TEST_GPA, gen, same);
}

static void host_write(u64 *mem, u64 gen, bool same)
{
	u64 i;

	for (i = 0; i < nr_pages; i++)
		fill_page(page_of((u64)mem, i), pattern(gen, same, i));
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

static bool has_stat(struct kvm_vm *vm, const char *name)
{
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

static struct counts get_counts(struct test *t)
{
	struct counts c = {};
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		c.faults += vcpu_get_stat(t->vcpus[i], pf_taken);
		c.exits += vcpu_get_stat(t->vcpus[i], exits);
	}
	if (t->has_stats) {
		c.changed = vm_get_stat(t->vm, mmu_change_pte_in_place);
		c.zapped = vm_get_stat(t->vm, mmu_change_pte_zapped);
	}
	return c;
}

static struct counts report(struct test *t, const char *what, struct counts from)
{
	struct counts c = get_counts(t);

	c.faults -= from.faults;
	c.exits -= from.exits;
	c.changed -= from.changed;
	c.zapped -= from.zapped;

	pr_info("%s: %s: %u pages, %u vCPUs: faults %lu exits %lu",
		t->name, what, nr_pages, nr_vcpus, c.faults, c.exits);
	if (t->has_stats)
		pr_info(" in place %lu zapped %lu", c.changed, c.zapped);
	pr_info("\n");

	return c;
}

/*
 * Check that @accesses took no page faults, and that at least @sptes SPTEs (per
 * alias) have been changed in place since @from, or none if they can't be.
 */
static void expect_in_place(struct test *t, struct counts from,
			    struct counts accesses, u64 sptes)
{
	struct counts c = get_counts(t);

	if (!t->has_stats)
		return;

	pr_info("%s: SPTEs changed in place %lu, zapped %lu\n", t->name,
		c.changed - from.changed, c.zapped - from.zapped);

	if (t->huge)
		return;

	if (t->gmem) {
		TEST_ASSERT_EQ(c.changed - from.changed, 0);
		return;
	}

	if (t->alias)
		sptes *= 2;
	TEST_ASSERT_EQ(accesses.faults, 0);
	TEST_ASSERT(c.changed - from.changed >= sptes,
		    "Expected at least %lu SPTEs to be changed, got %lu",
		    sptes, c.changed - from.changed);
}

/* Count the dirty pages, and start over. */
static unsigned int dirty_pages(struct test *t)
{
	unsigned long *bitmap = bitmap_zalloc(nr_pages);
	unsigned int i, nr = 0;

	kvm_vm_get_dirty_log(t->vm, TEST_SLOT, bitmap);
	for (i = 0; i < nr_pages; i++)
		nr += test_bit(i, bitmap);
	free(bitmap);

	return nr;
}

static void expect_dirty(struct test *t, unsigned int nr)
{
	if (t->slot_flags & KVM_MEM_LOG_DIRTY_PAGES)
		TEST_ASSERT_EQ(dirty_pages(t), nr);
}

static void alloc_mem(struct test *t)
{
	/*
	 * One more page than the guest has, and room to align.  If memory is
	 * aligned and always advised as a whole, its VMA doesn't get split later,
	 * which would zap SPTEs on either side (see split_huge_pmd_address()).
	 */
	t->mem_size = align_up((nr_pages + 1) * PAGE_SIZE, SZ_2M);
	t->map_size = t->mem_size + SZ_2M;
	if (t->file)
		t->fd = kvm_memfd_alloc(t->map_size, false);
	t->map = kvm_mmap(t->map_size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_NORESERVE |
			  (t->file ? 0 : MAP_ANONYMOUS), t->fd);
	t->mem = align_ptr_up(t->map, SZ_2M);
	/* Fails without CONFIG_TRANSPARENT_HUGEPAGE, never mind. */
	madvise(t->mem, t->mem_size, t->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static void setup(struct test *t, struct vm_shape shape)
{
	/* A hugepage is only mapped as such where all of it is in the slot. */
	u64 slot_size = t->huge ? SZ_2M : nr_pages * PAGE_SIZE;
	struct userspace_mem_region *region;
	int i, fd;

	t->vm = __vm_create_with_vcpus(shape, nr_vcpus, 4 * nr_pages + 1024,
				       guest_code, t->vcpus);

	/* Only the test's memory is to be shared with children. */
	hash_for_each(t->vm->regions.slot_hash, i, region, slot_node)
		TEST_ASSERT(!madvise(region->mmap_start, region->mmap_size,
				     MADV_DONTFORK), "MADV_DONTFORK failed");

	if (shape.type == KVM_X86_SW_PROTECTED_VM) {
		fd = vm_create_guest_memfd(t->vm, nr_pages * PAGE_SIZE, 0);
		vm_mem_add(t->vm, VM_MEM_SRC_ANONYMOUS, TEST_GPA, TEST_SLOT,
			   nr_pages, KVM_MEM_GUEST_MEMFD, fd, 0);
		t->mem = addr_gpa2hva(t->vm, TEST_GPA);
	} else {
		alloc_mem(t);
		vm_set_user_memory_region(t->vm, TEST_SLOT, t->slot_flags,
					  TEST_GPA, slot_size, t->mem);
	}
	virt_map(t->vm, TEST_GPA, TEST_GPA, nr_pages);

	if (t->alias) {
		vm_set_user_memory_region(t->vm, ALIAS_SLOT, 0, ALIAS_GPA,
					  nr_pages * PAGE_SIZE, t->mem);
		virt_map(t->vm, ALIAS_GPA, ALIAS_GPA, nr_pages);
	}

	for (i = 0; i < nr_vcpus; i++)
		vcpu_args_set(t->vcpus[i], 1, i);

	t->has_stats = has_stat(t->vm, "mmu_change_pte_in_place");
}

static void teardown(struct test *t)
{
	kvm_vm_free(t->vm);
	if (t->fd >= 0)
		close(t->fd);
	if (t->map)
		kvm_munmap(t->map, t->map_size);
}

/* A child that shares the memory, and checks in the end that it hasn't changed. */
static pid_t fork_child(struct test *t, int *wfd, u64 gen, bool same)
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

/* Write to the file, so that the memory still maps the file's own pages. */
static void file_write(struct test *t, u64 gen, bool same)
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

static void test_cow(struct test *t)
{
	struct counts start, c;
	pid_t pid;
	int wfd;

	if (t->file)
		file_write(t, 1, false);
	else
		host_write(t->mem, 1, false);
	guest_read(t, 1, false);

	pid = fork_child(t, &wfd, 1, false);

	/* Read-only from now on, and shared with the child. */
	guest_read(t, 1, false);
	if (t->huge)
		pr_info("%s: %lu SPTEs of 2 MiB\n", t->name,
			vm_get_stat(t->vm, pages_2m));
	if (t->slot_flags & KVM_MEM_LOG_DIRTY_PAGES)
		dirty_pages(t);

	start = get_counts(t);
	host_write(t->mem, 2, false);
	c = get_counts(t);
	guest_read(t, 2, false);
	c = report(t, "read after COW by the host", c);
	expect_in_place(t, start, c, nr_pages);
	/*
	 * An SPTE changed in place is read-only, whereas a read fault on a page
	 * that is writable again makes the SPTE writable, and the page dirty.
	 */
	if (t->has_stats)
		expect_dirty(t, 0);
	else if (t->slot_flags & KVM_MEM_LOG_DIRTY_PAGES)
		dirty_pages(t);

	c = get_counts(t);
	guest_write(t, 3, false);
	report(t, "write after COW by the host", c);
	TEST_ASSERT(host_check(t->mem, 3, false), "The guest's writes are lost");
	guest_read(t, 3, false);
	expect_dirty(t, nr_pages);

	finish_child(pid, wfd);

	/* This time, the guest's write faults are what makes the host copy. */
	pid = fork_child(t, &wfd, 3, false);
	guest_read(t, 3, false);
	c = get_counts(t);
	guest_write(t, 4, false);
	report(t, "write that makes the host COW", c);
	TEST_ASSERT(host_check(t->mem, 4, false), "The guest's writes are lost");
	guest_read(t, 4, false);
	expect_dirty(t, nr_pages);
	finish_child(pid, wfd);
}

static void __write_ksm(const char *name, unsigned int value, bool optional)
{
	char path[64], buf[16];
	int fd, len;

	snprintf(path, sizeof(path), "/sys/kernel/mm/ksm/%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0 && optional)
		return;
	__TEST_REQUIRE(fd >= 0, "Cannot write to %s", path);
	len = snprintf(buf, sizeof(buf), "%u", value);
	TEST_ASSERT(write(fd, buf, len) == len, "Writing %u to %s failed", value, path);
	close(fd);
}

static void write_ksm(const char *name, unsigned int value)
{
	__write_ksm(name, value, false);
}

/* Scan fast, and don't skip pages that have been scanned in vain. */
static void setup_ksm(bool use_zero_pages)
{
	write_ksm("use_zero_pages", use_zero_pages);
	write_ksm("pages_to_scan", 10000);
	write_ksm("sleep_millisecs", 1);
	__write_ksm("smart_scan", 0, true);
}

static unsigned long read_proc(const char *path, const char *key)
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

static void merge(struct test *t, bool zero)
{
	unsigned long nr;
	int i;

	setup_ksm(zero);
	TEST_ASSERT(!madvise(t->mem, t->mem_size, MADV_MERGEABLE),
		    "MADV_MERGEABLE failed");
	write_ksm("run", 1);

	for (i = 0; i < 1200; i++) {
		nr = zero ? read_proc("/proc/self/ksm_stat", "ksm_zero_pages") :
			    read_proc("/proc/self/ksm_merging_pages", "");
		if (nr > nr_pages)
			break;
		usleep(100000);
	}
	write_ksm("run", 0);
	TEST_ASSERT(nr > nr_pages, "KSM has merged %lu pages of %u", nr, nr_pages + 1);
}

static void test_ksm(struct test *t, bool zero)
{
	u64 gen = zero ? 0 : 5;
	u64 *control = page_of((u64)t->mem, nr_pages);
	struct counts start, c;
	int i;

	/* The control page is merged with the guest's, but not the guest's. */
	fill_page(control, pattern(gen, true, 0));
	guest_write(t, gen, true);
	guest_read(t, gen, true);
	if (t->slot_flags & KVM_MEM_LOG_DIRTY_PAGES)
		dirty_pages(t);

	start = get_counts(t);
	merge(t, zero);
	c = get_counts(t);
	guest_read(t, gen, true);
	c = report(t, zero ? "read after KSM merge with the zero page" :
			     "read after KSM merge", c);
	/* Each page is write-protected, and all but one may be replaced. */
	expect_in_place(t, start, c, 2 * nr_pages - 1);
	expect_dirty(t, 0);

	c = get_counts(t);
	guest_write(t, 6, false);
	report(t, "write after KSM merge", c);
	TEST_ASSERT(host_check(t->mem, 6, false), "The guest's writes are lost");
	guest_read(t, 6, false);
	expect_dirty(t, nr_pages);

	for (i = 0; i < WORDS; i++)
		TEST_ASSERT(READ_ONCE(control[i]) == pattern(gen, true, 0),
			    "The KSM page was written to");

	TEST_ASSERT(!madvise(t->mem, t->mem_size, MADV_UNMERGEABLE),
		    "MADV_UNMERGEABLE failed");
}

/* An SMI handler in a page that is only visible in SMM, i.e. to other SPTEs. */
static void test_smm(struct test *t)
{
	static const u8 handler[] = {
		0xb0, 0xfe,	/* mov $0xfe, %al */
		0xe4, SMI_PORT,	/* in $SMI_PORT, %al */
		0x0f, 0xaa,	/* rsm */
	};
	struct kvm_vcpu *vcpu = t->vcpus[0];
	struct counts start, c;
	u8 *page;
	pid_t pid;
	int i;

	setup_smram(t->vm, vcpu, SMRAM_GPA, handler, sizeof(handler));
	page = addr_gpa2hva(t->vm, SMRAM_GPA + 0x8000);

	guest_run(t, OP_NOP, 0, 0, false);

	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		pause();
		_exit(0);
	}

	for (i = 0; i < 2; i++) {
		start = get_counts(t);
		if (i)
			WRITE_ONCE(page[PAGE_SIZE - 1], 1);

		c = get_counts(t);
		inject_smi(vcpu);
		vcpu_run(vcpu);
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
		TEST_ASSERT_EQ(vcpu->run->io.port, SMI_PORT);
		if (i) {
			c = report(t, "SMI after COW of its handler", c);
			if (t->has_stats) {
				TEST_ASSERT_EQ(c.faults, 0);
				TEST_ASSERT(get_counts(t).changed > start.changed,
					    "No SPTE was changed in place");
			}
		}
		vcpu_run(vcpu);
		expect_sync(vcpu);
	}

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void *run_vcpu(void *arg)
{
	vcpu_run(arg);
	expect_sync(arg);
	return NULL;
}

/* Wait until the guest has read all pages, from now on. */
static void wait_for_round(struct test *t)
{
	u64 *round = addr_gva2hva(t->vm, (gva_t)rounds);
	u64 start = READ_ONCE(*round);

	while (READ_ONCE(*round) < start + 2)
		usleep(100);
}

/*
 * Copy pages on write while the guest is reading from them: once the host has
 * written to the new page, the guest must not read from the old one any more,
 * even if it is running and has the old page in its TLB.
 */
static void test_running(struct test *t)
{
	u64 *least = addr_gva2hva(t->vm, (gva_t)at_least);
	struct counts start, c = {};
	pthread_t thread;
	u64 round, i;
	pid_t pid;

	memset(least, 0, sizeof(at_least));
	host_write(t->mem, 0, true);
	stop_stress = 0;
	sync_global_to_guest(t->vm, stop_stress);
	cmd.op = OP_WATCH;
	cmd.base = TEST_GPA;
	cmd.nr_pages = nr_pages;
	sync_global_to_guest(t->vm, cmd);

	start = get_counts(t);
	pthread_create(&thread, NULL, run_vcpu, t->vcpus[0]);

	for (round = 1; round <= RUNNING_ROUNDS; round++) {
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork() failed");
		if (!pid) {
			pause();
			_exit(0);
		}

		/* It is fork() that has zapped the SPTEs. */
		wait_for_round(t);
		c.faults -= vcpu_get_stat(t->vcpus[0], pf_taken);
		for (i = 0; i < nr_pages; i++) {
			WRITE_ONCE(*page_of((u64)t->mem, i), round);
			WRITE_ONCE(least[i], round);
		}
		wait_for_round(t);
		c.faults += vcpu_get_stat(t->vcpus[0], pf_taken);

		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}

	WRITE_ONCE(stop_stress, 1);
	sync_global_to_guest(t->vm, stop_stress);
	pthread_join(thread, NULL);

	report(t, "in total", start);
	if (!t->has_stats)
		return;

	/*
	 * The guest may find an SPTE non-present on its way from one page to
	 * the other, but rarely.
	 */
	pr_info("%s: %lu faults while pages were copied\n", t->name, c.faults);
	c.changed = get_counts(t).changed - start.changed;
	TEST_ASSERT(c.changed >= RUNNING_ROUNDS * nr_pages,
		    "Only %lu SPTEs were changed in place", c.changed);
	TEST_ASSERT(c.faults < c.changed / 4,
		    "%lu faults, %lu SPTEs changed in place", c.faults, c.changed);
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

static u64 guest_peek(struct test *t, gpa_t gpa)
{
	cmd.op = OP_PEEK;
	cmd.base = gpa;
	sync_global_to_guest(t->vm, cmd);
	vcpu_run(t->vcpus[0]);

	return expect_sync(t->vcpus[0]);
}

/*
 * Have a page copied on write whose SPTE isn't to be changed in place: the vDSO
 * is part of the kernel's image, i.e. isn't ordinary memory.
 */
static void test_vdso(struct test *t)
{
	/* The padding at the end of e_ident in the ELF header. */
	const int word = 1;
	u64 *vdso = writable_vdso();
	gpa_t gpa = ALIAS_GPA + word * sizeof(*vdso);
	struct counts start, c;

	if (!vdso) {
		pr_info("%s: skipped, no vDSO that can be written to\n", t->name);
		return;
	}

	vm_set_user_memory_region(t->vm, ALIAS_SLOT, 0, ALIAS_GPA, PAGE_SIZE, vdso);
	virt_map(t->vm, ALIAS_GPA, ALIAS_GPA, 1);
	TEST_ASSERT_EQ(guest_peek(t, gpa), vdso[word]);

	start = get_counts(t);
	WRITE_ONCE(vdso[word], 0x77);
	c = get_counts(t);
	TEST_ASSERT_EQ(guest_peek(t, gpa), 0x77);
	c = report(t, "read after COW of the vDSO", c);
	if (!t->has_stats)
		return;

	TEST_ASSERT_EQ(c.faults, 1);
	c = get_counts(t);
	TEST_ASSERT_EQ(c.changed - start.changed, 0);
	TEST_ASSERT_EQ(c.zapped - start.zapped, 1);
}

static void *stress_vcpu(void *arg)
{
	/* Per thread on Linux.  Leave some CPU time to ksmd and the host threads. */
	TEST_ASSERT(nice(15) == 15, "nice() failed");

	return run_vcpu(arg);
}

static void *stress_ksm(void *arg)
{
	unsigned int i;

	for (i = 1; !READ_ONCE(stop_stress); i++) {
		write_ksm("run", 1);
		usleep(300000);
		if (!(i % 4))
			write_ksm("run", 2);
	}
	write_ksm("run", 2);
	return NULL;
}

static void *stress_fork(void *arg)
{
	struct test *t = arg;
	pid_t pid;
	u64 i;

	while (!READ_ONCE(stop_stress)) {
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork() failed");
		if (!pid) {
			/* Whoever gets to see this has been handed our copy. */
			for (i = 0; i < nr_pages; i++)
				fill_page(page_of((u64)t->mem, i), -1ul);
			_exit(0);
		}

		/* Let the guest map pages as they are now, read-only. */
		usleep(2000);

		/* Copy pages on write without a change to their contents. */
		for (i = 0; i < nr_pages; i++)
			__atomic_fetch_or(page_of((u64)t->mem, i), 0, __ATOMIC_RELAXED);

		waitpid(pid, NULL, 0);
		usleep(100000);
	}
	return NULL;
}

static void *stress_age(void *arg)
{
	u64 ones[512];
	off_t pos;
	int fd;

	fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);
	if (fd < 0) {
		pr_info("No idle page tracking, not ageing pages\n");
		return NULL;
	}

	memset(ones, 0xff, sizeof(ones));
	while (!READ_ONCE(stop_stress)) {
		for (pos = 0; !READ_ONCE(stop_stress); pos += sizeof(ones)) {
			if (pwrite(fd, ones, sizeof(ones), pos) <= 0)
				break;
			/* Reading is what makes it look at the SPTEs. */
			if (pread(fd, ones, sizeof(ones), pos) <= 0)
				break;
			memset(ones, 0xff, sizeof(ones));
		}
		usleep(10000);
	}
	close(fd);
	return NULL;
}

/* Start a new generation of the multi-gen LRU, which walks page tables and SPTEs. */
static bool age_lru_gen(void)
{
	static const char path[] = "/sys/kernel/debug/lru_gen";
	unsigned long memcg = 0, gen = 0, max_gen = 0;
	unsigned int node = 0;
	char line[256], key[16];
	bool ok;
	FILE *f;

	/* The first memcg and node, which is what matters in a small machine. */
	f = fopen(path, "r");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " %15s %lu", key, &gen) == 2 && !strcmp(key, "memcg")) {
			if (max_gen)
				break;
			memcg = gen;
		} else if (sscanf(line, " node %u", &node) != 1 &&
			   sscanf(line, " %lu", &gen) == 1) {
			max_gen = gen;
		}
	}
	fclose(f);

	f = fopen(path, "w");
	if (!f)
		return false;
	ok = fprintf(f, "+ %lu %u %lu 1 1\n", memcg, node, max_gen) > 0;
	/* Somebody else may have been faster, never mind. */
	fclose(f);

	return ok && max_gen;
}

static void *stress_lru_gen(void *arg)
{
	u64 n;

	for (n = 0; !READ_ONCE(stop_stress); n++) {
		if (!age_lru_gen())
			break;
		usleep(20000);
	}
	pr_info("%lu generations of the LRU\n", n);
	return NULL;
}

static void *stress_swap(void *arg)
{
	unsigned long before = read_proc("/proc/vmstat", "pswpout");
	struct test *t = arg;

	while (!READ_ONCE(stop_stress)) {
		/* Writes to swap what isn't shared at the moment, if there is swap. */
		if (madvise(t->mem, t->mem_size, MADV_PAGEOUT))
			break;
		usleep(50000);
	}
	pr_info("%lu pages swapped out\n", read_proc("/proc/vmstat", "pswpout") - before);
	return NULL;
}

static void test_stress(struct test *t)
{
	void *(*host_fns[])(void *) = {
		stress_ksm, stress_fork, stress_age, stress_lru_gen, stress_swap,
	};
	pthread_t host[ARRAY_SIZE(host_fns)], threads[MAX_VCPUS];
	u64 total = 0;
	int i;

	host_write(t->mem, 0, true);
	TEST_ASSERT(!madvise(t->mem, t->mem_size, MADV_MERGEABLE),
		    "MADV_MERGEABLE failed");
	setup_ksm(true);

	stop_stress = 0;
	sync_global_to_guest(t->vm, stop_stress);
	cmd.op = OP_STRESS;
	cmd.base = TEST_GPA;
	cmd.nr_pages = nr_pages;
	cmd.nr_vcpus = nr_vcpus;
	sync_global_to_guest(t->vm, cmd);

	for (i = 0; i < nr_vcpus; i++)
		pthread_create(&threads[i], NULL, stress_vcpu, t->vcpus[i]);
	for (i = 0; i < ARRAY_SIZE(host_fns); i++)
		pthread_create(&host[i], NULL, host_fns[i], t);

	sleep(stress_seconds);

	WRITE_ONCE(stop_stress, 1);
	for (i = 0; i < ARRAY_SIZE(host_fns); i++)
		pthread_join(host[i], NULL);
	sync_global_to_guest(t->vm, stop_stress);
	for (i = 0; i < nr_vcpus; i++)
		pthread_join(threads[i], NULL);

	sync_global_from_guest(t->vm, rounds);
	sync_global_from_guest(t->vm, expected);
	for (i = 0; i < nr_vcpus; i++) {
		TEST_ASSERT(rounds[i], "vCPU %d hasn't made any progress", i);
		total += rounds[i];
	}
	for (i = 0; i < nr_pages; i++)
		TEST_ASSERT_EQ(*page_of((u64)t->mem, i), pattern(expected[i], true, i));

	pr_info("%s: %u seconds, %lu rounds\n", t->name, stress_seconds, total);
	report(t, "total", (struct counts) {});
}

static const struct {
	const char *name;
	void (*fn)(struct test *t);
	u32 slot_flags;
	bool alias;
	bool huge;
	bool gmem;
	bool file;
} tests[] = {
	{ .name = "plain" },
	{ .name = "dirty-log", .slot_flags = KVM_MEM_LOG_DIRTY_PAGES },
	{ .name = "alias", .alias = true },
	{ .name = "file", .file = true },
	{ .name = "thp", .huge = true },
	{ .name = "guest_memfd", .gmem = true },
	{ .name = "smm", .fn = test_smm },
	{ .name = "running", .fn = test_running },
	{ .name = "vdso", .fn = test_vdso },
	{ .name = "stress", .fn = test_stress },
};

static void run_test(int i)
{
	struct vm_shape shape = VM_SHAPE_DEFAULT;
	struct test t = {
		.name = tests[i].name,
		.slot_flags = tests[i].slot_flags,
		.alias = tests[i].alias,
		.huge = tests[i].huge,
		.gmem = tests[i].gmem,
		.file = tests[i].file,
		.fd = -1,
	};

	if (tests[i].gmem) {
		if (!(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM))) {
			pr_info("%s: skipped, no VMs with private memory\n", t.name);
			return;
		}
		shape.type = KVM_X86_SW_PROTECTED_VM;
	}
	if (tests[i].fn == test_smm && !kvm_has_cap(KVM_CAP_X86_SMM)) {
		pr_info("%s: skipped, no SMM\n", t.name);
		return;
	}
	if (tests[i].fn == test_stress && !stress_seconds)
		return;

	setup(&t, shape);
	if (tests[i].fn) {
		tests[i].fn(&t);
	} else {
		test_cow(&t);
		/* The control page is the page after the guest's. */
		if (!tests[i].gmem) {
			test_ksm(&t, false);
			test_ksm(&t, true);
		}
	}
	teardown(&t);
	pr_info("%s: ok\n", t.name);
}

static void help(const char *name)
{
	int i;

	printf("usage: %s [-h] [-n pages] [-v vcpus] [-s seconds] [-t test]\n"
	       " -n: number of pages (default %u)\n"
	       " -v: number of vCPUs (default %u)\n"
	       " -s: duration of the stress test, 0 to leave it out (default %u)\n"
	       " -t: run this test only, one of\n",
	       name, nr_pages, nr_vcpus, stress_seconds);
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		printf("     %s\n", tests[i].name);
	exit(0);
}

int main(int argc, char *argv[])
{
	const char *only = NULL;
	bool found = false;
	int opt, i;

	while ((opt = getopt(argc, argv, "hn:v:s:t:")) != -1) {
		switch (opt) {
		case 'n':
			nr_pages = atoi_positive("Number of pages", optarg);
			break;
		case 'v':
			nr_vcpus = atoi_positive("Number of vCPUs", optarg);
			break;
		case 's':
			stress_seconds = atoi_non_negative("Seconds", optarg);
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
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_BINARY_STATS_FD));
	TEST_REQUIRE(access("/sys/kernel/mm/ksm/run", W_OK) == 0);

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		if (only && strcmp(only, tests[i].name))
			continue;
		found = true;
		run_test(i);
	}
	TEST_ASSERT(found, "No such test: %s", only);

	return 0;
}
