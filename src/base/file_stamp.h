/* SPDX-License-Identifier: MIT */
/* What stat(2) says of a file, to find out whether it is still the same: content, permissions, and which file a path or a
 * symbolic link leads to. */
#ifndef FILE_STAMP_H
#define FILE_STAMP_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

/* Zeroed: there is no such file, or it cannot be seen. */
struct file_stamp {
	dev_t device;
	ino_t inode;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	off_t size; /* [bytes] */
	struct timespec modified;
};

/* Of the file that @path leads to, through symbolic links. Take it before reading the file: then a change meanwhile shows
 * later. */
struct file_stamp file_stamp_take(const char *path);

bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

#endif
