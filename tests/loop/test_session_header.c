/* SPDX-License-Identifier: MIT */
/* The first state of a session: who may speak, what stands in front of the payload, and what becomes of those
 * who get it wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <signal.h>
#include <string.h>

#include <cmocka.h>

#include "lib/header_vectors.h"
#include "lib/test_loop.h"
#include "loop/session_fixture.h"

/* Refused, and the application has not heard of it. */
static void expect_refused(struct session_fixture *f, const char *outcome)
{
	session_fixture_expect(f, outcome);
	assert_string_equal(session_fixture_text(f, "level"), "warn");
	test_peer_expect_reset(&f->client);
	session_fixture_expect_no_upstream(f);
	assert_int_equal(f->env.count, 0);
}

/* Send @bytes as a client does and expect the outcome. */
static void refuse(struct session_fixture *f, const char *bytes, size_t size, const char *outcome)
{
	session_fixture_connect(f);
	test_peer_send(&f->client, bytes, size);
	session_fixture_start(f);
	expect_refused(f, outcome);
}

/* --- whole headers, in pieces --- */

static void test_the_header_is_stripped_and_the_rest_relayed(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER "hello");
	test_peer_expect_text(&f->upstream, "hello");
	test_peer_send_text(&f->upstream, "good morning");
	test_peer_expect_text(&f->client, "good morning");
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "level"), "info");
	assert_string_equal(session_fixture_text(f, "client"), CLIENT);
	assert_string_equal(session_fixture_text(f, "destination"), DESTINATION);
	assert_string_equal(session_fixture_text(f, "command"), "PROXY");
	assert_int_equal(session_fixture_number(f, "version"), 1);
	assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
	assert_int_equal(session_fixture_number(f, "bytes_out"), 12);
	assert_true(session_fixture_number(f, "header_ms") >= 0);
	assert_true(session_fixture_number(f, "connect_ms") >= 0);
	assert_string_equal(session_fixture_text(f, "reason"), "");
}

static void test_the_peer_and_the_upstream_are_logged(void **state)
{
	struct session_fixture *f = *state;
	char peer[TEST_PEER_NAME_MAX];
	char app[TEST_PEER_NAME_MAX];

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER);
	test_peer_name(&f->client, peer);
	test_peer_name(&f->app, app);
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "peer"), peer);
	assert_string_equal(session_fixture_text(f, "upstream"), app);
}

/* One connection with @header sent in two pieces, each seen by the session on its own. */
static void relay_in_pieces(struct session_fixture *f, const struct good_header *h, size_t first)
{
	session_fixture_connect(f);
	test_peer_send(&f->client, h->bytes, first);
	session_fixture_start(f);
	test_loop_settle(&f->loop);
	if (first < h->size)
		assert_int_equal(session_fixture_session(f)->state, SESSION_HEADER);
	test_peer_send(&f->client, h->bytes + first, h->size - first);
	test_peer_send_text(&f->client, "payload");
	test_peer_shutdown(&f->client);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "payload");
	test_peer_expect_end(&f->upstream);
	test_peer_shutdown(&f->upstream);
	test_peer_expect_end(&f->client);
	session_fixture_expect_none(f);
	test_peer_close(&f->upstream);
	test_peer_close(&f->client);
}

static void test_a_header_may_come_in_any_two_pieces(void **state)
{
	static const char *const names[] = { "v1-tcp4",          "v1-tcp6-longest", "v1-unknown",
					     "v2-tcp4",          "v2-tcp6",         "v2-local",
					     "nlb-health-check", "nlb-privatelink" };
	struct session_fixture *f = *state;
	unsigned found = 0;

	session_fixture_serve(f, NULL, "");
	f->config->log_access = false;
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++) {
		for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
			if (strcmp(good_headers[i].name, names[n]) != 0)
				continue;
			found++;
			for (size_t at = 0; at <= good_headers[i].size; at++)
				relay_in_pieces(f, &good_headers[i], at);
		}
	}
	assert_int_equal(found, ARRAY_SIZE(names));
}

