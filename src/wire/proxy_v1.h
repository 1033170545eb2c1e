/* SPDX-License-Identifier: MIT */
/* The text form (section 2.1). Private to this folder. */
#ifndef PROXY_V1_H
#define PROXY_V1_H

#include "wire/proxy_header.h"

#define PROXY_V1_SIGNATURE      "PROXY "
#define PROXY_V1_SIGNATURE_SIZE 6

/* As proxy_header_parse(), and the signature matches. */
enum parse proxy_v1_parse(const uint8_t *data, size_t size, struct proxy_header *ret,
			  enum header_error *reterr) MUST_CHECK;

/* As proxy_header_encode(). */
size_t proxy_v1_encode(const struct proxy_header *h, uint8_t *out, size_t size) MUST_CHECK;

#endif
