/* SPDX-License-Identifier: MIT */
/* Type-length-value fields behind the addresses of a v2 header (section 2.2.1 and following). */
#ifndef TLV_H
#define TLV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bug.h"

struct json_writer;

enum tlv_type {
	TLV_ALPN = 0x01,
	TLV_AUTHORITY = 0x02,
	TLV_CRC32C = 0x03,
	TLV_NOOP = 0x04,
	TLV_UNIQUE_ID = 0x05,
	TLV_SSL = 0x20,
	TLV_SSL_VERSION = 0x21, /* 0x21 to 0x28 stand inside TLV_SSL only */
	TLV_SSL_CN = 0x22,
	TLV_SSL_CIPHER = 0x23,
	TLV_SSL_SIG_ALG = 0x24,
	TLV_SSL_KEY_ALG = 0x25,
	TLV_SSL_GROUP = 0x26,
	TLV_SSL_SIG_SCHEME = 0x27,
	TLV_SSL_CLIENT_CERT = 0x28,
	TLV_NETNS = 0x30,
	TLV_AWS = 0xea,   /* subtype 1: the VPC endpoint id, as text */
	TLV_AZURE = 0xee, /* subtype 1: the private endpoint's link id, 32 bits, little endian */
	TLV_GCP = 0xe0,   /* the Private Service Connect connection id, 64 bits, big endian */
};

struct tlv {
	uint8_t type;
	uint16_t size;        /* of value [bytes] */
	const uint8_t *value; /* borrowed from the header */
};

/* A walk over a sequence of TLVs. */
struct tlv_iter {
	const uint8_t *at;
	size_t left; /* [bytes] */
	bool failed; /* the error sticks */
};

void tlv_iter_init(struct tlv_iter *it, const uint8_t *data, size_t size);

/* Returns false at the end and on damage; tlv_iter_ok() tells which. */
bool tlv_next(struct tlv_iter *it, struct tlv *ret);
bool tlv_iter_ok(const struct tlv_iter *it);

/* The fields of an SSL TLV before its sub-TLVs. */
struct tlv_ssl {
	bool tls;       /* the client connected over TLS (PP2_CLIENT_SSL) */
	bool cert_conn; /* it gave a certificate on this connection */
	bool cert_sess; /* it gave one in this TLS session */
	bool verified;  /* it gave a certificate and that verified (the verify field is 0) */
	struct tlv_iter sub;
};

/* Returns false if @t is shorter than 5 bytes. The sub-TLVs are not checked. */
bool tlv_ssl_parse(const struct tlv *t, struct tlv_ssl *ret) MUST_CHECK;

/* Append one TLV at @out + @used. Returns the new used size, or 0 if it does not fit in @size. */
size_t tlv_append(uint8_t *out, size_t used, size_t size, uint8_t type, const void *value,
		  size_t value_size) MUST_CHECK;

/* The members of the access log's `tlv` object (contract: alpn, authority, unique_id, ssl {…},
 * netns, aws_vpce_id, azure_link_id, gcp_psc_id, others as "0xNN": hex), without its braces. CRC32C
 * and NOOP say nothing and are left out, and so is the client's certificate, which is long; when a
 * type stands twice, the first counts. */
void tlv_write_json(const uint8_t *tlvs, size_t size, struct json_writer *w);

/* Does tlv_write_json() have something to say? */
bool tlv_worth_logging(const uint8_t *tlvs, size_t size);

#endif
