/* SPDX-License-Identifier: MIT */
#include "base/siphash.h"

#include <endian.h>
#include <string.h>

struct state {
	uint64_t v0, v1, v2, v3; /* named as in the paper */
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static uint64_t load(const uint8_t *bytes)
{
	uint64_t number;

	memcpy(&number, bytes, sizeof number);
	return le64toh(number);
}

/* SipRound, from figure 2.1 of the paper: two halves that do not wait for each other. */
static void mix(struct state *s)
{
	s->v0 += s->v1;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate(s->v3, 16) ^ s->v2;

	s->v2 += s->v1;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v2 = rotate(s->v2, 32);
	s->v0 += s->v3;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
}

static void absorb(struct state *s, uint64_t word)
{
	s->v3 ^= word;
	mix(s);
	mix(s);
	s->v0 ^= word;
}

uint64_t siphash(const uint8_t key[static SIPHASH_KEY_SIZE], const void *data, size_t size)
{
	const uint64_t k0 = load(key), k1 = load(key + 8);
	const uint8_t *at = data;
	size_t left = size;
	uint8_t last[8] = { [7] = (uint8_t)(size & 0xff) }; /* the bytes left over, and the size */
	struct state s = {
		.v0 = k0 ^ UINT64_C(0x736f6d6570736575), /* "somepseu" */
		.v1 = k1 ^ UINT64_C(0x646f72616e646f6d), /* "dorandom" */
		.v2 = k0 ^ UINT64_C(0x6c7967656e657261), /* "lygenera" */
		.v3 = k1 ^ UINT64_C(0x7465646279746573), /* "tedbytes" */
	};

	for (; left >= 8; at += 8, left -= 8)
		absorb(&s, load(at));
	memcpy(last, at, left);
	absorb(&s, load(last));
	s.v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		mix(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
