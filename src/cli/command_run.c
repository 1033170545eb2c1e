/* SPDX-License-Identifier: MIT */
/* `unproxy run`: the job itself, in the foreground. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/config_source.h"
#include "conf/config.h"
#include "obs/log.h"
#include "server/handover.h"
#include "server/inherited_socket.h"
#include "server/notify.h"
#include "server/privilege.h"
#include "server/program.h"
#include "server/server.h"

/* How long an output that does not move may hold up our end [ms]. */
#define LOG_FLUSH_MS 2000

static_assert((int)CONFIG_LOG_ERROR == (int)LOG_ERROR && (int)CONFIG_LOG_DEBUG == (int)LOG_DEBUG,
	      "log levels are in the same order");
static_assert((int)CONFIG_LOG_JSON == (int)LOG_JSON && (int)CONFIG_LOG_TEXT == (int)LOG_TEXT,
	      "log formats are in the same order");

/* The ports are open, and nobody is served yet. */
static int drop_privileges(const struct config *config, struct log *log,
			   struct server_error *reterr)
{
	char why[PRIVILEGE_ERROR_MAX];
	struct log_buffer *buffer = log_buffer_create(log);
	int rv;

	if (buffer == NULL) {
		snprintf(reterr->text, sizeof reterr->text, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	rv = privilege_drop(config->user, config_is_transparent(config), buffer, why);
	if (rv != 0)
		snprintf(reterr->text, sizeof reterr->text, "%s", why);
	return rv;
}

/* What it takes to load the configuration again. */
struct run {
	struct config_source source;
	struct inherited_sockets inherited;
	struct program program; /* to be started on SIGUSR2 */
	char no_upgrade[160];   /* why that cannot be; empty: it can */
	int ready_fd; /* by which to tell the program before us that we serve; -1: there is none */
	const char *user; /* whom we have become; NULL: nobody else */
};

static int load_again(void *data, struct config **ret, struct server_error *reterr)
{
	const struct run *run = data;
	struct config_error error;
	int rv = config_source_load_again(&run->source, ret, &error);

	/* Also if it is a file that the configuration names, which is an error in the configuration. */
	if (rv != 0 && run->user != NULL && strstr(error.text, strerror(EACCES)) != NULL)
		snprintf(reterr->text, sizeof reterr->text,
			 "%s; unproxy runs as %s since its start: make the file readable for that "
			 "user, or set `user` and restart",
			 error.text, run->user);
	else if (rv != 0)
		snprintf(reterr->text, sizeof reterr->text, "%s", error.text);
	return rv;
}

/* systemd is told by the program before us, for it does not listen to us yet. */
static void tell_that_we_serve(const struct run *run)
{
	if (run->ready_fd >= 0)
		handover_report_ready(run->ready_fd);
	else
		notify_ready();
}

/* What takes to be known before anything is opened, or replaced. Returns 0 or a negative errno, after printing why. */
static int prepare(struct run *run)
{
	const char *stream = config_source_stream(&run->source);
	char why[INHERITED_SOCKET_ERROR_MAX];
	int rv = inherited_sockets_take(&run->inherited, why);

	if (rv != 0) {
		fprintf(stderr, "unproxy: %s\n", why);
		return rv;
	}
	run->ready_fd = handover_take_ready_fd();
	rv = program_find(&run->program);
	if (rv != 0)
		snprintf(run->no_upgrade, sizeof run->no_upgrade,
			 "cannot tell where this program lies: %s; is /proc mounted?",
			 strerror(-rv));
	else if (stream != NULL)
		snprintf(run->no_upgrade, sizeof run->no_upgrade,
			 "the configuration came from %s, which cannot be read again; give it as "
			 "-c FILE",
			 stream);
	return 0;
}

static int run_server(struct run *run, struct config *config, struct log *log)
{
	const struct server_options options = {
		.config = config,
		.log = log,
		.loader = { load_again, run },
		.inherited = &run->inherited,
		.program = run->no_upgrade[0] == '\0' ? &run->program : NULL,
		.no_upgrade = run->no_upgrade,
	};
	bool was_root = geteuid() == 0;
	struct server *server;
	struct server_error error;

	if (server_open(&options, &server, &error) != 0) {
		fprintf(stderr, "unproxy: %s\n", error.text);
		return COMMAND_FAILED;
	}
	if (drop_privileges(config, log, &error) != 0 || server_start(server, &error) != 0) {
		fprintf(stderr, "unproxy: %s\n", error.text);
		server_destroy(server);
		return COMMAND_FAILED;
	}
	if (was_root && geteuid() != 0)
		run->user = config->user;
	tell_that_we_serve(run);
	if (!server_run(server)) {
		log_destroy(log, LOG_FLUSH_MS);
		_exit(COMMAND_OK); /* exit(3) would wait for libuv's threads */
	}
	server_destroy(server);
	return COMMAND_OK;
}

static int run_with_log(struct run *run, struct config *config)
{
	struct log *log;
	int rv = log_create(config->log_output, (enum log_format)config->log_format,
			    (enum log_level)config->log_level, &log);
	int status;

	if (rv != 0) {
		fprintf(stderr, "unproxy: log.output: %s: %s; make it writable, or change it\n",
			config->log_output, strerror(-rv));
		return COMMAND_FAILED;
	}
	status = run_server(run, config, log);
	log_destroy(log, LOG_FLUSH_MS);
	return status;
}

int command_run(int argc, char **argv)
{
	struct run run = { .user = NULL };
	struct config *config;
	int status = config_source_parse(argc, argv, NULL, &run.source);

	if (status != COMMAND_OK || run.source.help)
		return status;
	if (prepare(&run) != 0)
		return COMMAND_FAILED;
	status = config_source_load(&run.source, &config);
	if (status == COMMAND_OK) {
		privilege_raise();
		status = run_with_log(&run, config);
		config_unref(config);
	}
	inherited_sockets_fini(&run.inherited, NULL);
	program_fini(&run.program);
	return status;
}
