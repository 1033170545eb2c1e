/* SPDX-License-Identifier: MIT */
/* The access-log line of a session. */
#ifndef SESSION_LOG_H
#define SESSION_LOG_H

#include <stdbool.h>

#include "base/address.h"
#include "obs/outcome.h"

struct session;

/* Would session_log() write this outcome? */
bool session_log_wanted(const struct session *s, enum outcome outcome);

/* Where the session went, or NULL; @buffer holds the text if it is not the configuration's own. */
const char *session_upstream_text(const struct session *s, char buffer[static ADDRESS_TEXT_MAX]);

/* Write the line. Both sockets are still open. */
void session_log(const struct session *s, enum outcome outcome);

#endif