static void test_a_header_may_come_byte_by_byte(void **state)
{
	struct session_fixture *f = *state;
	static const char bytes[] = NLB_PRIVATELINK;

	session_fixture_serve(f, NULL, "");
	session_fixture_open(f);
	for (size_t i = 0; i < sizeof bytes - 1; i++) {
		test_peer_send(&f->client, &bytes[i], 1);
		test_loop_settle(&f->loop);
	}
	test_peer_accept(&f->app, &f->upstream);
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "client"), IP4_SOURCE);
}

static void test_every_good_header_is_taken(void **state)
{
	struct session_fixture *f = *state;
	char peer[TEST_PEER_NAME_MAX];

	session_fixture_serve(f, NULL, "");
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++) {
		const struct good_header *h = &good_headers[i];
		bool has_client = h->source[0] != '\0' && h->transport == PROXY_TRANSPORT_STREAM;

		session_fixture_connect(f);
		test_peer_name(&f->client, peer);
		test_peer_send(&f->client, h->bytes, h->size);
		session_fixture_start(f);
		test_peer_accept(&f->app, &f->upstream);
		session_fixture_finish(f);
		assert_string_equal(session_fixture_text(f, "client"),
				    has_client ? h->source : peer);
		assert_int_equal(session_fixture_number(f, "version"), h->version);
		assert_string_equal(session_fixture_text(f, "command"),
				    proxy_command_name(h->command));
	}
}

/* Behind the header there is no header: whatever it looks like, it is payload. */
static void test_a_second_header_is_payload(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER HEADER);
	test_peer_expect_text(&f->upstream, HEADER);
	session_fixture_finish(f);
}

static void test_the_longest_header_is_taken(void **state)
{
	struct session_fixture *f = *state;
	static char bytes[PROXY_HEADER_MAX];

	memcpy(bytes, V2 "\x21\x11\xff\xff" IP4 "\x04\xff\xf0", 31); /* padding to the end */
	session_fixture_serve(f, NULL, "\"max_header_bytes\": 65551");
	session_fixture_open(f);
	test_peer_send(&f->client, bytes, sizeof bytes);
	test_peer_send_text(&f->client, "payload");
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "payload");
	session_fixture_finish(f);
}

static void test_tlvs_are_logged(void **state)
{
	struct session_fixture *f = *state;
	const cJSON *tlv;

	session_fixture_serve(f, NULL, "");
	session_fixture_connect(f);
	test_peer_send(&f->client, NLB_PRIVATELINK, sizeof NLB_PRIVATELINK - 1);
	session_fixture_start(f);
	test_peer_accept(&f->app, &f->upstream);
	session_fixture_finish(f);
	tlv = cJSON_GetObjectItemCaseSensitive(f->line, "tlv");
	assert_string_equal(
	    cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(tlv, "aws_vpce_id")),
	    "vpce-08d2bf15fac5001c9");
}

/* --- headers that are refused --- */

static const char *outcome_of(enum header_error e)
{
	if (e == HEADER_NO_SIGNATURE)
		return "header_missing";
	if (e == HEADER_BAD_VERSION)
		return "header_version";
	if (e == HEADER_TOO_LONG)
		return "header_too_long";
	if (e == HEADER_BAD_CRC || e == HEADER_BAD_CRC_TLV)
		return "header_crc";
	return "header_malformed";
}

static void test_every_bad_header_is_refused(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	for (size_t i = 0; i < ARRAY_SIZE(bad_headers); i++) {
		const struct bad_header *h = &bad_headers[i];

		refuse(f, h->bytes, h->size, outcome_of(h->error));
		assert_string_equal(session_fixture_text(f, "reason"), header_error_text(h->error));
		assert_string_equal(session_fixture_text(f, "client"), "");
		assert_string_equal(session_fixture_text(f, "upstream"), "");
	}
}

