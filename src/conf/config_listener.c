/* SPDX-License-Identifier: MIT */
/* The readers of listeners[], of its addresses and versions, and of the admin listener's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/config.h"
#include "conf/config_document.h"
#include "conf/config_place.h"
#include "conf/config_read.h"

static int read_endpoint(const struct config_place *at, const struct config_key *key, bool names,
			 struct endpoint *ret)
{
	const char *text = cJSON_GetStringValue(at->value);
	char why[ENDPOINT_ERROR_MAX];
	int rv;

	if (text == NULL)
		return config_refuse_form(at, key);
	rv = endpoint_parse(text, names, ret, why);
	if (rv == -ENOMEM)
		return config_no_memory(at->document);
	if (rv != 0)
		return config_refuse(at, "%s", why);
	return 0;
}

int config_read_listen(struct config_reading *r, const struct config_place *at,
		       const struct config_key *key, void *base)
{
	struct listener_config *l = base;

	(void)r;
	return read_endpoint(at, key, false, &l->listen);
}

/* One half of a pair, for clients of the family. A name or a unix socket serves either. */
static int read_upstream_of(const struct config_place *at, const struct config_key *key,
			    uint16_t family, struct endpoint *ret)
{
	int rv = read_endpoint(at, key, true, ret);

	if (rv == 0 && ret->kind == ENDPOINT_IP && ret->ip.family != family)
		return config_refuse(at, "not an IPv%c address", family == AF_INET ? '4' : '6');
	return rv;
}

int config_read_upstream_ipv4(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base)
{
	struct listener_config *l = base;

	(void)r;
	return read_upstream_of(at, key, AF_INET, &l->upstream[0]);
}

int config_read_upstream_ipv6(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base)
{
	struct listener_config *l = base;

	(void)r;
	return read_upstream_of(at, key, AF_INET6, &l->upstream[1]);
}

int config_read_upstream(struct config_reading *r, const struct config_place *at,
			 const struct config_key *key, void *base)
{
	struct listener_config *l = base;

	if (cJSON_IsObject(at->value)) {
		l->upstream_is_pair = true;
		return config_read_object(r, at, &config_pair_table, l);
	}
	for (size_t i = 0; i < ARRAY_SIZE(l->upstream); i++) {
		int rv = read_endpoint(at, key, true, &l->upstream[i]);

		if (rv != 0)
			return rv;
	}
	return 0;
}

int config_read_versions(struct config_reading *r, const struct config_place *at,
			 const struct config_key *key, void *base)
{
	struct listener_config *l = base;

	(void)r;
	if (!cJSON_IsArray(at->value) || at->value->child == NULL)
		return config_refuse_form(at, key);
	for (const cJSON *c = at->value->child; c != NULL; c = c->next) {
		struct config_place place = { at->document, at, c };
		double version = cJSON_IsNumber(c) ? c->valuedouble : 0;
		unsigned bit = version == 1   ? CONFIG_VERSION_1
			       : version == 2 ? CONFIG_VERSION_2
					      : 0;

		if (bit == 0)
			return config_refuse(&place, "must be 1 or 2");
		if ((l->versions & bit) != 0)
			return config_refuse(&place, "this version stands here twice; remove one");
		l->versions |= bit;
	}
	return 0;
}

/* The member @key of the listener at @at, if it was written. */
static struct config_place member_or_whole(const struct config_place *at, const char *key)
{
	for (const cJSON *c = at->value->child; c != NULL; c = c->next)
		if (strcmp(c->string, key) == 0)
			return (struct config_place){ at->document, at, c };
	return *at;
}

static bool is_every_address(const struct endpoint *e)
{
	return e->kind == ENDPOINT_IP && address_is_unspecified(&e->ip);
}

/* [::] takes IPv4 too, so it is the same place as 0.0.0.0. Port 0 is a new port each time. */
static bool same_place(const struct endpoint *a, const struct endpoint *b)
{
	if (a->kind == ENDPOINT_IP && a->ip.port == 0)
		return false;
	if (is_every_address(a) && is_every_address(b))
		return a->ip.port == b->ip.port;
	return strcmp(a->text, b->text) == 0;
}

