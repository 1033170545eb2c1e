/* SPDX-License-Identifier: MIT */
/* Can this machine do what a configuration says, now? */
#ifndef CONFIG_PROBE_H
#define CONFIG_PROBE_H

struct config;

/* Try to listen, to reach the upstreams and to write the log; count the descriptors. Every problem goes to stderr
 * as "unproxy: KEY: VALUE: why; what to do". Takes a few seconds at most for each upstream.
 * Returns how many problems there are. */
unsigned config_probe(const struct config *c);

#endif
