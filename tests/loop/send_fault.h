/* SPDX-License-Identifier: MIT */
/* Sockets that take only so much. Linked with --wrap=send: it concerns the peers of the test as well, so lift it before
 * they send. */
#ifndef SEND_FAULT_H
#define SEND_FAULT_H

/* All in all @bytes more are taken, and then nothing for now; -1: no limit. */
void send_fault_allow(long bytes);

#endif
