/* SPDX-License-Identifier: MIT */
/* One client connection, from accept to its end. */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bug.h"
#include "base/list.h"
#include "obs/outcome.h"
#include "session/deadline.h"
#include "session/poller.h"
#include "session/relay.h"
#include "wire/proxy_header.h"

struct session_service;
struct upstream;

enum session_state {
	SESSION_HEADER,  /* waiting for the whole PROXY header */
	SESSION_CONNECT, /* header accepted, no upstream has answered yet */
	SESSION_RELAY,   /* bytes flow */
	SESSION_CLOSED,  /* over; freed when the current round of events is */
	/* must be last */
	SESSION_NSTATES
};

/* 10,000 of these are open at once: keep it small. */
struct session {
	struct list link; /* in env->sessions, then in env->closed */
	struct session_service *service;
	struct poller_watch client_watch;
	struct poller_watch upstream_watch;
	struct deadline deadline; /* how long we may stay in this state */
	struct relay relay;       /* both sockets; it closes nothing */
	uint8_t *saved;           /* the part of a header that has come; owned; NULL: none */
	uint8_t *tlvs;            /* for the access log; owned; NULL: nothing worth it */
	const char *reason;       /* static text for the access log, or NULL */
	const char *hint;         /* likewise */
	uint64_t id;
	uint64_t accepted_ns;  /* uv_hrtime() */
	uint64_t header_ns;    /* uv_hrtime() when the header was whole; 0: it never was */
	uint64_t connected_ns; /* uv_hrtime() when the upstream had answered; 0: it never did */
	struct address peer;   /* who connected */
	struct address client; /* the effective client; AF_UNSPEC until known */
	struct address destination; /* as the header tells; AF_UNSPEC otherwise */
	struct address upstream;    /* tried last; AF_UNSPEC: none */
	uint32_t saved_size;        /* [bytes] */
	uint16_t tlvs_size;         /* [bytes] */
	uint8_t state;              /* enum session_state; only session_set_state() writes it */
	uint8_t command;            /* enum proxy_command */
	uint8_t version;            /* of the header; 0: none */
	uint8_t attempt;            /* index of the upstream address that is tried */
	bool resolved_again;        /* after connecting failed; once is enough */
	bool resolving;             /* waiting for that */
	bool counted;               /* in service->clients */
	int connect_error;          /* why the last address failed; a negative errno */
};

/* What has been read of the client; borrowed from the scratch buffer. */
struct session_input {
	const uint8_t *tlvs; /* of the header, checked by the parser */
	size_t tlvs_size;    /* 0: there are none [bytes] */
	const uint8_t *payload;
	size_t payload_size; /* 0: none has come yet [bytes] */
};

/* The upstream for its effective client. */
struct upstream *session_upstream(const struct session *s);

/* What the client connected to, as this host has it; AF_UNSPEC if that is not known. */
void session_local_address(const struct session *s, struct address *ret);

/* The name of a state, as in logs and metrics. */
const char *session_state_name(enum session_state state);

/* Take the accepted, non-blocking socket @fd of @peer (copied). The session ends by itself; until then it is in
 * env->sessions. It may have ended when this returns: session_env_reap() is due.
 * Returns 0, or -ENOMEM and @fd is still yours. */
int session_start(struct session_service *service, int fd, const struct address *peer) MUST_CHECK;

/* End it: legal in every state, and the first outcome is the true one. */
void session_close(struct session *s, enum outcome outcome);

/* Closed, and nothing may name it any more: session_env_reap()'s part. */
void session_free(struct session *s);

/* End it, and say more in the log than the outcome does. The texts are static; NULL for none. */
void session_refuse(struct session *s, enum outcome outcome, const char *reason, const char *hint);

/* s->client is known and welcome: connect. */
void session_accept_client(struct session *s, const struct session_input *in);

/* The answer to upstream_resolve() that sessions may be waiting for. */
void session_on_resolved(struct upstream *u, int status);

/* A deadline of service->wait[] or env->retry is due. */
void session_on_deadline(struct deadline *d);
void session_on_retry(struct deadline *d);

#endif
