/* SPDX-License-Identifier: GPL-2.0 */
/* Files of sysfs and the like, that hold one value. */
#ifndef SYSFS_H
#define SYSFS_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Write @value to the file @path; return whether that was taken. */
static inline bool set(const char *path, const char *value)
{
	int file = open(path, O_WRONLY);
	bool ok;

	if (file < 0)
		return false;
	ok = write(file, value, strlen(value)) == (ssize_t)strlen(value);
	close(file);
	return ok;
}

/* Read the number in the file @path to @value; return whether there is one. */
static inline bool read_number(const char *path, unsigned long *value)
{
	char text[32] = "";
	int file = open(path, O_RDONLY);
	bool ok;

	if (file < 0)
		return false;
	ok = read(file, text, sizeof(text) - 1) > 0;
	close(file);
	*value = strtoul(text, NULL, 0);
	return ok;
}

#endif
