/* SPDX-License-Identifier: MIT */
/* The header that the upstream gets: what it says, and that it goes first and once, however connecting went. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/header_vectors.h"
#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "loop/send_fault.h"
#include "loop/session_fixture.h"

#define SEND_V1 "\"send_proxy\": \"v1\""
#define SEND_V2 "\"send_proxy\": \"v2\""

#define UNSPEC V2 "\x21\0\0\0"
#define LOCAL  V2 "\x20\0\0\0"

/* Not in the fixture's trusted_proxies. */
#define STRANGER "127.1.0.1:0"

struct bytes {
	const char *data;
	size_t size;
};

static void expect_bytes(const struct session_fixture *f, const struct bytes *b)
{
	test_peer_expect(&f->upstream, b->data, b->size);
}

static void start_with_bytes(struct session_fixture *f, const void *data, size_t size)
{
	session_fixture_connect(f);
	test_peer_send(&f->client, data, size);
	session_fixture_start(f);
}

static void serve_unix(struct session_fixture *f, const char *keys)
{
	char upstream[80];

	snprintf(upstream, sizeof upstream, "\"%s\"", f->unix_text);
	session_fixture_serve(f, upstream, keys);
}

/* --- what it says --- */

#define UNKNOWN        "PROXY UNKNOWN\r\n"
#define MAPPED_ADDRESS "\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\x00\x71\x07"
#define IP6_ADDRESS    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"

/* clang-format off */

/* HEADER in version 2 */
#define HEADER_V2 V2 "\x21\x11\0\x0c" "\xcb\x00\x71\x07" "\xc0\x00\x02\x01" "\x12\x67" "\x01\xbb"

static const struct {
	const char *name;
	struct bytes sent;
	struct bytes v1; /* what the upstream gets with send_proxy v1 */
	struct bytes v2;
} conversions[] = {
#define BYTES(text) { text, sizeof(text) - 1 }
#define CASE(name, sent, v1, v2) { name, BYTES(sent), BYTES(v1), BYTES(v2) }
	CASE("v1", HEADER, HEADER, HEADER_V2),
	CASE("v1, UNKNOWN", "PROXY UNKNOWN whatever\r\n", UNKNOWN, UNSPEC),
	CASE("v1, a longer form", "PROXY TCP6 2001:0DB8:0:0::7 2001:DB8::1 56580 443\r\n",
	     "PROXY TCP6 2001:db8::7 2001:db8::1 56580 443\r\n", V2 "\x21\x21\0\x24" IP6),
	CASE("v2", HEADER_V2, HEADER, HEADER_V2),
	CASE("v2, IPv6", V2 "\x21\x21\0\x24" IP6,
	     "PROXY TCP6 2001:db8::7 2001:db8::1 56580 443\r\n", V2 "\x21\x21\0\x24" IP6),
	CASE("an IPv4 client of an IPv6 destination",
	     "PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 1 2\r\n",
	     "PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 1 2\r\n",
	     V2 "\x21\x21\0\x24" MAPPED_ADDRESS IP6_ADDRESS "\0\x01" "\0\x02"),
	CASE("an IPv6 client of an IPv4 destination",
	     "PROXY TCP6 2001:db8::1 ::ffff:203.0.113.7 1 2\r\n",
	     "PROXY TCP6 2001:db8::1 ::ffff:203.0.113.7 1 2\r\n",
	     V2 "\x21\x21\0\x24" IP6_ADDRESS MAPPED_ADDRESS "\0\x01" "\0\x02"),
	CASE("IPv4 on both sides, as IPv6",
	     "PROXY TCP6 ::ffff:203.0.113.7 ::ffff:192.0.2.1 4711 443\r\n", HEADER, HEADER_V2),
	CASE("LOCAL", LOCAL, UNKNOWN, LOCAL),
	CASE("LOCAL with TLVs", NLB_HEALTH_CHECK, UNKNOWN, LOCAL),
	CASE("UNSPEC", UNSPEC, UNKNOWN, UNSPEC),
	CASE("UNSPEC with TLVs", V2 "\x21\0\0\x05" "\x01\0\x02h2", UNKNOWN,
	     V2 "\x21\0\0\x05" "\x01\0\x02h2"),
	CASE("a datagram, which has no TCP client", V2 "\x21\x12\0\x0c" IP4, UNKNOWN, UNSPEC),
	CASE("nor has a unix socket", V2 "\x21\x32\0\xdd" UNIX_PATHS "\x01\0\x02h2", UNKNOWN,
	     V2 "\x21\0\0\x05" "\x01\0\x02h2"),
	CASE("TLVs and a CRC32C", NLB_PRIVATELINK,
	     "PROXY TCP4 203.0.113.7 192.0.2.1 56580 443\r\n", NLB_PRIVATELINK),
#undef CASE
};
/* clang-format on */