/* As soon as the byte that makes it none has come, without waiting for more. */
static void test_a_bad_header_is_refused_at_its_first_bad_byte(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_open(f);
	test_peer_send_text(&f->client, "PROXY TCP4 203.0.113.");
	test_loop_settle(&f->loop);
	assert_int_equal(session_fixture_session(f)->state, SESSION_HEADER);
	test_peer_send_text(&f->client, "x");
	expect_refused(f, "header_malformed");
}

static void test_a_header_longer_than_allowed_is_refused(void **state)
{
	struct session_fixture *f = *state;
	static const char long_header[] = V2 "\x21\x11\x01\x00" IP4;

	session_fixture_serve(f, NULL, "\"max_header_bytes\": 107");
	refuse(f, long_header, sizeof long_header - 1, "header_too_long");
}

static void test_a_version_that_is_not_listed_is_refused(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"versions\": [2]");
	refuse(f, HEADER, strlen(HEADER), "header_version");
	assert_non_null(strstr(session_fixture_text(f, "reason"), "v1"));
	assert_string_equal(session_fixture_text(f, "command"), "PROXY");
}

static void test_the_other_version_may_be_left_out_as_well(void **state)
{
	struct session_fixture *f = *state;
	static const char v2[] = V2 "\x21\x11\0\x0c" IP4;

	session_fixture_serve(f, NULL, "\"versions\": [1]");
	refuse(f, v2, sizeof v2 - 1, "header_version");
	assert_non_null(strstr(session_fixture_text(f, "reason"), "v2"));
	session_fixture_relay(f, HEADER);
	session_fixture_finish(f);
}

static void test_a_missing_header_comes_with_a_hint(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	refuse(f, "GET / HTTP/1.1\r\n", 16, "header_missing");
	assert_non_null(strstr(session_fixture_text(f, "hint"), "looks like HTTP"));
	refuse(f, "?", 1, "header_missing"); /* by a peer of our own host */
	assert_non_null(strstr(session_fixture_text(f, "hint"), "this host itself"));
}

/* --- headers that never come --- */

static void test_closing_without_a_byte_is_a_probe(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_open(f);
	test_peer_shutdown(&f->client);
	session_fixture_expect(f, "probe");
	assert_string_equal(session_fixture_text(f, "level"), "debug");
	test_peer_expect_end(&f->client); /* in order, as it came */
	session_fixture_expect_no_upstream(f);
}

static void test_a_reset_without_a_byte_is_a_probe(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_open(f);
	test_peer_reset(&f->client);
	session_fixture_expect(f, "probe");
}

/* What came first is all there will be: no event may be waited for. */
static void test_a_probe_may_be_over_before_it_is_accepted(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_connect(f);
	test_peer_close(&f->client);
	session_fixture_start(f);
	session_fixture_expect(f, "probe");
}

static void test_closing_within_the_header_is_refused(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_connect(f);
	test_peer_send_text(&f->client, "PROXY TCP4 203");
	test_peer_shutdown(&f->client);
	session_fixture_start(f);
	expect_refused(f, "closed_in_header");
	session_fixture_open(f);
	test_peer_send_text(&f->client, "PROXY TCP4 203");
	test_loop_settle(&f->loop);
	test_peer_reset(&f->client);
	session_fixture_expect(f, "closed_in_header");
}

static void test_silence_times_out_with_a_hint(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"header_timeout_ms\": 20");
	session_fixture_open(f);
	expect_refused(f, "header_timeout");
	assert_non_null(strstr(session_fixture_text(f, "hint"), "first payload"));
	assert_true(session_fixture_number(f, "duration_ms") >=
		    19); /* a loop's clock is a bit old */
	assert_int_equal(session_fixture_number(f, "header_ms"), -1);
}

/* Bytes that come do not buy more time. */
static void test_half_a_header_times_out(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"header_timeout_ms\": 20");
	session_fixture_open(f);
	for (unsigned i = 0; i < 5; i++) {
		test_peer_send(&f->client, &HEADER[i], 1);
		test_loop_settle(&f->loop);
	}
	expect_refused(f, "header_timeout");
	assert_string_equal(session_fixture_text(f, "hint"), "");
}

/* --- who is trusted --- */

