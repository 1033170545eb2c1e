/* SPDX-License-Identifier: MIT */
/* The input is a configuration, or, behind an "F", the flags --listen, --upstream and --trust, one a line. It is
 * accepted whole or refused with a message; nothing is left behind. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cidr_set.h"
#include "conf/config.h"
#include "conf/config_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_endpoint(const struct endpoint *e)
{
	assert(e->text != NULL);
	assert((e->kind == ENDPOINT_UNIX) == (e->path != NULL));
	assert((e->kind == ENDPOINT_NAME) == (e->host != NULL));
}

static void check_clients(const struct listener_config *l)
{
	const struct cidr_set *const sets[] = { l->clients_allow, l->clients_deny };
	struct address a = { .family = AF_INET };

	for (size_t i = 0; i < 2; i++) {
		if (sets[i] == NULL)
			continue;
		assert(cidr_set_count(sets[i]) > 0);
		cidr_set_contains(sets[i], &a); /* asserts that it is sealed */
	}
	for (size_t i = 0; i < l->vpc_endpoint_count; i++)
		assert(strlen(l->vpc_endpoints[i]) >= 1 && strlen(l->vpc_endpoints[i]) <= 255);
	assert(l->connection_rate_per_client.per_second == 0 ||
	       l->connection_rate_per_client.burst >= 1);
	assert(l->max_tracked_clients >= 1024 && l->max_tracked_clients <= 10000000);
}

/* What the header promises to whoever uses a configuration. */
static void check_listener(const struct listener_config *l)
{
	struct address a = { .family = AF_INET };

	assert(l->name != NULL && l->name[0] != '\0');
	check_endpoint(&l->listen);
	check_endpoint(&l->upstream[0]);
	check_endpoint(&l->upstream[1]);
	assert(l->listen.kind != ENDPOINT_NAME);
	assert(l->trust_unix == (l->listen.kind == ENDPOINT_UNIX));
	assert(l->trust_unix || cidr_set_count(l->trusted) > 0);
	cidr_set_contains(l->trusted, &a); /* asserts that it is sealed */
	assert(l->versions != 0 && (l->versions & ~(CONFIG_VERSION_1 | CONFIG_VERSION_2)) == 0);
	assert(l->header_timeout_ms >= 1 && l->connect_timeout_ms >= 1);
	assert(l->max_header_bytes >= 107 && l->max_header_bytes <= 65551);
	assert(l->send_proxy <= CONFIG_SEND_V2);
	assert(!l->upstream_check_close_listener ||
	       (l->upstream_check_interval_ms > 0 && l->listen.kind == ENDPOINT_IP));
	check_clients(l);
}

static void check_config(struct config *c)
{
	assert(c->listener_count > 0 && c->workers <= CONFIG_WORKERS_MAX);
	assert(c->log_output != NULL && c->log_output[0] != '\0');
	assert(c->admin_listen.text == NULL || c->admin_listen.kind != ENDPOINT_NAME);
	assert(!c->watch || c->file_count > 0);
	for (size_t i = 0; i < c->listener_count; i++)
		check_listener(&c->listeners[i]);
	config_unref(c);
}

static int load_flags(char *text, struct config **ret, struct config_error *reterr)
{
	struct config_flags flags = { 0 };

	flags.listen = strsep(&text, "\n");
	flags.upstream = strsep(&text, "\n");
	flags.trust = text;
	return config_load_flags(&flags, ret, reterr);
}

/* The names of list files come from the input: nothing is to be opened. */
static void allow_files(bool allowed)
{
	static struct rlimit limit;
	struct rlimit none;

	if (limit.rlim_max == 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	none = limit;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, allowed ? &limit : &none);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1); /* with a zero for the flags; the text is read by its size */
	struct config_error error = { "" };
	struct config *c = NULL;
	int rv;

	assert(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	allow_files(false);
	if (text[0] == 'F')
		rv = load_flags(text + 1, &c, &error);
	else
		rv = config_load_text("fuzz", ".", (const char *)data, size, &c, &error);
	allow_files(true);
	free(text);
	if (rv == 0) {
		check_config(c);
	} else {
		/* -ENOMEM would be a text that we accept and cJSON does not. */
		assert(rv == -EINVAL && c == NULL && error.text[0] != '\0');
	}
	return 0;
}
