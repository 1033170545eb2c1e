/* SPDX-License-Identifier: MIT */
/* Linux capabilities of the calling thread, which the threads that it creates inherit. Sets have a bit for each
 * CAP_… of linux/capability.h. Two system calls, not worth a library. */
#ifndef CAPABILITY_H
#define CAPABILITY_H

#include <stdint.h>

#include <linux/capability.h>

#define CAPABILITY(number) (UINT64_C(1) << (number))

/* What the thread has or may take; 0 if that cannot be told. */
uint64_t capability_permitted(void);

/* Take what of @wanted is permitted: a file capability ("setcap …+p") is not in effect by itself. */
void capability_raise(uint64_t wanted);

/* Give up all others, for good, and have what of @kept is permitted in effect. Returns 0 or a negative errno. */
int capability_keep(uint64_t kept);

/* Let a program that is executed next have what of @passed is permitted: a plain file gets no capability otherwise, and
 * with no_new_privs not even those of its own. Async-signal-safe, for between fork(2) and execve(2). Returns 0 or a
 * negative errno. */
int capability_pass_on(uint64_t passed);

#endif
