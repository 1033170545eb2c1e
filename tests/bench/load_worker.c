/* SPDX-License-Identifier: MIT */
/* One thread of the load generator: an epoll set and its share of the connections.
 *
 * Happy path of a connection:
 * - connect, and at once send the header with the first request behind it, as load balancers do;
 *   on loopback both succeed without waiting.
 * - The reply is whole and is what was sent: LOAD_SHORT closes and connects anew, LOAD_TRIPS sends
 *   the next request, LOAD_IDLE falls silent.
 * - LOAD_BULK sends one byte that asks the backend for its role, then receives, sends or both.
 *
 * What can go wrong: everything is fatal, see load_worker_run(). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "load.h"
#include "wire/proxy_header.h"
#include "wire/tlv.h"

#define EVENTS_MAX 256
#define WAIT_MS    5 /* at most this long until a thread sees that the run is over or due */

#define NLB_TLVS     72 /* of a PrivateLink connection: its header is 100 bytes long */
#define NLB_ENDPOINT "\001vpce-08d2bf15fac5001c9"
#define HEADER_MAX   128
#define CLIENT_PORTS 60000 /* of one made-up client address */

static_assert(PROXY_V1_MAX <= HEADER_MAX, "every header fits");

struct conn {
	int fd;
	bool opened;       /* header and first request are sent */
	uint32_t watched;  /* epoll events; 0 while not in the set */
	uint64_t number;   /* which connection of the run: makes its client address */
	uint64_t began_at; /* of connect, or of the request in flight [ns] */
	size_t sent;       /* of header and first request [bytes] */
	size_t received;   /* of the reply in flight [bytes] */
};

struct worker {
	struct load *load;
	struct histogram *latencies;
	int epoll;
	struct conn *conns;
	unsigned n_conns;
	unsigned n_open;    /* LOAD_SHORT: connections that have had no reply yet */
	unsigned n_settled; /* LOAD_IDLE: connections that had their reply */
	size_t first_size;  /* of the first request: a whole message, or one byte for bulk */
	uint8_t nlb_tlvs[NLB_TLVS];
	uint8_t *message; /* what is sent and must come back */
	uint8_t *buffer;  /* what came */
	size_t buffer_size;
};

_Noreturn static void fail(const char *what, int error)
{
	fprintf(stderr, "bench_load: %s%s%s\n", what, error != 0 ? ": " : "",
		error != 0 ? strerror(error) : "");
	exit(1);
}

/* The CRC32C stands first and gets its value when the header is encoded. */
static void make_nlb_tlvs(uint8_t out[NLB_TLVS])
{
	static const uint8_t zeros[NLB_TLVS];
	size_t used = tlv_append(out, 0, NLB_TLVS, TLV_CRC32C, zeros, 4);

	used = tlv_append(out, used, NLB_TLVS, TLV_AWS, NLB_ENDPOINT, strlen(NLB_ENDPOINT));
	used = tlv_append(out, used, NLB_TLVS, TLV_NOOP, zeros, NLB_TLVS - used - 3);
	assert(used == NLB_TLVS);
}

/* Every connection of a run has a client of its own, from 198.18.0.0/15 (RFC 2544: benchmarks). Idle ones
 * have the upper half: another run goes on beside them. */
static size_t encode_header(const struct worker *w, uint64_t number, uint8_t out[HEADER_MAX])
{
	bool idle = w->load->workload == LOAD_IDLE;
	uint64_t host = number / CLIENT_PORTS;
	struct proxy_header h = {
		.version = w->load->header == LOAD_HEADER_V1 ? 1 : 2,
		.command = PROXY_COMMAND_PROXY,
		.family = PROXY_FAMILY_INET,
		.transport = PROXY_TRANSPORT_STREAM,
		.source = { AF_INET,
			    (uint16_t)(1024 + number % CLIENT_PORTS),
			    { 198, idle ? 19 : 18, (uint8_t)(host >> 8), (uint8_t)host } },
		.destination = { AF_INET, 443, { 192, 0, 2, 10 } },
	};
	size_t size;

	if (w->load->header == LOAD_HEADER_NONE)
		return 0;
	if (w->load->header == LOAD_HEADER_V2_NLB) {
		h.tlvs = w->nlb_tlvs;
		h.tlvs_size = NLB_TLVS;
	}
	size = proxy_header_encode(&h, out, HEADER_MAX);
	assert(size > 0);
	return size;
}

static void conn_watch(struct worker *w, struct conn *c, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = c };

	if (events == c->watched)
		return;
	if (epoll_ctl(w->epoll, c->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &e) != 0)
		fail("epoll_ctl", errno);
	c->watched = events;
}

static uint32_t steady_events(enum role role)
{
	switch (role) {
	case ROLE_ECHO:
	case ROLE_SOURCE:
		return EPOLLIN;
	case ROLE_SINK:
		return EPOLLOUT;
	case ROLE_BOTH:
		return EPOLLIN | EPOLLOUT;
	}
	abort();
}

