/* SPDX-License-Identifier: MIT */
/* `unproxy health`: ask a running unproxy how it is. For whoever has no HTTP client: HEALTHCHECK, exec probes.
 *
 * Happy path: connect to the address that is given, or to `admin.listen`; ask, read to the end; the status is 200.
 *
 * What can go wrong:
 * - Nobody is there, or somebody else: say so.
 * - The status is another one: the body says why, so print it.
 * - Anything takes too long: a timer ends the process, for nothing else interrupts looking up a name. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/bug.h"
#include "cli/command.h"
#include "cli/config_source.h"
#include "cli/endpoint_connect.h"
#include "conf/config.h"

#define TIMEOUT_DEFAULT_MS 2000
#define TIMEOUT_MAX_MS     600000

/* What of an answer is looked at [bytes] */
#define ANSWER_MAX 65536

#define STATUS_HEALTHY 200
#define STATUS_NOT     503 /* the page's own "no" */

/* What the command line says. */
struct health {
	const char *file;    /* of -c, or NULL */
	const char *address; /* or NULL */
	const char *page;
	unsigned timeout_ms;
	bool help;
};

/* --- the deadline --- */

/* Written ahead: a signal's handler may do little. */
static char late_text[512];

static void on_deadline(int number)
{
	ssize_t written = write(STDERR_FILENO, late_text, strlen(late_text));

	(void)number;
	(void)written; /* there is nobody else to tell */
	_exit(COMMAND_FAILED);
}

static void start_deadline(const char *address, unsigned timeout_ms)
{
	const struct itimerval timer = {
		.it_value = { timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000 },
	};
	sigset_t alarm;

	snprintf(
	    late_text, sizeof late_text,
	    "unproxy: %.300s: no answer within %u ms; see the log of what runs there, or raise "
	    "--timeout-ms\n",
	    address, timeout_ms);
	signal(SIGALRM, on_deadline);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &alarm, NULL); /* who started us may have blocked it */
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* --- the answer --- */

