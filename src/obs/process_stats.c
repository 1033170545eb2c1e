/* SPDX-License-Identifier: MIT */
/* proc(5). What cannot be read stays 0. */
#include "obs/process_stats.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000U

/* The first @size - 1 bytes of a file, as text; empty if there is none. */
static void read_text(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t used = 0;

	if (f != NULL) {
		used = fread(text, 1, size - 1, f);
		fclose(f);
	}
	text[used] = '\0';
}

static uint64_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (d == NULL)
		return 0;
	while (readdir(d) != NULL)
		count++;
	closedir(d);
	return count > 3 ? count - 3 : 0; /* ".", ".." and the directory itself */
}

/* When the machine was started [s since the epoch], 0: unknown. */
static uint64_t boot_time(void)
{
	FILE *f = fopen("/proc/stat", "re");
	char line[256]; /* longer ones come in pieces, none of which begins like ours */
	unsigned long long seconds = 0;

	if (f == NULL)
		return 0;
	while (seconds == 0 && fgets(line, sizeof line, f) != NULL)
		sscanf(line, "btime %llu", &seconds);
	fclose(f);
	return seconds;
}

/* Fields 20 and 22 to 24 of /proc/self/stat. The second is the program's name, which may hold anything. */
static void read_stat(struct process_stats *ret)
{
	char text[1024];
	const char *behind_name;
	unsigned long long threads;
	unsigned long long start; /* [clock ticks since boot] */
	unsigned long long size;  /* [bytes] */
	unsigned long long pages;
	const unsigned ticks = (unsigned)sysconf(_SC_CLK_TCK);

	read_text("/proc/self/stat", text, sizeof text);
	behind_name = strrchr(text, ')');
	if (behind_name == NULL ||
	    sscanf(behind_name,
		   ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %llu %*d "
		   "%llu %llu %llu",
		   &threads, &start, &size, &pages) != 4)
		return;
	ret->threads = threads;
	ret->virtual_bytes = size;
	ret->resident_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
	ret->started_ns = boot_time() * NS_PER_S + start * (NS_PER_S / ticks);
}

void process_stats_read(struct process_stats *ret)
{
	struct rlimit limit = { 0 };
	struct timespec cpu = { 0 };

	*ret = (struct process_stats){ 0 };
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	ret->cpu_ns = (uint64_t)cpu.tv_sec * NS_PER_S + (uint64_t)cpu.tv_nsec;
	getrlimit(RLIMIT_NOFILE, &limit);
	ret->max_fds = limit.rlim_cur;
	ret->open_fds = count_fds();
	read_stat(ret);
}
