/* SPDX-License-Identifier: MIT */
/* The load generator of the benchmark: one workload against one address on this machine.
 *
 * Prints one line of JSON: what was done between the end of the warm-up and the end of the run, and
 * the CPU time that the processes given by --pids spent in that time. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "load.h"

#define THREADS_MAX 64

static const char usage[] =
    "usage: bench_load --port PORT --workload short|trips|bulk|idle\n"
    "                  [--header none|v1|v2|v2-nlb] [--connections N] [--threads N]\n"
    "                  [--message BYTES] [--direction down|up|both]\n"
    "                  [--warmup N] [--measure N] [--pids PID,...]\n"
    "\n"
    "--warmup and --measure are connections for short, milliseconds for trips and bulk.\n"
    "short with --measure 0 lasts until stdin ends. Any error ends the program with status 1.\n"
    "idle prints \"ready\" once every connection has had a reply and lasts until stdin ends.\n";

struct thread {
	pthread_t id;
	unsigned index;
	struct load *load;
	struct histogram latencies;
};

_Noreturn static void usage_error(const char *what)
{
	fprintf(stderr, "bench_load: %s\n%s", what, usage);
	exit(2);
}

static unsigned long parse_number(const char *text, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < min || n > max)
		usage_error("a number is not one, or out of range");
	return n;
}

/* Which of @n @names @text is. */
static unsigned parse_name(const char *text, const char *const *names, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	usage_error(text);
}

static void parse_pids(struct load *l, char *text)
{
	for (char *pid = strtok(text, ","); pid != NULL; pid = strtok(NULL, ",")) {
		if (l->n_clocks == LOAD_CLOCKS_MAX)
			usage_error("too many processes");
		if (clock_getcpuclockid((pid_t)parse_number(pid, 1, INT32_MAX),
					&l->clocks[l->n_clocks++]) != 0)
			usage_error("--pids names a process that does not exist");
	}
}

static void parse_option(struct load *l, int option, char *value)
{
	static const char *const workloads[] = { "short", "trips", "bulk", "idle" };
	static const char *const headers[] = { "none", "v1", "v2", "v2-nlb" };
	static const char *const directions[] = { "down", "up", "both" };
	static const enum role roles[] = { ROLE_SOURCE, ROLE_SINK, ROLE_BOTH };

	switch (option) {
	case 'p':
		l->target.sin_port = htons((uint16_t)parse_number(value, 1, UINT16_MAX));
		break;
	case 'w':
		l->workload =
		    (enum load_workload)parse_name(value, workloads, ARRAY_SIZE(workloads));
		break;
	case 'h':
		l->header = (enum load_header)parse_name(value, headers, ARRAY_SIZE(headers));
		break;
	case 'c':
		l->connections = (unsigned)parse_number(value, 1, 1000000);
		break;
	case 't':
		l->threads = (unsigned)parse_number(value, 1, THREADS_MAX);
		break;
	case 'm':
		l->message = (unsigned)parse_number(value, 1, LOAD_MESSAGE_MAX);
		break;
	case 'd':
		l->role = roles[parse_name(value, directions, ARRAY_SIZE(directions))];
		break;
	case 'W':
		l->warmup = parse_number(value, 1, 100000000);
		break;
	case 'M':
		l->measure = parse_number(value, 0, 100000000);
		break;
	case 'P':
		parse_pids(l, value);
		break;
	default:
		usage_error("unknown option");
	}
}

static void parse_options(struct load *l, int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "workload", required_argument, NULL, 'w' },
		{ "header", required_argument, NULL, 'h' },
		{ "connections", required_argument, NULL, 'c' },
		{ "threads", required_argument, NULL, 't' },
		{ "message", required_argument, NULL, 'm' },
		{ "direction", required_argument, NULL, 'd' },
		{ "warmup", required_argument, NULL, 'W' },
		{ "measure", required_argument, NULL, 'M' },
		{ "pids", required_argument, NULL, 'P' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		parse_option(l, option, optarg);
	if (optind != argc || l->target.sin_port == 0)
		usage_error("--port is missing, or an argument is too many");
	if (l->threads > l->connections)
		usage_error("more threads than connections");
	if (l->measure == 0 && l->workload != LOAD_SHORT)
		usage_error("--measure 0 belongs to short");
	if ((l->workload == LOAD_BULK) == (l->role == ROLE_ECHO))
		usage_error("--direction belongs to bulk");
	if (l->workload != LOAD_SHORT) {
		l->warmup *= 1000000;
		l->measure *= 1000000;
	}
}

static void *run_thread(void *data)
{
	struct thread *t = data;

	load_worker_run(t->load, t->index, &t->latencies);
	return NULL;
}

static void wait_for_stdin(void)
{
	char byte;

	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
}

static void run_threads(struct load *l, struct thread *threads)
{
	l->began_at = load_now();
	for (unsigned i = 0; i < l->threads; i++) {
		threads[i].index = i;
		threads[i].load = l;
		if (pthread_create(&threads[i].id, NULL, run_thread, &threads[i]) != 0) {
			fprintf(stderr, "bench_load: cannot start a thread\n");
			exit(1);
		}
	}
	if (l->measure == 0) {
		wait_for_stdin();
		atomic_store(&l->stopping, true);
	}
	for (unsigned i = 0; i < l->threads; i++)
		pthread_join(threads[i].id, NULL);
	load_finish(l);
	for (unsigned i = 1; i < l->threads; i++)
		histogram_merge(&threads[0].latencies, &threads[i].latencies);
}

static void report(const struct load *l, const struct histogram *latencies)
{
	printf("{\"operations\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"seconds\": %.9f, "
	       "\"cpu_seconds\": %.9f, \"p50_us\": %.3f, \"p99_us\": %.3f}\n",
	       l->end.operations - l->begin.operations, l->end.bytes - l->begin.bytes,
	       (double)(l->end.at - l->begin.at) / 1e9, (double)(l->end.cpu - l->begin.cpu) / 1e9,
	       histogram_percentile(latencies, 0.50) / 1e3,
	       histogram_percentile(latencies, 0.99) / 1e3);
}

int main(int argc, char **argv)
{
	static struct load l = {
		.target = { .sin_family = AF_INET },
		.role = ROLE_ECHO,
		.connections = 1,
		.threads = 1,
		.message = 64,
		.warmup = 100,
		.measure = 1000,
	};
	struct thread *threads;

	l.target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	parse_options(&l, argc, argv);
	threads = calloc(l.threads, sizeof *threads);
	if (threads == NULL)
		return 1;
	run_threads(&l, threads);
	if (l.workload == LOAD_IDLE) {
		puts("ready");
		fflush(stdout);
		wait_for_stdin();
	} else {
		report(&l, &threads[0].latencies);
	}
	free(threads);
	return 0;
}
