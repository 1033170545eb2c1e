/* SPDX-License-Identifier: MIT */
/* The PROXY protocol header, version 1 (text) and 2 (binary): bytes in, values out, and back.
 *
 * Specification: haproxy/doc/proxy-protocol.txt of 2026/04/27, sections 2.1, 2.2 and 3. Pure: no
 * allocation, no I/O, nothing remembered between calls. */
#ifndef PROXY_HEADER_H
#define PROXY_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bug.h"

#define PROXY_V1_MAX     107   /* longest v1 line with its CRLF (section 2.1) */
#define PROXY_V2_FIXED   16    /* signature, version and command, family, length (section 2.2) */
#define PROXY_HEADER_MAX 65551 /* PROXY_V2_FIXED and the largest 16-bit length */
#define PROXY_UNIX_PATH  108   /* bytes of each AF_UNIX address in a v2 header */

/* Why bytes are no header: the code, and the words a log line uses. */
#define HEADER_ERROR_MAP(X)                                                                    \
	X(HEADER_OK, "no error")                                                               \
	X(HEADER_NO_SIGNATURE, "neither a v1 nor a v2 signature")                              \
	X(HEADER_TOO_LONG, "longer than max_header_bytes, or a v1 line longer than 107 bytes") \
	X(HEADER_BAD_VERSION, "v2 signature, but the version is not 2")                        \
	X(HEADER_BAD_COMMAND, "v2 command is neither LOCAL nor PROXY")                         \
	X(HEADER_BAD_FAMILY, "unknown address family or transport")                            \
	X(HEADER_BAD_LINE,                                                                     \
	  "v1 line has an unknown protocol, wrong separators or a wrong number of fields")     \
	X(HEADER_BAD_LINE_END, "v1 line does not end with CRLF")                               \
	X(HEADER_BAD_ADDRESS, "v1 address is not a literal of the family announced")           \
	X(HEADER_BAD_PORT, "v1 port is not a plain number from 0 to 65535")                    \
	X(HEADER_SHORT, "v2 length is too small for the addresses of its family")              \
	X(HEADER_TLV_OVERRUN, "a TLV runs past the end of the header")                         \
	X(HEADER_BAD_CRC, "CRC32C does not match")                                             \
	X(HEADER_BAD_CRC_TLV, "CRC32C TLV is not 4 bytes long, or there are two")              \
	X(HEADER_BAD_UNIQUE_ID, "UNIQUE_ID is longer than 128 bytes")                          \
	X(HEADER_BAD_SSL, "SSL TLV is shorter than 5 bytes, or a TLV inside runs past its end")

enum header_error {
#define X(code, text) code,
	HEADER_ERROR_MAP(X)
#undef X
};

const char *header_error_text(enum header_error e);

enum proxy_command {
	PROXY_COMMAND_NONE,    /* no header: never from the parser */
	PROXY_COMMAND_PROXY,   /* source and destination count, if the family has them */
	PROXY_COMMAND_LOCAL,   /* the sender's own connection, such as a health check */
	PROXY_COMMAND_UNKNOWN, /* v1 UNKNOWN: the sender does not know the client */
};

/* "NONE", "PROXY", "LOCAL", "UNKNOWN", as in the access log. */
const char *proxy_command_name(enum proxy_command c);

enum proxy_family { /* high nibble of the 14th byte of v2 */
	PROXY_FAMILY_UNSPEC = 0,
	PROXY_FAMILY_INET = 1,
	PROXY_FAMILY_INET6 = 2,
	PROXY_FAMILY_UNIX = 3,
};

enum proxy_transport { /* low nibble of the 14th byte of v2; v1 is always a stream */
	PROXY_TRANSPORT_UNSPEC = 0,
	PROXY_TRANSPORT_STREAM = 1,
	PROXY_TRANSPORT_DGRAM = 2,
};

struct proxy_header {
	size_t length;   /* bytes that were header; what follows is payload */
	uint8_t version; /* 1 or 2 */
	enum proxy_command command;
	enum proxy_family family;       /* as sent; UNSPEC for LOCAL, where it says nothing */
	enum proxy_transport transport; /* as sent; UNSPEC for LOCAL of v2 */
	struct address source;          /* the client; AF_UNSPEC unless PROXY with INET or INET6 */
	struct address destination;     /* what the client connected to; likewise */
	const uint8_t *unix_source;     /* PROXY_UNIX_PATH bytes inside the input, or NULL */
	const uint8_t *unix_destination;
	const uint8_t *tlvs; /* inside the input; checked, so tlv_next() never fails on it */
	size_t tlvs_size;    /* 0 for LOCAL and v1 */
};

enum parse {
	PARSE_DONE,
	PARSE_MORE,
	PARSE_BAD,
};

/* Look for one PROXY header at the start of @data. No header may be longer than @max bytes
 * (PROXY_V1_MAX to PROXY_HEADER_MAX).
 *
 * PARSE_DONE: *@ret is set; @ret->length bytes were header, the rest is payload. @ret borrows from
 *             @data.
 * PARSE_MORE: a valid prefix, @size < @max; call again with the same bytes and more.
 * PARSE_BAD:  no header, whatever follows; *@reterr says why. Found as early as the bytes allow.
 * @ret is untouched unless PARSE_DONE, @reterr unless PARSE_BAD.
 *
 * Addresses are filled in whatever the transport: the caller compares it with its own. A v2 header
 * in which only one of family and transport is UNSPEC (0x01, 0x10, …) is taken as UNSPEC: it has
 * neither addresses nor TLVs, because nothing says what its bytes are. Behind 0x00 there may be
 * TLVs. A lone CR or LF is no part of a v1 line, not even of UNKNOWN. */
enum parse proxy_header_parse(const uint8_t *data, size_t size, size_t max,
			      struct proxy_header *ret, enum header_error *reterr) MUST_CHECK;

/* Could these first bytes still become a header? PARSE_BAD as soon as no signature fits,
 * PARSE_DONE once one is whole: 6 bytes of v1 or 12 of v2. */
enum parse proxy_signature_match(const uint8_t *data, size_t size) MUST_CHECK;

/* Write @h in the format of @h->version. v2 appends the TLVs at @h->tlvs as they are; a CRC32C TLV
 * among them gets its value computed. v1 ignores them; LOCAL in v1 is written as UNKNOWN, and so is
 * what v1 cannot say. @h->length is ignored.
 * In v2, UNKNOWN is written as PROXY with UNSPEC, and LOCAL without a family.
 * Returns the bytes written, or 0 if @size is too small, or if a v2 header would be too long or
 * lacks addresses of its family; IPv4 will do for INET6, as a mapped address. */
size_t proxy_header_encode(const struct proxy_header *h, uint8_t *out, size_t size) MUST_CHECK;

#endif
