/* SPDX-License-Identifier: MIT */
/* What a sender that got no header right was probably meant to be: words for the access log. */
#ifndef HEADER_HINT_H
#define HEADER_HINT_H

#include <stddef.h>
#include <stdint.h>

/* What do the first bytes look like? A static text such as "looks like TLS: …", or NULL. */
const char *header_hint_for_bytes(const uint8_t *data, size_t size);

/* For a header_timeout without a byte. */
const char *header_hint_for_silence(void);

/* For a peer outside trusted_proxies whose first bytes were these: a text if they are a valid header,
 * otherwise NULL. */
const char *header_hint_for_untrusted(const uint8_t *data, size_t size);

/* For a client_denied whose header was LOCAL. */
const char *header_hint_for_local(void);

/* For a header_missing from a peer that is this host itself. */
const char *header_hint_for_own_host(void);

#endif
