/* SPDX-License-Identifier: MIT */
/* The input is a list of networks, one a line, good or bad: a set of the good ones answers as the definition of a
 * network does, at both sides of both ends of each. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/cidr_set.h"

#define NETWORKS_MAX 64
#define LINE_MAX     128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool bit(const struct address *a, unsigned i)
{
	return (a->ip[i / 8] >> (7 - i % 8) & 1) != 0;
}

/* RFC 4632: the first `prefix` bits agree. */
static bool is_inside(const struct cidr *c, const struct address *a)
{
	if (c->network.family != a->family)
		return false;
	for (unsigned i = 0; i < c->prefix; i++)
		if (bit(&c->network, i) != bit(a, i))
			return false;
	return true;
}

static bool is_inside_any(const struct cidr *list, size_t count, const struct address *a)
{
	for (size_t i = 0; i < count; i++)
		if (is_inside(&list[i], a))
			return true;
	return false;
}

/* One less, or one more, as a number; wraps. */
static void step(struct address *a, int by)
{
	for (size_t i = address_ip_size(a); i-- > 0;) {
		uint8_t before = a->ip[i];

		a->ip[i] = (uint8_t)(before + by);
		if (before != (by > 0 ? 0xff : 0x00))
			return;
	}
}

static struct address last_of(const struct cidr *c)
{
	struct address a = c->network;

	for (unsigned i = c->prefix; i < address_ip_size(&a) * 8; i++)
		a.ip[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return a;
}

/* What is written is read as the same. */
static void check_round_trip(const struct cidr *c)
{
	char text[ADDRESS_TEXT_MAX];
	char why[CIDR_ERROR_MAX];
	struct cidr again;
	size_t size = cidr_format(c, text);

	assert(size == strlen(text));
	assert(cidr_parse(text, &again, why) == 0);
	assert(again.prefix == c->prefix && address_same_ip(&again.network, &c->network));
}

static void check_ends(const struct cidr_set *set, const struct cidr *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct address at[4] = { list[i].network, list[i].network, last_of(&list[i]),
					 last_of(&list[i]) };

		step(&at[0], -1);
		step(&at[3], 1);
		for (size_t j = 0; j < 4; j++)
			assert(cidr_set_contains(set, &at[j]) ==
			       is_inside_any(list, count, &at[j]));
	}
}

static void check_ranges(const struct cidr_set *set, size_t networks)
{
	size_t count = cidr_set_count(set);

	assert(count <= networks && (count > 0) == (networks > 0));
	for (size_t i = 0; i < count; i++) {
		char text[CIDR_RANGE_TEXT_MAX];

		assert(cidr_set_format_range(set, i, text) == strlen(text));
	}
}

/* Copy the next line of at most LINE_MAX - 1 bytes into @line, and step over it. */
static void next_line(const uint8_t **data, size_t *size, char line[static LINE_MAX])
{
	const uint8_t *end = memchr(*data, '\n', *size);
	size_t whole = end != NULL ? (size_t)(end - *data) : *size;
	size_t kept = whole < LINE_MAX ? whole : LINE_MAX - 1;

	memcpy(line, *data, kept);
	line[kept] = '\0';
	*data += whole + (end != NULL);
	*size -= whole + (end != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cidr list[NETWORKS_MAX];
	struct cidr_set *set = cidr_set_create();
	struct cidr_set *half = cidr_set_create();
	size_t count = 0;

	assert(set != NULL && half != NULL);
	while (size > 0 && count < NETWORKS_MAX) {
		char line[LINE_MAX];
		char why[CIDR_ERROR_MAX] = "";

		next_line(&data, &size, line);
		if (cidr_parse(line, &list[count], why) != 0) {
			assert(why[0] != '\0');
			continue;
		}
		check_round_trip(&list[count]);
		/* Every other one comes by way of another set. */
		assert(cidr_set_add(count % 2 == 0 ? set : half, &list[count]) == 0);
		count++;
	}
	assert(cidr_set_add_set(set, half) == 0);
	cidr_set_seal(set);
	check_ranges(set, count);
	check_ends(set, list, count);
	cidr_set_destroy(set);
	cidr_set_destroy(half);
	return 0;
}
