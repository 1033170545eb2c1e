/* SPDX-License-Identifier: MIT */
/* Configurations as text, for tests: as short as they can be, and loaded. cmocka.h is included before. */
#ifndef CONFIG_TEXT_H
#define CONFIG_TEXT_H

#include <stdio.h>
#include <string.h>

#include "base/cidr_set.h"
#include "conf/config.h"
#include "conf/config_load.h"

#define LISTENER_MINIMAL                                               \
	"\"listen\": \"127.0.0.1:1\", \"upstream\": \"127.0.0.1:2\", " \
	"\"trusted_proxies\": [\"10.0.0.0/24\"]"

static inline int config_text_try(const char *text, struct config **ret,
				  struct config_error *reterr)
{
	return config_load_text("config.json", ".", text, strlen(text), ret, reterr);
}

static inline struct config *config_text_load(const char *text)
{
	struct config_error error = { "" };
	struct config *c;

	if (config_text_try(text, &c, &error) != 0)
		fail_msg("%s\n%s", text, error.text);
	return c;
}

/* A configuration with one listener, which has @more beside what it needs, and @rest behind. */
static inline char *config_text_with(const char *more, const char *rest)
{
	static char text[4096];

	snprintf(text, sizeof text, "{\"listeners\": [{" LISTENER_MINIMAL "%s%s}]%s%s}",
		 more[0] != '\0' ? ", " : "", more, rest[0] != '\0' ? ", " : "", rest);
	return text;
}

static inline bool config_trusts(const struct config *c, const char *text)
{
	struct address a;

	assert_int_equal(address_parse_ip(text, &a), 0);
	return cidr_set_contains(c->listeners[0].trusted, &a);
}

#endif
