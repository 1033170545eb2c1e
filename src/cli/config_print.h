/* SPDX-License-Identifier: MIT */
/* A configuration in words: what would run. */
#ifndef CONFIG_PRINT_H
#define CONFIG_PRINT_H

#include <stdio.h>

struct config;

void config_print(const struct config *c, FILE *out);

#endif
