/* SPDX-License-Identifier: MIT */
/* Which clients a listener lets in, by who they are: clients.deny, clients.allow, clients.vpc_endpoints. How many and
 * how fast is client_table.h's. */
#ifndef ACCESS_H
#define ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bug.h"

struct address;
struct listener_config;

/* Is the effective client @client welcome? @tlvs are those of its header, checked by the parser; @tlvs_size is 0 if
 * there are none, as with LOCAL, v1 or no header.
 * If it is not, *@ret_reason is a static text for the access log, and *@ret_hint advice, or NULL. */
bool access_is_allowed(const struct listener_config *config, const struct address *client,
		       const uint8_t *tlvs, size_t tlvs_size, const char **ret_reason,
		       const char **ret_hint) MUST_CHECK;

#endif
