// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measure what a host and its guests pay when the host merges pages of the guests
 * (KSM), or copies them on write: page faults that the guest takes, VM exits and
 * CPU time per page.  The measurement includes the guest's next access to these
 * pages, whose cost depends on whether KVM has changed its SPTEs in place or has
 * zapped them.
 *
 * ksm: several processes have a VM each.  All guests write the same contents to
 * all of their pages; then ksmd merges the pages; then the guests read them.
 *
 * cow: a process forks, as for a snapshot.  Either it writes to the pages of its
 * guest, and the guest reads and writes them afterwards, or the guest writes to
 * pages that it has read before.  Or the memory is a private mapping of a file, as
 * that of a virtual machine that is restored from a snapshot, and the guest writes
 * to each page once.
 *
 * running: ksmd merges pages while vCPUs run, which read these pages, or other
 * memory.  It takes a CPU per vCPU, and one more.
 *
 * CPU time is that of the threads that do the work: of ksmd, and of the vCPUs'
 * threads, guests included.  Time spent sleeping doesn't count.  Exits, faults and
 * flushes of remote TLBs are those of all vCPUs.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "change_pte.h"
#include "test_util.h"

#define KSM_DIR		"/sys/kernel/mm/ksm/"

/* KSM shares a page at most 256 times by default. */
#define RUNNING_PAGES	254

#define MAX_GUESTS	32
#define MAX_ROUNDS	32
#define MERGE_SECONDS	600
/* ksmd takes a break this long after a scan, so that it can be stopped there. */
#define SCAN_BREAK_MS	500
/* Shorter, as vCPUs run meanwhile and have exits of their own. */
#define RUNNING_BREAK_MS 20

enum guest_op {
	OP_READ,
	OP_WRITE,
	OP_SPIN,
};

/* Shared with the guest, in a memslot that isn't inherited by fork(). */
static struct {
	u64 op;
	u64 nr_pages;
	u64 value;
	u64 base;
} cmd;

static u64 stop_spin;
static u64 spins[MAX_VCPUS];

static unsigned int nr_guests = 4;
static unsigned int nr_pages = 1024;
static unsigned int nr_rounds = 3;

/* How long ksmd sleeps between two scans. */
static unsigned int ksm_break_ms;

struct guest {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	void *mem;
	pid_t pid;
	int sock;
};

struct cost {
	u64 faults;
	u64 exits;
	u64 flushes;		/* of remote TLBs, that kicked a vCPU */
	u64 requests;		/* of such flushes */
	u64 ns;
};

/* What one phase costs all guests together, by round. */
struct phase {
	const char *name;
	bool guest;		/* else nobody but the host runs: no faults, no exits */
	bool no_time;		/* CPU time says nothing */
	struct cost costs[MAX_ROUNDS];
};

/* Read one word per page, all the time. */
static void guest_spin(u64 me)
{
	u64 i, n;

	for (n = 1; !READ_ONCE(stop_spin); n++) {
		for (i = 0; i < cmd.nr_pages; i++)
			READ_ONCE(*(u64 *)(cmd.base + i * PAGE_SIZE));
		WRITE_ONCE(spins[me], n);
	}
}

static void guest_code(u64 me)
{
	u64 i, *word;

	for (;;) {
		if (READ_ONCE(cmd.op) == OP_SPIN)
			guest_spin(me);
		for (i = 0; cmd.op != OP_SPIN && i < READ_ONCE(cmd.nr_pages); i++) {
			word = (u64 *)(TEST_GPA + i * PAGE_SIZE);
			if (cmd.op == OP_WRITE)
				WRITE_ONCE(*word, cmd.value);
			else
				GUEST_ASSERT_EQ(READ_ONCE(*word), cmd.value);
		}
		GUEST_SYNC(0);
	}
}

static u64 cpu_time(clockid_t clock)
{
	struct timespec ts;

	TEST_ASSERT(!clock_gettime(clock, &ts), "clock_gettime() failed");
	return ts.tv_sec * 1000000000ul + ts.tv_nsec;
}

