/* SPDX-License-Identifier: MIT */
/* Where the configuration comes from: exactly one of -c FILE, UNPROXY_CONFIG, or the flags. */
#ifndef CONFIG_SOURCE_H
#define CONFIG_SOURCE_H

#include <getopt.h>

struct config;

/* Parse the options that `run` and `check` share (-c FILE, --listen, --upstream, --trust,
 * --transparent), and load. Returns COMMAND_OK with @ret set (the caller holds a reference), or the exit
 * status after printing why. COMMAND_OK with @ret NULL: --help was printed, nothing is left to do. */
int config_source_load(int argc, char **argv, struct config **ret);

/* The same for a command with more options: @more ends with a zeroed entry, and each sets its `flag`. */
int config_source_load_more(int argc, char **argv, const struct option *more, struct config **ret);

/* For a command that can do without: from @file (of -c; NULL: not given) or UNPROXY_CONFIG. COMMAND_OK with @ret NULL:
 * there is neither. */
int config_source_load_optional(const char *command, const char *file, struct config **ret);

#endif
