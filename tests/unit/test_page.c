/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "lib/test_fault.h"
#include "server/page.h"
#include "session/service.h"

#define WORKERS 2

/* Two listeners; the name of the second has what text escapes. */
struct fixture {
	struct service_shared *shared[2];
	struct page_listener listeners[2];
	struct page_input input;
	struct page page;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	for (int i = 0; i < 2; i++) {
		f->shared[i] = service_shared_create(WORKERS);
		assert_non_null(f->shared[i]);
		f->listeners[i].name = i == 0 ? "web" : "\"b\"\n";
		f->listeners[i].shared = f->shared[i];
		f->listeners[i].open = true;
	}
	f->input.listeners = f->listeners;
	f->input.listener_count = 2;
	f->input.workers = WORKERS;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->page.body);
	for (int i = 0; i < 2; i++)
		service_shared_unref(f->shared[i]);
	free(f);
	return 0;
}

static void render_metrics(struct fixture *f)
{
	free(f->page.body);
	page_metrics(&f->input, &f->page);
	assert_int_equal(f->page.status, HTTP_OK);
	assert_string_equal(f->page.type, "text/plain; version=0.0.4; charset=utf-8");
	assert_int_equal(f->page.size, strlen(f->page.body));
}

/* There is such a line. */
static void assert_line(const struct fixture *f, const char *line)
{
	size_t size = strlen(line);

	for (const char *at = f->page.body; at != NULL; at = strchr(at, '\n')) {
		at += at != f->page.body; /* the newline before */
		if (strncmp(at, line, size) == 0 && at[size] == '\n')
			return;
	}
	print_error("%s", f->page.body);
	fail_msg("there is no line %s", line);
}

static unsigned count(const struct fixture *f, const char *text)
{
	unsigned n = 0;

	for (const char *at = f->page.body; (at = strstr(at, text)) != NULL; at++)
		n++;
	return n;
}

/* --- metrics --- */

static void test_workers_are_summed_up(void **state)
{
	struct fixture *f = *state;

	counter_add(&f->shared[0]->metrics[0].accepted, 3);
	counter_add(&f->shared[0]->metrics[1].accepted, 4);
	counter_add(&f->shared[1]->metrics[1].accepted, 5);
	render_metrics(f);
	assert_line(f, "# TYPE unproxy_connections_accepted_total counter");
	assert_line(f, "unproxy_connections_accepted_total{listener=\"web\"} 7");
	assert_line(f, "unproxy_connections_accepted_total{listener=\"\\\"b\\\"\\n\"} 5");
	assert_line(f, "unproxy_workers 2");
}

