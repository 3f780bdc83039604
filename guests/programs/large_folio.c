// SPDX-License-Identifier: GPL-2.0
/*
 * Changes protections of a file's pages in large folios: one big write, read back through a
 * mapping, then read-only, writable and no access in turn, on ranges that begin and end at
 * folios and on ones that do not; at last the file is cut. Prints KTAP.
 *
 * usage: large_folio DIRECTORY
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE		4096UL
#define SIZE		(4UL << 20)
#define PAGES		(SIZE / PAGE)
#define WORDS		(PAGE / sizeof(uint64_t))
#define COMPOUND	(1ULL << 15 | 1ULL << 16)	/* of /proc/kpageflags: head, tail */
#define PRESENT		(1ULL << 63)			/* of /proc/self/pagemap */
#define PFN		((1ULL << 55) - 1)

static const struct {
	unsigned long first, count;
} ranges[] = {
	{ 0, PAGES }, { 0, 512 }, { 512, 512 }, { 256, 256 }, { 0, 16 }, { 16, 16 },
	{ 1, 1 }, { 1, PAGES - 2 }, { 3, 61 }, { 511, 2 }, { 500, 40 }, { 17, 333 },
	{ PAGES - 1, 1 }, { PAGES - 5, 5 }, { 0, 1 }, { 255, 257 },
};
#define RANGES	(sizeof(ranges) / sizeof(ranges[0]))

static const char *name;
static uint64_t want[PAGES];		/* what each page's words hold, less their number */
static sigjmp_buf jump;
static volatile sig_atomic_t expected;	/* a signal, now */
static int tests, failed;

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static void result(bool good, const char *kind, const char *what)
{
	failed += !good;
	printf("%s %d - %s %s\n", good ? "ok" : "not ok", ++tests, kind, what);
}

static void on_signal(int sig)
{
	static const char text[] = "Bail out! a signal where there must be none\n";

	if (expected)
		siglongjmp(jump, sig);
	if (write(1, text, sizeof(text) - 1))
		_exit(1);
	_exit(1);
}

/* The signal that an access to @address ends with; 0 if it succeeds. */
static int access_signal(volatile uint64_t *address, bool write)
{
	int sig = sigsetjmp(jump, 1);

	expected = !sig;
	if (!sig) {
		if (write)
			*address = *address;
		else
			(void)*address;
	}
	expected = 0;
	return sig;
}

static bool holds(const uint64_t *page, uint64_t value)
{
	for (unsigned long i = 0; i < WORDS; i++)
		if (page[i] != value + i)
			return false;
	return true;
}

static void fill(uint64_t *page, uint64_t value)
{
	for (unsigned long i = 0; i < WORDS; i++)
		page[i] = value + i;
}

static bool all_hold(uint64_t *map)
{
	for (unsigned long i = 0; i < PAGES; i++)
		if (!holds(map + i * WORDS, want[i]))
			return false;
	return true;
}

/* How many pages of @map are parts of large folios. */
static unsigned long in_large_folios(uint64_t *map)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	int flags = open("/proc/kpageflags", O_RDONLY);
	unsigned long found = 0;

	if (pagemap < 0 || flags < 0)
		die("/proc/self/pagemap, /proc/kpageflags");
	for (unsigned long i = 0; i < PAGES; i++) {
		uint64_t entry, flag;

		if (pread(pagemap, &entry, 8, ((uintptr_t)map / PAGE + i) * 8) != 8)
			die("/proc/self/pagemap");
		if (!(entry & PRESENT))
			continue;
		if (pread(flags, &flag, 8, (entry & PFN) * 8) != 8)
			die("/proc/kpageflags");
		found += !!(flag & COMPOUND);
	}
	close(flags);
	close(pagemap);
	return found;
}

static int new_file(void)
{
	uint64_t *data = malloc(SIZE);
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || !data)
		die(name);
	for (unsigned long i = 0; i < PAGES; i++) {
		want[i] = (i + 1) << 32;
		fill(data + i * WORDS, want[i]);
	}
	if (write(fd, data, SIZE) != (ssize_t)SIZE)
		die("write");
	free(data);
	return fd;
}