/* Children share the test's own memory with the VM, and nothing else. */
static void keep_from_children(struct kvm_vm *vm)
{
	struct userspace_mem_region *region;
	int i;

	hash_for_each(vm->regions.slot_hash, i, region, slot_node)
		TEST_ASSERT(!madvise(region->mmap_start, region->mmap_size,
				     MADV_DONTFORK), "MADV_DONTFORK failed");
}

/* Create a guest whose memory is anonymous, or a private mapping of the file @fd. */
static void create_guest(struct guest *g, int fd)
{
	size_t size = nr_pages * PAGE_SIZE;

	g->vm = __vm_create_with_one_vcpu(&g->vcpu, nr_pages, guest_code);
	keep_from_children(g->vm);

	g->mem = kvm_mmap(size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd);
	/* This fails without CONFIG_TRANSPARENT_HUGEPAGE, which does no harm. */
	madvise(g->mem, size, MADV_NOHUGEPAGE);
	vm_set_user_memory_region(g->vm, TEST_SLOT, 0, TEST_GPA, size, g->mem);
	virt_map(g->vm, TEST_GPA, TEST_GPA, nr_pages);
}

static struct cost get_cost(struct kvm_vm *vm, struct kvm_vcpu **vcpus, int nr,
			    clockid_t clock)
{
	struct cost c = {};
	int i;

	for (i = 0; i < nr; i++) {
		c.faults += vcpu_get_stat(vcpus[i], pf_taken);
		c.exits += vcpu_get_stat(vcpus[i], exits);
	}
	c.flushes = vm_get_stat(vm, remote_tlb_flush);
	c.requests = vm_get_stat(vm, remote_tlb_flush_requests);
	c.ns = cpu_time(clock);

	return c;
}

static struct cost cost_between(struct cost from, struct cost to)
{
	return (struct cost) {
		.faults = to.faults - from.faults,
		.exits = to.exits - from.exits,
		.flushes = to.flushes - from.flushes,
		.requests = to.requests - from.requests,
		.ns = to.ns - from.ns,
	};
}

static struct cost sum_of(struct cost a, struct cost b)
{
	return (struct cost) {
		.faults = a.faults + b.faults,
		.exits = a.exits + b.exits,
		.flushes = a.flushes + b.flushes,
		.requests = a.requests + b.requests,
		.ns = a.ns + b.ns,
	};
}

static struct cost run_guest(struct guest *g, enum guest_op op, u64 value)
{
	struct cost from, to;
	u64 ns;

	cmd.op = op;
	cmd.nr_pages = nr_pages;
	cmd.value = value;
	sync_global_to_guest(g->vm, cmd);

	from = get_cost(g->vm, &g->vcpu, 1, CLOCK_THREAD_CPUTIME_ID);
	vcpu_run(g->vcpu);
	ns = cpu_time(CLOCK_THREAD_CPUTIME_ID);
	to = get_cost(g->vm, &g->vcpu, 1, CLOCK_THREAD_CPUTIME_ID);
	to.ns = ns;

	change_pte_expect_sync(g->vcpu);

	return cost_between(from, to);
}

static void destroy_guest(struct guest *g)
{
	kvm_vm_free(g->vm);
	kvm_munmap(g->mem, nr_pages * PAGE_SIZE);
}

