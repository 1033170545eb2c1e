/* SPDX-License-Identifier: MIT */
#include "session/service.h"

#include <errno.h>
#include <stdlib.h>

#include "conf/config.h"
#include "session/client_table.h"
#include "session/session_env.h"
#include "session/transparent.h"

struct service_shared *service_shared_create(unsigned workers)
{
	struct service_shared *shared;

	shared = calloc(1, sizeof *shared + workers * sizeof shared->metrics[0]);
	if (shared == NULL)
		return NULL;
	atomic_init(&shared->references, 1);
	shared->workers = workers;
	return shared;
}

struct service_shared *service_shared_ref(struct service_shared *shared)
{
	/* Whoever calls holds a reference already, so nothing has to be ordered. */
	atomic_fetch_add_explicit(&shared->references, 1, memory_order_relaxed);
	return shared;
}

static bool limits_clients(const struct listener_config *config)
{
	return config->max_connections_per_client > 0 ||
	       config->connection_rate_per_client.per_second > 0;
}

int service_shared_track_clients(struct service_shared *shared,
				 const struct listener_config *config)
{
	if (shared->clients == NULL && limits_clients(config)) {
		shared->clients = client_table_create(config->max_tracked_clients);
		if (shared->clients == NULL)
			return -ENOMEM;
	}
	return 0;
}

void service_shared_unref(struct service_shared *shared)
{
	/* The last one must see what the others did before they let go. */
	if (shared == NULL ||
	    atomic_fetch_sub_explicit(&shared->references, 1, memory_order_acq_rel) > 1)
		return;
	client_table_destroy(shared->clients);
	free(shared);
}

int service_create(const struct service_options *options, struct session_service **ret)
{
	const struct listener_config *config = &options->config->listeners[options->listener];
	struct session_service *service = calloc(1, sizeof *service);

	if (service == NULL)
		return -ENOMEM;
	service->owner = config_ref(options->config);
	service->config = config;
	service->shared = service_shared_ref(options->shared);
	service->metrics = &options->shared->metrics[options->worker];
	if (limits_clients(config))
		service->clients = options->shared->clients;
	if (config->transparent)
		service->transparent = transparent_ref(options->transparent);
	for (int i = 0; i < 2; i++)
		upstream_init(&service->upstream[i], &config->upstream[i], &options->addresses[i],
			      service);
	service->references = 1;
	*ret = service;
	return 0;
}

void service_attach(struct session_service *service, struct session_env *env)
{
	const unsigned wait_ms[SESSION_NSTATES] = {
		[SESSION_HEADER] = service->config->header_timeout_ms,
		[SESSION_CONNECT] = service->config->connect_timeout_ms,
		[SESSION_RELAY] = service->config->idle_timeout_ms,
		[SESSION_CLOSED] = 0,
	};

	service->env = env;
	for (int i = 0; i < SESSION_NSTATES; i++)
		deadline_queue_init(&service->wait[i], &env->deadlines, wait_ms[i],
				    session_on_deadline);
}

static void service_free(struct session_service *service)
{
	if (service->env != NULL)
		for (int i = 0; i < SESSION_NSTATES; i++)
			deadline_queue_fini(&service->wait[i]);
	transparent_unref(service->transparent);
	service_shared_unref(service->shared);
	config_unref(service->owner);
	free(service);
}

struct session_service *service_ref(struct session_service *service)
{
	service->references++;
	return service;
}

void service_unref(struct session_service *service)
{
	if (service == NULL || --service->references > 0)
		return;
	for (int i = 0; i < 2; i++)
		upstream_stop(&service->upstream[i]);
	/* An answer that is under way comes back to service_on_resolved(). */
	if (!service->upstream[0].resolving && !service->upstream[1].resolving)
		service_free(service);
}

static void service_on_resolved(struct upstream *u, int status)
{
	struct session_service *service = service_ref(u->data);

	session_on_resolved(u, status);
	service_unref(service);
}

int service_resolve(struct session_service *service, struct upstream *u)
{
	return upstream_resolve(u, service->env->loop, service_on_resolved);
}
