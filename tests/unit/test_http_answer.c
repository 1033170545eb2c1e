/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/http_answer.h"
#include "base/strbuf.h"

#define NOW 784111777 /* the example of RFC 9110, section 5.6.7 */

static void test_a_head_tells_what_follows(void **state)
{
	char text[HTTP_HEAD_MAX];
	struct strbuf out;

	(void)state;
	strbuf_init(&out, text, sizeof text);
	http_answer_head(&out, HTTP_OK, "text/plain", 1234, NOW);
	assert_string_equal(text, "HTTP/1.1 200 OK\r\n"
				  "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
				  "Content-Type: text/plain\r\n"
				  "Content-Length: 1234\r\n"
				  "Cache-Control: no-store\r\n"
				  "Connection: close\r\n"
				  "\r\n");
}

static void test_a_method_that_is_refused_comes_with_those_that_are_not(void **state)
{
	char text[HTTP_HEAD_MAX];
	struct strbuf out;

	(void)state;
	strbuf_init(&out, text, sizeof text);
	http_answer_head(&out, HTTP_METHOD_NOT_ALLOWED, HTTP_JSON, 0, NOW);
	assert_string_equal(text, "HTTP/1.1 405 Method Not Allowed\r\n"
				  "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
				  "Content-Type: application/json\r\n"
				  "Content-Length: 0\r\n"
				  "Cache-Control: no-store\r\n"
				  "Connection: close\r\n"
				  "Allow: GET, HEAD\r\n"
				  "\r\n");
}

static void test_there_is_room_for_the_longest(void **state)
{
	static const char type[] =
	    "text/plain; version=0.0.4; charset=utf-8; and some more; 64 byte";
	char text[HTTP_HEAD_MAX];

	(void)state;
	assert_int_equal(sizeof type - 1, 64);
#define X(name, code, phrase)                                                      \
	{                                                                          \
		struct strbuf out;                                                 \
                                                                                   \
		strbuf_init(&out, text, sizeof text);                              \
		http_answer_head(&out, HTTP_##name, type, SIZE_MAX, 253402300799); \
		assert_false(out.cut);                                             \
		assert_string_equal(http_status_phrase(HTTP_##name), phrase);      \
	}
	HTTP_STATUS_MAP(X)
#undef X
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_head_tells_what_follows),
		cmocka_unit_test(test_a_method_that_is_refused_comes_with_those_that_are_not),
		cmocka_unit_test(test_there_is_room_for_the_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
