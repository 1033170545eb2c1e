/* SPDX-License-Identifier: MIT */
/* Where the configuration comes from: exactly one of -c FILE, UNPROXY_CONFIG, or the flags. */
#ifndef CONFIG_SOURCE_H
#define CONFIG_SOURCE_H

#include <stdbool.h>

#include <getopt.h>

#include "base/bug.h"
#include "conf/config_load.h"

struct config;

/* What names it; all borrowed from the command line and the environment. */
struct config_source {
	const char *command;
	const char *file; /* of -c; NULL: not given */
	struct config_flags flags;
	const char *a_flag;      /* one of those that were given, for messages; NULL: none was */
	const char *environment; /* UNPROXY_CONFIG; NULL: not set */
	bool help;               /* --help was given, and printed */
};

/* Parse the options that `run` and `check` share (-c FILE, --listen, --upstream, --trust, --transparent), and @more,
 * which ends with a zeroed entry and of which each sets its `flag` (NULL: there are no more). Returns COMMAND_OK, or
 * the exit status after printing why. */
int config_source_parse(int argc, char **argv, const struct option *more,
			struct config_source *ret);

/* Load. Returns COMMAND_OK with a reference in @ret, or the exit status after printing why. */
int config_source_load(const struct config_source *s, struct config **ret);

/* What it comes from if that can be read only once, for people: "standard input" or "a pipe"; otherwise NULL. */
const char *config_source_stream(const struct config_source *s);

/* Load once more, while the program runs. Returns 0 with a reference in @ret, or a negative errno with *@reterr set. */
int config_source_load_again(const struct config_source *s, struct config **ret,
			     struct config_error *reterr) MUST_CHECK;

/* For a command that can do without: from @file (of -c; NULL: not given) or UNPROXY_CONFIG. COMMAND_OK with @ret NULL:
 * there is neither. */
int config_source_load_optional(const char *command, const char *file, struct config **ret);

#endif
