/* SPDX-License-Identifier: MIT */
#include "cli/demo_tour.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/address.h"
#include "base/bug.h"
#include "cli/demo_log.h"
#include "wire/proxy_header.h"
#include "wire/tlv.h"

/* Documentation addresses (RFC 5737) for a client and a load balancer that do not exist. */
#define CLIENT    "203.0.113.7"
#define BALANCER  "198.51.100.10"
#define AUTHORITY "shop.example"

#define REQUEST_LINE "GET /hello HTTP/1.1"

#define BYTES_PER_ROW 12

/* An answer that takes longer is none [s]. */
#define PATIENCE_S 5

static const char request[] = REQUEST_LINE "\r\nHost: " AUTHORITY "\r\nConnection: close\r\n\r\n";

/* What the header consists of, in its order. */
static const struct part {
	size_t size;
	const char *meaning;
} parts[] = {
	{ 12, "the signature of version 2" },
	{ 1, "version 2, command PROXY" },
	{ 1, "TCP over IPv4" },
	{ 2, "length of what follows: 34 bytes" },
	{ 4, "client address, " CLIENT },
	{ 4, "destination, " BALANCER },
	{ 2, "client port, 40312" },
	{ 2, "destination port, 80" },
	{ 3, "TLV: AUTHORITY of 12 bytes" },
	{ 12, "  " AUTHORITY },
	{ 3, "TLV: CRC32C of 4 bytes" },
	{ 4, "  checksum over the header" },
};

static size_t encode(uint8_t out[static PROXY_HEADER_MAX])
{
	static const uint8_t client[4] = { 203, 0, 113, 7 };
	static const uint8_t balancer[4] = { 198, 51, 100, 10 };
	static const uint8_t no_crc[4]; /* filled by proxy_header_encode() */
	uint8_t tlvs[64];
	size_t used = tlv_append(tlvs, 0, sizeof tlvs, TLV_AUTHORITY, AUTHORITY, strlen(AUTHORITY));
	struct proxy_header h = {
		.version = 2,
		.command = PROXY_COMMAND_PROXY,
		.family = PROXY_FAMILY_INET,
		.transport = PROXY_TRANSPORT_STREAM,
		.tlvs = tlvs,
		.tlvs_size = tlv_append(tlvs, used, sizeof tlvs, TLV_CRC32C, no_crc, sizeof no_crc),
	};

	address_set_ip(&h.source, client, sizeof client, 40312);
	address_set_ip(&h.destination, balancer, sizeof balancer, 80);
	return proxy_header_encode(&h, out, PROXY_HEADER_MAX);
}

static void show_header(const uint8_t *header, size_t size)
{
	const uint8_t *at = header;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		printf("   ");
		for (size_t n = 0; n < BYTES_PER_ROW; n++) {
			if (n < parts[i].size)
				printf("%02x ", *at++);
			else
				printf("   ");
		}
		printf(" %s\n", parts[i].meaning);
	}
	assert(at == header + size);
}

/* Each line of @text, behind a mark. */
static void show_quoted(const char *text)
{
	while (*text != '\0') {
		size_t line = strcspn(text, "\r\n");

		printf("   |%s%.*s\n", line > 0 ? " " : "", (int)line, text);
		text += line;
		if (*text == '\r')
			text++;
		if (*text == '\n')
			text++;
	}
}

/* Returns a connected socket, or -1 with errno set. */
static int connect_to(const struct address *a)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	struct sockaddr_storage ss;
	socklen_t size = address_to_sockaddr(a, &ss);
	int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(fd, (const struct sockaddr *)&ss, size) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* Read up to the end; the text in @out is zero-terminated. */
static bool receive(int fd, char *out, size_t size)
{
	size_t used = 0;

	while (used < size - 1) {
		ssize_t n = recv(fd, out + used, size - 1 - used, 0);

		if (n < 0)
			return false;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	out[used] = '\0';
	return true;
}

static bool exchange(const struct address *listener, const uint8_t *header, size_t header_size,
		     char *answer, size_t answer_size)
{
	int fd = connect_to(listener);
	bool ok;

	if (fd < 0) {
		fprintf(stderr, "unproxy demo: cannot connect to the listener: %s\n",
			strerror(errno));
		return false;
	}
	ok = send(fd, header, header_size, MSG_NOSIGNAL) == (ssize_t)header_size &&
	     send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request) &&
	     receive(fd, answer, answer_size);
	if (!ok)
		fprintf(stderr, "unproxy demo: no answer through the listener: %s\n",
			strerror(errno));
	close(fd);
	return ok;
}

/* The request must have arrived, and nothing before it. */
static bool answer_is_right(const char *answer)
{
	if (strncmp(answer, "HTTP/1.1 200 ", 13) == 0 &&
	    strstr(answer, " " REQUEST_LINE "\n") != NULL)
		return true;
	fprintf(stderr, "unproxy demo: this is not the answer to the request that was sent\n");
	return false;
}

static void show_sent(const uint8_t *header, size_t size)
{
	printf("1. We play the load balancer. Its client is " CLIENT ":40312, and we say so in\n"
	       "   a PROXY header of %zu bytes:\n\n",
	       size);
	show_header(header, size);
	puts("\n   Right behind the header goes what the client has to say:\n");
	show_quoted(request);
}

bool demo_tour(const struct address *listener, uint16_t app_port, struct demo_log *log)
{
	uint8_t header[PROXY_HEADER_MAX];
	size_t size = encode(header);
	char answer[8192];
	char where[ADDRESS_TEXT_MAX];

	address_format(listener, where);
	printf("A load balancer says who its client is in a PROXY header. Most applications\n"
	       "cannot read it. unproxy stands before them and takes it off:\n\n"
	       "   load balancer           unproxy                       application\n"
	       "   header, request  ---->  %-21s ---->  127.0.0.1:%u\n"
	       "                           removes the header            sees the request only\n\n",
	       where, app_port);
	fflush(stdout);
	demo_log_show_until(log, "listening");
	putchar('\n');
	show_sent(header, size);
	fflush(stdout);
	if (!exchange(listener, header, size, answer, sizeof answer))
		return false;

	puts("\n2. The application answered. It saw no header, only a clean request:\n");
	show_quoted(answer);
	puts("\n   Its peer is unproxy, so it sees 127.0.0.1. Who the client is, the log knows.\n");
	puts("3. unproxy logged the connection:\n");
	fflush(stdout);
	if (!answer_is_right(answer))
		return false;
	if (!demo_log_show_until(log, "client=" CLIENT ":40312")) {
		fprintf(stderr, "unproxy demo: the connection is not in the log\n");
		return false;
	}
	return true;
}
