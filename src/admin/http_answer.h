/* SPDX-License-Identifier: MIT */
/* What an answer begins with: the status line and the header fields (RFC 9112, sections 4 and 5). */
#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include <stddef.h>
#include <stdint.h>

struct strbuf;

/* X(name, code, phrase): RFC 9110, section 15, and RFC 6585, section 5. */
#define HTTP_STATUS_MAP(X)                                          \
	X(OK, 200, "OK")                                            \
	X(BAD_REQUEST, 400, "Bad Request")                          \
	X(NOT_FOUND, 404, "Not Found")                              \
	X(METHOD_NOT_ALLOWED, 405, "Method Not Allowed")            \
	X(CONTENT_TOO_LARGE, 413, "Content Too Large")              \
	X(URI_TOO_LONG, 414, "URI Too Long")                        \
	X(FIELDS_TOO_LARGE, 431, "Request Header Fields Too Large") \
	X(INTERNAL_ERROR, 500, "Internal Server Error")             \
	X(UNAVAILABLE, 503, "Service Unavailable")                  \
	X(BAD_VERSION, 505, "HTTP Version Not Supported")

enum http_status {
#define X(name, code, phrase) HTTP_##name = code,
	HTTP_STATUS_MAP(X)
#undef X
};

/* "Not Found" */
const char *http_status_phrase(enum http_status status);

#define HTTP_PLAIN_TEXT "text/plain; charset=utf-8"
#define HTTP_JSON       "application/json"

/* Longest head of an answer whose type is at most 64 bytes, with a terminating zero. */
#define HTTP_HEAD_MAX 384

/* Write the head of an answer of @size bytes: nobody may keep it, and the connection ends with it. @now is in
 * seconds since the epoch. */
void http_answer_head(struct strbuf *out, enum http_status status, const char *type, size_t size,
		      int64_t now);

#endif
