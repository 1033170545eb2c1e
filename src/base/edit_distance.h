/* SPDX-License-Identifier: MIT */
/* How far apart two words are, to find what somebody meant to type. */
#ifndef EDIT_DISTANCE_H
#define EDIT_DISTANCE_H

/* Longer words are no typing mistakes of ours. */
#define EDIT_DISTANCE_WORD_MAX 48

/* Characters to insert, remove, replace, or swap with their neighbour, to turn @a into @b.
 * UINT_MAX if one of them is longer than EDIT_DISTANCE_WORD_MAX. */
unsigned edit_distance(const char *a, const char *b);

#endif
