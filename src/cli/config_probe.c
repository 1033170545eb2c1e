/* SPDX-License-Identifier: MIT */
/* Happy path: every address can be listened on, every upstream accepts, and nothing is printed.
 *
 * What can go wrong:
 * - The resolver hangs, and getaddrinfo(3) has no time limit: a child process asks and connects, and
 *   is killed when its time is over.
 * - An upstream drops our SYN: connecting ends after connect_timeout_ms, or after CONNECT_WAIT_MAX. */
#include "cli/config_probe.h"

#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "base/address.h"
#include "base/socket.h"
#include "conf/config.h"
#include "server/listen_socket.h"
#include "server/privilege.h"
#include "server/transparent_probe.h"
#include "session/upstream.h"

#define CONNECT_WAIT_MAX 2000 /* whoever runs `check` waits for it [ms] */
#define RESOLVE_WAIT     2000 /* [ms] */
#define TRANSPARENT_WAIT \
	8000 /* more, for transparent listeners: several probes that find nothing [ms] */
#define FDS_A_CONNECTION 2

#define PROBLEM_MAX (TRANSPARENT_PROBE_ERROR_MAX + 256)

static const uint16_t families[] = { AF_INET, AF_INET6 };

static unsigned probe_listen(const struct listener_config *l, size_t index)
{
	char why[LISTEN_SOCKET_ERROR_MAX];
	int fd;

	if (listen_sockets_open(&l->listen, 1, &fd, why) != 0) {
		fprintf(stderr, "unproxy: listeners[%zu].listen: %s\n", index, why);
		return 1;
	}
	listen_socket_unlink(&l->listen);
	close(fd);
	return 0;
}

/* --- upstream: in the child --- */

static void explain_connect(int error, unsigned wait_ms, char problem[static PROBLEM_MAX])
{
	const char *why = strerror(error);
	const char *remedy = "check the address";

	switch (error) {
	case ECONNREFUSED:
		why = "connection refused";
		remedy = "is the application running?";
		break;
	case ENOENT:
		why = "no such socket";
		remedy = "is the application running?";
		break;
	case EACCES:
		why = "permission denied";
		remedy = "may the user open the socket, or `user`, if started as root?";
		break;
	case ENETUNREACH:
	case EHOSTUNREACH:
		why = "no route to it";
		break;
	case ETIMEDOUT:
		snprintf(problem, PROBLEM_MAX,
			 "no answer within %u ms; check the address, and firewalls on the way",
			 wait_ms);
		return;
	default:
		break;
	}
	snprintf(problem, PROBLEM_MAX, "%s; %s", why, remedy);
}

/* Returns 0, or the errno of connecting to address number @i. */
static int connect_to(const struct upstream *u, unsigned i, unsigned wait_ms)
{
	int fd;
	int rv = upstream_connect(u, i, &fd);
	int error;
	struct pollfd p;

	if (rv < 0)
		return -rv;
	p = (struct pollfd){ .fd = fd, .events = POLLOUT };
	if (rv == 1 && poll(&p, 1, (int)wait_ms) != 1)
		error = ETIMEDOUT;
	else
		error = -socket_take_error(fd);
	close(fd);
	return error;
}

/* Connect to one of the addresses of @family (AF_UNSPEC: any), in their order. Returns 0 or the errno of the last, or
 * EAFNOSUPPORT if there is none. */
static int connect_to_any(const struct upstream *u, uint16_t family, unsigned wait_ms)
{
	int error = EAFNOSUPPORT;

	for (unsigned i = 0; error != 0 && i < u->addresses.count; i++)
		if (family == AF_UNSPEC || u->addresses.list[i].family == family)
			error = connect_to(u, i, wait_ms / u->addresses.count);
	return error;
}

