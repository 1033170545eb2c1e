/* SPDX-License-Identifier: MIT */
#include "base/capability.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

/* A set of this thread as the kernel shows it, such as "CapEff". */
static uint64_t shown(const char *name)
{
	char path[64];
	char line[256];
	unsigned long long set = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%ld/status", (long)syscall(SYS_gettid));
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			sscanf(line + strlen(name), ":%llx", &set);
	fclose(f);
	return set;
}

/* A thread may give up what it likes, without the others. */
static void *give_up(void *arg)
{
	uint64_t kept = *(const uint64_t *)arg;

	assert_int_equal(capability_keep(kept), 0);
	return NULL;
}

static void *keep_and_compare(void *arg)
{
	uint64_t had = capability_permitted();
	uint64_t kept = *(const uint64_t *)arg;

	give_up(arg);
	assert_int_equal(capability_permitted(), had & kept);
	assert_int_equal(shown("CapPrm"), had & kept);
	assert_int_equal(shown("CapEff"), had & kept);
	assert_int_equal(shown("CapInh"), 0);
	capability_raise(UINT64_MAX);
	assert_int_equal(shown("CapEff"), had & kept);
	return NULL;
}

static void run_in_thread(void *(*fn)(void *), uint64_t kept)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, fn, &kept), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_permitted_is_what_the_kernel_shows(void **state)
{
	(void)state;
	assert_int_equal(capability_permitted(), shown("CapPrm"));
}

static void test_others_are_given_up_for_good(void **state)
{
	(void)state;
	run_in_thread(keep_and_compare, CAPABILITY(CAP_NET_RAW));
	run_in_thread(keep_and_compare, CAPABILITY(CAP_NET_RAW) | CAPABILITY(CAP_SYSLOG));
	run_in_thread(keep_and_compare, 0);
}

static void test_other_threads_keep_theirs(void **state)
{
	uint64_t before = capability_permitted();

	(void)state;
	run_in_thread(give_up, 0);
	assert_int_equal(capability_permitted(), before);
}

static void *pass_on_and_compare(void *arg)
{
	uint64_t had = capability_permitted();
	uint64_t passed = *(const uint64_t *)arg;

	assert_int_equal(capability_pass_on(passed), 0);
	assert_int_equal(shown("CapAmb"), had & passed);
	assert_int_equal(capability_permitted(), had);
	assert_int_equal(capability_keep(0), 0);
	assert_int_equal(shown("CapAmb"), 0);
	return NULL;
}

static void test_what_is_passed_on_is_what_is_permitted(void **state)
{
	(void)state;
	run_in_thread(pass_on_and_compare, CAPABILITY(CAP_NET_RAW));
	run_in_thread(pass_on_and_compare, CAPABILITY(CAP_NET_RAW) | CAPABILITY(CAP_SYSLOG));
	run_in_thread(pass_on_and_compare, UINT64_C(1) << 63); /* nobody has that one */
	run_in_thread(pass_on_and_compare, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_permitted_is_what_the_kernel_shows),
		cmocka_unit_test(test_others_are_given_up_for_good),
		cmocka_unit_test(test_other_threads_keep_theirs),
		cmocka_unit_test(test_what_is_passed_on_is_what_is_permitted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
