/* SPDX-License-Identifier: MIT */
/* Every file of tests/unit/bad_configs is a configuration that must be refused: its first line is the exact message,
 * the rest is the configuration. The folder is the program's argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conf/config.h"
#include "conf/config_load.h"

static const char *folder;

/* Fewer would mean that the folder was not found whole. */
#define FILES_MIN 100

static void check_file(const char *name)
{
	static char bytes[65536];
	struct config_error error = { "" };
	struct config *c = NULL;
	char path[4096];
	char *text;
	size_t size;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "rb");
	assert_non_null(f);
	size = fread(bytes, 1, sizeof bytes - 1, f);
	fclose(f);
	bytes[size] = '\0';
	text = strchr(bytes, '\n');
	assert_non_null(text);
	*text++ = '\0';
	if (config_load_text("config.json", ".", text, size - (size_t)(text - bytes), &c, &error) !=
		-EINVAL ||
	    strcmp(error.text, bytes) != 0)
		fail_msg("%s:\n  expected: %s\n  got:      %s", name, bytes, error.text);
	assert_null(c);
}

static void test_bad_configurations_are_refused_with_their_message(void **state)
{
	DIR *d = opendir(folder);
	struct dirent *entry;
	unsigned count = 0;

	(void)state;
	assert_non_null(d);
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		check_file(entry->d_name);
		count++;
	}
	closedir(d);
	assert_true(count >= FILES_MIN);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_configurations_are_refused_with_their_message),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	folder = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
