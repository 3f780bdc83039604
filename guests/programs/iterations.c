// SPDX-License-Identifier: GPL-2.0
/*
 * Times a testcase() of will-it-scale: ns per iteration, on one CPU, in the line
 * that timed_runs.h describes.
 *
 * A testcase never returns. With "rounds" what is timed begins and ends with a
 * munmap() of its own, which takes away what a round has faulted in page by page.
 * Else it is the time between two ticks of a timer.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP_MS	20
#define TIMED_MS	250

void testcase(unsigned long long *iterations, unsigned long nr);
void __attribute__((weak)) testcase_prepare(unsigned long nr_tasks) { }
int __real_munmap(void *address, size_t length);
void new_task(void *(*func)(void *), void *arg);

static const char *name;
static unsigned long long iterations, first;
static unsigned long long began;	/* ns; 0: not yet */
static volatile sig_atomic_t due;
static bool by_munmap;

static unsigned long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void tick_in(unsigned int ms)
{
	struct itimerval timer = {
		.it_value = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 },
	};

	setitimer(ITIMER_REAL, &timer, NULL);
}

static void begin(void)
{
	due = 0;
	first = iterations;
	began = now();
	tick_in(TIMED_MS);
}

static void __attribute__((noreturn)) end(void)
{
	double ns = (double)(now() - began) / (iterations - first);

	if (iterations == first) {
		printf("# %s: no iteration in %u ms\n", name, TIMED_MS);
		exit(1);
	}
	printf("# result bench=will-it-scale case=%s pages=1 threads=1 metric=ns_per_iteration median=%.2f min=%.2f max=%.2f runs=1\n",
	       name, ns, ns, ns);
	exit(0);
}

static void on_tick(int sig)
{
	(void)sig;
	due = 1;
	if (by_munmap)
		return;
	if (began)
		end();
	begin();
}

int __wrap_munmap(void *address, size_t length)
{
	int ret = __real_munmap(address, length);

	if (due && by_munmap) {
		if (began)
			end();
		begin();
	}
	return ret;
}

/* What a testcase needs beside itself ends with it. */
void new_task(void *(*func)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid < 0) {
		perror("# fork");
		exit(1);
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		func(arg);
		_exit(0);
	}
}

int main(int argc, char **argv)
{
	if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "rounds"))) {
		fprintf(stderr, "usage: %s NAME [rounds]\n", argv[0]);
		return 2;
	}
	name = argv[1];
	by_munmap = argc == 3;
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, on_tick);
	testcase_prepare(1);
	tick_in(WARM_UP_MS);
	testcase(&iterations, 0);
	return 1;
}
