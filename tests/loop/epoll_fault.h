/* SPDX-License-Identifier: MIT */
/* Makes the kernel refuse to watch a socket, as it does when fs.epoll.max_user_watches is reached. Linked with
 * --wrap=epoll_ctl, so it is our own calls that fail and not libuv's. */
#ifndef EPOLL_FAULT_H
#define EPOLL_FAULT_H

/* @count more sockets can be watched; -1: any number. Any thread. */
void epoll_fault_allow(int count);

#endif
