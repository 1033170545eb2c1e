/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>

#include <cmocka.h>

#include "lib/test_loop.h"
#include "session/deadline.h"

#define ITEMS  8
#define QUEUES 100

/* Queues are set up in the order of their waits, so that a loop that comes late and finds them all due sees the
 * same order as one that comes in time. */

/* A deadline with a number, which is noted when it is due. */
struct item {
	struct deadline deadline;
	struct fixture *fixture;
	unsigned number;
	struct item *disarms;        /* in its callback, or NULL */
	struct deadline_queue *arms; /* itself again, in its callback, or NULL */
};

struct fixture {
	uv_loop_t loop;
	struct deadlines all;
	struct item items[ITEMS];
	unsigned due[ITEMS * 2]; /* numbers, in order */
	unsigned due_count;
	unsigned rounds; /* calls of after_cb */
	uint64_t due_at_ms;
};

static void on_due(struct deadline *d)
{
	struct item *item = container_of(d, struct item, deadline);
	struct fixture *f = item->fixture;

	assert_true(f->due_count < ARRAY_SIZE(f->due));
	assert_true(list_is_empty(&d->link));
	f->due[f->due_count++] = item->number;
	f->due_at_ms = uv_now(&f->loop);
	if (item->disarms != NULL)
		deadline_disarm(&item->disarms->deadline);
	if (item->arms != NULL)
		deadline_arm(&item->deadline, item->arms);
	item->arms = NULL;
}

