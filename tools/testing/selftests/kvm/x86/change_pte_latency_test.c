// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measure how long a guest stands still at most while ksmd merges its pages, or
 * the host copies them again.  A vCPU sleeps, its timer wakes it, the handler
 * stamps a page and reads another one.  The gap is the time from stamp to stamp.
 *
 * The vCPU's thread has a real-time priority.  Where it shares one CPU with the
 * host's work, and the kernel has PREEMPT, the gap exceeds the timer's period by
 * what can't be preempted: where the lock of a page table is held, or mmu_lock.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>

#include "apic.h"
#include "change_pte.h"
#include "test_util.h"

#define NR_PAGES	254
#define MAX_ROUNDS	32
#define TIMER_VECTOR	0x40
/* KVM's APIC timer runs at 1 GHz, and has no lower limit if it is one-shot. */
#define PERIOD_NS	50000
#define IDLE_TICKS	1000
#define NS_PER_US	1000

/* Shared with the guest. */
static u64 stop;
static u64 watch;
static u64 ticks;
static u64 last;	/* stamp, in cycles of the TSC */
static u64 longest;
static u64 sum;

static unsigned int nr_rounds = 5;
static double cycles_per_us;

static struct {
	u64 *stop;
	u64 *watch;
	u64 *ticks;
	u64 *longest;
	u64 *sum;
} host;

/* In microseconds, by round. */
struct gaps {
	const char *name;
	double longest[MAX_ROUNDS];
	double mean[MAX_ROUNDS];
	double ticks[MAX_ROUNDS];
};

static void guest_timer(struct ex_regs *regs)
{
	u64 now = rdtsc();

	if (READ_ONCE(watch)) {
		/* What was before the first tick doesn't count. */
		if (ticks) {
			longest = max(longest, now - last);
			sum += now - last;
		}
		WRITE_ONCE(ticks, ticks + 1);
	} else {
		longest = 0;
		sum = 0;
		WRITE_ONCE(ticks, 0);
	}
	last = now;
	WRITE_ONCE(*page_of(TEST_GPA, 0), now);
	READ_ONCE(*page_of(TEST_GPA, 1 + ticks % (NR_PAGES - 1)));
	x2apic_write_reg(APIC_EOI, 0);
	x2apic_write_reg(APIC_TMICT, PERIOD_NS);
}

static void guest_code(u64 me)
{
	x2apic_enable();
	x2apic_write_reg(APIC_TDCR, 0xb);	/* a count per cycle */
	x2apic_write_reg(APIC_LVTT, APIC_LVT_TIMER_ONESHOT | TIMER_VECTOR);
	x2apic_write_reg(APIC_TMICT, PERIOD_NS);
	while (!READ_ONCE(stop)) {
		safe_halt();
		cli();
	}
	GUEST_SYNC(0);
}

/* Wait until the handler has seen that it is, or is not, to measure. */
static void set_watch(bool on)
{
	WRITE_ONCE(*host.watch, on);
	while ((READ_ONCE(*host.ticks) > 0) != on)
		usleep(PERIOD_NS / NS_PER_US);
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(const char *name, const char *metric, double *values)
{
	qsort(values, nr_rounds, sizeof(*values), compare);
	printf("# result bench=latency case=%s pages=%u metric=%s ",
	       name, NR_PAGES, metric);
	printf("median=%.3f min=%.3f max=%.3f runs=%u\n", values[nr_rounds / 2],
	       values[0], values[nr_rounds - 1], nr_rounds);
}

static void measure(struct change_pte_test *t, struct gaps *g, unsigned int round,
		    void (*work)(struct change_pte_test *t))
{
	u64 seen;

	set_watch(true);
	work(t);
	/* A gap counts when it ends. */
	seen = READ_ONCE(*host.ticks);
	while (READ_ONCE(*host.ticks) < seen + 2)
		usleep(PERIOD_NS / NS_PER_US);
	g->ticks[round] = READ_ONCE(*host.ticks);
	g->longest[round] = READ_ONCE(*host.longest) / cycles_per_us;
	g->mean[round] = READ_ONCE(*host.sum) / cycles_per_us / (g->ticks[round] - 1);
	set_watch(false);
}

static void do_nothing(struct change_pte_test *t)
{
	while (READ_ONCE(*host.ticks) < IDLE_TICKS)
		usleep(10 * PERIOD_NS / NS_PER_US);
}

/* Without the page that is stamped, which KSM sees change. */
static void do_merge(struct change_pte_test *t)
{
	ksm_merge(t->mem, t->nr_pages * PAGE_SIZE, t->nr_pages - 1, false);
}

static void do_copy(struct change_pte_test *t)
{
	u64 i;

	for (i = 1; i < t->nr_pages; i++)
		fill_page(page_of((u64)t->mem, i), i);
}

int main(int argc, char *argv[])
{
	struct change_pte_test t = { .name = "latency", .nr_pages = NR_PAGES, .nr_vcpus = 1 };
	struct gaps idle = { "idle" }, merge = { "merge" }, copy = { "copy" };
	struct gaps *all[] = { &idle, &merge, &copy };
	struct sched_param priority = { .sched_priority = 1 };
	pthread_t vcpu;
	unsigned int i;
	int opt;

	while ((opt = getopt(argc, argv, "hr:")) != -1) {
		if (opt != 'r') {
			printf("usage: %s [-h] [-r rounds (default %u)]\n", argv[0], nr_rounds);
			exit(0);
		}
		nr_rounds = atoi_positive("Number of rounds", optarg);
	}
	TEST_ASSERT(nr_rounds <= MAX_ROUNDS, "At most %u rounds", MAX_ROUNDS);

	change_pte_setup(&t, guest_code);
	vm_install_exception_handler(t.vm, TIMER_VECTOR, guest_timer);
	/* KVM polls before it lets a vCPU sleep, which would keep the host from work. */
	vm_enable_cap(t.vm, KVM_CAP_HALT_POLL, 0);
	host.stop = addr_gva2hva(t.vm, (gva_t)&stop);
	host.watch = addr_gva2hva(t.vm, (gva_t)&watch);
	host.ticks = addr_gva2hva(t.vm, (gva_t)&ticks);
	host.longest = addr_gva2hva(t.vm, (gva_t)&longest);
	host.sum = addr_gva2hva(t.vm, (gva_t)&sum);

	cycles_per_us = __vcpu_ioctl(t.vcpus[0], KVM_GET_TSC_KHZ, NULL) / 1000.0;
	TEST_ASSERT(cycles_per_us > 0, "KVM_GET_TSC_KHZ failed");

	kvm_pthread_create(&vcpu, NULL, change_pte_run_vcpu, t.vcpus[0]);
	TEST_ASSERT(!pthread_setschedparam(vcpu, SCHED_FIFO, &priority),
		    "No real-time priority");

	for (i = 0; i < nr_rounds; i++) {
		change_pte_write(&t, i + 1, true);
		measure(&t, &idle, i, do_nothing);
		measure(&t, &merge, i, do_merge);
		measure(&t, &copy, i, do_copy);
	}
	WRITE_ONCE(*host.stop, 1);
	kvm_pthread_join(vcpu, NULL);

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		report(all[i]->name, "longest_gap_us", all[i]->longest);
		report(all[i]->name, "mean_gap_us", all[i]->mean);
		report(all[i]->name, "ticks", all[i]->ticks);
	}
	change_pte_teardown(&t);

	return 0;
}
