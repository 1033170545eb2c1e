/* SPDX-License-Identifier: MIT */
/* Happy path: every folder in which the way to a file could change is watched: its own, and that of each symbolic link on
 * the way. So is the file, for it may lie in another folder, too: one that a container was given by itself is written
 * to by its name outside. Something happens to one of these; once nothing has for a while, the ways are found anew and
 * stat(2) tells whether any of the files is another one.
 *
 * What can go wrong:
 * - A file or folder on the way is missing: the folder where it should be is watched.
 * - More happens than the kernel remembers: it says so, and we look.
 * - A folder cannot be watched (permissions, or too many watches): the caller is told at first; later on, what is
 *   watched already has to do. */
#include "server/file_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/config.h"

/* What may change where a name in a folder leads, or what is there. */
#define WATCHED_EVENTS                                                                      \
	(IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | \
	 IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF)

/* The kernel follows as many (path_resolution(7)). */
#define LINKS_MAX 40

/* A name in a watched folder. */
struct watched_name {
	int folder; /* the kernel's number for it; or for the file itself, and then the name is empty */
	char name[NAME_MAX + 1];
};

/* The ways to all files. */
struct watched_names {
	struct watched_name *list;
	size_t count;
};

struct file_watch {
	uv_poll_t poll;
	uv_timer_t quiet;
	unsigned handles; /* that are not closed */
	int fd;           /* of inotify(7) */
	file_watch_cb cb;
	void *data;
	struct config_file *files; /* ours, with what we last saw */
	size_t count;
	struct watched_names names;
};

/* --- the way to a file --- */

/* A path on its way: what is resolved, and what is not. */
struct way {
	char folder[PATH_MAX];
	char rest[PATH_MAX];
	unsigned links;
};

static int names_add(struct watched_names *names, int number, const char *name)
{
	struct watched_name *list;

	list = realloc(names->list, (names->count + 1) * sizeof *list);
	if (list == NULL)
		return -ENOMEM;
	names->list = list;
	list[names->count].folder = number;
	snprintf(list[names->count].name, sizeof list->name, "%s", name);
	names->count++;
	return 0;
}

static int names_add_folder(struct watched_names *names, int fd, const char *folder,
			    const char *name)
{
	int number = inotify_add_watch(fd, folder, WATCHED_EVENTS | IN_ONLYDIR);

	return number < 0 ? -errno : names_add(names, number, name);
}

/* One that is not there, or that we may not read, its folder will have to tell of. */
static int names_add_file(struct watched_names *names, int fd, const char *path)
{
	int number = inotify_add_watch(fd, path, WATCHED_EVENTS | IN_DONT_FOLLOW);

	if (number < 0)
		return errno == ENOENT || errno == EACCES ? 0 : -errno;
	return names_add(names, number, "");
}

static bool names_watch(const struct watched_names *names, int folder)
{
	for (size_t i = 0; i < names->count; i++)
		if (names->list[i].folder == folder)
			return true;
	return false;
}

static bool names_contain(const struct watched_names *names, int folder, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (names->list[i].folder == folder && strcmp(names->list[i].name, name) == 0)
			return true;
	return false;
}

static bool join(char ret[static PATH_MAX], const char *a, const char *b)
{
	return snprintf(ret, PATH_MAX, "%s/%s", a, b) < PATH_MAX;
}

static void way_init(struct way *w, const char *path)
{
	strcpy(w->folder, path[0] == '/' ? "/" : ".");
	snprintf(w->rest, sizeof w->rest, "%s", path);
	w->links = 0;
}

/* Take the first name of the rest. Returns false if there is none. */
static bool way_next(struct way *w, char name[static NAME_MAX + 1])
{
	const char *start = w->rest + strspn(w->rest, "/");
	size_t size = strcspn(start, "/");

	if (size == 0 || size > NAME_MAX)
		return false;
	memcpy(name, start, size);
	name[size] = '\0';
	memmove(w->rest, start + size, strlen(start + size) + 1);
	return true;
}

/* @link is in the folder. Returns false unless it is a symbolic link that leads somewhere. */
static bool way_follow(struct way *w, const char *link)
{
	char target[PATH_MAX];
	char rest[PATH_MAX];
	ssize_t size = readlink(link, target, sizeof target - 1);

	if (size <= 0 || ++w->links > LINKS_MAX)
		return false;
	target[size] = '\0';
	if (!join(rest, target, w->rest))
		return false;
	strcpy(w->rest, rest);
	if (target[0] == '/')
		strcpy(w->folder, "/");
	return true;
}

/* Go one step. Returns 1: there is another; 0: this was the last; or a negative errno. */
static int way_step(struct way *w, struct watched_names *names, int fd)
{
	char name[NAME_MAX + 1];
	char path[PATH_MAX];
	struct stat st;
	int rv;

	if (!way_next(w, name) || !join(path, w->folder, name))
		return 0;
	if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		strcpy(w->folder, path);
		return 1;
	}
	rv = names_add_folder(names, fd, w->folder, name);
	if (rv != 0)
		return rv;
	if (way_follow(w, path)) /* only now, or it might lead elsewhere unseen */
		return 1;
	return names_add_file(names, fd, path);
}

static int watch_ways(const struct config_file *files, size_t count, int fd,
		      struct watched_names *ret)
{
	struct way w;

