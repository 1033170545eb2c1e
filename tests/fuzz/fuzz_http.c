/* SPDX-License-Identifier: MIT */
/* The input is what an admin client sent. However it arrives, the answer is the same, and what is accepted is a path. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "admin/http_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came of a request. */
struct verdict {
	enum parse parse;
	enum http_status status;
	struct http_request request;
};

/* A copy to the byte, so that ASan sees an overread. */
static enum parse parse_exactly(struct http_request *r, const uint8_t *data, size_t size,
				enum http_status *reterr)
{
	uint8_t *exact = malloc(size + (size == 0));
	enum parse p;

	assert(exact != NULL);
	if (size > 0)
		memcpy(exact, data, size);
	p = http_request_parse(r, (const char *)exact, size, reterr);
	free(exact);
	return p;
}

/* In pieces of @step bytes. */
static struct verdict parse_in_pieces(const uint8_t *data, size_t size, size_t step)
{
	struct verdict v = { .parse = PARSE_MORE, .status = HTTP_OK };
	size_t used = 0;

	http_request_init(&v.request);
	do {
		used += step < size - used ? step : size - used;
		v.parse = parse_exactly(&v.request, data, used, &v.status);
	} while (v.parse == PARSE_MORE && used < size);
	return v;
}

static void check_path(const struct http_request *r)
{
	assert(r->path[0] == '/');
	assert(memchr(r->path, '\0', sizeof r->path) != NULL);
	for (const char *at = r->path; *at != '\0'; at++)
		assert(*at > ' ' && *at < 0x7f && *at != '?');
}

static void check_same(const struct verdict *a, const struct verdict *b)
{
	assert(a->parse == b->parse);
	assert(a->status == b->status);
	assert(a->parse != PARSE_DONE || a->request.parsed == b->request.parsed);
	assert(a->parse != PARSE_DONE || a->request.head == b->request.head);
	assert(a->parse != PARSE_DONE || strcmp(a->request.path, b->request.path) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct verdict whole = parse_in_pieces(data, size, size > 0 ? size : 1);
	/* Byte by byte, if that does not take too long. */
	struct verdict bytes = parse_in_pieces(data, size, 1 + size / 256);
	struct verdict pieces = parse_in_pieces(data, size, 7 + size / 64);

	assert((whole.status != HTTP_OK) == (whole.parse == PARSE_BAD));
	assert(whole.parse != PARSE_MORE || size < HTTP_REQUEST_MAX);
	check_same(&whole, &bytes);
	check_same(&whole, &pieces);
	if (whole.parse == PARSE_DONE) {
		assert(whole.request.parsed > 0 && whole.request.parsed <= size);
		assert(whole.request.parsed <= HTTP_REQUEST_MAX);
		assert(data[whole.request.parsed - 1] == '\n');
		check_path(&whole.request);
	}
	return 0;
}
