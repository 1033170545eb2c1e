/* SPDX-License-Identifier: MIT */
/* Places in a configuration, and what is wrong there, in words that lead back to it:
 * config.json:7:21: listeners[0].trusted_proxies[2]: "10.0.0.0/33": prefix length is 0 to 32 */
#ifndef CONFIG_PLACE_H
#define CONFIG_PLACE_H

#include <cjson/cJSON.h>

#include "base/bug.h"

struct config_document;

struct config_place {
	const struct config_document *document;
	const struct config_place *parent; /* the object or array it is in; NULL: the root */
	const cJSON *value;
};

/* All return -EINVAL, after setting the document's error to the place and @format. */

/* Something about the value, which the message shows. */
int config_refuse(const struct config_place *at, const char *format, ...) PRINTF_LIKE(2, 3);

/* Something about the object or array as a whole. */
int config_refuse_whole(const struct config_place *at, const char *format, ...) PRINTF_LIKE(2, 3);

/* Something about the key, whatever its value. */
int config_refuse_key(const struct config_place *at, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
