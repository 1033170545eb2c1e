/* SPDX-License-Identifier: MIT */
/* Happy path: prepare and apply at the start, and again at each reload; what is asked in between is answered from what the
 * server knows at that moment.
 *
 * What can go wrong: the socket cannot be opened; then nothing changes. */
#include "server/admin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin_server.h"
#include "conf/config.h"
#include "obs/log.h"
#include "server/admin_connections.h"
#include "server/admin_health.h"
#include "server/inherited_socket.h"
#include "server/listen_socket.h"
#include "server/listener_check.h"
#include "server/page.h"
#include "server/server_private.h"

/* A place that it listens at. */
struct admin_place {
	struct config *config; /* that asks for it; a reference; NULL: there is none */
	struct admin_listening
	    *socket; /* NULL: nowhere; or, of the place in use, the HTTP server has it */
	int fd;      /* of the socket, if there is one */
	unsigned port;
	bool file_stays;   /* if it is a unix socket, its file is not ours */
	bool file_to_take; /* but will be, when we serve */
};

struct admin {
	struct server *server;
	struct admin_server *http;
	struct admin_connections *connections;
	struct admin_health *health;
	unsigned *stuck;         /* for admin_health_check() */
	struct admin_place used; /* now */
	struct admin_place next; /* prepared */
};

/* --- pages --- */

static void answer_with(struct admin_request *r, const struct page *page)
{
	if (page->body == NULL)
		admin_request_answer_text(r, HTTP_INTERNAL_ERROR, "out of memory");
	else
		admin_request_answer(r, page->status, page->type, page->body, page->size);
}

static void describe_listener(const struct server *s, const struct server_listener *l,
			      struct page_listener *ret)
{
	*ret = (struct page_listener){
		.name = l->config->name,
		.shared = l->shared,
		.open = s->phase == WORKER_SERVE && !l->shut,
		.checked = l->check != NULL,
		.up = listener_check_is_up(l),
		.unready = listener_check_unready(l),
	};
}

/* A page that tells about the listeners. */
static void answer_from_input(const struct admin *a, struct admin_request *r,
			      void (*write)(const struct page_input *in, struct page *ret))
{
	const struct server *s = a->server;
	struct page_listener *listeners = calloc(s->listener_count, sizeof *listeners);
	struct page page = { .body = NULL };
	const struct page_input in = {
		.listeners = listeners,
		.listener_count = s->listener_count,
		.workers = s->worker_count,
		.draining = s->phase != WORKER_SERVE,
		.log_dropped = log_dropped(s->log),
		.reloads = s->reloads.succeeded,
		.reloads_failed = s->reloads.failed,
		.last_reload_failed = !s->reloads.last_succeeded,
	};

	for (size_t i = 0; listeners != NULL && i < s->listener_count; i++)
		describe_listener(s, s->listeners[i], &listeners[i]);
	if (listeners != NULL)
		write(&in, &page);
	free(listeners);
	answer_with(r, &page);
}

static void answer_health(struct admin *a, struct admin_request *r)
{
	struct server *s = a->server;
	size_t count = admin_health_check(a->health, s->workers, uv_now(&s->loop), a->stuck);
	struct page page;

	page_health(a->stuck, count, &page);
	answer_with(r, &page);
}

static void answer_index(struct admin_request *r)
{
	struct page page;

	page_index(&page);
	answer_with(r, &page);
}

static void admin_on_request(struct admin_request *r, const char *path, void *data)
{
	struct admin *a = data;

	if (strcmp(path, "/metrics") == 0)
		answer_from_input(a, r, page_metrics);
	else if (strcmp(path, "/readyz") == 0)
		answer_from_input(a, r, page_ready);
	else if (strcmp(path, "/healthz") == 0)
		answer_health(a, r);
	else if (strcmp(path, "/connections") == 0)
		admin_connections_ask(a->connections, r);
	else if (strcmp(path, "/") == 0)
		answer_index(r);
	else
		admin_request_answer_text(r, HTTP_NOT_FOUND, "/ lists the pages");
}

/* --- where it listens --- */

static const struct endpoint *place_of(const struct config *c)
{
	return c != NULL && c->admin_listen.text != NULL ? &c->admin_listen : NULL;
}

static bool same_place(const struct endpoint *a, const struct endpoint *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a->text, b->text) == 0;
}

static void unlink_place(const struct admin_place *p)
{
	const struct endpoint *e = place_of(p->config);

	if (e != NULL && !p->file_stays)
		listen_socket_unlink(e);
}

/* Takes @fd, which listens at the place that @config asks for. */
static int prepare_socket(struct admin *a, struct config *config, int fd,
			  struct server_error *reterr)
{
	int rv = admin_listening_open(a->http, fd, &a->next.socket);

	if (rv != 0) {
		snprintf(reterr->text, sizeof reterr->text, "admin: %s", uv_strerror(rv));
		close(fd);
		return rv;
	}
	a->next.fd = fd;
	a->next.port = listen_socket_port(fd);
	a->next.config = config_ref(config);
	return 0;
}

