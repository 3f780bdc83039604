// SPDX-License-Identifier: GPL-2.0
/*
 * Writes to a mapping race with its page table entries being cleared, moved or
 * write-protected: no write may be lost, and none may be seen by a child that
 * was forked before.
 *
 * Threads write to a small mapping while the main thread takes the entries away
 * from under them, in one of these ways:
 *
 *  dontneed  madvise(MADV_DONTNEED)
 *  munmap    the file is mapped anew over the old mapping, which unmaps it
 *  mremap    the mapping is moved away and back
 *  fork      the memory is private, and a child watches it
 *
 * The pages of the shared mappings are clean and writable when a round begins,
 * so that the first write to each of them sets the dirty bit in the page table
 * entry and nowhere else. Then they are written back and dropped from the page
 * cache, where nobody keeps a page that is clean: a dirty bit that got lost is a
 * page that reads as zeroes. This needs no swap, as dirty pages may stay. In a
 * file system that wants to know of the first write to a page, the page fault
 * marks the page as dirty already, so "shmem" is the case that can fail; "file"
 * is what users have.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define NR_PAGES	64U
#define MAX_THREADS	16U
#define SCALES		16U	/* of the time that writes of a round take */

struct race;

/**
 * struct race_case - one way to take the entries away
 * @name: of the test
 * @file: the mapping is of a file in opt.dir, else of a memfd; not for @watch
 * @change: takes them away
 * @watch: memory is private, and change() returns how many pages a child saw change
 */
struct race_case {
	const char *name;
	bool file;
	unsigned int (*change)(struct race *r);
	bool watch;
};

struct race {
	const struct race_case *c;
	atomic_uintptr_t place;	/* where the mapping is, see area() */
	char *places[2];	/* reserved address space, to move between */
	size_t len, page_size;
	int fd;
	uint64_t expected[NR_PAGES];
	uint64_t generation;
	unsigned int nr_threads;
	pthread_barrier_t barrier;
	atomic_uint ready;
	atomic_ulong started;	/* the generation that may be written */
	atomic_uint working;
	uint64_t rnd;
	atomic_bool done;
};

struct thread {
	pthread_t id;
	struct race *race;
	unsigned int nr;
	uint64_t rnd;
};

static struct {
	double seconds;
	unsigned long changes;
	unsigned int threads;
	const char *dir;
	const char *only;
} opt = { .seconds = 2, .dir = "." };

static __thread sigjmp_buf retry;
static __thread atomic_bool in_write;

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

static char *area(struct race *r)
{
	return (char *)atomic_load(&r->place);
}

