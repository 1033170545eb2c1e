/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bug.h"
#include "base/list.h"

struct item {
	int value;
	struct list link;
};

static int value_of(struct list *l)
{
	return container_of(l, struct item, link)->value;
}

static void test_append_keeps_the_order(void **state)
{
	struct item items[] = { { .value = 1 }, { .value = 2 }, { .value = 3 } };
	struct list head;
	int expected = 1;

	(void)state;
	list_init(&head);
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		list_append(&head, &items[i].link);
	LIST_FOR_EACH (at, &head) {
		assert_int_equal(value_of(at), expected);
		expected++;
	}
	assert_int_equal(expected, 4);
}

static void test_removing_twice_is_harmless(void **state)
{
	struct item a = { .value = 1 };
	struct item b = { .value = 2 };
	struct list head;

	(void)state;
	list_init(&head);
	list_append(&head, &a.link);
	list_append(&head, &b.link);
	list_remove(&a.link);
	list_remove(&a.link);
	assert_ptr_equal(head.next, &b.link);
	assert_ptr_equal(head.prev, &b.link);
	list_remove(&b.link);
	assert_true(list_is_empty(&head));
}

static void test_the_safe_walk_may_remove_what_it_stands_on(void **state)
{
	struct item items[] = { { .value = 1 }, { .value = 2 }, { .value = 3 } };
	struct list head;
	int seen = 0;

	(void)state;
	list_init(&head);
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		list_append(&head, &items[i].link);
	LIST_FOR_EACH_SAFE (at, &head) {
		seen++;
		list_remove(at);
	}
	assert_int_equal(seen, 3);
	assert_true(list_is_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_keeps_the_order),
		cmocka_unit_test(test_removing_twice_is_harmless),
		cmocka_unit_test(test_the_safe_walk_may_remove_what_it_stands_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
