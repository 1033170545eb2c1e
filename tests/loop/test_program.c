/* SPDX-License-Identifier: MIT */
/* The tests start this program again, by several names, and have it say how it was started. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_fault.h"
#include "server/program.h"

/* The first argument of the one that is to say how it was started. */
#define TELL "--tell"

static char self[PATH_MAX]; /* this program */
static char folder[64];     /* the current one; it is empty but for what a test puts there */

static int tell(void)
{
	struct program p;

	if (program_find(&p) != 0)
		return EXIT_FAILURE;
	puts(p.path);
	for (char **at = p.arguments; *at != NULL; at++)
		printf("[%s]", *at);
	program_fini(&p);
	return EXIT_SUCCESS;
}

static int setup_group(void **state)
{
	(void)state;
	assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
	strcpy(folder, "/tmp/test_program.XXXXXX");
	assert_non_null(mkdtemp(folder));
	return chdir(folder);
}

static int teardown_group(void **state)
{
	(void)state;
	return chdir("/") == 0 ? rmdir(folder) : -1;
}

/* What the program says that is executed as @path with @name as its argv[0]. */
static void run(const char *path, const char *name, char text[static 2 * PATH_MAX])
{
	size_t used = 0;
	ssize_t n;
	int fds[2];
	int status;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		execl(path, name, TELL, "", "two words", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	while ((n = read(fds[0], text + used, 2 * PATH_MAX - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void expect(const char *path, const char *name, const char *found)
{
	char text[2 * PATH_MAX];
	char expected[2 * PATH_MAX + 64];

	run(path, name, text);
	snprintf(expected, sizeof expected, "%s\n[%s][" TELL "][][two words]", found, name);
	assert_string_equal(text, expected);
}

static void expect_in_folder(const char *name, const char *file)
{
	char found[2 * PATH_MAX];

	snprintf(found, sizeof found, "%s/%s", folder, file);
	expect(self, name, found);
}

static void test_the_path_by_which_it_was_called(void **state)
{
	(void)state;
	expect(self, self, self);
}

/* It may lead to the next version later. */
static void test_a_symbolic_link_is_kept(void **state)
{
	(void)state;
	assert_int_equal(symlink(self, "current"), 0);
	expect_in_folder("./current", "./current");
	assert_int_equal(mkdir("deep", 0700), 0);
	expect_in_folder("deep/../current", "deep/../current");
	rmdir("deep");
	unlink("current");
}

static void test_a_name_is_looked_up_in_path(void **state)
{
	const char *old = getenv("PATH");
	char path[2 * PATH_MAX];

	(void)state;
	assert_int_equal(symlink(self, "program"), 0);
	assert_int_equal(mkdir("other", 0700), 0);
	assert_int_equal(symlink("/bin/true", "other/program"), 0);
	snprintf(path, sizeof path, "/nonexistent::%s/other:%s", folder, folder);
	old = strdup(old != NULL ? old : "");
	setenv("PATH", path, 1);
	expect_in_folder("program", "program");
	setenv("PATH", "/nonexistent", 1);
	expect(self, "program", self);
	unsetenv("PATH");
	expect(self, "program", self);
	setenv("PATH", old, 1);
	free((void *)(uintptr_t)old);
	unlink("program");
	unlink("other/program");
	rmdir("other");
}

static void test_a_name_that_leads_to_another_program_is_not_believed(void **state)
{
	(void)state;
	expect(self, "/bin/true", self);
	expect(self, "./nonexistent", self);
	expect(self, "", self);
}

static void test_it_takes_memory(void **state)
{
	bool failed = true;
	unsigned i = 0;

	(void)state;
	for (; failed; i++) {
		struct program p;
		int rv;

		fault_arm(i);
		rv = program_find(&p);
		failed = fault_disarm();
		assert_int_equal(rv, failed ? -ENOMEM : 0);
		program_fini(&p);
		program_fini(&p);
	}
	assert_true(i > 2); /* text, arguments, path */
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_path_by_which_it_was_called),
		cmocka_unit_test(test_a_symbolic_link_is_kept),
		cmocka_unit_test(test_a_name_is_looked_up_in_path),
		cmocka_unit_test(test_a_name_that_leads_to_another_program_is_not_believed),
		cmocka_unit_test(test_it_takes_memory),
	};

	if (argc > 1 && strcmp(argv[1], TELL) == 0)
		return tell();
	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
