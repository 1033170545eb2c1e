/* SPDX-License-Identifier: MIT */
#include "unit/log_fixture.h"

#include <errno.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include "base/bug.h"
#include "lib/test_fault.h"

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

/* --- log_configure() --- */

static void set_output(struct fixture *f, const char *output)
{
	assert_int_equal(log_configure(f->log, output, LOG_JSON, LOG_INFO), 0);
}

/* The file has lines from @first to @last, and no others but messages. */
static void check_numbered(const char *path, unsigned first, unsigned last)
{
	char *text = read_file(path);
	const char *at = text;

	assert_int_equal(count_numbered(text), last - first + 1);
	while (*at == '{')
		at += strcspn(at, "\n") + 1;
	assert_int_equal(strtoul(at, NULL, 10), first);
	free(text);
}

static void check_empty(const char *path)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, 0);
}

/* At whatever moment of the writer's: it may be writing, napping or asleep. */
static void test_another_output_gets_what_is_logged_from_then_on(void **state)
{
	struct fixture *f = *state;

	for (unsigned before = 1; before <= 200; before++) {
		unsigned number = 0;

		start(f, f->path, LOG_JSON);
		while (number < before)
			log_numbered(f, number++);
		set_output(f, f->rotated);
		log_numbered(f, number++);
		log_numbered(f, number++);
		stop(f);
		check_numbered(f->path, 0, before - 1);
		check_numbered(f->rotated, before, number - 1);
		unlink(f->path);
		unlink(f->rotated);
	}
}

static void test_another_output_serves_while_the_process_runs(void **state)
{
	struct fixture *f = *state;

	start_on_blocking_stdout(f);
	log_numbered(f, 1);
	free(read_pipe(f, "1 "));
	set_output(f, f->path);
	log_numbered(f, 2);
	wait_for_text(f->path, "2 ");
	assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0); /* not ours to close */
	set_output(f, "stdout");
	log_numbered(f, 3);
	free(read_pipe(f, "3 "));
	check_numbered(f->path, 2, 2);
}

static void test_an_output_that_stays_is_not_opened_again(void **state)
{
	struct fixture *f = *state;

	start(f, f->path, LOG_JSON);
	log_numbered(f, 1);
	assert_int_equal(rename(f->path, f->rotated), 0);
	set_output(f, f->path);
	log_numbered(f, 2);
	stop(f);
	check_numbered(f->rotated, 1, 2);
	assert_int_equal(access(f->path, F_OK), -1);
}

static void test_an_output_that_was_changed_is_reopened_at_its_new_place(void **state)
{
	struct fixture *f = *state;

	start_on_blocking_stdout(f);
	set_output(f, f->path);
	log_numbered(f, 1);
	wait_for_text(f->path, "1 ");
	assert_int_equal(rename(f->path, f->rotated), 0);
	log_reopen(f->log);
	log_numbered(f, 2);
	stop(f);
	check_numbered(f->rotated, 1, 1);
	check_numbered(f->path, 2, 2);
}

static void test_format_and_level_change_at_once(void **state)
{
	struct fixture *f = *state;
	char *text;

	start(f, f->path, LOG_JSON);
	assert_int_equal(log_configure(f->log, f->path, LOG_TEXT, LOG_DEBUG), 0);
	assert_int_equal(log_format_of(f->buffer), LOG_TEXT);
	assert_true(log_enabled(f->buffer, LOG_DEBUG));
	log_message(f->buffer, LOG_DEBUG, "test", "shown");
	assert_int_equal(log_configure(f->log, f->path, LOG_JSON, LOG_ERROR), 0);
	assert_int_equal(log_format_of(f->buffer), LOG_JSON);
	assert_false(log_enabled(f->buffer, LOG_WARN));
	log_message(f->buffer, LOG_WARN, "test", "hidden");
	stop(f);
	text = read_file(f->path);
	assert_non_null(strstr(text, " debug test  shown\n"));
	assert_null(strstr(text, "hidden"));
	free(text);
}

static void test_an_output_that_cannot_be_opened_changes_nothing(void **state)
{
	struct fixture *f = *state;

	start(f, f->path, LOG_JSON);
	assert_int_equal(log_configure(f->log, "/nonexistent/log", LOG_TEXT, LOG_DEBUG), -ENOENT);
	assert_int_equal(log_configure(f->log, f->directory, LOG_TEXT, LOG_DEBUG), -EISDIR);
	assert_int_equal(log_format_of(f->buffer), LOG_JSON);
	assert_false(log_enabled(f->buffer, LOG_DEBUG));
	log_numbered(f, 1);
	set_output(f, f->path); /* it is still this one */
	log_numbered(f, 2);
	stop(f);
	check_numbered(f->path, 1, 2);
}

/* Log more than a pipe holds, and wait until the writer waits for us to read. */
static void fill_pipe(struct fixture *f, unsigned count)
{
	struct pollfd p = { .fd = f->pipe[1], .events = POLLOUT };
	uint64_t end = now_ms() + PATIENCE_MS;

	for (unsigned i = 0; i < count; i++)
		log_numbered(f, i);
	while (poll(&p, 1, 0) == 1)
		assert_true(now_ms() < end);
}

