/* SPDX-License-Identifier: MIT */
/* `unproxy send`: a sender by hand, to see what a receiver does. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/send_options.h"
#include "cli/send_relay.h"

/* Returns a connected socket or a negative errno. */
static int connect_to(const struct sockaddr *sa, socklen_t size)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rv;

	if (fd < 0)
		return -errno;
	if (connect(fd, sa, size) == 0)
		return fd;
	rv = -errno;
	close(fd);
	return rv;
}

static int connect_ip(const struct address *a)
{
	struct sockaddr_storage ss;
	socklen_t size = address_to_sockaddr(a, &ss);

	return connect_to((const struct sockaddr *)&ss, size);
}

static int connect_unix(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	strncpy(sun.sun_path, path, sizeof sun.sun_path - 1); /* endpoint_parse() measured it */
	return connect_to((const struct sockaddr *)&sun, sizeof sun);
}

/* The first address that answers; the error of the last if none does. A name that does not resolve is
 * -ENXIO, with *@retwhy set. */
static int connect_name(const struct endpoint *e, struct address *retpeer, const char **retwhy)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	int rv = getaddrinfo(e->host, NULL, &hints, &found);
	int fd = -ENXIO;

	if (rv != 0) {
		*retwhy = gai_strerror(rv);
		return -ENXIO;
	}
	for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
		address_from_sockaddr(retpeer, at->ai_addr);
		retpeer->port = e->port;
		fd = connect_ip(retpeer);
	}
	freeaddrinfo(found);
	return fd;
}

static const char *remedy(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return "nothing listens there";
	case ENOENT:
		return "check the path, and that the receiver runs";
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return "check the address, the route and the firewall";
	default:
		return "check the address";
	}
}

/* Returns a connected socket, with what it is connected to in *@retpeer (AF_UNIX for a unix socket), or a
 * negative errno after saying why. */
static int connect_endpoint(const struct endpoint *e, struct address *retpeer)
{
	const char *why = NULL;
	int fd = -EINVAL;

	switch (e->kind) {
	case ENDPOINT_IP:
		*retpeer = e->ip;
		fd = connect_ip(retpeer);
		break;
	case ENDPOINT_UNIX:
		*retpeer = (struct address){ .family = AF_UNIX };
		fd = connect_unix(e->path);
		break;
	case ENDPOINT_NAME:
		fd = connect_name(e, retpeer, &why);
		break;
	}
	if (fd < 0)
		fprintf(stderr, "unproxy: %s: cannot connect: %s; %s\n", e->text,
			why != NULL ? why : strerror(-fd),
			why != NULL ? "check the name" : remedy(-fd));
	return fd;
}

static void own_address(int fd, struct address *ret)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof ss;

	getsockname(fd, (struct sockaddr *)&ss, &size); /* of our own socket: cannot fail */
	address_from_sockaddr(ret, (const struct sockaddr *)&ss);
}

/* Addresses that were not given are those of the connection. @peer is not asked from the socket, because a
 * receiver that does not trust us may have reset it already. An IPv4 address beside an IPv6 one travels
 * as an IPv4-mapped one. */
static void complete_header(struct proxy_header *h, int fd, const struct address *peer)
{
	if (h->command != PROXY_COMMAND_PROXY)
		return;
	if (h->source.family == AF_UNSPEC)
		own_address(fd, &h->source);
	if (h->destination.family == AF_UNSPEC)
		h->destination = *peer;
	h->family = PROXY_FAMILY_INET;
	if (h->source.family == AF_INET6 || h->destination.family == AF_INET6)
		h->family = PROXY_FAMILY_INET6;
}

static int send_on(int fd, const struct address *peer, struct send_options *o)
{
	static uint8_t header[PROXY_HEADER_MAX];
	size_t size;

	complete_header(&o->header, fd, peer);
	size = proxy_header_encode(&o->header, header, sizeof header);
	if (size == 0)
		return command_usage_error("send", "the TLVs are too long for a header");
	return send_relay(fd, o->target.text, header, size);
}

int command_send(int argc, char **argv)
{
	static struct send_options options; /* too large for a stack */
	int status = send_options_parse(argc, argv, &options);
	struct address peer;
	int fd;

	if (status != COMMAND_OK)
		return status;
	if (options.help) {
		command_help_print("send");
		return COMMAND_OK;
	}
	fd = connect_endpoint(&options.target, &peer);
	if (fd >= 0) {
		status = send_on(fd, &peer, &options);
		close(fd);
	} else {
		status = COMMAND_FAILED;
	}
	send_options_fini(&options);
	return status;
}
