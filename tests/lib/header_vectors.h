/* SPDX-License-Identifier: MIT */
/* Headers, good and bad, with what a receiver must make of them: for the unit tests, the seeds of the fuzz
 * targets and the benchmark. The names stand in test output and are the names of the seeds. */
#ifndef HEADER_VECTORS_H
#define HEADER_VECTORS_H

#include <stddef.h>

#include "wire/proxy_header.h"

struct good_header {
	const char *name;
	const char *bytes;
	size_t size;
	uint8_t version;
	enum proxy_command command;
	enum proxy_family family;
	enum proxy_transport transport;
	const char *source; /* as address_format() writes it */
	const char *destination;
	size_t tlvs_size;
};

struct bad_header {
	const char *name;
	const char *bytes;
	size_t size;
	enum header_error error;
	size_t found_at; /* with so many bytes it is known to be bad, with fewer not */
};

/* One header is one block.
 * clang-format would take the blocks apart. */
/* clang-format off */

#define V2 "\r\n\r\n\0\r\nQUIT\n" /* the signature of version 2 */

#define IP4 "\xcb\x00\x71\x07" "\xc0\x00\x02\x01" "\xdd\x04" "\x01\xbb" /* 12 bytes */
#define IP6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07" \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" "\xdd\x04" "\x01\xbb" /* 36 bytes */
#define IP4_SOURCE      "203.0.113.7:56580"
#define IP4_DESTINATION "192.0.2.1:443"
#define IP6_SOURCE      "[2001:db8::7]:56580"
#define IP6_DESTINATION "[2001:db8::1]:443"

#define ZEROS_9  "\0\0\0\0\0\0\0\0\0"
#define ZEROS_36 ZEROS_9 ZEROS_9 ZEROS_9 ZEROS_9
#define X_16     "xxxxxxxxxxxxxxxx"
#define X_64     X_16 X_16 X_16 X_16

#define UNIX_PATHS "/run/app.sock" "\0\0\0\0\0" ZEROS_9 ZEROS_9 ZEROS_36 ZEROS_36 \
	"\0abstract" ZEROS_36 ZEROS_36 ZEROS_9 ZEROS_9 ZEROS_9 /* 216 bytes */

/* A client certificate that verified, and one sub-TLV of each kind: 120 bytes */
#define SSL_FULL "\x07\0\0\0\0" \
	"\x21\0\x07" "TLSv1.3" "\x22\0\x0b" "example.com" "\x23\0\x1b" "ECDHE-RSA-AES128-GCM-SHA256" \
	"\x24\0\x0a" "RSA-SHA256" "\x25\0\x07" "RSA2048" "\x26\0\x06" "X25519" \
	"\x27\0\x13" "rsa_pss_rsae_sha256" "\x28\0\x04" "\x30\x82\x01\x0a"

/* A health check of an AWS Network Load Balancer (kubernetes/kubernetes#57250) */
#define NLB_HEALTH_CHECK V2 "\x20\x11\0\x54" "\x03\0\x04\xbc\xe5\x95\x1f" \
	"\x04\0\x4a" ZEROS_36 ZEROS_36 "\0\0"

/* A connection through AWS PrivateLink */
#define NLB_PRIVATELINK V2 "\x21\x11\0\x54" IP4 "\x03\0\x04" "\xe7\xdd\x22\xfa" \
	"\xea\0\x17\x01" "vpce-08d2bf15fac5001c9" "\x04\0\x24" ZEROS_36

