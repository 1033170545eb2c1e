/* SPDX-License-Identifier: MIT */
/* A session fixture whose clients come through a listener of its own. */
#ifndef LISTENER_FIXTURE_H
#define LISTENER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/test_loop.h"
#include "loop/session_fixture.h"
#include "server/listener.h"

/* More than a listener accepts in one turn. */
#define CROWD 70
#define TURN  64

struct fixture {
	struct session_fixture *s;
	struct listener *listener;
	char name[TEST_PEER_NAME_MAX]; /* where it listens */
	struct test_peer crowd[CROWD];
	unsigned count; /* in the crowd */
};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	session_fixture_setup((void **)&f->s);
	*state = f;
	return 0;
}

/* The listener takes the socket of the session fixture. */
static inline void open_listener(struct fixture *f, const char *keys)
{
	struct session_fixture *s = f->s;
	struct upstream_addresses addresses[2];
	struct session_service *service;

	session_fixture_load(s, NULL, keys);
	for (int i = 0; i < 2; i++)
		assert_int_equal(upstream_addresses_find(&s->config->listeners[0].upstream[i],
							 &s->loop, &addresses[i]),
				 0);
	test_peer_name(&s->listening, f->name);
	session_fixture_create_service(s, addresses, &service);
	f->listener = listener_create(s->listening.fd, service);
	assert_non_null(f->listener);
	listener_attach(f->listener, &s->env);
	s->listening.fd = -1;
}

static inline void start_listener(struct fixture *f)
{
	open_listener(f, "");
	assert_int_equal(listener_start(f->listener), 0);
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < f->count; i++)
		test_peer_close(&f->crowd[i]);
	if (f->listener != NULL) {
		listener_stop(f->listener);
		listener_stop(f->listener);
	}
	session_env_end_sessions(&f->s->env, OUTCOME_shutdown);
	listener_destroy(f->listener);
	session_fixture_teardown((void **)&f->s);
	free(f);
	return 0;
}

static inline struct test_peer *connect_client(struct fixture *f)
{
	struct test_peer *p = &f->crowd[f->count++];

	assert_true(f->count <= CROWD);
	test_peer_connect(p, NULL, f->name, NULL); /* nobody accepts it yet */
	p->loop = &f->s->loop;
	return p;
}

struct limit {
	struct rlimit old;
};

/* From now on no descriptor can be had. */
static inline void exhaust_descriptors(struct limit *limit)
{
	int next = fcntl(0, F_DUPFD, 0);
	struct rlimit none;

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit->old), 0);
	none = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = limit->old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static inline void restore_descriptors(const struct limit *limit)
{
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit->old), 0);
}

static inline bool has_crowd(void *data)
{
	const struct fixture *f = data;

	return f->s->env.count == f->count;
}

static inline bool is_watched(void *data)
{
	return ((const struct listener *)data)->watched;
}

static inline bool is_paused(void *data)
{
	return !is_watched(data);
}

#endif