static void test_the_last_of_several_changes_counts(void **state)
{
	struct fixture *f = *state;

	start(f, f->pipe_path, LOG_JSON);
	fill_pipe(f, 1000);
	set_output(f, f->rotated);
	log_numbered(f, 1000);
	set_output(f, f->path);
	log_numbered(f, 1001);
	free(read_pipe(f, "\n999 "));
	stop(f);
	check_empty(f->rotated);
	check_numbered(f->path, 1000, 1001);
}

static void test_the_end_does_not_wait_for_a_change(void **state)
{
	struct fixture *f = *state;

	start(f, f->pipe_path, LOG_JSON);
	fill_pipe(f, 1000);
	close_end(f, 1);
	set_output(f, f->path);
	log_destroy(f->log, 50);
	f->log = NULL;
	free(read_pipe(f, NULL)); /* ends when the writer has left, too */
	check_empty(f->path);
}

static void test_running_out_of_memory_changes_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned fail_at = 0;
	int rv;

	start(f, f->path, LOG_JSON);
	for (;; fail_at++) {
		fault_arm(fail_at);
		rv = log_configure(f->log, f->rotated, LOG_TEXT, LOG_DEBUG);
		if (!fault_disarm())
			break;
		assert_int_equal(rv, -ENOMEM);
		assert_int_equal(log_format_of(f->buffer), LOG_JSON);
		log_numbered(f, fail_at);
	}
	assert_int_equal(rv, 0);
	log_numbered(f, fail_at);
	stop(f);
	check_numbered(f->path, 0, fail_at - 1);
	check_numbered(f->rotated, fail_at, fail_at);
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
		(void)(log_enabled(b, LOG_DEBUG) && log_format_of(b) == LOG_TEXT);
		if (i % 1000 == 0)
			log_reopen(t->f->log);
		if (i % 100 == 0)
			log_dropped(t->f->log);
	}
	return NULL;
}

static bool is_message(const char *line)
{
	return line[0] == '{' || line[4] == '-'; /* JSON, or text with its date */
}

/* Lines of one thread keep their order, none is mixed with another, none appears twice. Returns their number. */
static uint64_t check_talk(const char *text)
{
	unsigned next[THREADS] = { 0 };
	uint64_t count = 0;

	for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1) {
		unsigned number;
		int index;
		char end[4];

		if (is_message(at))
			continue;
		assert_int_equal(sscanf(at, "%d %u %3s", &index, &number, end), 3);
		assert_string_equal(end, "end");
		assert_in_range(index, 0, THREADS - 1);
		assert_in_range(number, next[index], LINES_EACH - 1);
		next[index] = number + 1;
		count++;
	}
	return count;
}

static void start_talkers(struct fixture *f, struct talker talkers[static THREADS])
{
	for (int i = 0; i < THREADS; i++) {
		talkers[i] = (struct talker){ .f = f, .index = i };
		pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]);
	}
}

static void join_talkers(struct talker talkers[static THREADS])
{
	for (int i = 0; i < THREADS; i++)
		pthread_join(talkers[i].thread, NULL);
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
	start_talkers(f, talkers);
	join_talkers(talkers);
	dropped = log_dropped(f->log); /* the pipe is read, so nothing is dropped from here on */
	stop(f);
	close_end(f, 1);
	pthread_join(collector, &text);
	assert_int_equal(check_talk(text) + dropped, THREADS * LINES_EACH);
	assert_int_equal(reported_drops(text), dropped);
	free(text);
}

static void test_settings_change_while_threads_log(void **state)
{
	struct fixture *f = *state;
	const char *const outputs[] = { f->rotated, f->path };
	struct talker talkers[THREADS];
	uint64_t arrived = 0;
	uint64_t dropped;

	start(f, f->path, LOG_JSON);
	start_talkers(f, talkers);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(log_configure(f->log, outputs[i % 2],
					       i % 3 == 0 ? LOG_TEXT : LOG_JSON,
					       i % 5 == 0 ? LOG_ERROR : LOG_DEBUG),
				 0);
	join_talkers(talkers);
	dropped =
	    log_dropped(f->log); /* files take what comes, so nothing is dropped from here on */
	stop(f);
	for (size_t i = 0; i < ARRAY_SIZE(outputs); i++) {
		char *text = read_file(outputs[i]);

		arrived += check_talk(text);
		free(text);
	}
	assert_int_equal(arrived + dropped, THREADS * LINES_EACH);
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
		TEST(test_another_output_gets_what_is_logged_from_then_on),
		TEST(test_another_output_serves_while_the_process_runs),
		TEST(test_an_output_that_stays_is_not_opened_again),
		TEST(test_an_output_that_was_changed_is_reopened_at_its_new_place),
		TEST(test_format_and_level_change_at_once),
		TEST(test_an_output_that_cannot_be_opened_changes_nothing),
		TEST(test_the_last_of_several_changes_counts),
		TEST(test_the_end_does_not_wait_for_a_change),
		TEST(test_running_out_of_memory_changes_nothing),
		TEST(test_reopening_leaves_stdout_alone),
		TEST(test_a_line_larger_than_the_buffer_is_dropped),
		TEST(test_threads_do_not_disturb_each_other),
		TEST(test_settings_change_while_threads_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