#define GOOD(name, version, command, family, transport, source, destination, tlvs_size, bytes) \
	{ name, bytes, sizeof(bytes) - 1, version, PROXY_COMMAND_##command, PROXY_FAMILY_##family, \
	  PROXY_TRANSPORT_##transport, source, destination, tlvs_size }

static const struct good_header good_headers[] = {
	GOOD("v1-tcp4", 1, PROXY, INET, STREAM, "192.168.0.1:56324", "192.168.0.11:443", 0,
	     "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
	GOOD("v1-tcp4-longest", 1, PROXY, INET, STREAM, "255.255.255.255:65535", "255.255.255.255:65535", 0,
	     "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
	GOOD("v1-tcp4-shortest", 1, PROXY, INET, STREAM, "0.0.0.0:0", "0.0.0.0:0", 0,
	     "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"),
	GOOD("v1-tcp6", 1, PROXY, INET6, STREAM, "[2001:db8::7]:56324", "[::1]:443", 0,
	     "PROXY TCP6 2001:db8::7 ::1 56324 443\r\n"),
	GOOD("v1-tcp6-longest", 1, PROXY, INET6, STREAM,
	     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
	     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535", 0,
	     "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n"),
	GOOD("v1-tcp6-upper-case", 1, PROXY, INET6, STREAM, "[2001:db8::abcd:ef]:1", "[::]:2", 0,
	     "PROXY TCP6 2001:0DB8:0:0:0:0:ABCD:00EF :: 1 2\r\n"),
	GOOD("v1-tcp6-mapped", 1, PROXY, INET6, STREAM, "203.0.113.7:1", "[2001:db8::1]:2", 0,
	     "PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 1 2\r\n"),
	GOOD("v1-tcp6-mapped-in-hex", 1, PROXY, INET6, STREAM, "203.0.113.7:1", "192.0.2.1:2", 0,
	     "PROXY TCP6 ::ffff:cb00:7107 ::FFFF:c000:201 1 2\r\n"),
	GOOD("v1-unknown", 1, UNKNOWN, UNSPEC, STREAM, "", "", 0, "PROXY UNKNOWN\r\n"),
	GOOD("v1-unknown-and-a-space", 1, UNKNOWN, UNSPEC, STREAM, "", "", 0, "PROXY UNKNOWN \r\n"),
	GOOD("v1-unknown-and-anything", 1, UNKNOWN, UNSPEC, STREAM, "", "", 0,
	     "PROXY UNKNOWN  \0\xff TCP4 no address\t\r\n"),
	GOOD("v1-unknown-longest", 1, UNKNOWN, UNSPEC, STREAM, "", "", 0,
	     "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),

	GOOD("v2-tcp4", 2, PROXY, INET, STREAM, IP4_SOURCE, IP4_DESTINATION, 0,
	     V2 "\x21\x11\0\x0c" IP4),
	GOOD("v2-tcp6", 2, PROXY, INET6, STREAM, IP6_SOURCE, IP6_DESTINATION, 0,
	     V2 "\x21\x21\0\x24" IP6),
	GOOD("v2-tcp6-mapped", 2, PROXY, INET6, STREAM, "203.0.113.7:1", "[2001:db8::1]:2", 0,
	     V2 "\x21\x21\0\x24" "\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\x00\x71\x07"
	     "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" "\0\x01" "\0\x02"),
	GOOD("v2-udp4", 2, PROXY, INET, DGRAM, IP4_SOURCE, IP4_DESTINATION, 0,
	     V2 "\x21\x12\0\x0c" IP4),
	GOOD("v2-udp6", 2, PROXY, INET6, DGRAM, IP6_SOURCE, IP6_DESTINATION, 0,
	     V2 "\x21\x22\0\x24" IP6),
	GOOD("v2-unix", 2, PROXY, UNIX, STREAM, "", "", 0, V2 "\x21\x31\0\xd8" UNIX_PATHS),
	GOOD("v2-unix-datagram-tlv", 2, PROXY, UNIX, DGRAM, "", "", 5,
	     V2 "\x21\x32\0\xdd" UNIX_PATHS "\x01\0\x02h2"),
	GOOD("v2-unspec", 2, PROXY, UNSPEC, UNSPEC, "", "", 0, V2 "\x21\0\0\0"),
	GOOD("v2-unspec-tlv", 2, PROXY, UNSPEC, UNSPEC, "", "", 5,
	     V2 "\x21\0\0\x05" "\x01\0\x02h2"),
	GOOD("v2-unspec-addresses", 2, PROXY, UNSPEC, UNSPEC, "", "", 0, V2 "\x21\0\0\x0c" IP4),
	GOOD("v2-unspec-stream", 2, PROXY, UNSPEC, STREAM, "", "", 0,
	     V2 "\x21\x01\0\x05" "\x01\0\x02h2"),
	GOOD("v2-unspec-datagram", 2, PROXY, UNSPEC, DGRAM, "", "", 0, V2 "\x21\x02\0\0"),
	GOOD("v2-inet-unspec", 2, PROXY, INET, UNSPEC, "", "", 0,
	     V2 "\x21\x10\0\x08" "\xcb\x00\x71\x07\xc0\x00\x02\x01"),
	GOOD("v2-inet6-unspec", 2, PROXY, INET6, UNSPEC, "", "", 0, V2 "\x21\x20\0\0"),
	GOOD("v2-unix-unspec", 2, PROXY, UNIX, UNSPEC, "", "", 0, V2 "\x21\x30\0\x01x"),

	GOOD("v2-local", 2, LOCAL, UNSPEC, UNSPEC, "", "", 0, V2 "\x20\0\0\0"),
	GOOD("v2-local-with-addresses", 2, LOCAL, UNSPEC, UNSPEC, "", "", 0,
	     V2 "\x20\x11\0\x0c" IP4),
	GOOD("v2-local-invalid-family", 2, LOCAL, UNSPEC, UNSPEC, "", "", 0,
	     V2 "\x20\xff\0\x03" "xyz"),
	GOOD("v2-local-short", 2, LOCAL, UNSPEC, UNSPEC, "", "", 0, V2 "\x20\x21\0\x01" "x"),
	GOOD("v2-local-damaged-tlv", 2, LOCAL, UNSPEC, UNSPEC, "", "", 0,
	     V2 "\x20\0\0\x03" "\x01\xff\xff"),
	GOOD("v2-local-wrong-crc", 2, LOCAL, UNSPEC, UNSPEC, "", "", 0,
	     V2 "\x20\0\0\x07" "\x03\0\x04" "\x01\x02\x03\x04"),
	GOOD("nlb-health-check", 2, LOCAL, UNSPEC, UNSPEC, "", "", 0, NLB_HEALTH_CHECK),
	GOOD("nlb-privatelink", 2, PROXY, INET, STREAM, IP4_SOURCE, IP4_DESTINATION, 72,
	     NLB_PRIVATELINK),

	GOOD("v2-noop", 2, PROXY, INET, STREAM, IP4_SOURCE, IP4_DESTINATION, 7,
	     V2 "\x21\x11\0\x13" IP4 "\x04\0\0" "\x04\0\x01x"),
	GOOD("v2-unknown-tlvs", 2, PROXY, INET, STREAM, IP4_SOURCE, IP4_DESTINATION, 12,
	     V2 "\x21\x11\0\x18" IP4 "\0\0\0" "\xff\0\x02hi" "\x06\0\x01x"),
	GOOD("v2-common-tlvs", 2, PROXY, INET6, STREAM, IP6_SOURCE, IP6_DESTINATION, 43,
	     V2 "\x21\x21\0\x4f" IP6 "\x01\0\x08http/1.1" "\x02\0\x0b" "example.com"
	     "\x05\0\x04\xde\xad\xbe\xef" "\x30\0\x08" "internal"),
	GOOD("v2-unique-id-128", 2, PROXY, INET, STREAM, IP4_SOURCE, IP4_DESTINATION, 131,
	     V2 "\x21\x11\0\x8f" IP4 "\x05\0\x80" X_64 X_64),
	GOOD("v2-ssl", 2, PROXY, INET, STREAM, IP4_SOURCE, IP4_DESTINATION, 123,
	     V2 "\x21\x11\0\x87" IP4 "\x20\0\x78" SSL_FULL),
	GOOD("v2-ssl-shortest", 2, PROXY, INET, STREAM, IP4_SOURCE, IP4_DESTINATION, 8,
	     V2 "\x21\x11\0\x14" IP4 "\x20\0\x05" "\x01\0\0\0\x01"),
	GOOD("v2-crc32c-tcp4", 2, PROXY, INET, STREAM, IP4_SOURCE, IP4_DESTINATION, 7,
	     V2 "\x21\x11\0\x13" IP4 "\x03\0\x04" "\x4f\x79\x77\xa5"),
	GOOD("v2-crc32c-tcp6-first-of-three", 2, PROXY, INET6, STREAM, IP6_SOURCE, IP6_DESTINATION, 17,
	     V2 "\x21\x21\0\x35" IP6 "\x03\0\x04" "\xa6\x90\x5d\xcf" "\x01\0\x02h2"
	     "\x04\0\x02\0\0"),
	GOOD("v2-crc32c-unspec", 2, PROXY, UNSPEC, UNSPEC, "", "", 7,
	     V2 "\x21\0\0\x07" "\x03\0\x04" "\x3e\xc9\x89\x4e"),
};

#define BAD(name, error, found_at, bytes) { name, bytes, sizeof(bytes) - 1, error, found_at }

static const struct bad_header bad_headers[] = {
	BAD("http", HEADER_NO_SIGNATURE, 1, "GET / HTTP/1.1\r\n\r\n"),
	BAD("tls", HEADER_NO_SIGNATURE, 1, "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
	BAD("v1-post", HEADER_NO_SIGNATURE, 2, "POST / HTTP/1.1\r\n\r\n"),
	BAD("v1-signature-without-space", HEADER_NO_SIGNATURE, 6, "PROXY\r\n"),
	BAD("v1-signature-in-lower-case", HEADER_NO_SIGNATURE, 1,
	     "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n"),
	BAD("v2-signature-second-byte", HEADER_NO_SIGNATURE, 2, "\r\r"),
	BAD("v2-signature-last-byte", HEADER_NO_SIGNATURE, 12,
	     "\r\n\r\n\0\r\nQUIT\r\x21\x11\0\x0c" IP4),

	BAD("v1-protocol-unknown", HEADER_BAD_LINE, 8, "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n"),
	BAD("v1-protocol-in-lower-case", HEADER_BAD_LINE, 7, "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n"),
	BAD("v1-protocol-cut", HEADER_BAD_LINE, 10, "PROXY TCP 1.2.3.4 5.6.7.8 1 2\r\n"),
	BAD("v1-protocol-missing", HEADER_BAD_LINE, 7, "PROXY \r\n"),
	BAD("v1-protocol-only", HEADER_BAD_LINE, 11, "PROXY TCP4\r\n"),
	BAD("v1-unknown-glued", HEADER_BAD_LINE, 14, "PROXY UNKNOWNX\r\n"),
	BAD("v1-unknown-cut", HEADER_BAD_LINE, 13, "PROXY UNKNOW\r\n"),
	BAD("v1-space-before-protocol", HEADER_BAD_LINE, 7, "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n"),
	BAD("v1-space-before-source", HEADER_BAD_LINE, 12, "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n"),
	BAD("v1-space-before-destination", HEADER_BAD_LINE, 20,
	     "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n"),
	BAD("v1-space-before-source-port", HEADER_BAD_LINE, 28,
	     "PROXY TCP4 1.2.3.4 5.6.7.8  1 2\r\n"),
	BAD("v1-space-before-destination-port", HEADER_BAD_LINE, 30,
	     "PROXY TCP4 1.2.3.4 5.6.7.8 1  2\r\n"),
	BAD("v1-space-at-the-end", HEADER_BAD_LINE, 31, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n"),
	BAD("v1-tab", HEADER_BAD_LINE, 11, "PROXY TCP4\t1.2.3.4 5.6.7.8 1 2\r\n"),
	BAD("v1-extra-field", HEADER_BAD_LINE, 31, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n"),
	BAD("v1-source-only", HEADER_BAD_LINE, 19, "PROXY TCP4 1.2.3.4\r\n"),
	BAD("v1-no-ports", HEADER_BAD_LINE, 27, "PROXY TCP4 1.2.3.4 5.6.7.8\r\n"),
	BAD("v1-one-port", HEADER_BAD_LINE, 29, "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n"),
	BAD("v1-second-port-empty", HEADER_BAD_LINE, 30, "PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n"),

	BAD("v1-lf", HEADER_BAD_LINE_END, 31, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\nGET / HTTP/1.1\r\n"),
	BAD("v1-cr", HEADER_BAD_LINE_END, 32, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rGET / HTTP/1.1\r\n"),
	BAD("v1-cr-cr-lf", HEADER_BAD_LINE_END, 32, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n"),
	BAD("v1-unknown-lf", HEADER_BAD_LINE_END, 14, "PROXY UNKNOWN\nGET / HTTP/1.1\r\n"),
	BAD("v1-unknown-cr-inside", HEADER_BAD_LINE_END, 17, "PROXY UNKNOWN a\rb\r\n"),
	BAD("v1-108-bytes", HEADER_TOO_LONG, 106,
	     "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655350\r\n"),
	BAD("v1-endless", HEADER_TOO_LONG, 106, "PROXY UNKNOWN " X_64 X_64),

	BAD("v1-tcp4-with-ipv6", HEADER_BAD_ADDRESS, 12, "PROXY TCP4 ::1 5.6.7.8 1 2\r\n"),
	BAD("v1-tcp4-with-ipv6-destination", HEADER_BAD_ADDRESS, 20,
	     "PROXY TCP4 1.2.3.4 ::1 1 2\r\n"),
	BAD("v1-tcp6-with-ipv4", HEADER_BAD_ADDRESS, 19, "PROXY TCP6 1.2.3.4 ::1 1 2\r\n"),
	BAD("v1-tcp6-with-ipv4-destination", HEADER_BAD_ADDRESS, 23,
	     "PROXY TCP6 ::1 1.2.3.4 1 2\r\n"),
	BAD("v1-octet-with-leading-zero", HEADER_BAD_ADDRESS, 20,
	     "PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n"),
	BAD("v1-octet-too-large", HEADER_BAD_ADDRESS, 21, "PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n"),
	BAD("v1-three-octets", HEADER_BAD_ADDRESS, 17, "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n"),
	BAD("v1-five-octets", HEADER_BAD_ADDRESS, 21, "PROXY TCP4 1.2.3.4.5 5.6.7.8 1 2\r\n"),
	BAD("v1-octet-empty", HEADER_BAD_ADDRESS, 18, "PROXY TCP4 1..3.4 5.6.7.8 1 2\r\n"),
	BAD("v1-octet-in-hex", HEADER_BAD_ADDRESS, 13, "PROXY TCP4 0x1.2.3.4 5.6.7.8 1 2\r\n"),
	BAD("v1-name", HEADER_BAD_ADDRESS, 12, "PROXY TCP4 localhost 5.6.7.8 1 2\r\n"),
	BAD("v1-zero-byte-in-ipv4", HEADER_BAD_ADDRESS, 19, "PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n"),
	BAD("v1-zero-byte-in-ipv6", HEADER_BAD_ADDRESS, 15, "PROXY TCP6 ::1\0 ::2 1 2\r\n"),
	BAD("v1-ipv4-too-long", HEADER_BAD_ADDRESS, 27,
	     "PROXY TCP4 1111.111.111.111 5.6.7.8 1 2\r\n"),
	BAD("v1-ipv6-too-long", HEADER_BAD_ADDRESS, 57,
	     "PROXY TCP6 0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0 ::1 1 2\r\n"),
	BAD("v1-zone", HEADER_BAD_ADDRESS, 19, "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"),
	BAD("v1-brackets", HEADER_BAD_ADDRESS, 12, "PROXY TCP6 [::1] ::1 1 2\r\n"),
	BAD("v1-two-double-colons", HEADER_BAD_ADDRESS, 19, "PROXY TCP6 1::2::3 ::1 1 2\r\n"),
	BAD("v1-seven-groups", HEADER_BAD_ADDRESS, 25, "PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n"),
	BAD("v1-nine-groups", HEADER_BAD_ADDRESS, 29, "PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n"),
	BAD("v1-group-of-five", HEADER_BAD_ADDRESS, 20, "PROXY TCP6 12345::1 ::1 1 2\r\n"),

	BAD("v1-port-plus", HEADER_BAD_PORT, 28, "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n"),
	BAD("v1-port-minus", HEADER_BAD_PORT, 30, "PROXY TCP4 1.2.3.4 5.6.7.8 1 -2\r\n"),
	BAD("v1-port-leading-zero", HEADER_BAD_PORT, 29, "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n"),
	BAD("v1-port-two-zeros", HEADER_BAD_PORT, 31, "PROXY TCP4 1.2.3.4 5.6.7.8 1 00\r\n"),
	BAD("v1-port-65536", HEADER_BAD_PORT, 32, "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n"),
	BAD("v1-port-destination-65536", HEADER_BAD_PORT, 34,
	     "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n"),
	BAD("v1-port-six-digits", HEADER_BAD_PORT, 35, "PROXY TCP4 1.2.3.4 5.6.7.8 1 123456\r\n"),
	BAD("v1-port-2-to-the-32", HEADER_BAD_PORT, 33,
	     "PROXY TCP4 1.2.3.4 5.6.7.8 4294967376 2\r\n"),
	BAD("v1-port-in-hex", HEADER_BAD_PORT, 29, "PROXY TCP4 1.2.3.4 5.6.7.8 0x50 2\r\n"),
	BAD("v1-port-letter", HEADER_BAD_PORT, 31, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2a\r\n"),
	BAD("v1-port-zero-byte", HEADER_BAD_PORT, 31, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\0\r\n"),

	BAD("v2-version-1", HEADER_BAD_VERSION, 13, V2 "\x11\x11\0\x0c" IP4),
	BAD("v2-version-3", HEADER_BAD_VERSION, 13, V2 "\x31\x11\0\x0c" IP4),
	BAD("v2-command-2", HEADER_BAD_COMMAND, 13, V2 "\x22\x11\0\x0c" IP4),
	BAD("v2-command-15", HEADER_BAD_COMMAND, 13, V2 "\x2f\x11\0\x0c" IP4),
	BAD("v2-family-4", HEADER_BAD_FAMILY, 14, V2 "\x21\x41\0\x0c" IP4),
	BAD("v2-transport-3", HEADER_BAD_FAMILY, 14, V2 "\x21\x13\0\x0c" IP4),
	BAD("v2-unspec-transport-3", HEADER_BAD_FAMILY, 14, V2 "\x21\x03\0\0"),
	BAD("v2-tcp4-short", HEADER_SHORT, 16, V2 "\x21\x11\0\x0b" IP4),
	BAD("v2-tcp4-empty", HEADER_SHORT, 16, V2 "\x21\x11\0\0"),
	BAD("v2-udp6-short", HEADER_SHORT, 16, V2 "\x21\x22\0\x23" IP6),
	BAD("v2-unix-short", HEADER_SHORT, 16, V2 "\x21\x31\0\xd7" UNIX_PATHS),

	BAD("v2-tlv-overrun", HEADER_TLV_OVERRUN, 33, V2 "\x21\x11\0\x11" IP4 "\x01\0\x03h2"),
	BAD("v2-tlv-overrun-into-payload", HEADER_TLV_OVERRUN, 33,
	     V2 "\x21\x11\0\x11" IP4 "\x01\0\x03h2" "payload"),
	BAD("v2-tlv-largest-length", HEADER_TLV_OVERRUN, 32,
	     V2 "\x21\x11\0\x10" IP4 "\x01\xff\xff" "h"),
	BAD("v2-tlv-one-byte-left", HEADER_TLV_OVERRUN, 34,
	     V2 "\x21\x11\0\x12" IP4 "\x01\0\x02h2" "\x04"),
	BAD("v2-tlv-two-bytes-left", HEADER_TLV_OVERRUN, 30, V2 "\x21\x11\0\x0e" IP4 "\x04\0"),
	BAD("v2-crc32c-wrong", HEADER_BAD_CRC, 35,
	     V2 "\x21\x11\0\x13" IP4 "\x03\0\x04" "\x01\x02\x03\x04"),
	BAD("v2-crc32c-zero", HEADER_BAD_CRC, 35, V2 "\x21\x11\0\x13" IP4 "\x03\0\x04" "\0\0\0\0"),
	BAD("v2-crc32c-address-changed", HEADER_BAD_CRC, 35,
	     V2 "\x21\x11\0\x13" "\xcb\x00\x71\x08" "\xc0\x00\x02\x01" "\xdd\x04" "\x01\xbb"
	     "\x03\0\x04" "\x4f\x79\x77\xa5"),
	BAD("v2-crc32c-unspec-wrong", HEADER_BAD_CRC, 23,
	     V2 "\x21\0\0\x07" "\x03\0\x04" "\x01\x02\x03\x04"),
	BAD("v2-crc32c-of-3-bytes", HEADER_BAD_CRC_TLV, 34,
	     V2 "\x21\x11\0\x12" IP4 "\x03\0\x03" "\x01\x02\x03"),
	BAD("v2-crc32c-of-5-bytes", HEADER_BAD_CRC_TLV, 36,
	     V2 "\x21\x11\0\x14" IP4 "\x03\0\x05" "\x01\x02\x03\x04\x05"),
	BAD("v2-crc32c-empty", HEADER_BAD_CRC_TLV, 31, V2 "\x21\x11\0\x0f" IP4 "\x03\0\0"),
	BAD("v2-crc32c-twice", HEADER_BAD_CRC_TLV, 42,
	     V2 "\x21\x11\0\x1a" IP4 "\x03\0\x04" "\x4f\x79\x77\xa5" "\x03\0\x04"
	     "\x4f\x79\x77\xa5"),
	BAD("v2-unique-id-129", HEADER_BAD_UNIQUE_ID, 160,
	     V2 "\x21\x11\0\x90" IP4 "\x05\0\x81" X_64 X_64 "x"),
	BAD("v2-ssl-empty", HEADER_BAD_SSL, 31, V2 "\x21\x11\0\x0f" IP4 "\x20\0\0"),
	BAD("v2-ssl-of-4-bytes", HEADER_BAD_SSL, 35,
	     V2 "\x21\x11\0\x13" IP4 "\x20\0\x04" "\x01\0\0\0"),
	BAD("v2-ssl-tlv-overrun", HEADER_BAD_SSL, 44,
	     V2 "\x21\x11\0\x1c" IP4 "\x20\0\x0a" "\x01\0\0\0\0" "\x21\0\x03hi" "\x04\0\0"),
	BAD("v2-ssl-two-bytes-left", HEADER_BAD_SSL, 38,
	     V2 "\x21\x11\0\x16" IP4 "\x20\0\x07" "\x01\0\0\0\0" "\x21\0"),
};

#undef GOOD
#undef BAD
/* clang-format on */

#endif
