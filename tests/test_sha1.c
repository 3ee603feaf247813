#include "queue/sha1.h"

#include <check.h>
#include <stdlib.h>

/* From FIPS 180 and RFC 3174, and the lengths round the end of a block, by sha1sum. */
START_TEST(digests_are_those_of_others)
{
    static const struct {
        size_t times;
        const char *text, *digest;
    } all[] = {
        {0, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        {1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {1, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
        {1000000, "a", "34aa973cd4c4daa4f61eeb2bdbad27316534016f"},
        {80, "01234567", "dea356a2cddd90c7a7ecedc5ebb563934f460452"},
        {55, "a", "c1c8bbdc22796e28c0e15163d20899b65621d65a"},
        {56, "a", "c2db330f6083854c99d4b5bfb6e8f29f201be699"},
        {63, "a", "03f09f5b158a7a8cdad920bddc29b81c18a551f5"},
        {64, "a", "0098ba824b5c16427bd7a1122a5a442a25ec644d"},
        {65, "a", "11655326c708d70319be2610e8a57d9a5b959d3b"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        size_t n = strlen(all[i].text);
        char *bytes = malloc(n * all[i].times + 1), digest[SHA1_HEX_BYTES];
        for (size_t k = 0; k < all[i].times; k++)
            memcpy(bytes + k * n, all[i].text, n);
        sha1_hex((str){bytes, n * all[i].times}, digest);
        ck_assert_str_eq(digest, all[i].digest);
        free(bytes);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sha1");
    TCase *tests = tcase_create("sha1");
    tcase_add_test(tests, digests_are_those_of_others);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
