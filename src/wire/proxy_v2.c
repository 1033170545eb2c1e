/* SPDX-License-Identifier: MIT */
#include "wire/proxy_v2.h"

#include <string.h>

#include "base/crc32c.h"
#include "wire/reader.h"
#include "wire/tlv.h"
#include "wire/writer.h"

#define V2_VERSION       0x2 /* high nibble of the 13th byte */
#define V2_LOCAL         0x0 /* low nibble of it */
#define V2_PROXY         0x1
#define V2_UNIQUE_ID_MAX 128 /* [bytes] (section 2.2.5) */

/* Bytes of addresses and ports that follow the fixed part. If the family or the transport is
 * UNSPEC, nothing says what the sender put there, and the receiver ignores it (section 2.2). */
static size_t v2_addresses_size(enum proxy_family family, enum proxy_transport transport)
{
	if (transport == PROXY_TRANSPORT_UNSPEC)
		return 0;
	switch (family) {
	case PROXY_FAMILY_UNSPEC:
		return 0;
	case PROXY_FAMILY_INET:
		return 2 * 4 + 2 * 2;
	case PROXY_FAMILY_INET6:
		return 2 * 16 + 2 * 2;
	case PROXY_FAMILY_UNIX:
		return 2 * PROXY_UNIX_PATH;
	}
	return 0;
}

static bool v2_tlvs_are_whole(struct tlv_iter it)
{
	struct tlv t;

	while (tlv_next(&it, &t))
		;
	return tlv_iter_ok(&it);
}

static bool v2_ssl_is_whole(const struct tlv *t)
{
	struct tlv_ssl ssl;

	return tlv_ssl_parse(t, &ssl) && v2_tlvs_are_whole(ssl.sub);
}

/* The checksum counts its own four bytes at @field as zeros. The input is not ours to change, so it
 * is computed in three pieces. */
static bool v2_crc_matches(const uint8_t *data, size_t length, const uint8_t *field)
{
	static const uint8_t zeros[4];
	size_t before = (size_t)(field - data);
	uint32_t crc = crc32c(0, data, before);
	struct reader r;

	crc = crc32c(crc, zeros, sizeof zeros);
	crc = crc32c(crc, field + sizeof zeros, length - before - sizeof zeros);
	reader_init(&r, field, sizeof zeros);
	return crc == reader_u32(&r);
}

/* Check the TLVs from @start on to the end of the header, @length. */
static enum header_error v2_check_tlvs(const uint8_t *data, size_t length, size_t start)
{
	const uint8_t *crc = NULL;
	struct tlv_iter it;
	struct tlv t;

	tlv_iter_init(&it, data + start, length - start);
	while (tlv_next(&it, &t)) {
		if (t.type == TLV_CRC32C) {
			if (t.size != 4 || crc != NULL)
				return HEADER_BAD_CRC_TLV;
			crc = t.value;
		} else if (t.type == TLV_UNIQUE_ID && t.size > V2_UNIQUE_ID_MAX) {
			return HEADER_BAD_UNIQUE_ID;
		} else if (t.type == TLV_SSL && !v2_ssl_is_whole(&t)) {
			return HEADER_BAD_SSL;
		}
	}
	if (!tlv_iter_ok(&it))
		return HEADER_TLV_OVERRUN;
	if (crc != NULL && !v2_crc_matches(data, length, crc))
		return HEADER_BAD_CRC;
	return HEADER_OK;
}

static void v2_read_addresses(const uint8_t *at, struct proxy_header *h)
{
	size_t ip_size = h->family == PROXY_FAMILY_INET ? 4 : 16;
	const uint8_t *ports = at + 2 * ip_size;

	if (h->family == PROXY_FAMILY_UNIX) {
		h->unix_source = at;
		h->unix_destination = at + PROXY_UNIX_PATH;
		return;
	}
	address_set_ip(&h->source, at, ip_size, (uint16_t)(ports[0] << 8 | ports[1]));
	address_set_ip(&h->destination, at + ip_size, ip_size,
		       (uint16_t)(ports[2] << 8 | ports[3]));
}

/* What follows the fixed part of a PROXY header; all of it is there. */
static enum header_error v2_read_proxy(const uint8_t *data, size_t addresses_size,
				       struct proxy_header *h)
{
	size_t start = PROXY_V2_FIXED + addresses_size;
	struct tlv_iter it;
	enum header_error why;

	if (addresses_size > 0) {
		v2_read_addresses(data + PROXY_V2_FIXED, h);
	} else if (h->family != PROXY_FAMILY_UNSPEC || h->transport != PROXY_TRANSPORT_UNSPEC) {
		return HEADER_OK; /* where TLVs would begin is not known */
	} else {
		/* HAProxy puts TLVs straight behind 0x00. If these are none, they are the "address
		 * information" that the specification lets a sender add and tells us to ignore. */
		tlv_iter_init(&it, data + start, h->length - start);
		if (!v2_tlvs_are_whole(it))
			return HEADER_OK;
	}
	if (start == h->length)
		return HEADER_OK;
	why = v2_check_tlvs(data, h->length, start);
	h->tlvs = data + start;
	h->tlvs_size = h->length - start;
	return why;
}

