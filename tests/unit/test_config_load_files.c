/* SPDX-License-Identifier: MIT */
/* Configurations from where they come: files, lists in files, the standard input, flags; and memory running out on
 * the way. The argument is the path of config.example.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "lib/config_text.h"
#include "lib/test_fault.h"

#define MORE_THAN_LARGEST (17 << 20)

static const char *example;

/* --- a folder for files --- */

static char folder[] = "/tmp/unproxy-test-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static const char *in_folder(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(in_folder(name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	fclose(f);
}

static int remove_folder(void **state)
{
	static const char *const names[] = { "config.json", "nlb.json", "large.json" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(in_folder(names[i]));
	return rmdir(folder);
}

/* --- lists in files --- */

/* An array of @count networks, each with a neighbour that is none, to be freed. */
static char *long_list(unsigned count)
{
	size_t size = 32 * (size_t)count;
	char *text = malloc(size);
	struct strbuf s;

	assert_non_null(text);
	strbuf_init(&s, text, size);
	for (unsigned i = count; i-- > 0;) /* not in their order */
		strbuf_printf(&s, "%c\n\"10.%u.%u.%u/32\"", i == count - 1 ? '[' : ',',
			      i >> 15 & 255, i >> 7 & 255, i << 1 & 255);
	strbuf_puts(&s, "]\n");
	assert_false(s.cut);
	return text;
}

static void test_a_list_can_come_from_a_file_beside_the_configuration(void **state)
{
	char *list = long_list(100000);
	struct config_error error = { "" };
	struct config *c;

	(void)state;
	write_file("nlb.json", list);
	write_file("config.json",
		   "{\"listeners\": [{\"listen\": \"127.0.0.1:1\", \"upstream\": "
		   "\"127.0.0.1:2\", \"trusted_proxies\": [\"nlb\"]}], \"proxy_lists\": {\"nlb\": "
		   "{\"file\": \"nlb.json\"}}}");
	if (config_load_file(in_folder("config.json"), &c, &error) != 0)
		fail_msg("%s", error.text);
	assert_int_equal(cidr_set_count(c->listeners[0].trusted), 100000);
	assert_true(config_trusts(c, "10.0.0.0"));
	assert_true(config_trusts(c, "10.0.7.254"));
	assert_false(config_trusts(c, "10.0.7.255"));
	config_unref(c);
	free(list);
}

static void test_a_list_can_have_an_absolute_path(void **state)
{
	char rest[512];
	struct config *c;

	(void)state;
	write_file("nlb.json", "[\"10.0.0.0/24\"]");
	snprintf(rest, sizeof rest, "\"proxy_lists\": {\"nlb\": {\"file\": \"%s\"}}",
		 in_folder("nlb.json"));
	c = config_text_load(config_text_with("", rest));
	config_unref(c);
}

static void test_mistakes_in_a_list_are_told_by_its_own_lines(void **state)
{
	static const struct {
		const char *list;
		const char *message;
	} cases[] = {
		{ "[\n  \"10.0.0.0/24\",\n  \"10.0.1.1/24\"\n]\n",
		  "3:3: [1]: \"10.0.1.1/24\": host bits are set; the network is 10.0.1.0/24" },
		{ "[\"10.0.0.0/24\" \"10.0.1.0/24\"]", "1:16: expected \",\" or \"]\"" },
		{ "[]", "1:1: []: an empty list trusts nobody; add a network or remove it" },
		{ "", "1:1: there is nothing in it" },
		{ "{\"nlb\": [\"10.0.0.0/24\"]}",
		  "1:1: an object: must be an array of networks, such as [\"10.0.0.0/24\"]" },
		{ "[10]", "1:2: [0]: 10: must be a network or an address in quotes" },
	};

	(void)state;
	write_file("config.json",
		   config_text_with("", "\"proxy_lists\": {\"nlb\": {\"file\": \"nlb.json\"}}"));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_error error = { "" };
		struct config *c = NULL;
		char expected[512];

		write_file("nlb.json", cases[i].list);
		snprintf(expected, sizeof expected, "%s:%s", in_folder("nlb.json"),
			 cases[i].message);
		assert_int_equal(config_load_file(in_folder("config.json"), &c, &error), -EINVAL);
		assert_string_equal(error.text, expected);
		assert_null(c);
	}
}

