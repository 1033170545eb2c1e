/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bug.h"
#include "base/cidr_set.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/config_print.h"
#include "cli/config_probe.h"
#include "cli/config_source.h"
#include "conf/config.h"
#include "conf/config_keys.h"
#include "server/privilege.h"

#define KEYS_TEXT_MAX 8192

/* For tests/checks/config_docs.py, so the help does not mention it. */
static int list_keys(void)
{
	char text[KEYS_TEXT_MAX];
	struct strbuf s;

	strbuf_init(&s, text, sizeof text);
	config_keys_list(&s);
	assert(!s.cut);
	fputs(text, stdout);
	return COMMAND_OK;
}

static void warn_of_open_trust(const struct config *c)
{
	static const struct {
		uint16_t family;
		const char *name;
	} families[] = { { AF_INET, "IPv4" }, { AF_INET6, "IPv6" } };

	for (size_t i = 0; i < c->listener_count; i++)
		for (size_t f = 0; f < ARRAY_SIZE(families); f++)
			if (cidr_set_is_open(c->listeners[i].trusted, families[f].family))
				fprintf(stderr,
					"unproxy: warning: listeners[%zu].trusted_proxies: every "
					"%s address is trusted, so anybody can pose as any client; "
					"list the networks of the load balancer\n",
					i, families[f].name);
}

int command_check(int argc, char **argv)
{
	int no_probe = false; /* int is what getopt_long(3) stores */
	const struct option options[] = {
		{ "no-probe", no_argument, &no_probe, true },
		{ 0 },
	};
	struct config_source source;
	struct config *config;
	unsigned problems = 0;
	int rv;

	if (argc == 2 && strcmp(argv[1], "--list-config-keys") == 0)
		return list_keys();
	rv = config_source_parse(argc, argv, options, &source);
	if (rv != COMMAND_OK || source.help)
		return rv;
	rv = config_source_load(&source, &config);
	if (rv != COMMAND_OK)
		return rv;
	config_print(config, stdout);
	fflush(stdout); /* the problems come behind it, also in a pipe */
	warn_of_open_trust(config);
	privilege_raise();
	if (!no_probe)
		problems = config_probe(config);
	config_unref(config);
	if (problems > 0)
		return COMMAND_FAILED;
	puts("configuration is valid");
	return COMMAND_OK;
}
