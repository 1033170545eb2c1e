/* SPDX-License-Identifier: MIT */
/* Two connected sockets and the bytes between them, both ways.
 *
 * Knows nothing of sessions, headers or deadlines: its owner reports events and calls relay_pump(). */
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bug.h"
#include "session/relay_pipe.h"

/* What one read takes, and thereby the most that is ever held a direction in memory of ours, but for a preface [bytes]. A
 * direction that is spliced has up to RELAY_PIPE_SIZE in its pipe instead. */
#define RELAY_CHUNK ((size_t)64 * 1024)

enum relay_end {
	RELAY_CLIENT,
	RELAY_UPSTREAM,
};

/* One of the two sockets, as far as its last events and calls told. */
struct relay_side {
	int fd;        /* -1: none yet */
	bool readable; /* a read may give something */
	bool writable; /* a write may take something */
	bool hung_up;  /* FIN or RST has come: read on to the end, no further event will say so */
	bool failed;   /* the socket has an error pending: RST, or keepalive got no answer */
};

/* One direction, named after the end that is read. Bytes in flight are held or piped, never both. */
struct relay_flow {
	uint8_t *held; /* read, not yet taken by the other side; owned, NULL when there is none */
	uint32_t held_at;        /* first byte of it still to be written */
	uint32_t held_size;      /* [bytes] */
	struct relay_pipe *pipe; /* lent by the pool while splicing; NULL: none */
	uint32_t piped;          /* in the pipe [bytes] */
	uint8_t streak;          /* reads in a row that speak for the other way of moving bytes */
	bool splicing;           /* the direction is bulk */
	bool ended;              /* the end we read has sent FIN */
	bool passed_on;          /* and we have passed it on */
	int64_t bytes; /* written to the other side; below 0: of a preface, still to come */
};

struct relay {
	struct relay_side side[2]; /* by enum relay_end */
	struct relay_flow flow[2]; /* flow[RELAY_CLIENT] is client to upstream */
};

enum relay_status {
	RELAY_WAIT,         /* wait for events */
	RELAY_MORE,         /* there is more to do, but others should have a turn first */
	RELAY_FINISHED,     /* both directions ended in order, and all is written */
	RELAY_CLIENT_RESET, /* that end reset the connection, or it broke */
	RELAY_UPSTREAM_RESET,
};

/* What the relays of a worker share. */
struct relay_shared {
	uint8_t *scratch; /* RELAY_CHUNK bytes of nobody's in particular */
	struct relay_pipes pipes;
};

/* No sockets yet. */
void relay_init(struct relay *r);

/* Frees what is held; the sockets stay the caller's. */
void relay_fini(struct relay *r, struct relay_shared *shared);

/* A new socket: nothing is known of it but that it may be written to. */
void relay_set_socket(struct relay *r, enum relay_end end, int fd);

/* epoll_wait(2) reported @events for that end. */
void relay_note_events(struct relay *r, enum relay_end end, uint32_t events);

/* How many bytes of that end the other side has got. */
static inline uint64_t relay_bytes(const struct relay *r, enum relay_end end)
{
	int64_t bytes = r->flow[end].bytes;

	return bytes > 0 ? (uint64_t)bytes : 0;
}

/* Write to the upstream what came from the client together with the header, ahead of everything that
 * relay_pump() will move. What the socket does not take now is copied and held; at most RELAY_CHUNK bytes. If something is
 * held already, @size is 0 and that is written.
 * Returns the bytes written, or a negative errno: of send(2), or -ENOMEM. */
int64_t relay_send_first(struct relay *r, const uint8_t *data, size_t size) MUST_CHECK;

/* The same without trying to write: there is no upstream yet. Returns 0 or -ENOMEM. */
int relay_hold_first(struct relay *r, const uint8_t *data, size_t size) MUST_CHECK;

/* The same, but the first @preface bytes did not come from the client, and do not count; and there is no other limit to
 * @size. Takes @data, which is malloc(3)'s. */
void relay_hold_preface(struct relay *r, uint8_t *data, size_t size, size_t preface);

/* Move what can be moved now. */
enum relay_status relay_pump(struct relay *r, struct relay_shared *shared) MUST_CHECK;

#endif
