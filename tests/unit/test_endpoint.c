/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conf/endpoint.h"
#include "lib/test_fault.h"

#define LABEL_OF_63 "a23456789b23456789c23456789d23456789e23456789f23456789g23456789"
#define PATH_OF_107                                           \
	"/23456789a123456789b123456789c123456789d123456789e1" \
	"23456789f123456789g123456789h123456789i123456789j1234567"

static void test_good_endpoints(void **state)
{
	static const struct {
		const char *text;
		bool names;
		enum endpoint_kind kind;
		const char *written;
	} cases[] = {
		{ "127.0.0.1:5432", false, ENDPOINT_IP, "127.0.0.1:5432" },
		{ "0.0.0.0:1", false, ENDPOINT_IP, "0.0.0.0:1" },
		{ "[::]:65535", false, ENDPOINT_IP, "[::]:65535" },
		{ "[2001:0DB8::0001]:80", false, ENDPOINT_IP, "[2001:db8::1]:80" },
		{ "[::ffff:192.0.2.1]:80", false, ENDPOINT_IP, "192.0.2.1:80" },
		{ "127.0.0.1:0", false, ENDPOINT_IP, "127.0.0.1:0" },
		{ "[::1]:5432", true, ENDPOINT_IP, "[::1]:5432" },
		{ "unix:/run/app.sock", false, ENDPOINT_UNIX, "unix:/run/app.sock" },
		{ "unix:/run/a:b [c].sock", true, ENDPOINT_UNIX, "unix:/run/a:b [c].sock" },
		{ "unix:" PATH_OF_107, true, ENDPOINT_UNIX, "unix:" PATH_OF_107 },
		{ "localhost:5432", true, ENDPOINT_NAME, "localhost:5432" },
		{ "db-1.my_ns.svc.cluster.local.:80", true, ENDPOINT_NAME,
		  "db-1.my_ns.svc.cluster.local.:80" },
		{ "1und1.example:80", true, ENDPOINT_NAME, "1und1.example:80" },
		{ LABEL_OF_63 ":80", true, ENDPOINT_NAME, LABEL_OF_63 ":80" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct endpoint e = { .kind = ENDPOINT_IP };
		char why[ENDPOINT_ERROR_MAX] = "";

		if (endpoint_parse(cases[i].text, cases[i].names, &e, why) != 0)
			fail_msg("%s: %s", cases[i].text, why);
		assert_int_equal(e.kind, cases[i].kind);
		assert_string_equal(e.text, cases[i].written);
		assert_int_equal(e.path != NULL, e.kind == ENDPOINT_UNIX);
		assert_int_equal(e.host != NULL, e.kind == ENDPOINT_NAME);
		endpoint_fini(&e);
		assert_null(e.text);
		endpoint_fini(&e);
	}
}

static void test_the_parts_of_an_endpoint(void **state)
{
	struct endpoint ip, path, name;
	char why[ENDPOINT_ERROR_MAX];

	(void)state;
	assert_int_equal(endpoint_parse("[::1]:5432", false, &ip, why), 0);
	assert_int_equal(ip.ip.family, AF_INET6);
	assert_int_equal(ip.ip.port, 5432);
	assert_int_equal(ip.ip.ip[15], 1);
	assert_int_equal(endpoint_parse("unix:/run/app.sock", false, &path, why), 0);
	assert_string_equal(path.path, "/run/app.sock");
	assert_int_equal(endpoint_parse("db.internal:65535", true, &name, why), 0);
	assert_string_equal(name.host, "db.internal");
	assert_int_equal(name.port, 65535);
	endpoint_fini(&ip);
	endpoint_fini(&path);
	endpoint_fini(&name);
}

static void test_refused_endpoints_say_why(void **state)
{
	static const char no_name[] = "neither an IP address nor a host name";
	static const struct {
		const char *text;
		bool names;
		const char *why;
	} cases[] = {
		{ "5432", false,
		  "an address is missing; write \"[::]:5432\" for all, or \"0.0.0.0:5432\" for all "
		  "of IPv4" },
		{ ":80", false,
		  "an address is missing; write \"[::]:80\" for all, or \"0.0.0.0:80\" for all of "
		  "IPv4" },
		{ "*:80", false,
		  "an address is missing; write \"[::]:80\" for all, or \"0.0.0.0:80\" for all of "
		  "IPv4" },
		{ ":80", true, "a host is missing; for this machine write \"127.0.0.1:80\"" },
		{ "123456", false, "a port is missing; write ADDRESS:PORT, as in \"[::]:5432\"" },
		{ "", false, "a port is missing; write ADDRESS:PORT, as in \"[::]:5432\"" },
		{ "db", true, "a port is missing; write HOST:PORT, as in \"127.0.0.1:5432\"" },
		{ "localhost:80", false,
		  "host names are not looked up here; write an address, such as \"[::]:PORT\" or "
		  "\"127.0.0.1:PORT\"" },
		{ "1.2.3.4:", false, "the port is a number from 0 to 65535" },
		{ "1.2.3.4:-1", false, "the port is a number from 0 to 65535" },
		{ "1.2.3.4:080", false, "the port is a number from 0 to 65535" },
		{ "1.2.3.4:65536", false, "the port is a number from 0 to 65535" },
		{ "1.2.3.4:80 ", false, "the port is a number from 0 to 65535" },
		{ "1.2.3.4:0", true, "the port is a number from 1 to 65535" },
		{ "db:0", true, "the port is a number from 1 to 65535" },
		{ "1.2.3:80", false, "not an IP address" },
		{ "1.2.3.4.5:80", true, no_name },
		{ "10.0.0.256:80", true, no_name },
		{ "10.0.0.1.:80", true, no_name },
		{ "a..b:80", true, no_name },
		{ ".a:80", true, no_name },
		{ "-a:80", true, no_name },
		{ "a-.b:80", true, no_name },
		{ "a b:80", true, no_name },
		{ "ä:80", true, no_name },
		{ LABEL_OF_63 "4:80", true, no_name },
		{ "::1:80", false,
		  "an IPv6 address stands in brackets, as in \"[2001:db8::1]:5432\"" },
		{ "[::1]", false, "a port is missing behind \"]\", as in \"[2001:db8::1]:5432\"" },
		{ "[::1]80", false,
		  "a port is missing behind \"]\", as in \"[2001:db8::1]:5432\"" },
		{ "[::1:80", false, "a closing \"]\" is missing" },
		{ "[1.2.3.4]:80", false,
		  "an IPv6 address (without a zone) belongs between \"[\" and \"]\"" },
		{ "[fe80::1%lo]:80", true,
		  "an IPv6 address (without a zone) belongs between \"[\" and \"]\"" },
		{ "[db]:80", true,
		  "an IPv6 address (without a zone) belongs between \"[\" and \"]\"" },
		{ "[]:80", true,
		  "an IPv6 address (without a zone) belongs between \"[\" and \"]\"" },
		{ "tcp://1.2.3.4:80", true, "not a URL; write HOST:PORT alone" },
		{ "unix:", false,
		  "the path of a unix socket begins with \"/\", as in \"unix:/run/app.sock\"" },
		{ "unix:app.sock", true,
		  "the path of a unix socket begins with \"/\", as in \"unix:/run/app.sock\"" },
		{ "unix:@app", true,
		  "the path of a unix socket begins with \"/\", as in \"unix:/run/app.sock\"" },
		{ "unix:" PATH_OF_107 "8", true,
		  "the path of a unix socket has at most 107 bytes" },
		{ "unix:/run/\napp", true, "control characters have no place in a path" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct endpoint e = { .port = 77 };
		char why[ENDPOINT_ERROR_MAX] = "";

		if (endpoint_parse(cases[i].text, cases[i].names, &e, why) != -EINVAL ||
		    strcmp(why, cases[i].why) != 0)
			fail_msg("\"%s\": %s", cases[i].text, why);
		assert_int_equal(e.port, 77);
	}
}

static void test_a_host_name_has_at_most_253_characters(void **state)
{
	char text[300];
	char why[ENDPOINT_ERROR_MAX] = "";
	struct endpoint e;

	(void)state;
	snprintf(text, sizeof text, "%s.%s.%s.%s:80", LABEL_OF_63, LABEL_OF_63, LABEL_OF_63,
		 &LABEL_OF_63[2]); /* 253 */
	assert_int_equal(endpoint_parse(text, true, &e, why), 0);
	endpoint_fini(&e);
	snprintf(text, sizeof text, "%s.%s.%s.%s:80", LABEL_OF_63, LABEL_OF_63, LABEL_OF_63,
		 &LABEL_OF_63[1]);
	assert_int_equal(endpoint_parse(text, true, &e, why), -EINVAL);
	assert_string_equal(why, "a host name has at most 253 characters");
}

static void test_running_out_of_memory_leaves_nothing(void **state)
{
	static const char *const texts[] = { "127.0.0.1:80", "unix:/run/app.sock", "db:80" };

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		for (unsigned fail_at = 0;; fail_at++) {
			struct endpoint e = { .port = 77 };
			char why[ENDPOINT_ERROR_MAX];
			int rv;

			fault_arm(fail_at);
			rv = endpoint_parse(texts[i], true, &e, why);
			if (!fault_disarm()) {
				assert_int_equal(rv, 0);
				assert_true(fail_at > 0);
				endpoint_fini(&e);
				break;
			}
			assert_int_equal(rv, -ENOMEM);
			assert_int_equal(e.port, 77);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_endpoints),
		cmocka_unit_test(test_the_parts_of_an_endpoint),
		cmocka_unit_test(test_refused_endpoints_say_why),
		cmocka_unit_test(test_a_host_name_has_at_most_253_characters),
		cmocka_unit_test(test_running_out_of_memory_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
