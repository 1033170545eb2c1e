/* SPDX-License-Identifier: MIT */
/* The header that the upstream gets: `send_proxy`. */
#ifndef SESSION_SEND_PROXY_H
#define SESSION_SEND_PROXY_H

#include "base/bug.h"

struct session;
struct session_input;

/* Write the header of s->client, and hold it for the upstream with the payload behind it. Returns 0 or -ENOMEM. */
int session_hold_header(struct session *s, const struct session_input *in) MUST_CHECK;

#endif