static void test_every_version_is_written_as_every_version(void **state)
{
	struct session_fixture *f = *state;

	for (unsigned version = 1; version <= 2; version++) {
		session_fixture_serve(f, NULL, version == 1 ? SEND_V1 : SEND_V2);
		for (size_t i = 0; i < ARRAY_SIZE(conversions); i++) {
			const struct bytes *sent = &conversions[i].sent;

			print_message("%s to v%u\n", conversions[i].name, version);
			start_with_bytes(f, sent->data, sent->size);
			test_peer_accept(&f->app, &f->upstream);
			expect_bytes(f, version == 1 ? &conversions[i].v1 : &conversions[i].v2);
			session_fixture_finish(f);
		}
	}
}

/* What is read of it again is what was sent, whatever that was: the parser also looks at CRC32C. */
static void test_every_good_header_makes_a_good_header(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, SEND_V2 ", \"allow_loopback_clients\": true");
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++) {
		const struct good_header *good = &good_headers[i];
		bool names_client =
		    good->transport == PROXY_TRANSPORT_STREAM && good->source[0] != '\0';
		uint8_t got[4096];
		char source[ADDRESS_TEXT_MAX];
		char destination[ADDRESS_TEXT_MAX];
		struct proxy_header h;
		enum header_error e;
		size_t size;

		start_with_bytes(f, good->bytes, good->size);
		test_peer_accept(&f->app, &f->upstream);
		test_loop_until_ready(&f->loop, f->upstream.fd, POLLIN, good->name);
		size = test_peer_receive_some(&f->upstream, got, sizeof got);
		assert_int_equal(proxy_header_parse(got, size, sizeof got, &h, &e), PARSE_DONE);
		assert_int_equal(h.length, size);
		address_format(&h.source, source);
		address_format(&h.destination, destination);
		assert_string_equal(source, names_client ? good->source : "");
		assert_string_equal(destination, names_client ? good->destination : "");
		assert_int_equal(h.command == PROXY_COMMAND_LOCAL,
				 good->command == PROXY_COMMAND_LOCAL);
		assert_int_equal(h.tlvs_size, good->tlvs_size);
		session_fixture_finish(f);
	}
}

/* Where a header becomes shorter, its CRC32C is another one. */
static void test_a_crc_is_computed_anew(void **state)
{
	static const uint8_t tlvs[7] = { 0x03, 0, 4 };
	struct session_fixture *f = *state;
	uint8_t sent[PROXY_V2_FIXED + 36 + sizeof tlvs];
	struct proxy_header h = {
		.version = 2,
		.command = PROXY_COMMAND_PROXY,
		.family = PROXY_FAMILY_INET6, /* that is, mapped */
		.transport = PROXY_TRANSPORT_STREAM,
		.source = { AF_INET, 56580, { 203, 0, 113, 7 } },
		.destination = { AF_INET, 443, { 192, 0, 2, 1 } },
		.tlvs = tlvs,
		.tlvs_size = sizeof tlvs,
	};

	assert_int_equal(proxy_header_encode(&h, sent, sizeof sent), sizeof sent);
	session_fixture_serve(f, NULL, SEND_V2);
	start_with_bytes(f, sent, sizeof sent);
	test_peer_accept(&f->app, &f->upstream);
	/* As in the vector v2-crc32c-tcp4 */
	test_peer_expect(&f->upstream,
			 V2 "\x21\x11\0\x13" IP4 "\x03\0\x04"
			    "\x4f\x79\x77\xa5",
			 35);
	session_fixture_finish(f);
}

