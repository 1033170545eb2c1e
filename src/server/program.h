/* SPDX-License-Identifier: MIT */
/* How this program was started, so that what lies in its place later can be started likewise. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "base/bug.h"

struct program {
	char *path;       /* absolute */
	char **arguments; /* argv, NULL at its end */
	char *text;       /* of the arguments */
};

/* To be asked at the start, before another version is put in our place. The path is that by which we were called (a
 * symbolic link may lead to another version tomorrow) if it leads to us, otherwise what the kernel says. Returns 0 or a
 * negative errno; then *@ret is zeroed. */
int program_find(struct program *ret) MUST_CHECK;

/* Legal on a zeroed one, and twice. */
void program_fini(struct program *p);

#endif
