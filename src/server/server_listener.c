/* SPDX-License-Identifier: MIT */
/* Happy path: create, resolve, open; probe if it is transparent; make the services and the listeners, and give each
 * worker its own. A reload makes new services for the sockets that are there.
 *
 * What can go wrong: everything up to there, so nothing is given before all of it is made. */
#include "server/server_listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cidr_set.h"
#include "conf/config.h"
#include "obs/log.h"
#include "server/inherited_socket.h"
#include "server/listen_socket.h"
#include "server/listener.h"
#include "server/server.h"
#include "server/transparent_probe.h"

struct server_listener *server_listener_create(const struct listener_config *config,
					       unsigned workers)
{
	struct server_listener *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->config = config;
	l->file_stays = config->listen.kind != ENDPOINT_UNIX;
	l->shared = service_shared_create(workers);
	l->sockets = calloc(workers, sizeof(*l->sockets));
	if (l->shared == NULL || l->sockets == NULL) {
		server_listener_destroy(l);
		return NULL;
	}
	return l;
}

int server_listener_resolve(struct server_listener *l, uv_loop_t *loop, struct server_error *reterr)
{
	for (int i = 0; i < (l->config->upstream_is_pair ? 2 : 1); i++) {
		const struct endpoint *upstream = &l->config->upstream[i];
		int rv = upstream_addresses_find(upstream, loop, &l->addresses[i]);

		if (rv == 0)
			continue;
		snprintf(
		    reterr->text, sizeof reterr->text,
		    "listener \"%s\": cannot resolve upstream %s: %s; check the name, or write an "
		    "address",
		    l->config->name, upstream->text, uv_strerror(rv));
		return rv;
	}
	if (!l->config->upstream_is_pair)
		l->addresses[1] = l->addresses[0];
	return 0;
}

/* There may be more of them than workers. */
static int server_listener_take(struct server_listener *l, const struct inherited_claim *claim)
{
	struct server_socket *sockets = calloc(claim->count, sizeof *sockets);

	if (sockets == NULL) {
		for (unsigned i = 0; i < claim->count; i++)
			close(claim->fds[i]);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < claim->count; i++)
		sockets[i].fd = claim->fds[i];
	free(l->sockets);
	l->sockets = sockets;
	l->socket_count = claim->count;
	l->file_to_take = !l->file_stays && !claim->file_stays;
	l->file_stays = true; /* the one before us may have to go on if we fail */
	l->port = listen_socket_port(claim->fds[0]);
	return 0;
}

int server_listener_claim(struct server_listener *l, struct inherited_sockets *inherited,
			  unsigned workers, struct server_error *reterr)
{
	const struct endpoint *e = &l->config->listen;
	struct inherited_claim claim;
	int rv = inherited_sockets_claim(inherited, e, workers, &claim);

	if (rv != 0)
		snprintf(reterr->text, sizeof reterr->text,
			 "listener \"%s\": cannot use the socket for %s that was passed to us: %s",
			 l->config->name, e->text, strerror(-rv));
	if (rv != 0 || claim.count == 0)
		return rv;
	rv = server_listener_take(l, &claim);
	free(claim.fds);
	return rv;
}

int server_listener_open(struct server_listener *l, unsigned workers, struct server_error *reterr)
{
	char why[LISTEN_SOCKET_ERROR_MAX];
	int *fds = calloc(workers, sizeof *fds);
	int rv;

	if (fds == NULL)
		return -ENOMEM;
	rv = listen_sockets_open(&l->config->listen, workers, fds, why);
	if (rv == 0) {
		l->socket_count = workers;
		for (unsigned i = 0; i < workers; i++)
			l->sockets[i].fd = fds[i];
		l->port = listen_socket_port(fds[0]);
	} else {
		snprintf(reterr->text, sizeof reterr->text, "listener \"%s\": %s", l->config->name,
			 why);
	}
	free(fds);
	return rv;
}