static void test_a_list_that_cannot_be_read_is_told_where_it_is_named(void **state)
{
	struct config_error error = { "" };
	struct config *c = NULL;
	char path[256], expected[1024];

	(void)state;
	unlink(in_folder("nlb.json"));
	write_file("config.json",
		   config_text_with("", "\n\"proxy_lists\": {\"nlb\": {\"file\": \"nlb.json\"}}"));
	snprintf(path, sizeof path, "%s", in_folder("config.json"));
	snprintf(expected, sizeof expected,
		 "%s:2:33: proxy_lists.nlb.file: \"nlb.json\": cannot read %s: No such file or "
		 "directory",
		 path, in_folder("nlb.json"));
	assert_int_equal(config_load_file(path, &c, &error), -EINVAL);
	assert_string_equal(error.text, expected);
	assert_null(c);
}

/* --- where it comes from --- */

static void check_file(const struct config_file *file, const char *path)
{
	struct file_stamp stamp = file_stamp_take(path);

	assert_string_equal(file->path, path);
	assert_int_not_equal(stamp.inode, 0);
	assert_true(file_stamp_equal(&file->stamp, &stamp));
}

/* Is @c made of these files? @first may be NULL: it is not made of any. */
static void check_files(const struct config *c, const char *first, const char *second)
{
	assert_int_equal(c->file_count, first == NULL ? 0 : second == NULL ? 1 : 2);
	if (first != NULL)
		check_file(&c->files[0], first);
	if (second != NULL)
		check_file(&c->files[1], second);
}

static void test_files_that_were_read_can_be_watched(void **state)
{
	struct config_error error = { "" };
	struct config *c;
	char path[256];

	(void)state;
	snprintf(path, sizeof path, "%s", in_folder("config.json"));
	write_file("nlb.json", "[\"10.0.0.0/24\"]");
	write_file("config.json",
		   config_text_with("", "\"watch\": true, \"proxy_lists\": {\"a\": {\"file\": "
					"\"nlb.json\"}, \"b\": {\"file\": \"nlb.json\"}}"));
	if (config_load_file(path, &c, &error) != 0)
		fail_msg("%s", error.text);
	assert_true(c->watch);
	check_files(c, path, in_folder("nlb.json"));
	config_unref(c);
	write_file("config.json", config_text_with("", "\"watch\": true"));
	if (config_load_file(path, &c, &error) != 0)
		fail_msg("%s", error.text);
	check_files(c, path, NULL);
	config_unref(c);
}

static void test_a_list_file_can_be_watched_alone(void **state)
{
	char rest[512];
	struct config *c;

	(void)state;
	write_file("nlb.json", "[\"10.0.0.0/24\"]");
	snprintf(rest, sizeof rest,
		 "\"watch\": true, \"proxy_lists\": {\"nlb\": {\"file\": \"%s\"}}",
		 in_folder("nlb.json"));
	c = config_text_load(config_text_with("", rest));
	check_files(c, in_folder("nlb.json"), NULL);
	config_unref(c);
}

static void test_the_example_loads(void **state)
{
	struct config_error error = { "" };
	struct config *c;

	(void)state;
	if (config_load_file(example, &c, &error) != 0)
		fail_msg("%s", error.text);
	assert_string_equal(c->listeners[0].name, "postgres");
	assert_true(config_trusts(c, "10.0.2.255"));
	config_unref(c);
}

static int load_standard_input(const char *text, struct config **ret, struct config_error *reterr)
{
	int saved = dup(STDIN_FILENO);
	int fds[2];
	int rv;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], text, strlen(text)), strlen(text));
	close(fds[1]);
	dup2(fds[0], STDIN_FILENO);
	close(fds[0]);
	rv = config_load_file("-", ret, reterr);
	dup2(saved, STDIN_FILENO);
	close(saved);
	return rv;
}