/* Of the first line, "HTTP/1.1 200 OK"; 0 if it is not HTTP. */
static int status_of(const char *answer)
{
	static const char form[] = "HTTP/1.# ###";
	const char *digits = answer + sizeof form - 4;

	for (size_t i = 0; form[i] != '\0'; i++)
		if (form[i] == '#' ? !isdigit((unsigned char)answer[i]) : answer[i] != form[i])
			return 0;
	return (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
}

static void print_body(const char *answer)
{
	static const char head_end[] = "\r\n\r\n";
	const char *body = strstr(answer, head_end);

	if (body == NULL || body[strlen(head_end)] == '\0')
		return;
	body += strlen(head_end);
	fputs(body, stdout);
	if (body[strlen(body) - 1] != '\n')
		putchar('\n');
	fflush(stdout); /* before the message, also in a pipe */
}

static int judge(const struct endpoint *e, const char *page, const char *answer)
{
	int status = status_of(answer);

	if (status == STATUS_HEALTHY)
		return COMMAND_OK;
	if (status == 0) {
		fprintf(stderr,
			"unproxy: %s: the answer is not HTTP; give the address of `admin.listen`\n",
			e->text);
		return COMMAND_FAILED;
	}
	print_body(answer);
	fprintf(stderr, "unproxy: %s: %s: status %d; %s\n", e->text, page, status,
		status == STATUS_NOT ? "the answer says why"
				     : "give the address of `admin.listen`");
	return COMMAND_FAILED;
}

/* --- asking --- */

/* Everything up to the end, or what came before the connection broke, as a string. Returns 0 or a negative errno. */
static int receive(int fd, char answer[static ANSWER_MAX])
{
	size_t used = 0;
	ssize_t n;

	do {
		n = recv(fd, answer + used, ANSWER_MAX - 1 - used, 0);
		if (n > 0)
			used += (size_t)n;
	} while (n > 0 && used < ANSWER_MAX - 1);
	answer[used] = '\0';
	return n < 0 && used == 0 ? -errno : 0;
}

static int ask(const struct endpoint *e, const char *page)
{
	static char answer[ANSWER_MAX];
	struct address peer;
	char request[128];
	int fd = endpoint_connect(e, &peer);
	int size, rv = 0;

	if (fd < 0)
		return COMMAND_FAILED;
	size =
	    snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", page);
	if (send(fd, request, (size_t)size, MSG_NOSIGNAL) < 0)
		rv = -errno;
	if (rv == 0)
		rv = receive(fd, answer);
	close(fd);
	if (rv == 0)
		return judge(e, page, answer);
	fprintf(stderr, "unproxy: %s: %s; give the address of `admin.listen`\n", e->text,
		strerror(-rv));
	return COMMAND_FAILED;
}

/* --- the command line --- */

/* What listens everywhere is asked at 127.0.0.1, [::] as well: it takes IPv4 too, and containers without IPv6 have
 * no ::1. */
static int parse_address(const char *text, struct endpoint *ret)
{
	char loopback[ADDRESS_TEXT_MAX];
	char why[ENDPOINT_ERROR_MAX];
	int rv = endpoint_parse(text, true, ret, why);

	if (rv == 0 && ret->kind == ENDPOINT_IP && address_is_unspecified(&ret->ip)) {
		snprintf(loopback, sizeof loopback, "127.0.0.1:%u", ret->ip.port);
		endpoint_fini(ret);
		rv = endpoint_parse(loopback, false, ret, why);
	}
	if (rv == -EINVAL)
		return command_usage_error("health", "\"%s\": %s", text, why);
	if (rv != 0)
		fprintf(stderr, "unproxy: %s\n", strerror(-rv));
	return rv == 0 ? COMMAND_OK : COMMAND_FAILED;
}

static int address_of_config(const char *file, struct endpoint *ret)
{
	struct config *config;
	int rv = config_source_load_optional("health", file, &config);

	if (rv != COMMAND_OK)
		return rv;
	if (config == NULL)
		return command_usage_error(
		    "health", "whom to ask? give HOST:PORT, or the configuration by -c FILE or in "
			      "UNPROXY_CONFIG");
	if (config->admin_listen.text == NULL)
		rv = command_usage_error("health",
					 "the configuration has no `admin.listen`; set it, "
					 "or give HOST:PORT");
	else
		rv = parse_address(config->admin_listen.text, ret);
	config_unref(config);
	return rv;
}

static int find_address(const struct health *h, struct endpoint *ret)
{
	if (h->address == NULL)
		return address_of_config(h->file, ret);
	if (h->file != NULL)
		return command_usage_error("health",
					   "the address comes from one place, but -c and "
					   "\"%s\" are both given; drop one",
					   h->address);
	return parse_address(h->address, ret);
}

static int parse_timeout(const char *text, unsigned *ret)
{
	unsigned long number = strtoul(text, NULL, 10);

	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0' || number == 0 ||
	    number > TIMEOUT_MAX_MS)
		return command_usage_error("health", "--timeout-ms \"%s\": 1 to %d", text,
					   TIMEOUT_MAX_MS);
	*ret = (unsigned)number;
	return COMMAND_OK;
}

static int parse_options(int argc, char **argv, struct health *h)
{
	enum {
		READY = 256,
		TIMEOUT
	};
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "ready", no_argument, NULL, READY },
		{ "timeout-ms", required_argument, NULL, TIMEOUT },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option, rv;

	opterr = 0; /* we say it ourselves */
	while (!h->help && (option = getopt_long(argc, argv, ":c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			if (h->file != NULL)
				return command_usage_error("health", "-c is given twice");
			h->file = optarg;
			break;
		case READY:
			h->page = "/readyz";
			break;
		case TIMEOUT:
			rv = parse_timeout(optarg, &h->timeout_ms);
			if (rv != COMMAND_OK)
				return rv;
			break;
		case 'h':
			h->help = true;
			break;
		default:
			return command_option_error("health", option, argv);
		}
	}
	if (argc - optind > 1)
		return command_usage_error("health", "unexpected argument \"%s\"",
					   argv[optind + 1]);
	h->address = argv[optind];
	return COMMAND_OK;
}

int command_health(int argc, char **argv)
{
	struct health h = { .page = "/healthz", .timeout_ms = TIMEOUT_DEFAULT_MS };
	struct endpoint e;
	int rv = parse_options(argc, argv, &h);

	if (rv != COMMAND_OK)
		return rv;
	if (h.help) {
		command_help_print("health");
		return COMMAND_OK;
	}
	rv = find_address(&h, &e);
	if (rv != COMMAND_OK)
		return rv;
	start_deadline(e.text, h.timeout_ms);
	rv = ask(&e, h.page);
	endpoint_fini(&e);
	return rv;
}