/* --- without a header --- */

/* "PROXY TCP4 …", from the client to where it connected. */
static void expect_peer(const struct session_fixture *f, const char *protocol)
{
	struct address from;
	struct address to;
	char name[TEST_PEER_NAME_MAX];
	char ip[2][ADDRESS_TEXT_MAX];
	char line[2 * ADDRESS_TEXT_MAX + 64];
	const char *why;

	test_peer_name(&f->client, name);
	assert_int_equal(address_parse(name, &from, &why), 0);
	test_peer_name(&f->listening, name);
	assert_int_equal(address_parse(name, &to, &why), 0);
	address_format_ip(&from, ip[0]);
	address_format_ip(&to, ip[1]);
	snprintf(line, sizeof line, "PROXY %s %s %s %u %u\r\n", protocol, ip[0], ip[1], from.port,
		 to.port);
	test_peer_expect_text(&f->upstream, line);
}

static void test_without_a_header_the_peer_is_named(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, SEND_V1 ", \"header\": \"optional\"");
	session_fixture_relay(f, "hello");
	expect_peer(f, "TCP4");
	test_peer_expect_text(&f->upstream, "hello");
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
	assert_string_equal(session_fixture_text(f, "command"), "NONE");
}

static void test_a_stranger_that_passes_is_named(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, SEND_V1 ", \"untrusted\": \"pass\"");
	session_fixture_connect_from(f, STRANGER);
	session_fixture_start(f);
	test_peer_accept(&f->app, &f->upstream);
	expect_peer(f, "TCP4");
	test_peer_send_text(&f->upstream, "the server speaks first");
	test_peer_expect_text(&f->client, "the server speaks first");
	test_peer_send_text(&f->client, HEADER); /* means nothing from a stranger */
	test_peer_expect_text(&f->upstream, HEADER);
	session_fixture_finish(f);
}

static void test_a_peer_of_ipv6_is_named(void **state)
{
	struct session_fixture *f = *state;

	test_peer_close(&f->listening);
	test_peer_listen(&f->listening, &f->loop, "[::1]:0", 4);
	session_fixture_serve(f, NULL, SEND_V1 ", \"header\": \"optional\"");
	session_fixture_relay(f, "hello");
	expect_peer(f, "TCP6");
	test_peer_expect_text(&f->upstream, "hello");
	session_fixture_finish(f);
}

static void test_a_peer_on_a_unix_socket_has_no_name(void **state)
{
	struct session_fixture *f = *state;

	test_peer_close(&f->listening);
	test_peer_listen(&f->listening, &f->loop, f->unix_text, 4);
	session_fixture_serve(f, NULL, SEND_V1 ", \"header\": \"optional\"");
	f->config->listeners[0].trust_unix = true;
	session_fixture_relay(f, "hello");
	test_peer_expect_text(&f->upstream, UNKNOWN "hello");
	session_fixture_finish(f);
	session_fixture_serve(f, NULL, SEND_V2 ", \"header\": \"optional\"");
	f->config->listeners[0].trust_unix = true;
	session_fixture_relay(f, "hello");
	test_peer_expect(&f->upstream, UNSPEC "hello", sizeof(UNSPEC "hello") - 1);
	session_fixture_finish(f);
}

/* --- when it is written --- */

static void test_it_does_not_wait_for_a_payload(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, SEND_V1);
	session_fixture_relay(f, HEADER);
	test_peer_expect_text(&f->upstream, HEADER);
	test_peer_send_text(&f->upstream, "220 welcome\r\n");
	test_peer_expect_text(&f->client, "220 welcome\r\n");
	test_peer_send_text(&f->client, "EHLO\r\n");
	test_peer_expect_text(&f->upstream, "EHLO\r\n");
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), 6);
	assert_int_equal(counter_read(&f->metrics->bytes_in), 6);
}

