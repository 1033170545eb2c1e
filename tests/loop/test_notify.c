/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_loop.h"
#include "server/notify.h"

struct fixture {
	char directory[48];
	char path[64]; /* of systemd's socket */
	int fd;        /* systemd */
	uv_loop_t loop;
	struct notify_watchdog watchdog;
	unsigned asked;
	bool answers; /* the workers, at once */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	strcpy(f->directory, "/tmp/test_notify.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof f->path, "%s/notify", f->directory);
	strcpy(sun.sun_path, f->path);
	f->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->fd, (const struct sockaddr *)&sun, sizeof sun), 0);
	setenv("NOTIFY_SOCKET", f->path, 1);
	test_loop_open(&f->loop);
	*state = f;
	return 0;
}

static bool has_heard(const struct fixture *f)
{
	struct pollfd p = { .fd = f->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_false(has_heard(f));
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	test_loop_close(&f->loop);
	close(f->fd);
	unlink(f->path);
	assert_int_equal(rmdir(f->directory), 0);
	free(f);
	return 0;
}

#ifdef HAVE_SYSTEMD

/* What comes next, as text. */
static void hear(const struct fixture *f, char text[static 1024])
{
	ssize_t size = recv(f->fd, text, 1023, MSG_DONTWAIT);

	assert_true(size >= 0);
	text[size] = '\0';
}

static void expect(const struct fixture *f, const char *text)
{
	char heard[1024];

	hear(f, heard);
	assert_string_equal(heard, text);
}

static void test_systemd_hears_what_we_say(void **state)
{
	const struct fixture *f = *state;

	notify_ready();
	expect(f, "READY=1");
	notify_stopping();
	expect(f, "STOPPING=1");
	notify_status("%u connections", 3);
	expect(f, "STATUS=3 connections");
	notify_main_pid(4711);
	expect(f, "MAINPID=4711\nREADY=1");
}

static void test_a_reload_says_when_it_began(void **state)
{
	const struct fixture *f = *state;
	uint64_t before = uv_hrtime() / 1000;
	uint64_t said;
	char heard[1024];

	notify_reloading();
	hear(f, heard);
	assert_int_equal(sscanf(heard, "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &said), 1);
	assert_in_range(said, before, uv_hrtime() / 1000);
}

static void test_a_status_that_is_too_long_is_cut(void **state)
{
	const struct fixture *f = *state;
	char heard[1024];

	notify_status("%0600d", 1);
	hear(f, heard);
	assert_memory_equal(heard, "STATUS=000", 10);
	assert_int_equal(strlen(heard), 7 + 511);
}

/* --- the watchdog --- */

static void on_ask(void *data)
{
	struct fixture *f = data;

	f->asked++;
	if (f->answers)
		notify_watchdog_answered(&f->watchdog);
}

static bool was_asked(void *data)
{
	const struct fixture *f = data;

	return f->asked > 0;
}

static bool was_asked_twice(void *data)
{
	const struct fixture *f = data;

	return f->asked > 1;
}

static void start(struct fixture *f)
{
	setenv("WATCHDOG_USEC", "20000", 1);
	assert_true(notify_watchdog_start(&f->watchdog, &f->loop, on_ask, f));
}

static void stop(struct fixture *f)
{
	notify_watchdog_stop(&f->watchdog);
	test_loop_run_out(&f->loop);
}

static void test_the_watchdog_is_fed_while_workers_answer(void **state)
{
	struct fixture *f = *state;

	f->answers = true;
	start(f);
	test_loop_until(&f->loop, was_asked_twice, f, "the second question");
	for (; f->asked > 0; f->asked--)
		expect(f, "WATCHDOG=1");
	stop(f);
}

static void test_a_worker_that_does_not_answer_starves_it(void **state)
{
	struct fixture *f = *state;
	uint64_t end_ms;

	start(f);
	test_loop_until(&f->loop, was_asked, f, "the question");
	end_ms = uv_now(&f->loop) + 50; /* five questions' time */
	while (uv_now(&f->loop) < end_ms)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(f->asked, 1);
	assert_false(has_heard(f));
	f->answers = true;
	notify_watchdog_answered(&f->watchdog);
	expect(f, "WATCHDOG=1");
	f->asked = 0;
	test_loop_until(&f->loop, was_asked, f, "the next question");
	while (has_heard(f))
		expect(f, "WATCHDOG=1");
	stop(f);
}

static void test_nobody_is_asked_without_a_watchdog(void **state)
{
	struct fixture *f = *state;

	assert_false(notify_watchdog_start(&f->watchdog, &f->loop, on_ask, f));
	setenv("WATCHDOG_USEC", "20000", 1);
	setenv("WATCHDOG_PID", "1", 1); /* of another process */
	assert_false(notify_watchdog_start(&f->watchdog, &f->loop, on_ask, f));
}

#else

static void test_without_libsystemd_nothing_is_said(void **state)
{
	struct fixture *f = *state;

	setenv("WATCHDOG_USEC", "20000", 1);
	notify_ready();
	notify_reloading();
	notify_status("%u connections", 3);
	notify_main_pid(4711);
	notify_stopping();
	assert_false(notify_watchdog_start(&f->watchdog, &f->loop, NULL, NULL));
	assert_false(has_heard(f));
}

#endif

static void test_without_somebody_who_listens_nothing_happens(void **state)
{
	const struct fixture *f = *state;

	unsetenv("NOTIFY_SOCKET");
	notify_ready();
	setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
	notify_ready();
	assert_false(has_heard(f));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
#ifdef HAVE_SYSTEMD
		TEST(test_systemd_hears_what_we_say),
		TEST(test_a_reload_says_when_it_began),
		TEST(test_a_status_that_is_too_long_is_cut),
		TEST(test_the_watchdog_is_fed_while_workers_answer),
		TEST(test_a_worker_that_does_not_answer_starves_it),
		TEST(test_nobody_is_asked_without_a_watchdog),
#else
		TEST(test_without_libsystemd_nothing_is_said),
#endif
		TEST(test_without_somebody_who_listens_nothing_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
