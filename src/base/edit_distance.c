/* SPDX-License-Identifier: MIT */
#include "base/edit_distance.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

static unsigned lesser(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* The table of Wagner and Fischer: cell (i, j) is the distance of the first i characters of @a from
 * the first j of @b. Only three rows are ever looked at; row i is kept in rows[i % 3]. */
unsigned edit_distance(const char *a, const char *b)
{
	unsigned rows[3][EDIT_DISTANCE_WORD_MAX + 1];
	size_t a_size = strlen(a);
	size_t b_size = strlen(b);

	if (a_size > EDIT_DISTANCE_WORD_MAX || b_size > EDIT_DISTANCE_WORD_MAX)
		return UINT_MAX;
	for (size_t j = 0; j <= b_size; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a_size; i++) {
		unsigned *row = rows[i % 3];
		const unsigned *above = rows[(i + 2) % 3];
		const unsigned *above_that = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_size; j++) {
			row[j] = lesser(above[j], row[j - 1]) + 1;
			row[j] = lesser(row[j], above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = lesser(row[j], above_that[j - 2] + 1);
		}
	}
	return rows[a_size % 3][b_size];
}
