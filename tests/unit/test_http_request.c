/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/http_request.h"
#include "lib/exact_copy.h"

#define HOST "Host: a\r\n"
#define END  "\r\n\r\n"

struct good_request {
	const char *text;
	const char *path;
	bool head;
};

static const struct good_request good_requests[] = {
	{ "GET / HTTP/1.1\r\n" HOST "\r\n", "/", false },
	{ "GET /metrics HTTP/1.1\r\n" HOST "\r\n", "/metrics", false },
	{ "HEAD /metrics HTTP/1.1\r\n" HOST "\r\n", "/metrics", true },
	{ "GET /metrics HTTP/1.0\r\n\r\n", "/metrics", false },
	{ "GET /metrics HTTP/1.0\r\n" HOST "\r\n", "/metrics", false },
	{ "GET /metrics HTTP/1.2\r\n" HOST "\r\n", "/metrics", false },
	{ "GET /metrics?name=value HTTP/1.0\r\n\r\n", "/metrics", false },
	{ "GET /metrics? HTTP/1.0\r\n\r\n", "/metrics", false },
	{ "GET /a?b?c/d HTTP/1.0\r\n\r\n", "/a", false },
	{ "GET //host/page HTTP/1.0\r\n\r\n", "//host/page", false },
	{ "GET http://host:80/metrics HTTP/1.1\r\n" HOST "\r\n", "/metrics", false },
	{ "GET HTTPS://host/metrics?a=/b HTTP/1.0\r\n\r\n", "/metrics", false },
	{ "GET http://host HTTP/1.0\r\n\r\n", "/", false },
	{ "GET http://host?a=/b HTTP/1.0\r\n\r\n", "/", false },
	{ "GET http://[2001:db8::1]:80/ HTTP/1.0\r\n\r\n", "/", false },
	{ "GET / HTTP/1.1\nHost: a\n\n", "/", false },
	{ "\r\n\r\n\nGET / HTTP/1.0" END, "/", false },
	{ "GET / HTTP/1.0\r\nContent-Length: 0" END, "/", false },
	{ "GET / HTTP/1.0\r\ncontent-length:\t000 \t" END, "/", false },
	{ "GET / HTTP/1.0\r\nEmpty:\r\nX-Bytes: \x80\xff\t \r\n\r\n", "/", false },
	{ "GET / HTTP/1.0\r\nContent-Lengthy: 5\r\nContent: 5" END, "/", false },
	{ "GET / HTTP/1.1\r\nHOST:" END, "/", false },
};

struct bad_request {
	const char *text;
	enum http_status status;
};

