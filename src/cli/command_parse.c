/* SPDX-License-Identifier: MIT */
/* `unproxy parse`: one header from a file or stdin, as JSON.
 *
 * Happy path:
 * - The input is read, as bytes or as hex digits, and its header is printed as one JSON object.
 *
 * What can go wrong:
 * - The input cannot be read: say why.
 * - It is no header: say which byte made it none, where the parser stops at one, and the reason.
 * - It ends within the header: say how many bytes it takes at least. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/json_writer.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "wire/proxy_header.h"
#include "wire/tlv.h"

/* The longest header, and some payload behind it to count. Endless input is cut off here. */
#define INPUT_MAX (PROXY_HEADER_MAX + 64 * 1024)

/* TLVs of 64 KiB in which every byte becomes six (\u0000), and the rest. */
#define JSON_MAX (6 * PROXY_HEADER_MAX + 8192)

struct input {
	const char *name; /* for messages */
	uint8_t bytes[INPUT_MAX];
	size_t size;
	bool cut; /* there was more */
};

static void input_read_bytes(struct input *in, FILE *f)
{
	in->size = fread(in->bytes, 1, sizeof in->bytes, f);
	in->cut = in->size == sizeof in->bytes && getc(f) != EOF;
}

/* Returns the value of a hex digit, or -1. */
static int hex_value(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Returns false after saying what is wrong with the digits. */
static bool input_read_hex(struct input *in, FILE *f)
{
	unsigned byte = 0;
	size_t digits = 0;
	size_t at = 0; /* characters read */
	int c;

	while ((c = getc(f)) != EOF) {
		int value = hex_value(c);

		at++;
		if (isspace(c))
			continue;
		if (value < 0) {
			fprintf(stderr, "unproxy: %s: character %zu is no hex digit\n", in->name,
				at);
			return false;
		}
		if (in->size == sizeof in->bytes) {
			in->cut = true;
			return true;
		}
		byte = byte << 4 | (unsigned)value;
		if (++digits % 2 == 0)
			in->bytes[in->size++] = (uint8_t)byte;
	}
	if (digits % 2 != 0)
		fprintf(stderr, "unproxy: %s: an odd number of hex digits\n", in->name);
	return digits % 2 == 0;
}

/* Returns false after saying why. */
static bool input_read(struct input *in, const char *path, bool hex)
{
	bool is_stdin = path == NULL || strcmp(path, "-") == 0;
	FILE *f = is_stdin ? stdin : fopen(path, "rb");
	bool ok = true;

	in->name = is_stdin ? "stdin" : path;
	if (f == NULL) {
		fprintf(stderr, "unproxy: %s: %s\n", in->name, strerror(errno));
		return false;
	}
	if (hex)
		ok = input_read_hex(in, f);
	else
		input_read_bytes(in, f);
	if (ferror(f)) {
		fprintf(stderr, "unproxy: %s: %s\n", in->name, strerror(errno));
		ok = false;
	}
	if (!is_stdin)
		fclose(f);
	return ok;
}

static void write_address(struct json_writer *w, const char *key, const struct address *a)
{
	char text[ADDRESS_TEXT_MAX];

	if (address_format(a, text) > 0)
		json_writer_text(w, key, text);
}

/* "unix:/path", or "unix:@name" for a name that is in no file system (unix(7)). */
static void write_unix_address(struct json_writer *w, const char *key, const uint8_t *path)
{
	char text[sizeof "unix:" + PROXY_UNIX_PATH] = "unix:";
	size_t start = strlen(text);

	if (path == NULL)
		return;
	memcpy(text + start, path, PROXY_UNIX_PATH);
	if (path[0] == '\0' && path[1] != '\0')
		text[start] = '@';
	json_writer_text(w, key, text);
}

static void write_header(const struct proxy_header *h, const struct input *in,
			 struct json_writer *w)
{
	static const char *const families[] = { "UNSPEC", "INET", "INET6", "UNIX" };
	static const char *const transports[] = { "UNSPEC", "STREAM", "DGRAM" };

	json_writer_open(w, NULL, '{');
	json_writer_uint(w, "version", h->version);
	json_writer_text(w, "command", proxy_command_name(h->command));
	json_writer_text(w, "family", families[h->family]);
	json_writer_text(w, "transport", transports[h->transport]);
	write_address(w, "source", &h->source);
	write_address(w, "destination", &h->destination);
	write_unix_address(w, "source", h->unix_source);
	write_unix_address(w, "destination", h->unix_destination);
	json_writer_uint(w, "length", h->length);
	if (tlv_worth_logging(h->tlvs, h->tlvs_size)) {
		json_writer_open(w, "tlv", '{');
		tlv_write_json(h->tlvs, h->tlvs_size, w);
		json_writer_close(w, '}');
	}
	json_writer_uint(w, "payload_bytes", in->size - h->length);
	if (in->cut)
		json_writer_bool(w, "payload_cut", true);
	json_writer_close(w, '}');
}

static int print_header(const struct proxy_header *h, const struct input *in)
{
	static char text[JSON_MAX];
	struct strbuf out;
	struct json_writer w;

	strbuf_init(&out, text, sizeof text);
	json_writer_init(&w, &out);
	write_header(h, in, &w);
	assert(!out.cut);
	puts(text);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "unproxy: stdout: %s\n", strerror(errno));
		return COMMAND_FAILED;
	}
	return COMMAND_OK;
}

