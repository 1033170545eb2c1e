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

#include "conf/config.h"
#include "server/listen_socket.h"
#include "session/upstream.h"

#define CONNECT_WAIT_MAX 2000 /* whoever runs `check` waits for it [ms] */
#define RESOLVE_WAIT     2000 /* [ms] */
#define FDS_A_CONNECTION 2

#define PROBLEM_MAX 512

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
		remedy = "may this user open the socket?";
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
	int error = 0;
	socklen_t size = sizeof error;
	struct pollfd p;

	if (rv < 0)
		return -rv;
	p = (struct pollfd){ .fd = fd, .events = POLLOUT };
	if (rv == 1 && poll(&p, 1, (int)wait_ms) != 1)
		error = ETIMEDOUT;
	else
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	close(fd);
	return error;
}

/* Connect to one of the addresses, in their order. Leaves @problem empty if that worked. */
static void try_upstream(const struct endpoint *e, unsigned wait_ms,
			 char problem[static PROBLEM_MAX])
{
	struct upstream_addresses addresses = { 0 };
	struct upstream u;
	uv_loop_t loop;
	int error = 0;
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
	for (unsigned i = 0; i < addresses.count; i++) {
		error = connect_to(&u, i, wait_ms / addresses.count);
		if (error == 0)
			return;
	}
	explain_connect(error, wait_ms, problem);
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

static void probe_in_child(const struct endpoint *e, unsigned wait_ms,
			   char problem[static PROBLEM_MAX])
{
	int fds[2];
	pid_t child;

	if (pipe(fds) != 0) {
		snprintf(problem, PROBLEM_MAX, "cannot be tried: %s", strerror(errno));
		return;
	}
	child = fork();
	if (child == 0) {
		try_upstream(e, wait_ms, problem);
		_exit(write(fds[1], problem, strlen(problem)) < 0);
	}
	close(fds[1]);
	if (child < 0) {
		snprintf(problem, PROBLEM_MAX, "cannot be tried: %s", strerror(errno));
	} else {
		read_problem(fds[0], wait_ms + RESOLVE_WAIT, problem);
		kill(child, SIGKILL); /* it has said all it had to say */
		waitpid(child, NULL, 0);
	}
	close(fds[0]);
}

static unsigned probe_upstream(const struct listener_config *l, size_t index, unsigned which)
{
	static const char *const halves[] = { ".ipv4", ".ipv6" };
	unsigned wait_ms =
	    l->connect_timeout_ms < CONNECT_WAIT_MAX ? l->connect_timeout_ms : CONNECT_WAIT_MAX;
	const struct endpoint *e = &l->upstream[which];
	char problem[PROBLEM_MAX] = "";

	probe_in_child(e, wait_ms, problem);
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
		problems += probe_upstream(l, i, 0);
		if (l->upstream_is_pair)
			problems += probe_upstream(l, i, 1);
	}
	problems += probe_log(c);
	problems += probe_descriptors(c);
	return problems;
}
