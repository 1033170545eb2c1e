/* SPDX-License-Identifier: MIT */
#include "loop/session_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/config_load.h"
#include "lib/test_loop.h"
#include "session/transparent.h"

#define LISTENER                                                                                   \
	"{\"listeners\": [{\"name\": \"test\", \"listen\": \"127.0.0.1:0\", \"trusted_proxies\": " \
	"[\"127.0.0.0/16\", \"::1\"], \"upstream\": %s%s%s}]}"

static void open_log(struct session_fixture *f)
{
	char path[32];

	assert_int_equal(pipe(f->log_pipe), 0);
	snprintf(path, sizeof path, "/dev/fd/%d", f->log_pipe[1]);
	assert_int_equal(log_create(path, LOG_JSON, LOG_DEBUG, &f->log), 0);
}

static void open_env(struct session_fixture *f)
{
	struct session_env_options options = {
		.log = log_buffer_create(f->log),
		.process = &f->process,
		.pipes = 4,
		.worker = 0,
		.workers = 1,
		.data = f,
	};

	assert_non_null(options.log);
	assert_int_equal(session_env_open(&f->env, &f->loop, &options), 0);
	f->loop.data = &f->env.poller;
}

int session_fixture_setup(void **state)
{
	struct session_fixture *f = calloc(1, sizeof *f);

	f->fds_before = test_count_fds();
	strcpy(f->directory, "/tmp/test_session.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->unix_text, sizeof f->unix_text, "unix:%s/sock", f->directory);
	f->client.fd = -1;
	f->upstream.fd = -1;
	test_loop_open(&f->loop);
	open_log(f);
	open_env(f);
	f->shared = service_shared_create(1);
	assert_non_null(f->shared);
	f->metrics = &f->shared->metrics[0];
	test_peer_listen(&f->listening, &f->loop, "127.0.0.1:0", 128);
	test_peer_listen(&f->app, &f->loop, "127.0.0.1:0", 128);
	*state = f;
	return 0;
}

static void on_env_closed(struct session_env *env)
{
	struct session_fixture *f = env->data;

	f->closed = true;
}

static void close_env(struct session_fixture *f)
{
	session_env_end_sessions(&f->env, OUTCOME_shutdown);
	assert_int_equal(f->env.count, 0);
	service_unref(f->service);
	session_env_close(&f->env, on_env_closed);
	test_loop_run_out(&f->loop);
	assert_true(f->closed);
	test_loop_close(&f->loop);
}

/* Whatever began has ended, once. */
static void check_counts(const struct session_fixture *f)
{
	uint64_t ended = 0;

	assert_int_equal(atomic_load(&f->process.active), 0);
	assert_int_equal(atomic_load(&f->shared->admission.active), 0);
	for (unsigned i = 0; i < METRICS_STATES; i++)
		assert_int_equal(counter_read(&f->metrics->active[i]), 0);
	for (unsigned i = 0; i < OUTCOME_COUNT; i++)
		ended += counter_read(&f->metrics->ended[i]);
	assert_int_equal(ended, counter_read(&f->metrics->accepted));
}

int session_fixture_teardown(void **state)
{
	struct session_fixture *f = *state;

	close_env(f);
	check_counts(f);
	assert_int_equal(session_fixture_services(f), 0);
	service_shared_unref(f->shared);
	test_peer_close(&f->client);
	test_peer_close(&f->upstream);
	test_peer_close(&f->app);
	test_peer_close(&f->listening);
	config_unref(f->config);
	log_destroy(f->log, TEST_PATIENCE_MS);
	close(f->log_pipe[0]);
	close(f->log_pipe[1]);
	assert_int_equal(test_count_fds(), f->fds_before);
	cJSON_Delete(f->line);
	unlink(f->unix_text + strlen("unix:"));
	rmdir(f->directory);
	free(f);
	return 0;
}

void session_fixture_load(struct session_fixture *f, const char *upstream, const char *keys)
{
	char name[TEST_PEER_NAME_MAX];
	char app[TEST_PEER_NAME_MAX + 2];
	char text[2048];
	struct config_error error;
	int rv;

	config_unref(f->config);
	f->config = NULL;
	test_peer_name(&f->app, name);
	snprintf(app, sizeof app, "\"%s\"", name);
	snprintf(text, sizeof text, LISTENER, upstream != NULL ? upstream : app,
		 keys[0] != '\0' ? ", " : "", keys);
	rv = config_load_text("test", "/", text, strlen(text), &f->config, &error);
	if (rv != 0)
		fail_msg("%s", error.text);
}

void session_fixture_create_service(struct session_fixture *f,
				    const struct upstream_addresses addresses[2],
				    struct session_service **ret)
{
	struct service_options options = {
		.config = f->config,
		.shared = f->shared,
		.addresses = addresses,
	};

	if (config_is_transparent(f->config))
		assert_int_equal(transparent_create(f->config, &options.transparent), 0);
	assert_int_equal(service_create(&options, ret), 0);
	transparent_unref(options.transparent);
}

static void serve(struct session_fixture *f, const struct upstream_addresses addresses[2])
{
	service_unref(f->service);
	assert_int_equal(service_shared_track_clients(f->shared, &f->config->listeners[0]), 0);
	session_fixture_create_service(f, addresses, &f->service);
	service_attach(f->service, &f->env);
	atomic_store(&f->shared->admission.limit, f->config->listeners[0].max_connections);
}

void session_fixture_serve(struct session_fixture *f, const char *upstream, const char *keys)
{
	struct upstream_addresses addresses[2];

	session_fixture_load(f, upstream, keys);
	for (int i = 0; i < 2; i++)
		assert_int_equal(upstream_addresses_find(&f->config->listeners[0].upstream[i],
							 &f->loop, &addresses[i]),
				 0);
	serve(f, addresses);
}

void session_fixture_serve_at(struct session_fixture *f, const char *upstream, const char *keys,
			      const struct upstream_addresses *addresses)
{
	session_fixture_load(f, upstream, keys);
	serve(f, (const struct upstream_addresses[]){ *addresses, *addresses });
}

void session_fixture_serve_stale_name(struct session_fixture *f, const char *keys)
{
	struct upstream_addresses stale = { .count = 1 };
	char upstream[32];

	stale.list[0] = loopback_address(1, session_fixture_unused_port(f));
	snprintf(upstream, sizeof upstream, "\"localhost:%u\"", test_peer_port(&f->app));
	session_fixture_serve_at(f, upstream, keys, &stale);
}

void session_fixture_connect_from(struct session_fixture *f, const char *from)
{
	char name[TEST_PEER_NAME_MAX];

	test_peer_close(&f->client);
	test_peer_name(&f->listening, name);
	test_peer_connect(&f->client, &f->loop, name, from);
}

void session_fixture_connect(struct session_fixture *f)
{
	session_fixture_connect_from(f, NULL);
}

int session_fixture_try_start(struct session_fixture *f)
{
	struct sockaddr_storage ss;
	socklen_t size = sizeof ss;
	struct address peer;
	int fd;
	int rv;

	fd = accept4(f->listening.fd, (struct sockaddr *)&ss, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	address_from_sockaddr(&peer, (const struct sockaddr *)&ss);
	rv = session_start(f->service, fd, &peer);
	if (rv != 0)
		close(fd);
	session_env_reap(&f->env);
	return rv;
}

void session_fixture_start(struct session_fixture *f)
{
	assert_int_equal(session_fixture_try_start(f), 0);
}

void session_fixture_open(struct session_fixture *f)
{
	session_fixture_connect(f);
	session_fixture_start(f);
}

void session_fixture_start_with(struct session_fixture *f, const char *text)
{
	session_fixture_connect(f);
	test_peer_send_text(&f->client, text);
	session_fixture_start(f);
}

void session_fixture_relay(struct session_fixture *f, const char *text)
{
	session_fixture_start_with(f, text);
	test_peer_accept(&f->app, &f->upstream);
	test_loop_settle(&f->loop);
	assert_int_equal(session_fixture_session(f)->state, SESSION_RELAY);
}

struct session *session_fixture_session(const struct session_fixture *f)
{
	assert_int_equal(f->env.count, 1);
	return container_of(f->env.sessions.next, struct session, link);
}

/* Take the first line of what was read. Returns false if there is no whole one. */
static bool take_line(struct session_fixture *f)
{
	char *end = memchr(f->log_text, '\n', f->log_size);

	if (end == NULL)
		return false;
	cJSON_Delete(f->line);
	f->line = cJSON_ParseWithLength(f->log_text, (size_t)(end - f->log_text));
	assert_non_null(f->line);
	f->log_size -= (size_t)(end + 1 - f->log_text);
	memmove(f->log_text, end + 1, f->log_size);
	return true;
}

void session_fixture_expect_event(struct session_fixture *f, const char *event)
{
	while (!take_line(f)) {
		ssize_t n;

		test_loop_until_ready(&f->loop, f->log_pipe[0], POLLIN, event);
		n = read(f->log_pipe[0], f->log_text + f->log_size,
			 sizeof f->log_text - f->log_size);
		assert_true(n > 0);
		f->log_size += (size_t)n;
	}
	assert_string_equal(session_fixture_text(f, "event"), event);
}

/* The counter is ahead of the lines that have not been read yet. */
static void expect_counted(struct session_fixture *f, const char *outcome)
{
	for (unsigned i = 0; i < OUTCOME_COUNT; i++)
		if (strcmp(outcome_name((enum outcome)i), outcome) == 0)
			assert_true(counter_read(&f->metrics->ended[i]) >= ++f->seen[i]);
}

void session_fixture_expect(struct session_fixture *f, const char *outcome)
{
	session_fixture_expect_event(f, "connection");
	expect_counted(f, outcome);
	assert_string_equal(session_fixture_text(f, "outcome"), outcome);
	assert_string_equal(session_fixture_text(f, "listener"), "test");
}

static bool is_empty(void *data)
{
	return ((const struct session_env *)data)->count == 0;
}

void session_fixture_expect_none(struct session_fixture *f)
{
	test_loop_until(&f->loop, is_empty, &f->env, "the end of all sessions");
}

const char *session_fixture_text(const struct session_fixture *f, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(f->line, key));

	return text != NULL ? text : "";
}

long session_fixture_number(const struct session_fixture *f, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(f->line, key);

	return cJSON_IsNumber(item) ? (long)item->valuedouble : -1;
}

void session_fixture_finish(struct session_fixture *f)
{
	test_peer_shutdown(&f->client);
	test_peer_expect_end(&f->upstream);
	test_peer_shutdown(&f->upstream);
	test_peer_expect_end(&f->client);
	session_fixture_expect(f, "finished");
	test_peer_close(&f->upstream);
	test_peer_close(&f->client);
}

void session_fixture_mute_app(struct session_fixture *f, const char *at, struct test_peer *first)
{
	char name[TEST_PEER_NAME_MAX];

	test_peer_close(&f->app);
	test_peer_listen(&f->app, &f->loop, at, 0);
	test_peer_name(&f->app, name);
	test_peer_connect(first, &f->loop, name, NULL);
}

unsigned session_fixture_unused_port(struct session_fixture *f)
{
	struct test_peer p;
	unsigned port;

	test_peer_listen(&p, &f->loop, "127.0.0.1:0", 1);
	port = test_peer_port(&p);
	test_peer_close(&p);
	return port;
}

unsigned session_fixture_services(const struct session_fixture *f)
{
	return atomic_load(&f->shared->references) - 1;
}

void session_fixture_expect_no_upstream(const struct session_fixture *f)
{
	assert_int_equal(accept4(f->app.fd, NULL, NULL, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

struct address loopback_address(unsigned host, unsigned port)
{
	return (struct address){ .family = AF_INET,
				 .port = (uint16_t)port,
				 .ip = { 127, 0, 0, (uint8_t)host } };
}
