// SPDX-License-Identifier: GPL-2.0
/*
 * mprotect() of foreign pages in Xen PV domains: pages that another domain has
 * granted (gntdev), and pages that are mapped by machine frame number (privcmd).
 *
 *	foreign			in a domU
 *	foreign <domid>		in its dom0, at the same time
 *
 * Each grants a page to the other, maps what the other granted, and changes the
 * protection. By frame number both map the console's ring of the domU: a foreign
 * page in dom0, a page of its own in the domU.
 *
 * The domU needs "xen_privcmd.unrestricted" on its kernel's command line. Prints a
 * line when a case begins, and one when it ends: where, by what, initial and later protections, and
 * what came of it:
 *
 *	works		the page is accessible as it was asked, and the same page
 *	refused		mprotect() failed, and the mapping is as it was
 *	unchanged	mprotect() succeeded, and more can be accessed than was asked
 *	lost		an access that was asked for faults
 *	stuck		an access that was asked for faults for ever
 *	other		some other page is mapped
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE		4096
#define SELF		0x7ff0U		/* DOMID_SELF */
#define POLLS		600		/* of a tenth of a second */

/* The kernel's <xen/gntalloc.h>, <xen/gntdev.h>, <xen/privcmd.h>, which need Xen's own headers */

struct grant_alloc {
	uint16_t domid, flags;
	uint32_t count;
	uint64_t index;
	uint32_t refs[1];
};
#define GRANT_ALLOC	_IOC(_IOC_NONE, 'G', 5, sizeof(struct grant_alloc))
#define GRANT_WRITABLE	1

struct grant_map {
	uint32_t count, pad;
	uint64_t index;
	uint32_t domid, ref;
};
#define GRANT_MAP	_IOC(_IOC_NONE, 'G', 0, sizeof(struct grant_map))

struct map_frames {
	unsigned int num;
	uint16_t domid;
	uint64_t addr;
	const uint64_t *frames;
	int *errors;
};
#define MAP_FRAMES	_IOC(_IOC_NONE, 'P', 4, sizeof(struct map_frames))

/* A foreign page: a grant if @device is gntdev, else a frame. */
struct source {
	const char *device;
	unsigned int domid;
	uint64_t number;
	unsigned int offset;	/* of a word that nobody else uses */
};

enum outcome { WORKS, REFUSED, UNCHANGED, LOST, STUCK, OTHER };
static const char *const outcomes[] = {
	"works", "refused", "unchanged", "lost", "stuck", "other"
};

struct sequence {
	int first;
	int later[3];
	unsigned int nr;
};

#define NO	PROT_NONE
#define RO	PROT_READ
#define RW	(PROT_READ | PROT_WRITE)
static const struct sequence sequences[] = {
	{ RW, { RO }, 1 },
	{ RW, { RO, RW }, 2 },
	{ RW, { NO }, 1 },
	{ RW, { NO, RW }, 2 },
	{ RW, { NO, RO, RW }, 3 },
	{ RO, { NO, RO }, 2 },
};

