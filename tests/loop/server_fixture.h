/* SPDX-License-Identifier: MIT */
/* A whole server in this process, its loop run by a thread, with scripted peers on this one. */
#ifndef SERVER_FIXTURE_H
#define SERVER_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

#include <pthread.h>

#include "conf/config.h"
#include "lib/test_peer.h"
#include "obs/log.h"
#include "server/server.h"

#define HEADER "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n"

struct server_fixture {
	char directory[48];
	char log_path[64];  /* a FIFO in it */
	char unix_text[80]; /* "unix:" and a path in the directory */
	struct log *log;
	int log_fd;             /* its end to be read */
	char log_text[1 << 19]; /* what has been read of it */
	size_t log_size;
	size_t log_skipped; /* what server_fixture_expect_log() does not see */
	pthread_mutex_t config_mutex;
	struct config *config; /* what is loaded; NULL: it cannot be, neither by a reload */
	struct inherited_sockets *inherited; /* what the next server is passed; or NULL */
	const struct program *program;       /* what it starts on SIGUSR2; or NULL */
	struct server *server;
	struct server_error error;
	pthread_t thread;
	bool running;        /* the thread is */
	bool ended_in_order; /* what server_run() said */
	struct test_peer app;
	struct test_peer client;
	struct test_peer upstream; /* accepted from app */
	unsigned fds_before;
};

/* cmocka's. The application listens on loopback. Afterwards no descriptor may be left. */
int server_fixture_setup(void **state);
int server_fixture_teardown(void **state);

/* A configuration of @listeners (JSON; APP stands for the address of f->app) and more @keys, which end in a comma
 * unless there are none. For server_fixture_create(), or for the next reload. */
void server_fixture_load(struct server_fixture *f, const char *keys, const char *listeners);

/* Create a server of what was loaded. */
int server_fixture_create_loaded(struct server_fixture *f, struct server **ret);

/* Load and create. */
int server_fixture_create(struct server_fixture *f, const char *keys, const char *listeners);

/* Create and run, with so many workers and one listener on loopback. */
void server_fixture_start(struct server_fixture *f, unsigned workers, const char *keys);

/* Have the thread run the server that was created. */
void server_fixture_run(struct server_fixture *f);

/* Wait until server_run() has returned. */
void server_fixture_join(struct server_fixture *f);

/* Make a FIFO for the log, and listen to it. */
void server_fixture_open_log(struct server_fixture *f);

/* Nothing can be loaded until server_fixture_load(). */
void server_fixture_break(struct server_fixture *f);

/* Wait until @text stands in the log. */
void server_fixture_expect_log(struct server_fixture *f, const char *text);

/* The same, but only what is logged from now on counts. */
void server_fixture_skip_log(struct server_fixture *f);

/* Destroy the server and close the log, whose text is then whole. */
void server_fixture_end(struct server_fixture *f);

/* Connect @client to listener @index. */
void server_fixture_connect(struct server_fixture *f, unsigned index, struct test_peer *client);

/* Connect f->client, and accept f->upstream. */
void server_fixture_relay(struct server_fixture *f);

#endif