static void test_minus_is_the_standard_input(void **state)
{
	char *text = config_text_with("\"max_connections\": 1", "");
	struct config_error error = { "" };
	char expected[128];
	struct config *c;

	(void)state;
	assert_int_equal(load_standard_input(text, &c, &error), 0);
	assert_int_equal(c->listeners[0].max_connections, 1);
	check_files(c, NULL, NULL);
	config_unref(c);
	snprintf(expected, sizeof expected, "stdin:1:%zu: nothing may follow the end of the value",
		 strlen(text) + 1);
	strcat(text, "x");
	assert_int_equal(load_standard_input(text, &c, &error), -EINVAL);
	assert_string_equal(error.text, expected);
}

static void test_files_that_cannot_be_read_say_why(void **state)
{
	struct config_error error = { "" };
	struct config *c = NULL;
	char expected[512];

	(void)state;
	assert_int_equal(config_load_file("/no/such/file", &c, &error), -ENOENT);
	assert_string_equal(error.text, "/no/such/file: No such file or directory");
	assert_int_equal(config_load_file(folder, &c, &error), -EISDIR);
	snprintf(expected, sizeof expected, "%s: Is a directory", folder);
	assert_string_equal(error.text, expected);
	write_file("large.json", "");
	assert_int_equal(truncate(in_folder("large.json"), MORE_THAN_LARGEST), 0);
	assert_int_equal(config_load_file(in_folder("large.json"), &c, &error), -EFBIG);
	snprintf(expected, sizeof expected, "%s: larger than 16 MiB; is it the right file?",
		 in_folder("large.json"));
	assert_string_equal(error.text, expected);
	assert_null(c);
}

static void test_flags_make_a_listener(void **state)
{
	static const struct config_flags flags = {
		.listen = "[::]:1",
		.upstream = "db:2",
		.trust = "10.0.0.0/24,2001:db8::/32",
	};
	struct config_error error = { "" };
	struct config *c;

	(void)state;
	if (config_load_flags(&flags, &c, &error) != 0)
		fail_msg("%s", error.text);
	assert_int_equal(c->listener_count, 1);
	assert_string_equal(c->listeners[0].name, "[::]:1");
	assert_string_equal(c->listeners[0].upstream[0].host, "db");
	assert_true(config_trusts(c, "10.0.0.1"));
	assert_true(config_trusts(c, "2001:db8::1"));
	assert_int_equal(c->listeners[0].header_timeout_ms, 5000);
	check_files(c, NULL, NULL);
	config_unref(c);
}

