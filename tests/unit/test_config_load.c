/* SPDX-License-Identifier: MIT */
/* What loads, and what becomes of it. tests/unit/bad_configs has what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "conf/config_keys.h"
#include "lib/config_text.h"

/* --- values --- */

static void test_what_is_absent_has_its_default(void **state)
{
	struct config *c = config_text_load(config_text_with("", ""));
	const struct listener_config *l = &c->listeners[0];

	(void)state;
	assert_int_equal(c->workers, 0);
	assert_int_equal(c->listener_count, 1);
	assert_int_equal(c->log_level, CONFIG_LOG_INFO);
	assert_int_equal(c->log_format, CONFIG_LOG_JSON);
	assert_true(c->log_access);
	assert_string_equal(c->log_output, "stderr");
	assert_int_equal(c->shutdown_timeout_ms, 30000);
	assert_int_equal(c->transparent_mark, 7700);
	assert_int_equal(c->transparent_table, 7700);
	assert_string_equal(l->name, "127.0.0.1:1");
	assert_false(l->trust_unix);
	assert_false(l->header_optional);
	assert_false(l->untrusted_pass);
	assert_int_equal(l->versions, CONFIG_VERSION_1 | CONFIG_VERSION_2);
	assert_int_equal(l->header_timeout_ms, 5000);
	assert_int_equal(l->connect_timeout_ms, 5000);
	assert_int_equal(l->idle_timeout_ms, 0);
	assert_int_equal(l->max_header_bytes, 4096);
	assert_int_equal(l->max_connections, 0);
	assert_false(l->allow_loopback_clients);
	config_unref(c);
}

static void test_what_limits_and_reports_is_off_unless_asked_for(void **state)
{
	struct config *c = config_text_load(
	    config_text_with("\"clients\": {}, \"upstream_check\": {}", "\"admin\": {}"));
	const struct listener_config *l = &c->listeners[0];

	(void)state;
	assert_null(c->admin_listen.text);
	assert_false(c->watch);
	assert_int_equal(c->file_count, 0);
	assert_int_equal(l->max_connections_per_client, 0);
	assert_int_equal(l->connection_rate_per_client.per_second, 0);
	assert_int_equal(l->max_tracked_clients, 65536);
	assert_null(l->clients_allow);
	assert_null(l->clients_deny);
	assert_int_equal(l->vpc_endpoint_count, 0);
	assert_int_equal(l->send_proxy, CONFIG_SEND_OFF);
	assert_int_equal(l->upstream_check_interval_ms, 5000);
	assert_false(l->upstream_check_close_listener);
	config_unref(c);
}

static void test_an_empty_log_object_is_all_defaults(void **state)
{
	struct config *c =
	    config_text_load(config_text_with("", "\"log\": {}, \"proxy_lists\": {}"));

	(void)state;
	assert_int_equal(c->log_level, CONFIG_LOG_INFO);
	assert_true(c->log_access);
	assert_string_equal(c->log_output, "stderr");
	config_unref(c);
}

static void test_mark_and_table_may_be_anything_but_the_tables_of_the_kernel(void **state)
{
	static const unsigned tables[] = { 1, 252, 256, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		char routing[128];
		struct config *c;

		snprintf(routing, sizeof routing,
			 "\"transparent_routing\": {\"mark\": %u, \"table\": %u}",
			 UINT32_MAX - tables[i] + 1, tables[i]);
		c = config_text_load(config_text_with("", routing));
		assert_int_equal(c->transparent_mark, UINT32_MAX - tables[i] + 1);
		assert_int_equal(c->transparent_table, tables[i]);
		config_unref(c);
	}
}