static int compare(const void *a, const void *b)
{
	const u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static void report_metric(const char *bench, const char *name, u64 pages,
			  const char *metric, u64 *values)
{
	qsort(values, nr_rounds, sizeof(*values), compare);
	printf("# result bench=%s case=%s pages=%lu metric=%s ",
	       bench, name, pages, metric);
	printf("median=%.4f min=%.4f max=%.4f runs=%u\n",
	       (double)values[nr_rounds / 2] / pages, (double)values[0] / pages,
	       (double)values[nr_rounds - 1] / pages, nr_rounds);
}

static void report(const char *bench, const struct phase *p, u64 pages)
{
	u64 faults[MAX_ROUNDS], exits[MAX_ROUNDS], flushes[MAX_ROUNDS];
	u64 requests[MAX_ROUNDS], ns[MAX_ROUNDS];
	int i;

	for (i = 0; i < nr_rounds; i++) {
		faults[i] = p->costs[i].faults;
		exits[i] = p->costs[i].exits;
		flushes[i] = p->costs[i].flushes;
		requests[i] = p->costs[i].requests;
		ns[i] = p->costs[i].ns;
	}

	if (p->guest) {
		report_metric(bench, p->name, pages, "page_faults_per_page", faults);
		report_metric(bench, p->name, pages, "exits_per_page", exits);
		report_metric(bench, p->name, pages, "remote_tlb_flushes_per_page", flushes);
		report_metric(bench, p->name, pages, "remote_tlb_flush_requests_per_page",
			      requests);
	}
	if (!p->no_time)
		report_metric(bench, p->name, pages, "ns_per_page", ns);
}

/* Report what both phases take together. */
static void report_sum(const char *bench, const char *name, const struct phase *a,
		       const struct phase *b, u64 pages)
{
	struct phase sum = { .name = name, .guest = true };
	int i;

	for (i = 0; i < nr_rounds; i++)
		sum.costs[i] = sum_of(a->costs[i], b->costs[i]);
	report(bench, &sum, pages);
}

/* What a process with a VM of its own is told to run its guest with. */
struct request {
	u64 op;
	u64 value;
};

static void serve_guest(struct guest *g)
{
	struct request req;
	struct cost c;

	create_guest(g, -1);
	TEST_ASSERT(!madvise(g->mem, nr_pages * PAGE_SIZE, MADV_MERGEABLE),
		    "MADV_MERGEABLE failed");
	while (read(g->sock, &req, sizeof(req)) == sizeof(req)) {
		c = run_guest(g, req.op, req.value);
		TEST_ASSERT(write(g->sock, &c, sizeof(c)) == sizeof(c), "write() failed");
	}
	destroy_guest(g);
	_exit(0);
}

static void start_guest(struct guest *guests, int nr)
{
	struct guest *g = &guests[nr];
	int socks[2], i;

	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks),
		    "socketpair() failed");
	g->pid = fork();
	TEST_ASSERT(g->pid >= 0, "fork() failed");
	if (!g->pid) {
		/* A guest ends when the last other end of its socket is closed. */
		for (i = 0; i < nr; i++)
			close(guests[i].sock);
		close(socks[0]);
		g->sock = socks[1];
		serve_guest(g);
	}
	close(socks[1]);
	g->sock = socks[0];
}

static struct cost run_guests(struct guest *guests, enum guest_op op, u64 value)
{
	struct request req = { .op = op, .value = value };
	struct cost c, sum = {};
	int i;

	/* One after the other, so that no guest pays for another one. */
	for (i = 0; i < nr_guests; i++) {
		TEST_ASSERT(write(guests[i].sock, &req, sizeof(req)) == sizeof(req) &&
			    read(guests[i].sock, &c, sizeof(c)) == sizeof(c),
			    "Guest %d has died", i);
		sum = sum_of(sum, c);
	}

	return sum;
}

static void stop_guest(struct guest *g)
{
	int status;

	close(g->sock);
	TEST_ASSERT(waitpid(g->pid, &status, 0) == g->pid && !status,
		    "A guest's process has failed");
}

static u64 read_ksm(const char *name)
{
	char path[PATH_MAX];
	u64 value;
	FILE *f;

	snprintf(path, sizeof(path), KSM_DIR "%s", name);
	f = fopen(path, "r");
	TEST_ASSERT(f && fscanf(f, "%lu", &value) == 1, "Cannot read %s", path);
	fclose(f);

	return value;
}

static void write_ksm(const char *name, u64 value)
{
	char path[PATH_MAX], buf[32];
	int fd, len;

	snprintf(path, sizeof(path), KSM_DIR "%s", name);
	fd = open(path, O_WRONLY);
	__TEST_REQUIRE(fd >= 0, "Cannot write to %s", path);
	len = snprintf(buf, sizeof(buf), "%lu", value);
	TEST_ASSERT(write(fd, buf, len) == len, "Writing %lu to %s failed", value, path);
	close(fd);
}

