/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/siphash.h"
#include "lib/exact_copy.h"

/* The key of the published values is 0, 1, 2, … 15, and so are the bytes that are hashed. */
static void fill(uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = i;
}

/* By size, as the authors' vectors.h has them, read as little-endian numbers. The last one is appendix A's. */
static const uint64_t published[] = {
	0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
	0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
	0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
	0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
};

static void test_the_published_values(void **state)
{
	uint8_t bytes[64];

	(void)state;
	fill(bytes, sizeof bytes);
	for (size_t size = 0; size < ARRAY_SIZE(published); size++) {
		uint8_t *exact = exact_copy(bytes, size);

		assert_true(siphash(bytes, exact, size) == published[size]);
		free(exact);
	}
	assert_true(siphash(bytes, bytes, 16) == 0x3f2acc7f57c29bdb);
	assert_true(siphash(bytes, bytes, 63) == 0x958a324ceb064572);
}

static void test_every_bit_of_the_key_counts(void **state)
{
	uint8_t key[SIPHASH_KEY_SIZE];

	(void)state;
	fill(key, sizeof key);
	for (size_t bit = 0; bit < 8 * sizeof key; bit++) {
		key[bit / 8] ^= 1 << bit % 8;
		assert_true(siphash(key, "", 0) != published[0]);
		key[bit / 8] ^= 1 << bit % 8;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_published_values),
		cmocka_unit_test(test_every_bit_of_the_key_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
