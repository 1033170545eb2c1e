/* SPDX-License-Identifier: MIT */
#include "loop/relay_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_loop.h"

static void close_sockets(struct relay_fixture *f)
{
	for (int end = RELAY_CLIENT; end <= RELAY_UPSTREAM; end++) {
		if (f->fd[end] >= 0)
			close(f->fd[end]);
		f->fd[end] = -1;
	}
}

void relay_fixture_pump(struct relay_fixture *f)
{
	assert_true(f->status == RELAY_WAIT || f->status == RELAY_MORE);
	f->status = relay_pump(&f->relay, &f->shared);
	switch (f->status) {
	case RELAY_WAIT:
		break;
	case RELAY_MORE:
		poller_again(&f->poller, &f->watch[RELAY_CLIENT]);
		break;
	case RELAY_FINISHED:
	case RELAY_CLIENT_RESET:
	case RELAY_UPSTREAM_RESET:
		close_sockets(f);
		break;
	}
}

static void on_event(struct relay_fixture *f, enum relay_end end, uint32_t events)
{
	if (f->fd[end] < 0)
		return; /* closed earlier in this round */
	relay_note_events(&f->relay, end, events);
	if (!f->only_note)
		relay_fixture_pump(f);
}

static void on_client_event(struct poller_watch *w, uint32_t events)
{
	on_event(container_of(w, struct relay_fixture, watch[RELAY_CLIENT]), RELAY_CLIENT, events);
}

static void on_upstream_event(struct poller_watch *w, uint32_t events)
{
	on_event(container_of(w, struct relay_fixture, watch[RELAY_UPSTREAM]), RELAY_UPSTREAM,
		 events);
}

static void open_pair(struct relay_fixture *f, struct test_peer *peer, enum relay_end end)
{
	if (f->variant->tcp)
		test_peer_pair_tcp(peer, &f->loop, &f->fd[end]);
	else
		test_peer_pair_unix(peer, &f->loop, &f->fd[end]);
	relay_set_socket(&f->relay, end, f->fd[end]);
	f->relay.flow[end].splicing = f->variant->splicing;
	assert_int_equal(poller_add(&f->poller, f->fd[end], POLLER_SOCKET, &f->watch[end]), 0);
}

int relay_fixture_setup(void **state)
{
	struct relay_fixture *f = calloc(1, sizeof *f);

	f->variant = *state;
	f->fds_before = test_count_fds();
	test_loop_open(&f->loop);
	assert_int_equal(poller_open(&f->poller, &f->loop), 0);
	f->loop.data = &f->poller;
	poller_watch_init(&f->watch[RELAY_CLIENT], on_client_event);
	poller_watch_init(&f->watch[RELAY_UPSTREAM], on_upstream_event);
	f->shared.scratch = malloc(RELAY_CHUNK); /* exactly, so that ASan sees more */
	relay_pipes_init(&f->shared.pipes, f->variant->pipes);
	relay_init(&f->relay);
	open_pair(f, &f->client, RELAY_CLIENT);
	open_pair(f, &f->upstream, RELAY_UPSTREAM);
	test_loop_settle(&f->loop);
	*state = f;
	return 0;
}

int relay_fixture_teardown(void **state)
{
	struct relay_fixture *f = *state;

	close_sockets(f);
	test_peer_close(&f->client);
	test_peer_close(&f->upstream);
	relay_fini(&f->relay, &f->shared);
	relay_pipes_fini(&f->shared.pipes); /* all of them were given back */
	poller_close(&f->poller);
	test_loop_run_out(&f->loop);
	test_loop_close(&f->loop);
	assert_int_equal(test_count_fds(), f->fds_before);
	free(f->shared.scratch);
	free(f);
	return 0;
}

static bool is_over(void *data)
{
	const struct relay_fixture *f = data;

	return f->status != RELAY_WAIT && f->status != RELAY_MORE;
}

void relay_fixture_expect(struct relay_fixture *f, enum relay_status status)
{
	test_loop_until(&f->loop, is_over, f, "the relay to end");
	assert_int_equal(f->status, status);
}

bool relay_fixture_widen(struct relay_fixture *f, int bytes)
{
	const int fds[] = { f->client.fd, f->fd[RELAY_CLIENT], f->fd[RELAY_UPSTREAM],
			    f->upstream.fd };
	int got = 0;
	socklen_t size = sizeof got;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		setsockopt(fds[i], SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
		assert_int_equal(getsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &got, &size), 0);
		if (got < bytes)
			return false;
	}
	return true;
}

void relay_fixture_reset(struct relay_fixture *f, enum relay_end end)
{
	struct test_peer *broken = end == RELAY_CLIENT ? &f->client : &f->upstream;
	const struct test_peer *other = end == RELAY_CLIENT ? &f->upstream : &f->client;

	if (!f->variant->tcp) {
		test_peer_send_text(other, "!");
		test_loop_until_ready(&f->loop, broken->fd, POLLIN, "a byte");
	}
	test_peer_reset(broken);
}

void stream_fill(uint8_t *out, size_t size, uint64_t at)
{
	for (size_t i = 0; i < size; i++, at++)
		out[i] = (uint8_t)(at * 0x9e3779b97f4a7c15 >> 56);
}

size_t relay_fixture_send_until_stalled(struct relay_fixture *f, const struct test_peer *from)
{
	uint8_t bytes[4096];
	size_t sent = 0;
	bool settled = false; /* and nothing was taken since */

	for (;;) {
		size_t n;

		stream_fill(bytes, sizeof bytes, sent);
		n = test_peer_send_some(from, bytes, sizeof bytes);
		sent += n;
		if (n > 0) {
			settled = false;
			continue;
		}
		if (settled)
			return sent;
		test_loop_settle(&f->loop);
		settled = true;
	}
}

void relay_fixture_expect_stream(const struct test_peer *to, size_t size, uint64_t at)
{
	uint8_t *received = malloc(size);
	uint8_t *expected = malloc(size);

	assert_non_null(received);
	assert_non_null(expected);
	test_peer_receive(to, received, size);
	stream_fill(expected, size, at);
	assert_memory_equal(received, expected, size);
	free(received);
	free(expected);
}
