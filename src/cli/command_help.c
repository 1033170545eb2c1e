/* SPDX-License-Identifier: MIT */
/* `unproxy help`: what every command is for and takes. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "cli/command.h"

static const char overview[] =
    "unproxy " UNPROXY_VERSION " takes the PROXY protocol header off connections from your load\n"
    "balancers, and relays the rest to an application that does not speak it.\n"
    "\n"
    "Usage: unproxy COMMAND [options]\n"
    "\n"
    "  run     accept connections, check and remove the header, relay the rest\n"
    "  check   validate a configuration and say what would run\n"
    "  routes  set up what transparent mode needs of the kernel, or look at it\n"
    "  health  ask a running unproxy whether it is alive, or ready\n"
    "  send    connect, send a header, then stdin to socket and socket to stdout\n"
    "  parse   decode one header from a file or stdin, print it as JSON\n"
    "  demo    try it: an application behind a listener, one round trip explained\n"
    "  help    this text, or \"unproxy help COMMAND\"\n"
    "\n"
    "  -c FILE      alone means \"run -c FILE\"\n"
    "  -h, --help   this text\n"
    "  --version    the version\n"
    "\n"
    "Exit status: 0 done; 1 could not do it; 2 usage or invalid configuration.\n";

#define CONFIGURATION_HELP                                                                 \
	"The configuration comes from exactly one of:\n"                                   \
	"\n"                                                                               \
	"  -c FILE           a JSON file; \"-\" is stdin\n"                                \
	"  UNPROXY_CONFIG    an environment variable with the JSON itself\n"               \
	"  --listen ADDR     0.0.0.0:5432, [::]:5432 (takes IPv4 too) or unix:/path\n"     \
	"  --upstream ADDR   the application: 127.0.0.1:5433, db.local:5432, unix:/path\n" \
	"  --trust CIDRS     who may send a header: 10.0.0.0/16, or several with commas\n" \
	"  --transparent     connect from the client's address; needs \"unproxy routes up\"\n"

static const char run_text[] =
    "Usage: unproxy run -c FILE\n"
    "       unproxy run --listen ADDR --upstream ADDR --trust CIDR[,CIDR...]\n"
    "\n"
    "Accept connections from trusted load balancers, remove the PROXY header (v1 or\n"
    "v2) and relay the rest to the application, byte for byte, both ways.\n"
    "\n" CONFIGURATION_HELP "\n"
    "The flags make one listener with defaults for the rest; --upstream, --listen\n"
    "and --trust are needed together.\n"
    "\n"
    "SIGTERM, SIGINT   stop accepting, let connections finish, exit 0; again: at once\n"
    "SIGUSR1           open the log file again, after it was rotated\n";

static const char check_text[] =
    "Usage: unproxy check -c FILE\n"
    "       unproxy check --listen ADDR --upstream ADDR --trust CIDR[,CIDR...]\n"
    "\n"
    "Validate the configuration, say what would run, and try its ports, upstreams and\n"
    "log. Nothing is opened to clients.\n"
    "\n" CONFIGURATION_HELP "\n"
    "  --no-probe        validate only, and try nothing on this machine\n"
    "\n"
    "Exit status: 0 it would run; 1 it would not; 2 the configuration is invalid.\n";

static const char routes_text[] =
    "Usage: unproxy routes up | down | status [-c FILE] [--dry-run]\n"
    "\n"
    "Transparent mode connects to the application from the client's address. This\n"
    "brings the replies back: a rule and a route, for IPv4 and IPv6, and sysctls, in\n"
    "the network namespace it runs in. They are gone after a reboot.\n"
    "\n"
    "  up        add what is missing, by netlink and /proc/sys; needs CAP_NET_ADMIN\n"
    "  down      remove the rules and routes that \"up\" made; sysctls stay, for nobody\n"
    "            knows who else needs them\n"
    "  status    say what is there, and which command adds what is not\n"
    "\n"
    "  -c FILE      take mark and table from \"transparent_routing\" in it, or in\n"
    "               UNPROXY_CONFIG; without a configuration both are 7700\n"
    "  --dry-run    change nothing, and print all that \"up\" or \"down\" does as\n"
    "               commands for a shell\n"
    "\n"
    "All may be repeated. Rules and routes of others are left alone; ours have\n"
    "protocol 77.\n"
    "\n"
    "Exit status: 0 done, or all is there; 1 something failed or is missing; 2 usage,\n"
    "or the configuration is invalid.\n";

static const char health_text[] =
    "Usage: unproxy health [--ready] [-c FILE | HOST:PORT | unix:/path]\n"
    "\n"
    "Ask a running unproxy at its admin address, \"admin.listen\" of the configuration,\n"
    "for /healthz. Prints nothing if all is well, and otherwise what it answered.\n"
    "\n"
    "  -c FILE           take the address from FILE; without -c and an address, from\n"
    "                    UNPROXY_CONFIG\n"
    "  --ready           ask for /readyz: does it accept connections, and do its\n"
    "                    applications?\n"
    "  --timeout-ms N    give up after that time, 1 to 600000 (default: 2000)\n"
    "\n"
    "Exit status: 0 healthy; 1 not, or no answer; 2 usage, or the configuration is\n"
    "invalid.\n";

static const char send_text[] =
    "Usage: unproxy send [options] HOST:PORT | unix:/path\n"
    "\n"
    "Connect, send a PROXY header, then stdin to the socket and the socket to stdout.\n"
    "At the end of stdin the sending side is closed; the command ends when the peer\n"
    "closes.\n"
    "\n"
    "  --v1, --v2         version of the header; v2 is the default\n"
    "  --src ADDR:PORT    source, the client (default: our end of the connection)\n"
    "  --dst ADDR:PORT    destination (default: the other end of the connection)\n"
    "  --local            command LOCAL: no addresses, as in a health check (v2)\n"
    "  --unknown          \"PROXY UNKNOWN\" in v1, family UNSPEC in v2: no addresses\n"
    "\n"
    "TLVs, in v2 only:\n"
    "\n"
    "  --alpn PROTOCOL    such as h2\n"
    "  --authority NAME   the host name that the client asked for\n"
    "  --unique-id HEX    up to 128 bytes\n"
    "  --vpce ID          AWS endpoint id, such as vpce-08d2bf15fac5001c9\n"
    "  --tlv TYPE=HEX     any other, such as 0xea=01ff; may be given several times\n"
    "  --crc32c           a checksum over the header\n"
    "\n"
    "Exit status: 0 the peer closed in order; 1 it could not be reached, or reset the\n"
    "connection; 2 usage.\n"
    "\n"
    "  printf 'GET / HTTP/1.0\\r\\n\\r\\n' |\n"
    "      unproxy send --src 203.0.113.7:40312 127.0.0.1:8080\n";

static const char parse_text[] =
    "Usage: unproxy parse [--hex] [FILE]\n"
    "\n"
    "Decode one PROXY header (v1 or v2) at the start of FILE, or of stdin, and print\n"
    "it as JSON.\n"
    "\n"
    "  --hex   the input is hex digits, with any white space between them\n"
    "\n"
    "Exit status: 0 a valid header; 1 none, or it could not be read; 2 usage.\n";

static const char demo_text[] =
    "Usage: unproxy demo [--listen ADDR] [--once]\n"
    "\n"
    "Start a small HTTP application and an unproxy listener in front of it, send a\n"
    "request with a PROXY header through both and explain every step. Then keep\n"
    "serving, for experiments with curl, until Ctrl-C.\n"
    "\n"
    "  --listen ADDR   where the listener accepts (default: a free port of 127.0.0.1)\n"
    "  --once          exit after the round trip; 0 if the answer was right, 1 if not\n"
    "\n"
    "Only peers on this machine (127.0.0.0/8, ::1) are trusted.\n";

static const char help_text[] = "Usage: unproxy help [COMMAND]\n"
				"\n"
				"Say what a command does and takes; without one, list them.\n";

static const struct {
	const char *command;
	const char *text;
} texts[] = {
	{ "run", run_text },       { "check", check_text }, { "routes", routes_text },
	{ "health", health_text }, { "send", send_text },   { "parse", parse_text },
	{ "demo", demo_text },     { "help", help_text },
};

static const char *find_text(const char *command)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (strcmp(texts[i].command, command) == 0)
			return texts[i].text;
	return NULL;
}

void command_help_print(const char *command)
{
	const char *text = command != NULL ? find_text(command) : overview;

	assert(text != NULL);
	fputs(text, stdout);
}

int command_usage_error(const char *command, const char *format, ...)
{
	va_list args;

	fputs("unproxy", stderr);
	if (command != NULL)
		fprintf(stderr, " %s", command);
	fputs(": ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nSee \"unproxy help%s%s\".\n", command != NULL ? " " : "",
		command != NULL ? command : "");
	return COMMAND_USAGE;
}

int command_option_error(const char *command, int option, char **argv)
{
	char letter[] = { '-', (char)optopt, '\0' };
	const char *written = argv[optind - 1];

	if (strncmp(written, "--", 2) != 0) /* one of several letters, perhaps */
		written = letter;
	if (option == ':')
		return command_usage_error(command, "%s needs a value", written);
	return command_usage_error(command, "unknown option %s", written);
}

int command_help(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : NULL;

	if (argc > 2)
		return command_usage_error("help", "one command at a time");
	if (command != NULL && find_text(command) == NULL)
		return command_usage_error("help", "there is no command \"%s\"", command);
	command_help_print(command);
	return COMMAND_OK;
}
