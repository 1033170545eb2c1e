/* SPDX-License-Identifier: MIT */
/* JSON to struct config, strictly (contract: "Configuration"). It reports and never logs. */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bug.h"

struct config;

/* A message for people, without the "unproxy: " before it:
 * config.json:7:21: listeners[0].trusted_proxies[2]: "10.0.0.0/33": prefix length is 0 to 32 */
struct config_error {
	char text[1024];
};

/* What `unproxy run --listen … --upstream … --trust …` says. All borrowed. */
struct config_flags {
	const char *listen;
	const char *upstream;
	const char *trust; /* CIDR[,CIDR…] */
	bool transparent;
};

/* All return 0 with a configuration that the caller holds one reference to, or -EINVAL (bad
 * configuration), -ENOMEM, or the negative errno of reading, with *@reterr set. Nothing is left
 * behind on failure. */

/* @path "-" is stdin. Files of `proxy_lists` are looked up beside it. */
int config_load_file(const char *path, struct config **ret, struct config_error *reterr) MUST_CHECK;

/* @size bytes of JSON; @name stands where a file name would ("UNPROXY_CONFIG"). Files of
 * `proxy_lists` are looked up in @directory. */
int config_load_text(const char *name, const char *directory, const char *text, size_t size,
		     struct config **ret, struct config_error *reterr) MUST_CHECK;

int config_load_flags(const struct config_flags *flags, struct config **ret,
		      struct config_error *reterr) MUST_CHECK;

#endif
