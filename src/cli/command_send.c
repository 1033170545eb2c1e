/* SPDX-License-Identifier: MIT */
/* `unproxy send`: a sender by hand, to see what a receiver does. */
#include <unistd.h>

#include "base/socket.h"
#include "cli/command.h"
#include "cli/endpoint_connect.h"
#include "cli/send_options.h"
#include "cli/send_relay.h"

/* Addresses that were not given are those of the connection. @peer is not asked from the socket, because a
 * receiver that does not trust us may have reset it already. An IPv4 address beside an IPv6 one travels
 * as an IPv4-mapped one. */
static void complete_header(struct proxy_header *h, int fd, const struct address *peer)
{
	if (h->command != PROXY_COMMAND_PROXY)
		return;
	if (h->source.family == AF_UNSPEC)
		socket_local_address(fd, &h->source);
	if (h->destination.family == AF_UNSPEC)
		h->destination = *peer;
	h->family = PROXY_FAMILY_INET;
	if (h->source.family == AF_INET6 || h->destination.family == AF_INET6)
		h->family = PROXY_FAMILY_INET6;
}

static int send_on(int fd, const struct address *peer, struct send_options *o)
{
	static uint8_t header[PROXY_HEADER_MAX];
	size_t size;

	complete_header(&o->header, fd, peer);
	size = proxy_header_encode(&o->header, header, sizeof header);
	if (size == 0)
		return command_usage_error("send", "the TLVs are too long for a header");
	return send_relay(fd, o->target.text, header, size);
}

int command_send(int argc, char **argv)
{
	static struct send_options options; /* too large for a stack */
	int status = send_options_parse(argc, argv, &options);
	struct address peer;
	int fd;

	if (status != COMMAND_OK)
		return status;
	if (options.help) {
		command_help_print("send");
		return COMMAND_OK;
	}
	fd = endpoint_connect(&options.target, &peer);
	if (fd >= 0) {
		status = send_on(fd, &peer, &options);
		close(fd);
	} else {
		status = COMMAND_FAILED;
	}
	send_options_fini(&options);
	return status;
}
