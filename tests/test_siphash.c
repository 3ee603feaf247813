/* SipHash against the first, the eighth, the sixteenth and the last of the vectors in the paper's reference
 * code: the key is 00 01 .. 0f, the text 00 01 .. with as many bytes. */
#include "queue/siphash.h"

#include <check.h>
#include <stdlib.h>

static const struct {
    size_t n;
    uint64_t hash;
} vectors[] = {
    {0, UINT64_C(0x726fdb47dd0e0e31)},
    {8, UINT64_C(0x93f5f5799a932462)},
    {15, UINT64_C(0xa129ca6149be45e5)}, /* also the paper's own example, appendix A */
    {63, UINT64_C(0x958a324ceb064572)},
};

START_TEST(vectors_of_the_reference)
{
    siphash_key key = {{UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};
    unsigned char text[64];
    for (unsigned char i = 0; i < sizeof text; i++)
        text[i] = i;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        ck_assert_uint_eq(siphash(&key, text, vectors[i].n), vectors[i].hash);
}
END_TEST

START_TEST(keys_differ)
{
    siphash_key a, b;
    ck_assert_int_eq(siphash_key_make(&a), 0);
    ck_assert_int_eq(siphash_key_make(&b), 0);
    ck_assert_uint_ne(siphash(&a, "text", 4), siphash(&b, "text", 4));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("siphash");
    TCase *t = tcase_create("siphash");
    tcase_add_test(t, vectors_of_the_reference);
    tcase_add_test(t, keys_differ);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
