/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "base/strbuf.h"
#include "obs/access_log.h"
#include "obs/log_time.h"

static const uint8_t authority_tlv[] = { 0x02, 0x00, 0x0b, 'e', 'x', 'a', 'm',
					 'p',  'l',  'e',  '.', 'o', 'r', 'g' };

static struct address address(const char *text)
{
	struct address a = { .family = AF_UNSPEC };
	const char *why;

	assert_int_equal(address_parse(text, &a, &why), 0);
	return a;
}

static struct access_record whole_record(void)
{
	return (struct access_record){
		.level = LOG_INFO,
		.time_ms = 1795251112123, /* 2026-11-21T08:51:52.123Z */
		.id = 4711,
		.listener = "postgres",
		.outcome = OUTCOME_finished,
		.peer = address("10.0.0.5:41000"),
		.client = address("203.0.113.7:40312"),
		.destination = address("[2001:db8::1]:5432"),
		.command = PROXY_COMMAND_PROXY,
		.version = 2,
		.upstream = "127.0.0.1:5432",
		.bytes_in = 1234,
		.bytes_out = 56789,
		.duration_ns = 8123456789,
		.header_ns = 250000,
		.connect_ns = 1000,
		.tlvs = authority_tlv,
		.tlvs_size = sizeof authority_tlv,
		.reason = "all is well",
		.hint = "have a cup of tea",
	};
}

/* Nothing but what is always there. */
static struct access_record bare_record(void)
{
	return (struct access_record){
		.level = LOG_WARN,
		.time_ms = 1795251112123,
		.id = 1,
		.listener = "0.0.0.0:5432",
		.outcome = OUTCOME_untrusted_source,
		.peer = address("[2001:db8::66]:1"),
		.command = PROXY_COMMAND_NONE,
	};
}

static const char *format(const struct access_record *r, enum log_format f)
{
	static char text[ACCESS_LOG_LINE_MAX];
	struct strbuf out;

	strbuf_init(&out, text, sizeof text);
	access_log_format(r, f, &out);
	assert_false(out.cut);
	assert_null(strchr(text, '\n'));
	return text;
}

static void test_json_has_the_names_and_the_order_of_the_contract(void **state)
{
	struct access_record r = whole_record();

	(void)state;
	assert_string_equal(
	    format(&r, LOG_JSON),
	    "{\"time\":\"2026-11-21T08:51:52.123Z\",\"level\":\"info\",\"event\":\"connection\","
	    "\"id\":4711,\"listener\":\"postgres\",\"outcome\":\"finished\","
	    "\"peer\":\"10.0.0.5:41000\",\"client\":\"203.0.113.7:40312\","
	    "\"destination\":\"[2001:db8::1]:5432\",\"command\":\"PROXY\",\"version\":2,"
	    "\"upstream\":\"127.0.0.1:5432\",\"transparent\":false,\"bytes_in\":1234,"
	    "\"bytes_out\":56789,\"duration_ms\":8123.456,\"header_ms\":0.250,"
	    "\"connect_ms\":0.001,\"tlv\":{\"authority\":\"example.org\"},"
	    "\"reason\":\"all is well\",\"hint\":\"have a cup of tea\"}");
}

static void test_text_says_the_same(void **state)
{
	struct access_record r = whole_record();

	(void)state;
	assert_string_equal(
	    format(&r, LOG_TEXT),
	    "2026-11-21T08:51:52.123Z info  connection  outcome=finished listener=postgres "
	    "peer=10.0.0.5:41000 client=203.0.113.7:40312 destination=[2001:db8::1]:5432 "
	    "command=PROXY version=2 upstream=127.0.0.1:5432 transparent=false bytes_in=1234 "
	    "bytes_out=56789 duration_ms=8123.456 header_ms=0.250 connect_ms=0.001 id=4711 "
	    "tlv={\"authority\":\"example.org\"} reason=\"all is well\" "
	    "hint=\"have a cup of tea\"");
}

static void test_what_is_absent_is_left_out(void **state)
{
	struct access_record r = bare_record();

	(void)state;
	assert_string_equal(
	    format(&r, LOG_JSON),
	    "{\"time\":\"2026-11-21T08:51:52.123Z\",\"level\":\"warn\",\"event\":\"connection\","
	    "\"id\":1,\"listener\":\"0.0.0.0:5432\",\"outcome\":\"untrusted_source\","
	    "\"peer\":\"[2001:db8::66]:1\",\"command\":\"NONE\",\"version\":0,"
	    "\"transparent\":false,\"bytes_in\":0,\"bytes_out\":0,\"duration_ms\":0.000}");
	assert_string_equal(format(&r, LOG_TEXT),
			    "2026-11-21T08:51:52.123Z warn  connection  outcome=untrusted_source "
			    "listener=0.0.0.0:5432 peer=[2001:db8::66]:1 command=NONE version=0 "
			    "transparent=false bytes_in=0 bytes_out=0 duration_ms=0.000 id=1");
}

static void test_a_peer_on_a_unix_socket_has_a_name(void **state)
{
	struct access_record r = bare_record();

	(void)state;
	r.peer = (struct address){ .family = AF_UNIX };
	assert_non_null(strstr(format(&r, LOG_JSON), ",\"peer\":\"unix:\","));
}

