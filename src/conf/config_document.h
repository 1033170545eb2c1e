/* SPDX-License-Identifier: MIT */
/* Something that holds JSON: a file, UNPROXY_CONFIG, or the flags as if they had been written so. */
#ifndef CONFIG_DOCUMENT_H
#define CONFIG_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "base/bug.h"

struct config_error;

struct config_document {
	const char *name;           /* as messages call it; borrowed */
	char *text;                 /* owned, not zero-terminated; NULL until read */
	size_t size;                /* of text [bytes] */
	cJSON *root;                /* owned; NULL until parsed */
	bool is_flags;              /* messages name a flag instead of a line */
	struct config_error *error; /* borrowed; where messages go */
};

/* Fill in text and root, from the file @path ("-" is stdin), from @size bytes at @text (copied), or from @root
 * (taken, also on failure; NULL counts as out of memory). name and error are set before.
 * Return 0, -EINVAL, -ENOMEM or the negative errno of reading, with the message set. Either way, release with
 * config_document_fini(). */
int config_document_read(struct config_document *d, const char *path) MUST_CHECK;
int config_document_parse(struct config_document *d, const char *text, size_t size) MUST_CHECK;
int config_document_print(struct config_document *d, cJSON *root) MUST_CHECK;

void config_document_fini(struct config_document *d);

/* Sets the message and returns -ENOMEM. */
int config_no_memory(const struct config_document *d);

#endif
