/* SPDX-License-Identifier: MIT */
/* Nanoseconds to parse one PROXY header, for three kinds of them; prints JSON.
 *
 * Every kind is parsed from many headers that differ in their addresses, so that the branch
 * predictor cannot learn one by heart. The median of several rounds is what is printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bug.h"
#include "wire/proxy_header.h"
#include "wire/tlv.h"

#define HEADERS    512
#define HEADER_MAX 256
#define ROUNDS     21 /* odd: the median is one of them */
#define PASSES     200

struct header {
	uint8_t bytes[HEADER_MAX];
	size_t size;
};

struct kind {
	const char *name;
	uint8_t version;
	bool tlvs;
};

/* ALPN, AUTHORITY, CRC32C, UNIQUE_ID and an AWS endpoint id. */
static size_t make_tlvs(uint8_t out[HEADER_MAX])
{
	static const uint8_t zeros[16];
	size_t used = tlv_append(out, 0, HEADER_MAX, TLV_ALPN, "h2", 2);

	used = tlv_append(out, used, HEADER_MAX, TLV_AUTHORITY, "www.example.com", 15);
	used = tlv_append(out, used, HEADER_MAX, TLV_CRC32C, zeros, 4);
	used = tlv_append(out, used, HEADER_MAX, TLV_UNIQUE_ID, zeros, sizeof zeros);
	used = tlv_append(out, used, HEADER_MAX, TLV_AWS, "\001vpce-08d2bf15fac5001c9", 23);
	assert(used > 0);
	return used;
}

static void make_headers(const struct kind *k, struct header headers[HEADERS])
{
	uint8_t tlvs[HEADER_MAX];
	size_t tlvs_size = make_tlvs(tlvs);
	uint32_t random = 1;

	for (size_t i = 0; i < HEADERS; i++) {
		struct proxy_header h = {
			.version = k->version,
			.command = PROXY_COMMAND_PROXY,
			.family = PROXY_FAMILY_INET,
			.transport = PROXY_TRANSPORT_STREAM,
			.source = { .family = AF_INET },
			.destination = { .family = AF_INET, .port = 443, .ip = { 192, 0, 2, 10 } },
			.tlvs = k->tlvs ? tlvs : NULL,
			.tlvs_size = k->tlvs ? tlvs_size : 0,
		};

		random = random * 1664525 + 1013904223;
		memcpy(h.source.ip, &random, 4);
		h.source.port = (uint16_t)(random >> 8);
		headers[i].size = proxy_header_encode(&h, headers[i].bytes, HEADER_MAX);
		assert(headers[i].size > 0);
	}
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* Returns how long one header took [ns]. */
static double measure(const struct header headers[HEADERS])
{
	struct proxy_header h;
	enum header_error error;
	double began = now_ns();

	for (int pass = 0; pass < PASSES; pass++) {
		for (size_t i = 0; i < HEADERS; i++) {
			if (proxy_header_parse(headers[i].bytes, headers[i].size, HEADER_MAX, &h,
					       &error) != PARSE_DONE)
				abort();
		}
	}
	return (now_ns() - began) / (PASSES * HEADERS);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	static const struct kind kinds[] = {
		{ "v1", 1, false },
		{ "v2", 2, false },
		{ "v2 with 5 TLVs", 2, true },
	};
	static struct header headers[HEADERS];

	printf("{");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		double ns[ROUNDS];

		make_headers(&kinds[i], headers);
		for (size_t round = 0; round < ROUNDS; round++)
			ns[round] = measure(headers);
		qsort(ns, ROUNDS, sizeof *ns, compare);
		printf("%s\"%s\": {\"ns\": %.2f, \"bytes\": %zu}", i > 0 ? ", " : "", kinds[i].name,
		       ns[ROUNDS / 2], headers[0].size);
	}
	printf("}\n");
	return 0;
}
