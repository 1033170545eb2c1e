/* SPDX-License-Identifier: MIT */
#include "admin/http_answer.h"

#include <time.h>

#include "base/strbuf.h"

const char *http_status_phrase(enum http_status status)
{
	switch (status) {
#define X(name, code, phrase) \
	case HTTP_##name:     \
		return phrase;
		HTTP_STATUS_MAP(X)
#undef X
	}
	return "";
}

/* As an IMF-fixdate (RFC 9110, section 5.6.7); the program never leaves the C locale. */
static void put_date(struct strbuf *out, int64_t now)
{
	char text[64];
	time_t seconds = now;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	strbuf_puts(out, text);
}

void http_answer_head(struct strbuf *out, enum http_status status, const char *type, size_t size,
		      int64_t now)
{
	strbuf_printf(out, "HTTP/1.1 %d %s\r\nDate: ", (int)status, http_status_phrase(status));
	put_date(out, now);
	strbuf_printf(out,
		      "\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
		      "Connection: close\r\n%s\r\n",
		      type, size, status == HTTP_METHOD_NOT_ALLOWED ? "Allow: GET, HEAD\r\n" : "");
}
