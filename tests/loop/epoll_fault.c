/* SPDX-License-Identifier: MIT */
#include "loop/epoll_fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>

static atomic_int allowed = -1;

int __real_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);

void epoll_fault_allow(int count)
{
	atomic_store(&allowed, count);
}

int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	int left = atomic_load(&allowed);

	if (operation == EPOLL_CTL_ADD && left == 0) {
		errno = ENOSPC;
		return -1;
	}
	if (operation == EPOLL_CTL_ADD && left > 0)
		atomic_fetch_sub(&allowed, 1);
	return __real_epoll_ctl(epoll_fd, operation, fd, event);
}
