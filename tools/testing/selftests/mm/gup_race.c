// SPDX-License-Identifier: GPL-2.0
/*
 * GUP races with page table entries being cleared or write-protected: it gets
 * the page that is mapped there, or none. Never one that was freed, and never
 * one that a child of fork() still sees.
 *
 * Each page of the memory bears its number. Threads have the kernel read or
 * write pages by
 *
 *  vmsplice  vmsplice() into a pipe, which is read some time later
 *  direct    a write with O_DIRECT from a page to a file, which is read back
 *  read      a read with O_DIRECT from a file into a page
 *  remote    process_vm_writev() into a page
 *
 * while the main thread fills the memory and takes it away by
 *
 *  dontneed  madvise(MADV_DONTNEED)
 *  munmap    new memory is mapped over it
 *  fork      a child sees that its pages do not change, while they are filled
 *
 * A page that was freed too early soon has another number, as it is the main
 * thread that fills pages again at once. A page that was never filled is empty.
 *
 * The file has to be in a file system that pins pages to read into them, as NFS
 * does not: a child shares pages that are not pinned, see open(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"

#define NR_PAGES	64U
#define WORDS		(page_size / sizeof(uint64_t))

enum access { VMSPLICE, DIRECT, READ, REMOTE, NR_ACCESSES };

static const char * const access_name[] = { "vmsplice", "direct", "read", "remote" };

struct change {
	const char *name;
	void (*change)(void);
};

struct accessor {
	pthread_t id;
	enum access access;
	uint64_t rnd;
	unsigned long done;	/* how often GUP got a page */
	unsigned long wrong;
	int pipe[2];
	int fd;
};

static char *mem;
static size_t page_size, len;
static atomic_bool stop;
static uint64_t generation;
static unsigned long wrong;	/* that the main thread or a child found */

static struct {
	double seconds;
	const char *dir;
} opt = { .seconds = 1, .dir = "." };

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	ksft_exit_fail_msg("%s: %s\n", what, strerror(errno));
}

static uint64_t rnd64(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* The number of a page is in the upper half of its first and of its last word. */
static uint64_t tag(unsigned int page, uint64_t value)
{
	return (uint64_t)(page + 1) << 32 | (value & 0xffffffff);
}

static uint64_t word_at(const uint64_t *words, size_t i)
{
	return __atomic_load_n(words + i, __ATOMIC_RELAXED);
}

static bool is_right(const uint64_t *words, unsigned int page)
{
	uint64_t first = word_at(words, 0) >> 32;
	uint64_t last = word_at(words, WORDS - 1) >> 32;

	return (!first || first == page + 1) && (!last || last == page + 1);
}

static uint64_t *words_of(unsigned int page)
{
	return (uint64_t *)(mem + page * page_size);
}

static void set_words(uint64_t *words, uint64_t value)
{
	__atomic_store_n(words, value, __ATOMIC_RELAXED);
	__atomic_store_n(words + WORDS - 1, value, __ATOMIC_RELAXED);
}

static void fill(void)
{
	unsigned int i;

	generation++;
	for (i = 0; i < NR_PAGES; i++)
		set_words(words_of(i), tag(i, generation));
}

/* Accesses: each returns whether it got a page, and counts what is wrong. */

static bool by_vmsplice(struct accessor *a, unsigned int page, void *buffer)
{
	struct iovec iov = { mem + page * page_size, page_size };
	unsigned int spins = rnd64(&a->rnd) % 1000;

	if (vmsplice(a->pipe[1], &iov, 1, 0) != (ssize_t)page_size)
		return false;
	while (spins--)
		__asm__ volatile("" ::: "memory");
	if (rnd64(&a->rnd) % 4 == 0)
		sched_yield();
	if (read(a->pipe[0], buffer, page_size) != (ssize_t)page_size)
		die("read from the pipe");
	a->wrong += !is_right(buffer, page);
	return true;
}

static bool by_direct(struct accessor *a, unsigned int page, void *buffer)
{
	if (pwrite(a->fd, mem + page * page_size, page_size, 0) != (ssize_t)page_size)
		return false;
	if (pread(a->fd, buffer, page_size, 0) != (ssize_t)page_size)
		die("read from the file");
	a->wrong += !is_right(buffer, page);
	return true;
}

/* If this or by_remote() lands in another page, it is seen there, or by a child. */
static bool by_read(struct accessor *a, unsigned int page, void *buffer)
{
	set_words(buffer, tag(page, rnd64(&a->rnd)));
	if (pwrite(a->fd, buffer, page_size, 0) != (ssize_t)page_size)
		die("write to the file");
	return pread(a->fd, mem + page * page_size, page_size, 0) ==
	       (ssize_t)page_size;
}

static bool by_remote(struct accessor *a, unsigned int page, void *buffer)
{
	struct iovec local = { buffer, page_size };
	struct iovec remote = { mem + page * page_size, page_size };

	set_words(buffer, tag(page, rnd64(&a->rnd)));
	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) ==
	       (ssize_t)page_size;
}

