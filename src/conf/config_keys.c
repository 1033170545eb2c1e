/* SPDX-License-Identifier: MIT */
#include "conf/config_keys.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "base/edit_distance.h"
#include "base/strbuf.h"
#include "conf/config.h"
#include "conf/config_read.h"

/* Log lines and metric labels carry the name of a listener. */
#define LISTENER_NAME_MAX 128

#define PATH_SIZE_MAX 4095

/* What useradd(8) takes. */
#define USER_NAME_MAX 32

#define MEMBER(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)

static_assert(sizeof(enum config_log_level) == sizeof(unsigned), "choices are stored as unsigned");
static_assert(sizeof(enum config_log_format) == sizeof(unsigned), "choices are stored as unsigned");
static_assert(sizeof(enum config_send_proxy) == sizeof(unsigned), "choices are stored as unsigned");

static const char *const header_choices[] = { "require", "optional", NULL };
static const char *const untrusted_choices[] = { "reject", "pass", NULL };
static const char *const send_proxy_choices[] = { "off", "v1", "v2", NULL };
static const char *const log_level_choices[] = { "error", "warn", "info", "debug", NULL };
static const char *const log_format_choices[] = { "json", "text", NULL };

static const struct config_key log_keys[] = {
	{ .name = "level",
	  .kind = CONFIG_CHOICE,
	  MEMBER(struct config, log_level),
	  .choices = log_level_choices,
	  .fallback = CONFIG_LOG_INFO,
	  .help = "what is less important is left out" },
	{ .name = "format",
	  .kind = CONFIG_CHOICE,
	  MEMBER(struct config, log_format),
	  .choices = log_format_choices,
	  .fallback = CONFIG_LOG_JSON,
	  .help = "for programs or for people" },
	{ .name = "access",
	  .kind = CONFIG_BOOL,
	  MEMBER(struct config, log_access),
	  .fallback = true,
	  .help = "one line per finished connection" },
	{ .name = "output",
	  .kind = CONFIG_TEXT,
	  MEMBER(struct config, log_output),
	  .max = PATH_SIZE_MAX,
	  .fallback_text = "stderr",
	  .form = "\"stderr\", \"stdout\" or a path",
	  .help = "a path is reopened on SIGUSR1" },
};

static const struct config_table log_table = { "log", log_keys, ARRAY_SIZE(log_keys) };

static const struct config_key routing_keys[] = {
	{ .name = "mark",
	  .kind = CONFIG_UINT,
	  MEMBER(struct config, transparent_mark),
	  .min = 1,
	  .max = UINT_MAX,
	  .fallback = CONFIG_TRANSPARENT_MARK,
	  .help = "firewall mark of upstream sockets" },
	{ .name = "table",
	  .kind = CONFIG_OWN,
	  MEMBER(struct config, transparent_table),
	  .read = config_read_routing_table,
	  .min = 1,
	  .max = UINT_MAX,
	  .form = "a whole number from 1 to 4294967295, without the kernel's own tables: 253 "
		  "(default), 254 (main) and 255 (local)",
	  .fallback = CONFIG_TRANSPARENT_TABLE,
	  .fallback_text = "7700",
	  .help = "routing table of `unproxy routes`" },
};

static const struct config_table routing_table = { "transparent_routing", routing_keys,
						   ARRAY_SIZE(routing_keys) };

static const struct config_key admin_keys[] = {
	{ .name = "listen",
	  .kind = CONFIG_OWN,
	  .read = config_read_admin_listen,
	  .form = "\"ADDRESS:PORT\", \"[::]:PORT\" or \"unix:/path\"",
	  .help = "where /metrics, /healthz, /readyz and /connections are asked for" },
};

static const struct config_table admin_table = { "admin", admin_keys, ARRAY_SIZE(admin_keys) };

