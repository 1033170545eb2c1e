/* SPDX-License-Identifier: MIT */
#include "conf/config_document.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/config_load.h"
#include "conf/json_text.h"

/* Some 500,000 networks. It keeps a wrong path, such as /dev/zero, from eating the memory. */
#define FILE_SIZE_MAX (16U << 20)

static int fail(const struct config_document *d, int code, const char *why)
{
	snprintf(d->error->text, sizeof d->error->text, "%s: %s", d->name, why);
	return code;
}

int config_no_memory(const struct config_document *d)
{
	return fail(d, -ENOMEM, "out of memory");
}

/* Check the text and make values of it. */
static int parse(struct config_document *d)
{
	const char *why;
	unsigned line, column;
	size_t at;

	if (!json_check(d->text, d->size, &at, &why)) {
		json_line_column(d->text, at, &line, &column);
		snprintf(d->error->text, sizeof d->error->text, "%s:%u:%u: %s%s", d->name, line,
			 column, why, at > 0 && at == d->size ? ", but the text ends here" : "");
		return -EINVAL;
	}
	d->root = cJSON_ParseWithLength(d->text, d->size);
	return d->root != NULL ? 0 : config_no_memory(d);
}

/* Read all of @fd into d->text. */
static int read_all(struct config_document *d, int fd)
{
	size_t capacity = 0;

	for (;;) {
		ssize_t n;

		if (d->size == capacity) {
			char *text;

			if (capacity == FILE_SIZE_MAX)
				return fail(d, -EFBIG, "larger than 16 MiB; is it the right file?");
			capacity = capacity > 0 ? capacity * 2 : 4096;
			text = realloc(d->text, capacity);
			if (text == NULL)
				return config_no_memory(d);
			d->text = text;
		}
		n = read(fd, d->text + d->size, capacity - d->size);
		if (n < 0 && errno != EINTR)
			return fail(d, -errno, strerror(errno));
		if (n == 0)
			return 0;
		if (n > 0)
			d->size += (size_t)n;
	}
}

int config_document_read(struct config_document *d, const char *path)
{
	int fd = STDIN_FILENO;
	int rv;

	if (strcmp(path, "-") != 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(d, -errno, strerror(errno));
	rv = read_all(d, fd);
	if (fd != STDIN_FILENO)
		close(fd);
	return rv == 0 ? parse(d) : rv;
}

int config_document_parse(struct config_document *d, const char *text, size_t size)
{
	d->text = malloc(size > 0 ? size : 1);
	if (d->text == NULL)
		return config_no_memory(d);
	memcpy(d->text, text, size);
	d->size = size;
	return parse(d);
}

int config_document_print(struct config_document *d, cJSON *root)
{
	d->root = root;
	d->text = root != NULL ? cJSON_PrintUnformatted(root) : NULL;
	if (d->text == NULL)
		return config_no_memory(d);
	d->size = strlen(d->text);
	return 0;
}

void config_document_fini(struct config_document *d)
{
	cJSON_Delete(d->root);
	free(d->text);
}
