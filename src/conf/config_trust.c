/* SPDX-License-Identifier: MIT */
/* Networks: proxy_lists, what refers to them, and trusted_proxies, which does. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cidr_set.h"
#include "base/strbuf.h"
#include "conf/config.h"
#include "conf/config_document.h"
#include "conf/config_place.h"
#include "conf/config_read.h"

/* In trusted_proxies: whoever connects to a unix socket (nginx's word). */
#define UNIX_PEERS "unix:"

#define NAMES_MAX 512

/* What is meant as an address, right or wrong; no list may be named so. */
static bool looks_like_address(const char *text)
{
	return isdigit((unsigned char)text[0]) || strpbrk(text, ":/") != NULL;
}

static int add_network(const struct config_place *at, struct cidr_set *set)
{
	char why[CIDR_ERROR_MAX];
	struct cidr c;

	if (cidr_parse(at->value->valuestring, &c, why) != 0)
		return config_refuse(at, "%s", why);
	return cidr_set_add(set, &c) == 0 ? 0 : config_no_memory(at->document);
}

static int add_networks(const struct config_place *at, struct cidr_set *set)
{
	if (at->value->child == NULL)
		return config_refuse(at, "an empty list trusts nobody; add a network or remove it");
	for (const cJSON *c = at->value->child; c != NULL; c = c->next) {
		struct config_place place = { at->document, at, c };
		int rv;

		if (!cJSON_IsString(c))
			return config_refuse(&place, "must be a network or an address in quotes");
		rv = add_network(&place, set);
		if (rv != 0)
			return rv;
	}
	return 0;
}

/* The array in the file @path, which is named at @at. Mistakes in it are told by its own lines. */
static int add_networks_of_file(struct config *config, const struct config_place *at,
				const char *path, struct cidr_set *set)
{
	struct config_document d = { .name = path, .error = at->document->error };
	struct file_stamp stamp = file_stamp_take(path);
	int rv = config_add_file(config, path, &stamp);

	if (rv != 0)
		return config_no_memory(at->document);
	if (S_ISFIFO(stamp.mode)) /* whoever reads it may wait for ever */
		return config_refuse(at, "%s is a pipe, and a reload reads it again; use a file",
				     path);
	rv = config_document_read(&d, path);
	if (rv == 0) {
		struct config_place root = { &d, NULL, d.root };

		rv = cJSON_IsArray(d.root)
			 ? add_networks(&root, set)
			 : config_refuse(&root, "must be an array of networks, such as "
						"[\"10.0.0.0/24\"]");
	} else if (rv != -EINVAL && rv != -ENOMEM) {
		rv = config_refuse(at, "cannot read %s: %s", path, strerror(-rv));
	}
	config_document_fini(&d);
	return rv;
}

/* @file as seen from @directory, to be freed. NULL when out of memory. */
static char *join_path(const char *directory, const char *file)
{
	size_t size = strlen(directory) + 1 + strlen(file) + 1;
	char *path;

	if (file[0] == '/' || strcmp(directory, ".") == 0)
		return strdup(file);
	path = malloc(size);
	if (path != NULL)
		snprintf(path, size, "%s/%s", directory, file);
	return path;
}

/* @at is {"file": …}. */
static int read_list_file(struct config_reading *r, const struct config_place *at,
			  struct cidr_set *set)
{
	struct config_place file = { at->document, at, at->value->child };
	struct config_list_file list = { NULL };
	int rv = config_read_object(r, at, &config_list_file_table, &list);
	char *path;

	if (rv != 0)
		return rv;
	path = join_path(r->directory, list.file);
	rv = path != NULL ? add_networks_of_file(r->config, &file, path, set)
			  : config_no_memory(at->document);
	free(path);
	free(list.file);
	return rv;
}

static const struct config_list *find_list(const struct config_reading *r, const char *name)
{
	for (size_t i = 0; i < r->list_count; i++)
		if (strcmp(r->lists[i].name, name) == 0)
			return &r->lists[i];
	return NULL;
}

