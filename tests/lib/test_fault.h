/* SPDX-License-Identifier: MIT */
/* Allocations that fail on purpose: loop over fault_arm(0), fault_arm(1), … until fault_disarm() says that none failed,
 * and no path has been forgotten. Linked by meson's `fault` (it needs the linker's --wrap). */
#ifndef TEST_FAULT_H
#define TEST_FAULT_H

#include <stdbool.h>

/* From now on @count allocations succeed, of our code and of cJSON, and the next one returns NULL. Only that one
 * fails: what is allocated afterwards, say to report the failure, works. */
void fault_arm(unsigned count);

/* Back to normal. Did an allocation fail? */
bool fault_disarm(void);

#endif
