/* Metrics as a stranger might send them: what is read can be printed, and lies within what came. */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/program/profile.h"

static void must(int truth)
{
    if (!truth)
        abort();
}

static void must_be_printable(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        must(*p >= ' ' && *p != 0x7f && !(*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0));
}

static void look_at(const scrape_sample *sample)
{
    must(isalpha((unsigned char)sample->name[0]) || strchr("_:", sample->name[0]) != NULL);
    for (size_t i = 0; i < sample->label_count; i++) {
        must_be_printable(sample->labels[i].name);
        must_be_printable(sample->labels[i].value);
    }
    must_be_printable(sample->name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scrape *s = NULL;
    ps_error err = {0};
    if (scrape_parse((const char *)data, size, &s, &err) != 0) {
        must(s == NULL && err.message[0] != '\0');
        return 0;
    }
    must(scrape_count(s) <= size);
    for (size_t i = 0; i < scrape_count(s); i++)
        look_at(scrape_at(s, i));
    char *report = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&report, &n);
    must(out != NULL);
    profile_print(out, s, &err);
    fclose(out);
    free(report);
    scrape_free(s);
    return 0;
}
