/* SPDX-License-Identifier: MIT */
/* Services: sessions keep the one that they began with, and it goes with the last of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/test_fault.h"
#include "lib/test_loop.h"
#include "loop/resolver_block.h"
#include "loop/session_fixture.h"

/* The resolver takes its time over this name, until the test has had enough. */
#define SLOW_NAME "slow.test"

#define ROUNDS 20000

static struct {
	uv_sem_t asked;
	uv_sem_t answer;
} slow;

/* In front of libc's, for libuv, too. */
int getaddrinfo(const char *restrict node, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
	union {
		void *symbol;
		int (*function)(const char *, const char *, const struct addrinfo *,
				struct addrinfo **);
	} real;

	if (strcmp(node, SLOW_NAME) == 0) {
		uv_sem_post(&slow.asked);
		uv_sem_wait(&slow.answer);
		return EAI_NONAME;
	}
	real.symbol = dlsym(RTLD_NEXT, "getaddrinfo");
	return real.function(node, service, hints, ret);
}

static void serve_slow_name(struct session_fixture *f, const char *keys)
{
	struct upstream_addresses stale = { .count = 1 };

	stale.list[0] = loopback_address(1, session_fixture_unused_port(f));
	session_fixture_serve_at(f, "\"" SLOW_NAME ":80\"", keys, &stale);
}

/* A reload takes the fixture's service away, but for its sessions. */
static void drop_service(struct session_fixture *f)
{
	service_unref(f->service);
	f->service = NULL;
}

static bool has_gone(void *data)
{
	return session_fixture_services(data) == 0;
}

static void expect_gone(struct session_fixture *f)
{
	test_loop_until(&f->loop, has_gone, f, "the end of the service");
}

/* --- replaced --- */

static void test_a_session_goes_on_with_the_service_it_began_with(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer old_client;
	struct test_peer old_upstream;
	struct test_peer old_app;
	char old_name[TEST_PEER_NAME_MAX];
	char name[TEST_PEER_NAME_MAX];

	session_fixture_serve(f, NULL, "");
	session_fixture_relay(f, HEADER "before");
	old_client = f->client;
	old_upstream = f->upstream;
	old_app = f->app;
	f->client.fd = -1;
	test_peer_name(&old_app, old_name);

	test_peer_listen(&f->app, &f->loop, "127.0.0.1:0", 4);
	test_peer_name(&f->app, name);
	session_fixture_serve(f, NULL, "");
	assert_int_equal(session_fixture_services(f), 2);
	session_fixture_start_with(f, HEADER "after");
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "after");
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "upstream"), name);

	f->client = old_client;
	f->upstream = old_upstream;
	test_peer_expect_text(&f->upstream, "before");
	test_peer_send_text(&f->client, " and ever after");
	test_peer_expect_text(&f->upstream, " and ever after");
	session_fixture_finish(f);
	assert_string_equal(session_fixture_text(f, "upstream"), old_name);
	assert_int_equal(session_fixture_services(f), 1);
	test_peer_close(&old_app);
}

static void test_a_session_in_its_header_goes_on_with_it_as_well(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"versions\": [1]");
	session_fixture_start_with(f, "PROXY ");
	session_fixture_serve(f, NULL, "\"versions\": [2]");
	test_peer_send_text(&f->client, &HEADER[strlen("PROXY ")]);
	test_peer_accept(&f->app, &f->upstream);
	session_fixture_finish(f);
	session_fixture_start_with(f, HEADER);
	session_fixture_expect(f, "header_version");
}

/* The last of a service's sessions ends by the service's own deadline. */
static void test_a_deadline_of_a_replaced_service_is_kept(void **state)
{
	struct session_fixture *f = *state;

	session_fixture_serve(f, NULL, "\"idle_timeout_ms\": 20");
	session_fixture_relay(f, HEADER);
	session_fixture_serve(f, NULL, "\"idle_timeout_ms\": 600000");
	session_fixture_expect(f, "idle_timeout");
	assert_int_equal(session_fixture_services(f), 1);
}

