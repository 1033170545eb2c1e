/* SPDX-License-Identifier: MIT */
/* How a connection can end: one name, the same in log lines and metrics (contract: "Outcomes"). */
#ifndef OUTCOME_H
#define OUTCOME_H

#include <stdbool.h>

/* X(name, refused): refused connections never reached relaying, and are logged as warnings. */
#define OUTCOME_MAP(X)                                                                      \
	X(probe, 0)            /* closed without a byte: a TCP health check */              \
	X(untrusted_source, 1) /* the peer is not in trusted_proxies */                     \
	X(header_timeout, 1)                                                                \
	X(header_missing, 1) /* the first bytes are no header */                            \
	X(header_malformed, 1)                                                              \
	X(header_too_long, 1)                                                               \
	X(header_crc, 1)                                                                    \
	X(header_version, 1) /* a version that `versions` does not list, or none we know */ \
	X(client_address, 1) /* a loopback or unspecified source */                         \
	X(client_denied, 1)                                                                 \
	X(client_limit, 1)                                                                  \
	X(listener_limit, 1)                                                                \
	X(closed_in_header, 1)                                                              \
	X(family_mismatch, 1)                                                               \
	X(bind_failed, 1)                                                                   \
	X(upstream_refused, 1)                                                              \
	X(upstream_timeout, 1)                                                              \
	X(upstream_error, 1)                                                                \
	X(finished, 0) /* both sides ended in order */                                      \
	X(client_reset, 0)                                                                  \
	X(upstream_reset, 0)                                                                \
	X(idle_timeout, 0)                                                                  \
	X(shutdown, 0) /* still open when shutdown_timeout_ms had passed */

enum outcome {
#define X(name, refused) OUTCOME_##name,
	OUTCOME_MAP(X)
#undef X
	/* must be last */
	OUTCOME_COUNT
};

const char *outcome_name(enum outcome o);

/* Did the connection never reach relaying, though it was meant to? */
bool outcome_is_refusal(enum outcome o);

#endif
