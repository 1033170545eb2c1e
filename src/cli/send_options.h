/* SPDX-License-Identifier: MIT */
/* What the command line of `unproxy send` says. */
#ifndef SEND_OPTIONS_H
#define SEND_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bug.h"
#include "conf/endpoint.h"
#include "wire/proxy_header.h"

struct send_options {
	bool help; /* asked for; the rest is unset */
	struct endpoint target;
	struct proxy_header header; /* without its family; AF_UNSPEC addresses were not given;
				     * its TLVs are those below */
	uint8_t tlvs[UINT16_MAX];
};

/* Returns COMMAND_OK, or the exit status after printing why. Release with send_options_fini() only
 * after COMMAND_OK. */
int send_options_parse(int argc, char **argv, struct send_options *ret) MUST_CHECK;
void send_options_fini(struct send_options *o);

#endif
