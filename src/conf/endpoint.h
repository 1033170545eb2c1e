/* SPDX-License-Identifier: MIT */
/* A place to listen on or connect to, as configured: "ADDR:PORT", "HOST:PORT" or "unix:/path". */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bug.h"

enum endpoint_kind {
	ENDPOINT_IP,
	ENDPOINT_UNIX,
	ENDPOINT_NAME, /* to be resolved */
};

struct endpoint {
	enum endpoint_kind kind;
	struct address ip; /* ENDPOINT_IP */
	char *path;        /* ENDPOINT_UNIX: at most 107 bytes; otherwise NULL */
	char *host;        /* ENDPOINT_NAME; otherwise NULL */
	uint16_t port;     /* ENDPOINT_NAME */
	char *text;        /* as it is written in logs */
};

#define ENDPOINT_ERROR_MAX 160

/* Returns 0, -ENOMEM, or -EINVAL with the reason in @reterr (it completes `"TEXT": …`); @ret is
 * untouched on failure. Release with endpoint_fini(). Names are refused unless @names. */
int endpoint_parse(const char *text, bool names, struct endpoint *ret,
		   char reterr[static ENDPOINT_ERROR_MAX]) MUST_CHECK;

/* Legal on a zeroed endpoint, and twice. */
void endpoint_fini(struct endpoint *e);

#endif
