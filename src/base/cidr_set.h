/* SPDX-License-Identifier: MIT */
/* Sets of networks (RFC 4632, RFC 4291): who is trusted, who is allowed. */
#ifndef CIDR_SET_H
#define CIDR_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bug.h"

struct cidr {
	struct address network; /* host bits are 0; the port is unused */
	uint8_t prefix;         /* 0 to 32 or 128 [bits] */
};

/* "10.0.0.0/8", "2001:db8::/32", or a plain address, which is a network of one. An IPv4-mapped
 * network of /96 and longer is the IPv4 network. Returns 0, or -EINVAL with @ret untouched and in
 * @reterr (at least CIDR_ERROR_MAX bytes) why, such as
 * "host bits are set; the network is 10.0.0.0/8" or "prefix length is 0 to 32". */
#define CIDR_ERROR_MAX 128
int cidr_parse(const char *text, struct cidr *ret, char reterr[static CIDR_ERROR_MAX]) MUST_CHECK;

/* "10.0.0.0/8"; ADDRESS_TEXT_MAX is enough. Returns the length. */
size_t cidr_format(const struct cidr *c, char out[static ADDRESS_TEXT_MAX]);

/* Sorted, merged ranges; lookup is a binary search. Read-only after cidr_set_seal(), and then
 * any thread may ask it. */
struct cidr_set;

/* NULL when out of memory. */
struct cidr_set *cidr_set_create(void) MUST_CHECK;
void cidr_set_destroy(struct cidr_set *set);

/* Returns 0 or -ENOMEM (and the set is as before). Not after cidr_set_seal(). */
int cidr_set_add(struct cidr_set *set, const struct cidr *c) MUST_CHECK;

/* Add what @other holds, sealed or not. Returns 0 or -ENOMEM (and the set is as before). */
int cidr_set_add_set(struct cidr_set *set, const struct cidr_set *other) MUST_CHECK;

/* Sort, and merge what overlaps or adjoins. Cannot fail: the set only shrinks. */
void cidr_set_seal(struct cidr_set *set);

/* Is the IP of @a inside? AF_UNIX and AF_UNSPEC never are. Sealed sets only. */
bool cidr_set_contains(const struct cidr_set *set, const struct address *a);

/* Ranges after merging, for `unproxy check`; before sealing, what was added. */
size_t cidr_set_count(const struct cidr_set *set);

/* Range @index (IPv4 first, ascending) as "10.0.0.0/8" where it is one network, otherwise as
 * "10.0.0.1-10.0.0.6". Returns the length. */
#define CIDR_RANGE_TEXT_MAX (2 * ADDRESS_TEXT_MAX)
size_t cidr_set_format_range(const struct cidr_set *set, size_t index,
			     char out[static CIDR_RANGE_TEXT_MAX]);

/* Every address of the family is inside (0.0.0.0/0, ::/0, or parts that add up to it). */
bool cidr_set_is_open(const struct cidr_set *set, uint16_t family);

#endif
