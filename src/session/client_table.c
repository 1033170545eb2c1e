/* SPDX-License-Identifier: MIT */
#include "session/client_table.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/siphash.h"

/* Shards keep workers from waiting for one another. They are large, for the hash fills them only about alike: one may
 * well have 64 clients more than another if they have 4096. */
#define SHARDS_MAX 16
#define SHARD_MIN  4096

#define SECOND_NS UINT64_C(1000000000)

/* The longest that any bucket takes to fill: one of UINT32_MAX, by one a second. */
#define DEBT_MAX (UINT32_MAX * SECOND_NS)

/* The index of no entry. The one that is there heads the ring of those who have no connection: after it comes who
 * has been quiet for longest. */
#define NONE 0U

/* A client. Linked by index, for pointers are twice as long. */
struct entry {
	uint64_t network;     /* as in struct client */
	uint64_t full_at;     /* when the bucket is full again; in the past: it is [ns] */
	uint32_t hash;        /* its low half */
	uint32_t next;        /* in the chain, of the same hash or out of use; NONE ends it */
	uint32_t before;      /* neighbours in the ring, while no connection is open */
	uint32_t after;       /* was heard of later, or is the ring's head */
	uint32_t connections; /* that are open */
	uint16_t family;
};

static_assert(sizeof(struct entry) == 40, "a million clients are 40 MB");

/* Clients whose hashes have something in common; those of the other shards are nothing to it. */
struct shard {
	pthread_mutex_t mutex;
	struct entry *entries; /* owned; [1] to [capacity] are clients */
	uint32_t *chains;      /* owned; by hash, the index of the first of the chain */
	uint32_t chain_mask;
	uint32_t capacity;
	uint32_t count;
	uint32_t touched; /* [1] to [touched] have been in use; what is beyond costs nothing yet */
	uint32_t unused;  /* the first of those that are out of use */
	uint64_t now_ns;  /* the latest time that was told */
};

struct client_table {
	uint8_t secret[SIPHASH_KEY_SIZE];
	size_t shard_count; /* a power of two */
	struct shard shards[];
};

/* Who is meant. */
struct client {
	uint64_t network; /* the first bytes of its address: 4 of IPv4, 8 of IPv6; the rest is 0 */
	uint64_t hash;
	uint16_t family;
};

/* --- the whole table --- */

static size_t shards_for(size_t capacity)
{
	size_t count = 1;

	while (count < SHARDS_MAX && capacity / (2 * count) >= SHARD_MIN)
		count *= 2;
	return count;
}

static bool shard_init(struct shard *s, size_t capacity)
{
	size_t chains = 1;

	while (chains < capacity)
		chains *= 2;
	*s = (struct shard){
		.mutex = PTHREAD_MUTEX_INITIALIZER,
		.entries = calloc(capacity + 1, sizeof *s->entries),
		.chains = calloc(chains, sizeof *s->chains),
		.chain_mask = (uint32_t)(chains - 1),
		.capacity = (uint32_t)capacity,
	};
	return s->entries != NULL && s->chains != NULL;
}

struct client_table *client_table_create(size_t capacity)
{
	size_t count = shards_for(capacity);
	struct client_table *t;
	bool ok;

	assert(capacity > 0 && capacity < UINT32_MAX);
	t = calloc(1, sizeof *t + count * sizeof t->shards[0]);
	if (t == NULL)
		return NULL;
	t->shard_count = count;
	ok = getentropy(t->secret, sizeof t->secret) == 0;
	for (size_t i = 0; ok && i < count; i++)
		ok = shard_init(&t->shards[i], capacity / count + (i < capacity % count));
	if (ok)
		return t;
	client_table_destroy(t);
	return NULL;
}

void client_table_destroy(struct client_table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->shard_count; i++) {
		free(t->shards[i].entries);
		free(t->shards[i].chains);
	}
	free(t);
}

/* Returns false if @a is no IP address. */
static bool client_init(struct client *c, const struct client_table *t, const struct address *a)
{
	size_t size = a->family == AF_INET6 ? sizeof c->network : address_ip_size(a);

	*c = (struct client){ .family = a->family, .hash = siphash(t->secret, a->ip, size) };
	memcpy(&c->network, a->ip, size);
	return size > 0;
}

/* By the first half of the hash; the chains go by the second. */
static struct shard *shard_of(struct client_table *t, const struct client *c)
{
	return &t->shards[c->hash >> 32 & (t->shard_count - 1)];
}

/* --- entries --- */

static void ring_append(struct shard *s, uint32_t i)
{
	struct entry *e = s->entries;

	e[i].before = e[NONE].before;
	e[i].after = NONE;
	e[e[NONE].before].after = i;
	e[NONE].before = i;
}

static void ring_remove(struct shard *s, uint32_t i)
{
	struct entry *e = s->entries;

	e[e[i].before].after = e[i].after;
	e[e[i].after].before = e[i].before;
}

/* Who has had no connection and made no attempt for longest; NONE if all have connections. */
static uint32_t shard_quietest(const struct shard *s)
{
	return s->entries[NONE].after;
}

/* Where the chain of a hash begins. */
static uint32_t *shard_chain(const struct shard *s, uint64_t hash)
{
	return &s->chains[hash & s->chain_mask];
}

/* The index of @c, or NONE. */
static uint32_t shard_find(const struct shard *s, const struct client *c)
{
	uint32_t i = *shard_chain(s, c->hash);

	while (i != NONE &&
	       (s->entries[i].network != c->network || s->entries[i].family != c->family))
		i = s->entries[i].next;
	return i;
}

