/* SPDX-License-Identifier: MIT */
#include "conf/endpoint.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define UNIX_PREFIX "unix:"
#define PATH_MAX_UN (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define HOST_MAX    253 /* longest host name in text (RFC 1035, section 2.3.4) */
#define LABEL_MAX   63

/* "HOST:PORT" taken apart; all borrowed from the text. */
struct parts {
	const char *host;
	size_t host_size;
	bool brackets; /* the host stood in brackets, which are not counted */
	const char *port;
};

static int refuse(char reterr[static ENDPOINT_ERROR_MAX], const char *why)
{
	snprintf(reterr, ENDPOINT_ERROR_MAX, "%s", why);
	return -EINVAL;
}

static bool has_control_characters(const char *text)
{
	for (; *text != '\0'; text++)
		if (iscntrl((unsigned char)*text))
			return true;
	return false;
}

static int parse_unix(const char *text, struct endpoint *ret,
		      char reterr[static ENDPOINT_ERROR_MAX])
{
	struct endpoint e = { .kind = ENDPOINT_UNIX };
	const char *path = text + strlen(UNIX_PREFIX);

	if (path[0] != '/')
		return refuse(reterr, "the path of a unix socket begins with \"/\", as in "
				      "\"unix:/run/app.sock\"");
	if (strlen(path) > PATH_MAX_UN)
		return refuse(reterr, "the path of a unix socket has at most 107 bytes");
	if (has_control_characters(path))
		return refuse(reterr, "control characters have no place in a path");
	e.path = strdup(path);
	e.text = strdup(text);
	if (e.path == NULL || e.text == NULL) {
		endpoint_fini(&e);
		return -ENOMEM;
	}
	*ret = e;
	return 0;
}

/* Why @text has no host and port to split, in the words that help. */
static const char *why_not_split(const char *text, bool names)
{
	if (strstr(text, "://") != NULL)
		return "not a URL; write HOST:PORT alone";
	if (strchr(text, ':') != strrchr(text, ':'))
		return "an IPv6 address stands in brackets, as in \"[2001:db8::1]:5432\"";
	if (names)
		return "a port is missing; write HOST:PORT, as in \"127.0.0.1:5432\"";
	return "a port is missing; write ADDRESS:PORT, as in \"[::]:5432\"";
}

static bool split(const char *text, bool names, struct parts *ret, const char **retwhy)
{
	const char *colon = strchr(text, ':');
	const char *bracket = strchr(text, ']');

	if (text[0] == '[' && bracket == NULL) {
		*retwhy = "a closing \"]\" is missing";
		return false;
	}
	if (text[0] == '[' && bracket[1] != ':') {
		*retwhy = "a port is missing behind \"]\", as in \"[2001:db8::1]:5432\"";
		return false;
	}
	if (text[0] == '[') {
		*ret = (struct parts){ text + 1, (size_t)(bracket - text - 1), true, bracket + 2 };
		return true;
	}
	if (colon == NULL || strchr(colon + 1, ':') != NULL) {
		*retwhy = why_not_split(text, names);
		return false;
	}
	*ret = (struct parts){ text, (size_t)(colon - text), false, colon + 1 };
	return true;
}

/* "5432", ":5432" and "*:5432" mean "everywhere" in other programs: here one says which. */
static bool means_everywhere(const char *text, const char **retport)
{
	size_t digits;

	if (text[0] == '*' && text[1] == ':')
		text++;
	if (text[0] == ':')
		text++;
	digits = strspn(text, "0123456789");
	*retport = text;
	return digits > 0 && digits <= 5 && text[digits] == '\0';
}

static bool is_label(const char *label, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_')
			return false;
	return size > 0 && size <= LABEL_MAX && label[0] != '-' && label[size - 1] != '-';
}

/* Letters, digits, "-" and "_" in labels. The last one must not be a number: that would be a mistyped
 * IPv4 address. */
static bool is_host_name(const char *host)
{
	const char *label = host;
	size_t size = strlen(host);

	if (size > HOST_MAX)
		return false;
	for (;;) {
		size = strcspn(label, ".");
		if (!is_label(label, size))
			return false;
		if (label[size] == '\0' || label[size + 1] == '\0')
			return strspn(label, "0123456789") != size;
		label += size + 1;
	}
}

static int fill_ip(struct endpoint *e, const struct address *ip, uint16_t port)
{
	char text[ADDRESS_TEXT_MAX];

	e->kind = ENDPOINT_IP;
	e->ip = *ip;
	e->ip.port = port;
	address_format(&e->ip, text);
	e->text = strdup(text);
	return e->text != NULL ? 0 : -ENOMEM;
}

static int fill_name(struct endpoint *e, const char *host, uint16_t port, const char *text)
{
	e->kind = ENDPOINT_NAME;
	e->host = strdup(host);
	e->port = port;
	e->text = strdup(text);
	if (e->host != NULL && e->text != NULL)
		return 0;
	endpoint_fini(e);
	return -ENOMEM;
}

static int parse_host_port(const char *text, bool names, struct endpoint *ret,
			   char reterr[static ENDPOINT_ERROR_MAX])
{
	struct endpoint e = { .kind = ENDPOINT_IP };
	struct address ip;
	struct parts p;
	const char *why;
	char host[HOST_MAX + 1];
	uint16_t port;
	int rv;

	if (!split(text, names, &p, &why))
		return refuse(reterr, why);
	if (port_parse(p.port, strlen(p.port), &port) != 0 || (names && port == 0))
		return refuse(reterr, names ? "the port is a number from 1 to 65535"
					    : "the port is a number from 0 to 65535");
	if (p.host_size >= sizeof host)
		return refuse(reterr, "a host name has at most 253 characters");
	memcpy(host, p.host, p.host_size);
	host[p.host_size] = '\0';
	if (address_parse_ip(host, &ip) == 0 && p.brackets == (strchr(host, ':') != NULL))
		rv = fill_ip(&e, &ip, port);
	else if (p.brackets)
		return refuse(reterr,
			      "an IPv6 address (without a zone) belongs between \"[\" and \"]\"");
	else if (!is_host_name(host))
		return refuse(reterr, names ? "neither an IP address nor a host name"
					    : "not an IP address");
	else if (!names)
		return refuse(reterr,
			      "host names are not looked up here; write an address, such as "
			      "\"[::]:PORT\" or \"127.0.0.1:PORT\"");
	else
		rv = fill_name(&e, host, port, text);
	if (rv == 0)
		*ret = e;
	return rv;
}

int endpoint_parse(const char *text, bool names, struct endpoint *ret,
		   char reterr[static ENDPOINT_ERROR_MAX])
{
	const char *port;

	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
		return parse_unix(text, ret, reterr);
	if (means_everywhere(text, &port)) {
		if (names)
			snprintf(reterr, ENDPOINT_ERROR_MAX,
				 "a host is missing; for this machine write \"127.0.0.1:%s\"",
				 port);
		else
			snprintf(reterr, ENDPOINT_ERROR_MAX,
				 "an address is missing; write \"[::]:%s\" for all, or "
				 "\"0.0.0.0:%s\" for all of IPv4",
				 port, port);
		return -EINVAL;
	}
	return parse_host_port(text, names, ret, reterr);
}

void endpoint_fini(struct endpoint *e)
{
	free(e->path);
	free(e->host);
	free(e->text);
	*e = (struct endpoint){ 0 };
}
