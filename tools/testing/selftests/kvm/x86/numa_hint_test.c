// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test that NUMA balancing leaves those mappings of the guest alone that it does
 * not want to know about: of pages that are shared by fork(), merged by KSM, or pinned.
 * What it does want to know about still faults. And what is changed is changed, and
 * announced, also at address 0.
 *
 * It needs NUMA balancing, debugfs and two nodes; numa=fake=2 will do.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/mempolicy.h>
#include <linux/sizes.h>

#include "../../../../../mm/gup_test.h"
#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"

#define TEST_SLOT	10
#define TEST_GPA	0x40000000ul
#define NR_PAGES	256
#define NR_SCANS	5
#define TIMEOUT		60
#define TIMEOUT_0	10
#define SCHED		"/sys/kernel/debug/sched/numa_balancing/"
#define KSM		"/sys/kernel/mm/ksm/"

/* Shared with the guest. */
static u64 stop;
static u64 laps;

enum how { PLAIN, SHARED, MERGED, PINNED };

struct test {
	const char *name;
	enum how how;
	char *mem;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	u64 *stop;
	u64 *laps;
	int gup_test;
	pid_t child;
};

/* What settings were before, to be restored at the end. */
static struct setting {
	const char *path;
	char old[32];
} settings[8];
static int nr_settings;

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static void restore_settings(void)
{
	while (nr_settings--)
		write_text(settings[nr_settings].path, settings[nr_settings].old);
}

static bool set(const char *path, const char *text)
{
	struct setting *s = &settings[nr_settings];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, s->old, sizeof(s->old) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	TEST_ASSERT(nr_settings < ARRAY_SIZE(settings), "Too many settings");
	s->old[n] = 0;
	s->path = path;
	nr_settings++;
	return write_text(path, text);
}

/* How often all of our memory was scanned; -1 if the kernel doesn't tell. */
static long scans(void)
{
	char line[128];
	long n = -1;
	FILE *f = fopen("/proc/self/sched", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "mm->numa_scan_seq", 17))
			n = atol(strchr(line, ':') + 1);
	if (f)
		fclose(f);
	return n;
}

