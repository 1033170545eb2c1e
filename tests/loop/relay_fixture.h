/* SPDX-License-Identifier: MIT */
/* A relay between two scripted peers, and an owner that does what a session does: note events, pump, and
 * close both sockets at the end. */
#ifndef RELAY_FIXTURE_H
#define RELAY_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "lib/test_peer.h"
#include "session/poller.h"
#include "session/relay.h"

/* What a case runs on. */
struct relay_variant {
	const char *name;
	bool tcp; /* loopback; otherwise socketpair(2) */
	bool
	    splicing; /* from the first byte, if there are pipes; otherwise when it proves to be bulk */
	unsigned pipes; /* 0: copy */
};

struct relay_fixture {
	const struct relay_variant *variant;
	uv_loop_t loop;
	struct poller poller;
	struct relay_shared shared;
	struct relay relay;
	struct poller_watch watch[2]; /* by enum relay_end */
	struct test_peer client;
	struct test_peer upstream;
	int fd[2];      /* the relay's sockets; -1: closed */
	bool only_note; /* the owner does not relay yet */
	enum relay_status status;
	unsigned fds_before;
};

/* cmocka's; *@state is the struct relay_variant, then the fixture. */
int relay_fixture_setup(void **state);
int relay_fixture_teardown(void **state);

/* Pump as if an event had come. */
void relay_fixture_pump(struct relay_fixture *f);

/* Run until the relay is over, which must be as @status says. */
void relay_fixture_expect(struct relay_fixture *f, enum relay_status status);

/* Give the four sockets room for so many bytes, so that nothing blocks. Needs CAP_NET_ADMIN where that is more than
 * net.core.[rw]mem_max. Returns false if that cannot be. */
bool relay_fixture_widen(struct relay_fixture *f, int bytes);

/* Reset the connection from the peer's side: a unix socket needs an unread byte for that, and gets one from
 * the other peer. */
void relay_fixture_reset(struct relay_fixture *f, enum relay_end end);

/* Bytes that differ at every place of a stream: @size of them, @at bytes from its start. */
void stream_fill(uint8_t *out, size_t size, uint64_t at);

/* Send until the relay takes no more, because nobody reads at the other end. Returns the bytes. */
size_t relay_fixture_send_until_stalled(struct relay_fixture *f, const struct test_peer *from);

/* Receive @size bytes of the stream from its byte @at on. */
void relay_fixture_expect_stream(const struct test_peer *to, size_t size, uint64_t at);

#endif