/* Send header and first request, or what is left of them. */
static void conn_send_first(struct worker *w, struct conn *c)
{
	uint8_t first[HEADER_MAX + LOAD_MESSAGE_MAX];
	size_t size = encode_header(w, c->number, first);
	ssize_t n;

	memcpy(first + size, w->message, w->first_size);
	size += w->first_size;
	n = send(c->fd, first + c->sent, size - c->sent, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		fail("send of the header", errno);
	if (n > 0)
		c->sent += (size_t)n;
	c->opened = c->sent == size;
	conn_watch(w, c, c->opened ? steady_events(w->load->role) : EPOLLOUT);
}

static void conn_start(struct worker *w, struct conn *c)
{
	const struct sockaddr *target = (const struct sockaddr *)&w->load->target;

	c->number = atomic_fetch_add(&w->load->started, 1);
	c->opened = false;
	c->watched = 0;
	c->sent = 0;
	c->received = 0;
	c->began_at = load_now();
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		fail("socket", errno);
	w->n_open++;
	if (connect(c->fd, target, sizeof w->load->target) != 0 && errno != EINPROGRESS)
		fail("connect", errno);
	conn_send_first(w, c);
}

static void conn_request(struct worker *w, struct conn *c)
{
	c->received = 0;
	c->began_at = load_now();
	if (send(c->fd, w->message, w->load->message, MSG_NOSIGNAL) != w->load->message)
		fail("send of a request", errno);
}

static bool worker_begins_another(const struct worker *w)
{
	const struct load *l = w->load;

	if (atomic_load_explicit(&l->stopping, memory_order_relaxed))
		return false;
	return l->measure == 0 ||
	       atomic_load_explicit(&l->started, memory_order_relaxed) < l->warmup + l->measure;
}

/* A reply is whole. */
static void conn_replied(struct worker *w, struct conn *c)
{
	struct load *l = w->load;
	bool measured = load_count(l, 0);

	if (measured)
		histogram_add(w->latencies, load_now() - c->began_at);
	switch (l->workload) {
	case LOAD_TRIPS:
		conn_request(w, c);
		break;
	case LOAD_SHORT:
		close(c->fd);
		w->n_open--;
		if (worker_begins_another(w))
			conn_start(w, c);
		break;
	case LOAD_IDLE:
		w->n_settled++;
		if (w->n_settled + LOAD_SETUP_MAX <= w->n_conns)
			conn_start(w, &w->conns[w->n_settled + LOAD_SETUP_MAX - 1]);
		break;
	case LOAD_BULK:
		abort(); /* it has no replies */
	}
}

static size_t conn_receive(struct worker *w, struct conn *c)
{
	ssize_t n = recv(c->fd, w->buffer, w->buffer_size, 0);

	if (n == 0)
		fail("the connection was closed before its reply was whole", 0);
	if (n < 0 && errno != EAGAIN)
		fail("recv", errno);
	return n < 0 ? 0 : (size_t)n;
}

static void conn_receive_reply(struct worker *w, struct conn *c)
{
	size_t n = conn_receive(w, c);

	if (n > w->load->message - c->received ||
	    memcmp(w->buffer, w->message + c->received, n) != 0)
		fail("the reply is not what was sent", 0);
	c->received += n;
	if (c->received == w->load->message)
		conn_replied(w, c);
}

static void conn_send_bulk(struct worker *w, struct conn *c)
{
	ssize_t n = send(c->fd, w->buffer, w->buffer_size, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN)
		fail("send", errno);
	if (n > 0)
		load_count(w->load, (uint64_t)n);
}

static void conn_on_event(struct worker *w, struct conn *c, uint32_t events)
{
	if (!c->opened) {
		conn_send_first(w, c);
		return;
	}
	if (w->load->workload != LOAD_BULK) {
		conn_receive_reply(w, c);
		return;
	}
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		load_count(w->load, conn_receive(w, c));
	if (events & EPOLLOUT)
		conn_send_bulk(w, c);
}

static bool worker_done(const struct worker *w)
{
	if (w->load->workload == LOAD_IDLE)
		return w->n_settled == w->n_conns;
	if (w->load->measure == 0)
		return w->n_open == 0;
	return atomic_load_explicit(&w->load->phase, memory_order_relaxed) == LOAD_DONE;
}

static void worker_init(struct worker *w, struct load *l, unsigned index)
{
	bool bulk = l->workload == LOAD_BULK;

	w->load = l;
	w->n_conns = l->connections / l->threads + (index < l->connections % l->threads);
	w->conns = calloc(w->n_conns + 1, sizeof *w->conns);
	w->first_size = bulk ? 1 : l->message;
	w->message = malloc(LOAD_MESSAGE_MAX);
	w->buffer_size = bulk ? BULK_CHUNK : LOAD_MESSAGE_MAX;
	w->buffer = calloc(1, w->buffer_size);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->conns == NULL || w->message == NULL || w->buffer == NULL || w->epoll < 0)
		fail("out of memory or file descriptors", 0);
	for (size_t i = 0; i < LOAD_MESSAGE_MAX; i++)
		w->message[i] = (uint8_t)(i * 31);
	w->message[0] = (uint8_t)l->role;
	make_nlb_tlvs(w->nlb_tlvs);
}

void load_worker_run(struct load *l, unsigned index, struct histogram *latencies)
{
	struct worker w = { .latencies = latencies };
	struct epoll_event events[EVENTS_MAX];
	unsigned at_once;

	worker_init(&w, l, index);
	at_once = w.n_conns;
	if (l->workload == LOAD_IDLE && at_once > LOAD_SETUP_MAX)
		at_once = LOAD_SETUP_MAX;
	for (unsigned i = 0; i < at_once; i++)
		conn_start(&w, &w.conns[i]);
	while (!worker_done(&w)) {
		int n = epoll_wait(w.epoll, events, EVENTS_MAX, WAIT_MS);

		for (int i = 0; i < n; i++)
			conn_on_event(&w, events[i].data.ptr, events[i].events);
		if (index == 0)
			load_tick(l, load_now());
	}
	/* What is still open closes with the program: the window is closed. */
	close(w.epoll);
	free(w.conns);
	free(w.message);
	free(w.buffer);
}
