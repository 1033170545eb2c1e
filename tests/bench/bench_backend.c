/* SPDX-License-Identifier: MIT */
/* The application of the benchmark: does what the first byte of a connection asks for (role.h), with
 * as few system calls as there can be, so that it is faster than what stands before it.
 *
 * One epoll set, one listening socket (SO_REUSEPORT) and one buffer a thread; a connection costs no
 * memory but its few bytes. Errors of a connection close it: the load generator notices. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "role.h"

#define EVENTS_MAX 256
#define BACKLOG    4096
#define NO_ROLE    0 /* the first byte has not come */

struct conn {
	int fd;
	int role; /* enum role, or NO_ROLE */
};

struct backend {
	int epoll;
	int listener;
	struct conn *conns; /* by file descriptor; pages are touched when a descriptor is used */
	size_t n_conns;
	uint8_t *buffer; /* BULK_CHUNK bytes: what comes, and what ROLE_SOURCE sends */
};

_Noreturn static void fail(const char *what)
{
	fprintf(stderr, "bench_backend: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void watch(const struct backend *b, int op, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };

	if (epoll_ctl(b->epoll, op, fd, &e) != 0)
		fail("epoll_ctl");
}

static void accept_all(struct backend *b)
{
	int fd;

	while ((fd = accept4(b->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if ((size_t)fd >= b->n_conns) {
			close(fd);
			continue;
		}
		b->conns[fd] = (struct conn){ .fd = fd, .role = NO_ROLE };
		watch(b, EPOLL_CTL_ADD, fd, EPOLLIN);
	}
}

/* Returns false when the connection is over. */
static bool send_bulk(struct backend *b, const struct conn *c)
{
	return send(c->fd, b->buffer, BULK_CHUNK, MSG_NOSIGNAL) >= 0 || errno == EAGAIN;
}

static bool choose_role(struct backend *b, struct conn *c)
{
	c->role = b->buffer[0];
	switch ((enum role)c->role) {
	case ROLE_ECHO:
	case ROLE_SINK:
		return true;
	case ROLE_SOURCE:
	case ROLE_BOTH:
		watch(b, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT);
		return true;
	}
	return false;
}

/* A message that does not fit the socket buffer at once closes the connection: those of the
 * benchmark do, there is only one in flight. */
static bool receive(struct backend *b, struct conn *c)
{
	ssize_t n = recv(c->fd, b->buffer, BULK_CHUNK, 0);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	if (c->role == NO_ROLE && !choose_role(b, c))
		return false;
	return c->role != ROLE_ECHO || send(c->fd, b->buffer, (size_t)n, MSG_NOSIGNAL) == n;
}

static void on_event(struct backend *b, const struct epoll_event *e)
{
	struct conn *c = &b->conns[e->data.fd];
	bool open = true;

	if (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		open = receive(b, c);
	if (open && e->events & EPOLLOUT)
		open = send_bulk(b, c);
	if (!open)
		close(c->fd);
}

static void *run(void *data)
{
	struct backend *b = data;
	struct epoll_event events[EVENTS_MAX];
	int n;

	while ((n = epoll_wait(b->epoll, events, EVENTS_MAX, -1)) >= 0 || errno == EINTR) {
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == b->listener)
				accept_all(b);
			else
				on_event(b, &events[i]);
		}
	}
	fail("epoll_wait");
}

static void start(uint16_t port, size_t n_conns)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct backend *b = calloc(1, sizeof *b); /* for as long as the program runs */
	pthread_t thread;
	int one = 1;

	if (b == NULL)
		fail("calloc");
	b->n_conns = n_conns;
	b->conns = calloc(n_conns, sizeof *b->conns);
	b->buffer = calloc(1, BULK_CHUNK);
	b->epoll = epoll_create1(EPOLL_CLOEXEC);
	b->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (b->conns == NULL || b->buffer == NULL || b->epoll < 0 || b->listener < 0)
		fail("out of memory or file descriptors");
	if (setsockopt(b->listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0 ||
	    bind(b->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
	    listen(b->listener, BACKLOG) != 0)
		fail("listen");
	watch(b, EPOLL_CTL_ADD, b->listener, EPOLLIN);
	errno = pthread_create(&thread, NULL, run, b);
	if (errno != 0)
		fail("pthread_create");
}

int main(int argc, char **argv)
{
	struct rlimit files;
	int port, threads;

	if (argc != 3 || (port = atoi(argv[1])) <= 0 || port > UINT16_MAX ||
	    (threads = atoi(argv[2])) <= 0) {
		fprintf(stderr, "usage: bench_backend PORT THREADS\n");
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		fail("getrlimit");
	for (int i = 0; i < threads; i++)
		start((uint16_t)port, files.rlim_cur);
	for (;;)
		pause();
}
