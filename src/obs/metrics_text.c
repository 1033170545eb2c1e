/* SPDX-License-Identifier: MIT */
#include "obs/metrics_text.h"

#include <stddef.h>
#include <string.h>

#include "base/strbuf.h"
#include "obs/metrics.h"

#define NS_PER_S 1000000000U

/* "0.0001", "10": the exact value, without zeros at its end. */
static void put_seconds(struct strbuf *out, uint64_t ns)
{
	char fraction[10] = ".";
	size_t size = sizeof fraction;
	uint64_t left = ns % NS_PER_S;

	for (size_t i = size - 1; i > 0; i--) {
		fraction[i] = (char)('0' + left % 10);
		left /= 10;
	}
	while (size > 1 && fraction[size - 1] == '0')
		size--;
	strbuf_uint(out, ns / NS_PER_S);
	if (size > 1)
		strbuf_add(out, fraction, size);
}

static void put_value(struct strbuf *out, const char *value)
{
	for (;;) {
		size_t plain = strcspn(value, "\\\"\n");

		strbuf_add(out, value, plain);
		value += plain;
		if (*value == '\0')
			return;
		strbuf_putc(out, '\\');
		strbuf_putc(out, *value == '\n' ? 'n' : *value);
		value++;
	}
}

/* @bracket stands before the label: '{' before the first, ',' before the others. */
static void put_label(struct strbuf *out, char bracket, const char *name, const char *value)
{
	strbuf_putc(out, bracket);
	strbuf_puts(out, name);
	strbuf_add(out, "=\"", 2);
	put_value(out, value);
	strbuf_putc(out, '"');
}

/* What stands before a value. */
static void put_name(struct strbuf *out, const char *name, const struct metric_label *labels)
{
	char bracket = '{';

	strbuf_puts(out, name);
	for (const struct metric_label *l = labels; l != NULL && l->name != NULL; l++) {
		put_label(out, bracket, l->name, l->value);
		bracket = ',';
	}
	if (bracket == ',')
		strbuf_putc(out, '}');
	strbuf_putc(out, ' ');
}

void metrics_text_family(struct strbuf *out, const char *name, enum metric_type type,
			 const char *help)
{
	static const char *const names[] = {
		[METRIC_COUNTER] = "counter",
		[METRIC_GAUGE] = "gauge",
		[METRIC_HISTOGRAM] = "histogram",
	};

	strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, names[type]);
}

void metrics_text_uint(struct strbuf *out, const char *name, const struct metric_label *labels,
		       uint64_t value)
{
	put_name(out, name, labels);
	strbuf_uint(out, value);
	strbuf_putc(out, '\n');
}

void metrics_text_seconds(struct strbuf *out, const char *name, const struct metric_label *labels,
			  uint64_t ns)
{
	put_name(out, name, labels);
	put_seconds(out, ns);
	strbuf_putc(out, '\n');
}

/* The bucket of what took at most @bound, which is text. */
static void put_bucket(struct strbuf *out, const char *name, const struct metric_label *label,
		       const char *bound, uint64_t count)
{
	strbuf_puts(out, name);
	strbuf_puts(out, "_bucket");
	put_label(out, '{', label->name, label->value);
	put_label(out, ',', "le", bound);
	strbuf_add(out, "} ", 2);
	strbuf_uint(out, count);
	strbuf_putc(out, '\n');
}

void metrics_text_histogram(struct strbuf *out, const char *name, const struct metric_label *label,
			    const struct histogram *h)
{
	const struct metric_label labels[] = { *label, { NULL, NULL } };
	uint64_t count = 0;

	for (unsigned i = 0; i < METRICS_BOUNDS; i++) {
		char text[32];
		struct strbuf bound;

		strbuf_init(&bound, text, sizeof text);
		put_seconds(&bound, metrics_bounds_ns[i]);
		count += counter_read(&h->buckets[i]);
		put_bucket(out, name, label, text, count);
	}
	count += counter_read(&h->buckets[METRICS_BOUNDS]);
	put_bucket(out, name, label, "+Inf", count);
	strbuf_puts(out, name);
	metrics_text_seconds(out, "_sum", labels, counter_read(&h->sum_ns));
	strbuf_puts(out, name);
	metrics_text_uint(out, "_count", labels, count);
}