/* Does the application listen at the other family's loopback address instead? */
static bool answers_elsewhere(const struct upstream *u, unsigned wait_ms, struct address *ret)
{
	struct upstream other = *u;

	if (u->endpoint->kind != ENDPOINT_IP || !address_is_loopback(&u->endpoint->ip) ||
	    address_parse_ip(u->endpoint->ip.family == AF_INET ? "::1" : "127.0.0.1", ret) != 0)
		return false;
	ret->port = u->endpoint->ip.port;
	other.addresses.list[0] = *ret;
	return connect_to(&other, 0, wait_ms) == 0;
}

static void try_plain(const struct upstream *u, unsigned wait_ms, char problem[static PROBLEM_MAX])
{
	int error = connect_to_any(u, AF_UNSPEC, wait_ms);
	struct address elsewhere;
	char text[ADDRESS_TEXT_MAX];

	if (error == ECONNREFUSED && answers_elsewhere(u, wait_ms, &elsewhere)) {
		address_format(&elsewhere, text);
		snprintf(
		    problem, PROBLEM_MAX,
		    "connection refused, but %s answers; let the application listen here, too, or "
		    "change `upstream`",
		    text);
	} else if (error != 0) {
		explain_connect(error, wait_ms, problem);
	}
}

/* A client is connected to an address of its own family, and to no other. */
static void try_families(const struct upstream *u, unsigned wait_ms,
			 char problem[static PROBLEM_MAX])
{
	int errors[ARRAY_SIZE(families)];

	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		errors[i] = connect_to_any(u, families[i], wait_ms);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (errors[i] == ECONNREFUSED && errors[1 - i] == 0)
			snprintf(
			    problem, PROBLEM_MAX,
			    "the application listens on IPv%c only, so the connections of IPv%c "
			    "clients are refused; let it listen on both, or write an address",
			    i == 0 ? '6' : '4', i == 0 ? '4' : '6');
}

/* The addresses of those clients that the endpoint is for, transparently. */
static void try_transparent(const struct config *c, const struct upstream *u, unsigned which,
			    bool both, char problem[static PROBLEM_MAX])
{
	const struct transparent_routing routing = { c->transparent_mark, c->transparent_table };
	char why[TRANSPARENT_PROBE_ERROR_MAX];

	for (unsigned i = 0; i < u->addresses.count; i++) {
		const struct address *a = &u->addresses.list[i];

		if (!both && a->family != families[which])
			continue;
		if (transparent_probe(&routing, a, why) == 0)
			continue;
		snprintf(problem, PROBLEM_MAX, "transparent mode does not work: %s", why);
		return;
	}
}

/* Leaves @problem empty if the application can be reached. */
static void try_upstream(const struct config *c, const struct listener_config *l, unsigned which,
			 unsigned wait_ms, char problem[static PROBLEM_MAX])
{
	const struct endpoint *e = &l->upstream[which];
	struct upstream_addresses addresses = { 0 };
	struct upstream u;
	uv_loop_t loop;
	int rv = uv_loop_init(&loop);

	if (rv == 0)
		rv = upstream_addresses_find(e, &loop, &addresses);
	if (rv != 0) {
		snprintf(problem, PROBLEM_MAX,
			 "the name does not resolve: %s; check it, or write an address",
			 uv_strerror(rv));
		return;
	}
	upstream_init(&u, e, &addresses, NULL);
	if (l->transparent)
		try_transparent(c, &u, which, !l->upstream_is_pair, problem);
	if (problem[0] == '\0')
		try_plain(&u, wait_ms, problem);
	if (problem[0] == '\0' && l->transparent && !l->upstream_is_pair)
		try_families(&u, wait_ms, problem);
}

/* --- upstream: in the parent --- */

/* Read what the child writes until it ends or its time is over. */
static void read_problem(int fd, unsigned wait_ms, char problem[static PROBLEM_MAX])
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, (int)wait_ms) != 1) {
		snprintf(problem, PROBLEM_MAX,
			 "the resolver does not answer; check /etc/resolv.conf, or write an "
			 "address");
		return;
	}
	n = read(fd, problem, PROBLEM_MAX - 1);
	problem[n > 0 ? n : 0] = '\0';
}