static const struct config_key clients_keys[] = {
	{ .name = "allow",
	  .kind = CONFIG_OWN,
	  .read = config_read_clients_allow,
	  .form = "an array of networks, addresses and names from proxy_lists, such as "
		  "[\"203.0.113.0/24\"]",
	  .help = "only these effective clients are served" },
	{ .name = "deny",
	  .kind = CONFIG_OWN,
	  .read = config_read_clients_deny,
	  .form = "an array of networks, addresses and names from proxy_lists, such as "
		  "[\"203.0.113.0/24\"]",
	  .help = "these are not, even if allowed" },
	{ .name = "vpc_endpoints",
	  .kind = CONFIG_OWN,
	  .read = config_read_vpc_endpoints,
	  .form = "an array of ids, such as [\"vpce-08d2bf15fac5001c9\"]",
	  .help = "only what comes through these AWS PrivateLink endpoints is served" },
};

static const struct config_table clients_table = { "listeners[].clients", clients_keys,
						   ARRAY_SIZE(clients_keys) };

static const struct config_key rate_keys[] = {
	{ .name = "per_second",
	  .kind = CONFIG_UINT,
	  MEMBER(struct listener_config, connection_rate_per_client.per_second),
	  .min = 1,
	  .max = 1000000,
	  .form = "a whole number from 1 to 1000000",
	  .required = true,
	  .help = "new connections of one client" },
	{ .name = "burst",
	  .kind = CONFIG_UINT,
	  MEMBER(struct listener_config, connection_rate_per_client.burst),
	  .min = 1,
	  .max = 1000000,
	  .fallback_text = "per_second",
	  .help = "how many may come at once after a pause" },
};

const struct config_table config_rate_table = { "listeners[].connection_rate_per_client", rate_keys,
						ARRAY_SIZE(rate_keys) };

static const struct config_key upstream_check_keys[] = {
	{ .name = "interval_ms",
	  .kind = CONFIG_UINT,
	  MEMBER(struct listener_config, upstream_check_interval_ms),
	  .max = 3600000,
	  .fallback = 5000,
	  .help = "how often to see whether the upstream accepts, if `admin` or `close_listener` "
		  "asks for it; 0: never" },
	{ .name = "close_listener",
	  .kind = CONFIG_BOOL,
	  MEMBER(struct listener_config, upstream_check_close_listener),
	  .fallback = false,
	  .help = "refuse connections while the upstream does" },
};

static const struct config_table upstream_check_table = { "listeners[].upstream_check",
							  upstream_check_keys,
							  ARRAY_SIZE(upstream_check_keys) };

