/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>

#include <pthread.h>
#include <uv.h>

#include <cmocka.h>

#include "lib/test_loop.h"
#include "server/mailbox.h"

#define LETTERS 1000
#define WRITERS 4

/* A mail with a number, that finds its way back to the test. */
struct letter {
	struct mail mail;
	struct fixture *fixture;
	unsigned number;
};

struct fixture {
	uv_loop_t loop;
	struct mailbox box;
	struct letter letters[WRITERS * LETTERS];
	unsigned came[WRITERS * LETTERS]; /* numbers, in the order in which they came */
	unsigned count;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	test_loop_open(&f->loop);
	assert_int_equal(mailbox_open(&f->box, &f->loop), 0);
	for (unsigned i = 0; i < WRITERS * LETTERS; i++)
		f->letters[i] = (struct letter){ .fixture = f, .number = i };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mailbox_close(&f->box);
	mailbox_close(&f->box);
	test_loop_run_out(&f->loop);
	mailbox_fini(&f->box);
	test_loop_close(&f->loop);
	free(f);
	return 0;
}

static void on_letter(struct mail *m)
{
	const struct letter *l = container_of(m, struct letter, mail);

	l->fixture->came[l->fixture->count++] = l->number;
}

static bool all_came(void *data)
{
	return ((const struct fixture *)data)->count == WRITERS * LETTERS;
}

static void expect(const struct fixture *f, const unsigned *numbers, unsigned count)
{
	assert_int_equal(f->count, count);
	assert_memory_equal(f->came, numbers, count * sizeof *numbers);
}

static void test_mails_come_in_order_from_the_loop(void **state)
{
	static const unsigned numbers[] = { 2, 0, 1 };
	struct fixture *f = *state;

	for (unsigned i = 0; i < 3; i++)
		assert_true(mailbox_post(&f->box, &f->letters[numbers[i]].mail, on_letter));
	assert_int_equal(f->count, 0);
	test_loop_settle(&f->loop);
	expect(f, numbers, 3);
}

static void on_first(struct mail *m)
{
	struct fixture *f = container_of(m, struct letter, mail)->fixture;

	on_letter(m);
	if (f->count < 5) /* the same mail again */
		assert_true(mailbox_post(&f->box, m, on_first));
}

static void test_a_callback_may_post_its_own_mail(void **state)
{
	static const unsigned numbers[] = { 7, 7, 7, 7, 7 };
	struct fixture *f = *state;

	assert_true(mailbox_post(&f->box, &f->letters[7].mail, on_first));
	while (f->count < 5)
		uv_run(&f->loop, UV_RUN_ONCE);
	expect(f, numbers, 5);
}

static void test_closing_runs_what_was_posted_and_refuses_the_rest(void **state)
{
	static const unsigned numbers[] = { 0, 1 };
	struct fixture *f = *state;

	assert_true(mailbox_post(&f->box, &f->letters[0].mail, on_letter));
	assert_true(mailbox_post(&f->box, &f->letters[1].mail, on_letter));
	mailbox_close(&f->box);
	expect(f, numbers, 2);
	assert_false(mailbox_post(&f->box, &f->letters[2].mail, on_letter));
	test_loop_run_out(&f->loop);
	assert_false(mailbox_post(&f->box, &f->letters[2].mail, on_letter));
	expect(f, numbers, 2);
}

static void on_close(struct mail *m)
{
	struct fixture *f = container_of(m, struct letter, mail)->fixture;

	on_letter(m);
	mailbox_close(&f->box);
}

static void test_a_callback_may_close(void **state)
{
	static const unsigned numbers[] = { 0, 1, 2 };
	struct fixture *f = *state;

	assert_true(mailbox_post(&f->box, &f->letters[0].mail, on_letter));
	assert_true(mailbox_post(&f->box, &f->letters[1].mail, on_close));
	assert_true(mailbox_post(&f->box, &f->letters[2].mail, on_letter));
	test_loop_run_out(&f->loop);
	expect(f, numbers, 3);
}

struct writer {
	struct fixture *fixture;
	unsigned first;
	pthread_t thread;
};

static void *write_letters(void *data)
{
	const struct writer *w = data;

	for (unsigned i = 0; i < LETTERS; i++)
		if (!mailbox_post(&w->fixture->box, &w->fixture->letters[w->first + i].mail,
				  on_letter))
			abort();
	return NULL;
}

/* Each writer's in their order, none lost. */
static void test_many_threads_post(void **state)
{
	struct fixture *f = *state;
	struct writer writers[WRITERS];
	unsigned next[WRITERS] = { 0 };

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ .fixture = f, .first = i * LETTERS };
		assert_int_equal(
		    pthread_create(&writers[i].thread, NULL, write_letters, &writers[i]), 0);
	}
	test_loop_until(&f->loop, all_came, f, "all letters");
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
	for (unsigned i = 0; i < WRITERS * LETTERS; i++) {
		unsigned writer = f->came[i] / LETTERS;

		assert_int_equal(f->came[i] % LETTERS, next[writer]);
		next[writer]++;
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_mails_come_in_order_from_the_loop),
		TEST(test_a_callback_may_post_its_own_mail),
		TEST(test_closing_runs_what_was_posted_and_refuses_the_rest),
		TEST(test_a_callback_may_close),
		TEST(test_many_threads_post),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
