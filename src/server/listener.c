/* SPDX-License-Identifier: MIT */
/* Happy path: the socket is readable, so accept what is there, a bounded number, and start a session
 * for each; the socket is watched level-triggered, so what is left comes up again.
 *
 * What can go wrong:
 * - No descriptor or memory is left: stop watching for a while, or the loop would spin on a
 *   connection that it cannot take. The connection stays in the backlog, the sessions go on.
 * - A client is gone before it was accepted: take the next.
 * - The application is down, and health checks are to see it: the socket listens no more until it is up. */
#include "server/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/config.h"
#include "obs/log.h"
#include "server/listen_socket.h"
#include "session/session.h"

/* Accepts before the sessions have their turn. */
#define LISTENER_TURN 64

/* Accepts before a listener closes: what net.core.somaxconn lets wait by default. */
#define LISTENER_LAST_TURN 4096

/* How long a shortage is waited out [ms]. */
#define LISTENER_PAUSE_MS 100

/* Workers share a unix socket; one of them is enough for a connection. */
#define LISTENER_EVENTS (EPOLLIN | EPOLLEXCLUSIVE)

static void listener_pause(struct listener *l, int error)
{
	struct session_env *env = l->env;

	counter_add(&l->service->metrics->accept_errors, 1);
	if (!l->short_of_something)
		log_message(
		    env->log, LOG_ERROR, "accept",
		    "%s: cannot accept: %s; trying again every %d ms (raise the limit on open "
		    "files, or lower max_connections)",
		    l->service->config->name, uv_strerror(error), LISTENER_PAUSE_MS);
	l->short_of_something = true;
	if (l->watched)
		poller_remove(&env->poller, l->fd);
	l->watched = false;
	deadline_arm(&l->pause, &l->resume);
}

static void listener_on_resume(struct deadline *d)
{
	struct listener *l = container_of(d, struct listener, pause);

	if (listener_start(l) != 0)
		deadline_arm(&l->pause, &l->resume);
}

static void listener_on_shortage_over(struct listener *l)
{
	l->short_of_something = false;
	log_message(l->env->log, LOG_WARN, "accept", "%s: accepting again",
		    l->service->config->name);
}

/* Take one connection. Returns false if none was there, or it cannot be taken now. */
static bool listener_accept(struct listener *l)
{
	struct sockaddr_storage ss;
	socklen_t size = sizeof ss;
	struct address peer;
	int fd = accept4(l->fd, (struct sockaddr *)&ss, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		switch (errno) {
		case EAGAIN:
			return false;
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			listener_pause(l, -errno);
			return false;
		default: /* accept(2): what a connection died of while it waited */
			return true;
		}
	}
	if (l->short_of_something)
		listener_on_shortage_over(l);
	address_from_sockaddr(&peer, (const struct sockaddr *)&ss);
	if (session_start(l->service, fd, &peer) != 0) {
		close(fd);
		listener_pause(l, -ENOMEM);
		return false;
	}
	return true;
}

static void listener_on_event(struct poller_watch *w, uint32_t events)
{
	struct listener *l = container_of(w, struct listener, watch);

	(void)events;
	if (l->fd < 0)
		return; /* stopped earlier in this round */
	for (unsigned turn = 0; turn < LISTENER_TURN; turn++)
		if (!listener_accept(l))
			return;
}

struct listener *listener_create(int fd, struct session_service *service)
{
	struct listener *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	list_init(&l->link);
	l->service = service;
	poller_watch_init(&l->watch, listener_on_event);
	deadline_init(&l->pause);
	l->fd = fd;
	return l;
}

void listener_attach(struct listener *l, struct session_env *env)
{
	l->env = env;
	service_attach(l->service, env);
	deadline_queue_init(&l->resume, &env->deadlines, LISTENER_PAUSE_MS, listener_on_resume);
}

int listener_start(struct listener *l)
{
	int rv = l->refuses ? listen_socket_resume(l->fd) : 0;

	if (rv != 0)
		return rv;
	l->refuses = false;
	rv = poller_add(&l->env->poller, l->fd, LISTENER_EVENTS, &l->watch);
	l->watched = rv == 0;
	return rv;
}

void listener_start_or_retry(struct listener *l)
{
	int rv = listener_start(l);

	if (rv != 0)
		listener_pause(l, rv);
}

static void listener_keep_addresses(const struct session_service *old,
				    struct session_service *service)
{
	for (int i = 0; i < 2; i++)
		if (strcmp(old->upstream[i].endpoint->text, service->upstream[i].endpoint->text) ==
		    0)
			service->upstream[i].addresses = old->upstream[i].addresses;
}

void listener_set_service(struct listener *l, struct session_service *service)
{
	listener_keep_addresses(l->service, service);
	service_attach(service, l->env);
	service_unref(l->service);
	l->service = service;
}

/* Accept what waits, and watch the socket no more. Closing it is not enough: other workers may share it. */
static void listener_unwatch(struct listener *l)
{
	for (unsigned i = 0; i < LISTENER_LAST_TURN && !l->refuses && listener_accept(l); i++)
		continue;
	deadline_disarm(&l->pause);
	if (l->watched)
		poller_remove(&l->env->poller, l->fd);
	l->watched = false;
}

void listener_shut(struct listener *l)
{
	int rv;

	if (l->fd < 0)
		return;
	listener_unwatch(l);
	rv = listen_socket_pause(l->fd);
	l->refuses = rv == 0;
	assert(rv == 0); /* it is a TCP socket */
}

void listener_reopen(struct listener *l)
{
	if (l->fd >= 0 && l->refuses)
		listener_start_or_retry(l);
}

void listener_stop(struct listener *l)
{
	if (l->fd < 0)
		return;
	listener_unwatch(l);
	close(l->fd);
	l->fd = -1;
	service_unref(l->service);
	l->service = NULL;
}

void listener_destroy(struct listener *l)
{
	if (l == NULL)
		return;
	if (l->env != NULL)
		deadline_queue_fini(&l->resume);
	if (l->fd >= 0)
		close(l->fd);
	list_remove(&l->link);
	service_unref(l->service);
	free(l);
}
