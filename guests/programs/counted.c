// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a command and says how it ended and how many ticks of the TSC passed meanwhile:
 * instructions, under QEMU's -icount. usage: counted NAME COMMAND [ARGUMENT...]
 *
 * What the command prints is shown only if it fails, its last lines.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define OUTPUT	"/tmp/counted.out"
#define TAIL	1500

static unsigned long long ticks(void)
{
	_mm_lfence();
	return __rdtsc();
}

static void show_tail(int fd)
{
	char text[TAIL + 1];
	off_t size = lseek(fd, 0, SEEK_END);
	ssize_t got = pread(fd, text, TAIL, size > TAIL ? size - TAIL : 0);

	if (got <= 0)
		return;
	text[got] = '\0';
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		printf("# %s\n", line);
}

int main(int argc, char **argv)
{
	unsigned long long began;
	int fd, status;
	pid_t pid;

	if (argc < 3) {
		fprintf(stderr, "usage: %s NAME COMMAND [ARGUMENT...]\n", argv[0]);
		return 2;
	}
	fd = open(OUTPUT, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0) {
		perror(OUTPUT);
		return 1;
	}
	printf("== begin %s\n", argv[1]);
	fflush(stdout);
	began = ticks();
	pid = fork();
	if (pid < 0) {
		perror("fork");
		return 1;
	}
	if (!pid) {
		dup2(fd, 1);
		dup2(fd, 2);
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid) {
		perror("waitpid");
		return 1;
	}
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	began = ticks() - began;
	if (status)
		show_tail(fd);
	printf("== end %s %d %llu\n", argv[1], status, began);
	return 0;
}
