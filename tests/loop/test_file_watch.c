/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/config.h"
#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "server/file_watch.h"

struct fixture {
	char directory[48]; /* the current one during a test */
	uv_loop_t loop;
	struct file_watch *watch;
	unsigned calls;
	bool ends; /* the callback destroys the watch */
	unsigned fds_before;
};

static void on_change(void *data)
{
	struct fixture *f = data;

	f->calls++;
	if (f->ends) {
		file_watch_destroy(f->watch);
		f->watch = NULL;
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->directory, "/tmp/test_file_watch.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	assert_int_equal(chdir(f->directory), 0);
	f->fds_before = test_count_fds();
	test_loop_open(&f->loop);
	assert_int_equal(file_watch_create(&f->loop, on_change, f, &f->watch), 0);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	file_watch_destroy(f->watch);
	test_loop_run_out(&f->loop);
	test_loop_close(&f->loop);
	assert_int_equal(test_count_fds(), f->fds_before);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(nftw(f->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(f);
	return 0;
}

/* --- files --- */

static void write_some(const char *path, int flags, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void write_file(const char *path, const char *text)
{
	write_some(path, O_TRUNC, text);
}

/* As an editor saves it. */
static void replace_file(const char *path, const char *text)
{
	char temporary[128];

	snprintf(temporary, sizeof temporary, "%s.new", path);
	write_file(temporary, text);
	assert_int_equal(rename(temporary, path), 0);
}

static void make_folder(const char *path)
{
	assert_int_equal(mkdir(path, 0755), 0);
}

static void make_link(const char *to, const char *path)
{
	assert_int_equal(symlink(to, path), 0);
}

/* As Kubernetes publishes a ConfigMap. */
static void publish(const char *version, const char *text)
{
	char path[128];

	make_folder(version);
	snprintf(path, sizeof path, "%s/config.json", version);
	write_file(path, text);
	make_link(version, "..data_tmp");
	assert_int_equal(rename("..data_tmp", "..data"), 0);
}

/* --- watching --- */

/* Watch files as they are now. */
static int try_watch(struct fixture *f, const char *first, const char *second)
{
	struct config_file files[2] = { { .path = strdup(first) } };
	size_t count = second == NULL ? 1 : 2;
	int rv;

	if (second != NULL)
		files[1].path = strdup(second);
	for (size_t i = 0; i < count; i++)
		files[i].stamp = file_stamp_take(files[i].path);
	rv = file_watch_set(f->watch, files, count);
	free(files[0].path);
	free(files[1].path);
	return rv;
}

static void look_for_waiting(uv_handle_t *handle, void *data)
{
	bool *is_waiting = data;

	if (handle->type == UV_TIMER && uv_is_active(handle))
		*is_waiting = true;
}

/* It waits for things to come to rest. */
static bool is_waiting(void *data)
{
	struct fixture *f = data;
	bool waiting = false;

	uv_walk(&f->loop, look_for_waiting, &waiting);
	return waiting;
}

static bool is_at_rest(void *data)
{
	return !is_waiting(data);
}

static void watch_two(struct fixture *f, const char *first, const char *second)
{
	assert_int_equal(try_watch(f, first, second), 0);
	test_loop_until(&f->loop, is_at_rest, f, "the first look");
	assert_int_equal(f->calls, 0);
}

static void watch(struct fixture *f, const char *path)
{
	watch_two(f, path, NULL);
}

/* What happened is seen, and reported @calls times. */
static void expect_calls(struct fixture *f, unsigned calls)
{
	test_loop_until(&f->loop, is_waiting, f, "an event");
	test_loop_until(&f->loop, is_at_rest, f, "a look");
	assert_int_equal(f->calls, calls);
	f->calls = 0;
}

/* It did not concern us: what does next is the only thing that is reported. */
static void expect_nothing(struct fixture *f, const char *watched)
{
	test_loop_settle(&f->loop);
	assert_true(is_at_rest(f));
	write_some(watched, O_APPEND, " ");
	expect_calls(f, 1);
}

/* --- what is seen --- */

static void test_a_file_that_is_overwritten(void **state)
{
	struct fixture *f = *state;

	write_file("config.json", "{}");
	watch(f, "config.json");
	write_file("config.json", "{ }");
	expect_calls(f, 1);
	write_file("config.json", "{  }");
	expect_calls(f, 1);
}

static void test_a_file_that_is_replaced_by_rename(void **state)
{
	struct fixture *f = *state;

	write_file("config.json", "{}");
	watch(f, "config.json");
	for (unsigned i = 0; i < 3; i++) {
		replace_file("config.json", "{}");
		expect_calls(f, 1);
	}
}

static void test_a_file_by_its_absolute_path(void **state)
{
	struct fixture *f = *state;
	char path[PATH_MAX];

	make_folder("folder");
	write_file("folder/config.json", "{}");
	snprintf(path, sizeof path, "%s/folder/../folder//config.json", f->directory);
	watch(f, path);
	write_file("folder/config.json", "{ }");
	expect_calls(f, 1);
}

static void test_the_swap_of_a_configmap(void **state)
{
	struct fixture *f = *state;

	publish("..1", "{}");
	make_link("..data/config.json", "config.json");
	watch(f, "config.json");
	publish("..2", "{}");
	expect_calls(f, 1);
	write_file("..1/config.json", "nobody reads it any more");
	expect_nothing(f, "..2/config.json");
	publish("..3", "{}");
	expect_calls(f, 1);
}

static void test_a_link_into_another_folder(void **state)
{
	struct fixture *f = *state;
	char target[PATH_MAX];

	make_folder("here");
	make_folder("there");
	write_file("there/config.json", "{}");
	write_file("there/other.json", "{}");
	snprintf(target, sizeof target, "%s/there/config.json", f->directory);
	make_link(target, "here/config.json");
	watch(f, "here/config.json");
	write_file("there/config.json", "{ }");
	expect_calls(f, 1);
	unlink("here/config.json");
	make_link("../there/other.json", "here/config.json");
	expect_calls(f, 1);
	write_file("there/other.json", "{ }");
	expect_calls(f, 1);
}

static void test_one_of_several_files(void **state)
{
	struct fixture *f = *state;

	make_folder("lists");
	write_file("config.json", "{}");
	write_file("lists/nlb.json", "[]");
	watch_two(f, "config.json", "lists/nlb.json");
	write_file("lists/nlb.json", "[ ]");
	expect_calls(f, 1);
	write_file("config.json", "{ }");
	write_file("lists/nlb.json", "[  ]");
	expect_calls(f, 1);
}

static void test_a_file_that_goes_and_comes_back(void **state)
{
	struct fixture *f = *state;

	write_file("config.json", "{}");
	watch(f, "config.json");
	unlink("config.json");
	expect_calls(f, 1);
	write_file("config.json", "{}");
	expect_calls(f, 1);
}

static void test_a_folder_that_goes_and_comes_back(void **state)
{
	struct fixture *f = *state;

	make_folder("folder");
	write_file("folder/config.json", "{}");
	watch(f, "folder/config.json");
	assert_int_equal(rename("folder", "old"), 0);
	expect_calls(f, 1);
	make_folder("new");
	write_file("new/config.json", "{}");
	assert_int_equal(rename("new", "folder"), 0);
	expect_calls(f, 1);
	write_file("folder/config.json", "{ }");
	expect_calls(f, 1);
}

/* As a file that is mounted into a container by itself: its folder there hears nothing of what happens outside. */
static void test_a_file_that_is_overwritten_elsewhere(void **state)
{
	struct fixture *f = *state;

	make_folder("inside");
	make_folder("outside");
	write_file("outside/config.json", "{}");
	assert_int_equal(link("outside/config.json", "inside/config.json"), 0);
	make_link("inside/config.json", "config.json");
	watch(f, "config.json");
	for (unsigned i = 0; i < 3; i++) {
		write_some("outside/config.json", O_APPEND, " ");
		expect_calls(f, 1);
	}
}

static void test_permissions_to_read_it_at_last(void **state)
{
	struct fixture *f = *state;

	write_file("config.json", "{}");
	assert_int_equal(chmod("config.json", 0600), 0);
	watch(f, "config.json");
	assert_int_equal(chmod("config.json", 0644), 0);
	expect_calls(f, 1);
}

static void test_a_change_between_reading_and_watching(void **state)
{
	struct fixture *f = *state;
	struct config_file file = { .path = f->directory };
	char path[PATH_MAX];

	write_file("config.json", "{}");
	snprintf(path, sizeof path, "%s/config.json", f->directory);
	file.path = path;
	file.stamp = file_stamp_take(path);
	write_file("config.json", "{ }");
	assert_int_equal(file_watch_set(f->watch, &file, 1), 0);
	expect_calls(f, 1);
}

/* --- what is not --- */

static void test_a_file_that_is_still_being_written(void **state)
{
	struct fixture *f = *state;

	write_file("config.json", "{}");
	watch(f, "config.json");
	write_file("config.json", "{");
	test_loop_until(&f->loop, is_waiting, f, "the first half to be seen");
	write_some("config.json", O_APPEND, "}");
	expect_calls(f, 1);
}

static void test_a_file_that_is_only_touched_by_readers(void **state)
{
	struct fixture *f = *state;

	write_file("config.json", "{}");
	watch(f, "config.json");
	assert_int_equal(chmod("config.json", 0644), 0);
	expect_calls(f, 0);
	write_file("config.json", "{ }");
	expect_calls(f, 1);
}

static void test_the_neighbours(void **state)
{
	struct fixture *f = *state;

	write_file("config.json", "{}");
	watch(f, "config.json");
	for (unsigned i = 0; i < 100; i++)
		replace_file("config.json.swp", "{}");
	unlink("config.json.swp");
	expect_nothing(f, "config.json");
}

static void test_what_was_watched_before(void **state)
{
	struct fixture *f = *state;

	make_folder("old");
	write_file("old/config.json", "{}");
	write_file("config.json", "{}");
	watch(f, "old/config.json");
	watch(f, "config.json");
	write_file("old/config.json", "{ }");
	expect_nothing(f, "config.json");
}

static void test_a_loop_of_links(void **state)
{
	struct fixture *f = *state;

	make_link("b", "a");
	make_link("a", "b");
	watch(f, "a");
	unlink("b");
	write_file("b", "{}");
	expect_calls(f, 1);
}

/* --- its own end and trouble --- */

static void test_the_callback_may_end_it(void **state)
{
	struct fixture *f = *state;

	write_file("config.json", "{}");
	watch(f, "config.json");
	f->ends = true;
	write_file("config.json", "{ }");
	expect_calls(f, 1);
}

static void test_an_end_while_waiting(void **state)
{
	struct fixture *f = *state;

	write_file("config.json", "{}");
	watch(f, "config.json");
	write_file("config.json", "{ }");
	test_loop_until(&f->loop, is_waiting, f, "an event");
	file_watch_destroy(f->watch);
	f->watch = NULL;
	test_loop_run_out(&f->loop);
	assert_int_equal(f->calls, 0);
}

/* Without memory it goes on watching what it did. */
static void test_without_memory_nothing_changes(void **state)
{
	struct fixture *f = *state;
	bool failed = true;

	write_file("config.json", "{}");
	make_folder("new");
	write_file("new/config.json", "{}");
	watch(f, "config.json");
	for (unsigned i = 0; failed; i++) {
		struct config_file file = { .path = f->directory };
		int rv;

		fault_arm(i);
		rv = file_watch_set(f->watch, &file, 1);
		failed = fault_disarm();
		assert_int_equal(rv, failed ? -ENOMEM : 0);
		if (failed) {
			write_some("config.json", O_APPEND, " ");
			expect_calls(f, 1);
		}
	}
}

static void test_a_folder_that_may_not_be_seen_is_an_error(void **state)
{
	struct fixture *f = *state;
	uid_t user = geteuid();

	make_folder("closed");
	write_file("closed/config.json", "{}");
	write_file("config.json", "{}");
	assert_int_equal(chmod(f->directory, 0755), 0);
	watch(f, "config.json");
	assert_int_equal(chmod("closed", 0711), 0);
	if (user == 0)
		assert_int_equal(seteuid(65534), 0);
	else
		assert_int_equal(chmod("closed", 0111), 0);
	assert_int_equal(try_watch(f, "closed/config.json", NULL), -EACCES);
	assert_int_equal(seteuid(user), 0);
	assert_int_equal(chmod("closed", 0755), 0);
	expect_nothing(f, "config.json");
}

static void test_it_needs_memory_to_be_created(void **state)
{
	struct fixture *f = *state;
	struct file_watch *another;

	fault_arm(0);
	assert_int_equal(file_watch_create(&f->loop, on_change, f, &another), -ENOMEM);
	assert_true(fault_disarm());
	file_watch_destroy(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_a_file_that_is_overwritten),
		TEST(test_a_file_that_is_replaced_by_rename),
		TEST(test_a_file_by_its_absolute_path),
		TEST(test_the_swap_of_a_configmap),
		TEST(test_a_link_into_another_folder),
		TEST(test_one_of_several_files),
		TEST(test_a_file_that_goes_and_comes_back),
		TEST(test_a_folder_that_goes_and_comes_back),
		TEST(test_a_file_that_is_overwritten_elsewhere),
		TEST(test_permissions_to_read_it_at_last),
		TEST(test_a_change_between_reading_and_watching),
		TEST(test_a_file_that_is_still_being_written),
		TEST(test_a_file_that_is_only_touched_by_readers),
		TEST(test_the_neighbours),
		TEST(test_what_was_watched_before),
		TEST(test_a_loop_of_links),
		TEST(test_the_callback_may_end_it),
		TEST(test_an_end_while_waiting),
		TEST(test_without_memory_nothing_changes),
		TEST(test_a_folder_that_may_not_be_seen_is_an_error),
		TEST(test_it_needs_memory_to_be_created),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
