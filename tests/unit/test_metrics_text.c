/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "obs/metrics.h"
#include "obs/metrics_text.h"

struct fixture {
	char text[4096];
	struct strbuf out;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strbuf_init(&f->out, f->text, sizeof f->text);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void test_a_family_begins_with_help_and_type(void **state)
{
	struct fixture *f = *state;

	metrics_text_family(&f->out, "a_total", METRIC_COUNTER, "What it is.");
	metrics_text_family(&f->out, "b", METRIC_GAUGE, "Or this.");
	metrics_text_family(&f->out, "c_seconds", METRIC_HISTOGRAM, "Or that.");
	assert_string_equal(f->text, "# HELP a_total What it is.\n# TYPE a_total counter\n"
				     "# HELP b Or this.\n# TYPE b gauge\n"
				     "# HELP c_seconds Or that.\n# TYPE c_seconds histogram\n");
}

static void test_a_sample_has_any_number_of_labels(void **state)
{
	struct fixture *f = *state;

	metrics_text_uint(&f->out, "a", NULL, 0);
	metrics_text_uint(&f->out, "a", METRIC_LABELS({ "x", "1" }), 7);
	metrics_text_uint(&f->out, "a", METRIC_LABELS({ "x", "1" }, { "y", "" }), UINT64_MAX);
	assert_string_equal(f->text, "a 0\na{x=\"1\"} 7\na{x=\"1\",y=\"\"} 18446744073709551615\n");
}

/* The name of a listener is the user's. */
static void test_a_value_is_escaped(void **state)
{
	struct fixture *f = *state;

	metrics_text_uint(&f->out, "a", METRIC_LABELS({ "x", "\"\\\n\"{}, =\t\xe2\x82\xac\\" }), 1);
	assert_string_equal(f->text, "a{x=\"\\\"\\\\\\n\\\"{}, =\t\xe2\x82\xac\\\\\"} 1\n");
}

static void test_seconds_are_exact(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} times[] = {
		{ 0, "a 0\n" },
		{ 1, "a 0.000000001\n" },
		{ 100000, "a 0.0001\n" },
		{ 999999999, "a 0.999999999\n" },
		{ 1000000000, "a 1\n" },
		{ 1500000000, "a 1.5\n" },
		{ 10000000000, "a 10\n" },
		{ 1795251030120000000, "a 1795251030.12\n" },
		{ UINT64_MAX, "a 18446744073.709551615\n" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		strbuf_init(&f->out, f->text, sizeof f->text);
		metrics_text_seconds(&f->out, "a", NULL, times[i].ns);
		assert_string_equal(f->text, times[i].text);
	}
}

/* Each bucket counts those below as well; the last one is the count. */
static void test_the_buckets_of_a_histogram_add_up(void **state)
{
	const struct metric_label label = { "listener", "web" };
	struct fixture *f = *state;
	struct histogram *h = calloc(1, sizeof *h);

	histogram_observe(h, 0);
	histogram_observe(h, 100000); /* the bound itself belongs to the bucket */
	histogram_observe(h, 100001);
	histogram_observe(h, 20000000000);
	metrics_text_histogram(&f->out, "a_seconds", &label, h);
	assert_non_null(strstr(f->text, "a_seconds_bucket{listener=\"web\",le=\"0.0001\"} 2\n"
					"a_seconds_bucket{listener=\"web\",le=\"0.00025\"} 3\n"));
	assert_non_null(strstr(f->text, "a_seconds_bucket{listener=\"web\",le=\"10\"} 3\n"
					"a_seconds_bucket{listener=\"web\",le=\"+Inf\"} 4\n"
					"a_seconds_sum{listener=\"web\"} 20.000200001\n"
					"a_seconds_count{listener=\"web\"} 4\n"));
	free(h);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_family_begins_with_help_and_type),
		TEST(test_a_sample_has_any_number_of_labels),
		TEST(test_a_value_is_escaped),
		TEST(test_seconds_are_exact),
		TEST(test_the_buckets_of_a_histogram_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
