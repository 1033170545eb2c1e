/* SPDX-License-Identifier: MIT */
/* The access-log line of a session. */
#ifndef SESSION_LOG_H
#define SESSION_LOG_H

#include <stdbool.h>

#include "obs/outcome.h"

struct session;

/* Would session_log() write this outcome? */
bool session_log_wanted(const struct session *s, enum outcome outcome);

/* Write the line. Both sockets are still open. */
void session_log(const struct session *s, enum outcome outcome);

#endif
