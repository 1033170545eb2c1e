/* SPDX-License-Identifier: MIT */
#include "session/header_hint.h"

#include <string.h>

#include "base/bug.h"
#include "wire/proxy_header.h"

#define HINT_TLS                                                                                 \
	"looks like TLS: the sender must put a PROXY header before the TLS handshake (HAProxy: " \
	"send-proxy-v2; nginx stream: proxy_protocol on; NLB: proxy_protocol_v2.enabled=true)"
#define HINT_HTTP                                                                                     \
	"looks like HTTP without a PROXY header: turn the PROXY protocol on at the sender (HAProxy: " \
	"send-proxy-v2; NLB: proxy_protocol_v2.enabled=true), or connect through it"
#define HINT_SSH                                                                                       \
	"looks like SSH without a PROXY header: turn the PROXY protocol on at the sender, or connect " \
	"through it"

/* What a protocol begins with. */
static const struct {
	const char *start;
	size_t size;
	const char *hint;
} header_hints[] = {
	{ "\x16\x03", 2, HINT_TLS }, { "SSH-", 4, HINT_SSH },
	{ "GET ", 4, HINT_HTTP },    { "HEAD ", 5, HINT_HTTP },
	{ "POST ", 5, HINT_HTTP },   { "PUT ", 4, HINT_HTTP },
	{ "DELETE ", 7, HINT_HTTP }, { "OPTIONS ", 8, HINT_HTTP },
	{ "PATCH ", 6, HINT_HTTP },  { "CONNECT ", 8, HINT_HTTP },
	{ "TRACE ", 6, HINT_HTTP },  { "PRI * HTTP/2", 12, HINT_HTTP },
};

const char *header_hint_for_bytes(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(header_hints); i++)
		if (size >= header_hints[i].size &&
		    memcmp(data, header_hints[i].start, header_hints[i].size) == 0)
			return header_hints[i].hint;
	return NULL;
}

const char *header_hint_for_silence(void)
{
	return "no byte came: NLB sends the header only with the client's first payload, so an "
	       "application that speaks first waits for a client that waits for it (AWS support can "
	       "set on_first_ack); otherwise a health check or an idle pre-connection";
}

const char *header_hint_for_untrusted(const uint8_t *data, size_t size)
{
	struct proxy_header h;
	enum header_error e;

	if (proxy_header_parse(data, size, PROXY_HEADER_MAX, &h, &e) != PARSE_DONE)
		return NULL;
	return "it sent a valid PROXY header: if the load balancer preserves client IPs, its peers "
	       "are the clients themselves, so turn that off (NLB: preserve_client_ip.enabled=false); "
	       "otherwise add its network to trusted_proxies";
}

const char *header_hint_for_local(void)
{
	return "a LOCAL header is a health check of the load balancer's own, and the load balancer is "
	       "the client: let its networks in, or it takes this target out of service";
}

const char *header_hint_for_own_host(void)
{
	return "the peer is this host itself: connect through the load balancer, or to the "
	       "application directly";
}
