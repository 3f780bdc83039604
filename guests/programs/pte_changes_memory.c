// SPDX-License-Identifier: GPL-2.0
/* Cases of pte_changes: faults, what processes do with their memory, swap, reclaim. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pte_changes.h"
#include "sysfs.h"

#define GROUP		"/sys/fs/cgroup/pte_changes"
#define LRU_GEN		"/sys/kernel/debug/lru_gen"

#define GUARD_INSTALL	102	/* of madvise(), newer than some headers */
#define GUARD_REMOVE	103

/* ---- faults ---- */

static void first_touch(void)
{
	char *p = room();

	mark();
	write_to(p);
	done(PAGES);
}

static void zero_page(void)
{
	char *p = room();

	mark();
	read_from(p);
	done(PAGES);
}

static void fault_around(void)
{
	char *p = file_room(MAP_SHARED);

	mark();
	read_from(p);
	done(PAGES);
}

static void shared_write(void)
{
	char *p = file_room(MAP_SHARED);

	mark();
	write_to(p);
	done(PAGES);
}

static void cow(void)
{
	char *p = touched();
	pid_t pid = child(sleep_on, p);

	usleep(10000);
	mark();
	write_to(p);
	done(PAGES);
	kill(pid, SIGKILL);
}

static void cow_file(void)
{
	char *p = file_room(MAP_PRIVATE);

	read_from(p);
	mark();
	write_to(p);
	done(PAGES);
}

static void write_again(void)
{
	char *p = touched();

	wait_for(child(nothing, p));
	mark();
	write_to(p);
	done(PAGES);
}

/* ---- what processes do ---- */

void fork_with(unsigned long entries)
{
	pid_t pid;

	mark();
	pid = fork();
	if (!pid)
		_exit(0);
	done(entries);
	wait_for(pid);
}

static void of_fork(void)
{
	touched();
	fork_with(resident(true));
}

static void of_munmap(void)
{
	char *p = touched();

	mark();
	munmap(p, LEN);
	done(PAGES);
}

static void munmap_file(void)
{
	char *p = file_room(MAP_SHARED);

	write_to(p);
	mark();
	munmap(p, LEN);
	done(PAGES);
}

static void munmap_file_clean(void)
{
	char *p = file_room(MAP_PRIVATE);

	read_from(p);
	mark();
	munmap(p, LEN);
	done(PAGES);
}

static void dontneed(void)
{
	char *p = touched();

	mark();
	need(!madvise(p, LEN, MADV_DONTNEED), "madvise");
	done(PAGES);
}

static void of_exit(void)
{
	char *p = touched();
	int ends[2], status;
	pid_t pid;
	char c;

	need(!pipe(ends), "pipe");
	pid = fork();
	if (!pid) {
		write_to(p);	/* its own pages, in place of ours */
		(void)!read(ends[0], &c, 1);
		_exit(0);
	}
	usleep(100000);
	mark();
	(void)!write(ends[1], &c, 1);
	waitpid(pid, &status, 0);
	done(PAGES);
}

static void of_mprotect(void)
{
	char *p = touched();

	mark();
	need(!mprotect(p, LEN, PROT_READ), "mprotect");
	done(PAGES);
}

static void move_mapping(char *p)
{
	char *q = room();

	mark();
	need(mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, q + PMD_LEN / 2) != MAP_FAILED,
	     "mremap");
	done(PAGES);
}

static void of_mremap(void)
{
	move_mapping(touched());
}

static void advice(int what)
{
	char *p = touched();

	mark();
	need(!madvise(p, LEN, what), "madvise");
	done(PAGES);
}

static void madv_free(void)
{
	advice(MADV_FREE);
}

static void madv_cold(void)
{
	advice(MADV_COLD);
}

static void guard_install(void)
{
	char *p = room();

	mark();
	need(!madvise(p, LEN, GUARD_INSTALL), "MADV_GUARD_INSTALL");
	done(PAGES);
}

static void guard_remove(void)
{
	char *p = room();

	need(!madvise(p, LEN, GUARD_INSTALL), "MADV_GUARD_INSTALL");
	mark();
	need(!madvise(p, LEN, GUARD_REMOVE), "MADV_GUARD_REMOVE");
	done(PAGES);
}

/* ---- swap ---- */

void swap_on(void)
{
	need(!swapon(device, 0) || errno == EBUSY, "swapon");
}

char *swapped(void)
{
	unsigned char present[PAGES];
	char *p = touched();
	unsigned int i;

	swap_on();
	need(!madvise(p, LEN, MADV_PAGEOUT), "MADV_PAGEOUT");
	need(!mincore(p, LEN, present), "mincore");
	for (i = 0; i < PAGES; i++)
		if (present[i] & 1)
			skip("page %u was not swapped", i);
	return p;
}

static void swap_out(void)
{
	swap_on();
	advice(MADV_PAGEOUT);
}

static void swap_in(void)
{
	char *p = swapped();

	mark();
	read_from(p);
	done(PAGES);
}

