/* SPDX-License-Identifier: MIT */
#include "conf/config_load.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/config.h"
#include "conf/config_document.h"
#include "conf/config_place.h"
#include "conf/config_read.h"

static int check_watch(const struct config_place *root, const struct config *c)
{
	struct config_place watch = { root->document, root,
				      cJSON_GetObjectItemCaseSensitive(root->value, "watch") };

	if (!c->watch || c->file_count > 0)
		return 0;
	return config_refuse(&watch, "there is nothing to watch: neither the configuration nor one "
				     "of \"proxy_lists\" is a file; remove the key, or give "
				     "the configuration by -c FILE");
}

static int read_root(struct config_reading *r, const struct config_document *d)
{
	struct config_place root = { d, NULL, d->root };
	int rv;

	if (!cJSON_IsObject(d->root))
		return config_refuse(&root, "must be an object");
	rv = config_read_object(r, &root, &config_root_table, r->config);
	return rv == 0 ? check_watch(&root, r->config) : rv;
}

/* A document whose text and root are set becomes a configuration, or nothing. @path is where it was read, or NULL if
 * that is no file; then there is no @stamp either. */
static int read_document(const struct config_document *d, const char *path,
			 const struct file_stamp *stamp, const char *directory, struct config **ret)
{
	struct config_reading r = { .config = config_create(), .directory = directory };
	int rv;

	if (r.config == NULL || (path != NULL && config_add_file(r.config, path, stamp) != 0))
		rv = config_no_memory(d);
	else
		rv = read_root(&r, d);
	config_reading_fini(&r);
	if (rv == 0)
		*ret = r.config;
	else
		config_unref(r.config);
	return rv;
}

int config_load_file(const char *path, struct config **ret, struct config_error *reterr)
{
	bool is_stdin = strcmp(path, "-") == 0;
	struct config_document d = { .name = is_stdin ? "stdin" : path, .error = reterr };
	char *copy = strdup(path); /* for dirname(3), which writes into it */
	struct file_stamp stamp = file_stamp_take(path);
	int rv;

	if (copy == NULL)
		return config_no_memory(&d);
	rv = config_document_read(&d, path);
	if (rv == 0)
		rv = read_document(&d, is_stdin ? NULL : path, &stamp, dirname(copy), ret);
	config_document_fini(&d);
	free(copy);
	return rv;
}

int config_load_text(const char *name, const char *directory, const char *text, size_t size,
		     struct config **ret, struct config_error *reterr)
{
	struct config_document d = { .name = name, .error = reterr };
	int rv = config_document_parse(&d, text, size);

	if (rv == 0)
		rv = read_document(&d, NULL, NULL, directory, ret);
	config_document_fini(&d);
	return rv;
}

/* Append @item (taken; NULL if it could not be made) under @key. */
static bool attach(cJSON *object, const char *key, cJSON *item)
{
	if (item != NULL && cJSON_AddItemToObject(object, key, item))
		return true;
	cJSON_Delete(item);
	return false;
}

/* The items of "A,B,C", as an array. NULL when out of memory. */
static cJSON *split_at_commas(const char *text)
{
	cJSON *array = cJSON_CreateArray();
	char *copy = strdup(text);
	char *rest = copy;
	char *item;

	if (array == NULL || copy == NULL)
		goto err;
	while ((item = strsep(&rest, ",")) != NULL) {
		cJSON *string = cJSON_CreateString(item);

		if (string == NULL)
			goto err;
		cJSON_AddItemToArray(array, string);
	}
	free(copy);
	return array;

err:
	free(copy);
	cJSON_Delete(array);
	return NULL;
}

/* {"listeners": [{"listen": …, "upstream": …, "trusted_proxies": […], "transparent": …}]}, or NULL when
 * out of memory. */
static cJSON *tree_of_flags(const struct config_flags *flags)
{
	cJSON *root = cJSON_CreateObject();
	cJSON *listeners = root != NULL ? cJSON_AddArrayToObject(root, "listeners") : NULL;
	cJSON *l = listeners != NULL ? cJSON_CreateObject() : NULL;

	if (l == NULL)
		goto err;
	cJSON_AddItemToArray(listeners, l);
	if (attach(l, "listen", cJSON_CreateString(flags->listen)) &&
	    attach(l, "upstream", cJSON_CreateString(flags->upstream)) &&
	    attach(l, "trusted_proxies", split_at_commas(flags->trust)) &&
	    attach(l, "transparent", cJSON_CreateBool(flags->transparent)))
		return root;
err:
	cJSON_Delete(root);
	return NULL;
}

int config_load_flags(const struct config_flags *flags, struct config **ret,
		      struct config_error *reterr)
{
	struct config_document d = { .name = "flags", .is_flags = true, .error = reterr };
	const char *missing = flags->listen == NULL     ? "--listen"
			      : flags->upstream == NULL ? "--upstream"
			      : flags->trust == NULL    ? "--trust"
							: NULL;
	int rv;

	if (missing != NULL) {
		snprintf(reterr->text, sizeof reterr->text,
			 "%s is missing; --listen, --upstream and --trust go together", missing);
		return -EINVAL;
	}
	rv = config_document_print(&d, tree_of_flags(flags));
	if (rv == 0)
		rv = read_document(&d, NULL, NULL, ".", ret);
	config_document_fini(&d);
	return rv;
}
