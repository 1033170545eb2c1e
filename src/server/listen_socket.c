/* SPDX-License-Identifier: MIT */
#include "server/listen_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/socket.h"
#include "conf/endpoint.h"

/* The kernel lowers it to net.core.somaxconn. */
#define LISTEN_BACKLOG 65535

/* A client whose host vanished is noticed after about two minutes of silence [s, s, probes]. */
#define KEEPALIVE_IDLE     60
#define KEEPALIVE_INTERVAL 15
#define KEEPALIVE_PROBES   4

static void set_option(int fd, int level, int name, int value)
{
	/* All of these exist in every kernel we run on; without one, we still listen. */
	setsockopt(fd, level, name, &value, sizeof value);
}

void listen_socket_set_options(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

static int bind_ip(const struct address *a, bool shared, int *ret_fd)
{
	struct sockaddr_storage ss;
	socklen_t size = address_to_sockaddr(a, &ss);
	int fd = socket(a->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rv;

	if (fd < 0)
		return -errno;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (shared)
		set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (a->family == AF_INET6) /* [::] takes IPv4 too, whatever net.ipv6.bindv6only says */
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (bind(fd, (const struct sockaddr *)&ss, size) != 0) {
		rv = -errno;
		close(fd);
		return rv;
	}
	*ret_fd = fd;
	return 0;
}

static int listen_ip(const struct address *a, bool shared, int *ret_fd)
{
	int rv = bind_ip(a, shared, ret_fd);

	if (rv != 0)
		return rv;
	listen_socket_set_options(*ret_fd);
	if (listen(*ret_fd, LISTEN_BACKLOG) == 0)
		return 0;
	rv = -errno;
	close(*ret_fd);
	return rv;
}

/* With SO_REUSEPORT a second unproxy of the same user would silently take half of the connections.
 * A socket without it finds out. It also finds a free port: one that we then bind to by its number stays ours while
 * the socket is paused, which the kernel takes back if it has chosen it. */
static int reserve(struct address *a, int *ret_fd)
{
	int rv = bind_ip(a, false, ret_fd);

	if (rv == 0)
		a->port = listen_socket_port(*ret_fd);
	return rv;
}

static void close_all(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
}

static int open_ip(const struct endpoint *e, unsigned count, int *ret_fds)
{
	struct address a = e->ip;
	int reserved;
	int rv = reserve(&a, &reserved);

	if (rv != 0)
		return rv;
	for (unsigned i = 0; i < count; i++) {
		rv = listen_ip(&a, count > 1, &ret_fds[i]);
		if (rv != 0) {
			close_all(ret_fds, i);
			break;
		}
	}
	close(reserved);
	return rv;
}

/* A socket file that a killed program left behind is in the way of bind(2), but nobody answers it. */
static int remove_stale(const struct sockaddr_un *sun)
{
	struct stat st;
	int fd;
	int rv;

	if (lstat(sun->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rv = connect(fd, (const struct sockaddr *)sun, sizeof *sun) == 0 ? 0 : errno;
	close(fd);
	if (rv != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(sun->sun_path) == 0 ? 0 : -errno;
}

static int listen_unix(const struct endpoint *e, int *ret_fd)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;
	int rv;

	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", e->path);
	rv = remove_stale(&sun);
	if (rv != 0)
		return rv;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&sun, sizeof sun) == 0 &&
	    listen(fd, LISTEN_BACKLOG) == 0) {
		*ret_fd = fd;
		return 0;
	}
	rv = -errno;
	close(fd);
	return rv;
}

static int open_unix(const struct endpoint *e, unsigned count, int *ret_fds)
{
	int rv = listen_unix(e, &ret_fds[0]);

	if (rv != 0)
		return rv;
	for (unsigned i = 1; i < count; i++) {
		ret_fds[i] = fcntl(ret_fds[0], F_DUPFD_CLOEXEC, 0);
		if (ret_fds[i] < 0) {
			rv = -errno;
			close_all(ret_fds, i);
			listen_socket_unlink(e);
			return rv;
		}
	}
	return 0;
}

static const char *remedy_for(int error)
{
	switch (error) {
	case -EADDRINUSE:
		return "another program listens there (ss -ltnp shows which): stop it, or change "
		       "`listen`";
	case -EADDRNOTAVAIL:
		return "this host has no such address (ip address shows which it has): change `listen`";
	case -EACCES:
		return "ports below 1024 need CAP_NET_BIND_SERVICE, a socket file a writable folder";
	case -EAFNOSUPPORT:
		return "this host has no such address family: use an IPv4 address in `listen`";
	case -EEXIST:
		return "a file that is no socket stands there: remove it, or change `listen`";
	case -ENOENT:
		return "the folder does not exist: create it, or change `listen`";
	case -EMFILE:
	case -ENFILE:
		return "raise the limit on open files (ulimit -n)";
	default:
		return "change `listen`";
	}
}

int listen_sockets_open(const struct endpoint *e, unsigned count, int *ret_fds,
			char reterr[static LISTEN_SOCKET_ERROR_MAX])
{
	int rv =
	    e->kind == ENDPOINT_UNIX ? open_unix(e, count, ret_fds) : open_ip(e, count, ret_fds);

	if (rv != 0)
		snprintf(reterr, LISTEN_SOCKET_ERROR_MAX, "cannot listen on %s: %s; %s", e->text,
			 strerror(-rv), remedy_for(rv));
	return rv;
}

uint16_t listen_socket_port(int fd)
{
	struct address a;

	socket_local_address(fd, &a);
	return a.port;
}

void listen_socket_unlink(const struct endpoint *e)
{
	if (e->kind == ENDPOINT_UNIX)
		unlink(e->path); /* ENOENT: somebody else did */
}

/* This ends what waits in a listening TCP socket and leaves it bound. So does shutdown(2), but if workers that share the
 * socket both do that, connections that are accepted later are shut down as well. Without SO_REUSEADDR nobody else
 * can bind to the port meanwhile; not before, for what is accepted inherits it, and would be in the way of listen(2). */
int listen_socket_pause(int fd)
{
	const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };

	if (connect(fd, &nowhere, sizeof nowhere) != 0)
		return -errno;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 0);
	return 0;
}

int listen_socket_resume(int fd)
{
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return listen(fd, LISTEN_BACKLOG) == 0 ? 0 : -errno;
}