static void test_the_counts_of_all_services_are_the_listeners(void **state)
{
	struct session_fixture *f = *state;

	for (unsigned i = 1; i <= 3; i++) {
		session_fixture_serve(f, NULL, "");
		session_fixture_relay(f, HEADER "hello");
		assert_int_equal(counter_read(&f->metrics->accepted), i);
		assert_int_equal(counter_read(&f->metrics->active[SESSION_RELAY]), 1);
		assert_int_equal(atomic_load(&f->shared->admission.active), 1);
		test_peer_expect_text(&f->upstream, "hello");
		session_fixture_finish(f);
		assert_int_equal(counter_read(&f->metrics->bytes_in), 5 * i);
	}
}

/* --- the end --- */

static void test_a_service_without_sessions_goes_at_once(void **state)
{
	struct session_fixture *f = *state;
	struct config *config;

	session_fixture_serve(f, NULL, "");
	config = f->config;
	assert_int_equal(atomic_load(&config->references), 2);
	drop_service(f);
	assert_int_equal(session_fixture_services(f), 0);
	assert_int_equal(atomic_load(&config->references), 1);
	service_unref(NULL);
}

static void test_a_service_that_no_worker_got_goes_as_well(void **state)
{
	struct session_fixture *f = *state;
	struct upstream_addresses none[2] = { { 0 } };
	struct session_service *service;

	session_fixture_load(f, NULL, "");
	session_fixture_create_service(f, none, &service);
	assert_int_equal(session_fixture_services(f), 1);
	service_unref(service);
	assert_int_equal(session_fixture_services(f), 0);
}

static void test_a_service_goes_with_its_last_session(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer first;

	session_fixture_serve(f, NULL, "");
	session_fixture_open(f);
	first = f->client;
	f->client.fd = -1;
	session_fixture_open(f);
	drop_service(f);
	test_peer_close(&first);
	session_fixture_expect(f, "probe");
	assert_int_equal(session_fixture_services(f), 1);
	test_peer_close(&f->client);
	session_fixture_expect(f, "probe");
	assert_int_equal(session_fixture_services(f), 0);
}

/* --- the resolver --- */

/* The address that the session knows refuses, so it waits for another. */
static void wait_for_slow_name(struct session_fixture *f, const char *keys)
{
	serve_slow_name(f, keys);
	session_fixture_start_with(f, HEADER "hello");
	uv_sem_wait(&slow.asked);
	assert_true(session_fixture_session(f)->resolving);
}

static void test_a_service_stays_until_the_resolver_has_answered(void **state)
{
	struct session_fixture *f = *state;

	wait_for_slow_name(f, "\"connect_timeout_ms\": 20");
	drop_service(f);
	session_fixture_expect(f, "upstream_timeout");
	test_loop_settle(&f->loop);
	assert_int_equal(session_fixture_services(f), 1);
	uv_sem_post(&slow.answer);
	expect_gone(f);
}

static void test_the_worker_may_end_before_the_resolver_has_answered(void **state)
{
	struct session_fixture *f = *state;

	wait_for_slow_name(f, "");
	session_env_end_sessions(&f->env, OUTCOME_shutdown);
	session_fixture_expect(f, "shutdown");
	drop_service(f);
	assert_int_equal(session_fixture_services(f), 1);
	uv_sem_post(&slow.answer); /* which is for the loop without its env, in the fixture's end */
}

static void test_a_question_that_nobody_has_begun_to_answer_is_given_up(void **state)
{
	struct session_fixture *f = *state;

	resolver_block(&f->loop);
	session_fixture_serve_stale_name(f, "");
	session_fixture_start_with(f, HEADER "hello");
	drop_service(f);
	test_loop_settle(&f->loop);
	assert_true(session_fixture_session(f)->resolving); /* for it needs the answer */
	session_env_end_sessions(&f->env, OUTCOME_shutdown);
	session_fixture_expect(f, "shutdown");
	expect_gone(f);
	resolver_unblock(&f->loop);
}

static void test_a_session_gets_its_answer_when_its_service_was_replaced(void **state)
{
	struct session_fixture *f = *state;

	resolver_block(&f->loop);
	session_fixture_serve_stale_name(f, "");
	session_fixture_start_with(f, HEADER "hello");
	session_fixture_serve(f, NULL, "");
	assert_int_equal(session_fixture_services(f), 2);
	resolver_unblock(&f->loop);
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "hello");
	session_fixture_finish(f);
	assert_int_equal(session_fixture_services(f), 1);
}

