/* SPDX-License-Identifier: MIT */
/* What the upstream is told is what we know ourselves:
 * - the client and its destination, as a header named them and as they were admitted;
 * - without a header, the peer, and the address of ours that it connected to;
 * - nothing but the fact where the sender had nothing to say either: LOCAL stays LOCAL, and a header that names no TCP
 *   client (UNKNOWN, UNSPEC, a unix socket, a datagram) becomes UNKNOWN in v1 and UNSPEC in v2. What was not admitted as a
 *   client's address is not passed on as one.
 * In v1, LOCAL is UNKNOWN, too.
 *
 * From v2 to v2 all TLVs are carried on, in their order: none is meant for one hop alone (section 2.2), and where
 * several proxies pass a connection on it is UNIQUE_ID that they have in common. CRC32C is computed anew; where there was none,
 * none is added. NOOP stays, for it may align what follows. v1 has no place for TLVs. */
#include "session/session_send_proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/config.h"
#include "session/service.h"
#include "session/session.h"
#include "wire/proxy_header.h"

/* Enough for every header without its TLVs: in v2 that is two IPv6 addresses and their ports. */
#define HEADER_ROOM PROXY_V1_MAX
static_assert(HEADER_ROOM >= PROXY_V2_FIXED + 2 * 16 + 2 * 2, "a v2 header fits as well");

static void header_for_upstream(const struct session *s, const struct session_input *in,
				struct proxy_header *ret)
{
	*ret = (struct proxy_header){
		.version = s->service->config->send_proxy == CONFIG_SEND_V1 ? 1 : 2,
		.command = (enum proxy_command)s->command,
		.source = s->client,
		.destination = s->destination,
		.tlvs = in->tlvs,
		.tlvs_size = in->tlvs_size,
	};
	if (ret->command == PROXY_COMMAND_NONE) {
		ret->command = PROXY_COMMAND_PROXY;
		session_local_address(s, &ret->destination);
	}
	if (address_ip_size(&ret->source) == 0 || address_ip_size(&ret->destination) == 0)
		return; /* UNSPEC */
	ret->transport = PROXY_TRANSPORT_STREAM;
	/* One of them may be IPv4, and is written as a mapped address. */
	ret->family = PROXY_FAMILY_INET6;
	if (ret->source.family == AF_INET && ret->destination.family == AF_INET)
		ret->family = PROXY_FAMILY_INET;
}

int session_hold_header(struct session *s, const struct session_input *in)
{
	size_t room = HEADER_ROOM + in->tlvs_size;
	uint8_t *data = malloc(room + in->payload_size);
	struct proxy_header h;
	size_t size;

	if (data == NULL)
		return -ENOMEM;
	header_for_upstream(s, in, &h);
	size = proxy_header_encode(&h, data, room);
	/* It is no longer than the one that brought the TLVs, for its addresses are no larger. */
	assert(size > 0);
	if (in->payload_size > 0) /* otherwise there may be no payload to point to */
		memcpy(data + size, in->payload, in->payload_size);
	relay_hold_preface(&s->relay, data, size + in->payload_size, size);
	return 0;
}