static const struct config_key listener_keys[] = {
	{ .name = "name",
	  .kind = CONFIG_TEXT,
	  MEMBER(struct listener_config, name),
	  .max = LISTENER_NAME_MAX,
	  .help = "label in logs and metrics; the listen address by default" },
	{ .name = "listen",
	  .kind = CONFIG_OWN,
	  .read = config_read_listen,
	  .form = "\"ADDRESS:PORT\", \"[::]:PORT\" or \"unix:/path\"",
	  .required = true,
	  .help = "where the load balancer connects to" },
	{ .name = "upstream",
	  .kind = CONFIG_OWN,
	  .read = config_read_upstream,
	  .form = "\"HOST:PORT\", \"unix:/path\" or {\"ipv4\": …, \"ipv6\": …}",
	  .required = true,
	  .help = "where the application listens" },
	{ .name = "trusted_proxies",
	  .kind = CONFIG_OWN,
	  .read = config_read_trusted_proxies,
	  .form = "an array of networks, addresses and names from proxy_lists, such as "
		  "[\"10.0.0.0/24\"]",
	  .required = true,
	  .help = "who may say where a connection comes from" },
	{ .name = "header",
	  .kind = CONFIG_CHOICE,
	  MEMBER(struct listener_config, header_optional),
	  .choices = header_choices,
	  .fallback = false,
	  .help = "whether a trusted peer may omit the header" },
	{ .name = "untrusted",
	  .kind = CONFIG_CHOICE,
	  MEMBER(struct listener_config, untrusted_pass),
	  .choices = untrusted_choices,
	  .fallback = false,
	  .help = "peers outside the list: close, or relay untouched" },
	{ .name = "versions",
	  .kind = CONFIG_OWN,
	  MEMBER(struct listener_config, versions),
	  .read = config_read_versions,
	  .form = "[1], [2] or [1, 2]",
	  .fallback = CONFIG_VERSION_1 | CONFIG_VERSION_2,
	  .fallback_text = "[1, 2]",
	  .help = "of the PROXY protocol" },
	{ .name = "header_timeout_ms",
	  .kind = CONFIG_UINT,
	  MEMBER(struct listener_config, header_timeout_ms),
	  .min = 1,
	  .max = 600000,
	  .fallback = 5000,
	  .help = "for the whole header, counted from accept" },
	{ .name = "connect_timeout_ms",
	  .kind = CONFIG_UINT,
	  MEMBER(struct listener_config, connect_timeout_ms),
	  .min = 1,
	  .max = 600000,
	  .fallback = 5000,
	  .help = "for the upstream to accept" },
	{ .name = "idle_timeout_ms",
	  .kind = CONFIG_UINT,
	  MEMBER(struct listener_config, idle_timeout_ms),
	  .max = 86400000,
	  .fallback = 0,
	  .help = "both directions silent; 0: never" },
	{ .name = "max_header_bytes",
	  .kind = CONFIG_UINT,
	  MEMBER(struct listener_config, max_header_bytes),
	  .min = 107,
	  .max = 65551,
	  .fallback = 4096,
	  .help = "longest header" },
	{ .name = "max_connections",
	  .kind = CONFIG_UINT,
	  MEMBER(struct listener_config, max_connections),
	  .max = 1000000,
	  .fallback = 0,
	  .help = "at once; 0: what the file-descriptor limit allows" },
	{ .name = "max_connections_per_client",
	  .kind = CONFIG_UINT,
	  MEMBER(struct listener_config, max_connections_per_client),
	  .max = 1000000,
	  .fallback = 0,
	  .help = "at once, of one effective client; 0: no limit" },
	{ .name = "connection_rate_per_client",
	  .kind = CONFIG_OWN,
	  .read = config_read_rate,
	  .form = "an object such as {\"per_second\": 10, \"burst\": 50}",
	  .help = "new connections of one effective client" },
	{ .name = "max_tracked_clients",
	  .kind = CONFIG_UINT,
	  MEMBER(struct listener_config, max_tracked_clients),
	  .min = 1024,
	  .max = 10000000,
	  .fallback = 65536,
	  .help = "how many clients the two limits remember" },
	{ .name = "clients",
	  .kind = CONFIG_OBJECT,
	  .table = &clients_table,
	  .form = "an object with the lists \"allow\", \"deny\" or \"vpc_endpoints\"",
	  .help = "which effective clients are served" },
	{ .name = "transparent",
	  .kind = CONFIG_BOOL,
	  MEMBER(struct listener_config, transparent),
	  .fallback = false,
	  .help = "bind the upstream socket to the effective client's address and port" },
	{ .name = "allow_loopback_clients",
	  .kind = CONFIG_BOOL,
	  MEMBER(struct listener_config, allow_loopback_clients),
	  .fallback = false,
	  .help = "accept sources in 127.0.0.0/8 and ::1, which an application may trust" },
	{ .name = "send_proxy",
	  .kind = CONFIG_CHOICE,
	  MEMBER(struct listener_config, send_proxy),
	  .choices = send_proxy_choices,
	  .fallback = CONFIG_SEND_OFF,
	  .help = "write a fresh header to the upstream" },
	{ .name = "upstream_check",
	  .kind = CONFIG_OBJECT,
	  .table = &upstream_check_table,
	  .form = "an object such as {\"interval_ms\": 5000}; 0 turns the check off",
	  .help = "whether the upstream accepts connections" },
};

const struct config_table config_listener_table = { "listeners[]", listener_keys,
						    ARRAY_SIZE(listener_keys) };

