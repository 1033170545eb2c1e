/* SPDX-License-Identifier: MIT */
/* `unproxy demo`: everything in one process, to see what it does before setting anything up. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/bug.h"
#include "base/json_writer.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/demo_app.h"
#include "cli/demo_log.h"
#include "cli/demo_tour.h"
#include "conf/config.h"
#include "conf/config_load.h"
#include "conf/endpoint.h"
#include "server/server.h"

/* Nobody is working with the demo: connections that are left may be cut soon. */
#define SHUTDOWN_MS 1000

struct demo {
	struct address listen;
	bool once;
	struct demo_app *app;
	struct demo_log log;
	struct config *config;
	struct server *server;
};

enum { /* of getopt_long(3) */
	OPTION_LISTEN = 256,
	OPTION_ONCE,
};

static int parse_listen(const char *text, struct address *ret)
{
	char why[ENDPOINT_ERROR_MAX];
	struct endpoint e;

	if (endpoint_parse(text, false, &e, why) != 0)
		return command_usage_error("demo", "--listen \"%s\": %s", text, why);
	*ret = e.ip;
	if (e.kind != ENDPOINT_IP) {
		endpoint_fini(&e);
		return command_usage_error("demo", "--listen \"%s\": the demo wants ADDRESS:PORT",
					   text);
	}
	endpoint_fini(&e);
	return COMMAND_OK;
}

static int parse_options(int argc, char **argv, struct demo *d, bool *rethelp)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, OPTION_LISTEN },
		{ "once", no_argument, NULL, OPTION_ONCE },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int status = COMMAND_OK;
	int option;

	opterr = 0; /* we say it ourselves */
	optind = 0; /* start over, whoever used getopt before */
	*rethelp = false;
	while (status == COMMAND_OK &&
	       (option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option == 'h') {
			*rethelp = true;
			return COMMAND_OK;
		}
		if (option == OPTION_LISTEN)
			status = parse_listen(optarg, &d->listen);
		else if (option == OPTION_ONCE)
			d->once = true;
		else
			status = command_option_error("demo", option, argv);
	}
	if (status == COMMAND_OK && optind < argc)
		return command_usage_error("demo", "unexpected argument \"%s\"", argv[optind]);
	return status;
}

static bool is_wildcard(const struct address *a)
{
	static const uint8_t zeroes[16];

	return memcmp(a->ip, zeroes, sizeof zeroes) == 0;
}

/* Peers on this machine are trusted; for an address of this machine, they come from that. */
static void write_configuration(const struct demo *d, struct strbuf *out)
{
	char listen[ADDRESS_TEXT_MAX];
	char listen_ip[ADDRESS_TEXT_MAX];
	char upstream[ADDRESS_TEXT_MAX];
	struct json_writer w;

	address_format(&d->listen, listen);
	address_format_ip(&d->listen, listen_ip);
	snprintf(upstream, sizeof upstream, "127.0.0.1:%u", demo_app_port(d->app));
	json_writer_init(&w, out);
	json_writer_open(&w, NULL, '{');
	json_writer_uint(&w, "workers", 1);
	json_writer_uint(&w, "shutdown_timeout_ms", SHUTDOWN_MS);
	json_writer_open(&w, "listeners", '[');
	json_writer_open(&w, NULL, '{');
	json_writer_text(&w, "name", "demo");
	json_writer_text(&w, "listen", listen);
	json_writer_text(&w, "upstream", upstream);
	json_writer_bool(&w, "allow_loopback_clients", true); /* curl's header says 127.0.0.1 */
	json_writer_open(&w, "trusted_proxies", '[');
	json_writer_text(&w, NULL, "127.0.0.0/8");
	json_writer_text(&w, NULL, "::1");
	if (!is_wildcard(&d->listen) && !address_is_loopback(&d->listen))
		json_writer_text(&w, NULL, listen_ip);
	json_writer_close(&w, ']');
	json_writer_close(&w, '}');
	json_writer_close(&w, ']');
	json_writer_close(&w, '}');
}

static int create_server(struct demo *d)
{
	char text[1024];
	struct strbuf out;
	struct config_error config_error;
	struct server_options options = { .log = d->log.log };
	struct server_error server_error;

	strbuf_init(&out, text, sizeof text);
	write_configuration(d, &out);
	if (config_load_text("demo", ".", text, out.used, &d->config, &config_error) != 0) {
		fprintf(stderr, "unproxy: %s\n", config_error.text);
		return COMMAND_FAILED;
	}
	options.config = d->config;
	if (server_create(&options, &d->server, &server_error) != 0) {
		fprintf(stderr, "unproxy: %s\n", server_error.text);
		return COMMAND_FAILED;
	}
	return COMMAND_OK;
}

/* Where clients on this machine reach the listener. */
static struct address reachable(const struct demo *d)
{
	static const uint8_t loopback4[4] = { 127, 0, 0, 1 };
	static const uint8_t loopback6[16] = { [15] = 1 };
	struct address a = d->listen;

	if (is_wildcard(&a) && a.family == AF_INET)
		address_set_ip(&a, loopback4, sizeof loopback4, 0);
	else if (is_wildcard(&a))
		address_set_ip(&a, loopback6, sizeof loopback6, 0);
	a.port = (uint16_t)server_port(d->server, 0);
	return a;
}

static void invite(const struct address *listener)
{
	char where[ADDRESS_TEXT_MAX];

	address_format(listener, where);
	printf("\nIt works. Now you, from another terminal:\n\n"
	       "   curl --haproxy-protocol http://%s/\n"
	       "   printf 'GET / HTTP/1.1\\r\\n\\r\\n' |\n"
	       "       %s send --src 203.0.113.9:50000 %s\n\n"
	       "Without a header, to be refused:\n\n"
	       "   curl http://%s/\n\n"
	       "Every connection leaves a line in the log, here. Ctrl-C ends the demo.\n\n",
	       where, program_invocation_name, where, where);
	fflush(stdout);
}

static int serve(struct demo *d)
{
	struct address listener = reachable(d);
	bool ok = demo_tour(&listener, demo_app_port(d->app), &d->log);

	if (d->once || !ok) {
		if (ok)
			puts("\nIt works.");
		server_stop(d->server);
	} else {
		invite(&listener);
		demo_log_follow(&d->log);
	}
	server_run(d->server);
	return ok ? COMMAND_OK : COMMAND_FAILED;
}

static int run(struct demo *d)
{
	int status;
	int rv = demo_log_open(&d->log);

	if (rv != 0) {
		fprintf(stderr, "unproxy demo: cannot open the log: %s\n", strerror(-rv));
		return COMMAND_FAILED;
	}
	status = create_server(d);
	if (status == COMMAND_OK) {
		status = serve(d);
		server_destroy(d->server);
	}
	demo_log_close(&d->log);
	config_unref(d->config);
	return status;
}

int command_demo(int argc, char **argv)
{
	static const uint8_t loopback[4] = { 127, 0, 0, 1 };
	static struct demo d; /* too large for a stack */
	bool help;
	int status;
	int rv;

	address_set_ip(&d.listen, loopback, sizeof loopback, 0);
	status = parse_options(argc, argv, &d, &help);
	if (status != COMMAND_OK)
		return status;
	if (help) {
		command_help_print("demo");
		return COMMAND_OK;
	}
	rv = demo_app_start(&d.app);
	if (rv != 0) {
		fprintf(stderr, "unproxy demo: cannot start the application: %s\n", strerror(-rv));
		return COMMAND_FAILED;
	}
	status = run(&d);
	demo_app_stop(d.app);
	return status;
}