#define STRANGER "127.1.0.1:0"

static void test_a_stranger_is_refused_unread(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	session_fixture_connect_from(f, STRANGER);
	session_fixture_start(f);
	expect_refused(f, "untrusted_source");
	assert_string_equal(session_fixture_text(f, "hint"), "");
	session_fixture_connect_from(f, STRANGER);
	test_peer_send_text(&f->client, HEADER);
	session_fixture_start(f);
	expect_refused(f, "untrusted_source");
	assert_non_null(strstr(session_fixture_text(f, "hint"), "preserve_client_ip"));
	assert_string_equal(session_fixture_text(f, "client"), "");
}

static void test_a_stranger_may_pass_as_its_own_client(void **state)
{
	struct session_fixture *f = *state;
	char peer[TEST_PEER_NAME_MAX];

	session_fixture_serve(f, NULL, "\"untrusted\": \"pass\"");
	session_fixture_connect_from(f, STRANGER);
	test_peer_name(&f->client, peer);
	session_fixture_start(f);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_send_text(&f->upstream, "the server speaks first");
	test_peer_expect_text(&f->client, "the server speaks first");
	test_peer_send_text(&f->client, HEADER); /* means nothing from a stranger */
	test_peer_expect_text(&f->upstream, HEADER);
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "client"), peer);
	assert_string_equal(session_fixture_text(f, "command"), "NONE");
	assert_int_equal(session_fixture_number(f, "version"), 0);
}

static void test_peers_on_a_unix_socket_are_trusted_by_name(void **state)
{
	struct session_fixture *f = *state;

	test_peer_close(&f->listening);
	test_peer_listen(&f->listening, &f->loop, f->unix_text, 4);
	session_fixture_serve(f, NULL, "");
	f->config->listeners[0].trust_unix = true;
	session_fixture_relay(f, HEADER "hello");
	test_peer_expect_text(&f->upstream, "hello");
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "peer"), "unix:");
	assert_string_equal(session_fixture_text(f, "client"), CLIENT);
}

static void test_without_that_name_peers_on_a_unix_socket_are_strangers(void **state)
{
	struct session_fixture *f = *state;

	test_peer_close(&f->listening);
	test_peer_listen(&f->listening, &f->loop, f->unix_text, 4);
	session_fixture_serve(f, NULL, "");
	session_fixture_open(f);
	session_fixture_expect(f, "untrusted_source");
}

/* --- clients that nobody has --- */

static void test_loopback_sources_are_refused(void **state)
{
	static const char *const sources[] = {
		"PROXY TCP4 127.0.0.1 192.0.2.1 1 2\r\n",
		"PROXY TCP4 127.255.0.9 192.0.2.1 1 2\r\n",
		"PROXY TCP6 ::1 2001:db8::1 1 2\r\n",
		"PROXY TCP6 ::ffff:127.0.0.1 2001:db8::1 1 2\r\n",
	};
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "");
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		refuse(f, sources[i], strlen(sources[i]), "client_address");
		assert_non_null(strstr(session_fixture_text(f, "hint"), "allow_loopback_clients"));
	}
}

static void test_loopback_sources_can_be_allowed(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"allow_loopback_clients\": true");
	session_fixture_relay(f, "PROXY TCP4 127.0.0.1 192.0.2.1 1 2\r\n");
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "client"), "127.0.0.1:1");
}

/* The peer here is on loopback, but it is no header that says so. */
static void test_a_header_without_a_client_leaves_the_peer(void **state)
{
	struct session_fixture *f = *state;
	static const char unspec[] = V2 "\x21\0\0\0";

	session_fixture_serve(f, NULL, "");
	session_fixture_connect(f);
	test_peer_send(&f->client, unspec, sizeof unspec - 1);
	session_fixture_start(f);
	test_peer_accept(&f->app, &f->upstream);
	session_fixture_finish(f);
	assert_non_null(strstr(session_fixture_text(f, "reason"), "names no TCP client"));
}

/* --- an optional header --- */

