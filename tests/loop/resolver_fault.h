/* SPDX-License-Identifier: MIT */
/* A resolver that does not answer, or that knows nothing. */
#ifndef RESOLVER_FAULT_H
#define RESOLVER_FAULT_H

#include <stdbool.h>

/* From now on it hangs at its next question, until it may go on. */
void resolver_fault_hang(void);

void resolver_fault_wait_until_asked(void);

/* From now on no name exists, or names are what they are. */
void resolver_fault_forget(bool is_forgotten);

/* Answer: those who wait, and all questions from now on. */
void resolver_fault_go_on(void);

#endif
