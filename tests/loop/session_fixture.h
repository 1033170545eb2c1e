/* SPDX-License-Identifier: MIT */
/* Real sessions between scripted peers, in this process: the client connects to f->listening, the sessions to f->app,
 * and the access log goes through a pipe to the test. */
#ifndef SESSION_FIXTURE_H
#define SESSION_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>
#include <uv.h>

#include "conf/config.h"
#include "lib/test_peer.h"
#include "obs/log.h"
#include "session/service.h"
#include "session/session.h"
#include "session/session_env.h"

/* A header that everybody likes, and what it says. */
#define HEADER      "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n"
#define CLIENT      "203.0.113.7:4711"
#define DESTINATION "192.0.2.1:443"

struct session_fixture {
	uv_loop_t loop;
	char directory[40];
	char unix_text[64]; /* "unix:" and a path in it */
	int log_pipe[2];
	char log_text[65536]; /* that was read but not used */
	size_t log_size;
	struct log *log;
	struct config *config;
	struct admission process;
	struct session_env env;
	struct service_shared *shared;
	const struct listener_metrics *metrics; /* in it */
	unsigned long seen[OUTCOME_COUNT];      /* lines that session_fixture_expect() has met */
	struct session_service *service;        /* NULL until it is there */
	bool closed;                            /* the env has */
	struct test_peer listening;             /* for clients */
	struct test_peer app;                   /* for sessions */
	struct test_peer client;
	struct test_peer upstream; /* accepted from app */
	unsigned fds_before;
	cJSON *line; /* the last access line, parsed */
};

/* cmocka's. The application listens on loopback. */
int session_fixture_setup(void **state);

/* Ends what is left, and fails if anything stays: sessions, services, counts, handles, descriptors; or if a session
 * that began did not end in just one way. */
int session_fixture_teardown(void **state);

/* Load the configuration of a listener whose upstream is @upstream (JSON; NULL: f->app), with more @keys of a
 * listener (JSON, "" for none). Trusted are 127.0.0.0/16 and ::1. */
void session_fixture_load(struct session_fixture *f, const char *upstream, const char *keys);

/* A service of what was loaded, attached to no env. */
void session_fixture_create_service(struct session_fixture *f,
				    const struct upstream_addresses addresses[2],
				    struct session_service **ret);

/* Load it, and start its service. If there is one already this is a reload: that goes with its last session. */
void session_fixture_serve(struct session_fixture *f, const char *upstream, const char *keys);

/* The same, but the sessions know these @addresses of the upstream. */
void session_fixture_serve_at(struct session_fixture *f, const char *upstream, const char *keys,
			      const struct upstream_addresses *addresses);

/* The upstream is a name that resolves to f->app, but the sessions know an address where nobody listens. */
void session_fixture_serve_stale_name(struct session_fixture *f, const char *keys);

/* Connect f->client, from a trusted place or from @from. */
void session_fixture_connect(struct session_fixture *f);
void session_fixture_connect_from(struct session_fixture *f, const char *from);

/* Start the session of the client that has connected. Returns what session_start() does. */
int session_fixture_try_start(struct session_fixture *f);
void session_fixture_start(struct session_fixture *f);

/* Connect and start. */
void session_fixture_open(struct session_fixture *f);

/* Connect, send @text, start. */
void session_fixture_start_with(struct session_fixture *f, const char *text);

/* The same, and accept f->upstream. */
void session_fixture_relay(struct session_fixture *f, const char *text);

/* The open session, the only one. */
struct session *session_fixture_session(const struct session_fixture *f);

/* The next line of the log is about this event; it becomes f->line. */
void session_fixture_expect_event(struct session_fixture *f, const char *event);

/* The next access line is about this outcome, which is counted; it becomes f->line. */
void session_fixture_expect(struct session_fixture *f, const char *outcome);

/* Run until no session is open; for when nothing is logged. */
void session_fixture_expect_none(struct session_fixture *f);

/* A member of f->line, numbers rounded down; "" or -1 if it is missing. */
const char *session_fixture_text(const struct session_fixture *f, const char *key);
long session_fixture_number(const struct session_fixture *f, const char *key);

/* End both sides in order, and expect the outcome `finished`. */
void session_fixture_finish(struct session_fixture *f);

/* Let f->app listen at @at with a backlog of 0, which has room for one connection, and let @first take it: it answers no
 * more until somebody accepts. */
void session_fixture_mute_app(struct session_fixture *f, const char *at, struct test_peer *first);

/* A port of 127.0.0.1 where nobody listens. */
unsigned session_fixture_unused_port(struct session_fixture *f);

/* Services that are still there, of this reload and of those before. */
unsigned session_fixture_services(const struct session_fixture *f);

/* Nobody has connected to f->app. */
void session_fixture_expect_no_upstream(const struct session_fixture *f);

/* An address on loopback: 127.0.0.@host:@port. */
struct address loopback_address(unsigned host, unsigned port);

#endif