/* What has not happened yet is 0, not missing: rate() would not see the first time. */
static void test_every_outcome_is_there_from_the_start(void **state)
{
	struct fixture *f = *state;

	render_metrics(f);
#define X(name, refused) \
	assert_line(f, "unproxy_connections_total{listener=\"web\",reason=\"" #name "\"} 0");
	OUTCOME_MAP(X)
#undef X
	counter_add(&f->shared[0]->metrics[0].ended[OUTCOME_header_crc], 1);
	render_metrics(f);
	assert_line(f, "unproxy_connections_total{listener=\"web\",reason=\"header_crc\"} 1");
	assert_int_equal(count(f, "unproxy_connections_total{"), 2 * OUTCOME_COUNT);
}

static void test_states_directions_and_headers_are_told_apart(void **state)
{
	struct fixture *f = *state;
	struct listener_metrics *m = &f->shared[0]->metrics[0];

	counter_add(&m->active[0], 1);
	counter_add(&m->active[1], 2);
	counter_add(&m->active[2], 3);
	counter_add(&m->bytes_in, 4);
	counter_add(&m->bytes_out, 5);
	counter_add(&m->headers[0][PROXY_COMMAND_NONE], 6);
	counter_add(&m->headers[1][PROXY_COMMAND_PROXY], 7);
	counter_add(&m->headers[1][PROXY_COMMAND_UNKNOWN], 8);
	counter_add(&m->headers[2][PROXY_COMMAND_PROXY], 9);
	counter_add(&m->headers[2][PROXY_COMMAND_LOCAL], 10);
	counter_add(&m->port_conflicts, 11);
	counter_add(&m->accept_errors, 12);
	counter_add(&m->clients_untracked, 13);
	render_metrics(f);
	assert_line(f, "unproxy_connections_active{listener=\"web\",state=\"header\"} 1");
	assert_line(f, "unproxy_connections_active{listener=\"web\",state=\"connect\"} 2");
	assert_line(f, "unproxy_connections_active{listener=\"web\",state=\"relay\"} 3");
	assert_line(f, "unproxy_bytes_total{listener=\"web\",direction=\"in\"} 4");
	assert_line(f, "unproxy_bytes_total{listener=\"web\",direction=\"out\"} 5");
#define HEADERS "unproxy_headers_total{listener=\"web\","
	assert_line(f, HEADERS "version=\"0\",command=\"NONE\"} 6");
	assert_line(f, HEADERS "version=\"1\",command=\"PROXY\"} 7");
	assert_line(f, HEADERS "version=\"1\",command=\"UNKNOWN\"} 8");
	assert_line(f, HEADERS "version=\"2\",command=\"PROXY\"} 9");
	assert_line(f, HEADERS "version=\"2\",command=\"LOCAL\"} 10");
	assert_line(f, "unproxy_port_conflicts_total{listener=\"web\"} 11");
	assert_line(f, "unproxy_accept_errors_total{listener=\"web\"} 12");
	assert_line(f, "unproxy_clients_untracked_total{listener=\"web\"} 13");
}

static void test_times_are_histograms(void **state)
{
	struct fixture *f = *state;

	histogram_observe(&f->shared[0]->metrics[0].header, 1500000);
	histogram_observe(&f->shared[0]->metrics[1].header, 2500000);
	histogram_observe(&f->shared[0]->metrics[1].connect, 3000000);
	render_metrics(f);
	assert_line(f, "# TYPE unproxy_header_seconds histogram");
	assert_line(f, "unproxy_header_seconds_bucket{listener=\"web\",le=\"0.001\"} 0");
	assert_line(f, "unproxy_header_seconds_bucket{listener=\"web\",le=\"0.002\"} 1");
	assert_line(f, "unproxy_header_seconds_bucket{listener=\"web\",le=\"+Inf\"} 2");
	assert_line(f, "unproxy_header_seconds_sum{listener=\"web\"} 0.004");
	assert_line(f, "unproxy_header_seconds_count{listener=\"web\"} 2");
	assert_line(f, "unproxy_connect_seconds_sum{listener=\"web\"} 0.003");
}

static void test_the_process_is_described(void **state)
{
	struct fixture *f = *state;

	f->input.log_dropped = 1;
	f->input.reloads = 2;
	f->input.reloads_failed = 3;
	render_metrics(f);
	assert_line(f, "unproxy_build_info{version=\"" UNPROXY_VERSION "\"} 1");
	assert_line(f, "unproxy_log_dropped_total 1");
	assert_line(f, "unproxy_config_reloads_total{result=\"success\"} 2");
	assert_line(f, "unproxy_config_reloads_total{result=\"failure\"} 3");
	assert_line(f, "unproxy_config_last_reload_success 1");
	assert_line(f, "unproxy_draining 0");
	assert_line(f, "# TYPE process_cpu_seconds_total counter");
	assert_line(f, "# TYPE process_resident_memory_bytes gauge");
	f->input.last_reload_failed = true;
	f->input.draining = true;
	render_metrics(f);
	assert_line(f, "unproxy_config_last_reload_success 0");
	assert_line(f, "unproxy_draining 1");
}

/* Whether an upstream that is not checked is up, nobody knows. */
static void test_upstreams_are_told_of_where_they_are_checked(void **state)
{
	struct fixture *f = *state;

	f->listeners[0].checked = true;
	f->listeners[0].open = false;
	render_metrics(f);
	assert_line(f, "unproxy_upstream_up{listener=\"web\"} 0");
	assert_line(f, "unproxy_listener_open{listener=\"web\"} 0");
	assert_line(f, "unproxy_listener_open{listener=\"\\\"b\\\"\\n\"} 1");
	assert_int_equal(count(f, "unproxy_upstream_up{"), 1);
	f->listeners[0].up = true;
	render_metrics(f);
	assert_line(f, "unproxy_upstream_up{listener=\"web\"} 1");
}

/* --- readiness and health --- */

static void render_ready(struct fixture *f)
{
	free(f->page.body);
	page_ready(&f->input, &f->page);
	assert_string_equal(f->page.type, HTTP_JSON);
}

static void test_ready_when_nothing_is_against_it(void **state)
{
	struct fixture *f = *state;

	render_ready(f);
	assert_int_equal(f->page.status, HTTP_OK);
	assert_string_equal(f->page.body, "{\"status\":\"ready\"}\n");
}

static void test_every_reason_is_told(void **state)
{
	struct fixture *f = *state;

	f->listeners[1].unready = "127.0.0.1:80: connection refused";
	render_ready(f);
	assert_int_equal(f->page.status, HTTP_UNAVAILABLE);
	assert_string_equal(f->page.body, "{\"status\":\"unready\",\"reasons\":["
					  "{\"listener\":\"\\\"b\\\"\\n\","
					  "\"reason\":\"127.0.0.1:80: connection refused\"}]}\n");
	f->listeners[0].unready = "not checked yet";
	f->input.draining = true;
	render_ready(f);
	assert_string_equal(f->page.body, "{\"status\":\"unready\",\"reasons\":["
					  "{\"reason\":\"draining: unproxy is about to end\"},"
					  "{\"listener\":\"web\",\"reason\":\"not checked yet\"},"
					  "{\"listener\":\"\\\"b\\\"\\n\","
					  "\"reason\":\"127.0.0.1:80: connection refused\"}]}\n");
}

static void test_health_names_the_workers_that_are_stuck(void **state)
{
	const unsigned stuck[] = { 0, 3 };
	struct fixture *f = *state;

	page_health(NULL, 0, &f->page);
	assert_int_equal(f->page.status, HTTP_OK);
	assert_string_equal(f->page.body, "{\"status\":\"ok\"}\n");
	free(f->page.body);
	page_health(stuck, 2, &f->page);
	assert_int_equal(f->page.status, HTTP_UNAVAILABLE);
	assert_string_equal(f->page.body, "{\"status\":\"stuck\",\"workers\":[0,3]}\n");
}

static void test_the_index_names_the_pages(void **state)
{
	struct fixture *f = *state;

	page_index(&f->page);
	assert_int_equal(f->page.status, HTTP_OK);
	assert_non_null(strstr(f->page.body, "\n/metrics "));
	assert_non_null(strstr(f->page.body, "\n/healthz "));
	assert_non_null(strstr(f->page.body, "\n/readyz "));
	assert_non_null(strstr(f->page.body, "\n/connections "));
}

/* --- memory --- */

static void put_bytes(struct strbuf *out, const void *data)
{
	for (size_t i = 0; i < *(const size_t *)data; i++)
		strbuf_putc(out, 'x');
}

static void test_a_page_is_as_long_as_it_needs_to_be(void **state)
{
	(void)state;
	for (size_t want = 0; want < 1000; want += 7) {
		size_t size = 0;
		char *text = page_render(put_bytes, &want, 1, &size);

		assert_non_null(text);
		assert_int_equal(size, want);
		assert_int_equal(strlen(text), want);
		free(text);
	}
}

static void test_without_memory_there_is_no_page(void **state)
{
	struct fixture *f = *state;
	unsigned failures = 0;
	bool failed;

	do {
		fault_arm(failures);
		page_metrics(&f->input, &f->page);
		failed = fault_disarm();
		assert_true((f->page.body == NULL) == failed);
		free(f->page.body);
		failures += failed;
	} while (failed);
	f->page.body = NULL;
	assert_true(failures >= 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_workers_are_summed_up),
		TEST(test_every_outcome_is_there_from_the_start),
		TEST(test_states_directions_and_headers_are_told_apart),
		TEST(test_times_are_histograms),
		TEST(test_the_process_is_described),
		TEST(test_upstreams_are_told_of_where_they_are_checked),
		TEST(test_ready_when_nothing_is_against_it),
		TEST(test_every_reason_is_told),
		TEST(test_health_names_the_workers_that_are_stuck),
		TEST(test_the_index_names_the_pages),
		TEST(test_a_page_is_as_long_as_it_needs_to_be),
		TEST(test_without_memory_there_is_no_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