	for (size_t i = 0; i < count; i++) {
		int rv;

		way_init(&w, files[i].path);
		do
			rv = way_step(&w, ret, fd);
		while (rv == 1);
		if (rv != 0)
			return rv;
	}
	return 0;
}

/* The kernel need not tell us any more of folders that are only in @old. */
static void forget_folders(int fd, const struct watched_names *old,
			   const struct watched_names *names)
{
	for (size_t i = 0; i < old->count; i++)
		if (!names_watch(names, old->list[i].folder))
			inotify_rm_watch(fd, old->list[i].folder); /* EINVAL: did so already */
}

/* Watch the ways to @files in place of those that we watch. */
static int file_watch_follow(struct file_watch *w, const struct config_file *files, size_t count)
{
	struct watched_names names = { .count = 0 };
	int rv = watch_ways(files, count, w->fd, &names);

	if (rv != 0) {
		forget_folders(w->fd, &names, &w->names);
		free(names.list);
		return rv;
	}
	forget_folders(w->fd, &w->names, &names);
	free(w->names.list);
	w->names = names;
	return 0;
}

/* --- what happens --- */

/* Remember what the files are now. Returns true if that is news. */
static bool file_watch_look(struct file_watch *w)
{
	bool changed = false;

	for (size_t i = 0; i < w->count; i++) {
		struct file_stamp now = file_stamp_take(w->files[i].path);

		if (!file_stamp_equal(&now, &w->files[i].stamp))
			changed = true;
		w->files[i].stamp = now;
	}
	return changed;
}

/* The order matters: what happens after the look is an event of the folders that are watched now. */
static void file_watch_on_quiet(uv_timer_t *timer)
{
	struct file_watch *w = timer->data;
	int rv = file_watch_follow(w, w->files, w->count);

	(void)rv; /* what is watched already has to do */
	if (file_watch_look(w))
		w->cb(w->data);
}

static void file_watch_wait(struct file_watch *w)
{
	uv_timer_start(&w->quiet, file_watch_on_quiet, FILE_WATCH_QUIET_MS, 0); /* cannot fail */
}

/* An event without a name is about the folder itself. */
static bool concerns_us(const struct file_watch *w, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW)
		return true;
	return e->len > 0 ? names_contain(&w->names, e->wd, e->name)
			  : names_watch(&w->names, e->wd);
}

static void file_watch_on_event(uv_poll_t *poll, int status, int events)
{
	struct file_watch *w = poll->data;
	_Alignas(struct inotify_event) char buffer[4096];
	ssize_t size;

	(void)status;
	(void)events;
	while ((size = read(w->fd, buffer, sizeof buffer)) > 0) {
		for (ssize_t at = 0; at < size;) {
			const struct inotify_event *e = (const void *)(buffer + at);

			if (concerns_us(w, e))
				file_watch_wait(w);
			at += (ssize_t)(sizeof *e + e->len);
		}
	}
}

/* --- its life --- */

int file_watch_create(uv_loop_t *loop, file_watch_cb cb, void *data, struct file_watch **ret)
{
	struct file_watch *w = calloc(1, sizeof *w);
	int rv;

	if (w == NULL)
		return -ENOMEM;
	w->cb = cb;
	w->data = data;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	rv = w->fd < 0 ? -errno : uv_poll_init(loop, &w->poll, w->fd);
	if (rv != 0) {
		if (w->fd >= 0)
			close(w->fd);
		free(w);
		return rv;
	}
	uv_timer_init(loop, &w->quiet); /* none of these can fail */
	uv_poll_start(&w->poll, UV_READABLE, file_watch_on_event);
	w->poll.data = w;
	w->quiet.data = w;
	w->handles = 2;
	*ret = w;
	return 0;
}

static void files_free(struct config_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(files[i].path);
	free(files);
}

/* NULL when out of memory. */
static struct config_file *files_copy(const struct config_file *files, size_t count)
{
	struct config_file *copy = calloc(count > 0 ? count : 1, sizeof *copy);

	for (size_t i = 0; copy != NULL && i < count; i++) {
		copy[i].stamp = files[i].stamp;
		copy[i].path = strdup(files[i].path);
		if (copy[i].path == NULL) {
			files_free(copy, i);
			return NULL;
		}
	}
	return copy;
}

int file_watch_set(struct file_watch *w, const struct config_file *files, size_t count)
{
	struct config_file *copy = files_copy(files, count);
	int rv = copy == NULL ? -ENOMEM : file_watch_follow(w, copy, count);

	if (rv != 0) {
		files_free(copy, copy == NULL ? 0 : count);
		return rv;
	}
	files_free(w->files, w->count);
	w->files = copy;
	w->count = count;
	file_watch_wait(w); /* something may have changed since the files were read */
	return 0;
}

static void file_watch_on_closed(uv_handle_t *handle)
{
	struct file_watch *w = handle->data;

	if (--w->handles > 0)
		return;
	close(w->fd);
	files_free(w->files, w->count);
	free(w->names.list);
	free(w);
}

void file_watch_destroy(struct file_watch *w)
{
	if (w == NULL)
		return;
	uv_close((uv_handle_t *)&w->poll, file_watch_on_closed);
	uv_close((uv_handle_t *)&w->quiet, file_watch_on_closed);
}
