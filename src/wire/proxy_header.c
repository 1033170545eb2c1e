/* SPDX-License-Identifier: MIT */
#include "wire/proxy_header.h"

#include <string.h>

#include "wire/proxy_v1.h"
#include "wire/proxy_v2.h"

const char *header_error_text(enum header_error e)
{
	static const char *const texts[] = {
#define X(code, text) [code] = text,
		HEADER_ERROR_MAP(X)
#undef X
	};

	return texts[e];
}

const char *proxy_command_name(enum proxy_command c)
{
	static const char *const names[] = {
		[PROXY_COMMAND_NONE] = "NONE",
		[PROXY_COMMAND_PROXY] = "PROXY",
		[PROXY_COMMAND_LOCAL] = "LOCAL",
		[PROXY_COMMAND_UNKNOWN] = "UNKNOWN",
	};

	return names[c];
}

/* The first byte tells which signature is meant. */
enum parse proxy_signature_match(const uint8_t *data, size_t size)
{
	const char *signature = PROXY_V1_SIGNATURE;
	size_t whole = PROXY_V1_SIGNATURE_SIZE;

	if (size == 0)
		return PARSE_MORE;
	if (data[0] == PROXY_V2_SIGNATURE[0]) {
		signature = PROXY_V2_SIGNATURE;
		whole = PROXY_V2_SIGNATURE_SIZE;
	}
	if (memcmp(data, signature, size < whole ? size : whole) != 0)
		return PARSE_BAD;
	return size < whole ? PARSE_MORE : PARSE_DONE;
}

enum parse proxy_header_parse(const uint8_t *data, size_t size, size_t max,
			      struct proxy_header *ret, enum header_error *reterr)
{
	enum parse signature = proxy_signature_match(data, size);

	assert(max >= PROXY_V1_MAX && max <= PROXY_HEADER_MAX);
	if (signature == PARSE_BAD)
		*reterr = HEADER_NO_SIGNATURE;
	if (signature != PARSE_DONE)
		return signature;
	if (data[0] == PROXY_V2_SIGNATURE[0])
		return proxy_v2_parse(data, size, max, ret, reterr);
	return proxy_v1_parse(data, size, ret, reterr);
}

size_t proxy_header_encode(const struct proxy_header *h, uint8_t *out, size_t size)
{
	assert(h->version == 1 || h->version == 2);
	return h->version == 1 ? proxy_v1_encode(h, out, size) : proxy_v2_encode(h, out, size);
}
