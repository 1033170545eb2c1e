/* SPDX-License-Identifier: MIT */
/* Compared with what the kernel says elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "obs/process_stats.h"

#define MANY (64U << 20) /* bytes */

static void test_descriptors_are_counted(void **state)
{
	struct process_stats before;
	struct process_stats after;
	struct rlimit limit;
	int fds[2];

	(void)state;
	process_stats_read(&before);
	assert_int_equal(pipe(fds), 0);
	process_stats_read(&after);
	close(fds[0]);
	close(fds[1]);
	assert_in_range(before.open_fds, 3, 1000);
	assert_int_equal(after.open_fds, before.open_fds + 2);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(after.max_fds, limit.rlim_cur);
}

static void test_memory_is_that_of_the_process(void **state)
{
	struct process_stats before;
	struct process_stats mapped;
	struct process_stats touched;
	char *memory;

	(void)state;
	process_stats_read(&before);
	memory = mmap(NULL, MANY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	process_stats_read(&mapped);
	memset(memory, 1, MANY);
	process_stats_read(&touched);
	munmap(memory, MANY);
	assert_true(mapped.virtual_bytes >= before.virtual_bytes + MANY);
	assert_true(mapped.resident_bytes < before.resident_bytes + MANY / 2);
	assert_true(touched.resident_bytes > before.resident_bytes + MANY / 2);
}

static void test_cpu_time_goes_up(void **state)
{
	struct process_stats first;
	struct process_stats later;

	(void)state;
	process_stats_read(&first);
	do
		process_stats_read(&later);
	while (later.cpu_ns < first.cpu_ns + 10000000);
}

/* The clock of the kernel's answer ticks a hundred times a second, and its zero is known to the second. */
static void test_the_start_is_a_moment_ago(void **state)
{
	struct process_stats s;
	int64_t now = time(NULL);

	(void)state;
	process_stats_read(&s);
	assert_in_range(s.started_ns / 1000000000, now - 300, now + 2);
}

static void *wait_for_byte(void *data)
{
	const int *fd = data;
	char byte;

	assert_int_equal(read(*fd, &byte, 1), 1);
	return NULL;
}

/* The second of two: with the first one a sanitizer may have started a thread of its own. */
static void test_threads_are_counted(void **state)
{
	struct process_stats one;
	struct process_stats two;
	pthread_t threads[2];
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pthread_create(&threads[0], NULL, wait_for_byte, &fds[0]), 0);
	process_stats_read(&one);
	assert_int_equal(pthread_create(&threads[1], NULL, wait_for_byte, &fds[0]), 0);
	process_stats_read(&two);
	assert_int_equal(write(fds[1], "xx", 2), 2);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(two.threads, one.threads + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_descriptors_are_counted),
		cmocka_unit_test(test_memory_is_that_of_the_process),
		cmocka_unit_test(test_cpu_time_goes_up),
		cmocka_unit_test(test_the_start_is_a_moment_ago),
		cmocka_unit_test(test_threads_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
