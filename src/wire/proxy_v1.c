/* SPDX-License-Identifier: MIT */
/* A line is cut into fields at single spaces, and the fields are judged from left to right, each as
 * far as it is there. So a bad byte is found when it arrives, and the reason does not depend on how
 * the bytes were cut. */
#include "wire/proxy_v1.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "wire/writer.h"

/* What is there of a line, without its signature. */
struct v1_line {
	const char *at;
	size_t left;
	bool ended; /* a CR or LF follows */
};

enum v1_field_end {
	V1_FIELD_OPEN, /* more of it may come */
	V1_FIELD_SPACE,
	V1_FIELD_LINE_END,
};

struct v1_field {
	const char *text; /* in the input */
	size_t size;
	enum v1_field_end end;
};

static enum parse v1_bad(enum header_error why, enum header_error *reterr)
{
	*reterr = why;
	return PARSE_BAD;
}

/* The line ends at the first CR or LF among @size bytes, whatever it is worth. */
static struct v1_line v1_line_find(const uint8_t *data, size_t size)
{
	const uint8_t *cr = memchr(data, '\r', size);
	const uint8_t *lf = memchr(data, '\n', cr != NULL ? (size_t)(cr - data) : size);
	const uint8_t *end = lf != NULL ? lf : cr;

	return (struct v1_line){
		.at = (const char *)data,
		.left = end != NULL ? (size_t)(end - data) : size,
		.ended = end != NULL,
	};
}

static struct v1_field v1_field_take(struct v1_line *line)
{
	const char *space = memchr(line->at, ' ', line->left);
	struct v1_field f = { .text = line->at, .size = line->left };

	f.end = line->ended ? V1_FIELD_LINE_END : V1_FIELD_OPEN;
	if (space != NULL) {
		f.size = (size_t)(space - line->at);
		f.end = V1_FIELD_SPACE;
		line->at++;
		line->left--;
	}
	line->at += f.size;
	line->left -= f.size;
	return f;
}

/* The field may be right so far: does it end as it must? */
static enum parse v1_field_check_end(const struct v1_field *f, enum v1_field_end expected,
				     enum header_error *reterr)
{
	if (f->end == V1_FIELD_OPEN)
		return PARSE_MORE;
	if (f->end != expected || f->size == 0)
		return v1_bad(HEADER_BAD_LINE, reterr);
	return PARSE_DONE;
}

/* For UNKNOWN, PROXY_FAMILY_UNSPEC is done without the rest of the line. */
static enum parse v1_protocol(struct v1_line *line, enum proxy_family *ret,
			      enum header_error *reterr)
{
	static const struct {
		const char *name;
		size_t size;
		enum proxy_family family;
	} protocols[] = {
		{ "TCP4", 4, PROXY_FAMILY_INET },
		{ "TCP6", 4, PROXY_FAMILY_INET6 },
		{ "UNKNOWN", 7, PROXY_FAMILY_UNSPEC },
	};
	struct v1_field f = v1_field_take(line);

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (f.size > protocols[i].size || memcmp(f.text, protocols[i].name, f.size) != 0)
			continue;
		if (f.end == V1_FIELD_OPEN)
			return PARSE_MORE;
		if (f.size < protocols[i].size)
			break;
		*ret = protocols[i].family;
		if (f.end == V1_FIELD_SPACE || *ret == PROXY_FAMILY_UNSPEC)
			return PARSE_DONE;
	}
	return v1_bad(HEADER_BAD_LINE, reterr);
}

/* Only what may stand in a literal: inet_pton(3) sees no byte behind a zero. */
static bool v1_address_is_plain(const struct v1_field *f, bool is_ipv6)
{
	if (f->size >= (is_ipv6 ? INET6_ADDRSTRLEN : INET_ADDRSTRLEN))
		return false;
	for (size_t i = 0; i < f->size; i++) {
		char c = f->text[i];
		char lower = (char)(c | 0x20);

		if ((c >= '0' && c <= '9') || c == '.')
			continue;
		if (!is_ipv6 || (c != ':' && (lower < 'a' || lower > 'f')))
			return false;
	}
	return true;
}

static enum parse v1_address(struct v1_line *line, enum proxy_family family, struct address *ret,
			     enum header_error *reterr)
{
	bool is_ipv6 = family == PROXY_FAMILY_INET6;
	struct v1_field f = v1_field_take(line);
	char text[INET6_ADDRSTRLEN];
	uint8_t ip[16];
	enum parse end;

