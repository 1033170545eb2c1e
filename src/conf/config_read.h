/* SPDX-License-Identifier: MIT */
/* From JSON values to struct config, along the tables of config_keys.c. Inside src/conf only. */
#ifndef CONFIG_READ_H
#define CONFIG_READ_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "base/bug.h"
#include "conf/config_keys.h"

struct cidr_set;
struct config;
struct config_place;
struct file_stamp;

/* One of `proxy_lists`. */
struct config_list {
	const char *name;     /* borrowed from the document */
	struct cidr_set *set; /* not sealed; only ever added to others */
};

/* {"file": …} in `proxy_lists` */
struct config_list_file {
	char *file;
};

/* What is known while one configuration is being read. */
struct config_reading {
	struct config *config;
	const char *directory; /* where files of `proxy_lists` are looked up */
	struct config_list *lists;
	size_t list_count;
};

void config_reading_fini(struct config_reading *r);

/* @path (copied) is read: once in config->files, however often it is named. @stamp was taken before. Returns 0 or
 * -ENOMEM. */
int config_add_file(struct config *c, const char *path, const struct file_stamp *stamp) MUST_CHECK;

/* Read the members of the object at @at into @base by the table, in the table's order: what later keys depend on
 * stands before them there. Keys that are absent get their default. */
int config_read_object(struct config_reading *r, const struct config_place *at,
		       const struct config_table *table, void *base) MUST_CHECK;

/* "must be …", with a hint if only the quotes are wrong. Returns -EINVAL. */
int config_refuse_form(const struct config_place *at, const struct config_key *key);

/* A whole number from key->min to key->max, or key->zero. */
bool config_read_uint(const struct config_key *key, const cJSON *value, unsigned *ret);

/* Add the string at @at to @set: a network, an address or the name of a list. Returns as a reader does. */
int config_read_network(const struct config_reading *r, const struct config_place *at,
			struct cidr_set *set) MUST_CHECK;

/* Readers named by the tables. */
int config_read_routing_table(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base);
int config_read_listeners(struct config_reading *r, const struct config_place *at,
			  const struct config_key *key, void *base);
int config_read_listen(struct config_reading *r, const struct config_place *at,
		       const struct config_key *key, void *base);
int config_read_upstream(struct config_reading *r, const struct config_place *at,
			 const struct config_key *key, void *base);
int config_read_upstream_ipv4(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base);
int config_read_upstream_ipv6(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base);
int config_read_versions(struct config_reading *r, const struct config_place *at,
			 const struct config_key *key, void *base);
int config_read_proxy_lists(struct config_reading *r, const struct config_place *at,
			    const struct config_key *key, void *base);
int config_read_trusted_proxies(struct config_reading *r, const struct config_place *at,
				const struct config_key *key, void *base);
int config_read_clients_allow(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base);
int config_read_clients_deny(struct config_reading *r, const struct config_place *at,
			     const struct config_key *key, void *base);
int config_read_vpc_endpoints(struct config_reading *r, const struct config_place *at,
			      const struct config_key *key, void *base);
int config_read_rate(struct config_reading *r, const struct config_place *at,
		     const struct config_key *key, void *base);
int config_read_admin_listen(struct config_reading *r, const struct config_place *at,
			     const struct config_key *key, void *base);

#endif
