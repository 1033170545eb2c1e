/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_fault.h"
#include "session/relay_pipe.h"

#define MANY (2 * RELAY_PIPES_IDLE)

static void test_a_pipe_carries_bytes_and_does_not_block(void **state)
{
	struct relay_pipes pipes;
	struct relay_pipe *pipe;
	char bytes[8];

	(void)state;
	relay_pipes_init(&pipes, 1);
	pipe = relay_pipes_get(&pipes);
	assert_non_null(pipe);
	assert_true(fcntl(pipe->in, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(pipe->out, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(pipe->in, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(pipe->in, "bytes", 5), 5);
	assert_int_equal(read(pipe->out, bytes, sizeof bytes), 5);
	assert_memory_equal(bytes, "bytes", 5);
	relay_pipes_put(&pipes, pipe);
	relay_pipes_fini(&pipes);
}

static void test_a_pipe_that_came_back_is_lent_again(void **state)
{
	struct relay_pipes pipes;
	struct relay_pipe *pipe;

	(void)state;
	relay_pipes_init(&pipes, 4);
	pipe = relay_pipes_get(&pipes);
	relay_pipes_put(&pipes, pipe);
	assert_int_equal(pipes.idle_count, 1);
	assert_ptr_equal(relay_pipes_get(&pipes), pipe);
	assert_int_equal(pipes.idle_count, 0);
	assert_int_equal(pipes.open_count, 1);
	relay_pipes_put(&pipes, pipe);
	relay_pipes_fini(&pipes);
}

/* The next one to have it must not find the bytes of another session. */
static void test_a_pipe_with_bytes_in_it_is_not_lent_again(void **state)
{
	struct relay_pipes pipes;
	struct relay_pipe *pipe;

	(void)state;
	relay_pipes_init(&pipes, 1);
	pipe = relay_pipes_get(&pipes);
	assert_int_equal(write(pipe->in, "secret", 6), 6);
	relay_pipes_discard(&pipes, pipe);
	assert_int_equal(pipes.open_count, 0);
	pipe = relay_pipes_get(&pipes);
	assert_int_equal(read(pipe->out, &(char){ 0 }, 1), -1);
	relay_pipes_put(&pipes, pipe);
	relay_pipes_fini(&pipes);
}

static void test_there_are_no_more_pipes_than_the_limit(void **state)
{
	struct relay_pipes pipes;
	struct relay_pipe *first;
	struct relay_pipe *second;

	(void)state;
	relay_pipes_init(&pipes, 0);
	assert_null(relay_pipes_get(&pipes));
	relay_pipes_fini(&pipes);

	relay_pipes_init(&pipes, 2);
	first = relay_pipes_get(&pipes);
	second = relay_pipes_get(&pipes);
	assert_non_null(second);
	assert_null(relay_pipes_get(&pipes));
	relay_pipes_put(&pipes, first);
	assert_ptr_equal(relay_pipes_get(&pipes), first);
	relay_pipes_put(&pipes, first);
	relay_pipes_put(&pipes, second);
	relay_pipes_fini(&pipes);
}

static void test_only_some_idle_pipes_are_kept(void **state)
{
	struct relay_pipes pipes;
	struct relay_pipe *lent[MANY];

	(void)state;
	relay_pipes_init(&pipes, MANY);
	for (unsigned i = 0; i < MANY; i++)
		lent[i] = relay_pipes_get(&pipes);
	assert_int_equal(pipes.open_count, MANY);
	for (unsigned i = 0; i < MANY; i++)
		relay_pipes_put(&pipes, lent[i]);
	assert_int_equal(pipes.open_count, RELAY_PIPES_IDLE);
	assert_int_equal(pipes.idle_count, RELAY_PIPES_IDLE);
	relay_pipes_fini(&pipes);
	assert_int_equal(pipes.open_count, 0);
}

static void test_without_memory_or_descriptors_there_is_no_pipe(void **state)
{
	struct relay_pipes pipes;
	struct rlimit old;
	struct rlimit none;

	(void)state;
	relay_pipes_init(&pipes, 1);
	fault_arm(0);
	assert_null(relay_pipes_get(&pipes));
	assert_true(fault_disarm());
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_null(relay_pipes_get(&pipes));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(pipes.open_count, 0);
	relay_pipes_fini(&pipes);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_pipe_carries_bytes_and_does_not_block),
		cmocka_unit_test(test_a_pipe_that_came_back_is_lent_again),
		cmocka_unit_test(test_a_pipe_with_bytes_in_it_is_not_lent_again),
		cmocka_unit_test(test_there_are_no_more_pipes_than_the_limit),
		cmocka_unit_test(test_only_some_idle_pipes_are_kept),
		cmocka_unit_test(test_without_memory_or_descriptors_there_is_no_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
