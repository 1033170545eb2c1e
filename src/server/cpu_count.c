/* SPDX-License-Identifier: MIT */
#include "server/cpu_count.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <uv.h>

/* The first two numbers of "50000 100000" (cpu.max) or of two files (version 1). "max" and -1 mean no quota. */
struct quota {
	long long run;    /* CPU time that may be used in a period [µs] */
	long long period; /* [µs] */
};

static bool read_text(const char *path, char *text, int size)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (f == NULL)
		return false;
	ok = fgets(text, size, f) != NULL;
	fclose(f);
	return ok;
}

static bool read_quota_2(const char *folder, struct quota *ret)
{
	char path[PATH_MAX];
	char text[64];

	return snprintf(path, sizeof path, "%s/cpu.max", folder) < (int)sizeof path &&
	       read_text(path, text, sizeof text) &&
	       sscanf(text, "%lld %lld", &ret->run, &ret->period) == 2;
}

static bool read_number(const char *folder, const char *name, long long *ret)
{
	char path[PATH_MAX];
	char text[64];

	return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path &&
	       read_text(path, text, sizeof text) && sscanf(text, "%lld", ret) == 1;
}

static bool read_quota_1(const char *folder, struct quota *ret)
{
	return read_number(folder, "cpu.cfs_quota_us", &ret->run) &&
	       read_number(folder, "cpu.cfs_period_us", &ret->period);
}

static unsigned quota_cpus(const struct quota *q)
{
	long long cpus;

	if (q->run <= 0 || q->period <= 0)
		return 0;
	cpus = q->run / q->period + (q->run % q->period != 0);
	return cpus < UINT_MAX ? (unsigned)cpus : UINT_MAX;
}

static unsigned smaller_quota(unsigned a, unsigned b)
{
	if (a == 0 || b == 0)
		return a + b;
	return a < b ? a : b;
}

/* From @group up to the root of the hierarchy. In a container without a cgroup namespace @group is the
 * host's and does not exist, but the root is the container's own. */
static unsigned quota_upwards(const char *hierarchy, const char *group, bool version_2)
{
	char folder[PATH_MAX];
	size_t root = strlen(hierarchy);
	unsigned least = 0;

	if (snprintf(folder, sizeof folder, "%s%s", hierarchy, group) >= (int)sizeof folder)
		return 0;
	for (;;) {
		char *slash = strrchr(folder + root, '/');
		struct quota q;

		if (version_2 ? read_quota_2(folder, &q) : read_quota_1(folder, &q))
			least = smaller_quota(least, quota_cpus(&q));
		if (slash == NULL)
			return least;
		*slash = '\0';
	}
}

static bool names_controller(const char *controllers, const char *name)
{
	size_t size = strlen(name);

	for (const char *at = controllers; at != NULL; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, name, size) == 0 && (at[size] == ',' || at[size] == '\0'))
			return true;
	}
	return false;
}

/* One line of /proc/self/cgroup: "0::/group" or "4:cpu,cpuacct:/group". */
static unsigned quota_of_line(char *line, const char *mount)
{
	char hierarchy[PATH_MAX];
	char *controllers = strchr(line, ':');
	char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

	if (group == NULL)
		return 0;
	*controllers++ = '\0';
	*group++ = '\0';
	group[strcspn(group, "\n")] = '\0';
	if (*controllers == '\0')
		return quota_upwards(mount, group, true);
	if (!names_controller(controllers, "cpu") ||
	    snprintf(hierarchy, sizeof hierarchy, "%s/%s", mount, controllers) >=
		(int)sizeof hierarchy)
		return 0;
	return quota_upwards(hierarchy, group, false);
}

unsigned cpu_quota(const char *membership, const char *mount)
{
	FILE *f = fopen(membership, "re");
	char line[PATH_MAX];
	unsigned least = 0;

	if (f == NULL)
		return 0;
	while (fgets(line, sizeof line, f) != NULL)
		least = smaller_quota(least, quota_of_line(line, mount));
	fclose(f);
	return least;
}

unsigned cpu_count(void)
{
	unsigned cpus = uv_available_parallelism(); /* at least 1 */
	unsigned quota = cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");

	return quota > 0 && quota < cpus ? quota : cpus;
}