static void test_mistakes_in_flags_name_the_flag(void **state)
{
	static const struct {
		struct config_flags flags;
		const char *message;
	} cases[] = {
		{ { NULL, "127.0.0.1:2", "10.0.0.1", false },
		  "--listen is missing; --listen, --upstream and --trust go together" },
		{ { "[::]:1", NULL, "10.0.0.1", false },
		  "--upstream is missing; --listen, --upstream and --trust go together" },
		{ { "[::]:1", "127.0.0.1:2", NULL, false },
		  "--trust is missing; --listen, --upstream and --trust go together" },
		{ { "db:1", "127.0.0.1:2", "10.0.0.1", false },
		  "--listen: \"db:1\": host names are not looked up here; write an address, such as "
		  "\"[::]:PORT\" or \"127.0.0.1:PORT\"" },
		{ { "[::]:1", "127.0.0.1", "10.0.0.1", false },
		  "--upstream: \"127.0.0.1\": a port is missing; write HOST:PORT, as in "
		  "\"127.0.0.1:5432\"" },
		{ { "[::]:1", "127.0.0.1:2", "10.0.0.1,10.0.0.0/33", false },
		  "--trust: \"10.0.0.0/33\": prefix length is 0 to 32" },
		{ { "[::]:1", "127.0.0.1:2", "", false },
		  "--trust: \"\": neither an address nor a network, and there are no "
		  "\"proxy_lists\"" },
		{ { "[::]:1", "127.0.0.1:2", "10.0.0.1,", false },
		  "--trust: \"\": neither an address nor a network, and there are no "
		  "\"proxy_lists\"" },
		{ { "unix:/run/in.sock", "127.0.0.1:2", "10.0.0.1", false },
		  "--trust: peers on a unix socket have no address; add \"unix:\" to trust whoever "
		  "can open /run/in.sock" },
		{ { "[::]:1", "unix:/run/app.sock", "10.0.0.1", true },
		  "--upstream: \"unix:/run/app.sock\": connections to a unix socket have no "
		  "client address, so `transparent` needs the application's TCP port" },
		{ { "[::]:1", "a\033[2J\"b:2", "10.0.0.1", false },
		  "--upstream: \"a\\u001b[2J\\\"b:2\": neither an IP address nor a host name" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_error error = { "" };
		struct config *c = NULL;

		assert_int_equal(config_load_flags(&cases[i].flags, &c, &error), -EINVAL);
		assert_string_equal(error.text, cases[i].message);
		assert_null(c);
	}
}

/* --- out of memory --- */

static int load_example(struct config **ret, struct config_error *reterr)
{
	return config_load_file(example, ret, reterr);
}

static int load_with_file(struct config **ret, struct config_error *reterr)
{
	return config_load_file(in_folder("config.json"), ret, reterr);
}

static int load_text(struct config **ret, struct config_error *reterr)
{
	return config_text_try(
	    "{\"listeners\": [{\"listen\": \"unix:/run/in.sock\", \"trusted_proxies\": "
	    "[\"unix:\", \"::1\", \"l\"], \"upstream\": {\"ipv6\": \"db:2\", "
	    "\"ipv4\": \"unix:/run/app.sock\"}, \"name\": \"n\", \"clients\": {\"deny\": "
	    "[\"l\"], \"vpc_endpoints\": [\"a\", \"b\"]}}], \"proxy_lists\": {\"l\": "
	    "[\"10.0.0.0/24\", \"2001:db8::/32\"]}, \"log\": {\"output\": \"x\"}, "
	    "\"admin\": {\"listen\": \"unix:/run/admin.sock\"}}",
	    ret, reterr);
}

static int load_flags(struct config **ret, struct config_error *reterr)
{
	static const struct config_flags flags = {
		.listen = "[::]:1",
		.upstream = "db:2",
		.trust = "10.0.0.0/24,2001:db8::/32",
	};

	return config_load_flags(&flags, ret, reterr);
}

static void test_running_out_of_memory_anywhere_leaves_nothing(void **state)
{
	static int (*const loads[])(struct config **,
				    struct config_error *) = { load_example, load_with_file,
							       load_text, load_flags };

	(void)state;
	write_file("config.json",
		   config_text_with("", "\"proxy_lists\": {\"nlb\": {\"file\": \"nlb.json\"}}"));
	write_file("nlb.json", "[\"10.0.0.0/24\"]");
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		for (unsigned fail_at = 0;; fail_at++) {
			struct config_error error = { "" };
			struct config *c = NULL;
			int rv;

			fault_arm(fail_at);
			rv = loads[i](&c, &error);
			if (!fault_disarm()) {
				assert_int_equal(rv, 0);
				assert_true(fail_at > 20);
				config_unref(c);
				break;
			}
			assert_int_equal(rv, -ENOMEM);
			assert_non_null(strstr(error.text, "out of memory"));
			assert_null(c);
		}
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_list_can_come_from_a_file_beside_the_configuration),
		cmocka_unit_test(test_a_list_can_have_an_absolute_path),
		cmocka_unit_test(test_mistakes_in_a_list_are_told_by_its_own_lines),
		cmocka_unit_test(test_a_list_that_cannot_be_read_is_told_where_it_is_named),
		cmocka_unit_test(test_files_that_were_read_can_be_watched),
		cmocka_unit_test(test_a_list_file_can_be_watched_alone),
		cmocka_unit_test(test_the_example_loads),
		cmocka_unit_test(test_minus_is_the_standard_input),
		cmocka_unit_test(test_files_that_cannot_be_read_say_why),
		cmocka_unit_test(test_flags_make_a_listener),
		cmocka_unit_test(test_mistakes_in_flags_name_the_flag),
		cmocka_unit_test(test_running_out_of_memory_anywhere_leaves_nothing),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s config.example.json\n", argv[0]);
		return 2;
	}
	example = argv[1];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