/* Two services of the same listener ask, and each answer is for the sessions of its own. */
static void test_an_answer_is_for_the_service_that_asked(void **state)
{
	struct session_fixture *f = *state;
	struct test_peer slow_client;

	wait_for_slow_name(f, "");
	slow_client = f->client;
	f->client.fd = -1;
	session_fixture_serve_stale_name(f, "");
	session_fixture_start_with(f, HEADER "hello");
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "hello");
	session_fixture_finish(f);
	assert_int_equal(f->env.count, 1);
	uv_sem_post(&slow.answer);
	session_fixture_expect(f, "upstream_refused");
	test_peer_expect_reset(&slow_client);
	test_peer_close(&slow_client);
	assert_int_equal(session_fixture_services(f), 1);
}

static void test_both_upstreams_may_be_asked_for(void **state)
{
	struct session_fixture *f = *state;
	struct upstream_addresses stale = { .count = 1 };

	stale.list[0] = loopback_address(1, session_fixture_unused_port(f));
	session_fixture_serve_at(
	    f, "{\"ipv4\": \"" SLOW_NAME ":80\", \"ipv6\": \"" SLOW_NAME ":81\"}", "", &stale);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(service_resolve(f->service, &f->service->upstream[i]), 0);
		uv_sem_wait(&slow.asked);
	}
	drop_service(f);
	assert_int_equal(session_fixture_services(f), 1);
	for (unsigned i = 0; i < 2; i++)
		uv_sem_post(&slow.answer);
	expect_gone(f);
}

/* --- without memory, and with threads --- */

static void test_without_memory_there_is_no_service(void **state)
{
	struct session_fixture *f = *state;
	struct service_options options = { .shared = f->shared };
	struct session_service *service = NULL;

	session_fixture_load(f, NULL, "");
	options.config = f->config;
	fault_arm(0);
	assert_int_equal(service_create(&options, &service), -ENOMEM);
	assert_true(fault_disarm());
	assert_null(service);
	assert_int_equal(session_fixture_services(f), 0);
	assert_int_equal(atomic_load(&f->config->references), 1);
	fault_arm(0);
	assert_null(service_shared_create(1));
	assert_true(fault_disarm());
	service_shared_unref(NULL);
}

static void *ref_and_unref(void *data)
{
	for (int i = 0; i < ROUNDS; i++)
		service_shared_unref(service_shared_ref(data));
	service_shared_unref(data);
	return NULL;
}

/* Workers let go of it when they like, and the last one frees. */
static void test_what_services_share_is_counted_right_by_several_threads(void **state)
{
	struct service_shared *shared = service_shared_create(2);
	pthread_t threads[4];

	(void)state;
	assert_non_null(shared);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, ref_and_unref, service_shared_ref(shared)),
		    0);
	service_shared_unref(shared); /* ASan sees it if this frees too much, or all too little */
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, session_fixture_setup, session_fixture_teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_a_session_goes_on_with_the_service_it_began_with),
		TEST(test_a_session_in_its_header_goes_on_with_it_as_well),
		TEST(test_a_deadline_of_a_replaced_service_is_kept),
		TEST(test_the_counts_of_all_services_are_the_listeners),
		TEST(test_a_service_without_sessions_goes_at_once),
		TEST(test_a_service_that_no_worker_got_goes_as_well),
		TEST(test_a_service_goes_with_its_last_session),
		TEST(test_a_service_stays_until_the_resolver_has_answered),
		TEST(test_the_worker_may_end_before_the_resolver_has_answered),
		TEST(test_a_question_that_nobody_has_begun_to_answer_is_given_up),
		TEST(test_a_session_gets_its_answer_when_its_service_was_replaced),
		TEST(test_an_answer_is_for_the_service_that_asked),
		TEST(test_both_upstreams_may_be_asked_for),
		TEST(test_without_memory_there_is_no_service),
		cmocka_unit_test(test_what_services_share_is_counted_right_by_several_threads),
	};

	signal(SIGPIPE, SIG_IGN); /* as the server does */
	resolver_block_init();
	uv_sem_init(&slow.asked, 0);
	uv_sem_init(&slow.answer, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
