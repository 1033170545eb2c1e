/* SPDX-License-Identifier: MIT */
/* What becomes of lines when the output is full, slow, closed or gone. */
#include "unit/log_fixture.h"

#include <signal.h>
#include <sys/resource.h>

#include "obs/log_output.h"

/* Nobody reads; then somebody does. Every line either arrives or is counted, and the warnings
 * say how many are missing. */
static void drops_add_up(struct fixture *f)
{
	unsigned logged = 0;
	uint64_t dropped;
	pthread_t collector;
	void *text;

	while (log_dropped(f->log) < 1000)
		log_numbered(f, logged++);
	pthread_create(&collector, NULL, collect, f);
	do { /* and it goes on */
		dropped = log_dropped(f->log);
		log_numbered(f, logged++);
	} while (log_dropped(f->log) > dropped);
	stop(f);
	restore_stdout(f);
	close_end(f, 1);
	pthread_join(collector, &text);
	assert_int_equal(count_numbered(text) + dropped, logged);
	assert_int_equal(reported_drops(text), dropped);
	free(text);
}

static void test_a_full_pipe_costs_lines_that_are_counted(void **state)
{
	struct fixture *f = *state;

	start(f, f->pipe_path, LOG_JSON);
	drops_add_up(f);
}

static void test_a_full_pipe_that_blocks_costs_lines_that_are_counted(void **state)
{
	struct fixture *f = *state;

	start_on_blocking_stdout(f);
	drops_add_up(f);
}

static void fill(struct fixture *f)
{
	for (unsigned i = 0; log_dropped(f->log) == 0; i++)
		log_numbered(f, i);
}

static void test_the_end_does_not_wait_for_a_pipe_that_blocks(void **state)
{
	struct fixture *f = *state;
	uint64_t begin;

	start_on_blocking_stdout(f);
	fill(f);
	begin = now_ms();
	log_destroy(f->log, 50);
	f->log = NULL;
	assert_in_range(now_ms() - begin, 50, PATIENCE_MS);
	/* The writer still sits there with the log; it must survive what comes now. */
	restore_stdout(f);
	free(read_pipe(f, NULL));
}

static void test_the_end_does_not_wait_for_a_pipe_without_room(void **state)
{
	struct fixture *f = *state;
	uint64_t begin;

	start(f, f->pipe_path, LOG_JSON);
	close_end(f, 1);
	fill(f);
	begin = now_ms();
	log_destroy(f->log, 50);
	f->log = NULL;
	assert_in_range(now_ms() - begin, 50, PATIENCE_MS);
	free(read_pipe(f, NULL)); /* ends when the writer has left, too */
}

static void test_a_reader_that_left_costs_lines_and_nothing_else(void **state)
{
	struct fixture *f = *state;

	signal(SIGPIPE, SIG_DFL); /* the log must not depend on its being ignored */
	start(f, f->pipe_path, LOG_JSON);
	close_end(f, 0);
	for (unsigned i = 0; i < 100; i++)
		log_numbered(f, i);
	wait_for_drops(f, 100);
	log_numbered(f, 100);
	wait_for_drops(f, 101);
	stop(f);
}

static void test_a_closed_output_costs_lines_and_nothing_else(void **state)
{
	struct fixture *f = *state;

	start_on_blocking_stdout(f);
	close(STDOUT_FILENO);
	for (unsigned i = 0; i < 10; i++)
		log_numbered(f, i);
	wait_for_drops(f, 10);
	stop(f);
}

static void test_a_full_disk_costs_lines_until_there_is_room(void **state)
{
	struct fixture *f = *state;
	char *text;

	assert_int_equal(symlink("/dev/full", f->path), 0);
	start(f, f->path, LOG_JSON);
	for (unsigned i = 0; i < 25; i++)
		log_numbered(f, i);
	wait_for_drops(f, 25);
	assert_int_equal(unlink(f->path), 0);
	log_reopen(f->log);
	log_numbered(f, 25);
	wait_for_text(f->path, "25 log lines were dropped");
	stop(f);
	text = read_file(f->path);
	assert_int_equal(count_numbered(text), 1);
	assert_int_equal(reported_drops(text), 25);
	free(text);
}

static void set_file_size_limit(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_torn_line_does_not_spoil_the_next(void **state)
{
	struct fixture *f = *state;
	char *text;

	signal(SIGXFSZ, SIG_IGN);
	start(f, f->path, LOG_JSON);
	set_file_size_limit(2 * LINE_SIZE + 10);
	for (unsigned i = 0; i < 3; i++)
		log_numbered(f, i);
	wait_for_drops(f, 1);
	set_file_size_limit(RLIM_INFINITY);
	log_numbered(f, 3);
	wait_for_text(f->path, "1 log line was dropped");
	stop(f);
	text = read_file(f->path);
	assert_memory_equal(text + 2 * LINE_SIZE, "2         \n", 11);
	assert_int_equal(count_numbered(text), 3);
	free(text);
}

#define SHARED_LINES 20000 /* many times what a pipe holds */

struct sharer {
	struct log_output output;
	pthread_t thread;
	char letter;
	uint64_t lost;
};

/* One block of lines, which do not end where pages do. */
static void *write_letters(void *arg)
{
	struct sharer *s = arg;
	size_t size = SHARED_LINES * LINE_SIZE;
	char *lines = malloc(size);

	memset(lines, s->letter, size);
	for (size_t end = LINE_SIZE; end <= size; end += LINE_SIZE)
		lines[end - 1] = '\n';
	s->lost = log_output_write(&s->output, lines, size);
	log_output_close(&s->output);
	free(lines);
	return NULL;
}

/* Two processes do this while one hands over to the other. */
static void test_lines_of_two_who_share_a_pipe_stay_whole(void **state)
{
	struct fixture *f = *state;
	struct sharer sharers[2] = { { .letter = 'a' }, { .letter = 'b' } };
	unsigned count = 0;
	char *text;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(log_output_open(&sharers[i].output, f->pipe_path), 0);
		pthread_create(&sharers[i].thread, NULL, write_letters, &sharers[i]);
	}
	close_end(f, 1);
	text = read_pipe(f, NULL);
	for (int i = 0; i < 2; i++) {
		pthread_join(sharers[i].thread, NULL);
		assert_int_equal(sharers[i].lost, 0);
	}
	for (const char *at = text; *at != '\0'; at += LINE_SIZE) {
		const char letter[] = { *at, '\0' };

		assert_int_equal(strspn(at, letter), LINE_SIZE - 1);
		assert_int_equal(at[LINE_SIZE - 1], '\n');
		count++;
	}
	assert_int_equal(count, 2 * SHARED_LINES);
	free(text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_full_pipe_costs_lines_that_are_counted),
		TEST(test_a_full_pipe_that_blocks_costs_lines_that_are_counted),
		TEST(test_the_end_does_not_wait_for_a_pipe_that_blocks),
		TEST(test_the_end_does_not_wait_for_a_pipe_without_room),
		TEST(test_a_reader_that_left_costs_lines_and_nothing_else),
		TEST(test_a_closed_output_costs_lines_and_nothing_else),
		TEST(test_a_full_disk_costs_lines_until_there_is_room),
		TEST(test_a_torn_line_does_not_spoil_the_next),
		TEST(test_lines_of_two_who_share_a_pipe_stay_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
