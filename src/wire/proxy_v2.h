/* SPDX-License-Identifier: MIT */
/* The binary form (section 2.2). Private to this folder. */
#ifndef PROXY_V2_H
#define PROXY_V2_H

#include "wire/proxy_header.h"

#define PROXY_V2_SIGNATURE      "\r\n\r\n\0\r\nQUIT\n"
#define PROXY_V2_SIGNATURE_SIZE 12

/* As proxy_header_parse(), and the signature matches. */
enum parse proxy_v2_parse(const uint8_t *data, size_t size, size_t max, struct proxy_header *ret,
			  enum header_error *reterr) MUST_CHECK;

/* As proxy_header_encode(). */
size_t proxy_v2_encode(const struct proxy_header *h, uint8_t *out, size_t size) MUST_CHECK;

#endif
