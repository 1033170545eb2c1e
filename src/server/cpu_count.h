/* SPDX-License-Identifier: MIT */
/* How many CPUs this process may use, for `workers: "auto"`. */
#ifndef CPU_COUNT_H
#define CPU_COUNT_H

/* CPUs of the affinity mask (sched_getaffinity(2)), but no more than the cgroup's CPU quota
 * rounded up. At least 1. */
unsigned cpu_count(void);

/* The smallest CPU quota of the cgroups that @membership (the file /proc/self/cgroup) names and
 * of those above them, in the hierarchies mounted at @mount (/sys/fs/cgroup), version 1 or 2 (cgroups(7)),
 * rounded up to whole CPUs. 0: there is none. What cannot be read limits nothing. */
unsigned cpu_quota(const char *membership, const char *mount);

#endif