static void swap_off(void)
{
	swapped();
	mark();
	need(!swapoff(device), "swapoff");
	done(PAGES);
}

static void fork_swapped(void)
{
	swapped();
	fork_with(PAGES + resident(true));
}

static void munmap_swapped(void)
{
	char *p = swapped();

	mark();
	munmap(p, LEN);
	done(PAGES);
}

static void mremap_swapped(void)
{
	move_mapping(swapped());
}

static void free_swapped(void)
{
	char *p = swapped();

	mark();
	need(!madvise(p, LEN, MADV_FREE), "MADV_FREE");
	done(PAGES);
}

/* ---- reclaim and ageing ---- */

static void own_group(void)
{
	char text[16];

	mkdir(GROUP, 0755);
	snprintf(text, sizeof(text), "%d", getpid());
	need(set(GROUP "/cgroup.procs", text), GROUP);
}

/* By lists of active and inactive pages. With generations it ages as below. */
static void reclaim(void)
{
	swap_on();
	own_group();
	need(set("/sys/kernel/mm/lru_gen/enabled", "0"), "lru_gen/enabled");
	touched();
	mark();
	set(GROUP "/memory.reclaim", "128K");
	done(0);
	set("/sys/kernel/mm/lru_gen/enabled", "7");
}

static void age_generations(void)
{
	unsigned long seq = 0;
	char line[256], wanted[64];
	unsigned int memcg = 0;
	FILE *f;

	own_group();
	touched();
	f = fopen(LRU_GEN, "r");
	need(f, LRU_GEN);
	wanted[0] = 0;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, " memcg %u %63s", &memcg, wanted);
		if (strstr(wanted, "pte_changes"))
			sscanf(line, " %lu", &seq);
	}
	fclose(f);
	if (!strstr(wanted, "pte_changes"))
		skip("no generations of our group");
	snprintf(line, sizeof(line), "+ %u 0 %lu 1 1", memcg, seq);
	mark();
	need(set(LRU_GEN, line), line);
	done(0);
}

void frames_of(char *p, uint64_t *frames)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);

	need(fd >= 0 && pread(fd, frames, PAGES * 8, (uintptr_t)p / PAGE * 8) == PAGES * 8,
	     "pagemap");
	close(fd);
}

static void idle_pages(void)
{
	uint64_t frames[PAGES], frame, bit;
	char *p = touched();
	unsigned int i;
	int fd;

	frames_of(p, frames);
	fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);
	need(fd >= 0, "page_idle");
	mark();
	for (i = 0; i < PAGES; i++) {
		frame = frames[i] & ((1ULL << 55) - 1);
		bit = 1ULL << frame % 64;
		need(pwrite(fd, &bit, 8, frame / 64 * 8) == 8, "page_idle");
	}
	done(0);		/* it passes over pages that are not on a list yet */
}

static void clear_refs(const char *what)
{
	char *p = touched();
	unsigned long pages = resident(false);

	mark();
	need(set("/proc/self/clear_refs", what), "clear_refs");
	done(pages);
	write_to(p);
}

static void clear_referenced(void)
{
	clear_refs("1");
}

static void clear_soft_dirty(void)
{
	clear_refs("4");
}

/* A shared mapping of the device's own pages, which are written back. */
static void write_back(void)
{
	int fd = open(device, O_RDWR);
	char *p = room();

	swapoff(device);
	need(fd >= 0 && mmap(p, LEN, RW, MAP_SHARED | MAP_FIXED, fd, 1 << 20) == p, device);
	write_to(p);
	mark();
	need(!msync(p, LEN, MS_SYNC), "msync");
	done(PAGES);
}

const struct change memory_changes[] = {
	{ "first-touch", first_touch },
	{ "zero-page", zero_page },
	{ "fault-around", fault_around },
	{ "shared-write", shared_write },
	{ "cow", cow },
	{ "cow-file", cow_file },
	{ "write-again", write_again },
	{ "fork", of_fork },
	{ "fork-swapped", fork_swapped },
	{ "munmap", of_munmap },
	{ "munmap-file", munmap_file },
	{ "munmap-file-clean", munmap_file_clean },
	{ "munmap-swapped", munmap_swapped },
	{ "dontneed", dontneed },
	{ "exit", of_exit },
	{ "mprotect", of_mprotect },
	{ "mremap", of_mremap },
	{ "mremap-swapped", mremap_swapped },
	{ "madv-free", madv_free },
	{ "madv-free-swapped", free_swapped },
	{ "madv-cold", madv_cold },
	{ "guard-install", guard_install },
	{ "guard-remove", guard_remove },
	{ "swap-out", swap_out },
	{ "swap-in", swap_in },
	{ "swapoff", swap_off },
	{ "reclaim", reclaim },
	{ "age-generations", age_generations },
	{ "page-idle", idle_pages },
	{ "clear-referenced", clear_referenced },
	{ "clear-soft-dirty", clear_soft_dirty },
	{ "write-back", write_back },
	{ }
};
