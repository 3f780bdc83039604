/* SPDX-License-Identifier: GPL-2.0 */
/* What the cases of pte_changes have in common. */
#ifndef PTE_CHANGES_H
#define PTE_CHANGES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE		4096UL
#define PAGES		64UL
#define LEN		(PAGES * PAGE)
#define PMD_LEN		(2UL << 20)
#define RW		(PROT_READ | PROT_WRITE)

/* A way to have the kernel change page table entries; an array ends with an empty one. */
struct change {
	const char *name;
	void (*run)(void);
};

extern const struct change memory_changes[], tracking_changes[];

extern const char *device;	/* a block device for swap */

/* How a case says where it begins and ends, and that it can't be had. */
void mark(void);
void told(unsigned long entries);
void done(unsigned long entries);		/* mark() and told() */
void skip(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void need(bool ok, const char *what);		/* or skip(), with what errno says */
unsigned long get(const char *path);		/* a number in a file of sysfs */

/* Memory to change entries of, PAGES each. */
char *room(void);
char *touched(void);
char *file_room(int flags);
void write_to(char *p);
void read_from(const char *p);
unsigned long resident(bool anonymous);

pid_t child(void (*run)(char *p), char *p);
void wait_for(pid_t pid);
void nothing(char *p);
void sleep_on(char *p);

/* Those of the cases that others build on. */
void fork_with(unsigned long entries);
void swap_on(void);
char *swapped(void);
void frames_of(char *p, uint64_t *frames);

#endif