static void test_text_quotes_what_would_be_misread(void **state)
{
	static const struct {
		const char *value;
		const char *expected;
	} cases[] = {
		{ "plain", " listener=plain " },
		{ "", " listener=\"\" " },
		{ "two words", " listener=\"two words\" " },
		{ "outcome=finished", " listener=\"outcome=finished\" " },
		{ "say \"hi\"", " listener=\"say \\\"hi\\\"\" " },
		{ "back\\slash", " listener=\"back\\\\slash\" " },
		{ "line\nbreak", " listener=\"line\\nbreak\" " },
		{ "\x1b[2J", " listener=\"\\u001b[2J\" " },
		{ "\x7f", " listener=\"\\u007f\" " },
		{ "\xff", " listener=\"\xef\xbf\xbd\" " },
		{ "caf\xc3\xa9", " listener=\"caf\xc3\xa9\" " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct access_record r = bare_record();

		r.listener = cases[i].value;
		assert_non_null(strstr(format(&r, LOG_TEXT), cases[i].expected));
	}
}

/* A control character takes six bytes in the log, one in hex two: neither may cost the line. */
static void test_tlvs_without_room_are_left_out_whole(void **state)
{
	static const uint8_t types[] = { 0x02, 0xe9 };

	(void)state;
	for (size_t i = 0; i < sizeof types; i++) {
		const size_t value_size = 40000;
		uint8_t *tlvs = malloc(3 + value_size);
		struct access_record r = whole_record();
		cJSON *parsed;

		memset(tlvs, 0x01, 3 + value_size);
		tlvs[0] = types[i];
		tlvs[1] = value_size >> 8;
		tlvs[2] = value_size & 0xff;
		r.tlvs = tlvs;
		r.tlvs_size = 3 + value_size;
		parsed = cJSON_Parse(format(&r, LOG_JSON));
		assert_non_null(parsed);
		assert_null(cJSON_GetObjectItemCaseSensitive(parsed, "tlv"));
		assert_true(
		    cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(parsed, "tlv_truncated")));
		assert_string_equal(
		    cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(parsed, "hint")),
		    "have a cup of tea");
		cJSON_Delete(parsed);
		assert_non_null(strstr(format(&r, LOG_TEXT), " tlv_truncated=true reason="));
		free(tlvs);
	}
}

/* The boundary itself: from a TLV that fits with bytes to spare to one that does not. */
static void test_a_line_is_never_cut(void **state)
{
	uint8_t tlvs[ACCESS_LOG_LINE_MAX] = { 0x02 };
	struct access_record r = whole_record();
	size_t rest = strlen(format(&r, LOG_JSON)) - strlen("example.org");
	bool fitted = false;
	bool truncated = false;

	(void)state;
	memset(tlvs + 3, 'a', sizeof tlvs - 3);
	for (size_t n = ACCESS_LOG_LINE_MAX - rest - 8; n < ACCESS_LOG_LINE_MAX - rest + 8; n++) {
		cJSON *parsed;
		bool has_tlv;

		tlvs[1] = (uint8_t)(n >> 8);
		tlvs[2] = (uint8_t)n;
		r.tlvs = tlvs;
		r.tlvs_size = 3 + n;
		parsed = cJSON_Parse(format(&r, LOG_JSON));
		assert_non_null(parsed);
		has_tlv = cJSON_HasObjectItem(parsed, "tlv");
		assert_int_equal(has_tlv, n + rest < ACCESS_LOG_LINE_MAX);
		assert_int_equal(cJSON_HasObjectItem(parsed, "tlv_truncated"), !has_tlv);
		fitted = fitted || has_tlv;
		truncated = truncated || !has_tlv;
		cJSON_Delete(parsed);
	}
	assert_true(fitted && truncated);
}

static void test_time_stamps_are_utc_with_milliseconds(void **state)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ 999, "1970-01-01T00:00:00.999Z" },
		{ 1000, "1970-01-01T00:00:01.000Z" },
		{ 951782400007, "2000-02-29T00:00:00.007Z" },
		{ 1795251112123, "2026-11-21T08:51:52.123Z" },
		{ 1795251112999, "2026-11-21T08:51:52.999Z" }, /* from the cache */
		{ 1795251113000, "2026-11-21T08:51:53.000Z" },
		{ 1795251112001, "2026-11-21T08:51:52.001Z" }, /* the clock was set back */
		{ 4102444799999, "2099-12-31T23:59:59.999Z" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[LOG_TIME_MAX];
		struct strbuf out;

		strbuf_init(&out, text, sizeof text);
		log_time_format(cases[i].ms, &out);
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_has_the_names_and_the_order_of_the_contract),
		cmocka_unit_test(test_text_says_the_same),
		cmocka_unit_test(test_what_is_absent_is_left_out),
		cmocka_unit_test(test_a_peer_on_a_unix_socket_has_a_name),
		cmocka_unit_test(test_text_quotes_what_would_be_misread),
		cmocka_unit_test(test_tlvs_without_room_are_left_out_whole),
		cmocka_unit_test(test_a_line_is_never_cut),
		cmocka_unit_test(test_time_stamps_are_utc_with_milliseconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
