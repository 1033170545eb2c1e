/* SPDX-License-Identifier: MIT */
#include "session/access.h"

#include <string.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/cidr_set.h"
#include "conf/config.h"
#include "wire/tlv.h"

#define AWS_VPC_ENDPOINT 1 /* the subtype of TLV_AWS */

#define HINT_UNIX \
	"a peer on a unix socket has no address; it has to send a header that names the client"
#define HINT_NO_VPC_ENDPOINT                                                                       \
	"only connections through AWS PrivateLink name one; health checks (LOCAL) do not, so let " \
	"them ask admin.listen for /readyz"

/* The first endpoint id among the TLVs. Returns false if there is none. */
static bool find_vpc_endpoint(const uint8_t *tlvs, size_t size, struct tlv *ret)
{
	struct tlv_iter it;

	tlv_iter_init(&it, tlvs, size);
	while (tlv_next(&it, ret))
		if (ret->type == TLV_AWS && ret->size > 0 && ret->value[0] == AWS_VPC_ENDPOINT)
			return true;
	return false;
}

static bool is_listed(const struct listener_config *config, const struct tlv *endpoint)
{
	size_t size = endpoint->size - 1u; /* without the subtype */

	for (size_t i = 0; i < config->vpc_endpoint_count; i++)
		if (strlen(config->vpc_endpoints[i]) == size &&
		    memcmp(config->vpc_endpoints[i], endpoint->value + 1, size) == 0)
			return true;
	return false;
}

/* Returns why it is refused, or NULL. */
static const char *refusal_of_address(const struct listener_config *config,
				      const struct address *client, const char **ret_hint)
{
	if (config->clients_deny != NULL && cidr_set_contains(config->clients_deny, client))
		return "the client is in clients.deny";
	if (config->clients_allow == NULL || cidr_set_contains(config->clients_allow, client))
		return NULL;
	if (client->family == AF_UNIX)
		*ret_hint = HINT_UNIX;
	return "the client is not in clients.allow";
}

static const char *refusal_of_endpoint(const struct listener_config *config, const uint8_t *tlvs,
				       size_t tlvs_size, const char **ret_hint)
{
	struct tlv endpoint;

	if (config->vpc_endpoint_count == 0)
		return NULL;
	if (!find_vpc_endpoint(tlvs, tlvs_size, &endpoint)) {
		*ret_hint = HINT_NO_VPC_ENDPOINT;
		return "the header names no VPC endpoint";
	}
	if (is_listed(config, &endpoint))
		return NULL;
	return "the VPC endpoint is not in clients.vpc_endpoints";
}

bool access_is_allowed(const struct listener_config *config, const struct address *client,
		       const uint8_t *tlvs, size_t tlvs_size, const char **ret_reason,
		       const char **ret_hint)
{
	const char *hint = NULL;
	const char *reason = refusal_of_address(config, client, &hint);

	if (reason == NULL)
		reason = refusal_of_endpoint(config, tlvs, tlvs_size, &hint);
	if (reason == NULL)
		return true;
	*ret_reason = reason;
	*ret_hint = hint;
	return false;
}
