/* SPDX-License-Identifier: MIT */
/* What transparent mode needs of the kernel in this network namespace, so that the application's replies to a
 * client's address come back to us: a rule and a route for packets with our mark, and sysctls that give the mark to
 * the replies. By rtnetlink and /proc/sys; nothing is remembered elsewhere. */
#ifndef ROUTE_H
#define ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bug.h"

struct strbuf;

enum route_part { /* in the order of making them */
	ROUTE_IPV4_RULE,
	ROUTE_IPV4_ROUTE,
	ROUTE_TCP_FWMARK_ACCEPT, /* sockets that the application accepts inherit the mark; both families */
	ROUTE_IPV4_REFLECT, /* so do resets of closed ports */
	ROUTE_IPV6_RULE,
	ROUTE_IPV6_ROUTE,
	ROUTE_IPV6_REFLECT,
};
#define ROUTE_PARTS (ROUTE_IPV6_REFLECT + 1)

enum route_state {
	ROUTE_UNKNOWN, /* could not be found out: error says why */
	ROUTE_MISSING,
	ROUTE_PRESENT, /* somebody else made it; sysctls always, for they do not say who set them */
	ROUTE_OURS,    /* present, made by route_add() */
	ROUTE_OFF,     /* IPv6 is off in this network namespace */
};

struct route_status {
	struct {
		enum route_state state;
		int error; /* negative errno of ROUTE_UNKNOWN, otherwise 0 */
	} parts[ROUTE_PARTS];
};

/* Ask the kernel. Needs no privilege, never fails as a whole. */
void route_status(uint32_t mark, uint32_t table, struct route_status *ret);

/* Is all there that connections of this @family (AF_INET, AF_INET6) need? AF_UNSPEC: of both, where IPv6 may be
 * off. */
bool route_status_is_complete(const struct route_status *status, uint16_t family);

/* Does a connection of @family (AF_INET, AF_INET6, AF_UNSPEC for any) need the part? */
bool route_part_serves(enum route_part part, uint16_t family);

/* The sysctl's name ("net.ipv4.fwmark_reflect"), or "IPv4 rule" and the like. */
const char *route_part_name(enum route_part part);
bool route_part_is_sysctl(enum route_part part);

/* The commands that do what route_add() and route_remove() do: "ip rule add fwmark 7700 lookup 7700 …". */
void route_part_add_command(enum route_part part, uint32_t mark, uint32_t table,
			    struct strbuf *out);
void route_part_remove_command(enum route_part part, uint32_t mark, uint32_t table,
			       struct strbuf *out);

/* Make what is missing, take away what is ours; not sysctls, whose value before nobody knows. Needs CAP_NET_ADMIN.
 * Return 0 or a negative errno; -EEXIST: the table has another default route. */
int route_add(enum route_part part, uint32_t mark, uint32_t table) MUST_CHECK;
int route_remove(enum route_part part, uint32_t mark, uint32_t table) MUST_CHECK;

#endif
