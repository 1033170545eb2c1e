/* SPDX-License-Identifier: MIT */
/* Happy path: a socket bound to 192.0.2.1 or 2001:db8::1 connects to a listener of ours and gets a byte from it, and
 * another one is refused by a port where nobody listens.
 *
 * What can go wrong is what this is for:
 * - The capability is missing: the socket cannot be bound.
 * - The application's address is not one of this host: our listener cannot be bound, and answers would go
 *   elsewhere.
 * - A rule, a route or a sysctl is missing: no answer comes; the kernel is asked which it is. */
#include "server/transparent_probe.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/socket.h"
#include "base/strbuf.h"
#include "route/route.h"
#include "session/transparent.h"

/* For an answer from this host itself [ms]. */
#define PROBE_WAIT_MS 1000

#define COMMAND_MAX 128

struct probe {
	const struct transparent_routing *routing;
	struct transparent transparent;
	struct address client;
	struct strbuf *err;
	int listener;    /* at the application's address; -1: none */
	int closed;      /* bound there, but nobody listens */
	int to_listener; /* connections as the client */
	int to_closed;
};

static const char *family_name(uint16_t family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

/* --- what is missing --- */

static int no_socket(struct probe *p, const struct transparent_result *result, int rv)
{
	strbuf_puts(p->err, result->failed != NULL ? result->failed : strerror(-rv));
	if (rv == -EPERM || rv == -EACCES)
		strbuf_puts(
		    p->err,
		    "; grant it, in the way of the place:\n"
		    "  file        setcap cap_net_raw+p /usr/local/bin/unproxy\n"
		    "  systemd     AmbientCapabilities=CAP_NET_RAW\n"
		    "  docker run  --cap-add NET_RAW\n"
		    "  compose     cap_add: [NET_RAW]\n"
		    "  Kubernetes  securityContext: {capabilities: {add: [NET_RAW]}}\n"
		    "In a container, a user other than root needs the first, too, in the image.");
	return rv;
}

static int not_here(struct probe *p, const struct address *upstream, int rv)
{
	char text[ADDRESS_TEXT_MAX];

	address_format_ip(upstream, text);
	if (rv == -EADDRNOTAVAIL)
		strbuf_printf(
		    p->err,
		    "%s is not an address of this host, so the application's answers to "
		    "clients would go elsewhere; run unproxy on the application's host, or "
		    "in its network namespace (the same pod, network_mode: service:NAME)",
		    text);
	else
		strbuf_printf(p->err, "%s cannot be tried: %s", text, strerror(-rv));
	return rv;
}

static void list_missing(struct probe *p, const struct route_status *status, bool commands)
{
	char text[COMMAND_MAX];
	const char *before = "";

	for (enum route_part part = 0; part < ROUTE_PARTS; part++) {
		struct strbuf command;

		if (status->parts[part].state != ROUTE_MISSING ||
		    !route_part_serves(part, p->client.family))
			continue;
		strbuf_init(&command, text, sizeof text);
		route_part_add_command(part, p->routing->mark, p->routing->table, &command);
		strbuf_printf(p->err, "%s%s", before, commands ? text : route_part_name(part));
		before = commands ? "\n  " : ", ";
	}
}

static int no_answer(struct probe *p, const char *what, int rv)
{
	struct route_status status;
	const char *family = family_name(p->client.family);

	route_status(p->routing->mark, p->routing->table, &status);
	strbuf_printf(p->err, "%s clients would get no answer: %s", family, what);
	if (route_status_is_complete(&status, p->client.family)) {
		strbuf_printf(
		    p->err,
		    "; `unproxy routes status` finds everything there, so a firewall (nft "
		    "list ruleset) or another rule (ip %srule) is in the way",
		    p->client.family == AF_INET ? "" : "-6 ");
		return rv;
	}
	strbuf_puts(p->err, "; missing: ");
	list_missing(p, &status, false);
	strbuf_puts(p->err,
		    "\n`unproxy routes up` adds it, with the capability NET_ADMIN (in a pod, as an "
		    "init container), or by hand:\n  ");
	list_missing(p, &status, true);
	return rv;
}

/* --- trying --- */

static int open_listener(const struct address *upstream, int *ret_fd)
{
	struct address a = *upstream;
	struct sockaddr_storage ss;
	socklen_t size;
	int fd = socket(a.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rv;

	if (fd < 0)
		return -errno;
	a.port = 0;
	size = address_to_sockaddr(&a, &ss);
	if (bind(fd, (const struct sockaddr *)&ss, size) == 0) {
		*ret_fd = fd;
		return 0;
	}
	rv = -errno;
	close(fd);
	return rv;
}

static int connect_as_client(struct probe *p, int listener, int *ret_fd)
{
	struct address to;
	struct transparent_result result;
	int rv;

	socket_local_address(listener, &to);
	rv = transparent_connect(&p->transparent, &p->client, &to, &result);
	*ret_fd = result.fd;
	if (rv == -ECONNREFUSED) /* at once: good for the closed port, strange for the other */
		return rv;
	return rv < 0 ? no_socket(p, &result, rv) : 0;
}

/* Returns whether @events happened in time. */
static bool wait_for(int fd, short events, int wait_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	return poll(&poll_fd, 1, wait_ms) == 1;
}

/* The listener sends a byte; does it get to the client? */
static int exchange(struct probe *p)
{
	int fd;
	char byte = '!';
	bool came;

	if (!wait_for(p->to_listener, POLLOUT, PROBE_WAIT_MS) ||
	    socket_take_error(p->to_listener) != 0 || !wait_for(p->listener, POLLIN, PROBE_WAIT_MS))
		return no_answer(p, "a connection to our own listener was not completed",
				 -ETIMEDOUT);
	fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return no_answer(p, "a connection to our own listener was lost", -errno);
	came = send(fd, &byte, 1, MSG_NOSIGNAL) == 1 &&
	       wait_for(p->to_listener, POLLIN, PROBE_WAIT_MS) &&
	       recv(p->to_listener, &byte, 1, 0) == 1;
	close(fd);
	return came ? 0 : no_answer(p, "what our own listener sent did not arrive", -ETIMEDOUT);
}

static int check_refusal(struct probe *p)
{
	if (p->to_closed < 0)
		return 0; /* refused at once */
	if (wait_for(p->to_closed, POLLOUT, PROBE_WAIT_MS) &&
	    socket_take_error(p->to_closed) == -ECONNREFUSED)
		return 0;
	return no_answer(p, "an application that is down would hang instead of refusing",
			 -ETIMEDOUT);
}

static int run(struct probe *p, const struct address *upstream)
{
	int rv = open_listener(upstream, &p->listener);

	if (rv == 0)
		rv = open_listener(upstream, &p->closed);
	if (rv != 0)
		return not_here(p, upstream, rv);
	if (listen(p->listener, 1) != 0)
		return not_here(p, upstream, -errno);
	rv = connect_as_client(p, p->listener, &p->to_listener);
	if (rv != 0)
		return rv;
	rv = connect_as_client(p, p->closed, &p->to_closed);
	if (rv != 0 && rv != -ECONNREFUSED)
		return rv;
	rv = exchange(p);
	return rv == 0 ? check_refusal(p) : rv;
}

int transparent_probe(const struct transparent_routing *routing, const struct address *upstream,
		      char reterr[static TRANSPARENT_PROBE_ERROR_MAX])
{
	struct strbuf err;
	struct probe p = {
		.routing = routing,
		.transparent = { .mark = routing->mark },
		.err = &err,
		.listener = -1,
		.closed = -1,
		.to_listener = -1,
		.to_closed = -1,
	};
	int *const sockets[] = { &p.listener, &p.closed, &p.to_listener, &p.to_closed };
	int rv =
	    address_parse_ip(upstream->family == AF_INET ? "192.0.2.1" : "2001:db8::1", &p.client);

	assert(rv == 0);
	strbuf_init(&err, reterr, TRANSPARENT_PROBE_ERROR_MAX);
	rv = run(&p, upstream);
	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
		if (*sockets[i] >= 0)
			close(*sockets[i]);
	return rv;
}
