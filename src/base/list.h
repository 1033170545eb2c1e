/* SPDX-License-Identifier: MIT */
/* An intrusive, doubly linked list. Removing what is in no list does nothing. */
#ifndef LIST_H
#define LIST_H

#include <stdbool.h>

/* The head of a list, or the link inside a member. */
struct list {
	struct list *next;
	struct list *prev;
};

#define LIST_FOR_EACH(at, head) for (struct list *at = (head)->next; at != (head); at = at->next)

/* The body may remove @at. */
#define LIST_FOR_EACH_SAFE(at, head)                                              \
	for (struct list *at = (head)->next, *at##_next = at->next; at != (head); \
	     at = at##_next, at##_next = at->next)

/* An empty head, or a link in no list. */
static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_insert_after(struct list *at, struct list *link)
{
	link->next = at->next;
	link->prev = at;
	at->next->prev = link;
	at->next = link;
}

static inline void list_append(struct list *head, struct list *link)
{
	list_insert_after(head->prev, link);
}

static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* Hand all members of @from over to @to, which becomes a head. */
static inline void list_move(struct list *from, struct list *to)
{
	list_init(to);
	if (list_is_empty(from))
		return;
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	list_init(from);
}

#endif
