// SPDX-License-Identifier: GPL-2.0
/*
 * init of the test guests: it mounts the file systems that tests need, runs /job
 * with busybox, says how that ended, and powers off. The line with MARKER tells
 * the host that the run is complete: a panic or a hang never prints it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define MARKER "guest-init: job ended with status"

static void die(const char *what)
{
	printf("guest-init: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	reboot(RB_POWER_OFF);
	exit(1);
}

static void mount_fs(const char *type, const char *dir, int needed)
{
	mkdir(dir, 0755);
	if (mount(type, dir, type, 0, NULL) && needed)
		die(dir);
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	if (fd < 0)
		return;
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static int code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/*
 * Leads the session of the console. When its leader ends, the kernel hangs the console up,
 * and what was not sent by then is lost.
 */
static void __attribute__((noreturn)) lead_session(void)
{
	static char *const argv[] = { "/bin/sh", "/job", NULL };
	static char *const envp[] = {
		"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/", "TERM=linux", NULL
	};
	int status;
	pid_t pid;

	setsid();
	ioctl(0, TIOCSCTTY, 1);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		execve(argv[0], argv, envp);
		die("/bin/sh");
	}
	/* Ctrl-C is for those who run in it. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			die("wait");
	tcdrain(1);
	_exit(code(status));
}

static int run_job(void)
{
	int status;
	pid_t pid = fork(), ended;

	if (pid < 0)
		die("fork");
	if (!pid)
		lead_session();
	/* Process 1 has to wait for orphans, too. */
	do {
		ended = wait(&status);
	} while (ended != pid && (ended > 0 || errno == EINTR));
	if (ended != pid)
		die("wait");

	return code(status);
}

int main(void)
{
	int status;

	mount_fs("devtmpfs", "/dev", 1);
	open_console();
	mount_fs("proc", "/proc", 1);
	mount_fs("sysfs", "/sys", 1);
	mount_fs("tmpfs", "/tmp", 1);
	mount_fs("debugfs", "/sys/kernel/debug", 0);
	mount_fs("tracefs", "/sys/kernel/tracing", 0);
	if (!access("/proc/xen", F_OK))
		mount_fs("xenfs", "/proc/xen", 0);

	/* Let the console's thread print the last of the boot messages. */
	usleep(500 * 1000);

	status = run_job();
	sync();
	printf("\n" MARKER " %d\n", status);
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 1;
}