static const struct bad_request bad_requests[] = {
	/* the request line */
	{ "POST / HTTP/1.1\r\n", HTTP_METHOD_NOT_ALLOWED },
	{ "get / HTTP/1.1\r\n", HTTP_METHOD_NOT_ALLOWED },
	{ "GETS / HTTP/1.1\r\n", HTTP_METHOD_NOT_ALLOWED },
	{ "OPTIONS * HTTP/1.1\r\n", HTTP_METHOD_NOT_ALLOWED },
	{ "CONNECT a:80 HTTP/1.1\r\n", HTTP_METHOD_NOT_ALLOWED },
	{ "PRI * HTTP/2.0\r\n", HTTP_BAD_VERSION },
	{ "GET / HTTP/0.9\r\n", HTTP_BAD_VERSION },
	{ "GET / HTTP/3.0\r\n", HTTP_BAD_VERSION },
	{ "GET / http/1.1\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.10\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/x.1\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1,1\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.x\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1 \r\n", HTTP_BAD_REQUEST },
	{ "GET / \r\n", HTTP_BAD_REQUEST },
	{ "GET /\r\n", HTTP_BAD_REQUEST },
	{ "GET\r\n", HTTP_BAD_REQUEST },
	{ "GET  / HTTP/1.1\r\n", HTTP_BAD_REQUEST },
	{ " GET / HTTP/1.1\r\n", HTTP_BAD_REQUEST },
	{ "G(T / HTTP/1.1\r\n", HTTP_BAD_REQUEST },
	{ "GET * HTTP/1.1\r\n", HTTP_BAD_REQUEST },
	{ "GET metrics HTTP/1.1\r\n", HTTP_BAD_REQUEST },
	{ "GET ftp://host/ HTTP/1.1\r\n", HTTP_BAD_REQUEST },
	{ "GET http:/host HTTP/1.1\r\n", HTTP_BAD_REQUEST },
	{ "GET http:// HTTP/1.1\r\n", HTTP_BAD_REQUEST },
	{ "GET /\t", HTTP_BAD_REQUEST },
	{ "GET /\x80", HTTP_BAD_REQUEST },
	{ "GET /\x7f", HTTP_BAD_REQUEST },
	{ "GET /\rx", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\r", HTTP_BAD_REQUEST },
	/* who speaks something else */
	{ "\x16", HTTP_BAD_REQUEST },
	{ "SSH-2.0-OpenSSH_9.2\r\n", HTTP_BAD_REQUEST },
	{ "\r\n\x01", HTTP_BAD_REQUEST },
	/* fields */
	{ "GET / HTTP/1.1\r\nHost\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\nHost : a\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n: a\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\nHost: a\r\n\tfolded: b\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\nX: a\x01", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\nX: a\rb", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\nX: \x7f", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\nX: a" END, HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST HOST "\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.0\r\n" HOST HOST "\r\n", HTTP_BAD_REQUEST },
	/* bodies */
	{ "GET / HTTP/1.1\r\nContent-Length: 1\r\n", HTTP_CONTENT_TOO_LARGE },
	{ "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n", HTTP_CONTENT_TOO_LARGE },
	{ "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", HTTP_CONTENT_TOO_LARGE },
	{ "GET / HTTP/1.1\r\nContent-Length:\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\nContent-Length: -1\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\nContent-Length: 0, 0\r\n", HTTP_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n", HTTP_BAD_REQUEST },
};

static enum parse parse_exactly(struct http_request *r, const char *text, size_t size,
				enum http_status *reterr)
{
	uint8_t *exact = exact_copy(text, size);
	enum parse p = http_request_parse(r, (const char *)exact, size, reterr);

	free(exact);
	return p;
}

/* All at once; what follows is none of it. */
static void test_good_requests_are_taken(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_requests); i++) {
		const struct good_request *good = &good_requests[i];
		char text[256];
		struct http_request r;
		enum http_status status;

		strcat(strcpy(text, good->text), "GET / \x01");
		http_request_init(&r);
		assert_int_equal(parse_exactly(&r, text, strlen(text), &status), PARSE_DONE);
		assert_string_equal(r.path, good->path);
		assert_int_equal(r.head, good->head);
		assert_int_equal(r.parsed, strlen(good->text));
	}
}

static void test_good_requests_may_come_byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_requests); i++) {
		const struct good_request *good = &good_requests[i];
		size_t size = strlen(good->text);
		struct http_request r;
		enum http_status status;

		http_request_init(&r);
		for (size_t n = 0; n < size; n++)
			assert_int_equal(parse_exactly(&r, good->text, n, &status), PARSE_MORE);
		assert_int_equal(parse_exactly(&r, good->text, size, &status), PARSE_DONE);
		assert_string_equal(r.path, good->path);
	}
}

