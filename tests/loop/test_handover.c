/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "lib/test_peer.h"
#include "server/handover.h"
#include "server/program.h"

#define SOCKETS 3

/* What a new program does when it serves: two sockets and a name each end at descriptor 5. */
#define SAY_READY "printf R >&6; "

/* The new program goes on until it is told to end. */
#define SERVE "exec sleep 60"

struct fixture {
	uv_loop_t loop;
	struct test_peer sockets[SOCKETS];
	struct handover *handover;
	char program_path[64];
	unsigned ready_ms;
	unsigned calls;
	pid_t pid;         /* of the callback */
	char failure[512]; /* of the callback; empty: none */
	int output[2];     /* the new program's stdout */
	char error[HANDOVER_ERROR_MAX];
	unsigned fds_before;
};

static void on_done(void *data, pid_t pid, const char *failure)
{
	struct fixture *f = data;

	f->calls++;
	f->pid = pid;
	f->handover = NULL;
	snprintf(f->failure, sizeof f->failure, "%s", failure != NULL ? failure : "");
}

/* What the tests' own runner left open is not ours to look after. */
static int keep_to_ourselves(void **state)
{
	(void)state;
	for (int fd = 3; fd < 1024; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->fds_before = test_count_fds();
	test_loop_open(&f->loop);
	for (unsigned i = 0; i < SOCKETS; i++)
		test_peer_listen(&f->sockets[i], NULL, "127.0.0.1:0", 10);
	strcpy(f->program_path, "/bin/sh");
	f->ready_ms = TEST_PATIENCE_MS;
	assert_int_equal(pipe2(f->output, O_CLOEXEC), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	handover_cancel(f->handover);
	if (f->pid > 0 && f->failure[0] == '\0')
		kill(f->pid, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		continue;
	test_loop_run_out(&f->loop);
	test_loop_close(&f->loop);
	for (unsigned i = 0; i < SOCKETS; i++)
		test_peer_close(&f->sockets[i]);
	close(f->output[0]);
	close(f->output[1]);
	assert_int_equal(test_count_fds(), f->fds_before);
	free(f);
	return 0;
}

/* Hand over to the program with these arguments, with its output in our pipe. */
static int try_start(struct fixture *f, const char *name, const char *first, const char *second)
{
	static const char *const names[SOCKETS] = { "one", "", "three" };
	char texts[3][1024];
	char *arguments[] = { texts[0], texts[1], texts[2], NULL };
	const struct program program = { .path = f->program_path, .arguments = arguments };
	const struct handover_options options = {
		.loop = &f->loop,
		.program = &program,
		/* in another order than they were opened */
		.fds = (int[]){ f->sockets[2].fd, f->sockets[0].fd, f->sockets[1].fd },
		.names = names,
		.count = SOCKETS,
		.ready_ms = f->ready_ms,
		.cb = on_done,
		.data = f,
	};
	int saved;
	int rv;

	snprintf(texts[0], sizeof texts[0], "%s", name);
	snprintf(texts[1], sizeof texts[1], "%s", first);
	snprintf(texts[2], sizeof texts[2], "%s", second);
	fflush(stdout);
	saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	dup2(f->output[1], STDOUT_FILENO);
	rv = handover_start(&options, &f->handover, f->error);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	return rv;
}

static int try_script(struct fixture *f, const char *script)
{
	return try_start(f, "sh", "-c", script);
}

static void start(struct fixture *f, const char *script)
{
	if (try_script(f, script) != 0)
		fail_msg("%s", f->error);
}

static bool is_done(void *data)
{
	const struct fixture *f = data;

	return f->calls > 0;
}

static void wait_until_done(struct fixture *f)
{
	test_loop_until(&f->loop, is_done, f, "the handover");
	test_loop_run_out(&f->loop);
	assert_int_equal(f->calls, 1);
}

static void expect_ready(struct fixture *f)
{
	wait_until_done(f);
	assert_string_equal(f->failure, "");
	assert_int_equal(kill(f->pid, 0), 0);
}

static void expect_failure(struct fixture *f, const char *why)
{
	wait_until_done(f);
	if (strstr(f->failure, why) == NULL)
		fail_msg("\"%s\" is not in: %s", why, f->failure);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* it is gone */
	assert_int_equal(errno, ECHILD);
}

/* One line of what the new program wrote. */
static void expect_output(struct fixture *f, const char *expected)
{
	char line[256];
	size_t size = 0;

	do {
		test_loop_until_ready(&f->loop, f->output[0], POLLIN, expected);
		assert_int_equal(read(f->output[0], line + size, 1), 1);
	} while (line[size++] != '\n' && size < sizeof line);
	line[size - 1] = '\0';
	assert_string_equal(line, expected);
}

/* --- it serves --- */

static void test_a_program_that_serves_takes_over(void **state)
{
	struct fixture *f = *state;

	start(f, SAY_READY SERVE);
	expect_ready(f);
}

static void test_it_finds_the_sockets_as_systemd_passes_them(void **state)
{
	struct fixture *f = *state;

	start(
	    f,
	    "test \"$LISTEN_PID\" = $$ && echo \"$LISTEN_FDS $LISTEN_FDNAMES $UNPROXY_READY_FD\"; "
	    "for fd in 3 4 5; do readlink /proc/self/fd/$fd; done; " SAY_READY SERVE);
	expect_output(f, "3 one::three 6");
	for (unsigned i = 0; i < SOCKETS; i++) {
		char path[64];
		char link[64];
		ssize_t size;

		snprintf(path, sizeof path, "/proc/self/fd/%d", f->sockets[(i + 2) % SOCKETS].fd);
		size = readlink(path, link, sizeof link - 1);
		assert_true(size > 0);
		link[size] = '\0';
		expect_output(f, link);
	}
	expect_ready(f);
}

/* Only what it needs: 0 to 2, the sockets and the pipe. (ls opens the folder.) */
static void test_it_inherits_nothing_else(void **state)
{
	struct fixture *f = *state;
	int other = open("/", O_RDONLY | O_CLOEXEC);

	start(f, "echo $(ls /proc/self/fd); " SAY_READY SERVE);
	expect_output(f, "0 1 2 3 4 5 6 7");
	expect_ready(f);
	close(other);
}

/* What of the two signals that are glibc's own, 32 and 33, is ignored here: whoever started us may have left it so, and
 * sigaction(3) cannot change it. */
static unsigned long ignored_for_good(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	unsigned long mask = 0;
	char line[256];

	assert_non_null(status);
	while (fgets(line, sizeof line, status) != NULL)
		sscanf(line, "SigIgn: %lx", &mask);
	fclose(status);
	return mask & 0x180000000UL;
}

static void test_signals_are_as_they_were_for_us(void **state)
{
	struct fixture *f = *state;
	char ignored[32];
	sigset_t some;

	sigemptyset(&some);
	sigaddset(&some, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &some, NULL);
	signal(SIGPIPE, SIG_IGN);
	strcpy(f->program_path, "/bin/grep"); /* for shells have their own ideas of signals */
	assert_int_equal(try_start(f, "grep", "Sig[BI]", "/proc/self/status"), 0);
	expect_output(f, "SigBlk:\t0000000000000200");
	snprintf(ignored, sizeof ignored, "SigIgn:\t%016lx", ignored_for_good());
	expect_output(f, ignored);
	expect_failure(f, "ended with status 0");
	pthread_sigmask(SIG_UNBLOCK, &some, NULL);
	signal(SIGPIPE, SIG_DFL);
}

static void test_the_environment_is_ours_but_for_what_is_about_us(void **state)
{
	struct fixture *f = *state;

	setenv("UNPROXY_TEST", "kept", 1);
	setenv("WATCHDOG_PID", "1", 1);
	setenv("LISTEN_PIDFDID", "1", 1);
	start(f,
	      "echo \"$UNPROXY_TEST $NOTIFY_SOCKET [$WATCHDOG_PID] [$LISTEN_PIDFDID]\"; " SAY_READY
		  SERVE);
	unsetenv("UNPROXY_TEST");
	unsetenv("WATCHDOG_PID");
	unsetenv("LISTEN_PIDFDID");
	expect_output(f, "kept  [] []");
	expect_ready(f);
}

/* --- it does not --- */

static void test_a_program_that_ends_leaves_us_serving(void **state)
{
	struct fixture *f = *state;

	start(f, "exit 2");
	expect_failure(f, "/bin/sh ended with status 2 before it served");
}

static void test_a_program_that_is_killed_leaves_us_serving(void **state)
{
	struct fixture *f = *state;

	start(f, "kill -SEGV $$");
	expect_failure(f, "/bin/sh was killed by signal 11 (Segmentation fault) before it served");
}

static void test_a_program_that_cannot_be_executed_is_an_error_at_once(void **state)
{
	static const struct {
		const char *path;
		int error;
	} programs[] = {
		{ "/nonexistent", -ENOENT },
		{ "/etc/passwd", -EACCES },
		{ "/dev/null", -EACCES },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		char expected[128];

		strcpy(f->program_path, programs[i].path);
		assert_int_equal(try_script(f, ""), programs[i].error);
		snprintf(expected, sizeof expected, "cannot start %s: %s", programs[i].path,
			 strerror(-programs[i].error));
		assert_string_equal(f->error, expected);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
		test_loop_settle(&f->loop);
	}
}

static void test_a_program_that_does_nothing_is_killed(void **state)
{
	struct fixture *f = *state;

	f->ready_ms = 20;
	start(f, SERVE);
	expect_failure(f, "/bin/sh did not serve within 20 ms, and was killed");
}

/* It does not know what the descriptor is for: another program, or a much older one. */
static void test_a_program_that_closes_the_pipe_is_killed(void **state)
{
	struct fixture *f = *state;

	start(f, "exec 6>&-; " SERVE);
	expect_failure(f, "/bin/sh cannot be handed over to, and was killed");
}

/* --- we do not --- */

static bool has_ended(void *data)
{
	int *status = data;

	return waitpid(-1, status, WNOHANG) > 0;
}

static void test_when_we_stop_so_does_it(void **state)
{
	struct fixture *f = *state;
	int status;

	start(f, "echo here; " SERVE);
	expect_output(f, "here");
	handover_cancel(f->handover);
	f->handover = NULL;
	test_loop_until(&f->loop, has_ended, &status, "its end");
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_int_equal(f->calls, 0);
}

/* --- shortage --- */

static void test_without_memory_nothing_is_started(void **state)
{
	struct fixture *f = *state;
	unsigned i = 0;
	bool failed = true;

	for (; failed; i++) {
		int rv;

		fault_arm(i);
		rv = try_script(f, SAY_READY SERVE);
		failed = fault_disarm();
		assert_int_equal(rv, failed ? -ENOMEM : 0);
		test_loop_settle(&f->loop);
	}
	assert_true(i > 3);
	expect_ready(f);
}

static void test_without_descriptors_nothing_is_started(void **state)
{
	struct fixture *f = *state;
	struct rlimit old;
	int first = fcntl(0, F_DUPFD_CLOEXEC, 0);
	int rv = -EMFILE;

	close(first);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	/* try_start() itself needs one */
	for (rlim_t limit = (rlim_t)first + 1; rv != 0; limit++) {
		struct rlimit lower = { .rlim_cur = limit, .rlim_max = old.rlim_max };

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &lower), 0);
		rv = try_script(f, SAY_READY SERVE);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_true(rv == 0 || rv == -EMFILE);
		if (rv != 0)
			assert_non_null(strstr(f->error, "cannot start /bin/sh: "));
		test_loop_settle(&f->loop);
	}
	expect_ready(f);
}

/* --- in the new program --- */

static void test_the_new_program_tells_that_it_serves(void **state)
{
	char number[16];
	char said;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	snprintf(number, sizeof number, "%d", fds[1]);
	setenv("UNPROXY_READY_FD", number, 1);
	assert_int_equal(handover_take_ready_fd(), fds[1]);
	assert_null(getenv("UNPROXY_READY_FD"));
	assert_true(fcntl(fds[1], F_GETFD) & FD_CLOEXEC);
	handover_report_ready(fds[1]);
	assert_int_equal(read(fds[0], &said, 1), 1);
	assert_int_equal(said, 'R');
	assert_int_equal(read(fds[0], &said, 1), 0);
	close(fds[0]);
}

static void test_who_was_not_handed_over_to_tells_nobody(void **state)
{
	static const char *const odd[] = { "", "0", "1", "-7", "x", "99999", "3x" };

	(void)state;
	assert_int_equal(handover_take_ready_fd(), -1);
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		setenv("UNPROXY_READY_FD", odd[i], 1);
		assert_int_equal(handover_take_ready_fd(), -1);
		assert_null(getenv("UNPROXY_READY_FD"));
	}
	handover_report_ready(-1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_a_program_that_serves_takes_over),
		TEST(test_it_finds_the_sockets_as_systemd_passes_them),
		TEST(test_it_inherits_nothing_else),
		TEST(test_signals_are_as_they_were_for_us),
		TEST(test_the_environment_is_ours_but_for_what_is_about_us),
		TEST(test_a_program_that_ends_leaves_us_serving),
		TEST(test_a_program_that_is_killed_leaves_us_serving),
		TEST(test_a_program_that_cannot_be_executed_is_an_error_at_once),
		TEST(test_a_program_that_does_nothing_is_killed),
		TEST(test_a_program_that_closes_the_pipe_is_killed),
		TEST(test_when_we_stop_so_does_it),
		TEST(test_without_memory_nothing_is_started),
		TEST(test_without_descriptors_nothing_is_started),
		TEST(test_the_new_program_tells_that_it_serves),
		TEST(test_who_was_not_handed_over_to_tells_nobody),
	};

	return cmocka_run_group_tests(tests, keep_to_ourselves, NULL);
}
