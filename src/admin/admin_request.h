/* SPDX-License-Identifier: MIT */
/* A connection of the admin server, which carries one request. Private to the folder. */
#ifndef ADMIN_REQUEST_H
#define ADMIN_REQUEST_H

#include <stdbool.h>

#include "admin/admin_server.h"
#include "admin/http_request.h"
#include "base/list.h"

enum admin_state {
	ADMIN_READ,   /* the request has not come whole */
	ADMIN_ANSWER, /* the handler has it */
	ADMIN_SEND,   /* the kernel has not taken all of the answer */
	ADMIN_LINGER, /* the client's FIN is due */
	ADMIN_CLOSED, /* callbacks are due, or the handler's answer */
	/* must be last */
	ADMIN_NSTATES
};

struct admin_listening {
	uv_poll_t poll;
	int fd;
};

struct admin_server {
	uv_loop_t *loop;
	struct admin_listening *listening; /* owned; NULL: none */
	uv_timer_t resume;                 /* accepting, after a shortage */
	bool closed; /* the timer's callback has run: nothing but requests is left */
	unsigned patience_ms;
	admin_handler handler;
	void *data;
	struct list requests[ADMIN_NSTATES]; /* by state, oldest first */
	unsigned count;      /* of requests that take room: all but those to be freed */
	size_t answer_bytes; /* that the kernel has not taken yet */
	char dropped[16384]; /* what follows a request */
};

struct admin_request {
	struct list link; /* in server->requests[state] */
	struct admin_server *server;
	enum admin_state state;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	};
	uv_timer_t deadline; /* how long we may stay in this state */
	uv_write_t write;
	uv_shutdown_t shutdown;
	unsigned open_handles;
	bool header_skipped; /* the PROXY header, or there is none */
	bool unanswered;     /* the handler has it */
	bool ended;          /* FIN has come */
	size_t used;         /* of buffer [bytes] */
	size_t dropped;      /* behind the request [bytes] */
	struct http_request request;
	char *body; /* of the answer, until the kernel has it; owned */
	size_t body_size;
	char head[HTTP_HEAD_MAX];
	char buffer[HTTP_REQUEST_MAX];
};

/* Take the accepted, non-blocking socket @fd. Without memory for it, it is closed. */
void admin_request_start(struct admin_server *a, int fd);

/* End it: legal in every state. Its memory stays until the callbacks have run and the handler has answered. */
void admin_request_close(struct admin_request *r);

/* A request has been freed: was it the last thing @a waited for? */
void admin_server_free_if_done(struct admin_server *a);

/* Close the one that has been in @state for longest. Returns false if there is none. */
bool admin_server_close_oldest(struct admin_server *a, enum admin_state state);

#endif
