/* SPDX-License-Identifier: MIT */
/* The input is what a peer sent. Whatever it is, the parser's answers agree with each other, and
 * what it accepts the encoder can say so that it is accepted again. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "wire/proxy_header.h"
#include "wire/tlv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t size)
{
	if (a == NULL || b == NULL)
		return a == b;
	return memcmp(a, b, size) == 0;
}

static bool same_tlvs(const struct proxy_header *a, const struct proxy_header *b)
{
	return a->tlvs_size == b->tlvs_size && same_bytes(a->tlvs, b->tlvs, a->tlvs_size);
}

static void assert_same(const struct proxy_header *a, const struct proxy_header *b)
{
	assert(a->command == b->command);
	assert(a->family == b->family);
	assert(a->transport == b->transport);
	assert(memcmp(&a->source, &b->source, sizeof a->source) == 0);
	assert(memcmp(&a->destination, &b->destination, sizeof a->destination) == 0);
	assert(same_bytes(a->unix_source, b->unix_source, PROXY_UNIX_PATH));
	assert(same_bytes(a->unix_destination, b->unix_destination, PROXY_UNIX_PATH));
}

/* A copy to the byte, so that ASan sees an overread behind a prefix. */
static enum parse parse_exactly(const uint8_t *data, size_t size, size_t max,
				enum header_error *reterr)
{
	uint8_t *exact = malloc(size + (size == 0));
	struct proxy_header h;
	enum parse p;

	assert(exact != NULL);
	if (size > 0)
		memcpy(exact, data, size);
	p = proxy_header_parse(exact, size, max, &h, reterr);
	free(exact);
	return p;
}

/* Fewer bytes of a good header ask for more; bad ones were bad for the same reason or not yet. */
static void check_prefixes(const uint8_t *data, size_t size, size_t max, enum parse whole,
			   enum header_error why)
{
	bool bad = false;

	for (size_t n = 0; n < size && n < 256; n++) {
		enum header_error reason = HEADER_OK;
		enum parse p = parse_exactly(data, n, max, &reason);

		assert(p != PARSE_DONE);
		assert(p == PARSE_MORE || (whole == PARSE_BAD && reason == why));
		assert(p == PARSE_BAD || !bad); /* there is no way back */
		bad = p == PARSE_BAD;
	}
}

static void check_inside(const uint8_t *data, const struct proxy_header *h)
{
	struct tlv_iter it;
	struct tlv t;
	size_t sum = 0;

	assert(h->tlvs == NULL || (h->tlvs >= data && h->tlvs_size <= h->length - 16));
	assert(h->tlvs == NULL || h->tlvs + h->tlvs_size == data + h->length);
	tlv_iter_init(&it, h->tlvs, h->tlvs_size);
	while (tlv_next(&it, &t))
		sum += 3u + t.size;
	assert(tlv_iter_ok(&it) && sum == h->tlvs_size);
	assert((address_ip_size(&h->source) > 0) == (address_ip_size(&h->destination) > 0));
	assert(address_ip_size(&h->source) == 0 || h->command == PROXY_COMMAND_PROXY);
}

static void check_round_trip(const struct proxy_header *h)
{
	static uint8_t out[PROXY_HEADER_MAX];
	struct proxy_header again;
	enum header_error why;
	size_t size = proxy_header_encode(h, out, sizeof out);

	assert(size > 0);
	assert(proxy_header_parse(out, size, PROXY_HEADER_MAX, &again, &why) == PARSE_DONE);
	assert(again.length == size && again.version == h->version);
	assert_same(h, &again);
	assert(same_tlvs(h, &again));
}

/* Version conversion: v2 can say all of v1, v1 says UNKNOWN where it lacks the words. */
static void check_other_version(const struct proxy_header *h)
{
	static uint8_t out[PROXY_HEADER_MAX];
	struct proxy_header other = *h;
	struct proxy_header again;
	enum header_error why;
	size_t size;

	other.version = h->version == 1 ? 2 : 1;
	size = proxy_header_encode(&other, out, sizeof out);
	assert(size > 0);
	assert(proxy_header_parse(out, size, PROXY_HEADER_MAX, &again, &why) == PARSE_DONE);
	assert(again.length == size && again.version == other.version);
	if (again.version == 1 ? again.command != PROXY_COMMAND_UNKNOWN
			       : h->command != PROXY_COMMAND_UNKNOWN)
		assert_same(h, &again);
}

static void check(const uint8_t *data, size_t size, size_t max)
{
	struct proxy_header h = { .version = 77 };
	enum header_error why = HEADER_OK;
	enum parse p = proxy_header_parse(data, size, max, &h, &why);

	assert((why != HEADER_OK) == (p == PARSE_BAD));
	assert((h.version != 77) == (p == PARSE_DONE));
	assert(p == PARSE_BAD || proxy_signature_match(data, size) != PARSE_BAD);
	assert(p != PARSE_MORE || size < max);
	if (p != PARSE_DONE) {
		check_prefixes(data, size, max, p, why);
		return;
	}
	assert(h.length > 0 && h.length <= size && h.length <= max);
	assert(parse_exactly(data, h.length, max, &why) == PARSE_DONE);
	assert(parse_exactly(data, h.length - 1, max, &why) == PARSE_MORE);
	check_prefixes(data, h.length, max, PARSE_DONE, HEADER_OK);
	check_inside(data, &h);
	check_round_trip(&h);
	check_other_version(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(data, size, PROXY_HEADER_MAX);
	check(data, size, PROXY_V1_MAX);
	return 0;
}
