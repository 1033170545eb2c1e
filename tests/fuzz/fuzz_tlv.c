/* SPDX-License-Identifier: MIT */
/* The input is a sequence of TLVs, damaged or not: the walk stays inside, and what goes to the log
 * is JSON with unique keys. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/json_writer.h"
#include "base/strbuf.h"
#include "wire/tlv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_walk(struct tlv_iter it, const uint8_t *data, size_t size)
{
	struct tlv t;
	struct tlv_ssl ssl;
	size_t sum = 0;

	while (tlv_next(&it, &t)) {
		assert(t.value == data + sum + 3);
		assert(t.size <= size - sum - 3);
		sum += 3u + t.size;
		if (t.type == TLV_SSL && tlv_ssl_parse(&t, &ssl))
			check_walk(ssl.sub, t.value + 5, t.size - 5u);
	}
	assert(tlv_iter_ok(&it) == (sum == size));
	assert(!tlv_next(&it, &t));
}

/* What the walk finds, written again one by one, gives the same bytes. */
static void check_copy(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);
	struct tlv_iter it;
	struct tlv t;
	size_t used = 0;

	assert(copy != NULL);
	tlv_iter_init(&it, data, size);
	while (tlv_next(&it, &t)) {
		size_t next = tlv_append(copy, used, size, t.type, t.value, t.size);

		assert(next == used + 3u + t.size);
		used = next;
	}
	assert(used == 0 || memcmp(copy, data, used) == 0);
	assert(used == size || !tlv_iter_ok(&it));
	free(copy);
}

static void check_unique_keys(const cJSON *object)
{
	const cJSON *a;

	cJSON_ArrayForEach(a, object)
	{
		for (const cJSON *b = a->next; b != NULL; b = b->next)
			assert(strcmp(a->string, b->string) != 0);
		if (cJSON_IsObject(a))
			check_unique_keys(a);
	}
}

static void check_json(const uint8_t *data, size_t size)
{
	size_t room = 64 * 1024 + 6 * size; /* 256 keys, and \u0000 for a byte */
	char *text = malloc(room);
	struct strbuf out;
	struct json_writer w;
	cJSON *json;

	assert(text != NULL);
	strbuf_init(&out, text, room);
	json_writer_init(&w, &out);
	json_writer_open(&w, NULL, '{');
	tlv_write_json(data, size, &w);
	json_writer_close(&w, '}');
	assert(!out.cut);
	json = cJSON_ParseWithLength(text, out.used);
	assert(json != NULL);
	check_unique_keys(json);
	assert(tlv_worth_logging(data, size) == (json->child != NULL));
	cJSON_Delete(json);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tlv_iter it;

	if (size > 65535) /* no header has more */
		return 0;
	tlv_iter_init(&it, data, size);
	check_walk(it, data, size);
	check_copy(data, size);
	check_json(data, size);
	return 0;
}