	if (!v1_address_is_plain(&f, is_ipv6))
		return v1_bad(HEADER_BAD_ADDRESS, reterr);
	end = v1_field_check_end(&f, V1_FIELD_SPACE, reterr);
	if (end != PARSE_DONE)
		return end;
	memcpy(text, f.text, f.size);
	text[f.size] = '\0';
	if (inet_pton(is_ipv6 ? AF_INET6 : AF_INET, text, ip) != 1)
		return v1_bad(HEADER_BAD_ADDRESS, reterr);
	address_set_ip(ret, ip, is_ipv6 ? 16 : 4, 0);
	return PARSE_DONE;
}

static enum parse v1_port(struct v1_line *line, enum v1_field_end end, uint16_t *ret,
			  enum header_error *reterr)
{
	struct v1_field f = v1_field_take(line);

	/* Every beginning of a port is a port. */
	if (f.size > 0 && port_parse(f.text, f.size, ret) != 0)
		return v1_bad(HEADER_BAD_PORT, reterr);
	return v1_field_check_end(&f, end, reterr);
}

static enum parse v1_fields(struct v1_line *line, struct proxy_header *h, enum header_error *reterr)
{
	enum parse p = v1_protocol(line, &h->family, reterr);

	if (p == PARSE_DONE && h->family == PROXY_FAMILY_UNSPEC) {
		h->command = PROXY_COMMAND_UNKNOWN;
		return line->ended ? PARSE_DONE : PARSE_MORE;
	}
	h->command = PROXY_COMMAND_PROXY;
	if (p == PARSE_DONE)
		p = v1_address(line, h->family, &h->source, reterr);
	if (p == PARSE_DONE)
		p = v1_address(line, h->family, &h->destination, reterr);
	if (p == PARSE_DONE)
		p = v1_port(line, V1_FIELD_SPACE, &h->source.port, reterr);
	if (p == PARSE_DONE)
		p = v1_port(line, V1_FIELD_LINE_END, &h->destination.port, reterr);
	return p;
}

enum parse proxy_v1_parse(const uint8_t *data, size_t size, struct proxy_header *ret,
			  enum header_error *reterr)
{
	const size_t last = PROXY_V1_MAX - 1; /* where the LF stands at the latest */
	size_t known = size < last ? size : last;
	struct proxy_header h = { .version = 1, .transport = PROXY_TRANSPORT_STREAM };
	struct v1_line line;
	const uint8_t *end;
	enum parse p;

	line = v1_line_find(data + PROXY_V1_SIGNATURE_SIZE, known - PROXY_V1_SIGNATURE_SIZE);
	end = data + PROXY_V1_SIGNATURE_SIZE + line.left;
	p = v1_fields(&line, &h, reterr);
	if (p == PARSE_MORE && size >= last)
		return v1_bad(HEADER_TOO_LONG, reterr);
	if (p != PARSE_DONE)
		return p;
	if (*end != '\r')
		return v1_bad(HEADER_BAD_LINE_END, reterr);
	h.length = (size_t)(end - data) + 2;
	if (size < h.length)
		return PARSE_MORE;
	if (end[1] != '\n')
		return v1_bad(HEADER_BAD_LINE_END, reterr);
	*ret = h;
	return PARSE_DONE;
}

/* Can v1 say it? */
static bool v1_has_words_for(const struct proxy_header *h)
{
	if (h->command != PROXY_COMMAND_PROXY || h->transport != PROXY_TRANSPORT_STREAM ||
	    address_ip_size(&h->source) == 0 || address_ip_size(&h->destination) == 0)
		return false;
	return h->family == PROXY_FAMILY_INET6 ||
	       (h->family == PROXY_FAMILY_INET && h->source.family == AF_INET &&
		h->destination.family == AF_INET);
}

/* An IPv4 address in a TCP6 line came as a mapped one, and leaves as one. */
static const char *v1_prefix(const struct proxy_header *h, const struct address *a)
{
	return h->family == PROXY_FAMILY_INET6 && a->family == AF_INET ? "::ffff:" : "";
}

size_t proxy_v1_encode(const struct proxy_header *h, uint8_t *out, size_t size)
{
	char source[ADDRESS_TEXT_MAX];
	char destination[ADDRESS_TEXT_MAX];
	char line[2 * ADDRESS_TEXT_MAX + 64] = "PROXY UNKNOWN\r\n";
	struct writer w;

	if (v1_has_words_for(h)) {
		address_format_ip(&h->source, source);
		address_format_ip(&h->destination, destination);
		snprintf(line, sizeof line, "PROXY TCP%c %s%s %s%s %u %u\r\n",
			 h->family == PROXY_FAMILY_INET ? '4' : '6', v1_prefix(h, &h->source),
			 source, v1_prefix(h, &h->destination), destination, h->source.port,
			 h->destination.port);
	}
	writer_init(&w, out, size);
	writer_bytes(&w, line, strlen(line));
	return w.failed ? 0 : w.used;
}
