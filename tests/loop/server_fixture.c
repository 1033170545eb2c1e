/* SPDX-License-Identifier: MIT */
#include "loop/server_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "conf/config_load.h"
#include "lib/test_loop.h"

void server_fixture_open_log(struct server_fixture *f)
{
	assert_int_equal(mkfifo(f->log_path, 0600), 0);
	f->log_fd = open(f->log_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(f->log_fd >= 0);
	fcntl(f->log_fd, F_SETPIPE_SZ, sizeof f->log_text);
	f->log_size = 0;
	f->log_skipped = 0;
}

int server_fixture_setup(void **state)
{
	struct server_fixture *f = calloc(1, sizeof *f);

	f->fds_before = test_count_fds();
	strcpy(f->directory, "/tmp/test_server.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->log_path, sizeof f->log_path, "%s/log", f->directory);
	snprintf(f->unix_text, sizeof f->unix_text, "unix:%s/sock", f->directory);
	server_fixture_open_log(f);
	assert_int_equal(log_create(f->log_path, LOG_JSON, LOG_DEBUG, &f->log), 0);
	test_peer_listen(&f->app, NULL, "127.0.0.1:0", 256);
	f->client.fd = -1;
	f->upstream.fd = -1;
	pthread_mutex_init(&f->config_mutex, NULL);
	*state = f;
	return 0;
}

/* Returns what read(2) does. */
static ssize_t read_log(struct server_fixture *f)
{
	size_t room = sizeof f->log_text - 1 - f->log_size;
	ssize_t n = read(f->log_fd, f->log_text + f->log_size, room);

	if (n > 0)
		f->log_size += (size_t)n;
	f->log_text[f->log_size] = '\0';
	assert_true(n != (ssize_t)room);
	return n;
}

void server_fixture_expect_log(struct server_fixture *f, const char *text)
{
	while (strstr(f->log_text + f->log_skipped, text) == NULL) {
		test_loop_until_ready(NULL, f->log_fd, POLLIN, text);
		read_log(f);
	}
}

void server_fixture_skip_log(struct server_fixture *f)
{
	while (read_log(f) > 0)
		continue;
	f->log_skipped = f->log_size;
}

void server_fixture_end(struct server_fixture *f)
{
	server_destroy(f->server);
	f->server = NULL;
	log_destroy(f->log, TEST_PATIENCE_MS);
	f->log = NULL;
	while (read_log(f) > 0)
		continue;
}

int server_fixture_teardown(void **state)
{
	struct server_fixture *f = *state;

	if (f->running) {
		server_stop(f->server);
		test_peer_close(&f->client);
		test_peer_close(&f->upstream);
		server_fixture_join(f);
	}
	server_destroy(f->server);
	log_destroy(f->log, TEST_PATIENCE_MS);
	config_unref(f->config);
	pthread_mutex_destroy(&f->config_mutex);
	test_peer_close(&f->client);
	test_peer_close(&f->upstream);
	test_peer_close(&f->app);
	close(f->log_fd);
	assert_int_equal(test_count_fds(), f->fds_before);
	unlink(f->log_path);
	assert_int_equal(rmdir(f->directory), 0); /* no socket file is left */
	free(f);
	return 0;
}

static void set_config(struct server_fixture *f, struct config *config)
{
	pthread_mutex_lock(&f->config_mutex);
	config_unref(f->config);
	f->config = config;
	pthread_mutex_unlock(&f->config_mutex);
}

void server_fixture_break(struct server_fixture *f)
{
	set_config(f, NULL);
}

static int load_again(void *data, struct config **ret, struct server_error *reterr)
{
	struct server_fixture *f = data;

	pthread_mutex_lock(&f->config_mutex);
	*ret = f->config != NULL ? config_ref(f->config) : NULL;
	pthread_mutex_unlock(&f->config_mutex);
	snprintf(reterr->text, sizeof reterr->text, "it is broken");
	return *ret != NULL ? 0 : -EINVAL;
}

void server_fixture_load(struct server_fixture *f, const char *keys, const char *listeners)
{
	char app[TEST_PEER_NAME_MAX];
	char text[4096];
	struct strbuf out;
	struct config_error error;
	struct config *config;
	const char *at = listeners;
	const char *next;

	test_peer_name(&f->app, app);
	strbuf_init(&out, text, sizeof text);
	strbuf_printf(&out, "{%s \"log\": {\"output\": \"%s\", \"level\": \"debug\"}, ", keys,
		      f->log_path);
	strbuf_printf(&out, "\"listeners\": [");
	for (; (next = strstr(at, "APP")) != NULL; at = next + strlen("APP"))
		strbuf_printf(&out, "%.*s%s", (int)(next - at), at, app);
	strbuf_printf(&out, "%s]}", at);
	if (config_load_text("test", "/", out.data, out.used, &config, &error) != 0)
		fail_msg("%s", error.text);
	set_config(f, config);
}

int server_fixture_create_loaded(struct server_fixture *f, struct server **ret)
{
	const struct server_options options = {
		.config = f->config,
		.log = f->log,
		.loader = { load_again, f },
		.inherited = f->inherited,
		.program = f->program,
	};

	return server_create(&options, ret, &f->error);
}

int server_fixture_create(struct server_fixture *f, const char *keys, const char *listeners)
{
	server_fixture_load(f, keys, listeners);
	return server_fixture_create_loaded(f, &f->server);
}

static void *run(void *data)
{
	struct server_fixture *f = data;

	f->ended_in_order = server_run(f->server);
	return NULL;
}

void server_fixture_run(struct server_fixture *f)
{
	assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
	f->running = true;
}

void server_fixture_start(struct server_fixture *f, unsigned workers, const char *keys)
{
	char all[512];
	int rv;

	snprintf(all, sizeof all, "\"workers\": %u, %s", workers, keys);
	rv =
	    server_fixture_create(f, all,
				  "{\"name\": \"test\", \"listen\": \"127.0.0.1:0\", \"upstream\": "
				  "\"APP\", \"trusted_proxies\": [\"127.0.0.0/8\"]}");
	if (rv != 0)
		fail_msg("%s", f->error.text);
	server_fixture_run(f);
}

void server_fixture_join(struct server_fixture *f)
{
	assert_int_equal(pthread_join(f->thread, NULL), 0);
	f->running = false;
}

void server_fixture_connect(struct server_fixture *f, unsigned index, struct test_peer *client)
{
	char name[32];

	snprintf(name, sizeof name, "127.0.0.1:%u", server_port(f->server, index));
	test_peer_connect(client, NULL, name, NULL);
}

void server_fixture_relay(struct server_fixture *f)
{
	server_fixture_connect(f, 0, &f->client);
	test_peer_send_text(&f->client, HEADER "hello");
	test_peer_accept(&f->app, &f->upstream);
	test_peer_expect_text(&f->upstream, "hello");
}
