/* SPDX-License-Identifier: MIT */
/* A real loop in a test: run it until something has happened, never for a time; and prove that
 * nothing is left in it. What goes wrong fails the test. */
#ifndef TEST_LOOP_H
#define TEST_LOOP_H

#include <stdbool.h>

#include <uv.h>

/* For what should take milliseconds, on a machine that may be busy [ms]. */
#define TEST_PATIENCE_MS 20000

typedef bool (*test_condition)(void *data);

/* Set loop->data to the poller that runs it, if there is one. */
void test_loop_open(uv_loop_t *loop);

/* Fails and names the handles that were left open. */
void test_loop_close(uv_loop_t *loop);

/* Run until @is_true(@data); @what names it. */
void test_loop_until(uv_loop_t *loop, test_condition is_true, void *data, const char *what);

/* Run until @fd has one of poll(2)'s @events, or an error. @loop NULL: only wait, somebody else's thread runs it. */
void test_loop_until_ready(uv_loop_t *loop, int fd, short events, const char *what);

/* Run until nothing keeps the loop alive. */
void test_loop_run_out(uv_loop_t *loop);

/* How many descriptors are open in this process, not counting those that libuv opens once and for good. */
unsigned test_count_fds(void);

/* Run what is due now, and what that makes due at once. */
void test_loop_settle(uv_loop_t *loop);

#endif
