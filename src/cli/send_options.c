/* SPDX-License-Identifier: MIT */
#include "cli/send_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "wire/tlv.h"

/* Longest UNIQUE_ID (section 2.2.5) [bytes] */
#define UNIQUE_ID_MAX 128

/* Subtype of the AWS TLV that carries a VPC endpoint id. */
#define AWS_VPCE_ID 0x01

enum { /* of getopt_long(3) */
	V1 = 256,
	V2,
	SRC,
	DST,
	LOCAL,
	UNKNOWN,
	CRC32C,
	ALPN,
	AUTHORITY,
	UNIQUE_ID,
	VPCE,
	TLV,
};

static const struct option options[] = {
	{ "v1", no_argument, NULL, V1 },
	{ "v2", no_argument, NULL, V2 },
	{ "src", required_argument, NULL, SRC },
	{ "dst", required_argument, NULL, DST },
	{ "local", no_argument, NULL, LOCAL },
	{ "unknown", no_argument, NULL, UNKNOWN },
	{ "crc32c", no_argument, NULL, CRC32C },
	{ "alpn", required_argument, NULL, ALPN },
	{ "authority", required_argument, NULL, AUTHORITY },
	{ "unique-id", required_argument, NULL, UNIQUE_ID },
	{ "vpce", required_argument, NULL, VPCE },
	{ "tlv", required_argument, NULL, TLV },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const struct {
	int one;
	int other;
	const char *why;
} conflicts[] = {
	{ V1, V2, "a header has one version" },
	{ V1, LOCAL, "v1 has no LOCAL; what comes nearest is --unknown" },
	{ V1, CRC32C, "v1 has no TLVs" },
	{ V1, ALPN, "v1 has no TLVs" },
	{ V1, AUTHORITY, "v1 has no TLVs" },
	{ V1, UNIQUE_ID, "v1 has no TLVs" },
	{ V1, VPCE, "v1 has no TLVs" },
	{ V1, TLV, "v1 has no TLVs" },
	{ LOCAL, UNKNOWN, "a header has one command" },
	{ LOCAL, SRC, "LOCAL carries no addresses" },
	{ LOCAL, DST, "LOCAL carries no addresses" },
	{ UNKNOWN, SRC, "UNKNOWN carries no addresses" },
	{ UNKNOWN, DST, "UNKNOWN carries no addresses" },
};

/* What was given, as bits. */
static unsigned bit(int option)
{
	return 1U << (option - V1);
}

static const char *name_of(int option)
{
	return options[option - V1].name;
}

static int check_conflicts(unsigned given)
{
	for (size_t i = 0; i < ARRAY_SIZE(conflicts); i++) {
		unsigned both = bit(conflicts[i].one) | bit(conflicts[i].other);

		if ((given & both) == both)
			return command_usage_error("send", "--%s and --%s: %s",
						   name_of(conflicts[i].one),
						   name_of(conflicts[i].other), conflicts[i].why);
	}
	return COMMAND_OK;
}

static int parse_address(int option, struct address *ret)
{
	const char *why;

	if (address_parse(optarg, ret, &why) != 0)
		return command_usage_error("send", "--%s \"%s\": %s", name_of(option), optarg, why);
	return COMMAND_OK;
}

static int add_tlv(struct send_options *o, uint8_t type, const void *value, size_t size)
{
	size_t used = tlv_append(o->tlvs, o->header.tlvs_size, sizeof o->tlvs, type, value, size);

	if (used == 0)
		return command_usage_error("send", "the TLVs are too long for a header");
	o->header.tlvs_size = used;
	return COMMAND_OK;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	if (at == NULL)
		return -1;
	return (int)(at - digits) < 16 ? (int)(at - digits) : (int)(at - digits) - 6;
}

/* Returns false if @text is no hex, or too long for @ret. */
static bool parse_hex(const char *text, uint8_t *ret, size_t max, size_t *retsize)
{
	size_t size = strlen(text) / 2;

	if (strlen(text) % 2 != 0 || size > max)
		return false;
	for (size_t i = 0; i < size; i++) {
		int high = hex_digit(text[2 * i]);
		int low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	*retsize = size;
	return true;
}

static int add_unique_id(struct send_options *o)
{
	uint8_t id[UNIQUE_ID_MAX];
	size_t size;

	if (!parse_hex(optarg, id, sizeof id, &size))
		return command_usage_error(
		    "send", "--unique-id \"%s\": pairs of hex digits are wanted, at most %d pairs",
		    optarg, UNIQUE_ID_MAX);
	return add_tlv(o, TLV_UNIQUE_ID, id, size);
}

static int add_vpce(struct send_options *o)
{
	char value[1 + 255] = { AWS_VPCE_ID };
	size_t size = strlen(optarg);

	if (size > sizeof value - 1)
		return command_usage_error("send", "--vpce: at most 255 characters");
	memcpy(value + 1, optarg, size);
	return add_tlv(o, TLV_AWS, value, 1 + size);
}

/* TYPE=HEX; the type is 0xNN or decimal. */
static int add_any(struct send_options *o)
{
	uint8_t value[UINT16_MAX];
	size_t size;
	char *end;
	unsigned long type = strtoul(optarg, &end, 0);

	if (optarg[0] < '0' || optarg[0] > '9' || *end != '=' || type > UINT8_MAX)
		return command_usage_error(
		    "send",
		    "--tlv \"%s\": write TYPE=HEX with a type from 0 to 255, as in 0xea=01ff",
		    optarg);
	if (!parse_hex(end + 1, value, sizeof value, &size))
		return command_usage_error("send", "--tlv \"%s\": pairs of hex digits are wanted",
					   optarg);
	return add_tlv(o, (uint8_t)type, value, size);
}

/* Not for ':' and '?'. */
static int take_option(struct send_options *o, int option)
{
	static const uint8_t no_crc[4]; /* filled when the header is encoded */

	switch (option) {
	case V1:
		o->header.version = 1;
		return COMMAND_OK;
	case LOCAL:
		o->header.command = PROXY_COMMAND_LOCAL;
		return COMMAND_OK;
	case UNKNOWN:
		o->header.command = PROXY_COMMAND_UNKNOWN;
		return COMMAND_OK;
	case SRC:
		return parse_address(option, &o->header.source);
	case DST:
		return parse_address(option, &o->header.destination);
	case CRC32C:
		return add_tlv(o, TLV_CRC32C, no_crc, sizeof no_crc);
	case ALPN:
		return add_tlv(o, TLV_ALPN, optarg, strlen(optarg));
	case AUTHORITY:
		return add_tlv(o, TLV_AUTHORITY, optarg, strlen(optarg));
	case UNIQUE_ID:
		return add_unique_id(o);
	case VPCE:
		return add_vpce(o);
	case TLV:
		return add_any(o);
	default: /* V2, which is what we start with */
		return COMMAND_OK;
	}
}

static int parse_options(int argc, char **argv, struct send_options *o)
{
	unsigned given = 0;
	int option;

	opterr = 0; /* we say it ourselves */
	optind = 0; /* start over, whoever used getopt before */
	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		int rv;

		if (option == 'h') {
			o->help = true;
			return COMMAND_OK;
		}
		if (option == ':' || option == '?')
			return command_option_error("send", option, argv);
		if ((given & bit(option)) != 0 && option != TLV)
			return command_usage_error("send", "--%s is given twice", name_of(option));
		given |= bit(option);
		rv = take_option(o, option);
		if (rv != COMMAND_OK)
			return rv;
	}
	return check_conflicts(given);
}

static int parse_target(int argc, char **argv, struct send_options *o)
{
	char why[ENDPOINT_ERROR_MAX];
	int rv;

	if (optind == argc)
		return command_usage_error("send", "where to? HOST:PORT or unix:/path is missing");
	if (optind + 1 < argc)
		return command_usage_error("send", "unexpected argument \"%s\"", argv[optind + 1]);
	rv = endpoint_parse(argv[optind], true, &o->target, why);
	if (rv == -ENOMEM) {
		fputs("unproxy: out of memory\n", stderr);
		return COMMAND_FAILED;
	}
	if (rv != 0)
		return command_usage_error("send", "\"%s\": %s", argv[optind], why);
	return COMMAND_OK;
}

static int check_addresses(const struct send_options *o)
{
	const struct address *source = &o->header.source;
	const struct address *destination = &o->header.destination;
	bool complete = source->family != AF_UNSPEC && destination->family != AF_UNSPEC;

	if (complete && source->family != destination->family)
		return command_usage_error(
		    "send", "--src and --dst: both are IPv4 or both are IPv6 in a header");
	if (o->header.command == PROXY_COMMAND_PROXY && o->target.kind == ENDPOINT_UNIX &&
	    !complete)
		return command_usage_error("send", "a unix socket has no addresses to send; give "
						   "--src and --dst, or --local or --unknown");
	return COMMAND_OK;
}

int send_options_parse(int argc, char **argv, struct send_options *ret)
{
	int rv;

	memset(ret, 0, sizeof *ret);
	ret->header.version = 2;
	ret->header.command = PROXY_COMMAND_PROXY;
	ret->header.transport = PROXY_TRANSPORT_STREAM;
	ret->header.source.family = AF_UNSPEC;
	ret->header.destination.family = AF_UNSPEC;
	ret->header.tlvs = ret->tlvs;
	rv = parse_options(argc, argv, ret);
	if (rv != COMMAND_OK || ret->help)
		return rv;
	rv = parse_target(argc, argv, ret);
	if (rv != COMMAND_OK)
		return rv;
	rv = check_addresses(ret);
	if (rv != COMMAND_OK)
		endpoint_fini(&ret->target);
	return rv;
}

void send_options_fini(struct send_options *o)
{
	endpoint_fini(&o->target);
}
