/* SPDX-License-Identifier: MIT */
#include "base/file_stamp.h"

#include <sys/stat.h>

struct file_stamp file_stamp_take(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return (struct file_stamp){ .inode = 0 };
	return (struct file_stamp){
		.device = st.st_dev,
		.inode = st.st_ino,
		.mode = st.st_mode,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.size = st.st_size,
		.modified = st.st_mtim,
	};
}

bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->mode == b->mode &&
	       a->uid == b->uid && a->gid == b->gid && a->size == b->size &&
	       a->modified.tv_sec == b->modified.tv_sec &&
	       a->modified.tv_nsec == b->modified.tv_nsec;
}
