/* SPDX-License-Identifier: MIT */
#include "obs/outcome.h"

#include <assert.h>

const char *outcome_name(enum outcome o)
{
	static const char *const names[] = {
#define X(name, refused) [OUTCOME_##name] = #name,
		OUTCOME_MAP(X)
#undef X
	};

	assert((unsigned)o < OUTCOME_COUNT);
	return names[o];
}

bool outcome_is_refusal(enum outcome o)
{
	static const bool refusals[] = {
#define X(name, refused) [OUTCOME_##name] = refused,
		OUTCOME_MAP(X)
#undef X
	};

	assert((unsigned)o < OUTCOME_COUNT);
	return refusals[o];
}
