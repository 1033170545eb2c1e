/* SPDX-License-Identifier: MIT */
/* The state of the process, for the files of its main thread that share it: server.c, and those that keep a part of the
 * running server up to date. Nobody else includes this. */
#ifndef SERVER_PRIVATE_H
#define SERVER_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "server/mailbox.h"
#include "server/reload.h"
#include "server/server.h"
#include "server/server_listener.h"
#include "server/worker.h"

struct admin;
struct config;
struct file_watch;
struct handover;
struct inherited_sockets;
struct log;
struct log_buffer;
struct program;
struct transparent;
struct watchdog;

struct server {
	uv_loop_t loop;
	uv_signal_t signals[5];
	size_t signal_count;    /* handles that are open */
	uv_async_t wake;        /* a worker is done, or server_stop() */
	uv_timer_t timer;       /* shutdown_timeout_ms, then STUCK_MS */
	struct mailbox mailbox; /* for what workers answer */
	atomic_bool stop_requested;
	bool closing;            /* the loop's handles */
	bool stuck;              /* a worker does not end */
	enum worker_phase phase; /* of all workers */
	struct config *config;   /* the running one; a reference */
	struct server_loader loader;
	const struct program *program; /* for SIGUSR2; borrowed; NULL: see no_upgrade */
	const char *no_upgrade;        /* why there is none, or NULL; borrowed */
	struct log *log;               /* borrowed */
	struct log_buffer *log_buffer;
	struct admission process;           /* counts all connections */
	struct transparent *transparent;    /* a reference; NULL unless a listener is */
	unsigned fds;                       /* how many files may be open */
	struct server_listener **listeners; /* in the order of the configuration */
	size_t listener_count;
	struct worker **workers;
	unsigned worker_count;    /* of created ones */
	unsigned workers_wanted;  /* at least 1; for good */
	struct reload *reload;    /* under way; NULL: none is */
	const char *reload_again; /* why one is to follow; NULL: none is */
	struct reload_results reloads;
	struct file_watch *watch; /* of the files that `config` was read from; NULL: none */
	struct admin *admin;
	struct watchdog *watchdog; /* NULL: systemd does not ask for it */
	struct handover *handover; /* under way; NULL: none is */
	bool upgrade_again;        /* one is to follow the reload */
	bool handed_over;          /* another process serves in our place */
	bool told_to_end;          /* after that */
};

/* Set the limits of the listeners, and of the process as a whole. */
void server_set_limits(struct server *s);

/* For server_open(), whose loop is there: find or open the sockets. Returns 0, or a negative errno. */
int server_open_listeners(struct server *s, struct inherited_sockets *inherited,
			  struct server_error *reterr) MUST_CHECK;

/* A worker's loop has ended; on its thread. */
void server_on_worker_done(void *data);

/* Accept no more, and let connections finish. */
void server_drain(struct server *s, const char *why);

/* Tell systemd that all is well. */
void server_notify_status(const struct server *s);

#endif