static void on_round(struct deadlines *all)
{
	container_of(all, struct fixture, all)->rounds++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	test_loop_open(&f->loop);
	assert_int_equal(deadlines_init(&f->all, &f->loop), 0);
	f->all.after_cb = on_round;
	for (unsigned i = 0; i < ITEMS; i++) {
		deadline_init(&f->items[i].deadline);
		f->items[i].fixture = f;
		f->items[i].number = i;
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	deadlines_close(&f->all, NULL);
	test_loop_run_out(&f->loop);
	test_loop_close(&f->loop);
	free(f);
	return 0;
}

static void assert_due(const struct fixture *f, const unsigned *numbers, unsigned count)
{
	assert_int_equal(f->due_count, count);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(f->due[i], numbers[i]);
}

/* Let time pass for the loop without waiting for it: what is armed next is armed later. */
static void step(struct fixture *f)
{
	uint64_t before = uv_now(&f->loop);

	while (uv_now(&f->loop) == before)
		uv_update_time(&f->loop);
}

static void test_deadlines_are_due_in_the_order_of_their_time(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue slow;
	struct deadline_queue quick;

	deadline_queue_init(&quick, &f->all, 5, on_due);
	deadline_queue_init(&slow, &f->all, 30, on_due);
	deadline_arm(&f->items[0].deadline, &slow);
	deadline_arm(&f->items[1].deadline, &quick);
	deadline_arm(&f->items[2].deadline, &slow);
	deadline_arm(&f->items[3].deadline, &quick);
	test_loop_run_out(&f->loop);
	assert_due(f, (const unsigned[]){ 1, 3, 0, 2 }, 4);
	deadline_queue_fini(&slow);
	deadline_queue_fini(&quick);
}

static void test_a_deadline_is_never_due_early(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue q;
	uint64_t armed_at_ms = uv_now(&f->loop);

	deadline_queue_init(&q, &f->all, 20, on_due);
	deadline_arm(&f->items[0].deadline, &q);
	test_loop_run_out(&f->loop);
	assert_int_equal(f->due_count, 1);
	assert_true(f->due_at_ms >= armed_at_ms + 20);
	deadline_queue_fini(&q);
}

static void test_arming_again_starts_the_wait_anew(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue q;

	deadline_queue_init(&q, &f->all, 5, on_due);
	deadline_arm(&f->items[0].deadline, &q);
	deadline_arm(&f->items[1].deadline, &q);
	step(f);
	deadline_arm(&f->items[0].deadline, &q);
	assert_true(f->items[0].deadline.at_ms > f->items[1].deadline.at_ms);
	test_loop_run_out(&f->loop);
	assert_due(f, (const unsigned[]){ 1, 0 }, 2);
	deadline_queue_fini(&q);
}

static void test_arming_in_another_queue_leaves_the_first(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue first;
	struct deadline_queue second;

	deadline_queue_init(&first, &f->all, 2, on_due);
	deadline_queue_init(&second, &f->all, 10, on_due);
	deadline_arm(&f->items[0].deadline, &first);
	deadline_arm(&f->items[1].deadline, &first);
	deadline_arm(&f->items[0].deadline, &second);
	test_loop_run_out(&f->loop);
	assert_due(f, (const unsigned[]){ 1, 0 }, 2);
	deadline_queue_fini(&first);
	deadline_queue_fini(&second);
}

static void test_a_wait_of_zero_is_never_due(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue never;
	struct deadline_queue some;

	deadline_queue_init(&never, &f->all, 0, on_due);
	deadline_queue_init(&some, &f->all, 1, on_due);
	deadline_arm(&f->items[0].deadline, &never);
	assert_false(uv_is_active((const uv_handle_t *)&f->all.timer));
	deadline_arm(&f->items[1].deadline, &some);
	deadline_arm(&f->items[1].deadline, &never); /* and that takes it out of the other */
	assert_true(list_is_empty(&some.entries));
	test_loop_run_out(&f->loop);
	assert_int_equal(f->due_count, 0);
	deadline_queue_fini(&never);
	deadline_queue_fini(&some);
}

static void test_what_was_disarmed_is_not_due(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue q;

	deadline_queue_init(&q, &f->all, 1, on_due);
	deadline_disarm(&f->items[0].deadline); /* it was in no queue */
	deadline_arm(&f->items[0].deadline, &q);
	deadline_arm(&f->items[1].deadline, &q);
	deadline_disarm(&f->items[0].deadline);
	deadline_disarm(&f->items[0].deadline);
	test_loop_run_out(&f->loop);
	assert_due(f, (const unsigned[]){ 1 }, 1);
	deadline_queue_fini(&q);
}

static void test_a_callback_may_disarm_the_next_one(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue q;

	deadline_queue_init(&q, &f->all, 1, on_due);
	for (unsigned i = 0; i < 3; i++)
		deadline_arm(&f->items[i].deadline, &q);
	f->items[0].disarms = &f->items[1];
	test_loop_run_out(&f->loop);
	assert_due(f, (const unsigned[]){ 0, 2 }, 2);
	deadline_queue_fini(&q);
}

static void test_a_callback_may_arm_itself_again(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue first;
	struct deadline_queue second;

	deadline_queue_init(&first, &f->all, 2, on_due);
	deadline_queue_init(&second, &f->all, 1, on_due);
	deadline_arm(&f->items[0].deadline, &first);
	f->items[0].arms = &first;
	deadline_arm(&f->items[1].deadline, &second);
	f->items[1].arms = &first; /* a queue that this round has looked at already */
	test_loop_run_out(&f->loop);
	assert_int_equal(f->due_count, 4);
	deadline_queue_fini(&first);
	deadline_queue_fini(&second);
}

static void test_many_queues_share_the_timer(void **state)
{
	struct fixture *f = *state;
	static struct deadline_queue queues[QUEUES];

	for (unsigned i = 0; i < QUEUES; i++)
		deadline_queue_init(&queues[i], &f->all, i + 1, on_due);
	for (unsigned i = 0; i < ITEMS; i++)
		deadline_arm(&f->items[i].deadline, &queues[(ITEMS - i) * 5]);
	test_loop_run_out(&f->loop);
	assert_due(f, (const unsigned[]){ 7, 6, 5, 4, 3, 2, 1, 0 }, ITEMS);
	for (unsigned i = 0; i < QUEUES; i++)
		deadline_queue_fini(&queues[i]);
}

/* Otherwise a worker would never run out. */
static void test_an_idle_timer_does_not_keep_the_loop_alive(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue q;

	deadline_queue_init(&q, &f->all, 1, on_due);
	assert_false(uv_loop_alive(&f->loop));
	deadline_arm(&f->items[0].deadline, &q);
	assert_true(uv_loop_alive(&f->loop));
	test_loop_run_out(&f->loop);
	assert_false(uv_is_active((const uv_handle_t *)&f->all.timer));
	deadline_queue_fini(&q);
}

static bool has_had_a_round(void *data)
{
	return ((const struct fixture *)data)->rounds > 0;
}

/* The timer is not moved back when the first deadline goes; it fires once in vain. */
static void test_a_wake_up_for_nothing_does_no_harm(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue quick;
	struct deadline_queue slow;

	deadline_queue_init(&quick, &f->all, 1, on_due);
	deadline_queue_init(&slow, &f->all, 2 * TEST_PATIENCE_MS, on_due);
	deadline_arm(&f->items[0].deadline, &quick);
	deadline_arm(&f->items[1].deadline, &slow);
	deadline_disarm(&f->items[0].deadline);
	test_loop_until(&f->loop, has_had_a_round, f, "the wake-up");
	assert_int_equal(f->due_count, 0);
	assert_int_equal(f->all.timer_at_ms, f->items[1].deadline.at_ms);
	assert_true(uv_is_active((const uv_handle_t *)&f->all.timer));
	deadline_disarm(&f->items[1].deadline);
	deadline_queue_fini(&quick);
	deadline_queue_fini(&slow);
}

static void test_a_queue_may_go_and_come_between_rounds(void **state)
{
	struct fixture *f = *state;
	struct deadline_queue q;

	deadline_queue_init(&q, &f->all, 1, on_due);
	deadline_arm(&f->items[0].deadline, &q);
	deadline_disarm(&f->items[0].deadline);
	deadline_queue_fini(&q);
	deadline_queue_init(&q, &f->all, 1, on_due);
	deadline_arm(&f->items[1].deadline, &q);
	test_loop_run_out(&f->loop);
	assert_due(f, (const unsigned[]){ 1 }, 1);
	deadline_queue_fini(&q);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_deadlines_are_due_in_the_order_of_their_time),
		TEST(test_a_deadline_is_never_due_early),
		TEST(test_arming_again_starts_the_wait_anew),
		TEST(test_arming_in_another_queue_leaves_the_first),
		TEST(test_a_wait_of_zero_is_never_due),
		TEST(test_what_was_disarmed_is_not_due),
		TEST(test_a_callback_may_disarm_the_next_one),
		TEST(test_a_callback_may_arm_itself_again),
		TEST(test_many_queues_share_the_timer),
		TEST(test_an_idle_timer_does_not_keep_the_loop_alive),
		TEST(test_a_wake_up_for_nothing_does_no_harm),
		TEST(test_a_queue_may_go_and_come_between_rounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
