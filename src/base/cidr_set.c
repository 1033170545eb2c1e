/* SPDX-License-Identifier: MIT */
#include "base/cidr_set.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/strbuf.h"

/* An address as a number. IPv4 uses the low 32 bits; the families never meet in one array. */
struct number {
	uint64_t high;
	uint64_t low;
};

struct range {
	struct number first; /* both inclusive */
	struct number last;
};

struct ranges {
	struct range *all; /* sorted and disjoint once the set is sealed */
	size_t count;
	size_t capacity;
};

struct cidr_set {
	struct ranges v4;
	struct ranges v6;
	bool sealed;
};

static int number_compare(struct number a, struct number b)
{
	if (a.high != b.high)
		return a.high < b.high ? -1 : 1;
	if (a.low != b.low)
		return a.low < b.low ? -1 : 1;
	return 0;
}

static struct number number_from_address(const struct address *a)
{
	struct number n = { 0 };

	for (size_t i = 0; i < address_ip_size(a); i++) {
		n.high = n.high << 8 | n.low >> 56;
		n.low = n.low << 8 | a->ip[i];
	}
	return n;
}

static void number_to_address(struct number n, uint16_t family, struct address *ret)
{
	*ret = (struct address){ .family = family };
	for (size_t i = address_ip_size(ret); i-- > 0;) {
		ret->ip[i] = (uint8_t)(n.low & 0xff);
		n.low = n.low >> 8 | n.high << 56;
		n.high >>= 8;
	}
}

static unsigned family_bits(uint16_t family)
{
	return family == AF_INET ? 32 : 128;
}

/* The @bits lowest bits set; 0 to 128. */
static struct number low_bits(unsigned bits)
{
	struct number n = { 0 };

	if (bits > 64)
		n.high = UINT64_MAX >> (128 - bits);
	if (bits > 0)
		n.low = UINT64_MAX >> (bits < 64 ? 64 - bits : 0);
	return n;
}

static struct range range_from_cidr(const struct cidr *c)
{
	struct number host = low_bits(family_bits(c->network.family) - c->prefix);
	struct range r = { .first = number_from_address(&c->network) };

	r.last.high = r.first.high | host.high;
	r.last.low = r.first.low | host.low;
	return r;
}

/* Digits only, without a leading zero, at most @max. */
static int prefix_parse(const char *text, unsigned max, uint8_t *ret)
{
	uint16_t value;

	if (port_parse(text, strlen(text), &value) != 0 || value > max)
		return -EINVAL;
	*ret = (uint8_t)value;
	return 0;
}

static void clear_host_bits(struct cidr *c)
{
	struct number host = low_bits(family_bits(c->network.family) - c->prefix);
	struct number n = number_from_address(&c->network);

	n.high &= ~host.high;
	n.low &= ~host.low;
	number_to_address(n, c->network.family, &c->network);
}

int cidr_parse(const char *text, struct cidr *ret, char reterr[static CIDR_ERROR_MAX])
{
	const char *slash = strchr(text, '/');
	size_t ip_size = slash != NULL ? (size_t)(slash - text) : strlen(text);
	char ip[ADDRESS_TEXT_MAX];
	struct cidr c, network;
	unsigned written_bits; /* of the literal's family: mapped addresses are written as IPv6 */
	unsigned mapped_bits;

	if (ip_size >= sizeof ip)
		goto err_address;
	memcpy(ip, text, ip_size);
	ip[ip_size] = '\0';
	if (address_parse_ip(ip, &c.network) != 0)
		goto err_address;
	written_bits = strchr(ip, ':') != NULL ? 128 : 32;
	mapped_bits = written_bits - family_bits(c.network.family);
	c.prefix = (uint8_t)written_bits;
	if (slash != NULL && prefix_parse(slash + 1, written_bits, &c.prefix) != 0) {
		snprintf(reterr, CIDR_ERROR_MAX, "prefix length is 0 to %u", written_bits);
		return -EINVAL;
	}
	if (c.prefix < mapped_bits) {
		snprintf(reterr, CIDR_ERROR_MAX,
			 "prefix length of an IPv4-mapped network is 96 to 128");
		return -EINVAL;
	}
	c.prefix = (uint8_t)(c.prefix - mapped_bits);
	network = c;
	clear_host_bits(&network);
	if (!address_same_ip(&network.network, &c.network)) {
		char meant[ADDRESS_TEXT_MAX];

		cidr_format(&network, meant);
		snprintf(reterr, CIDR_ERROR_MAX, "host bits are set; the network is %s", meant);
		return -EINVAL;
	}
	*ret = network;
	return 0;

err_address:
	snprintf(reterr, CIDR_ERROR_MAX,
		 "not an IP address or network such as 10.0.0.0/8 or 2001:db8::/32");
	return -EINVAL;
}

size_t cidr_format(const struct cidr *c, char out[static ADDRESS_TEXT_MAX])
{
	struct strbuf s;
	char ip[ADDRESS_TEXT_MAX];

	address_format_ip(&c->network, ip);
	strbuf_init(&s, out, ADDRESS_TEXT_MAX);
	strbuf_printf(&s, "%s/%u", ip, (unsigned)c->prefix);
	return s.used;
}

struct cidr_set *cidr_set_create(void)
{
	return calloc(1, sizeof(struct cidr_set));
}

void cidr_set_destroy(struct cidr_set *set)
{
	if (set == NULL)
		return;
	free(set->v4.all);
	free(set->v6.all);
	free(set);
}

