/* SPDX-License-Identifier: MIT */
#include "route/route_message.h"

#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

/* The kernel gives this index to lo in every network namespace. */
#define LOOPBACK_INDEX 1

/* Of the rule that asks the main table. Behind it, any default route comes first. */
#define MAIN_PRIORITY 32766

#define NONE UINT32_MAX /* how the kernel writes that there is no suppressor */

static struct nlmsghdr *start(void *buffer, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	return h;
}

/* The flags of a change. Two of the same are never wanted. */
static uint16_t change_flags(uint16_t type)
{
	return type == RTM_NEWRULE || type == RTM_NEWROUTE ? NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
							   : NLM_F_ACK;
}

struct nlmsghdr *route_message_rule(void *buffer, uint16_t type, uint8_t family, uint32_t mark,
				    uint32_t table)
{
	struct nlmsghdr *h = start(buffer, type, change_flags(type));
	struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(h, sizeof *rule);

	rule->family = family;
	rule->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(h, FRA_FWMARK, mark);
	mnl_attr_put_u32(h, FRA_FWMASK, UINT32_MAX);
	mnl_attr_put_u32(h, FRA_TABLE, table);
	mnl_attr_put_u32(h, FRA_PRIORITY, ROUTE_PRIORITY);
	mnl_attr_put_u8(h, FRA_PROTOCOL, ROUTE_PROTOCOL);
	return h;
}

struct nlmsghdr *route_message_route(void *buffer, uint16_t type, uint8_t family, uint32_t table)
{
	struct nlmsghdr *h = start(buffer, type, change_flags(type));
	struct rtmsg *route = mnl_nlmsg_put_extra_header(h, sizeof *route);

	route->rtm_family = family;
	route->rtm_type = RTN_LOCAL;
	route->rtm_scope = RT_SCOPE_HOST;
	route->rtm_protocol = ROUTE_PROTOCOL;
	mnl_attr_put_u32(h, RTA_TABLE, table);
	mnl_attr_put_u32(h, RTA_OIF, LOOPBACK_INDEX);
	return h;
}

struct nlmsghdr *route_message_list_rules(void *buffer, uint8_t family)
{
	struct nlmsghdr *h = start(buffer, RTM_GETRULE, NLM_F_DUMP);
	struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(h, sizeof *rule);

	rule->family = family;
	return h;
}

struct nlmsghdr *route_message_list_routes(void *buffer, uint8_t family, uint32_t table)
{
	struct nlmsghdr *h = start(buffer, RTM_GETROUTE, NLM_F_DUMP);
	struct rtmsg *route = mnl_nlmsg_put_extra_header(h, sizeof *route);

	route->rtm_family = family;
	mnl_attr_put_u32(h, RTA_TABLE, table);
	return h;
}

/* --- answers --- */

/* What of a rule or a route is a number and concerns us. */
struct numbers {
	uint32_t mark, mask, table, priority, protocol, oif;
	bool others; /* there is more to it, that makes it another one */
};

/* Zero if the attribute is shorter than it should be. */
static uint32_t number(const struct nlattr *a)
{
	switch (mnl_attr_get_payload_len(a)) {
	case sizeof(uint8_t):
		return mnl_attr_get_u8(a);
	case sizeof(uint32_t):
		return mnl_attr_get_u32(a);
	default:
		return 0;
	}
}

static int read_rule_attribute(const struct nlattr *a, void *data)
{
	struct numbers *n = data;

	switch (mnl_attr_get_type(a)) {
	case FRA_FWMARK:
		n->mark = number(a);
		break;
	case FRA_FWMASK:
		n->mask = number(a);
		break;
	case FRA_TABLE:
		n->table = number(a);
		break;
	case FRA_PRIORITY:
		n->priority = number(a);
		break;
	case FRA_PROTOCOL:
		n->protocol = number(a);
		break;
	case FRA_SUPPRESS_PREFIXLEN:
	case FRA_SUPPRESS_IFGROUP:
		n->others |= number(a) != NONE;
		break;
	default: /* an interface, a user, a port, …: not for all packets */
		n->others = true;
		break;
	}
	return MNL_CB_OK;
}

static int read_route_attribute(const struct nlattr *a, void *data)
{
	struct numbers *n = data;

	if (mnl_attr_get_type(a) == RTA_TABLE)
		n->table = number(a);
	else if (mnl_attr_get_type(a) == RTA_OIF)
		n->oif = number(a);
	return MNL_CB_OK;
}

enum route_state route_message_match_rule(const struct nlmsghdr *h, uint32_t mark, uint32_t table)
{
	const struct fib_rule_hdr *rule = mnl_nlmsg_get_payload(h);
	struct numbers n = { 0 };

	if (h->nlmsg_type != RTM_NEWRULE || mnl_nlmsg_get_payload_len(h) < sizeof *rule)
		return ROUTE_MISSING;
	mnl_attr_parse(h, sizeof *rule, read_rule_attribute, &n);
	if (rule->action != FR_ACT_TO_TBL || rule->src_len != 0 || rule->dst_len != 0 ||
	    rule->tos != 0 || (rule->flags & FIB_RULE_INVERT) != 0 || n.others)
		return ROUTE_MISSING;
	if (n.mark != mark || n.mask != UINT32_MAX || n.table != table ||
	    n.priority >= MAIN_PRIORITY)
		return ROUTE_MISSING;
	return n.protocol == ROUTE_PROTOCOL && n.priority == ROUTE_PRIORITY ? ROUTE_OURS
									    : ROUTE_PRESENT;
}

enum route_state route_message_match_route(const struct nlmsghdr *h, uint32_t table)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(h);
	struct numbers n = { 0 };

	if (h->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(h) < sizeof *route)
		return ROUTE_MISSING;
	mnl_attr_parse(h, sizeof *route, read_route_attribute, &n);
	if (route->rtm_type != RTN_LOCAL || route->rtm_dst_len != 0 || route->rtm_src_len != 0 ||
	    route->rtm_tos != 0 || n.table != table || n.oif != LOOPBACK_INDEX)
		return ROUTE_MISSING;
	return route->rtm_protocol == ROUTE_PROTOCOL ? ROUTE_OURS : ROUTE_PRESENT;
}
