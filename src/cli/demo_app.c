/* SPDX-License-Identifier: MIT */
/* Happy path:
 * - Accept, collect bytes up to the empty line that ends a request, answer, half-close.
 * - The client closes: close.
 *
 * What can go wrong:
 * - What comes does not begin with a GET, such as a PROXY header sent past unproxy: say so with status 400.
 * - A client never finishes its request: it keeps one of CONNECTIONS_MAX places until it leaves. */
#include "cli/demo_app.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/strbuf.h"

#define CONNECTIONS_MAX 32
#define REQUEST_MAX     4096 /* [bytes] */
#define ANSWER_MAX      (REQUEST_MAX + 1024)

struct connection {
	int fd; /* -1: this place is free */
	struct address peer;
	bool answered;
	size_t used;
	char request[REQUEST_MAX + 1]; /* zero-terminated */
};

struct demo_app {
	pthread_t thread;
	int stop; /* an eventfd: readable when the thread shall end */
	int listener;
	uint16_t port;
	struct connection connections[CONNECTIONS_MAX];
};

/* The first line of the request, harmless to print. */
static void put_first_line(struct strbuf *out, const struct connection *c)
{
	for (size_t i = 0; i < c->used && c->request[i] != '\r' && c->request[i] != '\n'; i++)
		strbuf_putc(out,
			    c->request[i] >= ' ' && c->request[i] < 0x7f ? c->request[i] : '.');
}

static void write_body(struct strbuf *out, const struct connection *c, bool is_get)
{
	char peer[ADDRESS_TEXT_MAX];

	address_format(&c->peer, peer);
	if (is_get) {
		strbuf_puts(out, "Hello! I am an application that has never heard of the PROXY "
				 "protocol.\nI was sent:  ");
		put_first_line(out, c);
	} else {
		strbuf_puts(out, "This is no HTTP request. It begins with the bytes");
		for (size_t i = 0; i < c->used && i < 12; i++)
			strbuf_printf(out, " %02x", (unsigned char)c->request[i]);
	}
	strbuf_printf(out, "\nMy peer is:  %s\n", peer);
}

static void answer(struct connection *c)
{
	bool is_get = strncmp(c->request, "GET ", 4) == 0;
	char body_text[ANSWER_MAX];
	char text[ANSWER_MAX + 256];
	struct strbuf body;
	struct strbuf out;

	strbuf_init(&body, body_text, sizeof body_text);
	write_body(&body, c, is_get);
	strbuf_init(&out, text, sizeof text);
	strbuf_printf(&out,
		      "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
		      "Connection: close\r\n\r\n",
		      is_get ? "200 OK" : "400 Bad Request", body.used);
	strbuf_add(&out, body.data, body.used);
	/* A new connection has room for this; if it is gone, recv(2) will tell. */
	(void)!send(c->fd, out.data, out.used, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(c->fd, SHUT_WR);
	c->answered = true;
	c->used = 0;
}

static void connection_close(struct connection *c)
{
	close(c->fd);
	c->fd = -1;
}

static void connection_read(struct connection *c)
{
	ssize_t n = recv(c->fd, c->request + c->used, REQUEST_MAX - c->used, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		connection_close(c);
		return;
	}
	if (c->answered) /* we listen only for the end */
		return;
	c->used += (size_t)n;
	c->request[c->used] = '\0';
	if (c->used == REQUEST_MAX || memmem(c->request, c->used, "\r\n\r\n", 4) != NULL)
		answer(c);
}

static struct connection *free_place(struct demo_app *app)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (app->connections[i].fd < 0)
			return &app->connections[i];
	return NULL;
}

static void accept_into(struct demo_app *app, struct connection *c)
{
	struct sockaddr_storage ss;
	socklen_t size = sizeof ss;

	c->fd = accept4(app->listener, (struct sockaddr *)&ss, &size, SOCK_CLOEXEC);
	if (c->fd < 0)
		return;
	address_from_sockaddr(&c->peer, (const struct sockaddr *)&ss);
	c->answered = false;
	c->used = 0;
}

static void *app_main(void *arg)
{
	struct demo_app *app = arg;
	struct pollfd p[2 + CONNECTIONS_MAX] = { { .fd = app->stop, .events = POLLIN } };

	while (p[0].revents == 0) {
		struct connection *place = free_place(app);

		p[1] =
		    (struct pollfd){ .fd = place != NULL ? app->listener : -1, .events = POLLIN };
		for (size_t i = 0; i < CONNECTIONS_MAX; i++)
			p[2 + i] =
			    (struct pollfd){ .fd = app->connections[i].fd, .events = POLLIN };
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		for (size_t i = 0; i < CONNECTIONS_MAX; i++)
			if (p[2 + i].revents != 0)
				connection_read(&app->connections[i]);
		if (p[1].revents != 0)
			accept_into(app, place);
	}
	return NULL;
}

/* Returns 0 or a negative errno. */
static int open_listener(struct demo_app *app)
{
	const uint8_t loopback[4] = { 127, 0, 0, 1 };
	struct sockaddr_storage ss;
	struct sockaddr *sa = (struct sockaddr *)&ss;
	struct address a;
	socklen_t size;

	address_set_ip(&a, loopback, sizeof loopback, 0);
	size = address_to_sockaddr(&a, &ss);
	app->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (app->listener < 0 || bind(app->listener, sa, size) != 0 ||
	    listen(app->listener, CONNECTIONS_MAX) != 0 ||
	    getsockname(app->listener, sa, &size) != 0)
		return -errno;
	address_from_sockaddr(&a, sa);
	app->port = a.port;
	return 0;
}

static void app_free(struct demo_app *app)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (app->connections[i].fd >= 0)
			connection_close(&app->connections[i]);
	if (app->listener >= 0)
		close(app->listener);
	if (app->stop >= 0)
		close(app->stop);
	free(app);
}

int demo_app_start(struct demo_app **ret)
{
	struct demo_app *app = calloc(1, sizeof *app);
	int rv;

	if (app == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		app->connections[i].fd = -1;
	app->listener = -1;
	app->stop = eventfd(0, EFD_CLOEXEC);
	rv = app->stop < 0 ? -errno : open_listener(app);
	if (rv == 0)
		rv = -pthread_create(&app->thread, NULL, app_main, app);
	if (rv != 0) {
		app_free(app);
		return rv;
	}
	*ret = app;
	return 0;
}

uint16_t demo_app_port(const struct demo_app *app)
{
	return app->port;
}

void demo_app_stop(struct demo_app *app)
{
	const uint64_t one = 1;

	if (app == NULL)
		return;
	(void)!write(app->stop, &one, sizeof one); /* cannot fail: nobody else counts it up */
	pthread_join(app->thread, NULL);
	app_free(app);
}
