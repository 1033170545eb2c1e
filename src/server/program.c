/* SPDX-License-Identifier: MIT */
#include "server/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SELF "/proc/self/exe"

/* --- arguments --- */

/* All of @fd, with a zero behind it, to be freed. Returns the size without that, or a negative errno. */
static ssize_t read_all(int fd, char **ret)
{
	char *text = NULL;
	size_t used = 0;
	size_t size = 0;
	ssize_t n;

	do {
		char *more = realloc(text, size += 4096);

		if (more == NULL) {
			free(text);
			return -ENOMEM;
		}
		text = more;
		n = read(fd, text + used, size - used - 1);
		used += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	if (n < 0) {
		n = -errno;
		free(text);
		return n;
	}
	text[used] = '\0';
	*ret = text;
	return (ssize_t)used;
}

static int split(struct program *p, size_t size)
{
	size_t count = 0;
	char *at = p->text;

	for (size_t i = 0; i < size; i++)
		count += p->text[i] == '\0';
	p->arguments = calloc(count + 1, sizeof *p->arguments);
	if (p->arguments == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		p->arguments[i] = at;
		at += strlen(at) + 1;
	}
	return count > 0 ? 0 : -EINVAL;
}

/* As execve(2) got them: main() may have moved its own pointers since. */
static int find_arguments(struct program *p)
{
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t size;

	if (fd < 0)
		return -errno;
	size = read_all(fd, &p->text);
	close(fd);
	return size < 0 ? (int)size : split(p, (size_t)size);
}

/* --- path --- */

static bool is_this_program(const char *path)
{
	struct stat a;
	struct stat b;

	return stat(path, &a) == 0 && stat(SELF, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static bool join(char ret[static PATH_MAX], const char *folder, size_t folder_size,
		 const char *name)
{
	return snprintf(ret, PATH_MAX, "%.*s/%s", (int)folder_size, folder, name) < PATH_MAX;
}

static bool make_absolute(const char *name, char ret[static PATH_MAX])
{
	char folder[PATH_MAX];

	if (name[0] == '/')
		return snprintf(ret, PATH_MAX, "%s", name) < PATH_MAX;
	return getcwd(folder, sizeof folder) != NULL && join(ret, folder, strlen(folder), name);
}

/* As execvp(3) does. */
static bool find_in_path(const char *name, char ret[static PATH_MAX])
{
	const char *at = getenv("PATH");

	while (at != NULL && at[0] != '\0') {
		size_t size = strcspn(at, ":");

		if (size > 0 && join(ret, at, size, name) && is_this_program(ret))
			return true;
		at += size + (at[size] == ':');
	}
	return false;
}

static int find_path(struct program *p)
{
	const char *name = p->arguments[0];
	char path[PATH_MAX];
	bool found = strchr(name, '/') != NULL ? make_absolute(name, path) && is_this_program(path)
					       : find_in_path(name, path);

	if (!found) {
		ssize_t size = readlink(SELF, path, sizeof path - 1);

		if (size < 0)
			return -errno;
		path[size] = '\0';
	}
	p->path = strdup(path);
	return p->path != NULL ? 0 : -ENOMEM;
}

int program_find(struct program *ret)
{
	int rv;

	*ret = (struct program){ .path = NULL };
	rv = find_arguments(ret);
	if (rv == 0)
		rv = find_path(ret);
	if (rv != 0)
		program_fini(ret);
	return rv;
}

void program_fini(struct program *p)
{
	free(p->path);
	free(p->arguments);
	free(p->text);
	*p = (struct program){ .path = NULL };
}
