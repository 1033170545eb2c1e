/* SPDX-License-Identifier: MIT */
/* What every file may use: checks and small macros. */
#ifndef BUG_H
#define BUG_H

#include <assert.h>
#include <stddef.h>

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The structure of @type whose @member @pointer points at. */
#define container_of(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
