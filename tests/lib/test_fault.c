/* SPDX-License-Identifier: MIT */
#include "lib/test_fault.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

static bool armed;
static bool failed;
static unsigned left; /* allocations that succeed before the one that fails */

static bool fails_now(void)
{
	if (!armed || failed)
		return false;
	if (left-- > 0)
		return false;
	failed = true;
	return true;
}

/* The linker sends malloc() in our objects to __wrap_malloc(), and __real_malloc() to the real one. */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails_now() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
	return fails_now() ? NULL : __real_strdup(text);
}

/* cJSON lives in a shared library, where the linker changes nothing: it is told. */
static void *cjson_malloc(size_t size)
{
	return __wrap_malloc(size);
}

void fault_arm(unsigned count)
{
	cJSON_Hooks hooks = { .malloc_fn = cjson_malloc, .free_fn = free };

	cJSON_InitHooks(&hooks);
	armed = true;
	failed = false;
	left = count;
}

bool fault_disarm(void)
{
	cJSON_InitHooks(NULL);
	armed = false;
	return failed;
}
