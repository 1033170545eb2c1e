/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "lib/test_fault.h"
#include "loop/session_fixture.h"
#include "server/page.h"
#include "server/page_connections.h"
#include "session/session.h"

/* The page of one worker, parsed; the caller deletes it. */
static cJSON *render(struct session_fixture *f)
{
	struct connections_part part;
	struct page page;
	cJSON *json;

	connections_part_write(&f->env, &part);
	page_connections(&part, 1, &page);
	connections_part_fini(&part);
	assert_int_equal(page.status, HTTP_OK);
	assert_string_equal(page.type, HTTP_JSON);
	assert_int_equal(page.size, strlen(page.body));
	json = cJSON_Parse(page.body);
	assert_non_null(json);
	free(page.body);
	return json;
}

static const cJSON *member(const cJSON *json, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(json, key);
}

static const char *text(const cJSON *json, const char *key)
{
	return cJSON_GetStringValue(member(json, key));
}

static int number(const cJSON *json, const char *key)
{
	assert_true(cJSON_IsNumber(member(json, key)));
	return member(json, key)->valueint;
}

/* The only connection of the page. */
static const cJSON *only(const cJSON *page)
{
	assert_int_equal(cJSON_GetArraySize(member(page, "connections")), 1);
	return member(page, "connections")->child;
}

static void test_without_connections_the_page_is_empty(void **state)
{
	struct session_fixture *f = *state;
	cJSON *page;

	session_fixture_serve(f, NULL, "");
	page = render(f);
	assert_int_equal(number(page, "total"), 0);
	assert_true(cJSON_IsFalse(member(page, "truncated")));
	assert_int_equal(cJSON_GetArraySize(member(page, "connections")), 0);
	cJSON_Delete(page);
}

static void test_a_connection_is_told_as_in_the_access_log(void **state)
{
	struct session_fixture *f = *state;
	char name[TEST_PEER_NAME_MAX];
	const cJSON *c;
	cJSON *page;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER "hello");
	test_peer_expect_text(&f->upstream, "hello");
	page = render(f);
	assert_int_equal(number(page, "total"), 1);
	c = only(page);
	assert_int_equal(number(c, "id"), 1);
	assert_string_equal(text(c, "listener"), f->config->listeners[0].name);
	assert_string_equal(text(c, "state"), "relay");
	test_peer_name(&f->client, name);
	assert_string_equal(text(c, "peer"), name);
	assert_string_equal(text(c, "client"), CLIENT);
	assert_string_equal(text(c, "destination"), DESTINATION);
	assert_string_equal(text(c, "command"), "PROXY");
	assert_int_equal(number(c, "version"), 1);
	test_peer_name(&f->app, name);
	assert_string_equal(text(c, "upstream"), name);
	assert_true(cJSON_IsFalse(member(c, "transparent")));
	assert_int_equal(number(c, "bytes_in"), 5);
	assert_int_equal(number(c, "bytes_out"), 0);
	assert_in_range(number(c, "duration_ms"), 0, 60000);
	cJSON_Delete(page);
	session_fixture_finish(f);
}

/* What is not known yet is left out, as in the access log. */
static void test_a_connection_without_a_header_has_little_to_tell(void **state)
{
	struct session_fixture *f = *state;
	const cJSON *c;
	cJSON *page;

	session_fixture_serve(f, NULL, "");
	session_fixture_open(f);
	page = render(f);
	c = only(page);
	assert_string_equal(text(c, "state"), "header");
	assert_string_equal(text(c, "command"), "NONE");
	assert_null(member(c, "client"));
	assert_null(member(c, "destination"));
	assert_null(member(c, "upstream"));
	cJSON_Delete(page);
	test_peer_close(&f->client);
	session_fixture_expect(f, "probe");
}

static void test_an_upstream_may_be_a_unix_socket(void **state)
{
	struct session_fixture *f = *state;
	char upstream[128];
	cJSON *page;

	test_peer_close(&f->app);
	test_peer_listen(&f->app, &f->loop, f->unix_text, 8);
	snprintf(upstream, sizeof upstream, "\"%s\"", f->unix_text);
	session_fixture_serve(f, upstream, "");
	session_fixture_relay(f, HEADER);
	page = render(f);
	assert_string_equal(text(only(page), "upstream"), f->unix_text);
	cJSON_Delete(page);
	session_fixture_finish(f);
}

/* The parts of workers stand one behind the other, whatever is missing. */
static void test_parts_are_joined(void **state)
{
	struct connections_part parts[] = {
		{ .total = 0, .shown = 0, .text = NULL, .size = 0 },
		{ .total = 2, .shown = 2, .text = (char[]){ "1,2" }, .size = 3 },
		{ .total = 5, .shown = 0, .text = NULL, .size = 0 }, /* there was no memory */
		{ .total = 0, .shown = 0, .text = (char[]){ "" }, .size = 0 },
		{ .total = 1, .shown = 1, .text = (char[]){ "3" }, .size = 1 },
	};
	struct page page;

	(void)state;
	page_connections(parts, 5, &page);
	assert_string_equal(page.body,
			    "{\"total\":8,\"truncated\":true,\"connections\":[1,2,3]}\n");
	free(page.body);
	page_connections(parts, 2, &page);
	assert_string_equal(page.body, "{\"total\":2,\"truncated\":false,\"connections\":[1,2]}\n");
	free(page.body);
}

static void test_more_connections_than_are_shown_are_counted(void **state)
{
	struct session_fixture *f = *state;
	unsigned count = PAGE_CONNECTIONS_MAX + 5;
	cJSON *page;

	session_fixture_serve(f, NULL, "");
	for (unsigned i = 0; i < count; i++) {
		struct address peer = loopback_address(1, 1000 + i);
		int fds[2];

		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
		assert_int_equal(session_start(f->service, fds[0], &peer), 0);
		close(fds[1]);
	}
	page = render(f);
	assert_int_equal(number(page, "total"), count);
	assert_true(cJSON_IsTrue(member(page, "truncated")));
	assert_int_equal(cJSON_GetArraySize(member(page, "connections")), PAGE_CONNECTIONS_MAX);
	assert_int_equal(number(member(page, "connections")->child, "id"), 1); /* the oldest */
	cJSON_Delete(page);
	for (unsigned i = 0; i < count; i++)
		session_fixture_expect(f, "probe");
}

static void test_without_memory_connections_are_only_counted(void **state)
{
	struct session_fixture *f = *state;
	struct connections_part part;
	struct page page;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER);
	fault_arm(0);
	connections_part_write(&f->env, &part);
	assert_true(fault_disarm());
	page_connections(&part, 1, &page);
	assert_string_equal(page.body, "{\"total\":1,\"truncated\":true,\"connections\":[]}\n");
	free(page.body);
	connections_part_fini(&part);
	session_fixture_finish(f);
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, session_fixture_setup, session_fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_without_connections_the_page_is_empty),
		TEST(test_a_connection_is_told_as_in_the_access_log),
		TEST(test_a_connection_without_a_header_has_little_to_tell),
		TEST(test_an_upstream_may_be_a_unix_socket),
		TEST(test_parts_are_joined),
		TEST(test_more_connections_than_are_shown_are_counted),
		TEST(test_without_memory_connections_are_only_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
