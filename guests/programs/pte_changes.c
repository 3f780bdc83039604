// SPDX-License-Identifier: GPL-2.0
/*
 * Has the kernel change page table entries, in each of the ways that programs have.
 *
 *   pte_changes SWAP
 *
 * SWAP is a block device of a few MiB that was made a swap device. Each case of
 * memory_changes[] and tracking_changes[] runs in a process of its own. It calls personality() when it is prepared and again
 * when it is done, so that whoever records what the kernel executes knows what belongs
 * to the case; nothing else here calls it. Then it prints
 *
 *   # case NAME entries=N
 *
 * where N is how many entries were changed on behalf of the case, 0 if that can't be told.
 * If a case can't be had on this kernel, or fails, that is "# case NAME skipped: REASON",
 * and personality() is called all the same. Before the first case, getpriority() is called.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pte_changes.h"
#include "sysfs.h"

const char *device;
static struct {
	unsigned int marks;
	bool told;
} *shared;
static const char *name;

void mark(void)
{
	shared->marks++;
	syscall(SYS_personality, 0xffffffff);
}

void skip(const char *fmt, ...)
{
	va_list args;

	shared->told = true;
	printf("# case %s skipped: ", name);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	exit(1);
}

void need(bool ok, const char *what)
{
	if (!ok)
		skip("%s: %s", what, strerror(errno));
}

void told(unsigned long entries)
{
	shared->told = true;
	printf("# case %s entries=%lu\n", name, entries);
}

void done(unsigned long entries)
{
	mark();
	told(entries);
}

unsigned long get(const char *path)
{
	unsigned long value = 0;

	need(read_number(path, &value), path);
	return value;
}

/*
 * PAGES of private memory and one more, which is touched, so that the page table
 * is there. Others have other page tables.
 */
char *room(void)
{
	char *p = mmap(NULL, 2 * PMD_LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(p != MAP_FAILED, "mmap");
	p = (char *)(((uintptr_t)p + PMD_LEN - 1) & ~(PMD_LEN - 1));
	need(mmap(p, LEN + PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p, "mmap");
	madvise(p, LEN + PAGE, MADV_NOHUGEPAGE);
	p[LEN] = 1;
	return p;
}

void write_to(char *p)
{
	unsigned long i;

	for (i = 0; i < PAGES; i++)
		*(volatile unsigned long *)(p + i * PAGE) = i + 1;
}

void read_from(const char *p)
{
	unsigned long i;

	for (i = 0; i < PAGES; i++)
		(void)*(const volatile unsigned long *)(p + i * PAGE);
}

char *touched(void)
{
	char *p = room();

	write_to(p);
	return p;
}

/* How many pages we have mapped, or how many that are not of a file. */
unsigned long resident(bool anonymous)
{
	unsigned long pages, of_files;
	FILE *f = fopen("/proc/self/statm", "r");

	need(f && fscanf(f, "%*u %lu %lu", &pages, &of_files) == 2, "statm");
	fclose(f);
	return anonymous ? pages - of_files : pages;
}

/* Put a file that is in memory over the first PAGES of a room(). */
char *file_room(int flags)
{
	int fd = memfd_create("pte_changes", MFD_CLOEXEC);
	char page[PAGE] = "x", *p = room();
	unsigned int i;

	need(fd >= 0, "memfd");
	for (i = 0; i < PAGES; i++)
		need(write(fd, page, PAGE) == (ssize_t)PAGE, "write");
	need(mmap(p, LEN, RW, flags | MAP_FIXED, fd, 0) == p, "mmap");
	return p;
}

pid_t child(void (*run)(char *p), char *p)
{
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (!pid) {
		run(p);
		_exit(0);
	}
	return pid;
}

void wait_for(pid_t pid)
{
	int status;

	need(waitpid(pid, &status, 0) == pid && !status, "child");
}

void nothing(char *p)
{
	(void)p;
}

void sleep_on(char *p)
{
	(void)p;
	pause();
}

static void run(const struct change *change)
{
	pid_t pid;

	name = change->name;
	shared->marks = 0;
	shared->told = false;
	pid = fork();
	if (!pid) {
		change->run();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
		perror("# pte_changes");
		exit(1);
	}
	if (!shared->told)
		printf("# case %s skipped: it died\n", name);
	while (shared->marks < 2)
		mark();
}

int main(int argc, char **argv)
{
	const struct change *change;

	if (argc != 2) {
		fprintf(stderr, "usage: pte_changes SWAP\n");
		return 2;
	}
	device = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("# pte_changes");
		return 1;
	}
	syscall(SYS_getpriority, 0, 0);
	for (change = memory_changes; change->name; change++)
		run(change);
	for (change = tracking_changes; change->name; change++)
		run(change);
	return 0;
}