static const struct config_key pair_keys[] = {
	{ .name = "ipv4",
	  .kind = CONFIG_OWN,
	  .read = config_read_upstream_ipv4,
	  .form = "\"ADDRESS:PORT\", \"HOST:PORT\" or \"unix:/path\"",
	  .required = true,
	  .help = "for clients with an IPv4 address" },
	{ .name = "ipv6",
	  .kind = CONFIG_OWN,
	  .read = config_read_upstream_ipv6,
	  .form = "\"[ADDRESS]:PORT\", \"HOST:PORT\" or \"unix:/path\"",
	  .required = true,
	  .help = "for clients with an IPv6 address" },
};

const struct config_table config_pair_table = { "listeners[].upstream", pair_keys,
						ARRAY_SIZE(pair_keys) };

static const struct config_key list_file_keys[] = {
	{ .name = "file",
	  .kind = CONFIG_TEXT,
	  MEMBER(struct config_list_file, file),
	  .max = PATH_SIZE_MAX,
	  .form = "a path",
	  .required = true,
	  .help = "a JSON file that holds an array of networks" },
};

const struct config_table config_list_file_table = { "proxy_lists.NAME", list_file_keys,
						     ARRAY_SIZE(list_file_keys) };

static const struct config_key root_keys[] = {
	{ .name = "workers",
	  .kind = CONFIG_UINT,
	  MEMBER(struct config, workers),
	  .min = 1,
	  .max = CONFIG_WORKERS_MAX,
	  .zero = "auto",
	  .fallback = 0,
	  .help = "event-loop threads; auto: the CPUs this process may use" },
	/* before listeners, which refer to them */
	{ .name = "proxy_lists",
	  .kind = CONFIG_OWN,
	  .read = config_read_proxy_lists,
	  .form = "an object: names, each with an array of networks or {\"file\": \"nlb.json\"}",
	  .fallback_text = "{}",
	  .help = "named lists for trusted_proxies and clients" },
	{ .name = "listeners",
	  .kind = CONFIG_OWN,
	  .read = config_read_listeners,
	  .form = "an array of objects",
	  .required = true,
	  .help = "what to accept and where to relay it" },
	{ .name = "user",
	  .kind = CONFIG_TEXT,
	  MEMBER(struct config, user),
	  .max = USER_NAME_MAX,
	  .fallback_text = "nobody",
	  .form = "the name or the number of a user, in quotes",
	  .help = "whom to become when started as root; root: stay" },
	{ .name = "transparent_routing",
	  .kind = CONFIG_OBJECT,
	  .table = &routing_table,
	  .form = "an object",
	  .help = "mark and table of `unproxy routes`" },
	/* behind listeners, whose places are taken */
	{ .name = "admin",
	  .kind = CONFIG_OBJECT,
	  .table = &admin_table,
	  .form = "an object such as {\"listen\": \"127.0.0.1:9464\"}",
	  .help = "metrics and health" },
	{ .name = "watch",
	  .kind = CONFIG_BOOL,
	  MEMBER(struct config, watch),
	  .fallback = false,
	  .help = "reload when the configuration or a list file changes" },
	{ .name = "log",
	  .kind = CONFIG_OBJECT,
	  .table = &log_table,
	  .form = "an object",
	  .help = "what is logged, how and where to" },
	{ .name = "shutdown_timeout_ms",
	  .kind = CONFIG_UINT,
	  MEMBER(struct config, shutdown_timeout_ms),
	  .max = 3600000,
	  .fallback = 30000,
	  .help = "how long SIGTERM lets connections finish" },
};

const struct config_table config_root_table = { "", root_keys, ARRAY_SIZE(root_keys) };

/* A key that is in several belongs in the first. */
static const struct config_table *const all_tables[] = {
	&config_root_table, &log_table,         &routing_table,        &config_listener_table,
	&clients_table,     &config_rate_table, &upstream_check_table, &admin_table,
};

const struct config_key *config_key_find(const struct config_table *t, const char *name)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->keys[i].name, name) == 0)
			return &t->keys[i];
	return NULL;
}

