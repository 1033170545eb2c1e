/* SPDX-License-Identifier: MIT */
#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static_assert(sizeof(struct address) == 20, "a session keeps three of them");

size_t address_ip_size(const struct address *a)
{
	if (a->family == AF_INET)
		return 4;
	return a->family == AF_INET6 ? 16 : 0;
}

void address_set_ip(struct address *a, const uint8_t *ip, size_t size, uint16_t port)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	assert(size == 4 || size == 16);
	if (size == 16 && memcmp(ip, mapped, sizeof mapped) == 0) {
		ip += sizeof mapped;
		size = 4;
	}
	*a = (struct address){ .family = size == 4 ? AF_INET : AF_INET6, .port = port };
	memcpy(a->ip, ip, size);
}

void address_from_sockaddr(struct address *a, const struct sockaddr *sa)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof in);
		address_set_ip(a, (const uint8_t *)&in.sin_addr, 4, ntohs(in.sin_port));
	} else if (sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof in6);
		address_set_ip(a, in6.sin6_addr.s6_addr, 16, ntohs(in6.sin6_port));
	} else {
		*a = (struct address){ .family = sa->sa_family == AF_UNIX ? AF_UNIX : AF_UNSPEC };
	}
}

socklen_t address_to_sockaddr(const struct address *a, struct sockaddr_storage *ret)
{
	assert(address_ip_size(a) > 0);
	if (a->family == AF_INET) {
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(a->port) };

		memcpy(&in.sin_addr, a->ip, 4);
		memcpy(ret, &in, sizeof in);
		return sizeof in;
	}
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(a->port) };

	memcpy(&in6.sin6_addr, a->ip, 16);
	memcpy(ret, &in6, sizeof in6);
	return sizeof in6;
}

/* inet_pton(3) takes neither zones, brackets, leading zeros nor short forms such as "10.1". */
int address_parse_ip(const char *text, struct address *ret)
{
	uint8_t ip[16];

	if (inet_pton(AF_INET, text, ip) == 1)
		address_set_ip(ret, ip, 4, 0);
	else if (inet_pton(AF_INET6, text, ip) == 1)
		address_set_ip(ret, ip, 16, 0);
	else
		return -EINVAL;
	return 0;
}

/* Cut "HOST:PORT" or "[HOST]:PORT" in two: @ret_host_size bytes at @ret_host, and the port. */
static const char *address_split(const char *text, const char **ret_host, size_t *ret_host_size,
				 const char **ret_port)
{
	const char *host = text;
	const char *end;

	if (*text == '[') {
		host++;
		end = strchr(host, ']');
		if (end == NULL)
			return "the closing ] is missing";
		if (end[1] != ':')
			return "the port is missing";
		*ret_port = end + 2;
	} else {
		end = strrchr(text, ':');
		if (end == NULL)
			return "the port is missing";
		if (memchr(text, ':', (size_t)(end - text)) != NULL)
			return "an IPv6 address stands in brackets, as in [2001:db8::1]:80";
		*ret_port = end + 1;
	}
	*ret_host = host;
	*ret_host_size = (size_t)(end - host);
	return NULL;
}

int address_parse(const char *text, struct address *ret, const char **reterr_why)
{
	const char *host = NULL;
	const char *port = NULL;
	const char *why;
	size_t host_size = 0;
	char copy[INET6_ADDRSTRLEN];
	uint8_t ip[16];
	uint16_t number;
	bool is_ipv6 = *text == '[';

	why = address_split(text, &host, &host_size, &port);
	if (why != NULL)
		goto err;
	why = is_ipv6 ? "not an IPv6 address in the brackets" : "not an IPv4 address";
	if (host_size >= sizeof copy)
		goto err;
	memcpy(copy, host, host_size);
	copy[host_size] = '\0';
	if (inet_pton(is_ipv6 ? AF_INET6 : AF_INET, copy, ip) != 1)
		goto err;
	why = "the port is a number from 0 to 65535";
	if (port_parse(port, strlen(port), &number) != 0)
		goto err;
	address_set_ip(ret, ip, is_ipv6 ? 16 : 4, number);
	return 0;

err:
	*reterr_why = why;
	return -EINVAL;
}

size_t address_format_ip(const struct address *a, char out[static ADDRESS_TEXT_MAX])
{
	if (a->family == AF_UNIX)
		strcpy(out, "unix:");
	else if (address_ip_size(a) == 0 ||
		 inet_ntop(a->family, a->ip, out, ADDRESS_TEXT_MAX) == NULL)
		out[0] = '\0';
	return strlen(out);
}

size_t address_format(const struct address *a, char out[static ADDRESS_TEXT_MAX])
{
	char ip[ADDRESS_TEXT_MAX];

	if (address_ip_size(a) == 0)
		return address_format_ip(a, out);
	address_format_ip(a, ip);
	return (size_t)snprintf(out, ADDRESS_TEXT_MAX, a->family == AF_INET ? "%s:%u" : "[%s]:%u",
				ip, a->port);
}

bool address_same_ip(const struct address *a, const struct address *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

bool address_is_loopback(const struct address *a)
{
	static const uint8_t loopback[16] = { [15] = 1 };

	if (a->family == AF_INET)
		return a->ip[0] == 127;
	return a->family == AF_INET6 && memcmp(a->ip, loopback, sizeof loopback) == 0;
}

bool address_is_unspecified(const struct address *a)
{
	static const uint8_t zero[sizeof a->ip];

	return address_ip_size(a) > 0 && memcmp(a->ip, zero, sizeof zero) == 0;
}

bool address_is_multicast(const struct address *a)
{
	if (a->family == AF_INET)
		return (a->ip[0] & 0xf0) == 0xe0;
	return a->family == AF_INET6 && a->ip[0] == 0xff;
}

int port_parse(const char *text, size_t size, uint16_t *ret)
{
	unsigned value = 0;

	if (size == 0 || size > 5 || (size > 1 && text[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	if (value > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)value;
	return 0;
}