static void *accessor(void *arg)
{
	struct accessor *a = arg;
	void *buffer = aligned_alloc(page_size, page_size);

	if (!buffer)
		die("aligned_alloc");

	while (!atomic_load(&stop)) {
		unsigned int page = rnd64(&a->rnd) % NR_PAGES;

		switch (a->access) {
		case VMSPLICE:
			a->done += by_vmsplice(a, page, buffer);
			break;
		case DIRECT:
			a->done += by_direct(a, page, buffer);
			break;
		case READ:
			a->done += by_read(a, page, buffer);
			break;
		default:
			a->done += by_remote(a, page, buffer);
		}
	}
	free(buffer);
	return NULL;
}

/* Changes */

static void check_pages(void)
{
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		wrong += !is_right(words_of(i), i);
}

static void change_dontneed(void)
{
	check_pages();
	if (madvise(mem, len, MADV_DONTNEED))
		die("MADV_DONTNEED");
}

static void map_at(char *where)
{
	if (mmap(where, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != where)
		die("mmap");
}

static void change_munmap(void)
{
	check_pages();
	map_at(mem);
}

/* The number of pages that are not the child's own, or change. */
static unsigned int watch(void)
{
	uint64_t seen[NR_PAGES];
	unsigned int i, pass, bad = 0;

	for (pass = 0; pass < 4; pass++) {
		for (i = 0; i < NR_PAGES; i++) {
			uint64_t word = word_at(words_of(i), 0);

			bad += !is_right(words_of(i), i) || (pass && word != seen[i]);
			seen[i] = word;
		}
		sched_yield();
	}
	return bad;
}

static void change_fork(void)
{
	static unsigned long nr_forks;
	int status;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid)
		_exit(watch() ? 1 : 0);
	/* Who writes first to most of the pages, this thread or the kernel, varies. */
	if (nr_forks++ % 2)
		fill();
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		die("waitpid");
	wrong += WEXITSTATUS(status);
	check_pages();
}

static const struct change changes[] = {
	{ "dontneed", change_dontneed },
	{ "munmap", change_munmap },
	{ "fork", change_fork },
};

/* Returns whether @a can work here, else says why not. */
static bool set_up(struct accessor *a, const char *change)
{
	switch (a->access) {
	case VMSPLICE:
		if (pipe(a->pipe))
			die("pipe");
		return true;
	case DIRECT:
	case READ:
		a->fd = open(opt.dir, O_TMPFILE | O_RDWR | O_DIRECT, 0600);
		if (a->fd >= 0)
			return true;
		ksft_test_result_skip("%s %s: no file: %s\n", access_name[a->access],
				      change, strerror(errno));
		return false;
	default:
		if (!process_vm_writev(getpid(), NULL, 0, NULL, 0, 0))
			return true;
		ksft_test_result_skip("remote %s: no process_vm_writev(): %s\n",
				      change, strerror(errno));
		return false;
	}
}

static void tear_down(struct accessor *a)
{
	if (a->access == VMSPLICE) {
		close(a->pipe[0]);
		close(a->pipe[1]);
	} else if (a->access == DIRECT || a->access == READ) {
		close(a->fd);
	}
}

static void run(enum access access, const struct change *c)
{
	struct accessor a = { .access = access, .rnd = access + 1 };
	unsigned long rounds = 0;
	double end;

	map_at(mem);
	wrong = 0;
	if (!set_up(&a, c->name))
		return;
	atomic_store(&stop, false);
	if (pthread_create(&a.id, NULL, accessor, &a))
		die("pthread_create");
	for (end = now() + opt.seconds; now() < end && !wrong; rounds++) {
		fill();
		c->change();
	}
	atomic_store(&stop, true);
	pthread_join(a.id, NULL);
	tear_down(&a);
	ksft_test_result(a.done && !a.wrong && !wrong,
			 "%s %s: %lu pages wrong, %lu rounds, %lu accesses\n",
			 access_name[access], c->name, a.wrong + wrong, rounds, a.done);
}

int main(int argc, char **argv)
{
	unsigned int access, i;
	int o;

	while ((o = getopt(argc, argv, "s:d:h")) != -1) {
		switch (o) {
		case 's':
			opt.seconds = atof(optarg);
			break;
		case 'd':
			opt.dir = optarg;
			break;
		default:
			printf("Usage: %s [-s seconds] [-d directory]\n"
			       "  -s  of each case, default 1\n"
			       "  -d  where to create the file, default .\n", argv[0]);
			exit(KSFT_FAIL);
		}
	}
	page_size = getpagesize();
	len = NR_PAGES * page_size;
	mem = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		die("mmap");

	ksft_print_header();
	ksft_set_plan(NR_ACCESSES * ARRAY_SIZE(changes));
	for (access = 0; access < NR_ACCESSES; access++)
		for (i = 0; i < ARRAY_SIZE(changes); i++)
			run(access, &changes[i]);
	ksft_finished();
}
