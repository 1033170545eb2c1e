/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file_stamp.h"

struct fixture {
	char directory[48];
	char path[64];
	char other[64];
	char link[64];
	struct file_stamp before;
};

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->directory, "/tmp/test_file_stamp.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof f->path, "%s/file", f->directory);
	snprintf(f->other, sizeof f->other, "%s/other", f->directory);
	snprintf(f->link, sizeof f->link, "%s/link", f->directory);
	write_file(f->path, "one");
	assert_int_equal(symlink("file", f->link), 0);
	f->before = file_stamp_take(f->link);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	unlink(f->other);
	unlink(f->link);
	assert_int_equal(rmdir(f->directory), 0);
	free(f);
	return 0;
}

static bool has_changed(const struct fixture *f)
{
	struct file_stamp now = file_stamp_take(f->link);

	return !file_stamp_equal(&f->before, &now);
}

static void test_an_untouched_file_is_the_same(void **state)
{
	const struct fixture *f = *state;

	assert_false(has_changed(f));
}

static void test_other_content_is_a_change(void **state)
{
	struct fixture *f = *state;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, f->before.modified };

	write_file(f->path, "three");
	assert_true(has_changed(f));
	f->before = file_stamp_take(f->link);
	write_file(f->path, "seven"); /* of the same size */
	times[1].tv_nsec = (times[1].tv_nsec + 1) % 1000000000;
	assert_int_equal(utimensat(AT_FDCWD, f->path, times, 0), 0);
	assert_true(has_changed(f));
}

static void test_another_file_is_a_change(void **state)
{
	const struct fixture *f = *state;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, f->before.modified };

	write_file(f->other, "one");
	assert_int_equal(utimensat(AT_FDCWD, f->other, times, 0), 0);
	assert_int_equal(rename(f->other, f->path), 0);
	assert_true(has_changed(f));
}

static void test_a_link_that_leads_elsewhere_is_a_change(void **state)
{
	const struct fixture *f = *state;

	write_file(f->other, "two");
	unlink(f->link);
	assert_int_equal(symlink("other", f->link), 0);
	assert_true(has_changed(f));
}

/* It may be possible to read it now. */
static void test_other_permissions_are_a_change(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(chmod(f->path, 0644), 0);
	assert_true(has_changed(f));
}

static void test_a_missing_file_is_only_itself(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	assert_true(has_changed(f));
	f->before = file_stamp_take(f->link);
	assert_false(has_changed(f));
	write_file(f->path, "one");
	assert_true(has_changed(f));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_an_untouched_file_is_the_same),
		TEST(test_other_content_is_a_change),
		TEST(test_another_file_is_a_change),
		TEST(test_a_link_that_leads_elsewhere_is_a_change),
		TEST(test_other_permissions_are_a_change),
		TEST(test_a_missing_file_is_only_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
