/* SPDX-License-Identifier: MIT */
#include "session/upstream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf/endpoint.h"

static const struct addrinfo upstream_hints = {
	.ai_family = AF_UNSPEC,
	.ai_socktype = SOCK_STREAM,
};

static void upstream_addresses_set(struct upstream_addresses *addresses,
				   const struct addrinfo *found, uint16_t port)
{
	addresses->count = 0;
	for (; found != NULL && addresses->count < UPSTREAM_ADDRESSES_MAX; found = found->ai_next) {
		struct address *a = &addresses->list[addresses->count];

		address_from_sockaddr(a, found->ai_addr);
		if (a->family == AF_UNSPEC)
			continue;
		a->port = port;
		addresses->count++;
	}
}

int upstream_addresses_find(const struct endpoint *e, uv_loop_t *loop,
			    struct upstream_addresses *ret)
{
	uv_getaddrinfo_t request;
	int rv;

	memset(ret, 0, sizeof *ret);
	switch (e->kind) {
	case ENDPOINT_IP:
		ret->list[0] = e->ip;
		ret->count = 1;
		return 0;
	case ENDPOINT_UNIX:
		ret->list[0].family = AF_UNIX;
		ret->count = 1;
		return 0;
	case ENDPOINT_NAME:
		break;
	}
	rv = uv_getaddrinfo(loop, &request, NULL, e->host, NULL, &upstream_hints);
	if (rv != 0)
		return rv;
	upstream_addresses_set(ret, request.addrinfo, e->port);
	uv_freeaddrinfo(request.addrinfo);
	return ret->count > 0 ? 0 : UV_EAI_NODATA;
}

void upstream_init(struct upstream *u, const struct endpoint *e,
		   const struct upstream_addresses *addresses, void *data)
{
	u->endpoint = e;
	u->addresses = *addresses;
	u->resolving = false;
	u->resolved_cb = NULL;
	u->data = data;
}

static void upstream_on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct upstream *u = request->data;
	struct upstream_addresses fresh;

	u->resolving = false;
	if (status == 0) {
		upstream_addresses_set(&fresh, found, u->endpoint->port);
		if (fresh.count > 0)
			u->addresses = fresh;
	}
	uv_freeaddrinfo(found);
	u->resolved_cb(u, status);
}

int upstream_resolve(struct upstream *u, uv_loop_t *loop, upstream_resolved_cb cb)
{
	int rv;

	if (u->resolving)
		return 0;
	u->resolved_cb = cb;
	u->request.data = u;
	rv = uv_getaddrinfo(loop, &u->request, upstream_on_resolved, u->endpoint->host, NULL,
			    &upstream_hints);
	u->resolving = rv == 0;
	return rv;
}

void upstream_stop(struct upstream *u)
{
	if (u->resolving)
		uv_cancel((uv_req_t *)&u->request); /* EBUSY: it is running and will answer */
}

static int upstream_connect_unix(const struct upstream *u, int fd)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", u->endpoint->path);
	return connect(fd, (const struct sockaddr *)&sun, sizeof sun);
}

/* TCP_NODELAY, for we pass on what comes as it comes. Keepalive only where the other host can vanish
 * without a word: our own kernel always tells. */
void upstream_set_options(int fd, const struct address *a)
{
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (!address_is_loopback(a))
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static int upstream_connect_ip(const struct address *a, int fd)
{
	struct sockaddr_storage ss;
	socklen_t size = address_to_sockaddr(a, &ss);

	upstream_set_options(fd, a);
	return connect(fd, (const struct sockaddr *)&ss, size);
}

int upstream_connect(const struct upstream *u, unsigned i, int *ret_fd)
{
	const struct address *a = &u->addresses.list[i];
	int fd;
	int rv;

	assert(i < u->addresses.count);
	fd = socket(a->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rv = a->family == AF_UNIX ? upstream_connect_unix(u, fd) : upstream_connect_ip(a, fd);
	if (rv == 0 || errno == EINPROGRESS) {
		*ret_fd = fd;
		return rv == 0 ? 0 : 1;
	}
	rv = -errno;
	close(fd);
	return rv;
}
