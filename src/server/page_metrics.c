/* SPDX-License-Identifier: MIT */
/* /metrics: a table of families, each with what writes its samples (contract: "Metrics"). */
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "obs/metrics.h"
#include "obs/metrics_text.h"
#include "obs/outcome.h"
#include "obs/process_stats.h"
#include "server/page.h"
#include "session/service.h"
#include "session/session.h"
#include "wire/proxy_header.h"

/* What one listener's samples take, about [bytes]. */
#define GUESS_PER_LISTENER 8192

/* The moment that is rendered. */
struct scrape {
	const struct page_input *in;
	struct listener_metrics *sums; /* of the workers, by listener */
	struct process_stats process;
};

struct family {
	const char *name;
	enum metric_type type;
	const char *help;
	void (*write)(struct strbuf *out, const struct family *f, const struct scrape *s);
	size_t
	    at; /* of the counter in struct listener_metrics, or of the number in struct process_stats */
};

/* --- of the process --- */

static void write_build_info(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	(void)s;
	metrics_text_uint(out, f->name, METRIC_LABELS({ "version", UNPROXY_VERSION }), 1);
}

static void write_workers(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	metrics_text_uint(out, f->name, NULL, s->in->workers);
}

static void write_draining(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	metrics_text_uint(out, f->name, NULL, s->in->draining);
}

static void write_log_dropped(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	metrics_text_uint(out, f->name, NULL, s->in->log_dropped);
}

static void write_reloads(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	metrics_text_uint(out, f->name, METRIC_LABELS({ "result", "success" }), s->in->reloads);
	metrics_text_uint(out, f->name, METRIC_LABELS({ "result", "failure" }),
			  s->in->reloads_failed);
}

static void write_last_reload(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	metrics_text_uint(out, f->name, NULL, !s->in->last_reload_failed);
}

static uint64_t process_number(const struct family *f, const struct scrape *s)
{
	uint64_t number;

	memcpy(&number, (const char *)&s->process + f->at, sizeof number);
	return number;
}

static void write_process(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	metrics_text_uint(out, f->name, NULL, process_number(f, s));
}

static void write_process_time(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	metrics_text_seconds(out, f->name, NULL, process_number(f, s));
}

/* --- of the listeners --- */

static const char *listener_name(const struct scrape *s, size_t i)
{
	return s->in->listeners[i].name;
}

static const void *listener_member(const struct family *f, const struct scrape *s, size_t i)
{
	return (const char *)&s->sums[i] + f->at;
}

static void write_counter(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	for (size_t i = 0; i < s->in->listener_count; i++)
		metrics_text_uint(out, f->name, METRIC_LABELS({ "listener", listener_name(s, i) }),
				  counter_read(listener_member(f, s, i)));
}

static void write_histogram(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	for (size_t i = 0; i < s->in->listener_count; i++) {
		const struct metric_label label = { "listener", listener_name(s, i) };

		metrics_text_histogram(out, f->name, &label, listener_member(f, s, i));
	}
}

static void write_outcomes(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	for (size_t i = 0; i < s->in->listener_count; i++)
		for (unsigned o = 0; o < OUTCOME_COUNT; o++)
			metrics_text_uint(out, f->name,
					  METRIC_LABELS({ "listener", listener_name(s, i) },
							{ "reason", outcome_name(o) }),
					  counter_read(&s->sums[i].ended[o]));
}

static void write_active(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	for (size_t i = 0; i < s->in->listener_count; i++)
		for (unsigned state = 0; state < METRICS_STATES; state++)
			metrics_text_uint(out, f->name,
					  METRIC_LABELS({ "listener", listener_name(s, i) },
							{ "state", session_state_name(state) }),
					  counter_read(&s->sums[i].active[state]));
}

static void write_bytes(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	for (size_t i = 0; i < s->in->listener_count; i++) {
		metrics_text_uint(
		    out, f->name,
		    METRIC_LABELS({ "listener", listener_name(s, i) }, { "direction", "in" }),
		    counter_read(&s->sums[i].bytes_in));
		metrics_text_uint(
		    out, f->name,
		    METRIC_LABELS({ "listener", listener_name(s, i) }, { "direction", "out" }),
		    counter_read(&s->sums[i].bytes_out));
	}
}

/* The pairs that exist: no other can be counted. */
static const struct {
	unsigned version;
	const char *version_name;
	enum proxy_command command;
} header_kinds[] = {
	{ 0, "0", PROXY_COMMAND_NONE },    { 1, "1", PROXY_COMMAND_PROXY },
	{ 1, "1", PROXY_COMMAND_UNKNOWN }, { 2, "2", PROXY_COMMAND_PROXY },
	{ 2, "2", PROXY_COMMAND_LOCAL },
};

static void write_headers(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	for (size_t i = 0; i < s->in->listener_count; i++)
		for (size_t k = 0; k < ARRAY_SIZE(header_kinds); k++)
			metrics_text_uint(
			    out, f->name,
			    METRIC_LABELS(
				{ "listener", listener_name(s, i) },
				{ "version", header_kinds[k].version_name },
				{ "command", proxy_command_name(header_kinds[k].command) }),
			    counter_read(&s->sums[i].headers[header_kinds[k].version]
							    [header_kinds[k].command]));
}

static void write_open(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	for (size_t i = 0; i < s->in->listener_count; i++)
		metrics_text_uint(out, f->name, METRIC_LABELS({ "listener", listener_name(s, i) }),
				  s->in->listeners[i].open);
}

