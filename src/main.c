/* SPDX-License-Identifier: MIT */
/* unproxy COMMAND …: find the command and let it do the rest. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/edit_distance.h"
#include "cli/command.h"

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
	{ "run", command_run },       { "check", command_check }, { "routes", command_routes },
	{ "health", command_health }, { "send", command_send },   { "parse", command_parse },
	{ "demo", command_demo },     { "help", command_help },
};

/* More slips than this are another word. */
#define SLIPS_MAX 2

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	const char *nearest = NULL;
	unsigned least = SLIPS_MAX + 1;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		unsigned distance = edit_distance(name, commands[i].name);

		if (distance < least) {
			least = distance;
			nearest = commands[i].name;
		}
	}
	if (nearest != NULL)
		return command_usage_error(NULL, "unknown command \"%s\"; did you mean \"%s\"?",
					   name, nearest);
	return command_usage_error(NULL, "unknown command \"%s\"", name);
}

/* Whoever starts us without stdin, stdout or stderr must not find their numbers, and so our messages, on
 * a connection. */
static int open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	return fd < 0 ? -1 : close(fd);
}

int main(int argc, char **argv)
{
	static char run[] = "run";
	const struct command *command;

	if (open_standard_descriptors() != 0)
		return COMMAND_FAILED;
	if (argc < 2)
		return command_usage_error(NULL, "which command?");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		command_help_print(NULL);
		return COMMAND_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("unproxy " UNPROXY_VERSION);
		return COMMAND_OK;
	}
	if (strncmp(argv[1], "-c", 2) == 0) { /* unproxy -c FILE */
		argv[0] = run;
		return command_run(argc, argv);
	}
	if (argv[1][0] == '-')
		return command_usage_error(
		    NULL, "unknown option %s; options stand behind a command", argv[1]);
	command = find(argv[1]);
	if (command == NULL)
		return unknown_command(argv[1]);
	return command->run(argc - 1, argv + 1);
}
