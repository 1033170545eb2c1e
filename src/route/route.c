/* SPDX-License-Identifier: MIT */
/* Happy path: four lists from the kernel and three files say what is there; a change is one message with an
 * acknowledgement, or one write.
 *
 * What can go wrong:
 * - No CAP_NET_ADMIN: EPERM of a message, EACCES of a file.
 * - /proc/sys is read-only, as in most containers: EROFS.
 * - The kernel has no policy routing: it lists no rules, and adding one gives EOPNOTSUPP or EAFNOSUPPORT.
 * - Somebody changes rules while they are being listed: EINTR, and the list is asked for again.
 * - Somebody else's default route is in the table: EEXIST. */
#include "route/route.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "base/strbuf.h"
#include "route/route_message.h"

#define LIST_TRIES 10
#define ANSWER_MAX 32768 /* the kernel never sends more at once [bytes] */

enum kind {
	RULE,
	ROUTE,
	SYSCTL,
};

static const struct {
	const char *name;
	enum kind kind;
	uint8_t family;   /* what it is a part of */
	bool both;        /* the other family needs it, too */
	const char *file; /* SYSCTL */
} parts[ROUTE_PARTS] = {
	[ROUTE_IPV4_RULE] = { "IPv4 rule", RULE, AF_INET, false, NULL },
	[ROUTE_IPV4_ROUTE] = { "IPv4 route", ROUTE, AF_INET, false, NULL },
	[ROUTE_TCP_FWMARK_ACCEPT] = { "net.ipv4.tcp_fwmark_accept", SYSCTL, AF_INET, true,
				      "/proc/sys/net/ipv4/tcp_fwmark_accept" },
	[ROUTE_IPV4_REFLECT] = { "net.ipv4.fwmark_reflect", SYSCTL, AF_INET, false,
				 "/proc/sys/net/ipv4/fwmark_reflect" },
	[ROUTE_IPV6_RULE] = { "IPv6 rule", RULE, AF_INET6, false, NULL },
	[ROUTE_IPV6_ROUTE] = { "IPv6 route", ROUTE, AF_INET6, false, NULL },
	[ROUTE_IPV6_REFLECT] = { "net.ipv6.fwmark_reflect", SYSCTL, AF_INET6, false,
				 "/proc/sys/net/ipv6/fwmark_reflect" },
};

/* --- /proc/sys --- */

/* Returns the number in the file, or a negative errno. */
static int read_sysctl(const char *file)
{
	FILE *f = fopen(file, "re");
	int value;
	int rv;

	if (f == NULL)
		return -errno;
	rv = fscanf(f, "%d", &value) == 1 ? value : -EIO;
	fclose(f);
	return rv;
}

static int set_sysctl(const char *file)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	int rv;

	if (fd < 0)
		return -errno;
	rv = write(fd, "1\n", 2) == 2 ? 0 : -errno;
	close(fd);
	return rv;
}

static bool ipv6_is_off(void)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return errno == EAFNOSUPPORT;
	close(fd);
	/* The route leads to lo. */
	return read_sysctl("/proc/sys/net/ipv6/conf/lo/disable_ipv6") == 1;
}

/* --- rtnetlink --- */

/* Read answers to the request numbered @seq until the last. */
static int receive(struct mnl_socket *s, unsigned seq, mnl_cb_t answer, void *data)
{
	char buffer[ANSWER_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	unsigned port = mnl_socket_get_portid(s);
	int rv = MNL_CB_OK;

	while (rv > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(s, buffer, sizeof buffer);

		if (n < 0)
			return -errno;
		rv = mnl_cb_run(buffer, (size_t)n, seq, port, answer, data);
	}
	return rv == MNL_CB_STOP ? 0 : -errno;
}

/* Send @request; @answer (NULL: there is none but the acknowledgement) sees what comes back.
 * Returns 0 or a negative errno: of ours, or the kernel's answer. */
static int ask(struct nlmsghdr *request, mnl_cb_t answer, void *data)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int rv;

	if (s == NULL)
		return -errno;
	/* A list of one table's routes alone. Kernels before 4.20 do not know it, and list all. */
	(void)mnl_socket_setsockopt(s, NETLINK_GET_STRICT_CHK, &(int){ 1 }, sizeof(int));
	request->nlmsg_seq = 1;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) != 0 ||
	    mnl_socket_sendto(s, request, request->nlmsg_len) < 0)
		rv = -errno;
	else
		rv = receive(s, request->nlmsg_seq, answer, data);
	mnl_socket_close(s);
	return rv;
}

/* --- status --- */

struct search {
	enum kind kind;
	uint32_t mark, table;
	enum route_state found; /* the best */
};

static int match(const struct nlmsghdr *h, void *data)
{
	struct search *s = data;
	enum route_state state = s->kind == RULE ? route_message_match_rule(h, s->mark, s->table)
						 : route_message_match_route(h, s->table);

	if (state > s->found)
		s->found = state;
	return MNL_CB_OK;
}

