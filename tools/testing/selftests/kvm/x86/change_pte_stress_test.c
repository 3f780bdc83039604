// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stress changes of SPTEs in place: vCPUs check and change a pattern in memory
 * that the host merges and unmerges (KSM), copies on write after fork(), ages
 * and swaps out, all at once, as far as the kernel can.
 *
 * No vCPU may ever read a word that it hasn't written, and what it has written
 * must be in memory at the end.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "change_pte.h"
#include "test_util.h"

/* Shared with the guest, in a memslot that isn't inherited by fork(). */
static struct {
	u64 base;
	u64 nr_pages;
	u64 nr_vcpus;
} cmd;

static u64 stop_stress;
static u64 rounds[MAX_VCPUS];
static u8 expected[MAX_PAGES];

/* Options. */
static unsigned int nr_pages = 64;
static unsigned int nr_vcpus = 1;
static unsigned int stress_seconds = 5;

static void guest_code(u64 me)
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
	GUEST_SYNC(0);
}

static void *stress_vcpu(void *vcpu)
{
	/* Per thread on Linux.  Leave some CPU time to ksmd and the host threads. */
	TEST_ASSERT(nice(15) == 15, "nice() failed");

	return change_pte_run_vcpu(vcpu);
}

static void *stress_ksm(void *arg)
{
	unsigned int i;

	for (i = 1; !READ_ONCE(stop_stress); i++) {
		ksm_write("run", 1);
		usleep(300000);
		if (!(i % 4))
			ksm_write("run", 2);
	}
	ksm_write("run", 2);
	return NULL;
}

static void *stress_fork(void *arg)
{
	struct change_pte_test *t = arg;
	pid_t pid;
	u64 i;

	while (!READ_ONCE(stop_stress)) {
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork() failed");
		if (!pid) {
			/* A vCPU that reads this has been handed the child's copy. */
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
		ksft_print_msg("No idle page tracking, not ageing pages\n");
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

	/* The first memcg and node: a small machine has nothing else. */
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
	/* This fails if the kernel has aged the LRU meanwhile, which is as good. */
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
	ksft_print_msg("%lu generations of the LRU\n", n);
	return NULL;
}

static void *stress_swap(void *arg)
{
	unsigned long before = read_proc("/proc/vmstat", "pswpout");
	struct change_pte_test *t = arg;

	while (!READ_ONCE(stop_stress)) {
		/* Writes to swap what isn't shared at the moment, if there is swap. */
		if (madvise(t->mem, t->mem_size, MADV_PAGEOUT))
			break;
		usleep(50000);
	}
	ksft_print_msg("%lu pages swapped out\n",
		       read_proc("/proc/vmstat", "pswpout") - before);
	return NULL;
}

/* Run the vCPUs and all of the host's threads at once, then stop both. */
static void run_threads(struct change_pte_test *t)
{
	void *(*host_fns[])(void *) = {
		stress_ksm, stress_fork, stress_age, stress_lru_gen, stress_swap,
	};
	pthread_t host[ARRAY_SIZE(host_fns)], threads[MAX_VCPUS];
	int i;

	stop_stress = 0;
	sync_global_to_guest(t->vm, stop_stress);
	cmd.base = TEST_GPA;
	cmd.nr_pages = nr_pages;
	cmd.nr_vcpus = nr_vcpus;
	sync_global_to_guest(t->vm, cmd);

	for (i = 0; i < nr_vcpus; i++)
		kvm_pthread_create(&threads[i], NULL, stress_vcpu, t->vcpus[i]);
	for (i = 0; i < ARRAY_SIZE(host_fns); i++)
		kvm_pthread_create(&host[i], NULL, host_fns[i], t);

	sleep(stress_seconds);

	WRITE_ONCE(stop_stress, 1);
	for (i = 0; i < ARRAY_SIZE(host_fns); i++)
		kvm_pthread_join(host[i], NULL);
	sync_global_to_guest(t->vm, stop_stress);
	for (i = 0; i < nr_vcpus; i++)
		kvm_pthread_join(threads[i], NULL);
}

static void test_stress(const void *arg)
{
	struct change_pte_test t = {
		.name = "stress",
		.nr_pages = nr_pages,
		.nr_vcpus = nr_vcpus,
	};
	u64 total = 0;
	int i;

	change_pte_setup(&t, guest_code);
	change_pte_write(&t, 0, true);
	TEST_ASSERT(!madvise(t.mem, t.mem_size, MADV_MERGEABLE),
		    "MADV_MERGEABLE failed");
	ksm_setup(true);

	run_threads(&t);

	sync_global_from_guest(t.vm, rounds);
	sync_global_from_guest(t.vm, expected);
	for (i = 0; i < nr_vcpus; i++) {
		TEST_ASSERT(rounds[i], "vCPU %d hasn't made any progress", i);
		total += rounds[i];
	}
	for (i = 0; i < nr_pages; i++)
		TEST_ASSERT_EQ(*page_of((u64)t.mem, i), pattern(expected[i], true, i));

	ksft_print_msg("%s: %u seconds, %lu rounds\n", t.name, stress_seconds, total);
	change_pte_report(&t, "total", (struct change_pte_counts) {});
	change_pte_teardown(&t);
}

static void help(const char *name)
{
	printf("usage: %s [-h] [-n pages] [-v vcpus] [-s seconds]\n"
	       " -n: number of pages (default %u)\n"
	       " -v: number of vCPUs (default %u)\n"
	       " -s: duration (default %u)\n",
	       name, nr_pages, nr_vcpus, stress_seconds);
	exit(0);
}

int main(int argc, char *argv[])
{
	int opt;

	while ((opt = getopt(argc, argv, "hn:v:s:")) != -1) {
		switch (opt) {
		case 'n':
			nr_pages = atoi_positive("Number of pages", optarg);
			break;
		case 'v':
			nr_vcpus = atoi_positive("Number of vCPUs", optarg);
			break;
		case 's':
			stress_seconds = atoi_positive("Seconds", optarg);
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
	ksft_set_plan(1);
	ksft_test_result_code(change_pte_run_test(test_stress, NULL), "stress", NULL);
	ksft_finished();
}
