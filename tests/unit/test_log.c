/* SPDX-License-Identifier: MIT */
#include "unit/log_fixture.h"

#include <errno.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

static void test_lines_arrive_while_the_process_runs(void **state)
{
	struct fixture *f = *state;

	start(f, f->pipe_path, LOG_JSON);
	/* Again and again: the writer may be writing, napping or asleep. */
	for (unsigned i = 0; i < 50; i++) {
		char expected[16];

		log_numbered(f, i);
		snprintf(expected, sizeof expected, "%u ", i);
		free(read_pipe(f, expected));
	}
}

static void test_what_was_logged_before_the_end_is_written(void **state)
{
	struct fixture *f = *state;
	char *text;

	start(f, f->path, LOG_JSON);
	for (unsigned i = 0; i < 1000; i++)
		log_numbered(f, i);
	stop(f);
	text = read_file(f->path);
	assert_int_equal(count_numbered(text), 1000);
	assert_int_equal(strlen(text), 1000 * LINE_SIZE);
	free(text);
}

static void test_a_message_as_json(void **state)
{
	struct fixture *f = *state;
	cJSON *parsed;
	char *text;

	start(f, f->path, LOG_JSON);
	assert_int_equal(log_format_of(f->buffer), LOG_JSON);
	log_message(f->buffer, LOG_WARN, "config", "%d \"trouble\"\n\x1b", 2);
	stop(f);
	text = read_file(f->path);
	assert_int_equal(strcspn(text, "\n") + 1, strlen(text));
	parsed = cJSON_Parse(text);
	assert_int_equal(cJSON_GetArraySize(parsed), 4);
	assert_int_equal(strlen(cJSON_GetStringValue(cJSON_GetObjectItem(parsed, "time"))),
			 strlen("2026-11-21T08:51:52.123Z"));
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(parsed, "level")), "warn");
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(parsed, "event")), "config");
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(parsed, "message")),
			    "2 \"trouble\"\n\x1b");
	cJSON_Delete(parsed);
	free(text);
}

static void test_a_message_as_text_is_one_line(void **state)
{
	struct fixture *f = *state;
	char *text;

	start(f, f->path, LOG_TEXT);
	log_message(f->buffer, LOG_WARN, "config", "two\nlines");
	log_message(f->buffer, LOG_ERROR, "log", "words");
	stop(f);
	text = read_file(f->path);
	assert_string_equal(strchr(text, ' '), strstr(text, " warn  config  two?lines\n"));
	assert_non_null(strstr(text, " error log  words\n"));
	free(text);
}

static void test_a_message_that_is_too_long_is_shortened(void **state)
{
	struct fixture *f = *state;
	char message[4000];
	cJSON *parsed;
	char *text;

	memset(message, 0x01, sizeof message); /* six bytes each in JSON */
	message[sizeof message - 1] = '\0';
	start(f, f->path, LOG_JSON);
	log_message(f->buffer, LOG_INFO, "test", "%s", message);
	stop(f);
	text = read_file(f->path);
	parsed = cJSON_Parse(text);
	assert_in_range(strlen(cJSON_GetStringValue(cJSON_GetObjectItem(parsed, "message"))), 2000,
			3999);
	cJSON_Delete(parsed);
	free(text);
}

static void test_levels_that_are_off_are_not_written(void **state)
{
	struct fixture *f = *state;
	char *text;

	start(f, f->path, LOG_TEXT);
	assert_true(log_enabled(f->buffer, LOG_ERROR));
	assert_true(log_enabled(f->buffer, LOG_INFO));
	assert_false(log_enabled(f->buffer, LOG_DEBUG));
	log_message(f->buffer, LOG_DEBUG, "test", "hidden");
	log_message(f->buffer, LOG_INFO, "test", "shown");
	stop(f);
	text = read_file(f->path);
	assert_null(strstr(text, "hidden"));
	assert_non_null(strstr(text, "shown"));
	free(text);
}

static void test_an_output_that_cannot_be_opened_is_an_error(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(log_create("/nonexistent/log", LOG_JSON, LOG_INFO, &f->log), -ENOENT);
	assert_int_equal(log_create(f->directory, LOG_JSON, LOG_INFO, &f->log), -EISDIR);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(log_create(f->path, LOG_JSON, LOG_INFO, &f->log),
			 -ENXIO); /* nobody reads */
	assert_null(f->log);
}

