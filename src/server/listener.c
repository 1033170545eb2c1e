/* SPDX-License-Identifier: MIT */
/* Happy path: the socket is readable, so accept what is there, a bounded number, and start a session
 * for each; the socket is watched level-triggered, so what is left comes up again.
 *
 * What can go wrong:
 * - No descriptor or memory is left: stop watching for a while, or the loop would spin on a
 *   connection that it cannot take. The connection stays in the backlog, the sessions go on.
 * - A client is gone before it was accepted: take the next. */
#include "server/listener.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/config.h"
#include "obs/log.h"
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
	struct session_env *env = l->service.env;

	if (!l->short_of_something)
		log_message(
		    env->log, LOG_ERROR, "accept",
		    "%s: cannot accept: %s; trying again every %d ms (raise the limit on open "
		    "files, or lower max_connections)",
		    l->service.config->name, uv_strerror(error), LISTENER_PAUSE_MS);
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
	log_message(l->service.env->log, LOG_WARN, "accept", "%s: accepting again",
		    l->service.config->name);
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
	if (session_start(&l->service, fd, &peer) != 0) {
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

void listener_init(struct listener *l, int fd, struct session_env *env,
		   const struct listener_config *config, struct admission *admission,
		   const struct upstream_addresses addresses[2])
{
	session_service_init(&l->service, env, config, admission, addresses);
	deadline_queue_init(&l->resume, &env->deadlines, LISTENER_PAUSE_MS, listener_on_resume);
	deadline_init(&l->pause);
	poller_watch_init(&l->watch, listener_on_event);
	l->fd = fd;
	l->watched = false;
	l->short_of_something = false;
}

int listener_start(struct listener *l)
{
	int rv = poller_add(&l->service.env->poller, l->fd, LISTENER_EVENTS, &l->watch);

	l->watched = rv == 0;
	return rv;
}

void listener_stop(struct listener *l)
{
	if (l->fd < 0)
		return;
	for (unsigned i = 0; i < LISTENER_LAST_TURN && listener_accept(l); i++)
		continue;
	deadline_disarm(&l->pause);
	if (l->watched) /* closing is not enough: other workers share a unix socket */
		poller_remove(&l->service.env->poller, l->fd);
	l->watched = false;
	close(l->fd);
	l->fd = -1;
}

void listener_fini(struct listener *l)
{
	deadline_queue_fini(&l->resume);
	session_service_fini(&l->service);
}
