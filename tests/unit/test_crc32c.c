/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bug.h"
#include "base/crc32c.h"

typedef uint32_t crc_fn(uint32_t crc, const void *data, size_t size);

/* An iSCSI read command, from RFC 3720 appendix B.4 */
static const uint8_t iscsi_read[48] = {
	0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
};

static void assert_published_values(crc_fn *crc)
{
	uint8_t bytes[32];

	assert_int_equal(crc(0, "", 0), 0);
	assert_int_equal(crc(0, "123456789", 9), 0xe3069283);
	memset(bytes, 0, sizeof bytes);
	assert_int_equal(crc(0, bytes, sizeof bytes), 0x8a9136aa);
	memset(bytes, 0xff, sizeof bytes);
	assert_int_equal(crc(0, bytes, sizeof bytes), 0x62a8ab43);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = i;
	assert_int_equal(crc(0, bytes, sizeof bytes), 0x46dd794e);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = sizeof bytes - 1 - i;
	assert_int_equal(crc(0, bytes, sizeof bytes), 0x113fdb5c);
	assert_int_equal(crc(0, iscsi_read, sizeof iscsi_read), 0xd9963a56);
}

static void test_the_table_gives_the_published_values(void **state)
{
	(void)state;
	assert_published_values(crc32c_table);
}

static void test_the_instruction_gives_the_published_values(void **state)
{
	(void)state;
	if (!crc32c_has_sse42())
		skip();
	assert_published_values(crc32c_sse42);
}

static void test_the_chosen_way_gives_the_published_values(void **state)
{
	(void)state;
	assert_published_values(crc32c);
	assert_published_values(crc32c); /* the first call chose */
}

static void test_both_ways_agree_at_every_length_and_alignment(void **state)
{
	uint8_t bytes[64];

	(void)state;
	if (!crc32c_has_sse42())
		skip();
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = i * 37 + 11;
	for (size_t from = 0; from < sizeof bytes; from++)
		for (size_t size = 0; size <= sizeof bytes - from; size++)
			assert_int_equal(crc32c_table(1, bytes + from, size),
					 crc32c_sse42(1, bytes + from, size));
}

static void test_pieces_add_up(void **state)
{
	(void)state;
	for (size_t cut = 0; cut <= sizeof iscsi_read; cut++) {
		uint32_t crc = crc32c(0, iscsi_read, cut);

		assert_int_equal(crc32c(crc, iscsi_read + cut, sizeof iscsi_read - cut),
				 0xd9963a56);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_chosen_way_gives_the_published_values),
		cmocka_unit_test(test_the_table_gives_the_published_values),
		cmocka_unit_test(test_the_instruction_gives_the_published_values),
		cmocka_unit_test(test_both_ways_agree_at_every_length_and_alignment),
		cmocka_unit_test(test_pieces_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
