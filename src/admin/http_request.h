/* SPDX-License-Identifier: MIT */
/* A request for a page, in HTTP/1.0 or 1.1 (RFC 9112): GET or HEAD, without a body. Bytes in, values out. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "admin/http_answer.h"
#include "base/bug.h"
#include "wire/proxy_header.h"

/* No request is longer [bytes]. */
#define HTTP_REQUEST_MAX 8192

/* No page has a longer path [bytes]. */
#define HTTP_PATH_MAX 63

struct http_request {
	size_t parsed;                /* whole lines that are understood [bytes] */
	size_t searched;              /* without finding the end of the next line [bytes] */
	bool begun;                   /* the request line has come */
	bool head;                    /* HEAD: the answer has no body */
	bool has_length;              /* there was a Content-Length */
	unsigned minor;               /* of the version: HTTP/1.minor */
	unsigned hosts;               /* Host fields */
	char path[HTTP_PATH_MAX + 1]; /* without the query; begins with '/' */
};

void http_request_init(struct http_request *r);

/* Go on with a request of which the @size bytes at @data have come: what the last call was given, and more behind it.
 * Each byte is looked at once.
 *
 * PARSE_DONE: r->path and r->head are set, r->parsed bytes were the request; what follows is none of it.
 * PARSE_MORE: call again with more; @size is less than HTTP_REQUEST_MAX.
 * PARSE_BAD:  *@reterr says what to answer. Found as early as the bytes allow. */
enum parse http_request_parse(struct http_request *r, const char *data, size_t size,
			      enum http_status *reterr) MUST_CHECK;

#endif