/* Return the clock that counts ksmd's CPU time. */
static clockid_t ksmd_clock(void)
{
	char path[PATH_MAX], comm[32];
	struct dirent *entry;
	clockid_t clock;
	pid_t pid = 0;
	FILE *f;
	DIR *d;

	d = opendir("/proc");
	TEST_ASSERT(d, "Cannot open /proc");
	while (!pid && (entry = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(comm, sizeof(comm), f) && !strcmp(comm, "ksmd\n"))
			pid = atoi(entry->d_name);
		fclose(f);
	}
	closedir(d);
	TEST_ASSERT(pid, "There is no ksmd");
	TEST_ASSERT(!clock_getcpuclockid(pid, &clock), "Cannot get ksmd's clock");

	return clock;
}

/* Let ksmd scan all pages until it has merged them. */
static struct cost merge(clockid_t ksmd, u64 pages)
{
	struct cost c = { .ns = cpu_time(ksmd) };
	u64 scans = read_ksm("full_scans");
	int i;

	write_ksm("run", 1);
	for (i = 0; i < MERGE_SECONDS * 10000 / ksm_break_ms; i++) {
		usleep(ksm_break_ms * 1000 / 10);
		/* Only stop in a break, not in the middle of a scan. */
		if (read_ksm("full_scans") == scans)
			continue;
		scans = read_ksm("full_scans");
		if (read_ksm("pages_shared") + read_ksm("pages_sharing") >= pages)
			break;
	}
	write_ksm("run", 0);
	TEST_ASSERT(read_ksm("pages_shared") + read_ksm("pages_sharing") >= pages,
		    "KSM has merged %lu pages of %lu",
		    read_ksm("pages_shared") + read_ksm("pages_sharing"), pages);
	c.ns = cpu_time(ksmd) - c.ns;

	return c;
}

static void setup_ksm(unsigned int break_ms)
{
	TEST_REQUIRE(!access(KSM_DIR "run", W_OK));
	/* With this, ksmd takes a break after each scan, and at no other time. */
	write_ksm("run", 2);
	write_ksm("pages_to_scan", UINT_MAX);
	write_ksm("sleep_millisecs", break_ms);
	ksm_break_ms = break_ms;
	write_ksm("use_zero_pages", 0);
	if (!access(KSM_DIR "smart_scan", W_OK))
		write_ksm("smart_scan", 0);
}

static void bench_ksm(void)
{
	static struct guest guests[MAX_GUESTS];
	struct phase write = { .name = "write", .guest = true };
	struct phase merging = { .name = "merge" };
	struct phase read = { .name = "read", .guest = true };
	u64 pages = (u64)nr_guests * nr_pages;
	clockid_t ksmd;
	int i;

	setup_ksm(SCAN_BREAK_MS);
	ksmd = ksmd_clock();

	for (i = 0; i < nr_guests; i++)
		start_guest(guests, i);

	/* The first round (-1) populates memory and KSM's data structures. */
	for (i = -1; i < (int)nr_rounds; i++) {
		int round = max(i, 0);

		write.costs[round] = run_guests(guests, OP_WRITE, i + 2);
		merging.costs[round] = merge(ksmd, pages);
		read.costs[round] = run_guests(guests, OP_READ, i + 2);
	}

	report("ksm", &write, pages);
	report("ksm", &merging, pages);
	report("ksm", &read, pages);
	report_sum("ksm", "merge+read", &merging, &read, pages);

	for (i = 0; i < nr_guests; i++)
		stop_guest(&guests[i]);
}

/* A child that shares the memory until it is told to go. */
static pid_t fork_child(void)
{
	pid_t pid = fork();

	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		for (;;)
			pause();
	}
	return pid;
}

static void kill_child(pid_t pid)
{
	TEST_ASSERT(!kill(pid, SIGKILL) && waitpid(pid, NULL, 0) == pid,
		    "Cannot kill the child");
}

static struct cost host_write(struct guest *g, u64 value)
{
	struct cost c = { .ns = cpu_time(CLOCK_THREAD_CPUTIME_ID) };
	u64 i;

