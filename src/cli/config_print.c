/* SPDX-License-Identifier: MIT */
#include "cli/config_print.h"

#include <string.h>
#include <sys/socket.h>

#include "base/cidr_set.h"
#include "conf/config.h"

/* A list of thousands says no more than its beginning. */
#define SHOWN 5

static void print_time(unsigned ms, FILE *out)
{
	if (ms % 1000 == 0)
		fprintf(out, "%u s", ms / 1000);
	else
		fprintf(out, "%u ms", ms);
}

static void print_strings(char *const *list, size_t count, FILE *out)
{
	for (size_t i = 0; i < count && i < SHOWN; i++)
		fprintf(out, "%s%s", i > 0 ? ", " : "", list[i]);
	if (count > SHOWN)
		fprintf(out, " and %zu more", count - SHOWN);
	fputs("\n", out);
}

static void print_files(const struct config *c, FILE *out)
{
	for (size_t i = 0; i < c->file_count && i < SHOWN; i++)
		fprintf(out, "%s%s", i > 0 ? ", " : "", c->files[i].path);
	if (c->file_count > SHOWN)
		fprintf(out, " and %zu more", c->file_count - SHOWN);
	fputs("\n", out);
}

static void print_ranges(const struct cidr_set *set, FILE *out)
{
	size_t count = cidr_set_count(set);
	char range[CIDR_RANGE_TEXT_MAX];

	fprintf(out, "%zu range%s: ", count, count > 1 ? "s" : "");
	for (size_t i = 0; i < count && i < SHOWN; i++) {
		cidr_set_format_range(set, i, range);
		fprintf(out, "%s%s", i > 0 ? ", " : "", range);
	}
	if (count > SHOWN)
		fprintf(out, " and %zu more", count - SHOWN);
}

static void print_global(const struct config *c, FILE *out)
{
	static const char *const levels[] = {
		[CONFIG_LOG_ERROR] = "error",
		[CONFIG_LOG_WARN] = "warn",
		[CONFIG_LOG_INFO] = "info",
		[CONFIG_LOG_DEBUG] = "debug",
	};

	if (c->workers > 0)
		fprintf(out, "workers      %u\n", c->workers);
	else
		fputs("workers      one for each CPU this process may use\n", out);
	fprintf(out, "log          to %s as %s, level %s, %s line for each connection\n",
		c->log_output, c->log_format == CONFIG_LOG_JSON ? "JSON" : "text",
		levels[c->log_level], c->log_access ? "a" : "no");
	if (c->admin_listen.text != NULL)
		fprintf(out, "admin        %s\n", c->admin_listen.text);
	if (c->watch) {
		fputs("watch        loaded again when one of these changes: ", out);
		print_files(c, out);
	}
	fputs("SIGTERM      connections have ", out);
	print_time(c->shutdown_timeout_ms, out);
	fputs(" to finish\n", out);
}

static void print_transparent(const struct listener_config *l, FILE *out)
{
	if (!l->transparent)
		return;
	fputs("  transparent  the application sees the client's address and port\n", out);
	if (!l->upstream_is_pair && l->upstream[0].kind == ENDPOINT_IP)
		fprintf(out,
			"               IPv%c clients are refused: `upstream` is IPv%c alone\n",
			l->upstream[0].ip.family == AF_INET ? '6' : '4',
			l->upstream[0].ip.family == AF_INET ? '4' : '6');
}