static void test_rotation_loses_nothing(void **state)
{
	struct fixture *f = *state;
	char *old;
	char *new;

	start(f, f->path, LOG_JSON);
	log_numbered(f, 1);
	wait_for_text(f->path, "1 ");
	assert_int_equal(rename(f->path, f->rotated), 0);
	log_numbered(f, 2); /* to either */
	log_reopen(f->log);
	log_numbered(f, 3); /* to the new one, and no other */
	wait_for_text(f->path, "3 ");
	stop(f);
	old = read_file(f->rotated);
	new = read_file(f->path);
	assert_int_equal(count_numbered(old) + count_numbered(new), 3);
	assert_int_equal(atoi(old), 1);
	free(old);
	free(new);
}

static void test_a_file_that_cannot_be_reopened_keeps_the_old_one(void **state)
{
	struct fixture *f = *state;
	char *text;

	start(f, f->path, LOG_TEXT);
	assert_int_equal(rename(f->path, f->rotated), 0);
	assert_int_equal(mkdir(f->path, 0700), 0);
	log_reopen(f->log);
	wait_for_text(f->rotated, " again: Is a directory; still writing to the old file\n");
	log_numbered(f, 1);
	stop(f);
	text = read_file(f->rotated);
	assert_int_equal(count_numbered(strchr(text, '\n') + 1), 1);
	free(text);
	rmdir(f->path);
}

static void test_reopening_leaves_stdout_alone(void **state)
{
	struct fixture *f = *state;

	start_on_blocking_stdout(f);
	log_reopen(f->log);
	log_numbered(f, 1);
	free(read_pipe(f, "1 "));
	stop(f);
	assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0);
}

static void test_a_line_larger_than_the_buffer_is_dropped(void **state)
{
	struct fixture *f = *state;
	const size_t size = 1 << 20;
	char *line = malloc(size);

	memset(line, 'x', size);
	start(f, f->path, LOG_JSON);
	log_line(f->buffer, line, size);
	assert_int_equal(log_dropped(f->log), 1);
	log_numbered(f, 1);
	wait_for_text(f->path, "1 ");
	free(line);
}

enum {
	THREADS = 4,
	LINES_EACH = 20000,
};

struct talker {
	struct fixture *f;
	pthread_t thread;
	int index;
};

static void *talk(void *arg)
{
	struct talker *t = arg;
	struct log_buffer *b = log_buffer_create(t->f->log);

	for (unsigned i = 0; i < LINES_EACH; i++) {
		char line[64];
		int n = snprintf(line, sizeof line, "%d %u end", t->index, i);

		log_line(b, line, (size_t)n);
		if (i % 1000 == 0)
			log_reopen(t->f->log);
		if (i % 100 == 0)
			log_dropped(t->f->log);
	}
	return NULL;
}

/* Lines of one thread keep their order, none is mixed with another, none appears twice. */
static void check_talk(const char *text, uint64_t dropped)
{
	unsigned next[THREADS] = { 0 };
	uint64_t count = 0;

	for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1) {
		unsigned number;
		int index;
		char end[4];

		if (*at == '{')
			continue;
		assert_int_equal(sscanf(at, "%d %u %3s", &index, &number, end), 3);
		assert_string_equal(end, "end");
		assert_in_range(index, 0, THREADS - 1);
		assert_in_range(number, next[index], LINES_EACH - 1);
		next[index] = number + 1;
		count++;
	}
	assert_int_equal(count + dropped, THREADS * LINES_EACH);
}

static void test_threads_do_not_disturb_each_other(void **state)
{
	struct fixture *f = *state;
	struct talker talkers[THREADS];
	pthread_t collector;
	uint64_t dropped;
	void *text;

	start(f, f->pipe_path, LOG_JSON);
	pthread_create(&collector, NULL, collect, f);
	for (int i = 0; i < THREADS; i++) {
		talkers[i] = (struct talker){ .f = f, .index = i };
		pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(talkers[i].thread, NULL);
	dropped = log_dropped(f->log); /* the pipe is read, so nothing is dropped from here on */
	stop(f);
	close_end(f, 1);
	pthread_join(collector, &text);
	check_talk(text, dropped);
	assert_int_equal(reported_drops(text), dropped);
	free(text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_lines_arrive_while_the_process_runs),
		TEST(test_what_was_logged_before_the_end_is_written),
		TEST(test_a_message_as_json),
		TEST(test_a_message_as_text_is_one_line),
		TEST(test_a_message_that_is_too_long_is_shortened),
		TEST(test_levels_that_are_off_are_not_written),
		TEST(test_an_output_that_cannot_be_opened_is_an_error),
		TEST(test_rotation_loses_nothing),
		TEST(test_a_file_that_cannot_be_reopened_keeps_the_old_one),
		TEST(test_reopening_leaves_stdout_alone),
		TEST(test_a_line_larger_than_the_buffer_is_dropped),
		TEST(test_threads_do_not_disturb_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
