/* SPDX-License-Identifier: MIT */
/* Prometheus' text format, version 0.0.4, into a strbuf: families of samples with labels. */
#ifndef METRICS_TEXT_H
#define METRICS_TEXT_H

#include <stdint.h>

struct histogram;
struct strbuf;

#define METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_type {
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_HISTOGRAM,
};

/* The name is ours and needs no escaping; the value may be any UTF-8. */
struct metric_label {
	const char *name; /* NULL: the end of a list */
	const char *value;
};

/* A list of labels, in place: METRIC_LABELS({ "listener", name }, { "state", "relay" }). */
#define METRIC_LABELS(...) ((const struct metric_label[]){ __VA_ARGS__, { NULL, NULL } })

/* The lines before a family's samples, which must follow before the next family begins. @help is one line
 * without backslashes. */
void metrics_text_family(struct strbuf *out, const char *name, enum metric_type type,
			 const char *help);

/* One sample. @labels may be NULL for none. */
void metrics_text_uint(struct strbuf *out, const char *name, const struct metric_label *labels,
		       uint64_t value);

/* The same of a time in ns, as seconds. */
void metrics_text_seconds(struct strbuf *out, const char *name, const struct metric_label *labels,
			  uint64_t ns);

/* All samples of a histogram of times. @label tells it from others of its family. */
void metrics_text_histogram(struct strbuf *out, const char *name, const struct metric_label *label,
			    const struct histogram *h);

#endif
