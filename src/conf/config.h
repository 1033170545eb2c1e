/* SPDX-License-Identifier: MIT */
/* The configuration as values: immutable once loaded, shared by reference count. */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bug.h"
#include "base/file_stamp.h"
#include "conf/endpoint.h"

struct cidr_set;

enum config_log_level { /* the order is that of obs/log.h */
	CONFIG_LOG_ERROR,
	CONFIG_LOG_WARN,
	CONFIG_LOG_INFO,
	CONFIG_LOG_DEBUG,
};

enum config_log_format {
	CONFIG_LOG_JSON,
	CONFIG_LOG_TEXT,
};

/* `versions`, as bits */
enum config_versions {
	CONFIG_VERSION_1 = 1U << 1,
	CONFIG_VERSION_2 = 1U << 2,
};

enum config_send_proxy {
	CONFIG_SEND_OFF,
	CONFIG_SEND_V1,
	CONFIG_SEND_V2,
};

/* A token bucket: @burst at once, then @per_second. */
struct config_rate {
	unsigned per_second; /* 0: no limit */
	unsigned burst;      /* at least 1 */
};

struct listener_config {
	char *name;
	struct endpoint listen;
	struct endpoint upstream[2]; /* by the effective client's family: [0] IPv4, [1] IPv6 */
	bool upstream_is_pair;       /* {"ipv4": …, "ipv6": …}; otherwise both are the same */
	struct cidr_set *trusted;    /* sealed */
	bool trust_unix;             /* "unix:" was listed: peers on a unix socket */
	bool header_optional;        /* "header": "optional" */
	bool untrusted_pass;         /* "untrusted": "pass" */
	unsigned versions;           /* enum config_versions bits */
	unsigned header_timeout_ms;
	unsigned connect_timeout_ms;
	unsigned idle_timeout_ms; /* 0: never */
	unsigned max_header_bytes;
	unsigned max_connections;            /* 0: what the file-descriptor limit allows */
	unsigned max_connections_per_client; /* 0: no limit */
	struct config_rate connection_rate_per_client; /* new connections */
	unsigned max_tracked_clients;                  /* how many the two limits above remember */
	struct cidr_set *clients_allow;                /* sealed; NULL: everybody */
	struct cidr_set *clients_deny;                 /* sealed; NULL: nobody */
	char **vpc_endpoints;                          /* AWS PrivateLink: only these */
	size_t vpc_endpoint_count;                     /* 0: any, or none */
	enum config_send_proxy send_proxy;
	unsigned upstream_check_interval_ms; /* 0: never */
	bool upstream_check_close_listener;  /* refuse connections while the upstream does */
	bool transparent; /* connect from the client's address; no upstream is a unix socket */
	bool allow_loopback_clients;
};

/* A file that was read. */
struct config_file {
	char *path;
	struct file_stamp stamp; /* of what was read */
};

#define CONFIG_WORKERS_MAX 1024

#define CONFIG_TRANSPARENT_MARK  7700 /* by default */
#define CONFIG_TRANSPARENT_TABLE 7700

struct config {
	atomic_uint references;
	unsigned workers; /* 0: auto; at most CONFIG_WORKERS_MAX */
	struct listener_config *listeners;
	size_t listener_count;      /* at least 1 */
	unsigned transparent_mark;  /* of upstream sockets and replies to them; not 0 */
	unsigned transparent_table; /* for `unproxy routes`; not 0, and none of the kernel's */
	char *user;                 /* whom to become when started as root */
	enum config_log_level log_level;
	enum config_log_format log_format;
	bool log_access;
	char *log_output; /* "stderr", "stdout" or a path */
	unsigned shutdown_timeout_ms;
	struct endpoint
	    admin_listen; /* text is NULL: off; otherwise an IP address or unix socket */
	bool watch;       /* reload when one of `files` changes */
	struct config_file
	    *files; /* what was read: the configuration, if it is a file, and lists */
	size_t file_count;
};

/* An empty one with one reference, to be filled by config_load.c. NULL when out of memory. */
struct config *config_create(void) MUST_CHECK;

/* Is any listener? */
bool config_is_transparent(const struct config *c);

/* Does anybody ask whether the upstream of @l, a listener of @c, accepts connections? Otherwise it is left alone, for the
 * application at a unix socket notices that we ask. */
bool config_checks_upstream(const struct config *c, const struct listener_config *l);

/* May a listener keep its listening sockets when @a becomes @b? The same kind of socket at the same place; each
 * port 0 is a port of its own, so there the names must be equal, too. */
bool listener_config_same_socket(const struct listener_config *a, const struct listener_config *b);

struct config *config_ref(struct config *c);

/* The last reference frees. NULL does nothing. Any thread. */
void config_unref(struct config *c);

#endif
