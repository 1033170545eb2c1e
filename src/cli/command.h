/* SPDX-License-Identifier: MIT */
/* The commands of the command line (contract: "Command line"). */
#ifndef COMMAND_H
#define COMMAND_H

/* Exit statuses */
enum {
	COMMAND_OK = 0,
	COMMAND_FAILED = 1, /* could not do it: port in use, upstream unreachable, … */
	COMMAND_USAGE = 2,  /* usage, or an invalid configuration */
};

/* Each takes its own arguments, argv[0] being the command's name, and returns an exit status.
 * Errors went to stderr. */
int command_run(int argc, char **argv);
int command_check(int argc, char **argv);
int command_routes(int argc, char **argv);
int command_health(int argc, char **argv);
int command_send(int argc, char **argv);
int command_parse(int argc, char **argv);
int command_demo(int argc, char **argv);
int command_help(int argc, char **argv);

/* Print the help of one command ("run"), or the overview for NULL, to stdout. */
void command_help_print(const char *command);

/* A mistake in the arguments: prints "unproxy COMMAND: MESSAGE" and where to find help.
 * Returns COMMAND_USAGE. */
int command_usage_error(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for what getopt_long(3) complains about: @option is its ':' (a value is missing) or '?'. */
int command_option_error(const char *command, int option, char **argv);

#endif