/* With the last byte, and not before it. */
static void test_bad_requests_are_refused_at_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_requests); i++) {
		const struct bad_request *bad = &bad_requests[i];
		size_t size = strlen(bad->text);
		enum http_status status = HTTP_OK;
		struct http_request r;

		http_request_init(&r);
		for (size_t n = 0; n < size; n++)
			if (parse_exactly(&r, bad->text, n, &status) != PARSE_MORE)
				fail_msg("refused after %zu bytes: %s", n, bad->text);
		if (parse_exactly(&r, bad->text, size, &status) != PARSE_BAD)
			fail_msg("not refused: %s", bad->text);
		if (status != bad->status)
			fail_msg("%d: %s", (int)status, bad->text);
		http_request_init(&r);
		assert_int_equal(parse_exactly(&r, bad->text, size, &status), PARSE_BAD);
		assert_int_equal(status, bad->status);
	}
}

static void test_a_zero_byte_is_refused(void **state)
{
	static const char text[] = "GET /\0 HTTP/1.0\r\n\r\n";
	enum http_status status;
	struct http_request r;

	(void)state;
	http_request_init(&r);
	assert_int_equal(parse_exactly(&r, text, sizeof text - 1, &status), PARSE_BAD);
	assert_int_equal(status, HTTP_BAD_REQUEST);
}

/* @before and @size bytes 'x', and then @behind. The caller frees. */
static char *padded(const char *before, size_t size, const char *behind)
{
	size_t length = strlen(before);
	char *text = malloc(length + size + strlen(behind) + 1);

	memcpy(text, before, length);
	memset(text + length, 'x', size);
	strcpy(text + length + size, behind);
	return text;
}

static enum parse parse_padded(const char *before, size_t size, const char *behind,
			       enum http_status *reterr)
{
	char *text = padded(before, size, behind);
	struct http_request r;
	enum parse p;

	http_request_init(&r);
	p = parse_exactly(&r, text, strlen(text), reterr);
	free(text);
	return p;
}

static void test_the_longest_request_is_taken(void **state)
{
	static const char before[] = "GET / HTTP/1.0\r\nX: ";
	size_t room = HTTP_REQUEST_MAX - strlen(before) - strlen(END);
	enum http_status status;

	(void)state;
	assert_int_equal(parse_padded(before, room, END, &status), PARSE_DONE);
	assert_int_equal(parse_padded(before, room + 1, END, &status), PARSE_BAD);
	assert_int_equal(status, HTTP_FIELDS_TOO_LARGE);
	assert_int_equal(parse_padded(before, room + strlen(END) - 1, "", &status), PARSE_MORE);
}

static void test_an_endless_request_line_is_refused(void **state)
{
	enum http_status status;

	(void)state;
	assert_int_equal(parse_padded("GET /", HTTP_REQUEST_MAX - 6, "", &status), PARSE_MORE);
	assert_int_equal(parse_padded("GET /", HTTP_REQUEST_MAX - 5, "", &status), PARSE_BAD);
	assert_int_equal(status, HTTP_URI_TOO_LONG);
	assert_int_equal(parse_padded("GET /", 1 << 20, " HTTP/1.0" END, &status), PARSE_BAD);
	assert_int_equal(status, HTTP_URI_TOO_LONG);
}

static void test_a_path_longer_than_any_page_is_not_found(void **state)
{
	enum http_status status;

	(void)state;
	assert_int_equal(parse_padded("GET /", HTTP_PATH_MAX - 1, " HTTP/1.0" END, &status),
			 PARSE_DONE);
	assert_int_equal(parse_padded("GET /", HTTP_PATH_MAX, " HTTP/1.0" END, &status), PARSE_BAD);
	assert_int_equal(status, HTTP_NOT_FOUND);
	assert_int_equal(parse_padded("GET /?", 1000, " HTTP/1.0" END, &status), PARSE_DONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_requests_are_taken),
		cmocka_unit_test(test_good_requests_may_come_byte_by_byte),
		cmocka_unit_test(test_bad_requests_are_refused_at_once),
		cmocka_unit_test(test_a_zero_byte_is_refused),
		cmocka_unit_test(test_the_longest_request_is_taken),
		cmocka_unit_test(test_an_endless_request_line_is_refused),
		cmocka_unit_test(test_a_path_longer_than_any_page_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
