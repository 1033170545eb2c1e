/* SPDX-License-Identifier: MIT */
#include "loop/resolver_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>

#include <cmocka.h>

#include "lib/test_loop.h"

/* Threads of libuv's pool, which resolve names. */
#define POOL_THREADS 4

static struct {
	uv_sem_t end;
	uv_work_t work[POOL_THREADS];
	unsigned count;
} blockade;

static void block(uv_work_t *work)
{
	(void)work;
	uv_sem_wait(&blockade.end);
}

static void on_unblocked(uv_work_t *work, int status)
{
	(void)work;
	(void)status;
	blockade.count--;
}

static bool is_unblocked(void *data)
{
	(void)data;
	return blockade.count == 0;
}

void resolver_block_init(void)
{
	setenv("UV_THREADPOOL_SIZE", "4", 1); /* POOL_THREADS */
}

void resolver_block(uv_loop_t *loop)
{
	assert_int_equal(uv_sem_init(&blockade.end, 0), 0);
	for (; blockade.count < POOL_THREADS; blockade.count++)
		assert_int_equal(
		    uv_queue_work(loop, &blockade.work[blockade.count], block, on_unblocked), 0);
}

void resolver_unblock(uv_loop_t *loop)
{
	for (unsigned i = 0; i < POOL_THREADS; i++)
		uv_sem_post(&blockade.end);
	test_loop_until(loop, is_unblocked, NULL, "the end of the blockade");
	uv_sem_destroy(&blockade.end);
}
