/* SPDX-License-Identifier: MIT */
#include "cli/config_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bug.h"
#include "cli/command.h"

#define ENVIRONMENT "UNPROXY_CONFIG"

enum { /* of getopt_long(3), beside the letters */
	OPTION_LISTEN = 256,
	OPTION_UPSTREAM,
	OPTION_TRUST,
	OPTION_TRANSPARENT,
};

static const struct option shared_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "listen", required_argument, NULL, OPTION_LISTEN },
	{ "upstream", required_argument, NULL, OPTION_UPSTREAM },
	{ "trust", required_argument, NULL, OPTION_TRUST },
	{ "transparent", no_argument, NULL, OPTION_TRANSPARENT },
	{ "help", no_argument, NULL, 'h' },
};

#define OPTIONS_MAX 16

/* Each value once. */
static int set_once(const struct config_source *s, const char **member, const char *name)
{
	if (*member != NULL)
		return command_usage_error(s->command, "%s is given twice", name);
	*member = optarg;
	return COMMAND_OK;
}

/* The option that getopt_long(3) complains about, as it was written. */
static const char *written_option(char **argv, char letter[static 3])
{
	if (strncmp(argv[optind - 1], "--", 2) == 0)
		return argv[optind - 1];
	snprintf(letter, 3, "-%c", optopt);
	return letter;
}

static int take_option(struct config_source *s, int option, char **argv)
{
	char letter[3];

	switch (option) {
	case 'c':
		return set_once(s, &s->file, "-c");
	case OPTION_LISTEN:
		s->a_flag = "--listen";
		return set_once(s, &s->flags.listen, "--listen");
	case OPTION_UPSTREAM:
		s->a_flag = "--upstream";
		return set_once(s, &s->flags.upstream, "--upstream");
	case OPTION_TRUST:
		s->a_flag = "--trust";
		return set_once(s, &s->flags.trust, "--trust (separate networks by commas)");
	case OPTION_TRANSPARENT:
		s->a_flag = "--transparent";
		s->flags.transparent = true;
		return COMMAND_OK;
	case 'h':
		s->help = true;
		return COMMAND_OK;
	case 0: /* an option of the command's own */
		return COMMAND_OK;
	case ':':
		return command_usage_error(s->command, "%s needs a value",
					   written_option(argv, letter));
	default:
		return command_usage_error(s->command, "unknown option %s",
					   written_option(argv, letter));
	}
}

static int parse_options(int argc, char **argv, const struct option *more, struct config_source *s)
{
	struct option options[OPTIONS_MAX] = { { 0 } };
	size_t count = ARRAY_SIZE(shared_options);
	int option;

	memcpy(options, shared_options, sizeof shared_options);
	for (; more != NULL && more->name != NULL; more++) {
		assert(count < OPTIONS_MAX - 1);
		options[count++] = *more;
	}
	opterr = 0; /* we say it ourselves */
	optind = 0; /* start over, whoever used getopt before */
	while (!s->help && (option = getopt_long(argc, argv, "+:c:h", options, NULL)) != -1) {
		int rv = take_option(s, option, argv);

		if (rv != COMMAND_OK)
			return rv;
	}
	if (!s->help && optind < argc)
		return command_usage_error(s->command,
					   "unexpected argument \"%s\"; a file is named by -c FILE",
					   argv[optind]);
	return COMMAND_OK;
}

/* Exactly one of the three may be there. */
static int check_sources(const struct config_source *s)
{
	const char *given[3];
	size_t count = 0;

	if (s->file != NULL)
		given[count++] = "-c";
	if (s->environment != NULL)
		given[count++] = "the environment variable " ENVIRONMENT;
	if (s->a_flag != NULL)
		given[count++] = s->a_flag;
	if (count == 0)
		return command_usage_error(
		    s->command, "there is no configuration; give -c FILE, or --listen ADDR "
				"--upstream ADDR --trust CIDR, or set " ENVIRONMENT " to the JSON");
	if (count > 1)
		return command_usage_error(s->command,
					   "the configuration comes from one place, but %s and %s "
					   "are both given; drop one",
					   given[0], given[1]);
	return COMMAND_OK;
}

static int load(const struct config_source *s, struct config **ret, struct config_error *reterr)
{
	if (s->file != NULL)
		return config_load_file(s->file, ret, reterr);
	if (s->environment != NULL)
		return config_load_text(ENVIRONMENT, ".", s->environment, strlen(s->environment),
					ret, reterr);
	return config_load_flags(&s->flags, ret, reterr);
}

/* Empty is how some orchestrators unset it. */
static const char *find_environment(void)
{
	const char *environment = getenv(ENVIRONMENT);

	return environment != NULL && environment[0] != '\0' ? environment : NULL;
}

int config_source_parse(int argc, char **argv, const struct option *more, struct config_source *ret)
{
	struct config_source s = { .command = argv[0], .environment = find_environment() };
	int rv = parse_options(argc, argv, more, &s);

	if (rv == COMMAND_OK && s.help)
		command_help_print(s.command);
	else if (rv == COMMAND_OK)
		rv = check_sources(&s);
	*ret = s;
	return rv;
}

int config_source_load(const struct config_source *s, struct config **ret)
{
	struct config_error error;
	int rv = load(s, ret, &error);

	if (rv == 0)
		return COMMAND_OK;
	fprintf(stderr, "unproxy: %s\n", error.text);
	return rv == -EINVAL ? COMMAND_USAGE : COMMAND_FAILED;
}

/* To open a pipe may take for ever, and to read from it, too. */
const char *config_source_stream(const struct config_source *s)
{
	struct stat st;

	if (s->file == NULL)
		return NULL;
	if (strcmp(s->file, "-") == 0)
		return "standard input";
	return stat(s->file, &st) == 0 && S_ISFIFO(st.st_mode) ? "a pipe" : NULL;
}

int config_source_load_again(const struct config_source *s, struct config **ret,
			     struct config_error *reterr)
{
	const char *stream = config_source_stream(s);

	if (stream == NULL)
		return load(s, ret, reterr);
	snprintf(reterr->text, sizeof reterr->text,
		 "the configuration came from %s, which cannot be read again; give it as -c FILE "
		 "to reload it",
		 stream);
	return -EINVAL;
}

int config_source_load_optional(const char *command, const char *file, struct config **ret)
{
	const struct config_source s = {
		.command = command,
		.file = file,
		.environment = find_environment(),
	};
	int rv;

	*ret = NULL;
	if (s.file == NULL && s.environment == NULL)
		return COMMAND_OK;
	rv = check_sources(&s);
	return rv == COMMAND_OK ? config_source_load(&s, ret) : rv;
}
