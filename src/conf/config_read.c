/* SPDX-License-Identifier: MIT */
#include "conf/config_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/rtnetlink.h>

#include "base/cidr_set.h"
#include "base/strbuf.h"
#include "conf/config.h"
#include "conf/config_document.h"
#include "conf/config_place.h"

#define HINT_MAX 512

int config_add_file(struct config *c, const char *path, const struct file_stamp *stamp)
{
	struct config_file *files;

	for (size_t i = 0; i < c->file_count; i++)
		if (strcmp(c->files[i].path, path) == 0)
			return 0;
	files = realloc(c->files, (c->file_count + 1) * sizeof *files);
	if (files == NULL)
		return -ENOMEM;
	c->files = files;
	files[c->file_count].path = strdup(path);
	if (files[c->file_count].path == NULL)
		return -ENOMEM;
	files[c->file_count].stamp = *stamp;
	c->file_count++;
	return 0;
}

void config_reading_fini(struct config_reading *r)
{
	for (size_t i = 0; i < r->list_count; i++)
		cidr_set_destroy(r->lists[i].set);
	free(r->lists);
}

/* "100" or "true": right but for the quotes. */
static bool is_quoted_scalar(const cJSON *value)
{
	const char *text = cJSON_GetStringValue(value);

	if (text == NULL || text[0] == '\0')
		return false;
	return text[strspn(text, "0123456789")] == '\0' || strcmp(text, "true") == 0 ||
	       strcmp(text, "false") == 0;
}

int config_refuse_form(const struct config_place *at, const struct config_key *key)
{
	char form[HINT_MAX];
	struct strbuf s;

	strbuf_init(&s, form, sizeof form);
	config_key_describe(key, &s);
	if ((key->kind == CONFIG_UINT || key->kind == CONFIG_BOOL) && is_quoted_scalar(at->value))
		strbuf_puts(&s, ", without quotes");
	return config_refuse(at, "must be %s", form);
}

static void store(const struct config_key *key, void *base, unsigned value)
{
	void *member = (char *)base + key->offset;

	if (key->size == sizeof(bool))
		*(bool *)member = value != 0;
	else if (key->size == sizeof(unsigned))
		*(unsigned *)member = value;
}

static int store_text(const struct config_document *d, const struct config_key *key, void *base,
		      const char *text)
{
	void *member = (char *)base + key->offset;
	char *copy = strdup(text);

	if (copy == NULL)
		return config_no_memory(d);
	*(char **)member = copy;
	return 0;
}

bool config_read_uint(const struct config_key *key, const cJSON *value, unsigned *ret)
{
	double d = value->valuedouble;

	if (key->zero != NULL && cJSON_IsString(value) &&
	    strcmp(value->valuestring, key->zero) == 0) {
		*ret = 0;
		return true;
	}
	if (!cJSON_IsNumber(value) || !(d >= key->min && d <= key->max))
		return false;
	*ret = (unsigned)d;
	return (double)*ret == d;
}

static bool read_choice(const struct config_key *key, const cJSON *value, unsigned *ret)
{
	for (*ret = 0; cJSON_IsString(value) && key->choices[*ret] != NULL; ++*ret)
		if (strcmp(value->valuestring, key->choices[*ret]) == 0)
			return true;
	return false;
}

static int read_scalar(const struct config_place *at, const struct config_key *key, void *base)
{
	unsigned value = 0;
	bool ok = false;

	switch (key->kind) {
	case CONFIG_UINT:
		ok = config_read_uint(key, at->value, &value);
		break;
	case CONFIG_BOOL:
		ok = cJSON_IsBool(at->value);
		value = cJSON_IsTrue(at->value);
		break;
	case CONFIG_CHOICE:
		ok = read_choice(key, at->value, &value);
		break;
	case CONFIG_TEXT:
	case CONFIG_OBJECT:
	case CONFIG_OWN:
		break;
	}
	if (!ok)
		return config_refuse_form(at, key);
	store(key, base, value);
	return 0;
}

static int read_value(struct config_reading *r, const struct config_place *at,
		      const struct config_key *key, void *base)
{
	const char *text = cJSON_GetStringValue(at->value);

	switch (key->kind) {
	case CONFIG_UINT:
	case CONFIG_BOOL:
	case CONFIG_CHOICE:
		return read_scalar(at, key, base);
	case CONFIG_TEXT:
		if (text == NULL || text[0] == '\0' || strlen(text) > key->max)
			return config_refuse_form(at, key);
		return store_text(at->document, key, base, text);
	case CONFIG_OBJECT:
		if (!cJSON_IsObject(at->value))
			return config_refuse_form(at, key);
		return config_read_object(r, at, key->table, base);
	case CONFIG_OWN:
		return key->read(r, at, key, base);
	}
	return 0;
}

/* An object with nothing in it: all its keys are absent. */
static int read_absent(struct config_reading *r, const struct config_place *at,
		       const struct config_key *key, void *base)
{
	if (key->required)
		return config_refuse_whole(at, "\"%s\" is missing: %s, %s", key->name, key->help,
					   key->form);
	if (key->kind == CONFIG_TEXT)
		return key->fallback_text == NULL
			   ? 0
			   : store_text(at->document, key, base, key->fallback_text);
	if (key->kind == CONFIG_OBJECT) {
		const cJSON nothing = { .type = cJSON_Object };
		struct config_place inside = { at->document, at, &nothing };

		return config_read_object(r, &inside, key->table, base);
	}
	store(key, base, key->fallback);
	return 0;
}

static const cJSON *member(const cJSON *object, const char *name)
{
	for (const cJSON *c = object->child; c != NULL; c = c->next)
		if (strcmp(c->string, name) == 0)
			return c;
	return NULL;
}

/* Every key is one of the table's, and stands once. */
static int check_keys(const struct config_place *at, const struct config_table *t)
{
	for (const cJSON *c = at->value->child; c != NULL; c = c->next) {
		struct config_place place = { at->document, at, c };
		char hint[HINT_MAX];
		struct strbuf s;

		if (config_key_find(t, c->string) == NULL) {
			strbuf_init(&s, hint, sizeof hint);
			config_key_suggest(t, c->string, &s);
			return config_refuse_key(&place, "unknown key; %s", hint);
		}
		if (member(at->value, c->string) != c)
			return config_refuse_key(&place, "this key stands here twice; remove one");
	}
	return 0;
}

int config_read_object(struct config_reading *r, const struct config_place *at,
		       const struct config_table *table, void *base)
{
	int rv = check_keys(at, table);

	for (size_t i = 0; rv == 0 && i < table->count; i++) {
		const struct config_key *key = &table->keys[i];
		struct config_place place = { at->document, at, member(at->value, key->name) };

		if (place.value != NULL)
			rv = read_value(r, &place, key, base);
		else
			rv = read_absent(r, at, key, base);
	}
	return rv;
}

int config_read_routing_table(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base)
{
	struct config *c = base;
	unsigned table;

	(void)r;
	if (!config_read_uint(key, at->value, &table) ||
	    (table >= RT_TABLE_DEFAULT && table <= RT_TABLE_LOCAL))
		return config_refuse_form(at, key);
	c->transparent_table = table;
	return 0;
}