int admin_claim(struct admin *a, struct config *config, struct inherited_sockets *inherited,
		struct server_error *reterr)
{
	const struct endpoint *place = place_of(config);
	struct inherited_claim claim;
	int rv = inherited_sockets_claim(inherited, place, 1, &claim);

	if (rv != 0)
		snprintf(reterr->text, sizeof reterr->text,
			 "admin: cannot use the socket for %s that was passed to us: %s",
			 place->text, strerror(-rv));
	if (rv != 0 || claim.count == 0)
		return rv;
	for (unsigned i = 1; i < claim.count; i++) /* whoever waits there asks again */
		close(claim.fds[i]);
	rv = prepare_socket(a, config, claim.fds[0], reterr);
	a->next.file_stays = true;
	a->next.file_to_take = !claim.file_stays;
	free(claim.fds);
	return rv;
}

static int open_socket(struct admin *a, struct config *config, struct server_error *reterr)
{
	const struct endpoint *place = place_of(config);
	char why[LISTEN_SOCKET_ERROR_MAX];
	int fd;
	int rv = listen_sockets_open(place, 1, &fd, why);

	if (rv != 0) {
		snprintf(reterr->text, sizeof reterr->text, "admin: %s", why);
		return rv;
	}
	rv = prepare_socket(a, config, fd, reterr);
	if (rv != 0)
		listen_socket_unlink(place);
	return rv;
}

int admin_prepare(struct admin *a, struct config *config, struct server_error *reterr)
{
	const struct endpoint *place = place_of(config);

	if (a->next.socket != NULL)
		return 0; /* it was claimed */
	if (place != NULL && !same_place(place, place_of(a->used.config)))
		return open_socket(a, config, reterr);
	a->next.config = config_ref(config);
	return 0;
}

void admin_cancel(struct admin *a)
{
	if (a->next.socket != NULL)
		unlink_place(&a->next);
	admin_listening_close(a->next.socket);
	config_unref(a->next.config);
	a->next = (struct admin_place){ .config = NULL };
}

static void admin_log(const struct admin *a)
{
	const struct endpoint *place = place_of(a->used.config);
	struct log_buffer *log = a->server->log_buffer;
	struct address address;
	char text[ADDRESS_TEXT_MAX];

	if (place == NULL) {
		log_message(log, LOG_INFO, "admin", "not listening any more");
		return;
	}
	address = place->ip;
	address.port = (uint16_t)a->used.port;
	address_format(&address, text);
	log_message(log, LOG_INFO, "admin", "listening on %s",
		    place->kind == ENDPOINT_UNIX ? place->text : text);
}

void admin_apply(struct admin *a)
{
	struct admin_place *used = &a->used;
	struct admin_place next = a->next;
	bool moves = !same_place(place_of(used->config), place_of(next.config));

	a->next = (struct admin_place){ .config = NULL };
	if (moves)
		unlink_place(used);
	config_unref(used->config);
	used->config = next.config;
	if (!moves)
		return;
	used->fd = next.fd;
	used->port = next.port;
	used->file_stays = next.file_stays && !next.file_to_take;
	admin_server_use(a->http, next.socket);
	admin_log(a);
}

int admin_socket(const struct admin *a, bool *ret_file_stays)
{
	const struct endpoint *place = place_of(a->used.config);

	if (place == NULL)
		return -1;
	*ret_file_stays = place->kind != ENDPOINT_UNIX || a->used.file_stays;
	return a->used.fd;
}

void admin_hand_over(struct admin *a)
{
	a->used.file_stays = true;
	admin_server_use(a->http, NULL);
}

unsigned admin_descriptors(const struct config *config)
{
	return place_of(config) != NULL ? 1 + ADMIN_REQUESTS_MAX : 0;
}

/* --- start and end --- */

int admin_create(struct server *s, struct admin **ret)
{
	struct admin *a = calloc(1, sizeof *a);

	if (a == NULL)
		return -ENOMEM;
	a->server = s;
	a->stuck = calloc(s->workers_wanted, sizeof *a->stuck);
	a->health = admin_health_create(s->workers_wanted);
	a->http = admin_server_create(&s->loop, ADMIN_PATIENCE_MS, admin_on_request, a);
	if (a->stuck != NULL && a->health != NULL && a->http != NULL)
		a->connections = admin_connections_create(s); /* last, for it takes closing */
	if (a->connections != NULL) {
		*ret = a;
		return 0;
	}
	admin_server_close(a->http); /* frees itself, when the loop runs */
	admin_destroy(a);
	return -ENOMEM;
}

void admin_close(struct admin *a)
{
	if (a == NULL)
		return;
	admin_cancel(a);
	unlink_place(&a->used);
	admin_server_close(a->http);
	admin_connections_close(a->connections);
}

void admin_destroy(struct admin *a)
{
	if (a == NULL)
		return;
	config_unref(a->used.config);
	admin_connections_destroy(a->connections);
	admin_health_destroy(a->health);
	free(a->stuck);
	free(a);
}
