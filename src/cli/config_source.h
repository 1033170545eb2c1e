/* SPDX-License-Identifier: MIT */
/* Where the configuration comes from: exactly one of -c FILE, UNPROXY_CONFIG, or the flags. */
#ifndef CONFIG_SOURCE_H
#define CONFIG_SOURCE_H

struct config;

/* Parse the options that `run` and `check` share (-c FILE, --listen, --upstream, --trust,
 * --transparent), and load. Returns COMMAND_OK with @ret set (the caller holds a reference), or the exit
 * status after printing why. */
int config_source_load(int argc, char **argv, struct config **ret);

#endif
