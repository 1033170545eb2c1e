/* SPDX-License-Identifier: MIT */
/* What this process may do beyond others: no more than its work takes. */
#ifndef PRIVILEGE_H
#define PRIVILEGE_H

#include <stdbool.h>

#include "base/bug.h"

struct log_buffer;

#define PRIVILEGE_ERROR_MAX 256

/* Put capabilities of the program's file into effect. For the start, before any thread. */
void privilege_raise(void);

/* Become @user (a name or a number) if we are root, keep nothing but what @transparent mode takes, and forbid to get
 * more. For when what needs more is open, and before threads that serve clients; other threads of ours keep
 * no capability if we were root. "root" changes nothing. What is worth a warning goes to @log, unless NULL.
 * Returns 0; or a negative errno with the reason in @reterr. */
int privilege_drop(const char *user, bool transparent, struct log_buffer *log,
		   char reterr[static PRIVILEGE_ERROR_MAX]) MUST_CHECK;

#endif
