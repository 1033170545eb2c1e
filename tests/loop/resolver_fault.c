/* SPDX-License-Identifier: MIT */
#include "loop/resolver_fault.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool hangs;
static bool asked;
static bool forgotten;

/* In the place of the C library's: libuv calls this one. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		struct addrinfo **res)
{
	bool unknown;
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	pthread_mutex_lock(&mutex);
	asked = true;
	pthread_cond_broadcast(&changed);
	while (hangs)
		pthread_cond_wait(&changed, &mutex);
	unknown = forgotten;
	pthread_mutex_unlock(&mutex);
	return unknown ? EAI_NONAME : real(node, service, hints, res);
}

static void set_hangs(bool value)
{
	pthread_mutex_lock(&mutex);
	hangs = value;
	asked = false;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
}

void resolver_fault_hang(void)
{
	set_hangs(true);
}

void resolver_fault_wait_until_asked(void)
{
	pthread_mutex_lock(&mutex);
	while (!asked)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
}

void resolver_fault_forget(bool is_forgotten)
{
	pthread_mutex_lock(&mutex);
	forgotten = is_forgotten;
	pthread_mutex_unlock(&mutex);
}

void resolver_fault_go_on(void)
{
	set_hangs(false);
}
