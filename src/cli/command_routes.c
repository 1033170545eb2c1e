/* SPDX-License-Identifier: MIT */
/* unproxy routes up | down | status: what transparent mode needs of the kernel. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bug.h"
#include "base/capability.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/config_source.h"
#include "conf/config.h"
#include "route/route.h"

#define SHELL_COMMAND_MAX 128

struct routes {
	uint32_t mark;
	uint32_t table;
	bool dry_run;
};

typedef int (*routes_fn)(const struct routes *r);

/* One line of the account. */
static void say(enum route_part part, const char *format, ...) PRINTF_LIKE(2, 3);

static void say(enum route_part part, const char *format, ...)
{
	va_list args;

	printf("%-27s ", route_part_name(part));
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static const char *add_command(const struct routes *r, enum route_part part,
			       char text[static SHELL_COMMAND_MAX])
{
	struct strbuf s;

	strbuf_init(&s, text, SHELL_COMMAND_MAX);
	route_part_add_command(part, r->mark, r->table, &s);
	assert(!s.cut);
	return text;
}

static const char *remove_command(const struct routes *r, enum route_part part,
				  char text[static SHELL_COMMAND_MAX])
{
	struct strbuf s;

	strbuf_init(&s, text, SHELL_COMMAND_MAX);
	route_part_remove_command(part, r->mark, r->table, &s);
	assert(!s.cut);
	return text;
}

/* IPv6 as a whole gets one line. */
static void say_off(enum route_part part)
{
	if (part == ROUTE_IPV6_RULE)
		puts("IPv6                        skipped: IPv6 is off in this network namespace");
}

/* --- what went wrong --- */

/* Say why @part could not be set up, removed or looked up. */
static void explain(const struct routes *r, enum route_part part, const char *what, int error)
{
	fflush(stdout); /* in order, also in a pipe */
	fprintf(stderr, "unproxy: %s: cannot be %s: ", route_part_name(part), what);
	switch (error) {
	case 0:
		fputs("somebody else undid it meanwhile\n", stderr);
		break;
	case -EROFS:
		fputs("/proc/sys is read-only here\n", stderr);
		break;
	case -EEXIST:
		fprintf(stderr,
			"table %u has another default route; set transparent_routing.table to a "
			"table of its own\n",
			r->table);
		break;
	case -ENETDOWN:
		fputs("lo is down; ip link set lo up\n", stderr);
		break;
	case -EOPNOTSUPP:
	case -EAFNOSUPPORT:
		fputs("this kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES, "
		      "CONFIG_IPV6_MULTIPLE_TABLES)\n",
		      stderr);
		break;
	default:
		fprintf(stderr, "%s\n", strerror(-error));
		break;
	}
}

/* Is one of the errors this one? */
static bool has_error(const int errors[static ROUTE_PARTS], int error)
{
	for (enum route_part p = 0; p < ROUTE_PARTS; p++)
		if (errors[p] == error)
			return true;
	return false;
}

/* The sysctls that could not be written, each between @before and @after. */
static void list_read_only(const int errors[static ROUTE_PARTS], const char *before,
			   const char *after)
{
	const char *separator = "";

	for (enum route_part p = 0; p < ROUTE_PARTS; p++) {
		if (errors[p] == -EROFS) {
			fprintf(stderr, "%s%s%s%s", separator, before, route_part_name(p), after);
			separator = ", ";
		}
	}
}

/* What would help, once for all parts. */
static void explain_remedies(const int errors[static ROUTE_PARTS])
{
	if (has_error(errors, -EPERM) || has_error(errors, -EACCES))
		fputs("unproxy: this needs the capability NET_ADMIN:\n"
		      "  host        sudo\n"
		      "  docker run  --user 0 --cap-add NET_ADMIN\n"
		      "  compose     user: \"0\", cap_add: [NET_ADMIN]\n"
		      "  Kubernetes  an init container with securityContext: "
		      "{runAsUser: 0, capabilities: {add: [NET_ADMIN]}}\n",
		      stderr);
	if (!has_error(errors, -EROFS))
		return;
	fputs("unproxy: set the sysctls from outside, where the network namespace is made:\n"
	      "  docker run  --sysctl NAME=1, for each\n"
	      "  compose     sysctls: {",
	      stderr);
	list_read_only(errors, "", ": 1");
	fputs("}\n  Kubernetes  the pod's securityContext: {sysctls: [", stderr);
	list_read_only(errors, "{name: ", ", value: \"1\"}");
	fputs("]}\n              and the kubelet's --allowed-unsafe-sysctls; or a privileged init "
	      "container\n",
	      stderr);
}

/* --- up and down --- */

static bool is_there(enum route_state state)
{
	return state == ROUTE_PRESENT || state == ROUTE_OURS;
}

static void say_up(enum route_part part, enum route_state before)
{
	if (is_there(before))
		say(part, "present");
	else
		say(part, route_part_is_sysctl(part) ? "set to 1" : "added");
}

static void say_down(const struct routes *r, enum route_part part, enum route_state before)
{
	char command[SHELL_COMMAND_MAX];

	if (before == ROUTE_OURS)
		say(part, "removed");
	else if (before == ROUTE_MISSING)
		say(part, "not there");
	else if (route_part_is_sysctl(part))
		say(part, "left on, others may need it; off with: %s",
		    remove_command(r, part, command));
	else
		say(part, "left alone: not made by unproxy");
}

/* Do to each part what it needs, whatever becomes of the others. What counts is how things are afterwards: somebody
 * else may have been faster. */
static int change(const struct routes *r, bool up)
{
	const enum route_state wrong = up ? ROUTE_MISSING : ROUTE_OURS;
	struct route_status before, after;
	int errors[ROUTE_PARTS] = { 0 };
	bool failed = false;

	route_status(r->mark, r->table, &before);
	for (enum route_part p = 0; p < ROUTE_PARTS; p++)
		if (before.parts[p].state == wrong)
			errors[p] = up ? route_add(p, r->mark, r->table)
				       : route_remove(p, r->mark, r->table);
	route_status(r->mark, r->table, &after);
	for (enum route_part p = 0; p < ROUTE_PARTS; p++) {
		enum route_state state = after.parts[p].state;

		if (state == ROUTE_OFF) {
			say_off(p);
		} else if (state == ROUTE_UNKNOWN) {
			failed = true;
			explain(r, p, "looked up", after.parts[p].error);
		} else if (state == wrong) {
			failed = true;
			explain(r, p, up ? "set up" : "removed", errors[p]);
		} else if (up) {
			say_up(p, before.parts[p].state);
		} else {
			say_down(r, p, before.parts[p].state);
		}
	}
	if (failed)
		explain_remedies(errors);
	return failed ? COMMAND_FAILED : COMMAND_OK;
}

static int up(const struct routes *r)
{
	char command[SHELL_COMMAND_MAX];

	if (!r->dry_run)
		return change(r, true);
	for (enum route_part p = 0; p < ROUTE_PARTS; p++)
		puts(add_command(r, p, command));
	return COMMAND_OK;
}

static int down(const struct routes *r)
{
	char command[SHELL_COMMAND_MAX];

	if (!r->dry_run)
		return change(r, false);
	for (enum route_part p = 0; p < ROUTE_PARTS; p++)
		if (!route_part_is_sysctl(p))
			puts(remove_command(r, p, command));
		else
			printf("# left on, others may need it; off with: %s\n",
			       remove_command(r, p, command));
	return COMMAND_OK;
}

/* --- status --- */

static int status(const struct routes *r)
{
	char command[SHELL_COMMAND_MAX];
	struct route_status s;

	route_status(r->mark, r->table, &s);
	for (enum route_part p = 0; p < ROUTE_PARTS; p++) {
		switch (s.parts[p].state) {
		case ROUTE_UNKNOWN:
			explain(r, p, "looked up", s.parts[p].error);
			break;
		case ROUTE_MISSING:
			say(p, "missing; run: %s", add_command(r, p, command));
			break;
		case ROUTE_PRESENT:
		case ROUTE_OURS:
			say(p, "present");
			break;
		case ROUTE_OFF:
			say_off(p);
			break;
		}
	}
	if (route_status_is_complete(&s, AF_UNSPEC))
		return COMMAND_OK;
	fflush(stdout);
	fputs(
	    "unproxy: transparent mode would not work; \"unproxy routes up\" adds what is missing\n",
	    stderr);
	return COMMAND_FAILED;
}

/* --- the command line --- */

static routes_fn find_action(const char *name)
{
	static const struct {
		const char *name;
		routes_fn run;
	} actions[] = { { "up", up }, { "down", down }, { "status", status } };

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(actions[i].name, name) == 0)
			return actions[i].run;
	return NULL;
}