	for (i = 0; i < nr_pages; i++)
		WRITE_ONCE(*(u64 *)(g->mem + i * PAGE_SIZE), value);
	c.ns = cpu_time(CLOCK_THREAD_CPUTIME_ID) - c.ns;

	return c;
}

/* Memory is a private mapping of a file, as after a restore from a snapshot. */
static void bench_private_file(bool read_first)
{
	struct phase write = {
		.name = read_first ? "private-file-read" : "private-file",
		.guest = true,
	};
	size_t size = nr_pages * PAGE_SIZE;
	struct guest g;
	int i, fd;

	fd = kvm_memfd_alloc(size, false);

	/* A private page stays private, so each round takes a new guest. */
	for (i = -1; i < (int)nr_rounds; i++) {
		create_guest(&g, fd);
		if (read_first)
			run_guest(&g, OP_READ, 0);
		write.costs[max(i, 0)] = run_guest(&g, OP_WRITE, 1);
		destroy_guest(&g);
	}
	report("cow", &write, nr_pages);
	close(fd);
}

static void bench_cow(void)
{
	struct phase copy = { .name = "copy" };
	struct phase read = { .name = "read", .guest = true };
	struct phase write = { .name = "write", .guest = true };
	struct phase both = { .name = "copy+read", .guest = true };
	struct phase guest_write = { .name = "guest-cow", .guest = true };
	struct guest g;
	pid_t pid;
	int i;

	create_guest(&g, -1);
	run_guest(&g, OP_WRITE, 0);

	for (i = -1; i < (int)nr_rounds; i++) {
		int round = max(i, 0);
		u64 value = 4 * (i + 1);

		/* fork() zaps all SPTEs.  The guest is at work meanwhile. */
		pid = fork_child();
		run_guest(&g, OP_READ, value);
		copy.costs[round] = host_write(&g, value + 1);
		read.costs[round] = run_guest(&g, OP_READ, value + 1);
		write.costs[round] = run_guest(&g, OP_WRITE, value + 2);
		kill_child(pid);

		pid = fork_child();
		run_guest(&g, OP_READ, value + 2);
		guest_write.costs[round] = run_guest(&g, OP_WRITE, value + 4);
		kill_child(pid);
	}

	for (i = 0; i < nr_rounds; i++)
		both.costs[i] = sum_of(copy.costs[i], read.costs[i]);

	report("cow", &copy, nr_pages);
	report("cow", &read, nr_pages);
	report("cow", &both, nr_pages);
	report("cow", &write, nr_pages);
	report_sum("cow", "copy+read+write", &both, &write, nr_pages);
	report("cow", &guest_write, nr_pages);
	destroy_guest(&g);

	bench_private_file(false);
	bench_private_file(true);
}

/* Wait until each vCPU has read all pages, from now on. */
static void wait_for_spins(struct kvm_vm *vm, int nr_vcpus)
{
	u64 *n = addr_gva2hva(vm, (gva_t)spins);
	u64 start;
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		start = READ_ONCE(n[i]);
		while (READ_ONCE(n[i]) < start + 2)
			usleep(1000);
	}
}

/*
 * Have ksmd merge memory of a guest whose @nr_vcpus read from it, or, if they are
 * to be @elsewhere, from as much memory beside it.
 */