/* The first byte, counted from 1, with which the input cannot become a header any more. 0 if it takes
 * the whole header to tell, because its TLVs or its checksum are wrong. */
static size_t find_bad_byte(const struct input *in)
{
	size_t n = 1;
	struct proxy_header h;
	enum header_error why;

	while (proxy_header_parse(in->bytes, n, PROXY_HEADER_MAX, &h, &why) != PARSE_BAD)
		n++;
	return in->bytes[0] == '\r' && n > PROXY_V2_FIXED ? 0 : n;
}

/* The least that the header in @in, which is incomplete, can have. */
static size_t least_length(const struct input *in)
{
	const size_t shortest_v1 = strlen("PROXY UNKNOWN\r\n");

	if (in->size == 0 || in->bytes[0] != '\r')
		return in->size < shortest_v1 ? shortest_v1 : in->size + 1;
	if (in->size < PROXY_V2_FIXED)
		return PROXY_V2_FIXED;
	return PROXY_V2_FIXED + (size_t)(in->bytes[14] << 8 | in->bytes[15]);
}

static void report_bad(const struct input *in, enum header_error why)
{
	size_t bad_byte = find_bad_byte(in);

	fprintf(stderr, "unproxy: %s: ", in->name);
	if (bad_byte > 0)
		fprintf(stderr, "byte %zu: ", bad_byte);
	fprintf(stderr, "%s\n", header_error_text(why));
}

static int parse_input(const struct input *in)
{
	struct proxy_header h;
	enum header_error why;

	switch (proxy_header_parse(in->bytes, in->size, PROXY_HEADER_MAX, &h, &why)) {
	case PARSE_DONE:
		return print_header(&h, in);
	case PARSE_MORE:
		fprintf(stderr, "unproxy: %s: incomplete: %zu bytes, at least %zu needed\n",
			in->name, in->size, least_length(in));
		break;
	case PARSE_BAD:
		report_bad(in, why);
		break;
	}
	return COMMAND_FAILED;
}

int command_parse(int argc, char **argv)
{
	static struct input in;
	const char *path = NULL;
	bool hex = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			command_help_print("parse");
			return COMMAND_OK;
		}
		if (strcmp(argv[i], "--hex") == 0)
			hex = true;
		else if (argv[i][0] == '-' && argv[i][1] != '\0')
			return command_usage_error("parse", "unknown option \"%s\"", argv[i]);
		else if (path != NULL)
			return command_usage_error("parse", "one FILE at a time");
		else
			path = argv[i];
	}
	if (!input_read(&in, path, hex))
		return COMMAND_FAILED;
	return parse_input(&in);
}
