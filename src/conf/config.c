/* SPDX-License-Identifier: MIT */
#include "conf/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/cidr_set.h"

struct config *config_create(void)
{
	struct config *c = calloc(1, sizeof *c);

	if (c != NULL)
		atomic_init(&c->references, 1);
	return c;
}

struct config *config_ref(struct config *c)
{
	/* Whoever calls holds a reference already, so nothing has to be ordered. */
	atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
	return c;
}

bool config_is_transparent(const struct config *c)
{
	for (size_t i = 0; i < c->listener_count; i++)
		if (c->listeners[i].transparent)
			return true;
	return false;
}

bool config_checks_upstream(const struct config *c, const struct listener_config *l)
{
	return l->upstream_check_interval_ms > 0 &&
	       (l->upstream_check_close_listener || c->admin_listen.text != NULL);
}

bool listener_config_same_socket(const struct listener_config *a, const struct listener_config *b)
{
	bool is_new_port = a->listen.kind == ENDPOINT_IP && a->listen.ip.port == 0;

	return strcmp(a->listen.text, b->listen.text) == 0 &&
	       (!is_new_port || strcmp(a->name, b->name) == 0);
}

static void strings_free(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

static void listener_fini(struct listener_config *l)
{
	free(l->name);
	endpoint_fini(&l->listen);
	for (size_t i = 0; i < ARRAY_SIZE(l->upstream); i++)
		endpoint_fini(&l->upstream[i]);
	cidr_set_destroy(l->trusted);
	cidr_set_destroy(l->clients_allow);
	cidr_set_destroy(l->clients_deny);
	strings_free(l->vpc_endpoints, l->vpc_endpoint_count);
}

void config_unref(struct config *c)
{
	/* The last one must see what the others did before they let go. */
	if (c == NULL || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < c->listener_count; i++)
		listener_fini(&c->listeners[i]);
	free(c->listeners);
	free(c->user);
	free(c->log_output);
	endpoint_fini(&c->admin_listen);
	for (size_t i = 0; i < c->file_count; i++)
		free(c->files[i].path);
	free(c->files);
	free(c);
}
