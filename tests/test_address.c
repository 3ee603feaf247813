#include "queue/address.h"

#include <check.h>
#include <stdlib.h>

static const struct {
    const char *text, *written;
} good[] = {
    {"10.0.0.1", "10.0.0.1"},
    {"0.0.0.0", "0.0.0.0"},
    {"255.255.255.255", "255.255.255.255"},
    {"::", "::"},
    {"::1", "::1"},
    {"2001:DB8:0:0::1", "2001:db8::1"},
    {"::ffff:1.2.3.4", "1.2.3.4"},
    {"::ffff:102:304", "1.2.3.4"},
    {"::fffe:1.2.3.4", "::fffe:102:304"},
    {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
    {"1111:2222:3333:4444:5555:6666:111.122.133.144", "1111:2222:3333:4444:5555:6666:6f7a:8590"},
};

START_TEST(addresses_are_read_and_written)
{
    ip_address a;
    char text[ADDRESS_TEXT_BYTES];
    ck_assert(address_parse(str_from(good[_i].text), &a));
    address_format(&a, text);
    ck_assert_str_eq(text, good[_i].written);
}
END_TEST

static const char *const bad[] = {
    "",
    " ",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.4 ",
    " 1.2.3.4",
    "01.2.3.4",
    "0x1.2.3.4",
    "1.2.3.4:80",
    "[::1]",
    "fe80::1%eth0",
    ":",
    ":::",
    "1::2::3",
    "12345::",
    "localhost",
    "1111:2222:3333:4444:5555:6666:111.122.133.1445",
    "::ffff:1.2.3",
};

START_TEST(anything_else_is_no_address)
{
    ip_address a;
    ck_assert(!address_parse(str_from(bad[_i]), &a));
}
END_TEST

START_TEST(an_address_ends_with_its_slice)
{
    ip_address a;
    char text[ADDRESS_TEXT_BYTES];
    ck_assert(address_parse((str){"1.2.3.45", 7}, &a));
    address_format(&a, text);
    ck_assert_str_eq(text, "1.2.3.4");
    ck_assert(!address_parse((str){"1.2.3.4\0", 8}, &a));
}
END_TEST

static const struct {
    const char *block, *inside, *outside;
} blocks[] = {
    {"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
    {"10.0.0.0/9", "10.127.255.255", "10.128.0.0"},
    {"192.0.2.7", "192.0.2.7", "192.0.2.6"},
    {"192.0.2.6/31", "192.0.2.7", "192.0.2.8"},
    {"192.0.2.7/32", "::ffff:192.0.2.7", "192.0.2.5"},
    {"0.0.0.0/0", "255.1.2.3", "::1"},
    {"::/0", "2001:db8::1", "10.0.0.1"},
    {"fd00::/8", "fdff::1", "fe00::"},
    {"2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"},
    {"::1/128", "::1", "::2"},
    {"::ffff:0:0/96", "10.0.0.1", "::fffe:0:1"},
};

START_TEST(a_block_holds_its_own_addresses_only)
{
    address_block block;
    ip_address inside, outside;
    ck_assert(address_block_parse(str_from(blocks[_i].block), &block));
    ck_assert(address_parse(str_from(blocks[_i].inside), &inside));
    ck_assert(address_parse(str_from(blocks[_i].outside), &outside));
    ck_assert(address_in(&inside, &block));
    ck_assert(!address_in(&outside, &block));
}
END_TEST

static const char *const bad_blocks[] = {
    "",
    "/",
    "/8",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/+8",
    "10.0.0.0/8 ",
    "10.0.0.0/0008",
    "10.0.0.0/8/8",
    "10.0.0.1/8",
    "10.0.0.0/255.0.0.0",
    "::/129",
    "::1/127",
    "fd00::1/8",
    "10/8",
    "host/8",
};

START_TEST(anything_else_is_no_block)
{
    address_block block;
    ck_assert(!address_block_parse(str_from(bad_blocks[_i]), &block));
}
END_TEST

START_TEST(a_mask_leaves_the_first_bits)
{
    ip_address a, all;
    memset(&all, 0xff, sizeof(all));
    for (unsigned bits = 0; bits <= 128; bits++) {
        a = all;
        address_mask(&a, bits);
        for (unsigned i = 0; i < 128; i++)
            ck_assert_int_eq(a.bytes[i / 8] >> (7 - i % 8) & 1, i < bits);
    }
}
END_TEST

#define COUNT(list) (int)(sizeof(list) / sizeof(list)[0])

int main(void)
{
    Suite *suite = suite_create("address");
    TCase *tests = tcase_create("address");
    tcase_add_loop_test(tests, addresses_are_read_and_written, 0, COUNT(good));
    tcase_add_loop_test(tests, anything_else_is_no_address, 0, COUNT(bad));
    tcase_add_test(tests, an_address_ends_with_its_slice);
    tcase_add_loop_test(tests, a_block_holds_its_own_addresses_only, 0, COUNT(blocks));
    tcase_add_loop_test(tests, anything_else_is_no_block, 0, COUNT(bad_blocks));
    tcase_add_test(tests, a_mask_leaves_the_first_bits);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