static void test_what_is_written_arrives(void **state)
{
	struct config *c = config_text_load(config_text_with(
	    "\"name\": \"p\xc3\xa4ge\", \"header\": \"optional\", \"untrusted\": \"pass\", "
	    "\"versions\": [2], \"header_timeout_ms\": 1, \"connect_timeout_ms\": 2, "
	    "\"idle_timeout_ms\": 3, \"max_header_bytes\": 232, \"max_connections\": 5, "
	    "\"allow_loopback_clients\": true",
	    "\"workers\": 6, \"shutdown_timeout_ms\": 0, \"log\": {\"level\": \"debug\", "
	    "\"format\": \"text\", \"access\": false, \"output\": \"/var/log/unproxy.log\"}"));
	const struct listener_config *l = &c->listeners[0];

	(void)state;
	assert_string_equal(l->name, "p\xc3\xa4ge");
	assert_string_equal(l->listen.text, "127.0.0.1:1");
	assert_string_equal(l->upstream[0].text, "127.0.0.1:2");
	assert_string_equal(l->upstream[1].text, "127.0.0.1:2");
	assert_false(l->upstream_is_pair);
	assert_true(l->header_optional);
	assert_true(l->untrusted_pass);
	assert_int_equal(l->versions, CONFIG_VERSION_2);
	assert_int_equal(l->header_timeout_ms, 1);
	assert_int_equal(l->connect_timeout_ms, 2);
	assert_int_equal(l->idle_timeout_ms, 3);
	assert_int_equal(l->max_header_bytes, 232);
	assert_int_equal(l->max_connections, 5);
	assert_true(l->allow_loopback_clients);
	assert_int_equal(c->workers, 6);
	assert_int_equal(c->shutdown_timeout_ms, 0);
	assert_int_equal(c->log_level, CONFIG_LOG_DEBUG);
	assert_int_equal(c->log_format, CONFIG_LOG_TEXT);
	assert_false(c->log_access);
	assert_string_equal(c->log_output, "/var/log/unproxy.log");
	config_unref(c);
}

static void test_what_is_asked_of_clients_arrives(void **state)
{
	struct config *c = config_text_load(
	    config_text_with("\"max_connections_per_client\": 20, \"connection_rate_per_client\": "
			     "{\"burst\": 7, \"per_second\": 3}, \"max_tracked_clients\": 2000, "
			     "\"send_proxy\": \"v1\", \"upstream_check\": {\"interval_ms\": 250, "
			     "\"close_listener\": true}",
			     ""));
	const struct listener_config *l = &c->listeners[0];

	(void)state;
	assert_int_equal(l->max_connections_per_client, 20);
	assert_int_equal(l->connection_rate_per_client.per_second, 3);
	assert_int_equal(l->connection_rate_per_client.burst, 7);
	assert_int_equal(l->max_tracked_clients, 2000);
	assert_int_equal(l->send_proxy, CONFIG_SEND_V1);
	assert_int_equal(l->upstream_check_interval_ms, 250);
	assert_true(l->upstream_check_close_listener);
	config_unref(c);
	c = config_text_load(config_text_with("\"send_proxy\": \"v2\"", ""));
	assert_int_equal(c->listeners[0].send_proxy, CONFIG_SEND_V2);
	config_unref(c);
}

static void test_a_rate_alone_is_its_own_burst(void **state)
{
	struct config *c = config_text_load(
	    config_text_with("\"connection_rate_per_client\": {\"per_second\": 1000000}", ""));

	(void)state;
	assert_int_equal(c->listeners[0].connection_rate_per_client.per_second, 1000000);
	assert_int_equal(c->listeners[0].connection_rate_per_client.burst, 1000000);
	config_unref(c);
}

static void test_the_admin_listener_can_be_a_port_or_a_socket(void **state)
{
	static const struct {
		const char *text;
		enum endpoint_kind kind;
	} places[] = {
		{ "127.0.0.1:9464", ENDPOINT_IP }, { "[::]:9464", ENDPOINT_IP },
		{ "127.0.0.2:1", ENDPOINT_IP }, /* the listener has 127.0.0.1:1 */
		{ "127.0.0.1:0", ENDPOINT_IP },    { "unix:/run/admin.sock", ENDPOINT_UNIX },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char admin[64];
		struct config *c;

		snprintf(admin, sizeof admin, "\"admin\": {\"listen\": \"%s\"}", places[i].text);
		c = config_text_load(config_text_with("", admin));
		assert_string_equal(c->admin_listen.text, places[i].text);
		assert_int_equal(c->admin_listen.kind, places[i].kind);
		config_unref(c);
	}
}

