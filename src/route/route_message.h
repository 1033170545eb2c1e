/* SPDX-License-Identifier: MIT */
/* The rule and the route as messages of rtnetlink(7): values in, bytes out, and back. */
#ifndef ROUTE_MESSAGE_H
#define ROUTE_MESSAGE_H

#include <stdint.h>

#include "route/route.h"

struct nlmsghdr;

/* How we know again what we made, and why the kernel deletes nothing else: it compares the protocol, while what a request
 * leaves out may be anything. /etc/iproute2/rt_protos has no such protocol. The priority is before whatever
 * VPNs and container networks use for rules that match everything, and behind the kernel's for local addresses. */
#define ROUTE_PROTOCOL 77
#define ROUTE_PRIORITY 77

#define ROUTE_MESSAGE_MAX 256 /* [bytes] */

/* Each writes one request to @buffer, of ROUTE_MESSAGE_MAX bytes and aligned as a struct nlmsghdr, and returns it. @type is
 * RTM_NEWRULE or RTM_DELRULE, RTM_NEWROUTE or RTM_DELROUTE; @family AF_INET or AF_INET6. */
struct nlmsghdr *route_message_rule(void *buffer, uint16_t type, uint8_t family, uint32_t mark,
				    uint32_t table);
struct nlmsghdr *route_message_route(void *buffer, uint16_t type, uint8_t family, uint32_t table);

/* Requests to list all rules, or the routes of @table: older kernels list those of other tables, too. */
struct nlmsghdr *route_message_list_rules(void *buffer, uint8_t family);
struct nlmsghdr *route_message_list_routes(void *buffer, uint8_t family, uint32_t table);

/* Of an answer: is it the rule, or the route? ROUTE_OURS, ROUTE_PRESENT if it has the same effect but somebody else
 * made it, ROUTE_MISSING if it is another one. */
enum route_state route_message_match_rule(const struct nlmsghdr *h, uint32_t mark, uint32_t table);
enum route_state route_message_match_route(const struct nlmsghdr *h, uint32_t table);

#endif