static void protect(uint64_t *map, unsigned int range, int prot)
{
	if (mprotect(map + ranges[range].first * WORDS, ranges[range].count * PAGE, prot))
		die("mprotect");
}

/* First and last page of the range obey, and the pages beside it are as @map was: readable. */
static bool obeys(uint64_t *map, unsigned int range, int prot)
{
	unsigned long first = ranges[range].first, last = first + ranges[range].count - 1;
	const unsigned long ends[] = { first, last, (first + last) / 2 };

	for (int i = 0; i < 3; i++) {
		uint64_t *page = map + ends[i] * WORDS;

		if (access_signal(page, false) != (prot & PROT_READ ? 0 : SIGSEGV))
			return false;
		if (access_signal(page, true) != (prot & PROT_WRITE ? 0 : SIGSEGV))
			return false;
	}
	if (first && access_signal(map + (first - 1) * WORDS, false))
		return false;
	return last + 1 == PAGES || !access_signal(map + (last + 1) * WORDS, false);
}

static void change(uint64_t *map, const char *kind)
{
	static uint64_t next = 1ULL << 50;

	for (unsigned int i = 0; i < RANGES; i++) {
		unsigned long first = ranges[i].first, count = ranges[i].count;
		char what[80];
		bool good;

		protect(map, i, PROT_READ);
		good = obeys(map, i, PROT_READ);
		protect(map, i, PROT_READ | PROT_WRITE);
		good &= obeys(map, i, PROT_READ | PROT_WRITE);
		/* Some of the pages are written, and copied if they are private. */
		for (unsigned long page = first; page < first + count; page += 7) {
			want[page] = next;
			next += 1ULL << 20;
			fill(map + page * WORDS, want[page]);
		}
		protect(map, i, PROT_NONE);
		good &= obeys(map, i, PROT_NONE);
		protect(map, i, PROT_READ);
		good &= obeys(map, i, PROT_READ) && all_hold(map);
		snprintf(what, sizeof(what), "pages %lu to %lu: read, write, none", first,
			 first + count - 1);
		result(good, kind, what);
	}
}

static void cut(int fd, uint64_t *map, const char *kind)
{
	static const unsigned long sizes[] = { PAGES - 3, 777, 512, 300, 16, 1, 0 };
	bool good = true;

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (ftruncate(fd, sizes[i] * PAGE))
			die("ftruncate");
		if (mprotect(map, SIZE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE))
			die("mprotect");
		if (sizes[i])
			good &= holds(map + (sizes[i] - 1) * WORDS, want[sizes[i] - 1]);
		good &= access_signal(map + sizes[i] * WORDS, false) == SIGBUS;
	}
	result(good, kind, "is cut, page by page and by folios");
}

static void run(const char *kind, int flags)
{
	int fd = new_file();
	uint64_t *map = mmap(NULL, SIZE, PROT_READ, flags, fd, 0);
	unsigned long large;

	if (map == MAP_FAILED)
		die("mmap");
	result(all_hold(map), kind, "what was written is read");
	large = in_large_folios(map);
	printf("# %s: %lu of %lu pages are in large folios\n", kind, large, PAGES);
	result(large, kind, "has large folios");
	change(map, kind);
	if (flags == MAP_SHARED) {
		uint64_t page[WORDS];
		bool good = !msync(map, SIZE, MS_SYNC);

		for (unsigned long i = 0; i < PAGES; i++)
			good &= pread(fd, page, PAGE, i * PAGE) == PAGE && holds(page, want[i]);
		result(good, kind, "what was written is in the file");
	}
	cut(fd, map, kind);
	if (munmap(map, SIZE) || close(fd) || unlink(name))
		die(name);
}

int main(int argc, char **argv)
{
	char path[4096];

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	snprintf(path, sizeof(path), "%s/large_folio", argv[1]);
	name = path;
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	printf("TAP version 13\n");
	run("private", MAP_PRIVATE);
	run("shared", MAP_SHARED);
	printf("1..%d\n", tests);
	return failed ? 1 : 0;
}
