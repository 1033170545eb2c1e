/* SPDX-License-Identifier: MIT */
/* Every key of the configuration: its type, its range, its default. The tables drive reading, the search for
 * the nearest key, and the list that tests/checks/config_docs.py compares with the documentation. */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bug.h"

struct config_key;
struct config_place;
struct config_reading;
struct strbuf;

/* Read the value at @at, of @key, into @base, the structure that the key's table describes.
 * Returns 0, -EINVAL or -ENOMEM with the document's error set. */
typedef int (*config_read_fn)(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base);

enum config_kind {
	CONFIG_UINT,   /* unsigned */
	CONFIG_BOOL,   /* bool */
	CONFIG_CHOICE, /* unsigned or bool: which of `choices` */
	CONFIG_TEXT,   /* char *, allocated */
	CONFIG_OBJECT, /* keys of `table`, for the same structure */
	CONFIG_OWN,    /* what `read` makes of it */
};

struct config_key {
	const char *name;
	enum config_kind kind;
	size_t offset;              /* of the member in the table's structure [bytes] */
	size_t size;                /* of the member [bytes]; 0: `read` knows it */
	unsigned min, max;          /* numbers; CONFIG_TEXT: max is the longest [bytes] */
	const char *zero;           /* CONFIG_UINT: the word that is written for 0 */
	const char *const *choices; /* CONFIG_CHOICE: NULL-terminated */
	unsigned fallback;          /* default, unless required: number or choice */
	const char *fallback_text;  /* CONFIG_TEXT: default, or NULL; others: as it is documented */
	const struct config_table *table;
	config_read_fn read;
	const char *form; /* what a value looks like, if the kind does not say it all or the key
	                   * is required; it completes "must be …" */
	bool required;
	const char *help;
};

struct config_table {
	const char *path; /* "listeners[]"; "" for the outermost */
	const struct config_key *keys;
	size_t count;
};

extern const struct config_table config_root_table;      /* struct config */
extern const struct config_table config_listener_table;  /* struct listener_config */
extern const struct config_table config_pair_table;      /* struct listener_config, of upstream */
extern const struct config_table config_rate_table;      /* struct listener_config */
extern const struct config_table config_list_file_table; /* struct config_list_file */

/* NULL if there is none of this name. */
const struct config_key *config_key_find(const struct config_table *t, const char *name);

/* Complete "unknown key; …": the nearest key, where else it belongs, or all keys. */
void config_key_suggest(const struct config_table *t, const char *name, struct strbuf *out);

/* Complete "must be …": "a whole number from 1 to 600000". */
void config_key_describe(const struct config_key *key, struct strbuf *out);

/* One line for every key: path, default, what a value looks like, help; with tabs between them. */
void config_keys_list(struct strbuf *out);

#endif
