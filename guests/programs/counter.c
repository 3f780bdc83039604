// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that shows whether a snapshot of the machine is of one moment.
 *
 *   counter PAGES PASSES
 *
 * Writes one generation after the other to all of PAGES. When one is complete all
 * pages are equal, and the host may merge them: they are only read then, in so many
 * PASSES. (It does not sleep: the clocks of a guest that was stopped are wrong.) At any
 * moment the pages before the one that is written next have this generation, the others
 * the last one. If a page has another one, "torn" is printed and it ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE	4096ul

static char *mem;

static volatile unsigned long *word(unsigned long page)
{
	return (unsigned long *)(mem + page * PAGE);
}

/* End unless the page has what was written to it last. */
static void check(unsigned long page, unsigned long expected)
{
	unsigned long found = *word(page);

	if (found == expected)
		return;
	printf("counter: torn: page %lu has generation %lu, not %lu\n", page, found, expected);
	exit(1);
}

int main(int argc, char **argv)
{
	unsigned long pages = argc == 3 ? strtoul(argv[1], NULL, 0) : 0;
	unsigned long passes = argc == 3 ? strtoul(argv[2], NULL, 0) : 0;
	unsigned long generation, pass, i;

	if (!pages || !passes) {
		fprintf(stderr, "usage: counter PAGES PASSES\n");
		return 2;
	}
	mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED) {
		perror("counter: mmap");
		return 2;
	}
	/* A huge page of the guest would do no harm, but small ones are simpler. */
	madvise(mem, pages * PAGE, MADV_NOHUGEPAGE);
	memset(mem, 0, pages * PAGE);

	for (generation = 1;; generation++) {
		for (i = 0; i < pages; i++) {
			check(i, generation - 1);
			*word(i) = generation;
		}
		printf("counter: generation %lu is complete\n", generation);
		fflush(stdout);
		for (pass = 0; pass < passes; pass++)
			for (i = 0; i < pages; i++)
				check(i, generation);
	}
}