static struct ranges *ranges_of(struct cidr_set *set, uint16_t family)
{
	return family == AF_INET ? &set->v4 : &set->v6;
}

/* Make room for @more ranges. */
static int ranges_reserve(struct ranges *r, size_t more)
{
	size_t capacity = r->capacity > 0 ? r->capacity : 8;
	struct range *all;

	if (r->capacity - r->count >= more)
		return 0;
	while (capacity - r->count < more)
		capacity *= 2;
	all = realloc(r->all, capacity * sizeof *all);
	if (all == NULL)
		return -ENOMEM;
	r->all = all;
	r->capacity = capacity;
	return 0;
}

int cidr_set_add(struct cidr_set *set, const struct cidr *c)
{
	struct ranges *r = ranges_of(set, c->network.family);
	int rv;

	assert(!set->sealed);
	rv = ranges_reserve(r, 1);
	if (rv != 0)
		return rv;
	r->all[r->count++] = range_from_cidr(c);
	return 0;
}

static void ranges_append(struct ranges *to, const struct ranges *from)
{
	if (from->count > 0)
		memcpy(to->all + to->count, from->all, from->count * sizeof *from->all);
	to->count += from->count;
}

int cidr_set_add_set(struct cidr_set *set, const struct cidr_set *other)
{
	int rv;

	assert(!set->sealed);
	rv = ranges_reserve(&set->v4, other->v4.count);
	if (rv == 0)
		rv = ranges_reserve(&set->v6, other->v6.count);
	if (rv != 0)
		return rv;
	ranges_append(&set->v4, &other->v4);
	ranges_append(&set->v6, &other->v6);
	return 0;
}

static int range_compare(const void *a, const void *b)
{
	const struct range *x = a;
	const struct range *y = b;

	return number_compare(x->first, y->first);
}

/* Does @next begin inside @r, or right behind it? @next does not begin before @r. */
static bool range_reaches(const struct range *r, const struct range *next)
{
	struct number behind = { .high = r->last.high + (r->last.low == UINT64_MAX),
				 .low = r->last.low + 1 };

	if (number_compare(next->first, r->last) <= 0)
		return true;
	return number_compare(next->first, behind) == 0;
}

static void ranges_seal(struct ranges *r)
{
	size_t kept = 0;

	if (r->count == 0)
		return;
	qsort(r->all, r->count, sizeof *r->all, range_compare);
	for (size_t i = 1; i < r->count; i++) {
		struct range *last = &r->all[kept];

		if (!range_reaches(last, &r->all[i]))
			r->all[++kept] = r->all[i];
		else if (number_compare(r->all[i].last, last->last) > 0)
			last->last = r->all[i].last;
	}
	r->count = kept + 1;
}

void cidr_set_seal(struct cidr_set *set)
{
	assert(!set->sealed);
	ranges_seal(&set->v4);
	ranges_seal(&set->v6);
	set->sealed = true;
}

bool cidr_set_contains(const struct cidr_set *set, const struct address *a)
{
	const struct ranges *r = a->family == AF_INET ? &set->v4 : &set->v6;
	struct number n = number_from_address(a);
	size_t low = 0;
	size_t high = r->count;

	assert(set->sealed);
	if (a->family != AF_INET && a->family != AF_INET6)
		return false;
	/* Of the ranges that begin at or before n, the last one is the only candidate. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (number_compare(r->all[middle].first, n) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && number_compare(n, r->all[low - 1].last) <= 0;
}

size_t cidr_set_count(const struct cidr_set *set)
{
	return set->v4.count + set->v6.count;
}

/* A range is one network if its ends differ in exactly the host bits. */
static bool range_to_cidr(const struct range *r, uint16_t family, struct cidr *ret)
{
	for (unsigned prefix = 0; prefix <= family_bits(family); prefix++) {
		struct number host = low_bits(family_bits(family) - prefix);

		if ((r->first.high ^ r->last.high) == host.high &&
		    (r->first.low ^ r->last.low) == host.low && (r->first.high & host.high) == 0 &&
		    (r->first.low & host.low) == 0) {
			ret->prefix = (uint8_t)prefix;
			number_to_address(r->first, family, &ret->network);
			return true;
		}
	}
	return false;
}

size_t cidr_set_format_range(const struct cidr_set *set, size_t index,
			     char out[static CIDR_RANGE_TEXT_MAX])
{
	uint16_t family = index < set->v4.count ? AF_INET : AF_INET6;
	const struct range *r =
	    family == AF_INET ? &set->v4.all[index] : &set->v6.all[index - set->v4.count];
	char first[ADDRESS_TEXT_MAX];
	char last[ADDRESS_TEXT_MAX];
	struct address a;
	struct strbuf s;
	struct cidr c;

	strbuf_init(&s, out, CIDR_RANGE_TEXT_MAX);
	if (range_to_cidr(r, family, &c)) {
		cidr_format(&c, first);
		strbuf_puts(&s, first);
		return s.used;
	}
	number_to_address(r->first, family, &a);
	address_format_ip(&a, first);
	number_to_address(r->last, family, &a);
	address_format_ip(&a, last);
	strbuf_printf(&s, "%s-%s", first, last);
	return s.used;
}

bool cidr_set_is_open(const struct cidr_set *set, uint16_t family)
{
	const struct ranges *r = family == AF_INET ? &set->v4 : &set->v6;
	struct number zero = { 0 };

	assert(set->sealed);
	return r->count == 1 && number_compare(r->all[0].first, zero) == 0 &&
	       number_compare(r->all[0].last, low_bits(family_bits(family))) == 0;
}
