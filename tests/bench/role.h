/* SPDX-License-Identifier: MIT */
/* What the first byte of a connection asks of the backend: one port serves every workload. */
#ifndef ROLE_H
#define ROLE_H

enum role {
	ROLE_ECHO = 'e',   /* send back all bytes, this one too */
	ROLE_SOURCE = 'd', /* bulk to the client ("down") */
	ROLE_SINK = 'u',   /* bulk from the client ("up") */
	ROLE_BOTH = 'b',
};

#define BULK_CHUNK 262144 /* of one send or recv of bulk data [bytes] */

#endif
