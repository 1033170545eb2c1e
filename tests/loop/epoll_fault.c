/* SPDX-License-Identifier: MIT */
#include "loop/epoll_fault.h"

#include <errno.h>
#include <sys/epoll.h>

static int allowed = -1;

int __real_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);

void epoll_fault_allow(int count)
{
	allowed = count;
}

int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	if (operation == EPOLL_CTL_ADD && allowed == 0) {
		errno = ENOSPC;
		return -1;
	}
	if (operation == EPOLL_CTL_ADD && allowed > 0)
		allowed--;
	return __real_epoll_ctl(epoll_fd, operation, fd, event);
}
