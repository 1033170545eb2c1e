/* SPDX-License-Identifier: MIT */
/* Have files changed since they were read? For `watch: true`. Sees them overwritten, replaced by rename, and reached
 * through other symbolic links than before (Kubernetes swaps `..data` beside the files of a ConfigMap). */
#ifndef FILE_WATCH_H
#define FILE_WATCH_H

#include <stddef.h>

#include <uv.h>

#include "base/bug.h"

struct config_file;
struct file_watch;

/* Nothing has touched the files for this long: whoever writes them is done [ms]. */
#define FILE_WATCH_QUIET_MS 100

/* A file is not what it was when it was read, and they have come to rest. Not called for the same change again. May call
 * file_watch_set() and file_watch_destroy(). */
typedef void (*file_watch_cb)(void *data);

/* Watches nothing yet. Returns 0 or a negative errno. */
int file_watch_create(uv_loop_t *loop, file_watch_cb cb, void *data,
		      struct file_watch **ret) MUST_CHECK;

/* Watch these (copied), and no others. What has changed since it was read, even before this call, is seen. Returns 0; or
 * a negative errno, with what was watched being watched on: -ENOSPC is the limit fs.inotify.max_user_watches. */
int file_watch_set(struct file_watch *w, const struct config_file *files, size_t count) MUST_CHECK;

/* @cb is not called any more; the loop must still run to free the memory. NULL does nothing. */
void file_watch_destroy(struct file_watch *w);

#endif
