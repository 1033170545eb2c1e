/* SPDX-License-Identifier: MIT */
#include "wire/tlv.h"

#include <stdio.h>

#include "base/json_writer.h"
#include "wire/reader.h"
#include "wire/writer.h"

/* Bits of the first byte of an SSL TLV (section 2.2.6) */
enum {
	PP2_CLIENT_SSL = 0x01,
	PP2_CLIENT_CERT_CONN = 0x02,
	PP2_CLIENT_CERT_SESS = 0x04,
};

void tlv_iter_init(struct tlv_iter *it, const uint8_t *data, size_t size)
{
	*it = (struct tlv_iter){ .at = data, .left = size };
}

bool tlv_next(struct tlv_iter *it, struct tlv *ret)
{
	struct reader r;

	if (it->failed || it->left == 0)
		return false;
	reader_init(&r, it->at, it->left);
	ret->type = reader_u8(&r);
	ret->size = reader_u16(&r);
	ret->value = reader_take(&r, ret->size);
	*it = (struct tlv_iter){ .at = r.at, .left = r.left, .failed = r.failed };
	return !r.failed;
}

bool tlv_iter_ok(const struct tlv_iter *it)
{
	return !it->failed;
}

bool tlv_ssl_parse(const struct tlv *t, struct tlv_ssl *ret)
{
	struct reader r;
	uint8_t client;
	uint32_t verify;

	reader_init(&r, t->value, t->size);
	client = reader_u8(&r);
	verify = reader_u32(&r);
	if (r.failed)
		return false;
	ret->tls = (client & PP2_CLIENT_SSL) != 0;
	ret->cert_conn = (client & PP2_CLIENT_CERT_CONN) != 0;
	ret->cert_sess = (client & PP2_CLIENT_CERT_SESS) != 0;
	ret->verified = (ret->cert_conn || ret->cert_sess) && verify == 0;
	tlv_iter_init(&ret->sub, r.at, r.left);
	return true;
}

size_t tlv_append(uint8_t *out, size_t used, size_t size, uint8_t type, const void *value,
		  size_t value_size)
{
	struct writer w = { .start = out, .used = used, .size = size };

	if (value_size > UINT16_MAX)
		return 0;
	writer_u8(&w, type);
	writer_u16(&w, (uint16_t)value_size);
	writer_bytes(&w, value, value_size);
	return w.failed ? 0 : w.used;
}

/* Types already written: the keys of a JSON object are unique. */
struct seen {
	uint64_t bits[256 / 64];
};

/* True the second time it is asked about @type. */
static bool seen_before(struct seen *s, uint8_t type)
{
	uint64_t bit = UINT64_C(1) << (type % 64);
	bool before = (s->bits[type / 64] & bit) != 0;

	s->bits[type / 64] |= bit;
	return before;
}

static void write_other(const struct tlv *t, struct json_writer *w)
{
	char key[sizeof "0xNN"];

	snprintf(key, sizeof key, "0x%02x", t->type);
	json_writer_hex(w, key, t->value, t->size);
}

/* The key of a sub-TLV that is text, or NULL. */
static const char *ssl_text_key(uint8_t type)
{
	switch (type) {
	case TLV_SSL_VERSION:
		return "version";
	case TLV_SSL_CN:
		return "cn";
	case TLV_SSL_CIPHER:
		return "cipher";
	case TLV_SSL_SIG_ALG:
		return "sig_alg";
	case TLV_SSL_KEY_ALG:
		return "key_alg";
	case TLV_SSL_GROUP:
		return "group";
	case TLV_SSL_SIG_SCHEME:
		return "sig_scheme";
	default: /* a byte from the wire, not an enum of ours */
		return NULL;
	}
}

static void write_ssl(const struct tlv *t, struct json_writer *w)
{
	struct seen seen = { 0 };
	struct tlv_ssl ssl;
	struct tlv sub;

	if (!tlv_ssl_parse(t, &ssl)) {
		write_other(t, w);
		return;
	}
	json_writer_open(w, "ssl", '{');
	while (tlv_next(&ssl.sub, &sub)) {
		const char *key = ssl_text_key(sub.type);

		if (sub.type == TLV_SSL_CLIENT_CERT)
			continue;
		if (seen_before(&seen, sub.type))
			continue;
		if (key != NULL)
			json_writer_bytes(w, key, sub.value, sub.size);
		else
			write_other(&sub, w);
	}
	json_writer_bool(w, "client_cert", ssl.cert_conn || ssl.cert_sess);
	json_writer_bool(w, "verified", ssl.verified);
	json_writer_close(w, '}');
}

/* Cloud providers put a subtype first; only subtype 1 of each has a meaning that is published. */
static void write_aws(const struct tlv *t, struct json_writer *w)
{
	if (t->size > 1 && t->value[0] == 1)
		json_writer_bytes(w, "aws_vpce_id", t->value + 1, t->size - 1u);
	else
		write_other(t, w);
}

static void write_azure(const struct tlv *t, struct json_writer *w)
{
	const uint8_t *v = t->value;

	if (t->size == 5 && v[0] == 1)
		json_writer_uint(w, "azure_link_id",
				 (uint32_t)v[4] << 24 | (uint32_t)v[3] << 16 | (uint32_t)v[2] << 8 |
				     v[1]);
	else
		write_other(t, w);
}

/* As text: the ids use all 64 bits, and most readers of JSON round beyond 2^53. */
static void write_gcp(const struct tlv *t, struct json_writer *w)
{
	char text[sizeof "18446744073709551615"];
	struct reader r;
	uint64_t high;

	if (t->size != 8) {
		write_other(t, w);
		return;
	}
	reader_init(&r, t->value, t->size);
	high = reader_u32(&r);
	snprintf(text, sizeof text, "%ju", (uintmax_t)(high << 32 | reader_u32(&r)));
	json_writer_text(w, "gcp_psc_id", text);
}

static void write_one(const struct tlv *t, struct json_writer *w)
{
	switch (t->type) {
	case TLV_CRC32C:
	case TLV_NOOP:
		break;
	case TLV_ALPN:
		json_writer_bytes(w, "alpn", t->value, t->size);
		break;
	case TLV_AUTHORITY:
		json_writer_bytes(w, "authority", t->value, t->size);
		break;
	case TLV_UNIQUE_ID:
		json_writer_hex(w, "unique_id", t->value, t->size);
		break;
	case TLV_SSL:
		write_ssl(t, w);
		break;
	case TLV_NETNS:
		json_writer_bytes(w, "netns", t->value, t->size);
		break;
	case TLV_AWS:
		write_aws(t, w);
		break;
	case TLV_AZURE:
		write_azure(t, w);
		break;
	case TLV_GCP:
		write_gcp(t, w);
		break;
	default: /* a byte from the wire, not an enum of ours */
		write_other(t, w);
	}
}

void tlv_write_json(const uint8_t *tlvs, size_t size, struct json_writer *w)
{
	struct seen seen = { 0 };
	struct tlv_iter it;
	struct tlv t;

	tlv_iter_init(&it, tlvs, size);
	while (tlv_next(&it, &t))
		if (!seen_before(&seen, t.type))
			write_one(&t, w);
}

bool tlv_worth_logging(const uint8_t *tlvs, size_t size)
{
	struct tlv_iter it;
	struct tlv t;

	tlv_iter_init(&it, tlvs, size);
	while (tlv_next(&it, &t))
		if (t.type != TLV_CRC32C && t.type != TLV_NOOP)
			return true;
	return false;
}