static int read_list(struct config_reading *r, const struct config_place *at)
{
	struct config_list *list = &r->lists[r->list_count];

	if (at->value->string[0] == '\0' || looks_like_address(at->value->string))
		return config_refuse_key(at,
					 "a list needs a name that does not look like an address");
	if (find_list(r, at->value->string) != NULL)
		return config_refuse_key(at, "this key stands here twice; remove one");
	list->name = at->value->string;
	list->set = cidr_set_create();
	if (list->set == NULL)
		return config_no_memory(at->document);
	r->list_count++;
	if (cJSON_IsArray(at->value))
		return add_networks(at, list->set);
	if (cJSON_IsObject(at->value))
		return read_list_file(r, at, list->set);
	return config_refuse(at, "must be an array of networks or {\"file\": \"nlb.json\"}");
}

int config_read_proxy_lists(struct config_reading *r, const struct config_place *at,
			    const struct config_key *key, void *base)
{
	int rv = 0;

	(void)base;
	if (!cJSON_IsObject(at->value))
		return config_refuse_form(at, key);
	r->lists = calloc((size_t)cJSON_GetArraySize(at->value) + 1, sizeof *r->lists);
	if (r->lists == NULL)
		return config_no_memory(at->document);
	for (const cJSON *c = at->value->child; rv == 0 && c != NULL; c = c->next) {
		struct config_place place = { at->document, at, c };

		rv = read_list(r, &place);
	}
	return rv;
}

static int refuse_unknown_list(const struct config_reading *r, const struct config_place *at)
{
	char names[NAMES_MAX];
	struct strbuf s;

	if (r->list_count == 0)
		return config_refuse(at, "neither an address nor a network, and there are no "
					 "\"proxy_lists\"");
	strbuf_init(&s, names, sizeof names);
	for (size_t i = 0; i < r->list_count; i++)
		strbuf_printf(&s, "%s\"%s\"", i > 0 ? ", " : "", r->lists[i].name);
	return config_refuse(
	    at, "neither an address nor a network, and \"proxy_lists\" has only %s", names);
}

int config_read_network(const struct config_reading *r, const struct config_place *at,
			struct cidr_set *set)
{
	const char *text = cJSON_GetStringValue(at->value);
	const struct config_list *list;

	if (text == NULL)
		return config_refuse(at, "must be a network, an address or a name from "
					 "proxy_lists, in quotes");
	list = find_list(r, text);
	if (list != NULL)
		return cidr_set_add_set(set, list->set) == 0 ? 0 : config_no_memory(at->document);
	if (!looks_like_address(text))
		return refuse_unknown_list(r, at);
	return add_network(at, set);
}

static int read_trusted(const struct config_reading *r, const struct config_place *at,
			struct listener_config *l)
{
	const char *text = cJSON_GetStringValue(at->value);

	if (text == NULL || strcmp(text, UNIX_PEERS) != 0)
		return config_read_network(r, at, l->trusted);
	if (l->listen.kind != ENDPOINT_UNIX)
		return config_refuse(at,
				     "only for a listener on a unix socket; this one listens on %s",
				     l->listen.text);
	l->trust_unix = true;
	return 0;
}

int config_read_trusted_proxies(struct config_reading *r, const struct config_place *at,
				const struct config_key *key, void *base)
{
	struct listener_config *l = base;

	if (!cJSON_IsArray(at->value))
		return config_refuse_form(at, key);
	if (at->value->child == NULL)
		return config_refuse(at, "an empty list trusts nobody; add the load balancer's "
					 "networks");
	l->trusted = cidr_set_create();
	if (l->trusted == NULL)
		return config_no_memory(at->document);
	for (const cJSON *c = at->value->child; c != NULL; c = c->next) {
		struct config_place place = { at->document, at, c };
		int rv = read_trusted(r, &place, l);

		if (rv != 0)
			return rv;
	}
	if (l->listen.kind == ENDPOINT_UNIX && !l->trust_unix)
		return config_refuse_whole(at,
					   "peers on a unix socket have no address; add "
					   "\"unix:\" to trust whoever can open %s",
					   l->listen.path);
	cidr_set_seal(l->trusted);
	return 0;
}