static void write_up(struct strbuf *out, const struct family *f, const struct scrape *s)
{
	for (size_t i = 0; i < s->in->listener_count; i++)
		if (s->in->listeners[i].checked)
			metrics_text_uint(out, f->name,
					  METRIC_LABELS({ "listener", listener_name(s, i) }),
					  s->in->listeners[i].up);
}

/* --- all of them --- */

#define LISTENER(member) offsetof(struct listener_metrics, member)
#define PROCESS(member)  offsetof(struct process_stats, member)

static const struct family families[] = {
	{ "unproxy_build_info", METRIC_GAUGE, "The version that runs; always 1.", write_build_info,
	  0 },
	{ "unproxy_workers", METRIC_GAUGE, "Event-loop threads.", write_workers, 0 },
	{ "unproxy_draining", METRIC_GAUGE,
	  "1 from the signal to end until the last connection has ended.", write_draining, 0 },
	{ "unproxy_config_reloads_total", METRIC_COUNTER,
	  "Configurations that were loaded while running, by result: success or failure.",
	  write_reloads, 0 },
	{ "unproxy_config_last_reload_success", METRIC_GAUGE,
	  "0 if the last configuration was refused, so that an older one runs.", write_last_reload,
	  0 },
	{ "unproxy_log_dropped_total", METRIC_COUNTER,
	  "Log lines that were lost because the output was too slow, full or closed.",
	  write_log_dropped, 0 },
	{ "unproxy_connections_accepted_total", METRIC_COUNTER, "Connections accepted.",
	  write_counter, LISTENER(accepted) },
	{ "unproxy_connections_total", METRIC_COUNTER,
	  "Connections that have ended, by outcome, as in the access log.", write_outcomes, 0 },
	{ "unproxy_connections_active", METRIC_GAUGE,
	  "Open connections: waiting for the header, connecting to the upstream, relaying.",
	  write_active, 0 },
	{ "unproxy_bytes_total", METRIC_COUNTER,
	  "Payload relayed: in is client to upstream, out is upstream to client.", write_bytes, 0 },
	{ "unproxy_headers_total", METRIC_COUNTER,
	  "Connections whose header was read, by version and command; version 0: without one.",
	  write_headers, 0 },
	{ "unproxy_header_seconds", METRIC_HISTOGRAM,
	  "From accepting a connection to its whole header.", write_histogram, LISTENER(header) },
	{ "unproxy_connect_seconds", METRIC_HISTOGRAM,
	  "From the whole header to the upstream's answer.", write_histogram, LISTENER(connect) },
	{ "unproxy_port_conflicts_total", METRIC_COUNTER,
	  "Transparent connections that came from another port than the client's, which was taken.",
	  write_counter, LISTENER(port_conflicts) },
	{ "unproxy_accept_errors_total", METRIC_COUNTER,
	  "Times that accepting failed for want of descriptors or memory.", write_counter,
	  LISTENER(accept_errors) },
	{ "unproxy_clients_untracked_total", METRIC_COUNTER,
	  "Connections that no limit per client applied to, because the table was full.",
	  write_counter, LISTENER(clients_untracked) },
	{ "unproxy_listener_open", METRIC_GAUGE, "1 while the listener accepts connections.",
	  write_open, 0 },
	{ "unproxy_upstream_up", METRIC_GAUGE,
	  "1 if the last upstream_check was answered; only of listeners that have one.", write_up,
	  0 },
	{ "process_cpu_seconds_total", METRIC_COUNTER, "CPU time of all threads, user and system.",
	  write_process_time, PROCESS(cpu_ns) },
	{ "process_open_fds", METRIC_GAUGE, "Open file descriptors.", write_process,
	  PROCESS(open_fds) },
	{ "process_max_fds", METRIC_GAUGE, "How many file descriptors may be open.", write_process,
	  PROCESS(max_fds) },
	{ "process_virtual_memory_bytes", METRIC_GAUGE, "Virtual memory.", write_process,
	  PROCESS(virtual_bytes) },
	{ "process_resident_memory_bytes", METRIC_GAUGE, "Memory in RAM.", write_process,
	  PROCESS(resident_bytes) },
	{ "process_threads", METRIC_GAUGE, "Threads.", write_process, PROCESS(threads) },
	{ "process_start_time_seconds", METRIC_GAUGE,
	  "When the process was started, since the epoch.", write_process_time,
	  PROCESS(started_ns) },
};

#undef LISTENER
#undef PROCESS

static void render_metrics(struct strbuf *out, const void *data)
{
	const struct scrape *s = data;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct family *f = &families[i];

		metrics_text_family(out, f->name, f->type, f->help);
		f->write(out, f, s);
	}
}

static void sum_up(const struct page_input *in, struct listener_metrics *sums)
{
	for (size_t i = 0; i < in->listener_count; i++) {
		const struct service_shared *shared = in->listeners[i].shared;

		for (unsigned w = 0; w < shared->workers; w++)
			listener_metrics_add(&sums[i], &shared->metrics[w]);
	}
}

void page_metrics(const struct page_input *in, struct page *ret)
{
	struct scrape s = { .in = in };

	*ret = (struct page){ .status = HTTP_OK, .type = METRICS_TEXT_TYPE };
	s.sums = calloc(in->listener_count, sizeof *s.sums);
	if (s.sums == NULL)
		return;
	sum_up(in, s.sums);
	process_stats_read(&s.process);
	ret->body = page_render(render_metrics, &s, (in->listener_count + 1) * GUESS_PER_LISTENER,
				&ret->size);
	free(s.sums);
}
