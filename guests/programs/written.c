// SPDX-License-Identifier: GPL-2.0
/*
 * A process for a checkpoint that has to hold what it has written.
 *
 *   written PAGES
 *
 * Fills PAGES with one generation after the other, at SIGUSR1, all with the same, so
 * that KSM may merge them. Its memory is checked at SIGUSR2: "whole" if all pages have
 * the last generation, else "lost", and how many.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE	4096ul
#define WORDS	(PAGE / sizeof(unsigned long))

static unsigned long *mem;
static unsigned long pages;

static void fill(unsigned long generation)
{
	unsigned long i;

	for (i = 0; i < pages * WORDS; i++)
		mem[i] = generation;
	printf("written: generation %lu is complete\n", generation);
	fflush(stdout);
}

static void check(unsigned long generation)
{
	unsigned long lost = 0, i;

	for (i = 0; i < pages; i++)
		lost += mem[i * WORDS] != generation;
	printf("written: %s: %lu of %lu pages have not generation %lu\n",
	       lost ? "lost" : "whole", lost, pages, generation);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned long generation = 1;
	sigset_t signals;
	int signal;

	pages = argc == 2 ? strtoul(argv[1], NULL, 0) : 0;
	if (!pages) {
		fprintf(stderr, "usage: written PAGES\n");
		return 2;
	}
	mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED || madvise(mem, pages * PAGE, MADV_MERGEABLE)) {
		perror("written: memory that can be merged");
		return 2;
	}
	/* A huge page is split before it is merged, but small ones are simpler. */
	madvise(mem, pages * PAGE, MADV_NOHUGEPAGE);
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	fill(generation);

	while (!sigwait(&signals, &signal))
		if (signal == SIGUSR1)
			fill(++generation);
		else
			check(generation);
	return 1;
}
