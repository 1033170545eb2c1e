/* SPDX-License-Identifier: MIT */
/* Listening sockets that were there before us: from systemd (socket activation), or from the unproxy that we replace
 * (handover.h). Both pass them as sd_listen_fds(3) has it: LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES. */
#ifndef INHERITED_SOCKET_H
#define INHERITED_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bug.h"

struct endpoint;
struct inherited_socket;
struct log_buffer;

#define INHERITED_SOCKET_ERROR_MAX 256

/* The name of a unix socket whose file its owner may remove; files of others are theirs (LISTEN_FDNAMES). */
#define INHERITED_SOCKET_OWN "unproxy-own"

struct inherited_sockets {
	struct inherited_socket *list; /* ours */
	size_t count;                  /* of those nobody has claimed */
};

/* What one endpoint gets. */
struct inherited_claim {
	int *fds;        /* the caller's to close, and to free */
	unsigned count;  /* 0: there is none; otherwise at least one for each worker */
	bool file_stays; /* it is a unix socket of somebody else's: do not remove its file */
};

/* Take the sockets that were passed, and the variables out of the environment. Before anything else is opened or a
 * thread started. Returns 0, also when there are none; or a negative errno with the reason in @reterr. */
int inherited_sockets_take(struct inherited_sockets *ret,
			   char reterr[static INHERITED_SOCKET_ERROR_MAX]) MUST_CHECK;

/* All that are bound to the place of @e, listening and with the options that ours have. Port 0 stands for the first
 * port at that IP, so let endpoints with a port claim before. If there are fewer than @workers, duplicates fill up:
 * fd number i is for worker i modulo @workers, and none may be closed while others serve, for it would lose what waits
 * in it. Returns 0 or a negative errno with nothing claimed. */
int inherited_sockets_claim(struct inherited_sockets *s, const struct endpoint *e, unsigned workers,
			    struct inherited_claim *ret) MUST_CHECK;

/* Close what nobody claimed, and say so in @log (unless NULL). Legal on a zeroed one. */
void inherited_sockets_fini(struct inherited_sockets *s, struct log_buffer *log);

#endif
