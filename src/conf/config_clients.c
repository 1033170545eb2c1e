/* SPDX-License-Identifier: MIT */
/* The readers of what a listener asks of its effective clients: where from, through what, and how often. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cidr_set.h"
#include "conf/config.h"
#include "conf/config_document.h"
#include "conf/config_place.h"
#include "conf/config_read.h"

#define VPC_ENDPOINT_MAX 255

/* The networks at @at become *@member. @empty says what an empty list would mean. */
static int read_networks(const struct config_reading *r, const struct config_place *at,
			 const struct config_key *key, const char *empty, struct cidr_set **member)
{
	if (!cJSON_IsArray(at->value))
		return config_refuse_form(at, key);
	if (at->value->child == NULL)
		return config_refuse(at, "%s", empty);
	*member = cidr_set_create();
	if (*member == NULL)
		return config_no_memory(at->document);
	for (const cJSON *c = at->value->child; c != NULL; c = c->next) {
		struct config_place place = { at->document, at, c };
		int rv = config_read_network(r, &place, *member);

		if (rv != 0)
			return rv;
	}
	cidr_set_seal(*member);
	return 0;
}

int config_read_clients_allow(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base)
{
	struct listener_config *l = base;

	return read_networks(r, at, key,
			     "an empty list refuses every client; remove the key to serve all",
			     &l->clients_allow);
}

int config_read_clients_deny(struct config_reading *r, const struct config_place *at,
			     const struct config_key *key, void *base)
{
	struct listener_config *l = base;

	return read_networks(r, at, key, "an empty list refuses nobody; remove the key",
			     &l->clients_deny);
}

/* Any id: what AWS calls them tomorrow is not for us to say. */
static bool is_endpoint_id(const char *text)
{
	size_t size = 0;

	while (isgraph((unsigned char)text[size]))
		size++;
	return text[size] == '\0' && size >= 1 && size <= VPC_ENDPOINT_MAX;
}

static int read_vpc_endpoint(const struct config_place *at, struct listener_config *l)
{
	const char *text = cJSON_GetStringValue(at->value);

	if (text == NULL || !is_endpoint_id(text))
		return config_refuse(at, "must be an id such as \"vpce-08d2bf15fac5001c9\": 1 to "
					 "255 printable ASCII characters, no spaces");
	for (size_t i = 0; i < l->vpc_endpoint_count; i++)
		if (strcmp(l->vpc_endpoints[i], text) == 0)
			return config_refuse(at, "this id stands here twice; remove one");
	l->vpc_endpoints[l->vpc_endpoint_count] = strdup(text);
	if (l->vpc_endpoints[l->vpc_endpoint_count] == NULL)
		return config_no_memory(at->document);
	l->vpc_endpoint_count++;
	return 0;
}

int config_read_vpc_endpoints(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base)
{
	struct listener_config *l = base;

	(void)r;
	if (!cJSON_IsArray(at->value))
		return config_refuse_form(at, key);
	if (at->value->child == NULL)
		return config_refuse(
		    at, "an empty list refuses every connection; remove the key to serve all");
	l->vpc_endpoints = calloc((size_t)cJSON_GetArraySize(at->value), sizeof *l->vpc_endpoints);
	if (l->vpc_endpoints == NULL)
		return config_no_memory(at->document);
	for (const cJSON *c = at->value->child; c != NULL; c = c->next) {
		struct config_place place = { at->document, at, c };
		int rv = read_vpc_endpoint(&place, l);

		if (rv != 0)
			return rv;
	}
	return 0;
}

int config_read_rate(struct config_reading *r, const struct config_place *at,
		     const struct config_key *key, void *base)
{
	struct listener_config *l = base;
	int rv;

	if (!cJSON_IsObject(at->value))
		return config_refuse_form(at, key);
	rv = config_read_object(r, at, &config_rate_table, l);
	if (rv == 0 && l->connection_rate_per_client.burst == 0)
		l->connection_rate_per_client.burst = l->connection_rate_per_client.per_second;
	return rv;
}
