// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps old objects of libgc's and stores pointers to young ones in them, while its
 * incremental, generational collector finds by page faults what was written. An object that
 * it overlooked is taken for free memory, and comes back with other contents.
 *
 * usage: gc_marks ROUNDS; with GC_ENABLE_INCREMENTAL=1 in the environment
 */
#include <gc.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOTS	(1 << 15)
#define CHANGES	4096

struct cell {
	struct cell *next;
	unsigned long slot, generation, check;
};

static struct cell **slots;
static unsigned long seed = 1;

static unsigned long next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static struct cell *new_cell(unsigned long slot, unsigned long generation, struct cell *next)
{
	struct cell *cell = GC_MALLOC(sizeof(*cell));

	if (!cell) {
		printf("gc_marks: no memory\n");
		exit(1);
	}
	cell->next = next;
	cell->slot = slot;
	cell->generation = generation;
	cell->check = slot ^ (generation << 32);
	return cell;
}

static void check(unsigned long slot)
{
	for (struct cell *cell = slots[slot]; cell; cell = cell->next) {
		if (cell->slot != slot || cell->check != (slot ^ (cell->generation << 32))) {
			printf("gc_marks: torn: slot %lu was collected\n", slot);
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc == 2 ? strtoul(argv[1], NULL, 0) : 0;

	if (!rounds) {
		fprintf(stderr, "usage: %s ROUNDS\n", argv[0]);
		return 2;
	}
	GC_INIT();
	if (!GC_is_incremental_mode()) {
		printf("gc_marks: not incremental: GC_ENABLE_INCREMENTAL=1 is missing\n");
		return 1;
	}
	printf("gc_marks: protects: %d\n", GC_incremental_protection_needs());
	slots = GC_MALLOC(SLOTS * sizeof(*slots));
	for (unsigned long i = 0; i < SLOTS; i++)
		slots[i] = new_cell(i, 0, NULL);
	for (unsigned long round = 1; round <= rounds; round++) {
		for (int i = 0; i < CHANGES; i++) {
			unsigned long slot = next_random() % SLOTS;
			struct cell *old = slots[slot];

			/* Young ones behind an old one, or one that takes its place. */
			if (next_random() & 1)
				old->next = new_cell(slot, round, NULL);
			else
				slots[slot] = new_cell(slot, round, new_cell(slot, round, NULL));
			GC_MALLOC_ATOMIC(next_random() % 512);
		}
		GC_collect_a_little();
		if (round % 16 == 0)
			for (unsigned long i = 0; i < SLOTS; i++)
				check(i);
	}
	for (unsigned long i = 0; i < SLOTS; i++)
		check(i);
	printf("gc_marks: %lu collections\n", (unsigned long)GC_get_gc_no());
	printf("gc_marks: whole\n");
	return 0;
}