/* A transparent listener that cannot reach its application as its clients would only ever time out. */
int server_listener_probe(const struct config *config, const struct listener_config *l,
			  const struct upstream_addresses addresses[2], struct server_error *reterr)
{
	const struct transparent_routing routing = { config->transparent_mark,
						     config->transparent_table };
	char why[TRANSPARENT_PROBE_ERROR_MAX];

	for (unsigned which = 0; which < 2; which++) {
		for (unsigned i = 0; i < addresses[which].count; i++) {
			const struct address *a = &addresses[which].list[i];
			int rv = 0;

			if (a->family == (which == 0 ? AF_INET : AF_INET6))
				rv = transparent_probe(&routing, a, why);
			if (rv == 0)
				continue;
			snprintf(reterr->text, sizeof reterr->text,
				 "listener \"%s\": transparent mode does not work: %s", l->name,
				 why);
			return rv;
		}
	}
	return 0;
}

int server_listener_make_services(struct server_listener *l, struct config *config, size_t index,
				  const struct upstream_addresses addresses[2],
				  struct transparent *transparent, unsigned workers)
{
	struct service_options options = {
		.config = config,
		.listener = index,
		.shared = l->shared,
		.transparent = transparent,
		.addresses = addresses,
	};
	int rv = service_shared_track_clients(l->shared, &config->listeners[index]);

	for (unsigned i = 0; rv == 0 && i < l->socket_count; i++) {
		options.worker = i % workers;
		rv = service_create(&options, &l->sockets[i].service);
	}
	return rv;
}

void server_listener_drop_services(struct server_listener *l)
{
	for (unsigned i = 0; i < l->socket_count; i++) {
		service_unref(l->sockets[i].service);
		l->sockets[i].service = NULL;
	}
}

int server_listener_make_listeners(struct server_listener *l)
{
	for (unsigned i = 0; i < l->socket_count; i++) {
		struct server_socket *socket = &l->sockets[i];

		socket->listener = listener_create(socket->fd, socket->service);
		if (socket->listener == NULL)
			return -ENOMEM;
		socket->service = NULL;
	}
	return 0;
}

void server_listener_take_file(struct server_listener *l)
{
	l->file_stays = l->file_stays && !l->file_to_take;
	l->file_to_take = false;
}

void server_listener_unlink(struct server_listener *l)
{
	if (l->socket_count > 0 && !l->file_stays)
		listen_socket_unlink(&l->config->listen);
	l->file_stays = true;
}

void server_listener_log(const struct server_listener *l, struct log_buffer *log)
{
	const struct listener_config *config = l->config;
	struct address a = config->listen.ip;
	char text[ADDRESS_TEXT_MAX];

	a.port = l->port;
	address_format(&a, text);
	log_message(log, LOG_INFO, "listening", "%s: listening on %s, upstream %s%s%s",
		    config->name, config->listen.kind == ENDPOINT_UNIX ? config->listen.text : text,
		    config->upstream[0].text, config->upstream_is_pair ? " and " : "",
		    config->upstream_is_pair ? config->upstream[1].text : "");
}

bool server_listener_trusts_all(const struct listener_config *l)
{
	return cidr_set_is_open(l->trusted, AF_INET) || cidr_set_is_open(l->trusted, AF_INET6);
}

void server_listener_warn_open(const struct server_listener *l, struct log_buffer *log)
{
	log_message(log, LOG_WARN, "open_trust",
		    "%s: trusted_proxies admits every address: anyone who reaches this port "
		    "can forge client addresses; list the load balancer's networks",
		    l->config->name);
}

static void server_socket_close(struct server_socket *socket)
{
	service_unref(socket->service);
	if (socket->listener != NULL)
		listener_destroy(socket->listener); /* and its descriptor */
	else
		close(socket->fd);
}

void server_listener_destroy(struct server_listener *l)
{
	if (l == NULL)
		return;
	if (!l->given)
		server_listener_unlink(l);
	for (unsigned i = 0; !l->given && i < l->socket_count; i++)
		server_socket_close(&l->sockets[i]);
	service_shared_unref(l->shared);
	free(l->sockets);
	free(l);
}