/* The bytes before the length, each as soon as it is there. Returns HEADER_OK for those to come. */
static enum header_error v2_check_fixed(const uint8_t *data, size_t size)
{
	if (size < 13)
		return HEADER_OK;
	if (data[12] >> 4 != V2_VERSION)
		return HEADER_BAD_VERSION;
	if ((data[12] & 0xf) == V2_LOCAL)
		return HEADER_OK; /* its family says nothing */
	if ((data[12] & 0xf) != V2_PROXY)
		return HEADER_BAD_COMMAND;
	if (size >= 14 &&
	    (data[13] >> 4 > PROXY_FAMILY_UNIX || (data[13] & 0xf) > PROXY_TRANSPORT_DGRAM))
		return HEADER_BAD_FAMILY;
	return HEADER_OK;
}

static enum parse v2_bad(enum header_error why, enum header_error *reterr)
{
	*reterr = why;
	return PARSE_BAD;
}

enum parse proxy_v2_parse(const uint8_t *data, size_t size, size_t max, struct proxy_header *ret,
			  enum header_error *reterr)
{
	struct proxy_header h = { .version = 2, .command = PROXY_COMMAND_LOCAL };
	enum header_error why = v2_check_fixed(data, size);
	size_t addresses_size = 0;

	if (why != HEADER_OK)
		return v2_bad(why, reterr);
	if (size < PROXY_V2_FIXED)
		return PARSE_MORE;
	if ((data[12] & 0xf) == V2_PROXY) {
		h.command = PROXY_COMMAND_PROXY;
		h.family = (enum proxy_family)(data[13] >> 4);
		h.transport = (enum proxy_transport)(data[13] & 0xf);
		addresses_size = v2_addresses_size(h.family, h.transport);
	}
	h.length = PROXY_V2_FIXED + (size_t)(data[14] << 8 | data[15]);
	if (h.length > max)
		return v2_bad(HEADER_TOO_LONG, reterr);
	if (h.length - PROXY_V2_FIXED < addresses_size)
		return v2_bad(HEADER_SHORT, reterr);
	if (size < h.length)
		return PARSE_MORE;
	if (h.command == PROXY_COMMAND_PROXY)
		why = v2_read_proxy(data, addresses_size, &h);
	if (why != HEADER_OK)
		return v2_bad(why, reterr);
	*ret = h;
	return PARSE_DONE;
}

/* IPv4 among IPv6 is written as a mapped address, which is how it came. */
static void v2_write_ip(struct writer *w, const struct address *a, enum proxy_family family)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (family == PROXY_FAMILY_INET6 && a->family == AF_INET)
		writer_bytes(w, mapped, sizeof mapped);
	writer_bytes(w, a->ip, address_ip_size(a));
}

/* The writer fails if the addresses are not of the family. */
static void v2_write_addresses(struct writer *w, const struct proxy_header *h)
{
	size_t expected = w->used + v2_addresses_size(h->family, h->transport);

	if (h->family != PROXY_FAMILY_UNIX) {
		v2_write_ip(w, &h->source, h->family);
		v2_write_ip(w, &h->destination, h->family);
		writer_u16(w, h->source.port);
		writer_u16(w, h->destination.port);
	} else if (h->unix_source != NULL && h->unix_destination != NULL) {
		writer_bytes(w, h->unix_source, PROXY_UNIX_PATH);
		writer_bytes(w, h->unix_destination, PROXY_UNIX_PATH);
	}
	if (w->used != expected)
		w->failed = true;
}

static void v2_fill_crc(uint8_t *header, size_t length, size_t start)
{
	struct tlv_iter it;
	struct tlv t;

	tlv_iter_init(&it, header + start, length - start);
	while (tlv_next(&it, &t)) {
		uint8_t *field = header + (t.value - header);
		uint32_t crc;

		if (t.type != TLV_CRC32C || t.size != 4)
			continue;
		memset(field, 0, 4);
		crc = crc32c(0, header, length);
		for (int i = 0; i < 4; i++)
			field[i] = (uint8_t)(crc >> (24 - 8 * i));
		return;
	}
}

size_t proxy_v2_encode(const struct proxy_header *h, uint8_t *out, size_t size)
{
	bool proxy = h->command == PROXY_COMMAND_PROXY;
	size_t addresses_size = proxy ? v2_addresses_size(h->family, h->transport) : 0;
	struct writer w;
	size_t start;

	if (h->tlvs_size > UINT16_MAX - addresses_size)
		return 0;
	writer_init(&w, out, size);
	writer_bytes(&w, PROXY_V2_SIGNATURE, PROXY_V2_SIGNATURE_SIZE);
	/* v2 has no UNKNOWN: that is PROXY with a family of UNSPEC. */
	writer_u8(&w, V2_VERSION << 4 | (h->command == PROXY_COMMAND_LOCAL ? V2_LOCAL : V2_PROXY));
	writer_u8(&w, proxy ? (uint8_t)(h->family << 4 | h->transport) : 0);
	writer_u16(&w, (uint16_t)(addresses_size + h->tlvs_size));
	if (addresses_size > 0)
		v2_write_addresses(&w, h);
	start = w.used;
	writer_bytes(&w, h->tlvs, h->tlvs_size);
	if (w.failed)
		return 0;
	v2_fill_crc(out, w.used, start);
	return w.used;
}
