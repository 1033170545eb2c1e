/* SPDX-License-Identifier: MIT */
/* A resolver that does not answer. */
#ifndef RESOLVER_FAULT_H
#define RESOLVER_FAULT_H

/* From now on it hangs at its next question, until it may go on. */
void resolver_fault_hang(void);

void resolver_fault_wait_until_asked(void);

/* Answer: those who wait, and all questions from now on. */
void resolver_fault_go_on(void);

#endif