static unsigned long ksm_merged(void)
{
	unsigned long n = 0;
	FILE *f = fopen("/proc/self/ksm_merging_pages", "r");

	if (f && fscanf(f, "%lu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

static void guest_code(void)
{
	u64 i;

	while (!READ_ONCE(stop)) {
		for (i = 0; i < NR_PAGES; i++)
			READ_ONCE(*(u64 *)(TEST_GPA + i * PAGE_SIZE));
		WRITE_ONCE(laps, laps + 1);
	}
	GUEST_DONE();
}

static void *run_vcpu(void *data)
{
	struct test *t = data;
	struct ucall uc;

	vcpu_run(t->vcpu);
	TEST_ASSERT(get_ucall(t->vcpu, &uc) == UCALL_DONE, "%s: unexpected exit: %s",
		    t->name, exit_reason_str(t->vcpu->run->exit_reason));
	return NULL;
}

static void wait_for_guest(struct test *t)
{
	u64 until = READ_ONCE(*t->laps) + 3;

	while (READ_ONCE(*t->laps) < until)
		usleep(1000);
}

/* Have KSM merge all pages. Returns whether it has. */
static bool merge(struct test *t)
{
	time_t until = time(NULL) + TIMEOUT;

	if (madvise(t->mem, NR_PAGES * PAGE_SIZE, MADV_MERGEABLE) ||
	    !set(KSM "pages_to_scan", "10000") ||
	    !set(KSM "sleep_millisecs", "1") ||
	    !set(KSM "run", "1"))
		return false;
	while (ksm_merged() < NR_PAGES && time(NULL) < until)
		usleep(10000);
	/* What is merged stays so. */
	write_text(KSM "run", "0");
	errno = ETIME;
	return ksm_merged() >= NR_PAGES;
}

/* Returns whether memory could be made what the test is about. */
static bool prepare(struct test *t)
{
	struct pin_longterm_test pin = {
		.addr = (unsigned long)t->mem,
		.size = NR_PAGES * PAGE_SIZE,
		.flags = PIN_LONGTERM_TEST_FLAG_USE_WRITE,
	};

	switch (t->how) {
	case SHARED:
		t->child = fork();
		TEST_ASSERT(t->child >= 0, "fork() failed");
		if (!t->child) {
			pause();
			_exit(0);
		}
		return true;
	case MERGED:
		return merge(t);
	case PINNED:
		t->gup_test = open("/sys/kernel/debug/gup_test", O_RDWR);
		return t->gup_test >= 0 &&
		       !ioctl(t->gup_test, PIN_LONGTERM_TEST_START, &pin);
	default:
		return true;
	}
}

static void undo(struct test *t)
{
	if (t->child > 0) {
		kill(t->child, SIGKILL);
		waitpid(t->child, NULL, 0);
	}
	if (t->gup_test >= 0)
		close(t->gup_test);
}

/* NUMA balancing doesn't scan what is bound: the guest's code, stack, page tables. */
static void bind_rest(struct kvm_vm *vm)
{
	struct userspace_mem_region *region;
	unsigned long node = 1;
	int i;

	hash_for_each(vm->regions.slot_hash, i, region, slot_node)
		if (region->region.slot != TEST_SLOT)
			TEST_ASSERT(!syscall(__NR_mbind, region->mmap_start,
					     region->mmap_size, MPOL_BIND, &node,
					     8 * sizeof(node), 0), "mbind() failed");
}

/* Returns the faults that the guest takes while its memory is scanned, or -1. */
static long faults_of(const char *name, enum how how)
{
	struct test t = { .name = name, .how = how, .gup_test = -1 };
	time_t until = time(NULL) + TIMEOUT;
	pthread_t thread;
	long from, n, faults;
	char *map;

	/* A VMA of its own: with a hint in it, all that follows is announced. */
	map = kvm_mmap((NR_PAGES + 2) * PAGE_SIZE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	t.mem = map + PAGE_SIZE;
	TEST_ASSERT(!mprotect(t.mem, NR_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE),
		    "mprotect() failed");
	madvise(t.mem, NR_PAGES * PAGE_SIZE, MADV_NOHUGEPAGE);
	memset(t.mem, 1, NR_PAGES * PAGE_SIZE);

	t.vm = vm_create_with_one_vcpu(&t.vcpu, guest_code);
	vm_set_user_memory_region(t.vm, TEST_SLOT, 0, TEST_GPA,
				  NR_PAGES * PAGE_SIZE, t.mem);
	virt_map(t.vm, TEST_GPA, TEST_GPA, NR_PAGES);
	bind_rest(t.vm);
	t.stop = addr_gva2hva(t.vm, (gva_t)&stop);
	t.laps = addr_gva2hva(t.vm, (gva_t)&laps);

	if (!prepare(&t)) {
		pr_info("%s: skipped: %s\n", name, strerror(errno));
		undo(&t);
		kvm_vm_free(t.vm);
		munmap(map, (NR_PAGES + 2) * PAGE_SIZE);
		return -1;
	}

	pthread_create(&thread, NULL, run_vcpu, &t);
	wait_for_guest(&t);
	faults = vcpu_get_stat(t.vcpu, pf_taken);
	from = scans();
	while (scans() < from + NR_SCANS && time(NULL) < until)
		usleep(10000);
	n = scans() - from;
	wait_for_guest(&t);
	faults = vcpu_get_stat(t.vcpu, pf_taken) - faults;

	WRITE_ONCE(*t.stop, 1);
	pthread_join(thread, NULL);
	undo(&t);
	kvm_vm_free(t.vm);
	munmap(map, (NR_PAGES + 2) * PAGE_SIZE);

	pr_info("%s: %d pages, scanned %ld times: %ld faults\n", name, NR_PAGES, n, faults);
	TEST_ASSERT(n >= NR_SCANS, "NUMA balancing doesn't scan");
	return faults;
}

static void change_address_0(void)
{
	int fd = open("/dev/zero", O_RDONLY);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	char *mem;

	mem = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (mem) {
		pr_info("address 0: skipped: %s\n", strerror(errno));
		close(fd);
		return;
	}
	TEST_ASSERT(read(fd, mem, 1) == 1, "Can't write to address 0");

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	TEST_ASSERT(!mprotect(mem, PAGE_SIZE, PROT_READ), "mprotect() failed");
	TEST_ASSERT(read(fd, mem, 1) < 0 && errno == EFAULT,
		    "Memory at address 0 is writable still");
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, TEST_GPA, TEST_SLOT, 1, 0);
	kvm_vm_free(vm);

	munmap(mem, PAGE_SIZE);
	close(fd);
}

/*
 * A range may begin at address 0, and is changed like any other. KVM waits for the
 * end of what was announced before it changes a memslot. If that never comes, whoever
 * waits can't be killed: a child.
 */
static void test_address_0(void)
{
	time_t until = time(NULL) + TIMEOUT_0;
	pid_t child, done;
	int status = 0;

	fflush(stdout);
	child = fork();
	TEST_ASSERT(child >= 0, "fork() failed");
	if (!child) {
		change_address_0();
		fflush(stdout);
		_exit(0);
	}
	while (!(done = waitpid(child, &status, WNOHANG)) && time(NULL) < until)
		usleep(10000);
	TEST_ASSERT(done, "KVM waits for the end of a change at address 0");
	TEST_ASSERT(done == child && !status, "Memory at address 0 didn't change");
}

int main(int argc, char *argv[])
{
	long shared, merged, pinned, plain;

	TEST_REQUIRE(scans() >= 0);
	TEST_REQUIRE(!access("/sys/devices/system/node/node1", F_OK));
	atexit(restore_settings);
	TEST_REQUIRE(set("/proc/sys/kernel/numa_balancing", "1"));
	TEST_REQUIRE(set(SCHED "scan_delay_ms", "10"));
	TEST_REQUIRE(set(SCHED "scan_period_min_ms", "20"));
	TEST_REQUIRE(set(SCHED "scan_period_max_ms", "40"));

	shared = faults_of("shared by fork", SHARED);
	merged = faults_of("merged", MERGED);
	pinned = faults_of("pinned", PINNED);
	plain = faults_of("plain", PLAIN);

	test_address_0();

	/* A few faults may have other reasons. */
	TEST_ASSERT(shared < NR_PAGES / 8, "KVM was told to drop shared pages");
	TEST_ASSERT(merged < NR_PAGES / 8, "KVM was told to drop merged pages");
	TEST_ASSERT(pinned < NR_PAGES / 8, "KVM was told to drop pinned pages");
	TEST_ASSERT(plain >= NR_PAGES, "NUMA balancing learns nothing");
	return 0;
}
