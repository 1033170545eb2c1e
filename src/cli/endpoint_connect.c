/* SPDX-License-Identifier: MIT */
#include "cli/endpoint_connect.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf/endpoint.h"

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

int endpoint_connect(const struct endpoint *e, struct address *retpeer)
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
