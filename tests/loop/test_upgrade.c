/* SPDX-License-Identifier: MIT */
/* SIGUSR2 of a whole server. What takes its place is a script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "loop/resolver_fault.h"
#include "loop/server_fixture.h"
#include "server/program.h"
#include "server/server_private.h"
#include "server/upgrade.h"

#define WORKERS "\"workers\": 2, "

#define LISTENER(upstream)                                                                \
	"{\"name\": \"a\", \"listen\": \"127.0.0.1:0\", \"upstream\": \"" upstream "\", " \
	"\"trusted_proxies\": [\"127.0.0.0/8\"], \"upstream_check\": {\"interval_ms\": 0}}"

/* A new program that serves: its end of the pipe is behind the sockets of two workers. */
#define SERVES "printf R >&5; exec sleep 60"
#define FAILS  "exit 1"

#define GOES_ON "this process serves on"

struct fixture {
	struct server_fixture *s;
	char *arguments[4];
	struct program program;
	struct mail mail;
	sem_t stuck; /* a worker is */
	sem_t free;  /* it is to go on */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	server_fixture_setup((void **)&f->s);
	f->program.path = strdup("/bin/sh");
	f->arguments[0] = strdup("sh");
	f->arguments[1] = strdup("-c");
	f->program.arguments = f->arguments;
	f->s->program = &f->program;
	sem_init(&f->stuck, 0, 0);
	sem_init(&f->free, 0, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	resolver_fault_go_on();
	server_fixture_teardown((void **)&f->s);
	while (waitpid(-1, NULL, 0) > 0)
		continue;
	for (size_t i = 0; i < ARRAY_SIZE(f->arguments); i++)
		free(f->arguments[i]);
	free(f->program.path);
	free(f);
	return 0;
}

/* Create a server, which is to be replaced by this. */
static void create(struct fixture *f, const char *script)
{
	f->arguments[2] = strdup(script);
	if (server_fixture_create(f->s, WORKERS, LISTENER("APP")) != 0)
		fail_msg("%s", f->s->error.text);
}

static void start(struct fixture *f, const char *script)
{
	create(f, script);
	server_fixture_run(f->s);
}

/* The child that has taken over ends. */
static void end_child(struct fixture *f)
{
	const char *text = strstr(f->s->log_text, "SIGUSR2: process ");

	assert_non_null(text);
	kill((pid_t)atoi(text + strlen("SIGUSR2: process ")), SIGKILL);
}

static void test_it_drains_when_the_new_program_serves(void **state)
{
	struct fixture *f = *state;

	start(f, SERVES);
	server_fixture_relay(f->s);
	kill(getpid(), SIGUSR2);
	server_fixture_expect_log(f->s, "has taken over: accepting no more; 1 connections have");
	test_peer_send_text(&f->s->upstream, "reply");
	test_peer_expect_text(&f->s->client, "reply");
	end_child(f);
	test_peer_close(&f->s->client);
	test_peer_close(&f->s->upstream);
	server_fixture_join(f->s);
	assert_true(f->s->ended_in_order);
}

static void test_it_goes_on_when_the_new_program_fails(void **state)
{
	struct fixture *f = *state;

	start(f, FAILS);
	for (unsigned i = 0; i < 2; i++) {
		server_fixture_skip_log(f->s);
		kill(getpid(), SIGUSR2);
		server_fixture_expect_log(f->s, "ended with status 1 before it served");
		server_fixture_expect_log(f->s, GOES_ON);
	}
	server_fixture_relay(f->s);
}

static void test_without_a_program_nothing_happens(void **state)
{
	struct fixture *f = *state;

	f->s->program = NULL;
	start(f, FAILS);
	kill(getpid(), SIGUSR2);
	server_fixture_expect_log(f->s,
				  "\"warn\",\"event\":\"upgrade\",\"message\":\"SIGUSR2: this "
				  "program cannot be replaced\"");
}

static void test_who_is_to_stop_hands_over_no_more(void **state)
{
	struct fixture *f = *state;

	start(f, SERVES);
	server_fixture_relay(f->s);
	server_stop(f->s->server);
	server_fixture_expect_log(f->s, "accepting no more");
	kill(getpid(), SIGUSR2);
	server_fixture_expect_log(f->s, "SIGUSR2: ignored, for we are to stop");
}

/* --- and reloads --- */

static void test_it_waits_for_a_reload(void **state)
{
	struct fixture *f = *state;

	start(f, FAILS);
	resolver_fault_hang();
	server_fixture_load(f->s, WORKERS, LISTENER("localhost:1"));
	kill(getpid(), SIGHUP);
	resolver_fault_wait_until_asked();
	kill(getpid(), SIGUSR2);
	kill(getpid(), SIGUSR1); /* handled after it */
	server_fixture_relay(f->s);
	assert_null(strstr(f->s->log_text, "SIGUSR2"));
	resolver_fault_go_on();
	server_fixture_expect_log(f->s, "SIGHUP: 1 listener kept");
	server_fixture_expect_log(f->s, "SIGUSR2: starting /bin/sh");
	server_fixture_expect_log(f->s, GOES_ON);
}

/* --- shortage --- */

static void be_stuck(struct mail *m)
{
	struct fixture *f = container_of(m, struct fixture, mail);

	sem_post(&f->stuck);
	sem_wait(&f->free);
}

static void test_a_worker_that_is_stuck_is_not_waited_for(void **state)
{
	struct fixture *f = *state;

	start(f, SERVES);
	assert_true(mailbox_post(&f->s->server->workers[1]->mailbox, &f->mail, be_stuck));
	sem_wait(&f->stuck);
	kill(getpid(), SIGUSR2);
	server_fixture_expect_log(f->s, "SIGUSR2: a worker is stuck; " GOES_ON);
	sem_post(&f->free);
	server_fixture_relay(f->s);
	server_fixture_skip_log(f->s);
	kill(getpid(), SIGUSR2);
	server_fixture_expect_log(f->s, "has taken over");
	end_child(f);
}

/* The loop does not run meanwhile, so the only allocations are those of the start. */
static void test_without_memory_it_goes_on(void **state)
{
	struct fixture *f = *state;
	struct server *s;
	unsigned failures = 0;

	create(f, FAILS);
	s = f->s->server;
	for (bool failed = true; failed; failures++) {
		fault_arm(failures);
		upgrade_start(s);
		failed = fault_disarm();
		assert_int_equal(s->handover == NULL, failed);
	}
	assert_true(failures > 5);
	server_fixture_run(f->s);
	server_fixture_expect_log(f->s, "SIGUSR2: cannot start /bin/sh: Cannot allocate memory");
	server_fixture_expect_log(f->s, "ended with status 1 before it served");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_it_drains_when_the_new_program_serves),
		TEST(test_it_goes_on_when_the_new_program_fails),
		TEST(test_without_a_program_nothing_happens),
		TEST(test_who_is_to_stop_hands_over_no_more),
		TEST(test_it_waits_for_a_reload),
		TEST(test_a_worker_that_is_stuck_is_not_waited_for),
		TEST(test_without_memory_it_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