/* Look for a rule or a route. Returns its state, or a negative errno. */
static int search(enum route_part part, uint32_t mark, uint32_t table)
{
	uint32_t buffer[ROUTE_MESSAGE_MAX / sizeof(uint32_t)];
	struct search s;
	int rv = -EINTR;

	for (unsigned i = 0; rv == -EINTR && i < LIST_TRIES; i++) {
		s = (struct search){ parts[part].kind, mark, table, ROUTE_MISSING };
		if (s.kind == RULE)
			rv = ask(route_message_list_rules(buffer, parts[part].family), match, &s);
		else
			rv = ask(route_message_list_routes(buffer, parts[part].family, table),
				 match, &s);
	}
	return rv < 0 ? rv : (int)s.found;
}

static int part_state(enum route_part part, uint32_t mark, uint32_t table)
{
	int value;

	if (parts[part].kind != SYSCTL)
		return search(part, mark, table);
	value = read_sysctl(parts[part].file);
	if (value < 0)
		return value;
	return value == 0 ? ROUTE_MISSING : ROUTE_PRESENT;
}

void route_status(uint32_t mark, uint32_t table, struct route_status *ret)
{
	bool no_ipv6 = ipv6_is_off();

	memset(ret, 0, sizeof *ret);
	for (enum route_part p = 0; p < ROUTE_PARTS; p++) {
		int rv = ROUTE_OFF;

		if (parts[p].family != AF_INET6 || !no_ipv6)
			rv = part_state(p, mark, table);
		if (rv < 0)
			ret->parts[p].error = rv;
		else
			ret->parts[p].state = (enum route_state)rv;
	}
}

bool route_status_is_complete(const struct route_status *status, uint16_t family)
{
	for (enum route_part p = 0; p < ROUTE_PARTS; p++) {
		enum route_state state = status->parts[p].state;
		bool there = state == ROUTE_PRESENT || state == ROUTE_OURS ||
			     (state == ROUTE_OFF && family == AF_UNSPEC);

		if (route_part_serves(p, family) && !there)
			return false;
	}
	return true;
}

/* --- parts --- */

bool route_part_serves(enum route_part part, uint16_t family)
{
	return family == AF_UNSPEC || family == parts[part].family || parts[part].both;
}

const char *route_part_name(enum route_part part)
{
	return parts[part].name;
}

bool route_part_is_sysctl(enum route_part part)
{
	return parts[part].kind == SYSCTL;
}

static void command(enum route_part part, const char *verb, uint32_t mark, uint32_t table,
		    struct strbuf *out)
{
	const char *ip = parts[part].family == AF_INET6 ? "ip -6" : "ip";

	switch (parts[part].kind) {
	case RULE:
		strbuf_printf(out, "%s rule %s fwmark %u lookup %u priority %d protocol %d", ip,
			      verb, mark, table, ROUTE_PRIORITY, ROUTE_PROTOCOL);
		break;
	case ROUTE:
		strbuf_printf(out, "%s route %s local default dev lo table %u protocol %d", ip,
			      verb, table, ROUTE_PROTOCOL);
		break;
	case SYSCTL:
		strbuf_printf(out, "sysctl -w %s=%d", parts[part].name, strcmp(verb, "add") == 0);
		break;
	}
}

void route_part_add_command(enum route_part part, uint32_t mark, uint32_t table, struct strbuf *out)
{
	command(part, "add", mark, table, out);
}

void route_part_remove_command(enum route_part part, uint32_t mark, uint32_t table,
			       struct strbuf *out)
{
	command(part, "del", mark, table, out);
}

/* --- changes --- */

int route_add(enum route_part part, uint32_t mark, uint32_t table)
{
	uint32_t buffer[ROUTE_MESSAGE_MAX / sizeof(uint32_t)];
	uint8_t family = parts[part].family;

	switch (parts[part].kind) {
	case RULE:
		return ask(route_message_rule(buffer, RTM_NEWRULE, family, mark, table), NULL,
			   NULL);
	case ROUTE:
		return ask(route_message_route(buffer, RTM_NEWROUTE, family, table), NULL, NULL);
	case SYSCTL:
		break;
	}
	return set_sysctl(parts[part].file);
}

int route_remove(enum route_part part, uint32_t mark, uint32_t table)
{
	uint32_t buffer[ROUTE_MESSAGE_MAX / sizeof(uint32_t)];
	uint8_t family = parts[part].family;

	switch (parts[part].kind) {
	case RULE:
		return ask(route_message_rule(buffer, RTM_DELRULE, family, mark, table), NULL,
			   NULL);
	case ROUTE:
		return ask(route_message_route(buffer, RTM_DELROUTE, family, table), NULL, NULL);
	case SYSCTL:
		break;
	}
	return 0;
}
