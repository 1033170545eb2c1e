/* SPDX-License-Identifier: MIT */
/* IP addresses with ports, and the places one listens on or connects to. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/bug.h"

struct strbuf;

/* Longest text of address_format(), with its terminating zero. */
#define ADDRESS_TEXT_MAX 56

/* Who or where, in 20 bytes: a session keeps three of them.
 * An IPv4-mapped IPv6 address never stands in one: it is the IPv4 address. */
struct address {
	uint16_t family; /* AF_INET, AF_INET6; AF_UNIX: a peer on a unix socket; AF_UNSPEC: none */
	uint16_t port;   /* host byte order */
	uint8_t ip[16];  /* network byte order; IPv4 uses the first 4, the others are 0 */
};

/* 4 bytes for AF_INET, 16 for AF_INET6, otherwise 0. */
size_t address_ip_size(const struct address *a);

/* Set from @size (4 or 16) bytes in network order; mapped IPv6 becomes IPv4. */
void address_set_ip(struct address *a, const uint8_t *ip, size_t size, uint16_t port);

/* From what accept(2), getsockname(2) or getaddrinfo(3) gave. Unknown families become AF_UNSPEC. */
void address_from_sockaddr(struct address *a, const struct sockaddr *sa);

/* Fill @ret for connect(2) or bind(2) and return its length. The family is IP. */
socklen_t address_to_sockaddr(const struct address *a, struct sockaddr_storage *ret);

/* "192.0.2.1" or "2001:db8::1": a literal, without port, brackets or zone. Port is set to 0.
 * Returns 0, or -EINVAL with @ret untouched. */
int address_parse_ip(const char *text, struct address *ret) MUST_CHECK;

/* "192.0.2.1:80" or "[2001:db8::1]:80". Returns 0, or -EINVAL with @ret untouched
 * and *@reterr_why set to a static text that completes `"TEXT": …`. */
int address_parse(const char *text, struct address *ret, const char **reterr_why) MUST_CHECK;

/* "IP:PORT", "[IP6]:PORT", "unix:" for AF_UNIX, "" for AF_UNSPEC. Returns the length. */
size_t address_format(const struct address *a, char out[static ADDRESS_TEXT_MAX]);

/* The same without the port and the brackets. */
size_t address_format_ip(const struct address *a, char out[static ADDRESS_TEXT_MAX]);

/* Same family and IP; ports do not count. */
bool address_same_ip(const struct address *a, const struct address *b);

/* In 127.0.0.0/8, or ::1. */
bool address_is_loopback(const struct address *a);

/* 0.0.0.0 or ::, whatever the port. */
bool address_is_unspecified(const struct address *a);

/* In 224.0.0.0/4 or ff00::/8. */
bool address_is_multicast(const struct address *a);

/* Decimal digits only, no sign, no leading zero but "0" itself, at most 65535.
 * @size bytes at @text, which need not end in a zero. */
int port_parse(const char *text, size_t size, uint16_t *ret) MUST_CHECK;

#endif