static void probe_in_child(const struct config *c, const struct listener_config *l, unsigned which,
			   unsigned wait_ms, char problem[static PROBLEM_MAX])
{
	int fds[2];
	pid_t child;

	if (pipe(fds) != 0) {
		snprintf(problem, PROBLEM_MAX, "cannot be tried: %s", strerror(errno));
		return;
	}
	child = fork();
	if (child == 0) {
		/* As the daemon, which is nobody special by then */
		if (privilege_drop(c->user, l->transparent, NULL, problem) == 0)
			try_upstream(c, l, which, wait_ms, problem);
		_exit(write(fds[1], problem, strlen(problem)) < 0);
	}
	close(fds[1]);
	if (child < 0) {
		snprintf(problem, PROBLEM_MAX, "cannot be tried: %s", strerror(errno));
	} else {
		read_problem(fds[0],
			     wait_ms + RESOLVE_WAIT + (l->transparent ? TRANSPARENT_WAIT : 0),
			     problem);
		kill(child, SIGKILL); /* it has said all it had to say */
		waitpid(child, NULL, 0);
	}
	close(fds[0]);
}

static unsigned probe_upstream(const struct config *c, size_t index, unsigned which)
{
	const struct listener_config *l = &c->listeners[index];
	static const char *const halves[] = { ".ipv4", ".ipv6" };
	unsigned wait_ms =
	    l->connect_timeout_ms < CONNECT_WAIT_MAX ? l->connect_timeout_ms : CONNECT_WAIT_MAX;
	const struct endpoint *e = &l->upstream[which];
	char problem[PROBLEM_MAX] = "";

	probe_in_child(c, l, which, wait_ms, problem);
	if (problem[0] == '\0')
		return 0;
	fprintf(stderr, "unproxy: listeners[%zu].upstream%s: %s: %s\n", index,
		l->upstream_is_pair ? halves[which] : "", e->text, problem);
	return 1;
}

/* --- the rest --- */

/* Without creating the file. */
static int try_to_write(const char *path)
{
	struct stat st;
	char *copy;
	int rv;

	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return EISDIR;
		return access(path, W_OK) == 0 ? 0 : errno;
	}
	if (errno != ENOENT)
		return errno;
	copy = strdup(path);
	if (copy == NULL)
		return ENOMEM;
	rv = access(dirname(copy), W_OK | X_OK) == 0 ? 0 : errno;
	free(copy);
	return rv;
}

static unsigned probe_log(const struct config *c)
{
	int error;

	if (strcmp(c->log_output, "stderr") == 0 || strcmp(c->log_output, "stdout") == 0)
		return 0;
	error = try_to_write(c->log_output);
	if (error == 0)
		return 0;
	fprintf(stderr,
		"unproxy: log.output: %s: cannot be written: %s; create the folder, or give this "
		"user the right to write there\n",
		c->log_output, strerror(error));
	return 1;
}

/* The server raises the soft limit to the hard one. */
static unsigned probe_descriptors(const struct config *c)
{
	struct rlimit limit;
	uint64_t connections = 0;

	for (size_t i = 0; i < c->listener_count; i++)
		connections += c->listeners[i].max_connections;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
	    limit.rlim_max >= connections * FDS_A_CONNECTION)
		return 0;
	fprintf(stderr,
		"unproxy: max_connections: %llu connections need %llu open files, and this process "
		"may have %llu; raise the hard limit (ulimit -Hn, LimitNOFILE=), or lower "
		"max_connections\n",
		(unsigned long long)connections, (unsigned long long)connections * FDS_A_CONNECTION,
		(unsigned long long)limit.rlim_max);
	return 1;
}

unsigned config_probe(const struct config *c)
{
	unsigned problems = 0;

	for (size_t i = 0; i < c->listener_count; i++) {
		const struct listener_config *l = &c->listeners[i];

		problems += probe_listen(l, i);
		problems += probe_upstream(c, i, 0);
		if (l->upstream_is_pair)
			problems += probe_upstream(c, i, 1);
	}
	problems += probe_log(c);
	problems += probe_descriptors(c);
	return problems;
}