/* It is in the ring. */
static void shard_forget(struct shard *s, uint32_t i)
{
	struct entry *e = &s->entries[i];
	uint32_t *link = shard_chain(s, e->hash);

	while (*link != i)
		link = &s->entries[*link].next;
	*link = e->next;
	ring_remove(s, i);
	e->next = s->unused;
	s->unused = i;
	s->count--;
}

/* One that is not in use, forgetting someone if need be; NONE if all have connections. */
static uint32_t shard_take_entry(struct shard *s)
{
	uint32_t i;

	if (s->unused == NONE && s->touched < s->capacity)
		return ++s->touched;
	if (s->unused == NONE && shard_quietest(s) != NONE)
		shard_forget(s, shard_quietest(s));
	i = s->unused;
	s->unused = s->entries[i].next; /* NONE has none */
	return i;
}

/* A client that was not known. Returns its index, now in the ring, or NONE. */
static uint32_t shard_add(struct shard *s, const struct client *c)
{
	uint32_t *chain = shard_chain(s, c->hash);
	uint32_t i = shard_take_entry(s);

	if (i == NONE)
		return NONE;
	s->entries[i] = (struct entry){
		.network = c->network,
		.family = c->family,
		.hash = (uint32_t)(c->hash & UINT32_MAX),
		.next = *chain,
		.full_at = s->now_ns,
	};
	*chain = i;
	ring_append(s, i);
	s->count++;
	return i;
}

/* --- limits --- */

/* How long the bucket takes to be full again [ns]; right also where `full_at` has wrapped around. */
static uint64_t entry_debt(const struct entry *e, uint64_t now_ns)
{
	uint64_t debt = e->full_at - now_ns;

	return debt <= DEBT_MAX ? debt : 0;
}

/* GCRA: a token is the time that it takes to come back. */
static bool entry_take_token(struct entry *e, const struct client_limits *limits, uint64_t now_ns)
{
	/* Rounded up: never more than `per_second`. */
	uint64_t token = (SECOND_NS + limits->per_second - 1) / limits->per_second;
	uint64_t bucket = limits->burst * token;
	uint64_t debt = entry_debt(e, now_ns);
	bool taken;

	assert(limits->burst > 0);
	if (debt > bucket) /* the limits were others before, and emptier than empty it cannot be */
		debt = bucket;
	taken = debt <= bucket - token;
	e->full_at = now_ns + debt + (taken ? token : 0);
	return taken;
}

static enum client_verdict entry_enter(struct entry *e, const struct client_limits *limits,
				       uint64_t now_ns)
{
	if (limits->max_connections > 0 && e->connections >= limits->max_connections)
		return CLIENT_TOO_MANY;
	if (limits->per_second > 0 && !entry_take_token(e, limits, now_ns))
		return CLIENT_TOO_FAST;
	e->connections++;
	return CLIENT_ADMITTED;
}

/* --- what may be asked --- */

/* Who has no connection and a full bucket is like one who never came. To look at two of them whenever one may be
 * added keeps the table small. */
static void shard_tidy(struct shard *s)
{
	for (int i = 0; i < 2; i++) {
		uint32_t quietest = shard_quietest(s);

		if (quietest == NONE || entry_debt(&s->entries[quietest], s->now_ns) > 0)
			break;
		shard_forget(s, quietest);
	}
}

static enum client_verdict shard_enter(struct shard *s, const struct client *c,
				       const struct client_limits *limits)
{
	enum client_verdict verdict;
	struct entry *e;
	uint32_t i;

	shard_tidy(s);
	i = shard_find(s, c);
	if (i == NONE)
		i = shard_add(s, c);
	if (i == NONE)
		return CLIENT_UNTRACKED;
	e = &s->entries[i];
	if (e->connections == 0)
		ring_remove(s, i);
	verdict = entry_enter(e, limits, s->now_ns);
	if (e->connections == 0)
		ring_append(s, i); /* refused, but not quiet */
	return verdict;
}

enum client_verdict client_table_enter(struct client_table *t, const struct address *client,
				       const struct client_limits *limits, uint64_t now_ns)
{
	enum client_verdict verdict;
	struct client c;
	struct shard *s;

	if (!client_init(&c, t, client))
		return CLIENT_UNTRACKED;
	s = shard_of(t, &c);
	pthread_mutex_lock(&s->mutex);
	if (now_ns > s->now_ns) /* threads come here in any order */
		s->now_ns = now_ns;
	verdict = shard_enter(s, &c, limits);
	pthread_mutex_unlock(&s->mutex);
	return verdict;
}

void client_table_leave(struct client_table *t, const struct address *client)
{
	struct client c;
	bool known = client_init(&c, t, client);
	struct shard *s = shard_of(t, &c);
	struct entry *e;
	uint32_t i;

	pthread_mutex_lock(&s->mutex);
	i = shard_find(s, &c);
	e = &s->entries[i];
	assert(known && i != NONE && e->connections > 0);
	if (--e->connections == 0) {
		ring_append(s, i);
		if (entry_debt(e, s->now_ns) == 0)
			shard_forget(s, i);
	}
	pthread_mutex_unlock(&s->mutex);
}

size_t client_table_count(struct client_table *t)
{
	size_t count = 0;

	for (size_t i = 0; i < t->shard_count; i++) {
		struct shard *s = &t->shards[i];

		pthread_mutex_lock(&s->mutex);
		count += s->count;
		pthread_mutex_unlock(&s->mutex);
	}
	return count;
}
