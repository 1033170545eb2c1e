/* SPDX-License-Identifier: MIT */
/* Happy path: IP_TRANSPARENT, the firewall mark that leads the answers back to us, bind to the client's address and
 * port, connect.
 *
 * What can go wrong:
 * - The port is in use here, for instance by the same client's previous connection, or is privileged: use
 *   another port of the same address.
 * - The kernel takes an address that no host can have (broadcast, multicast, 0.0.0.0), and silently
 *   replaces it by 127.0.0.1, which the application may trust: such clients are refused beforehand, and
 *   what the socket got is compared with what was asked for.
 * - A capability is missing. It never ends in a plain connection, for the same reason. */
#include "session/transparent.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "base/socket.h"
#include "conf/config.h"
#include "session/upstream.h"

#define PORT_TAKEN "the client's port was taken; another was used"
#define PORT_PRIVILEGED \
	"the client's port is privileged (CAP_NET_BIND_SERVICE is missing); another was used"

/* --- clients that cannot be --- */

static int add_refused(struct transparent *t, const struct address *a, uint16_t port)
{
	struct address *grown = realloc(t->refused, (t->refused_count + 1) * sizeof(*t->refused));

	if (grown == NULL)
		return -ENOMEM;
	t->refused = grown;
	t->refused[t->refused_count] = *a;
	t->refused[t->refused_count++].port = port;
	return 0;
}

/* The listeners that take connections to @own, an address of this host. */
static int refuse_listeners(struct transparent *t, const struct config *config,
			    const struct address *own)
{
	int rv = 0;

	for (size_t i = 0; rv == 0 && i < config->listener_count; i++) {
		const struct endpoint *listen = &config->listeners[i].listen;

		if (listen->kind != ENDPOINT_IP || listen->ip.port == 0)
			continue;
		if (address_same_ip(&listen->ip, own) || address_is_unspecified(&listen->ip))
			rv = add_refused(t, own, listen->ip.port);
	}
	return rv;
}

/* The last address of the network that @own is in, which is the broadcast address whatever else is set. */
static int refuse_broadcast(struct transparent *t, const struct address *own,
			    const struct sockaddr *netmask)
{
	struct address mask = { 0 };
	struct address last = *own;

	address_from_sockaddr(&mask, netmask);
	if (mask.ip[3] >= 254) /* /31 and /32 have none */
		return 0;
	for (size_t i = 0; i < 4; i++)
		last.ip[i] = (uint8_t)(own->ip[i] | ~mask.ip[i]);
	return add_refused(t, &last, 0);
}

static int refuse_interface(struct transparent *t, const struct config *config,
			    const struct ifaddrs *interface)
{
	struct address a = { 0 };
	int rv;

	if (interface->ifa_addr == NULL)
		return 0;
	address_from_sockaddr(&a, interface->ifa_addr);
	if (address_ip_size(&a) == 0)
		return 0;
	rv = refuse_listeners(t, config, &a);
	if (rv != 0 || a.family != AF_INET || interface->ifa_netmask == NULL)
		return rv;
	rv = refuse_broadcast(t, &a, interface->ifa_netmask);
	if (rv != 0 || !(interface->ifa_flags & IFF_BROADCAST) || interface->ifa_broadaddr == NULL)
		return rv;
	address_from_sockaddr(&a, interface->ifa_broadaddr);
	return a.family == AF_INET && !address_is_unspecified(&a) ? add_refused(t, &a, 0) : 0;
}

int transparent_create(const struct config *config, struct transparent **ret)
{
	struct transparent *t = calloc(1, sizeof *t);
	struct ifaddrs *interfaces;
	int rv = 0;

	if (t == NULL)
		return -ENOMEM;
	atomic_init(&t->references, 1);
	t->mark = config->transparent_mark;
	if (getifaddrs(&interfaces) != 0) {
		rv = -errno;
	} else {
		for (const struct ifaddrs *i = interfaces; rv == 0 && i != NULL; i = i->ifa_next)
			rv = refuse_interface(t, config, i);
		freeifaddrs(interfaces);
	}
	if (rv == 0)
		*ret = t;
	else
		transparent_unref(t);
	return rv;
}

struct transparent *transparent_ref(struct transparent *t)
{
	atomic_fetch_add_explicit(&t->references, 1, memory_order_relaxed);
	return t;
}

void transparent_unref(struct transparent *t)
{
	if (t == NULL || atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) > 1)
		return;
	free(t->refused);
	free(t);
}

static bool is_all_ones(const struct address *a)
{
	static const uint8_t ones[4] = { 255, 255, 255, 255 };

	return a->family == AF_INET && memcmp(a->ip, ones, sizeof ones) == 0;
}

