/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "server/cpu_count.h"

/* A folder that stands for /sys/fs/cgroup, with "membership" for /proc/self/cgroup. */
static char root[] = "/tmp/unproxy-cpu-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", root, name);
	for (char *slash = path + sizeof root; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static unsigned quota(void)
{
	char membership[512];

	snprintf(membership, sizeof membership, "%s/membership", root);
	return cpu_quota(membership, root);
}

static int make_root(void **state)
{
	(void)state;
	strcpy(root + sizeof root - 7, "XXXXXX");
	return mkdtemp(root) != NULL ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[512];

	(void)state;
	snprintf(command, sizeof command, "rm -rf '%s'", root);
	return system(command);
}

static void test_version_2_quota_is_rounded_up(void **state)
{
	(void)state;
	write_file("membership", "0::/\n");
	write_file("cpu.max", "150000 100000\n");
	assert_int_equal(quota(), 2);
	write_file("cpu.max", "10000 100000\n");
	assert_int_equal(quota(), 1);
	write_file("cpu.max", "200000 100000\n");
	assert_int_equal(quota(), 2);
}

static void test_max_is_no_quota(void **state)
{
	(void)state;
	write_file("membership", "0::/\n");
	write_file("cpu.max", "max 100000\n");
	assert_int_equal(quota(), 0);
}

static void test_a_quota_above_us_counts(void **state)
{
	(void)state;
	write_file("membership", "0::/kubepods/pod1/main\n");
	write_file("kubepods/pod1/main/cpu.max", "max 100000\n");
	write_file("kubepods/pod1/cpu.max", "300000 100000\n");
	write_file("kubepods/cpu.max", "800000 100000\n");
	assert_int_equal(quota(), 3);
}

static void test_version_1_quota(void **state)
{
	(void)state;
	write_file("membership", "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n0::/docker/a\n");
	write_file("cpu,cpuacct/docker/a/cpu.cfs_quota_us", "250000\n");
	write_file("cpu,cpuacct/docker/a/cpu.cfs_period_us", "100000\n");
	write_file("cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
	write_file("cpu,cpuacct/cpu.cfs_period_us", "100000\n");
	assert_int_equal(quota(), 3);
}

static void test_a_group_of_the_host_falls_back_to_the_root(void **state)
{
	(void)state;
	write_file("membership", "0::/docker/0123456789abcdef\n");
	write_file("cpu.max", "100000 100000\n");
	assert_int_equal(quota(), 1);
}

static void test_what_cannot_be_read_limits_nothing(void **state)
{
	(void)state;
	assert_int_equal(quota(), 0);
	write_file("membership", "nonsense\n0::\n7:cpuset:/a\n");
	write_file("cpu.max", "many 100000\n");
	assert_int_equal(quota(), 0);
	write_file("cpu.max", "100000 0\n");
	assert_int_equal(quota(), 0);
}

static void test_there_is_at_least_one_cpu(void **state)
{
	(void)state;
	assert_true(cpu_count() >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)
		WITH_ROOT(test_version_2_quota_is_rounded_up),
		WITH_ROOT(test_max_is_no_quota),
		WITH_ROOT(test_a_quota_above_us_counts),
		WITH_ROOT(test_version_1_quota),
		WITH_ROOT(test_a_group_of_the_host_falls_back_to_the_root),
		WITH_ROOT(test_what_cannot_be_read_limits_nothing),
		cmocka_unit_test(test_there_is_at_least_one_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