static void test_the_payload_follows_and_is_counted_alone(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, SEND_V1);
	session_fixture_relay(f, HEADER "hello");
	assert_int_equal(counter_read(&f->metrics->bytes_in), 5);
	test_peer_send_text(&f->client, ", world");
	test_peer_expect_text(&f->upstream, HEADER "hello, world");
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), 12);
	assert_int_equal(counter_read(&f->metrics->bytes_in), 12);
}

static void test_a_client_that_sends_no_more_gets_its_header_sent_as_well(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, SEND_V1);
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER);
	test_peer_shutdown(&f->client);
	session_fixture_start(f);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, HEADER);
	test_peer_expect_end(&f->upstream);
	test_peer_send_text(&f->upstream, "nothing to say?");
	test_peer_expect_text(&f->client, "nothing to say?");
	test_peer_close(&f->upstream);
	test_peer_expect_end(&f->client);
	session_fixture_expect(f, "finished");
	assert_int_equal(session_fixture_number(f, "bytes_in"), 0);
}

/* However much of it the upstream takes at first. */
static void test_it_may_be_taken_in_any_two_pieces(void **state)
{
	struct session_fixture *f = *state;
	size_t header = strlen(HEADER);

	session_fixture_serve(f, NULL, SEND_V1);
	for (size_t n = 0; n <= header + 5; n++) {
		session_fixture_connect(f);
		test_peer_send_text(&f->client, HEADER "hello");
		send_fault_allow((long)n);
		session_fixture_start(f);
		send_fault_allow(-1);
		assert_int_equal(relay_bytes(&session_fixture_session(f)->relay, RELAY_CLIENT),
				 n < header ? 0 : n - header);
		test_peer_accept(&f->app, &f->upstream);
		test_peer_expect_text(&f->upstream, HEADER "hello");
		session_fixture_finish(f);
		assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
		assert_int_equal(counter_read(&f->metrics->bytes_in), 5 * (n + 1));
	}
}

static void test_what_the_upstream_never_took_of_it_is_not_counted(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, SEND_V1);
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER "hello");
	send_fault_allow(7);
	session_fixture_start(f);
	session_env_end_sessions(&f->env, OUTCOME_shutdown);
	send_fault_allow(-1);
	session_fixture_expect(f, "shutdown");
	assert_int_equal(session_fixture_number(f, "bytes_in"), 0);
	assert_int_equal(counter_read(&f->metrics->bytes_in), 0);
}

/* --- however connecting goes --- */

static void test_the_next_address_gets_it_when_one_refuses(void **state)
{
	struct session_fixture *f = *state;
	unsigned refusing = session_fixture_unused_port(f);
	struct upstream_addresses addresses = { .count = 3 };

	addresses.list[0] = loopback_address(1, refusing);
	addresses.list[1] = loopback_address(2, refusing);
	addresses.list[2] = loopback_address(1, test_peer_port(&f->app));
	session_fixture_serve_at(f, NULL, SEND_V1, &addresses);
	session_fixture_start_with(f, HEADER "hello");
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, HEADER "hello");
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
}

static void test_the_address_that_the_resolver_finds_gets_it(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve_stale_name(f, SEND_V1);
	session_fixture_start_with(f, HEADER "hello");
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, HEADER "hello");
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
}

static void test_it_waits_for_a_full_backlog(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;
	struct test_peer accepted;

	session_fixture_mute_app(f, f->unix_text, &first);
	serve_unix(f, SEND_V1);
	session_fixture_start_with(f, HEADER "hello");
	test_loop_settle(&f->loop);
	assert_int_equal(session_fixture_session(f)->state, SESSION_CONNECT);
	test_peer_accept(&f->app, &accepted);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, HEADER "hello");
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
	test_peer_close(&accepted);
	test_peer_close(&first);
}

