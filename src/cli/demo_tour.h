/* SPDX-License-Identifier: MIT */
/* The round trip of `unproxy demo`, explained on stdout. */
#ifndef DEMO_TOUR_H
#define DEMO_TOUR_H

#include <stdbool.h>
#include <stdint.h>

struct address;
struct demo_log;

/* Send a header and a request to @listener, behind which the application listens on @app_port. Returns
 * whether everything was as it should be; if not, stderr says what was wrong. */
bool demo_tour(const struct address *listener, uint16_t app_port, struct demo_log *log);

#endif