static void test_every_choice_is_told_from_the_others(void **state)
{
	static const struct {
		const char *level;
		enum config_log_level expected;
	} levels[] = {
		{ "error", CONFIG_LOG_ERROR },
		{ "warn", CONFIG_LOG_WARN },
		{ "info", CONFIG_LOG_INFO },
		{ "debug", CONFIG_LOG_DEBUG },
	};
	struct config *c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		char log[64];

		snprintf(log, sizeof log, "\"log\": {\"level\": \"%s\"}", levels[i].level);
		c = config_text_load(config_text_with("", log));
		assert_int_equal(c->log_level, levels[i].expected);
		config_unref(c);
	}
	c = config_text_load(config_text_with("\"versions\": [1]", ""));
	assert_int_equal(c->listeners[0].versions, CONFIG_VERSION_1);
	config_unref(c);
	c = config_text_load(config_text_with("\"versions\": [2, 1]", ""));
	assert_int_equal(c->listeners[0].versions, CONFIG_VERSION_1 | CONFIG_VERSION_2);
	config_unref(c);
}

/* Is @value accepted for @key of the listener, or of the whole if @outside? A key may bring the object that it is in. */
static bool accepts(const char *key, long long value, bool outside)
{
	struct config_error error;
	struct config *c;
	char member[128];

	snprintf(member, sizeof member, "\"%s\": %lld%s", key, value,
		 strchr(key, '{') != NULL ? "}" : "");
	if (config_text_try(config_text_with(outside ? "" : member, outside ? member : ""), &c,
			    &error) != 0)
		return false;
	config_unref(c);
	return true;
}