/* Mark and table of the configuration, if there is one. */
static int load(const char *file, struct routes *r)
{
	struct config *config;
	int rv = config_source_load_optional("routes", file, &config);

	if (config != NULL) {
		r->mark = config->transparent_mark;
		r->table = config->transparent_table;
	}
	config_unref(config);
	return rv;
}

int command_routes(int argc, char **argv)
{
	int dry_run = false; /* int is what getopt_long(3) stores */
	const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "dry-run", no_argument, &dry_run, true },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct routes r = { CONFIG_TRANSPARENT_MARK, CONFIG_TRANSPARENT_TABLE, false };
	const char *file = NULL;
	routes_fn action;
	int option, rv;

	capability_raise(CAPABILITY(CAP_NET_ADMIN)); /* the file may have it, as in setcap …+p */
	opterr = 0;                                  /* we say it ourselves */
	while ((option = getopt_long(argc, argv, ":c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			if (file != NULL)
				return command_usage_error("routes", "-c is given twice");
			file = optarg;
			break;
		case 0: /* --dry-run */
			break;
		case 'h':
			command_help_print("routes");
			return COMMAND_OK;
		default:
			return command_option_error("routes", option, argv);
		}
	}
	if (optind == argc)
		return command_usage_error("routes", "up, down or status?");
	action = find_action(argv[optind]);
	if (action == NULL)
		return command_usage_error("routes", "\"%s\" is not up, down or status",
					   argv[optind]);
	if (optind + 1 < argc)
		return command_usage_error("routes", "unexpected argument \"%s\"",
					   argv[optind + 1]);
	r.dry_run = dry_run;
	rv = load(file, &r);
	return rv == COMMAND_OK ? action(&r) : rv;
}