/* The kernel tries again after a second: until then there is no connection. */
static void test_it_waits_for_a_slow_upstream(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;
	struct test_peer accepted;

	session_fixture_mute_app(f, "127.0.0.1:0", &first);
	session_fixture_serve(f, NULL, SEND_V1);
	session_fixture_start_with(f, HEADER "hello");
	test_loop_settle(&f->loop);
	assert_int_equal(session_fixture_session(f)->state, SESSION_CONNECT);
	test_peer_accept(&f->app, &accepted);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, HEADER "hello");
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), 5);
	test_peer_close(&accepted);
	test_peer_close(&first);
}

static void test_it_goes_with_the_session_if_there_is_no_upstream(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, SEND_V2);
	test_peer_close(&f->app);
	session_fixture_start_with(f, HEADER "hello");
	session_fixture_expect(f, "upstream_refused");
	assert_int_equal(session_fixture_number(f, "bytes_in"), 0);
	test_peer_expect_reset(&f->client);
}

/* --- its size --- */

/* The longest header, and behind it more than a relay ever holds. */
static void test_the_longest_header_is_passed_on(void **state)
{
	static char header[PROXY_HEADER_MAX];
	static char payload[2 * RELAY_CHUNK];
	struct session_fixture *f = *state;

	memcpy(header, V2 "\x21\x11\xff\xff" IP4 "\xe5\xff\xf0", 31);
	for (size_t i = 31; i < sizeof header; i++)
		header[i] = (char)(i * 7);
	for (size_t i = 0; i < sizeof payload; i++)
		payload[i] = (char)(i * 11);
	session_fixture_serve(f, NULL, SEND_V2 ", \"max_header_bytes\": 65551");
	session_fixture_open(f);
	test_peer_send(&f->client, header, sizeof header);
	test_peer_send(&f->client, payload, sizeof payload);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect(&f->upstream, header, sizeof header);
	test_peer_expect(&f->upstream, payload, sizeof payload);
	session_fixture_finish(f);
	assert_int_equal(session_fixture_number(f, "bytes_in"), sizeof payload);
}

/* --- without memory --- */

static void test_without_memory_for_it_the_client_is_refused(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, SEND_V2);
	session_fixture_connect(f);
	test_peer_send_text(&f->client, HEADER "hello");
	fault_arm(1); /* the session comes first */
	session_fixture_start(f);
	assert_true(fault_disarm());
	session_fixture_expect(f, "upstream_error");
	assert_string_equal(session_fixture_text(f, "reason"), "not enough memory");
	session_fixture_expect_no_upstream(f);
	test_peer_expect_reset(&f->client);
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, session_fixture_setup, session_fixture_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_every_version_is_written_as_every_version),
		TEST(test_every_good_header_makes_a_good_header),
		TEST(test_a_crc_is_computed_anew),
		TEST(test_without_a_header_the_peer_is_named),
		TEST(test_a_stranger_that_passes_is_named),
		TEST(test_a_peer_of_ipv6_is_named),
		TEST(test_a_peer_on_a_unix_socket_has_no_name),
		TEST(test_it_does_not_wait_for_a_payload),
		TEST(test_the_payload_follows_and_is_counted_alone),
		TEST(test_a_client_that_sends_no_more_gets_its_header_sent_as_well),
		TEST(test_it_may_be_taken_in_any_two_pieces),
		TEST(test_what_the_upstream_never_took_of_it_is_not_counted),
		TEST(test_the_next_address_gets_it_when_one_refuses),
		TEST(test_the_address_that_the_resolver_finds_gets_it),
		TEST(test_it_waits_for_a_full_backlog),
		TEST(test_it_waits_for_a_slow_upstream),
		TEST(test_it_goes_with_the_session_if_there_is_no_upstream),
		TEST(test_the_longest_header_is_passed_on),
		TEST(test_without_memory_for_it_the_client_is_refused),
	};

	signal(SIGPIPE, SIG_IGN); /* as the server does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