static void test_ranges_are_those_of_the_contract(void **state)
{
	static const struct {
		const char *key;
		long long min, max;
		bool outside;
	} keys[] = {
		{ "workers", 1, 1024, true },
		{ "shutdown_timeout_ms", 0, 3600000, true },
		{ "header_timeout_ms", 1, 600000, false },
		{ "connect_timeout_ms", 1, 600000, false },
		{ "idle_timeout_ms", 0, 86400000, false },
		{ "max_header_bytes", 107, 65551, false },
		{ "max_connections", 0, 1000000, false },
		{ "max_connections_per_client", 0, 1000000, false },
		{ "connection_rate_per_client\": {\"per_second", 1, 1000000, false },
		{ "connection_rate_per_client\": {\"per_second\": 1, \"burst", 1, 1000000, false },
		{ "max_tracked_clients", 1024, 10000000, false },
		{ "upstream_check\": {\"interval_ms", 0, 3600000, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		assert_true(accepts(keys[i].key, keys[i].min, keys[i].outside));
		assert_true(accepts(keys[i].key, keys[i].max, keys[i].outside));
		assert_false(accepts(keys[i].key, keys[i].min - 1, keys[i].outside));
		assert_false(accepts(keys[i].key, keys[i].max + 1, keys[i].outside));
		assert_false(accepts(keys[i].key, -keys[i].max, keys[i].outside));
		assert_false(accepts(keys[i].key, keys[i].min + (1LL << 32), keys[i].outside));
	}
}

static void test_a_whole_number_may_be_written_with_an_exponent(void **state)
{
	struct config *c = config_text_load(config_text_with("\"max_connections\": 1e3", ""));

	(void)state;
	assert_int_equal(c->listeners[0].max_connections, 1000);
	config_unref(c);
}

/* --- listeners --- */

static void test_an_upstream_can_be_a_pair(void **state)
{
	struct config *c = config_text_load(
	    "{\"listeners\": [{\"listen\": \"unix:/run/in.sock\", \"trusted_proxies\": "
	    "[\"unix:\", \"10.0.0.1\"], \"upstream\": {\"ipv6\": \"[::1]:2\", \"ipv4\": "
	    "\"unix:/run/app.sock\"}}]}");
	const struct listener_config *l = &c->listeners[0];

	(void)state;
	assert_true(l->upstream_is_pair);
	assert_string_equal(l->upstream[0].text, "unix:/run/app.sock");
	assert_string_equal(l->upstream[1].text, "[::1]:2");
	assert_true(l->trust_unix);
	assert_int_equal(cidr_set_count(l->trusted), 1);
	assert_string_equal(l->name, "unix:/run/in.sock");
	config_unref(c);
}

static void test_listeners_may_share_what_is_not_an_address(void **state)
{
	struct config *c = config_text_load(
	    "{\"listeners\": ["
	    "{\"name\": \"a\", \"listen\": \"127.0.0.1:0\", \"upstream\": \"db:2\", "
	    "\"trusted_proxies\": [\"::/0\"]},"
	    "{\"name\": \"b\", \"listen\": \"127.0.0.1:0\", \"upstream\": \"db:2\", "
	    "\"trusted_proxies\": [\"::/0\"]},"
	    "{\"listen\": \"[::1]:80\", \"upstream\": \"db:2\", "
	    "\"trusted_proxies\": [\"::/0\"]},"
	    "{\"listen\": \"127.0.0.1:80\", \"upstream\": \"db:2\", "
	    "\"trusted_proxies\": [\"::/0\"]},"
	    "{\"listen\": \"[::]:80\", \"upstream\": \"db:2\", "
	    "\"trusted_proxies\": [\"::/0\"]},"
	    "{\"listen\": \"0.0.0.0:81\", \"upstream\": \"db:2\", "
	    "\"trusted_proxies\": [\"::/0\"]}]}");

	(void)state;
	assert_int_equal(c->listener_count, 6);
	assert_int_equal(c->listeners[0].upstream[1].kind, ENDPOINT_NAME);
	config_unref(c);
}

/* --- trust --- */

static void test_trust_comes_from_networks_and_lists(void **state)
{
	struct config *c = config_text_load(
	    "{\"listeners\": [{\"listen\": \"127.0.0.1:1\", \"upstream\": \"127.0.0.1:2\", "
	    "\"trusted_proxies\": [\"nlb\", \"192.0.2.1\", \"2001:db8::/32\", \"beef\"]}], "
	    "\"proxy_lists\": {\"nlb\": [\"10.0.0.0/24\", \"10.0.1.0/24\"], \"beef\": "
	    "[\"::ffff:10.0.2.0/119\"], \"unused\": [\"0.0.0.0/0\"]}}");

	(void)state;
	assert_true(config_trusts(c, "10.0.0.7"));
	assert_true(config_trusts(c, "10.0.1.7"));
	assert_true(config_trusts(c, "10.0.2.7"));
	assert_true(config_trusts(c, "192.0.2.1"));
	assert_true(config_trusts(c, "2001:db8::7"));
	assert_false(config_trusts(c, "10.0.4.7"));
	assert_false(config_trusts(c, "192.0.2.2"));
	assert_int_equal(cidr_set_count(c->listeners[0].trusted), 3);
	config_unref(c);
}

/* --- clients --- */

static bool contains(const struct cidr_set *set, const char *text)
{
	struct address a;

	assert_int_equal(address_parse_ip(text, &a), 0);
	return cidr_set_contains(set, &a);
}

static void test_clients_come_from_networks_and_lists(void **state)
{
	struct config *c = config_text_load(config_text_with(
	    "\"clients\": {\"allow\": [\"office\", \"198.51.100.0/24\"], \"deny\": "
	    "[\"198.51.100.7\", \"2001:db8:bad::/48\"]}",
	    "\"proxy_lists\": {\"office\": [\"2001:db8::/32\"]}"));
	const struct listener_config *l = &c->listeners[0];

	(void)state;
	assert_true(contains(l->clients_allow, "2001:db8::7"));
	assert_true(contains(l->clients_allow, "198.51.100.7"));
	assert_false(contains(l->clients_allow, "203.0.113.7"));
	assert_true(contains(l->clients_deny, "198.51.100.7"));
	assert_true(contains(l->clients_deny, "2001:db8:bad::7"));
	assert_false(contains(l->clients_deny, "2001:db8::7"));
	assert_false(config_trusts(c, "198.51.100.7"));
	config_unref(c);
}

static void test_endpoints_keep_their_order(void **state)
{
	char longest[256] = "";
	char clients[512];
	struct config *c;

	(void)state;
	memset(longest, '~', sizeof longest - 1);
	snprintf(clients, sizeof clients,
		 "\"clients\": {\"vpc_endpoints\": [\"vpce-2\", \"vpce-1\", \"%s\", \"!\"]}",
		 longest);
	c = config_text_load(config_text_with(clients, ""));
	assert_int_equal(c->listeners[0].vpc_endpoint_count, 4);
	assert_string_equal(c->listeners[0].vpc_endpoints[0], "vpce-2");
	assert_string_equal(c->listeners[0].vpc_endpoints[1], "vpce-1");
	assert_string_equal(c->listeners[0].vpc_endpoints[2], longest);
	assert_string_equal(c->listeners[0].vpc_endpoints[3], "!");
	config_unref(c);
}

/* --- the list of keys --- */

static void test_the_list_of_keys_has_what_may_be_written(void **state)
{
	static const char *const lines[] = {
		"workers\t\"auto\"\t\"auto\" or a whole number from 1 to 1024\t",
		"\nlog.level\t\"info\"\t\"error\", \"warn\", \"info\" or \"debug\"\t",
		"\nlisteners[].transparent\tfalse\ttrue or false\t",
		"\nlisteners[].versions\t[1, 2]\t",
		"\nlisteners[].clients.allow\t\tan array of networks",
		"\nlisteners[].connection_rate_per_client.per_second\t\ta whole number",
		"\nlisteners[].connection_rate_per_client.burst\tper_second\ta whole number",
		"\nlisteners[].upstream_check.interval_ms\t5000\t",
		"\ntransparent_routing.mark\t7700\t",
		"\ntransparent_routing.table\t7700\t",
		"\nadmin.listen\t\t",
	};
	char text[8192];
	struct strbuf s;

	(void)state;
	strbuf_init(&s, text, sizeof text);
	config_keys_list(&s);
	assert_false(s.cut);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (strstr(text, lines[i]) == NULL)
			fail_msg("no \"%s\" in:\n%s", lines[i], text);
	assert_null(strstr(text, "\nlog\t"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_absent_has_its_default),
		cmocka_unit_test(test_what_limits_and_reports_is_off_unless_asked_for),
		cmocka_unit_test(test_an_empty_log_object_is_all_defaults),
		cmocka_unit_test(test_mark_and_table_may_be_anything_but_the_tables_of_the_kernel),
		cmocka_unit_test(test_what_is_written_arrives),
		cmocka_unit_test(test_what_is_asked_of_clients_arrives),
		cmocka_unit_test(test_a_rate_alone_is_its_own_burst),
		cmocka_unit_test(test_the_admin_listener_can_be_a_port_or_a_socket),
		cmocka_unit_test(test_every_choice_is_told_from_the_others),
		cmocka_unit_test(test_ranges_are_those_of_the_contract),
		cmocka_unit_test(test_a_whole_number_may_be_written_with_an_exponent),
		cmocka_unit_test(test_an_upstream_can_be_a_pair),
		cmocka_unit_test(test_listeners_may_share_what_is_not_an_address),
		cmocka_unit_test(test_trust_comes_from_networks_and_lists),
		cmocka_unit_test(test_clients_come_from_networks_and_lists),
		cmocka_unit_test(test_endpoints_keep_their_order),
		cmocka_unit_test(test_the_list_of_keys_has_what_may_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