static void print_endpoints(const struct config *c, const struct listener_config *l, FILE *out)
{
	bool everywhere = strncmp(l->listen.text, "[::]:", 5) == 0;

	fprintf(out, "  listen       %s%s\n", l->listen.text, everywhere ? ", IPv4 too" : "");
	if (l->upstream_is_pair)
		fprintf(out, "  upstream     %s for IPv4 clients, %s for IPv6 clients\n",
			l->upstream[0].text, l->upstream[1].text);
	else
		fprintf(out, "  upstream     %s\n", l->upstream[0].text);
	print_transparent(l, out);
	if (l->send_proxy != CONFIG_SEND_OFF)
		fprintf(out, "  send_proxy   a version %c header to the upstream\n",
			l->send_proxy == CONFIG_SEND_V1 ? '1' : '2');
	if (!config_checks_upstream(c, l))
		return;
	fputs("  checked      the upstream, every ", out);
	print_time(l->upstream_check_interval_ms, out);
	fprintf(out, "%s\n",
		l->upstream_check_close_listener ? "; connections are refused while it is down"
						 : "");
}

static void print_trust(const struct listener_config *l, FILE *out)
{
	bool any = cidr_set_count(l->trusted) > 0;

	fputs("  trusted      ", out);
	if (l->trust_unix)
		fprintf(out, "whoever can open %s%s", l->listen.path, any ? ", " : "");
	if (any)
		print_ranges(l->trusted, out);
	fputs("\n", out);
}

static void print_header_rules(const struct listener_config *l, FILE *out)
{
	const char *versions = l->versions == CONFIG_VERSION_1   ? "1"
			       : l->versions == CONFIG_VERSION_2 ? "2"
								 : "1 or 2";

	fprintf(out, "  header       %s, version %s, at most %u bytes, within ",
		l->header_optional ? "optional" : "required", versions, l->max_header_bytes);
	print_time(l->header_timeout_ms, out);
	fprintf(out, "\n  untrusted    peers are %s\n",
		l->untrusted_pass ? "relayed as they come, as their own client" : "rejected");
	fprintf(out, "  loopback     client addresses 127.0.0.0/8 and ::1 are %s\n",
		l->allow_loopback_clients ? "accepted" : "refused");
}

static void print_clients(const struct listener_config *l, FILE *out)
{
	if (l->clients_allow != NULL) {
		fputs("  clients      only from ", out);
		print_ranges(l->clients_allow, out);
		fputs("\n", out);
	}
	if (l->clients_deny != NULL) {
		fputs("  clients      not from ", out);
		print_ranges(l->clients_deny, out);
		fputs("\n", out);
	}
	if (l->vpc_endpoint_count > 0) {
		fputs("  clients      only through ", out);
		print_strings(l->vpc_endpoints, l->vpc_endpoint_count, out);
	}
}

static void print_limits_per_client(const struct listener_config *l, FILE *out)
{
	const struct config_rate *rate = &l->connection_rate_per_client;

	if (l->max_connections_per_client > 0)
		fprintf(out, "  per client   at most %u connections\n",
			l->max_connections_per_client);
	if (rate->per_second > 0)
		fprintf(out, "  per client   at most %u new connections a second, %u at once\n",
			rate->per_second, rate->burst);
	if (l->max_connections_per_client > 0 || rate->per_second > 0)
		fprintf(out, "  per client   up to %u clients are remembered\n",
			l->max_tracked_clients);
}

static void print_limits(const struct listener_config *l, FILE *out)
{
	fputs("  connecting   at most ", out);
	print_time(l->connect_timeout_ms, out);
	fputs("\n  idle         ", out);
	if (l->idle_timeout_ms > 0) {
		fputs("closed after ", out);
		print_time(l->idle_timeout_ms, out);
		fputs("\n", out);
	} else {
		fputs("never closed\n", out);
	}
	if (l->max_connections > 0)
		fprintf(out, "  connections  at most %u\n", l->max_connections);
	else
		fputs("  connections  as many as the limit on open files allows\n", out);
}

void config_print(const struct config *c, FILE *out)
{
	print_global(c, out);
	for (size_t i = 0; i < c->listener_count; i++) {
		const struct listener_config *l = &c->listeners[i];

		fprintf(out, "listener \"%s\"\n", l->name);
		print_endpoints(c, l, out);
		print_trust(l, out);
		print_header_rules(l, out);
		print_clients(l, out);
		print_limits(l, out);
		print_limits_per_client(l, out);
	}
}