/* How far is what was typed from @known? A part of a name ("timeout") is as near as a slip. */
static unsigned typing_distance(const char *typed, const char *known)
{
	if (strlen(typed) >= 3 && strstr(known, typed) != NULL)
		return 1;
	return edit_distance(typed, known);
}

static const struct config_key *nearest(const struct config_table *t, const char *name)
{
	const struct config_key *best = NULL;
	unsigned least = (unsigned)strlen(name) / 2 + 1; /* farther is a guess */

	for (size_t i = 0; i < t->count; i++) {
		unsigned distance = typing_distance(name, t->keys[i].name);

		if (distance < least) {
			least = distance;
			best = &t->keys[i];
		}
	}
	return best;
}

void config_key_suggest(const struct config_table *t, const char *name, struct strbuf *out)
{
	const struct config_key *near = nearest(t, name);

	for (size_t i = 0; i < ARRAY_SIZE(all_tables); i++) {
		if (config_key_find(all_tables[i], name) == NULL)
			continue;
		if (all_tables[i]->path[0] == '\0')
			strbuf_puts(out, "it belongs outside, beside \"listeners\"");
		else
			strbuf_printf(out, "it belongs in \"%s\"", all_tables[i]->path);
		return;
	}
	if (near != NULL) {
		strbuf_printf(out, "did you mean \"%s\"?", near->name);
		return;
	}
	strbuf_puts(out, "the keys here are ");
	for (size_t i = 0; i < t->count; i++)
		strbuf_printf(out, "%s\"%s\"", i > 0 ? ", " : "", t->keys[i].name);
}

static void describe_choices(const char *const *choices, struct strbuf *out)
{
	for (size_t i = 0; choices[i] != NULL; i++) {
		if (i > 0)
			strbuf_puts(out, choices[i + 1] != NULL ? ", " : " or ");
		strbuf_printf(out, "\"%s\"", choices[i]);
	}
}

void config_key_describe(const struct config_key *key, struct strbuf *out)
{
	if (key->form != NULL) {
		strbuf_puts(out, key->form);
		return;
	}
	switch (key->kind) {
	case CONFIG_UINT:
		if (key->zero != NULL)
			strbuf_printf(out, "\"%s\" or ", key->zero);
		strbuf_printf(out, "a whole number from %u to %u", key->min, key->max);
		break;
	case CONFIG_BOOL:
		strbuf_puts(out, "true or false");
		break;
	case CONFIG_CHOICE:
		describe_choices(key->choices, out);
		break;
	case CONFIG_TEXT:
		strbuf_printf(out, "a string of 1 to %u bytes", key->max);
		break;
	case CONFIG_OBJECT:
	case CONFIG_OWN:
		break;
	}
}

/* As JSON, or nothing where there is none. */
static void add_default(const struct config_key *key, struct strbuf *out)
{
	if (key->required)
		return;
	if (key->fallback_text != NULL)
		strbuf_printf(out, key->kind == CONFIG_TEXT ? "\"%s\"" : "%s", key->fallback_text);
	else if (key->kind == CONFIG_CHOICE)
		strbuf_printf(out, "\"%s\"", key->choices[key->fallback]);
	else if (key->kind == CONFIG_BOOL)
		strbuf_puts(out, key->fallback ? "true" : "false");
	else if (key->zero != NULL)
		strbuf_printf(out, "\"%s\"", key->zero);
	else if (key->kind == CONFIG_UINT)
		strbuf_printf(out, "%u", key->fallback);
}

static void list_key(const struct config_table *t, const struct config_key *key, struct strbuf *out)
{
	strbuf_printf(out, "%s%s%s\t", t->path, t->path[0] != '\0' ? "." : "", key->name);
	add_default(key, out);
	strbuf_putc(out, '\t');
	config_key_describe(key, out);
	strbuf_printf(out, "\t%s\n", key->help);
}

void config_keys_list(struct strbuf *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_tables); i++)
		for (size_t j = 0; j < all_tables[i]->count; j++)
			if (all_tables[i]->keys[j].kind != CONFIG_OBJECT)
				list_key(all_tables[i], &all_tables[i]->keys[j], out);
}