static void test_an_optional_header_may_be_there(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"header\": \"optional\"");
	session_fixture_relay(f, HEADER "hello");
	test_peer_expect_text(&f->upstream, "hello");
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "client"), CLIENT);
}

static void test_an_optional_header_may_be_missing(void **state)
{
	struct session_fixture *f = *state;
	char peer[TEST_PEER_NAME_MAX];

	session_fixture_serve(f, NULL, "\"header\": \"optional\"");
	session_fixture_relay(f, "GET / HTTP/1.1\r\n");
	test_peer_expect_text(&f->upstream, "GET / HTTP/1.1\r\n");
	test_peer_name(&f->client, peer);
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "client"), peer);
	assert_string_equal(session_fixture_text(f, "command"), "NONE");
}

static void test_what_only_began_like_a_header_is_payload(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"header\": \"optional\"");
	session_fixture_open(f);
	test_peer_send_text(&f->client, "PROX");
	test_loop_settle(&f->loop);
	test_peer_send_text(&f->client, "IMITY");
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "PROXIMITY");
	session_fixture_finish(f);
}

/* The end came while there might have been more, and is passed on all the same. */
static void test_a_short_payload_and_its_end_are_relayed(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"header\": \"optional\"");
	session_fixture_connect(f);
	test_peer_send_text(&f->client, "P");
	test_peer_shutdown(&f->client);
	session_fixture_start(f);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "P");
	test_peer_expect_end(&f->upstream);
	test_peer_shutdown(&f->upstream);
	test_peer_expect_end(&f->client);
	session_fixture_expect(f, "finished");
}

static void test_a_damaged_optional_header_is_refused(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"header\": \"optional\"");
	refuse(f, "PROXY TCP9\r\n", 12, "header_malformed");
	session_fixture_connect(f);
	test_peer_send_text(&f->client, "PROX");
	session_fixture_start(f);
	test_loop_settle(&f->loop);
	test_peer_reset(&f->client);
	session_fixture_expect(f, "closed_in_header");
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, session_fixture_setup, session_fixture_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_the_header_is_stripped_and_the_rest_relayed),
		TEST(test_the_peer_and_the_upstream_are_logged),
		TEST(test_a_header_may_come_in_any_two_pieces),
		TEST(test_a_header_may_come_byte_by_byte),
		TEST(test_every_good_header_is_taken),
		TEST(test_a_second_header_is_payload),
		TEST(test_the_longest_header_is_taken),
		TEST(test_tlvs_are_logged),
		TEST(test_every_bad_header_is_refused),
		TEST(test_a_bad_header_is_refused_at_its_first_bad_byte),
		TEST(test_a_header_longer_than_allowed_is_refused),
		TEST(test_a_version_that_is_not_listed_is_refused),
		TEST(test_the_other_version_may_be_left_out_as_well),
		TEST(test_a_missing_header_comes_with_a_hint),
		TEST(test_closing_without_a_byte_is_a_probe),
		TEST(test_a_reset_without_a_byte_is_a_probe),
		TEST(test_a_probe_may_be_over_before_it_is_accepted),
		TEST(test_closing_within_the_header_is_refused),
		TEST(test_silence_times_out_with_a_hint),
		TEST(test_half_a_header_times_out),
		TEST(test_a_stranger_is_refused_unread),
		TEST(test_a_stranger_may_pass_as_its_own_client),
		TEST(test_peers_on_a_unix_socket_are_trusted_by_name),
		TEST(test_without_that_name_peers_on_a_unix_socket_are_strangers),
		TEST(test_loopback_sources_are_refused),
		TEST(test_loopback_sources_can_be_allowed),
		TEST(test_a_header_without_a_client_leaves_the_peer),
		TEST(test_an_optional_header_may_be_there),
		TEST(test_an_optional_header_may_be_missing),
		TEST(test_what_only_began_like_a_header_is_payload),
		TEST(test_a_short_payload_and_its_end_are_relayed),
		TEST(test_a_damaged_optional_header_is_refused),
	};

	signal(SIGPIPE, SIG_IGN); /* as the server does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
