/* SPDX-License-Identifier: MIT */
/* One line per connection, at its end (contract: "Access log"). */
#ifndef ACCESS_LOG_H
#define ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "obs/log.h"
#include "obs/outcome.h"
#include "wire/proxy_header.h"

struct strbuf;

/* Longest line that access_log_format() is given room for. TLVs that would not fit are left out whole, and
 * "tlv_truncated": true says so. */
#define ACCESS_LOG_LINE_MAX 16384

/* What one line tells. Everything is borrowed for the call. */
struct access_record {
	enum log_level level; /* LOG_WARN for refused connections, LOG_DEBUG for probes */
	uint64_t time_ms;     /* of the end, since the epoch [ms] */
	uint64_t id;          /* unique in this process */
	const char *listener; /* its name */
	enum outcome outcome;
	struct address peer;        /* the TCP peer */
	struct address client;      /* the effective client; AF_UNSPEC: left out */
	struct address destination; /* AF_UNSPEC: left out */
	enum proxy_command command;
	uint8_t version;      /* 0: no header */
	const char *upstream; /* "IP:PORT" or "unix:/path"; NULL: not reached, left out */
	bool transparent;
	uint64_t bytes_in; /* client to upstream [bytes] */
	uint64_t bytes_out;
	uint64_t duration_ns; /* since accept */
	uint64_t header_ns;   /* accept to whole header; 0: never, left out */
	uint64_t connect_ns;  /* header to connected; 0: never, left out */
	const uint8_t *tlvs;  /* well-formed; NULL when there are none worth logging */
	size_t tlvs_size;
	const char *reason; /* more than the outcome says ("reason"), or NULL */
	const char *hint;   /* what to do about it ("hint"), or NULL */
};

/* Write the record as one line without newline. Its order is that of the contract, then "reason" and "hint".
 * LOG_TEXT is the same for people: time, level, then key=value with quoted values where needed. */
void access_log_format(const struct access_record *r, enum log_format format, struct strbuf *out);

#endif
