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
static int connect_name(const struct endpoint *e, const char **retwhy)
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
		struct address a;

		address_from_sockaddr(&a, at->ai_addr);
		a.port = e->port;
		fd = connect_ip(&a);
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

static int connect_endpoint(const struct endpoint *e)
{
	const char *why = NULL;
	int fd = -EINVAL;

	switch (e->kind) {
	case ENDPOINT_IP:
		fd = connect_ip(&e->ip);
		break;
	case ENDPOINT_UNIX:
		fd = connect_unix(e->path);
		break;
	case ENDPOINT_NAME:
		fd = connect_name(e, &why);
		break;
	}
	if (fd < 0)
		fprintf(stderr, "unproxy: %s: cannot connect: %s; %s\n", e->text,
			why != NULL ? why : strerror(-fd),
			why != NULL ? "check the name" : remedy(-fd));
	return fd;
}

/* Of one end of the connection. */
static bool address_of(int fd, bool other_end, struct address *ret)
{
	struct sockaddr_storage ss;
	struct sockaddr *sa = (struct sockaddr *)&ss;
	socklen_t size = sizeof ss;

	if ((other_end ? getpeername(fd, sa, &size) : getsockname(fd, sa, &size)) != 0)
		return false;
	address_from_sockaddr(ret, sa);
	return true;
}

/* Addresses that were not given are those of the connection. An IPv4 one beside an IPv6 one travels as an
 * IPv4-mapped address. Returns false if the connection has none any more. */
static bool complete_header(struct proxy_header *h, int fd)
{
	if (h->command != PROXY_COMMAND_PROXY)
		return true;
	if (h->source.family == AF_UNSPEC && !address_of(fd, false, &h->source))
		return false;
	if (h->destination.family == AF_UNSPEC && !address_of(fd, true, &h->destination))
		return false;
	h->family = PROXY_FAMILY_INET;
	if (h->source.family == AF_INET6 || h->destination.family == AF_INET6)
		h->family = PROXY_FAMILY_INET6;
	return true;
}

static int send_on(int fd, struct send_options *o)
{
	static uint8_t header[PROXY_HEADER_MAX];
	size_t size;

	if (!complete_header(&o->header, fd)) {
		fprintf(stderr, "unproxy: %s: %s\n", o->target.text, strerror(errno));
		return COMMAND_FAILED;
	}
	size = proxy_header_encode(&o->header, header, sizeof header);
	if (size == 0)
		return command_usage_error("send", "the TLVs are too long for a header");
	return send_relay(fd, o->target.text, header, size);
}

int command_send(int argc, char **argv)
{
	static struct send_options options; /* too large for a stack */
	int status = send_options_parse(argc, argv, &options);
	int fd;

	if (status != COMMAND_OK)
		return status;
	if (options.help) {
		command_help_print("send");
		return COMMAND_OK;
	}
	fd = connect_endpoint(&options.target);
	if (fd >= 0) {
		status = send_on(fd, &options);
		close(fd);
	} else {
		status = COMMAND_FAILED;
	}
	send_options_fini(&options);
	return status;
}
