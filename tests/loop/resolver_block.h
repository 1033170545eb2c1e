/* SPDX-License-Identifier: MIT */
/* A resolver that is busy: questions wait in libuv's pool, and nobody has begun to answer them. */
#ifndef RESOLVER_BLOCK_H
#define RESOLVER_BLOCK_H

#include <uv.h>

/* Before the first loop of the process. */
void resolver_block_init(void);

/* Give each thread of the pool something to do. */
void resolver_block(uv_loop_t *loop);

/* That ends, and the loop has seen it. */
void resolver_unblock(uv_loop_t *loop);

#endif