static bool is_ipv6_link_local(const struct address *a)
{
	return a->family == AF_INET6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

static const char *refusal_of_place(const struct transparent *t, const struct address *client)
{
	for (size_t i = 0; i < t->refused_count; i++) {
		const struct address *r = &t->refused[i];

		if ((r->port != 0 && r->port != client->port) || !address_same_ip(r, client))
			continue;
		return r->port == 0 ? "the client's address is a broadcast address"
				    : "the client's address and port are those of a listener";
	}
	return NULL;
}

const char *transparent_refusal(const struct transparent *t, const struct address *client,
				const char **ret_hint)
{
	const char *why = NULL;

	*ret_hint = "no client has such an address: the header is forged, or its sender broken";
	if (address_ip_size(client) == 0) {
		*ret_hint = "a sender on a unix socket has to send a header with addresses";
		return "the client has no IP address to connect from";
	}
	if (is_ipv6_link_local(client)) {
		*ret_hint = "let the load balancer connect from another address of its own";
		return "the client's address is link-local, and means nothing without its link";
	}
	if (address_is_unspecified(client))
		why = "the client's address is unspecified";
	else if (address_is_multicast(client))
		why = "the client's address is a multicast address";
	else if (is_all_ones(client))
		why = "the client's address is a broadcast address";
	else
		why = refusal_of_place(t, client);
	if (why == NULL)
		*ret_hint = NULL;
	return why;
}

/* --- sockets --- */

static int fail(struct transparent_result *ret, int rv, const char *failed, const char *hint)
{
	ret->failed = failed;
	ret->hint = hint;
	return rv;
}

static int set_options(int fd, uint16_t family, uint32_t mark, struct transparent_result *ret)
{
	const int on = 1;
	int rv = family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on)
				   : setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof on);

	if (rv != 0)
		return fail(ret, -errno, "the capability CAP_NET_RAW is missing",
			    "`unproxy check` says how to grant it");
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0)
		return fail(ret, -errno, "the firewall mark cannot be set",
			    "before Linux 5.17 that takes the capability CAP_NET_ADMIN");
	/* Without it, a connection of the same client in TIME_WAIT would be in the way. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	return 0;
}

/* A note in @ret says that the port is not to be had. */
static int bind_to(int fd, const struct address *source, struct transparent_result *ret)
{
	const int on = 1;
	struct sockaddr_storage ss;
	socklen_t size = address_to_sockaddr(source, &ss);
	int rv;

	if (source->port ==
	    0) /* connect(2) chooses it then, and may choose one that others use, too */
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	if (bind(fd, (const struct sockaddr *)&ss, size) == 0)
		return 0;
	rv = -errno;
	if (rv == -EADDRINUSE)
		ret->note = PORT_TAKEN;
	else if (rv == -EACCES)
		ret->note = PORT_PRIVILEGED;
	return fail(ret, rv, uv_strerror(rv), "this is what bind(2) to the client's address says");
}

/* Did the socket get the address that it was bound to? */
static bool is_bound_to(int fd, const struct address *source)
{
	struct address got;

	socket_local_address(fd, &got);
	return address_same_ip(&got, source) && (source->port == 0 || source->port == got.port);
}

static int connect_to(int fd, const struct address *source, const struct address *to,
		      struct transparent_result *ret)
{
	struct sockaddr_storage ss;
	socklen_t size = address_to_sockaddr(to, &ss);
	int rv;

	upstream_set_options(fd, to);
	rv = connect(fd, (const struct sockaddr *)&ss, size) == 0 ? 0 : errno;
	if (rv == EADDRNOTAVAIL) /* the four addresses and ports are those of another connection */
		ret->note = PORT_TAKEN;
	if (rv != 0 && rv != EINPROGRESS)
		return -rv;
	if (is_bound_to(fd, source))
		return rv == 0 ? 0 : 1;
	socket_reset_on_close(fd);
	return fail(ret, -EADDRNOTAVAIL, "the kernel replaced the client's address by another one",
		    "the address belongs to a network of this host, where no client can have it");
}

static int try_source(const struct transparent *t, const struct address *source,
		      const struct address *to, struct transparent_result *ret)
{
	int fd = socket(source->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rv;

	if (fd < 0)
		return -errno;
	rv = set_options(fd, source->family, t->mark, ret);
	if (rv == 0)
		rv = bind_to(fd, source, ret);
	if (rv == 0)
		rv = connect_to(fd, source, to, ret);
	if (rv < 0)
		close(fd);
	else
		ret->fd = fd;
	return rv;
}

int transparent_connect(const struct transparent *t, const struct address *client,
			const struct address *to, struct transparent_result *ret)
{
	struct address source = *client;
	int rv = -EADDRINUSE;

	assert(client->family == to->family && address_ip_size(to) > 0);
	*ret = (struct transparent_result){ .fd = -1 };
	if (address_same_ip(client, to) && client->port == to->port)
		ret->note =
		    PORT_TAKEN; /* or, while nobody listens there, it would connect to itself */
	else
		rv = try_source(t, &source, to, ret);
	if (rv >= 0 || ret->note == NULL || source.port == 0)
		return rv;
	source.port = 0;
	ret->failed = NULL;
	return try_source(t, &source, to, ret);
}