static void die(const char *what)
{
	printf("foreign: FAILED: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Xenstore */

enum { XS_READ = 2, XS_WRITE = 11, XS_ERROR = 16 };

struct xs_head {
	uint32_t type, id, transaction, len;
};

static void exactly(ssize_t (*call)(int, void *, size_t), int fd, void *data, size_t len)
{
	char *at = data;

	while (len) {
		ssize_t done = call(fd, at, len);

		if (done <= 0)
			die("xenstore");
		at += done;
		len -= done;
	}
}

static ssize_t write_some(int fd, void *data, size_t len)
{
	return write(fd, data, len);
}

/* Reads @path into @value if @type says so, or writes @value there; false if it is not there. */
static int xenstore(int type, const char *path, char *value, size_t size)
{
	static int fd = -1;
	char data[4096];
	struct xs_head head = { .type = type, .len = strlen(path) + 1 };

	if (fd < 0)
		fd = open("/dev/xen/xenbus", O_RDWR);
	if (fd < 0)
		die("/dev/xen/xenbus");

	memcpy(data, path, head.len);
	if (type == XS_WRITE) {
		memcpy(data + head.len, value, strlen(value));
		head.len += strlen(value);
	}
	exactly(write_some, fd, &head, sizeof(head));
	exactly(write_some, fd, data, head.len);

	exactly(read, fd, &head, sizeof(head));
	if (head.len >= sizeof(data))
		die("xenstore: too long");
	exactly(read, fd, data, head.len);
	data[head.len] = 0;
	if (head.type == XS_ERROR)
		return 0;
	if (type == XS_READ) {
		if (head.len >= size)
			die("xenstore: too long");
		memcpy(value, data, head.len + 1);
	}
	return 1;
}

static void put(const char *path, unsigned long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", value);
	if (!xenstore(XS_WRITE, path, text, 0))
		die(path);
}

static unsigned long wait_for(const char *path)
{
	char text[64];

	for (int i = 0; i < POLLS; i++) {
		if (xenstore(XS_READ, path, text, sizeof(text)))
			return strtoul(text, NULL, 10);
		usleep(100000);
	}
	die(path);
	return 0;
}

/* Mappings */

static int device(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/xen/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

/* Grants @domid a page, which stays; returns the reference. */
static uint32_t grant_to(unsigned int domid)
{
	struct grant_alloc alloc = { .domid = domid, .flags = GRANT_WRITABLE, .count = 1 };

	if (ioctl(device("gntalloc"), GRANT_ALLOC, &alloc))
		die("gntalloc");
	return alloc.refs[0];
}

static volatile uint64_t *map(const struct source *from, int prot)
{
	struct grant_map grant = {
		.count = 1, .domid = from->domid, .ref = from->number,
	};
	int error, fd = device(from->device);
	struct map_frames frames = {
		.num = 1, .domid = from->domid, .frames = &from->number, .errors = &error,
	};
	char *page;

	if (!strcmp(from->device, "gntdev") && ioctl(fd, GRANT_MAP, &grant))
		die("GRANT_MAP");
	page = mmap(NULL, PAGE, prot, MAP_SHARED, fd, grant.index);
	if (page == MAP_FAILED)
		die("mmap");
	frames.addr = (uintptr_t)page;
	if (!strcmp(from->device, "privcmd") && ioctl(fd, MAP_FRAMES, &frames))
		die("MAP_FRAMES");
	close(fd);
	return (volatile uint64_t *)(page + from->offset);
}

static void unmap(volatile uint64_t *word)
{
	munmap((void *)((uintptr_t)word & ~(uintptr_t)(PAGE - 1)), PAGE);
}

/* Accesses that may fault */

static sigjmp_buf back;

static void on_signal(int sig)
{
	siglongjmp(back, sig);
}

/* Reads or writes @word; returns 0 or the signal that came. */
static int access_word(volatile uint64_t *word, uint64_t *value, int write)
{
	int sig = sigsetjmp(back, 1);

	if (!sig) {
		alarm(1);
		if (write)
			*word = *value;
		else
			*value = *word;
	}
	alarm(0);
	return sig;
}

/* What @word is to @prot, when @truth is the same word in another mapping. */
static enum outcome judge(volatile uint64_t *word, volatile uint64_t *truth, int prot)
{
	static uint64_t value = 0x466f726569676e00;
	uint64_t seen;
	int sig;

	*truth = ++value;
	sig = access_word(word, &seen, 0);
	if (sig)
		return sig == SIGALRM ? STUCK : prot & PROT_READ ? LOST : WORKS;
	if (seen != value)
		return OTHER;
	if (!(prot & PROT_READ))
		return UNCHANGED;
	value++;
	sig = access_word(word, &value, 1);
	if (sig)
		return sig == SIGALRM ? STUCK : prot & PROT_WRITE ? LOST : WORKS;
	if (*truth != value)
		return OTHER;
	return prot & PROT_WRITE ? WORKS : UNCHANGED;
}

static enum outcome change(const struct source *from, const struct sequence *s)
{
	volatile uint64_t *truth = map(from, RW), *word = map(from, s->first);
	void *page = (void *)((uintptr_t)word & ~(uintptr_t)(PAGE - 1));
	enum outcome worst = judge(word, truth, s->first), is;
	int prot = s->first;

	if (worst)
		die("a new mapping is not what it should be");
	for (unsigned int i = 0; i < s->nr && worst < LOST; i++) {
		int refused = mprotect(page, PAGE, s->later[i]);

		prot = refused ? prot : s->later[i];
		is = judge(word, truth, prot);
		if (refused && is == WORKS)
			is = REFUSED;
		worst = is > worst ? is : worst;
	}
	unmap(word);
	unmap(truth);
	return worst;
}

static const char *name(int prot)
{
	return prot == NO ? "none" : prot == RO ? "ro" : "rw";
}

static void run(const char *where, const struct source *from)
{
	for (unsigned int i = 0; i < sizeof(sequences) / sizeof(*sequences); i++) {
		const struct sequence *s = &sequences[i];

		char title[64];
		int len = snprintf(title, sizeof(title), "%s %s %s", where, from->device,
				   name(s->first));

		for (unsigned int j = 0; j < s->nr; j++)
			len += snprintf(title + len, sizeof(title) - len, "-%s",
					name(s->later[j]));
		/* What the kernel says of it comes between the two. */
		printf("foreign: begins %s\n", title);
		fflush(stdout);
		printf("foreign: %s: %s\n", title, outcomes[change(from, s)]);
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	const int dom0 = argc > 1;
	const char *where = dom0 ? "dom0" : "domU", *peer = dom0 ? "domU" : "dom0";
	unsigned long guest = dom0 ? strtoul(argv[1], NULL, 10) : wait_for("domid");
	char path[128];
	struct source granted = {
		"gntdev", dom0 ? guest : 0, 0, 0
	}, console = {
		"privcmd", dom0 ? guest : SELF, 0, dom0 ? 1000 : 1008
	};

	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	signal(SIGALRM, on_signal);

	snprintf(path, sizeof(path), "/local/domain/%lu/data/%s-ref", guest, where);
	put(path, grant_to(granted.domid));
	snprintf(path, sizeof(path), "/local/domain/%lu/data/%s-ref", guest, peer);
	granted.number = wait_for(path);
	snprintf(path, sizeof(path), "/local/domain/%lu/console/ring-ref", guest);
	console.number = wait_for(path);

	run(where, &granted);
	run(where, &console);

	/* The other one may still use the page. */
	snprintf(path, sizeof(path), "/local/domain/%lu/data/%s-done", guest, where);
	put(path, 1);
	snprintf(path, sizeof(path), "/local/domain/%lu/data/%s-done", guest, peer);
	wait_for(path);
	printf("foreign: %s done\n", where);
	return 0;
}