/* What can only be said of listeners beside each other. */
static int check_unique(const struct config_place *at, const struct listener_config *all,
			size_t index)
{
	struct config_place listen = member_or_whole(at, "listen");
	struct config_place name = member_or_whole(at, "name");

	for (size_t i = 0; i < index; i++) {
		if (same_place(&all[i].listen, &all[index].listen))
			return config_refuse(&listen, "listeners[%zu] listens on %s already", i,
					     all[i].listen.text);
		if (strcmp(all[i].name, all[index].name) == 0)
			return config_refuse(name.value == at->value ? &listen : &name,
					     "listeners[%zu] has this name already; give this "
					     "one a name of its own",
					     i);
	}
	return 0;
}

/* Connecting from a client's address takes an upstream with an address of its own. */
static int check_transparent(const struct config_place *at, const struct listener_config *l)
{
	struct config_place upstream = member_or_whole(at, "upstream");

	for (size_t i = 0; l->transparent && i < ARRAY_SIZE(l->upstream); i++) {
		if (l->upstream[i].kind == ENDPOINT_UNIX)
			return config_refuse(&upstream,
					     "connections to a unix socket have no client address, "
					     "so `transparent` needs the application's TCP port");
		if (is_every_address(&l->upstream[i]))
			return config_refuse(
			    &upstream, "`transparent` needs an address that the application is "
				       "reached at, such as 127.0.0.1");
	}
	return 0;
}

static int check_gating(const struct config_place *at, const struct listener_config *l)
{
	struct config_place check = member_or_whole(at, "upstream_check");
	struct config_place close = member_or_whole(&check, "close_listener");

	if (!l->upstream_check_close_listener)
		return 0;
	if (l->listen.kind == ENDPOINT_UNIX)
		return config_refuse(&close, "a unix socket cannot be closed and opened again; let "
					     "the health check ask for /readyz of \"admin\"");
	if (l->upstream_check_interval_ms == 0)
		return config_refuse(&close, "with \"interval_ms\" 0 nobody sees that the "
					     "upstream is down; set it to 1 or more");
	return 0;
}

static int read_listener(struct config_reading *r, const struct config_place *at, size_t index)
{
	struct listener_config *l = &r->config->listeners[index];
	int rv;

	if (!cJSON_IsObject(at->value))
		return config_refuse(at, "must be an object");
	rv = config_read_object(r, at, &config_listener_table, l);
	if (rv != 0)
		return rv;
	rv = check_transparent(at, l);
	if (rv == 0)
		rv = check_gating(at, l);
	if (rv != 0)
		return rv;
	if (l->name == NULL)
		l->name = strdup(l->listen.text);
	if (l->name == NULL)
		return config_no_memory(at->document);
	return check_unique(at, r->config->listeners, index);
}

int config_read_listeners(struct config_reading *r, const struct config_place *at,
			  const struct config_key *key, void *base)
{
	struct config *config = base;
	size_t count, i = 0;
	int rv = 0;

	if (!cJSON_IsArray(at->value))
		return config_refuse_form(at, key);
	count = (size_t)cJSON_GetArraySize(at->value);
	if (count == 0)
		return config_refuse(at, "at least one listener is needed");
	config->listeners = calloc(count, sizeof *config->listeners);
	if (config->listeners == NULL)
		return config_no_memory(at->document);
	config->listener_count = count; /* zeroed ones may be released */
	for (const cJSON *c = at->value->child; rv == 0 && c != NULL; c = c->next, i++) {
		struct config_place place = { at->document, at, c };

		rv = read_listener(r, &place, i);
	}
	return rv;
}

int config_read_admin_listen(struct config_reading *r, const struct config_place *at,
			     const struct config_key *key, void *base)
{
	struct config *c = base;
	int rv = read_endpoint(at, key, false, &c->admin_listen);

	(void)r;
	for (size_t i = 0; rv == 0 && i < c->listener_count; i++)
		if (same_place(&c->listeners[i].listen, &c->admin_listen))
			rv = config_refuse(at, "listeners[%zu] listens on %s already", i,
					   c->listeners[i].listen.text);
	return rv;
}
