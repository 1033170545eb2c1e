/* SPDX-License-Identifier: MIT */
/* systemd's watchdog, of a whole server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_loop.h"
#include "loop/server_fixture.h"
#include "server/server_private.h"

struct fixture {
	struct server_fixture *s;
	char path[64]; /* of systemd's socket */
	int fd;        /* systemd */
	struct mail mail;
	sem_t stuck; /* a worker is */
	sem_t free;  /* it is to go on */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	server_fixture_setup((void **)&f->s);
	snprintf(f->path, sizeof f->path, "%s/notify", f->s->directory);
	strcpy(sun.sun_path, f->path);
	f->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->fd, (const struct sockaddr *)&sun, sizeof sun), 0);
	setenv("NOTIFY_SOCKET", f->path, 1);
	setenv("WATCHDOG_USEC", "40000", 1);
	sem_init(&f->stuck, 0, 0);
	sem_init(&f->free, 0, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	close(f->fd);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	server_fixture_teardown((void **)&f->s);
	free(f);
	return 0;
}

#ifdef HAVE_SYSTEMD

static bool is_fed(const struct fixture *f)
{
	char text[64];
	ssize_t size = recv(f->fd, text, sizeof text - 1, MSG_DONTWAIT);

	text[size > 0 ? size : 0] = '\0';
	return strcmp(text, "WATCHDOG=1") == 0;
}

static void expect_fed(const struct fixture *f)
{
	do
		test_loop_until_ready(NULL, f->fd, POLLIN, "the watchdog to be fed");
	while (!is_fed(f));
}

static void be_stuck(struct mail *m)
{
	struct fixture *f = container_of(m, struct fixture, mail);

	sem_post(&f->stuck);
	sem_wait(&f->free);
}

/* Even while they let their last connections finish. */
static void test_it_is_fed_until_the_end(void **state)
{
	struct fixture *f = *state;

	server_fixture_start(f->s, 3, "\"shutdown_timeout_ms\": 60000, ");
	for (unsigned i = 0; i < 3; i++)
		expect_fed(f);
	server_fixture_relay(f->s);
	server_stop(f->s->server);
	server_fixture_expect_log(f->s, "accepting no more");
	for (unsigned i = 0; i < 3; i++)
		expect_fed(f);
}

static void test_it_starves_while_a_worker_is_stuck(void **state)
{
	struct fixture *f = *state;
	uint64_t end_ms;

	server_fixture_start(f->s, 3, "");
	expect_fed(f);
	assert_true(mailbox_post(&f->s->server->workers[1]->mailbox, &f->mail, be_stuck));
	sem_wait(&f->stuck);
	end_ms = uv_hrtime() / 1000000 +
		 200; /* ten times what it is fed in; the first may be under way */
	poll(NULL, 0, 40);
	while (is_fed(f))
		continue;
	while (uv_hrtime() / 1000000 < end_ms) {
		poll(NULL, 0, 10);
		assert_false(is_fed(f));
	}
	sem_post(&f->free);
	expect_fed(f);
}

#else

static void test_without_libsystemd_there_is_none(void **state)
{
	struct fixture *f = *state;

	server_fixture_start(f->s, 3, "");
	assert_null(f->s->server->watchdog);
}

#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
#ifdef HAVE_SYSTEMD
		TEST(test_it_is_fed_until_the_end),
		TEST(test_it_starves_while_a_worker_is_stuck),
#else
		TEST(test_without_libsystemd_there_is_none),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
