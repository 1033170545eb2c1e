/* SPDX-License-Identifier: MIT */
/* The first state of a session: its PROXY header, or what stands in its place. */
#ifndef SESSION_HEADER_H
#define SESSION_HEADER_H

#include <stddef.h>
#include <stdint.h>

struct session;

/* Read what has come, and go on with the session if that makes a header: it is refused, or it has left
 * SESSION_HEADER. The peer is trusted. */
void session_header_read(struct session *s);

/* No header: the peer is its own client. @payload (borrowed) is what has been read of it. */
void session_header_skip(struct session *s, const uint8_t *payload, size_t size);

/* The peer is not trusted: refuse it before a byte of it is read. */
void session_header_refuse_untrusted(struct session *s);

#endif