static void bench_running_vcpus(const char *name, int nr_vcpus, bool elsewhere)
{
	const size_t size = RUNNING_PAGES * PAGE_SIZE;
	struct phase merging = { .name = name, .guest = true, .no_time = true };
	struct kvm_vcpu *vcpus[MAX_VCPUS];
	pthread_t threads[MAX_VCPUS];
	clockid_t ksmd = ksmd_clock();
	struct kvm_vm *vm;
	struct cost from;
	u64 *mem, w;
	int round, i;

	vm = vm_create_with_vcpus(nr_vcpus, guest_code, vcpus);
	/* With a gap, or ksmd's range of pages would include the other ones. */
	mem = kvm_mmap(4 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(mem, 4 * size, MADV_NOHUGEPAGE);
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, 4 * size, mem);
	virt_map(vm, TEST_GPA, TEST_GPA, 4 * RUNNING_PAGES);
	TEST_ASSERT(!madvise(mem, size, MADV_MERGEABLE), "MADV_MERGEABLE failed");
	for (i = 0; i < nr_vcpus; i++)
		vcpu_args_set(vcpus[i], 1, i);

	for (round = 0; round < nr_rounds; round++) {
		/* All pages are the same, until they are written to again. */
		for (i = 0; i < RUNNING_PAGES; i++)
			for (w = 0; w < PAGE_SIZE / sizeof(u64); w++)
				mem[i * PAGE_SIZE / sizeof(u64) + w] = round + 1;

		stop_spin = 0;
		sync_global_to_guest(vm, stop_spin);
		cmd.op = OP_SPIN;
		cmd.nr_pages = RUNNING_PAGES;
		cmd.base = TEST_GPA + (elsewhere ? 3 * size : 0);
		sync_global_to_guest(vm, cmd);
		for (i = 0; i < nr_vcpus; i++)
			kvm_pthread_create(&threads[i], NULL, change_pte_run_vcpu, vcpus[i]);
		wait_for_spins(vm, nr_vcpus);

		from = get_cost(vm, vcpus, nr_vcpus, ksmd);
		merge(ksmd, RUNNING_PAGES);
		merging.costs[round] = cost_between(from, get_cost(vm, vcpus, nr_vcpus, ksmd));

		stop_spin = 1;
		sync_global_to_guest(vm, stop_spin);
		for (i = 0; i < nr_vcpus; i++)
			kvm_pthread_join(threads[i], NULL);
	}

	report("ksm", &merging, RUNNING_PAGES);
	kvm_vm_free(vm);
	kvm_munmap(mem, 4 * size);
}

static void bench_running(void)
{
	setup_ksm(RUNNING_BREAK_MS);
	bench_running_vcpus("merge-running-1", 1, false);
	bench_running_vcpus("merge-running-2", 2, false);
	bench_running_vcpus("merge-running-4", 4, false);
	bench_running_vcpus("merge-elsewhere-2", 2, true);
}

static const struct {
	const char *name;
	void (*fn)(void);
} benches[] = {
	{ "ksm", bench_ksm },
	{ "cow", bench_cow },
	{ "running", bench_running },
};

static void help(const char *name)
{
	printf("usage: %s [-h] [-b ksm|cow|running] [-g guests] [-n pages] [-r rounds]\n"
	       " -b: run this benchmark only\n"
	       " -g: number of guests whose pages are merged (default %u)\n"
	       " -n: number of pages per guest (default %u)\n"
	       " -r: number of rounds (default %u)\n",
	       name, nr_guests, nr_pages, nr_rounds);
	exit(0);
}

int main(int argc, char *argv[])
{
	const char *only = NULL;
	bool found = false;
	int opt, i;

	while ((opt = getopt(argc, argv, "hb:g:n:r:")) != -1) {
		switch (opt) {
		case 'b':
			only = optarg;
			break;
		case 'g':
			nr_guests = atoi_positive("Number of guests", optarg);
			break;
		case 'n':
			nr_pages = atoi_positive("Number of pages", optarg);
			break;
		case 'r':
			nr_rounds = atoi_positive("Number of rounds", optarg);
			break;
		case 'h':
		default:
			help(argv[0]);
		}
	}
	TEST_ASSERT(nr_guests <= MAX_GUESTS && nr_rounds <= MAX_ROUNDS,
		    "At most %u guests and %u rounds", MAX_GUESTS, MAX_ROUNDS);
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_BINARY_STATS_FD));

	/* Children must not repeat lines of output. */
	setvbuf(stdout, NULL, _IOLBF, 0);

	for (i = 0; i < ARRAY_SIZE(benches); i++) {
		if (only && strcmp(only, benches[i].name))
			continue;
		found = true;
		benches[i].fn();
	}
	TEST_ASSERT(found, "No such benchmark: %s", only);

	return 0;
}