static uint64_t rnd64(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* The mapping was not where the writer looked for it: it looks again. */
static void on_segv(int sig)
{
	if (!atomic_load(&in_write)) {
		signal(sig, SIG_DFL);
		return;
	}
	siglongjmp(retry, 1);
}

/* A write has happened when this returns. */
static void write_page(struct race *r, unsigned int page, uint64_t value)
{
	sigsetjmp(retry, 1);
	atomic_store(&in_write, true);
	__atomic_store_n((uint64_t *)(area(r) + page * r->page_size), value,
			 __ATOMIC_SEQ_CST);
	atomic_store(&in_write, false);
}

static uint64_t read_page(struct race *r, unsigned int page)
{
	return __atomic_load_n((uint64_t *)(area(r) + page * r->page_size),
			       __ATOMIC_SEQ_CST);
}

/* Returns the most spins before a write of this round. */
static uint64_t max_spins(const struct race *r)
{
	return 4ULL << r->generation % SCALES;
}

static void spin(uint64_t spins)
{
	while (spins--)
		__asm__ volatile("" ::: "memory");
}

/*
 * Each page is written once a round, by the thread that it belongs to.  Only the
 * first change meets pages that are clean, so it has to come while they are
 * written: nobody sleeps when it starts, and the time of writing varies.
 */
static void write_once(struct thread *t)
{
	struct race *r = t->race;
	unsigned int page;

	atomic_fetch_add(&r->ready, 1);
	while (atomic_load(&r->started) != r->generation)
		;
	for (page = t->nr; page < NR_PAGES; page += r->nr_threads) {
		spin(rnd64(&t->rnd) % max_spins(r));
		write_page(r, page, r->generation * NR_PAGES + page);
		r->expected[page] = r->generation * NR_PAGES + page;
	}
}

/* Pages are written as long as there is somebody to watch them. */
static void write_always(struct thread *t)
{
	struct race *r = t->race;
	uint64_t value = 0;
	unsigned int page;

	while (!atomic_load(&r->done)) {
		value++;
		for (page = t->nr; page < NR_PAGES; page += r->nr_threads)
			write_page(r, page, value);
	}
}

static void *writer(void *arg)
{
	struct thread *t = arg;
	struct race *r = t->race;

	if (r->c->watch) {
		write_always(t);
		return NULL;
	}
	for (;;) {
		pthread_barrier_wait(&r->barrier);
		if (atomic_load(&r->done))
			return NULL;
		write_once(t);
		atomic_fetch_sub(&r->working, 1);
		pthread_barrier_wait(&r->barrier);
	}
}

/* Changes */

static unsigned int change_dontneed(struct race *r)
{
	if (madvise(area(r), r->len, MADV_DONTNEED))
		die("MADV_DONTNEED");
	return 0;
}

static void map_at(struct race *r, char *where)
{
	if (mmap(where, r->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 r->fd, 0) != where)
		die("mmap");
}

static unsigned int change_munmap(struct race *r)
{
	map_at(r, area(r));
	return 0;
}

static void reserve(struct race *r, char *where)
{
	if (mmap(where, r->len, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		 0) != where)
		die("mmap of PROT_NONE");
}

static unsigned int change_mremap(struct race *r)
{
	char *from = area(r);
	char *to = r->places[from == r->places[0]];

	if (mremap(from, r->len, r->len, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		die("mremap");
	atomic_store(&r->place, (uintptr_t)to);
	reserve(r, from);
	return 0;
}

/* The number of pages that change although nobody in this process writes. */
static unsigned int watch(struct race *r)
{
	uint64_t seen[NR_PAGES];
	unsigned int i, pass, bad = 0;

	for (pass = 0; pass < 5; pass++) {
		for (i = 0; i < NR_PAGES; i++) {
			uint64_t v = read_page(r, i);

			bad += pass && v != seen[i];
			seen[i] = v;
		}
		sched_yield();
	}
	return bad;
}

static unsigned int change_fork(struct race *r)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		_exit(watch(r) ? 1 : 0);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		die("waitpid");
	return WEXITSTATUS(status);
}

static const struct race_case cases[] = {
	{ "shmem dontneed", false, change_dontneed },
	{ "shmem munmap", false, change_munmap },
	{ "shmem mremap", false, change_mremap },
	{ "file dontneed", true, change_dontneed },
	{ "file munmap", true, change_munmap },
	{ "file mremap", true, change_mremap },
	{ "fork", false, change_fork, .watch = true },
};

/* Rounds */

/* Gives the file blocks; not all file systems have fallocate(). */
static void allocate(struct race *r)
{
	static const char zeroes[4096];
	size_t done;

	if (!fallocate(r->fd, 0, 0, r->len))
		return;
	if (errno != EOPNOTSUPP)
		die("fallocate");
	for (done = 0; done < r->len; done += sizeof(zeroes))
		if (pwrite(r->fd, zeroes, sizeof(zeroes), done) != sizeof(zeroes))
			die("pwrite");
	if (fsync(r->fd))
		die("fsync");
}

/* Empty pages in the page cache, mapped writable, and clean. */
static void prepare(struct race *r)
{
	unsigned int i;

	if (ftruncate(r->fd, 0) || ftruncate(r->fd, r->len))
		die("ftruncate");
	if (r->c->file)
		allocate(r);
	map_at(r, area(r));
	for (i = 0; i < NR_PAGES; i++)
		read_page(r, i);
	r->generation++;
}

/*
 * What is clean is gone after this.  MADV_PAGEOUT takes what is mapped, and tmpfs
 * does not heed POSIX_FADV_DONTNEED.
 */
static void drop_pages(struct race *r)
{
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		read_page(r, i);
	if (r->c->file && (msync(area(r), r->len, MS_SYNC) || fsync(r->fd)))
		die("msync");
	madvise(area(r), r->len, MADV_PAGEOUT);
	posix_fadvise(r->fd, 0, r->len, POSIX_FADV_DONTNEED);
}

static unsigned int lost_pages(struct race *r)
{
	unsigned int i, lost = 0;
	uint64_t v;

	for (i = 0; i < NR_PAGES; i++) {
		if (pread(r->fd, &v, sizeof(v), i * r->page_size) != sizeof(v))
			die("pread");
		if (v == r->expected[i])
			continue;
		if (!lost++)
			ksft_print_msg("page %u holds %llu, not %llu\n", i,
				       (unsigned long long)v,
				       (unsigned long long)r->expected[i]);
	}
	return lost;
}

/* Would a page that is clean be dropped at all? */
static bool clean_pages_are_dropped(struct race *r)
{
	unsigned char resident[NR_PAGES];
	unsigned int i, n = 0;

	prepare(r);
	drop_pages(r);
	if (mincore(area(r), r->len, resident))
		die("mincore");
	for (i = 0; i < NR_PAGES; i++)
		n += resident[i] & 1;
	return n < NR_PAGES / 2;
}

static unsigned int one_round(struct race *r, unsigned long *changes)
{
	if (r->c->watch) {
		++*changes;
		return r->c->change(r);
	}

	prepare(r);
	atomic_store(&r->working, r->nr_threads);
	atomic_store(&r->ready, 0);
	pthread_barrier_wait(&r->barrier);
	while (atomic_load(&r->ready) < r->nr_threads)
		sched_yield();
	atomic_store(&r->started, r->generation);
	spin(rnd64(&r->rnd) % (max_spins(r) * NR_PAGES / r->nr_threads / 2));
	do {
		r->c->change(r);
		++*changes;
	} while (atomic_load(&r->working));
	pthread_barrier_wait(&r->barrier);
	drop_pages(r);
	return lost_pages(r);
}

static bool set_up(struct race *r)
{
	const size_t stride = (r->len + (2UL << 20) - 1) & ~((2UL << 20) - 1);
	char *p;

	p = mmap(NULL, 2 * stride, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		die("mmap");
	r->places[0] = p;
	r->places[1] = p + stride;
	atomic_store(&r->place, (uintptr_t)p);
	r->fd = -1;

	if (r->c->watch) {
		if (mprotect(p, r->len, PROT_READ | PROT_WRITE))
			die("mprotect");
		return true;
	}

	if (r->c->file)
		r->fd = open(opt.dir, O_TMPFILE | O_RDWR, 0600);
	else
		r->fd = memfd_create("zap_race", 0);
	if (r->fd < 0) {
		ksft_test_result_skip("%s: no file: %s\n", r->c->name,
				      strerror(errno));
		return false;
	}
	if (!clean_pages_are_dropped(r)) {
		ksft_test_result_skip("%s: clean pages stay in the page cache\n",
				      r->c->name);
		return false;
	}
	return true;
}

static void run(const struct race_case *c)
{
	struct thread threads[MAX_THREADS];
	struct race r = {
		.c = c,
		.page_size = getpagesize(),
		.nr_threads = opt.threads,
		.rnd = 1,
	};
	unsigned long rounds = 0, changes = 0;
	unsigned int i, lost = 0;
	double end;

	r.len = NR_PAGES * r.page_size;
	if (set_up(&r)) {
		pthread_barrier_init(&r.barrier, NULL, r.nr_threads + 1);
		for (i = 0; i < r.nr_threads; i++) {
			threads[i] = (struct thread){ .race = &r, .nr = i, .rnd = i + 1 };
			if (pthread_create(&threads[i].id, NULL, writer, &threads[i]))
				die("pthread_create");
		}

		for (end = now() + opt.seconds; !lost; rounds++) {
			if (opt.changes ? changes >= opt.changes : now() >= end)
				break;
			lost = one_round(&r, &changes);
		}

		atomic_store(&r.done, true);
		if (!c->watch)
			pthread_barrier_wait(&r.barrier);
		for (i = 0; i < r.nr_threads; i++)
			pthread_join(threads[i].id, NULL);
		ksft_test_result(!lost, "%s: %u pages lost, %lu rounds, %lu changes\n",
				 c->name, lost, rounds, changes);
	}

	munmap(r.places[0], r.places[1] - r.places[0] + r.len);
	if (r.fd >= 0)
		close(r.fd);
}

static bool wanted(const struct race_case *c)
{
	return !opt.only || !strcmp(opt.only, c->name);
}

static void usage(const char *name)
{
	printf("Usage: %s [-s seconds] [-n changes] [-t threads] [-d directory] [-c case]\n"
	       "  -s  of each case, default 2\n"
	       "  -n  of each case, instead of a time\n"
	       "  -t  that write, default one less than there are CPUs\n"
	       "  -d  where to create the file, default .\n"
	       "  -c  only this case, for instance \"shmem munmap\"\n", name);
	exit(KSFT_FAIL);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_segv };
	unsigned int i, plan = 0;
	long cpus;
	int o;

	while ((o = getopt(argc, argv, "s:n:t:d:c:h")) != -1) {
		switch (o) {
		case 's':
			opt.seconds = atof(optarg);
			break;
		case 'n':
			opt.changes = strtoul(optarg, NULL, 0);
			break;
		case 't':
			opt.threads = strtoul(optarg, NULL, 0);
			break;
		case 'd':
			opt.dir = optarg;
			break;
		case 'c':
			opt.only = optarg;
			break;
		default:
			usage(argv[0]);
		}
	}
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (!opt.threads)
		opt.threads = cpus < 2 ? 1 : cpus - 1;
	if (opt.threads > MAX_THREADS)
		opt.threads = MAX_THREADS;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		plan += wanted(&cases[i]);
	if (!plan)
		usage(argv[0]);

	sigaction(SIGSEGV, &sa, NULL);
	ksft_print_header();
	ksft_set_plan(plan);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		if (wanted(&cases[i]))
			run(&cases[i]);
	ksft_finished();
}
