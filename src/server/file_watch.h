/* SPDX-License-Identifier: MIT */
/* Have files changed? For `watch: true`. Sees them overwritten, replaced by rename, and reached through other symbolic
 * links than before (Kubernetes swaps `..data` beside the files of a ConfigMap). */
#ifndef FILE_WATCH_H
#define FILE_WATCH_H

#include <stddef.h>

#include <uv.h>

#include "base/bug.h"

struct file_watch;

/* Nothing has touched the files for this long: whoever writes them is done [ms]. */
#define FILE_WATCH_QUIET_MS 100

/* The files are not what they were, and come to rest. May call file_watch_set() and file_watch_destroy(). */
typedef void (*file_watch_cb)(void *data);

/* Watches nothing yet. Returns 0 or a negative errno. */
int file_watch_create(uv_loop_t *loop, file_watch_cb cb, void *data,
		      struct file_watch **ret) MUST_CHECK;

/* Watch these, and no others. The paths are copied. A path that was watched before is compared to what it was when
 * @cb was last called, so that a change while it was read is not missed. Returns 0; or a negative errno, and what was
 * watched is watched on. */
int file_watch_set(struct file_watch *w, char *const *paths, size_t count) MUST_CHECK;

/* @cb is not called any more; the loop must still run to free the memory. NULL does nothing. */
void file_watch_destroy(struct file_watch *w);

#endif
