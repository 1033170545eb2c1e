/* SPDX-License-Identifier: MIT */
/* A worker without listeners: what it is told, and how it ends. What it does with listeners, test_reload.c shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <uv.h>

#include <cmocka.h>

#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "obs/log.h"
#include "server/worker.h"
#include "server/worker_update.h"

struct fixture {
	struct log *log;
	struct admission process;
	struct worker *worker;
	uv_sem_t done;
	uv_sem_t applied;
	unsigned fds_before;
};

static void on_done(void *data)
{
	uv_sem_post(&((struct fixture *)data)->done);
}

static int create(struct fixture *f)
{
	const struct worker_options options = {
		.env = { .log = log_buffer_create(f->log), .process = &f->process, .workers = 1 },
		.done_cb = on_done,
		.data = f,
	};

	assert_non_null(options.env.log);
	return worker_create(&options, &f->worker);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->fds_before = test_count_fds();
	assert_int_equal(log_create("stderr", LOG_TEXT, LOG_ERROR, &f->log), 0);
	assert_int_equal(uv_sem_init(&f->done, 0), 0);
	assert_int_equal(uv_sem_init(&f->applied, 0), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	worker_destroy(f->worker);
	log_destroy(f->log, TEST_PATIENCE_MS);
	uv_sem_destroy(&f->done);
	uv_sem_destroy(&f->applied);
	assert_int_equal(test_count_fds(), f->fds_before);
	free(f);
	return 0;
}

static void start(struct fixture *f)
{
	assert_int_equal(create(f), 0);
	assert_int_equal(worker_start(f->worker), 0);
}

static void on_applied(struct worker_update *u)
{
	struct fixture *f = u->data;

	free(u);
	uv_sem_post(&f->applied);
}

static void post_update(struct fixture *f)
{
	struct worker_update *u = worker_update_create(f->worker, 0);

	assert_non_null(u);
	u->applied_cb = on_applied;
	u->data = f;
	worker_update_post(u);
}

static void test_an_update_is_made_and_answered(void **state)
{
	struct fixture *f = *state;

	start(f);
	for (unsigned i = 0; i < 3; i++)
		post_update(f);
	for (unsigned i = 0; i < 3; i++)
		uv_sem_wait(&f->applied);
	worker_post(f->worker, WORKER_STOP);
	uv_sem_wait(&f->done);
}

static void test_what_was_posted_before_the_end_is_done(void **state)
{
	struct fixture *f = *state;

	start(f);
	post_update(f);
	worker_post(f->worker, WORKER_DRAIN);
	worker_post(f->worker, WORKER_STOP);
	uv_sem_wait(&f->done);
	assert_int_equal(uv_sem_trywait(&f->applied), 0);
}

static void on_never(struct mail *m)
{
	(void)m;
	abort();
}

static void test_a_worker_that_has_ended_takes_no_mail(void **state)
{
	struct fixture *f = *state;
	struct mail mail;

	start(f);
	worker_post(f->worker, WORKER_DRAIN);
	uv_sem_wait(&f->done);
	assert_true(atomic_load(&f->worker->done));
	assert_false(mailbox_post(&f->worker->mailbox, &mail, on_never));
	worker_post(f->worker, WORKER_STOP);
	worker_post(f->worker, WORKER_DRAIN);
}

/* Its mail is delivered all the same. */
static void test_a_worker_that_was_never_started_is_destroyed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(create(f), 0);
	post_update(f);
	worker_post(f->worker, WORKER_STOP);
	worker_destroy(f->worker);
	f->worker = NULL;
	assert_int_equal(uv_sem_trywait(&f->applied), 0);
	assert_int_not_equal(uv_sem_trywait(&f->done), 0);
	worker_destroy(NULL);
}

static void test_a_worker_that_cannot_be_created_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	const struct worker_options options = {
		.env = { .log = log_buffer_create(f->log), .process = &f->process, .workers = 1 },
		.done_cb = on_done,
		.data = f,
	};
	unsigned before = test_count_fds();
	bool failed = true;

	for (unsigned count = 0; failed; count++) {
		int rv;

		fault_arm(count);
		rv = worker_create(&options, &f->worker);
		failed = fault_disarm();
		assert_int_equal(rv, failed ? -ENOMEM : 0);
		if (failed)
			assert_int_equal(test_count_fds(), before);
		else
			assert_in_range(count, 2, 100);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_an_update_is_made_and_answered),
		TEST(test_what_was_posted_before_the_end_is_done),
		TEST(test_a_worker_that_has_ended_takes_no_mail),
		TEST(test_a_worker_that_was_never_started_is_destroyed),
		TEST(test_a_worker_that_cannot_be_created_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
