/* SPDX-License-Identifier: MIT */
#include "base/capability.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sets {
	struct __user_cap_data_struct halves[2]; /* the lower and the upper 32 */
};

static int sets_get(struct sets *ret)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capget, &header, ret->halves) == 0 ? 0 : -errno;
}

static int sets_put(const struct sets *s)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capset, &header, s->halves) == 0 ? 0 : -errno;
}

uint64_t capability_permitted(void)
{
	struct sets s;

	if (sets_get(&s) != 0)
		return 0;
	return (uint64_t)s.halves[1].permitted << 32 | s.halves[0].permitted;
}

void capability_raise(uint64_t wanted)
{
	struct sets s;

	if (sets_get(&s) != 0)
		return;
	for (int i = 0; i < 2; i++)
		s.halves[i].effective |= s.halves[i].permitted & (uint32_t)(wanted >> 32 * i);
	sets_put(&s); /* permitted ones may always be taken */
}

int capability_keep(uint64_t kept)
{
	struct sets s;
	int rv = sets_get(&s);

	if (rv != 0)
		return rv;
	for (int i = 0; i < 2; i++) {
		s.halves[i].permitted &= (uint32_t)(kept >> 32 * i);
		s.halves[i].effective = s.halves[i].permitted;
		s.halves[i].inheritable = 0;
	}
	return sets_put(&s);
}

/* The ambient set (capabilities(7)) takes what is permitted and inheritable. */
int capability_pass_on(uint64_t passed)
{
	struct sets s;
	int rv = sets_get(&s);

	for (int i = 0; rv == 0 && i < 2; i++)
		s.halves[i].inheritable |= s.halves[i].permitted & (uint32_t)(passed >> 32 * i);
	if (rv == 0)
		rv = sets_put(&s);
	for (int i = 0; rv == 0 && i < 64; i++) {
		uint32_t bit = UINT32_C(1) << i % 32;

		if ((passed & CAPABILITY(i)) != 0 && (s.halves[i / 32].permitted & bit) != 0 &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) != 0)
			rv = -errno;
	}
	return rv;
}
