/* SPDX-License-Identifier: MIT */
/* The other end of a connection, as a script: connect, send, expect. While a step waits, the loop of
 * what is tested runs; what does not come in time, or comes differently, fails the test. */
#ifndef TEST_PEER_H
#define TEST_PEER_H

#include <stddef.h>
#include <stdint.h>

#include <uv.h>

/* Longest text of test_peer_name(), with its terminating zero. */
#define TEST_PEER_NAME_MAX 160

struct test_peer {
	int fd;          /* non-blocking; -1: closed */
	uv_loop_t *loop; /* to be run while we wait; NULL: it runs in another thread */
};

/* Take a socket that is there already. */
void test_peer_init(struct test_peer *p, uv_loop_t *loop, int fd);

/* Listen at "IP:PORT" or "unix:/path". Port 0 takes a free one. */
void test_peer_listen(struct test_peer *p, uv_loop_t *loop, const char *at, int backlog);

/* Where @p is bound: "127.0.0.1:4711" or "unix:/path". */
void test_peer_name(const struct test_peer *p, char name[static TEST_PEER_NAME_MAX]);
unsigned test_peer_port(const struct test_peer *p);

/* Accept one connection from a listening peer. */
void test_peer_accept(const struct test_peer *listening, struct test_peer *p);

/* Connect to a place such as test_peer_name() gives, from the local "IP:PORT" (port 0: any), or NULL. Whether that
 * worked, the next step tells. */
void test_peer_connect(struct test_peer *p, uv_loop_t *loop, const char *to, const char *from);

/* Two connected TCP sockets on loopback: one for a script, one for what is tested. */
void test_peer_pair_tcp(struct test_peer *p, uv_loop_t *loop, int *ret_fd);

/* The same with AF_UNIX. */
void test_peer_pair_unix(struct test_peer *p, uv_loop_t *loop, int *ret_fd);

/* Send all of it. */
void test_peer_send(const struct test_peer *p, const void *data, size_t size);
void test_peer_send_text(const struct test_peer *p, const char *text);

/* Send what the socket takes now. Returns the bytes. */
size_t test_peer_send_some(const struct test_peer *p, const void *data, size_t size);

/* Receive what is there now, at most @size. Returns the bytes. */
size_t test_peer_receive_some(const struct test_peer *p, void *data, size_t size);

/* Wait for @size bytes. */
void test_peer_receive(const struct test_peer *p, void *data, size_t size);

/* What comes next is this. */
void test_peer_expect(const struct test_peer *p, const void *data, size_t size);
void test_peer_expect_text(const struct test_peer *p, const char *text);

/* What comes next is FIN, or a reset. */
void test_peer_expect_end(const struct test_peer *p);
void test_peer_expect_reset(const struct test_peer *p);

/* Send no more. */
void test_peer_shutdown(const struct test_peer *p);

/* Close with a reset; of a unix socket, only unread bytes make one. */
void test_peer_reset(struct test_peer *p);

/* Close in order. Idempotent. */
void test_peer_close(struct test_peer *p);

#endif
