#include "queue/zone.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/civil.h"
#include "queue/zone_rule.h"

enum { ERROR_BYTES = 256, HOUR = 3600 };

static char error[ERROR_BYTES];

static zone *load(const char *name)
{
    zone *z = NULL;
    ck_assert_msg(zone_load(str_from(name), &z, error, sizeof(error)) == 0, "%s", error);
    return z;
}

static int64_t at(int64_t year, int month, int day, int hour, int minute)
{
    return civil_to_days((civil_date){year, month, day}) * DAY_SECONDS + hour * HOUR + minute * 60;
}

/* --- files made by hand --- */

typedef struct file {
    unsigned char bytes[4096];
    size_t n;
} file;

static void put(file *f, int64_t value, size_t bytes)
{
    for (size_t i = bytes; i-- > 0;)
        f->bytes[f->n++] = (unsigned char)((uint64_t)value >> (8 * i));
}

static void put_text(file *f, const char *text)
{
    memcpy(f->bytes + f->n, text, strlen(text));
    f->n += strlen(text);
}

static void put_header(file *f, char version, uint32_t leaps, uint32_t changes, uint32_t types)
{
    put_text(f, "TZif");
    put(f, version, 1);
    for (int i = 0; i < 15; i++)
        put(f, 0, 1);
    uint32_t counts[] = {0, 0, leaps, changes, types, 4};
    for (size_t i = 0; i < 6; i++)
        put(f, counts[i], 4);
}

static void put_type(file *f, int32_t offset_s)
{
    put(f, offset_s, 4);
    put(f, 0, 2);
}

/* Changes an hour apart from 0 on, and from one type to the next; then the footer. */
static file make_file(const int32_t *offsets_s, uint32_t types, const char *footer)
{
    file f = {.n = 0};
    put_header(&f, '2', 0, 0, 1);
    put_type(&f, 0);
    put_text(&f, "LMT");
    put(&f, 0, 1);
    put_header(&f, '2', 0, types - 1, types);
    for (uint32_t i = 1; i < types; i++)
        put(&f, (int64_t)(i - 1) * HOUR, 8);
    for (uint32_t i = 1; i < types; i++)
        put(&f, i, 1);
    for (uint32_t i = 0; i < types; i++)
        put_type(&f, offsets_s[i]);
    put_text(&f, "LMT");
    put(&f, 0, 1);
    put_text(&f, footer);
    return f;
}

static int parse(const file *f, zone **ret_zone)
{
    /* Of exactly that size, so that a byte beyond is seen. */
    char *copy = malloc(f->n ? f->n : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, f->bytes, f->n);
    int err = zone_parse((str){copy, f->n}, ret_zone, error, sizeof(error));
    free(copy);
    return err;
}

static void assert_refused(const file *f, const char *why)
{
    zone *z = NULL;
    error[0] = '\0';
    ck_assert_int_eq(parse(f, &z), -EINVAL);
    ck_assert_ptr_null(z);
    ck_assert_msg(strstr(error, why) != NULL, "%s, not: %s", error, why);
}

static const int32_t three_offsets_s[] = {-HOUR, 0, HOUR};

/* --- beside Python. Not ck_assert, which writes to a file each time: there are a million lines --- */

static const char *skip_number(const char *p, int64_t *ret)
{
    char *end = NULL;
    *ret = strtoll(p, &end, 10);
    return end;
}

static void compare_local(const zone *z, const char *name, const char *line)
{
    int64_t local_s = 0, ours_s[2] = {0, 0}, theirs_s[2] = {0, 0};
    const char *p = skip_number(line, &local_s);
    int theirs = 0, ours = zone_from_local(z, local_s, ours_s);
    for (; *p == ' ' && theirs < 2; theirs++)
        p = skip_number(p, &theirs_s[theirs]);
    if (ours != theirs || memcmp(ours_s, theirs_s, sizeof(ours_s)) != 0)
        ck_abort_msg("%s, local %ld: %d (%ld, %ld), for Python %d (%ld, %ld)", name, (long)local_s, ours,
                     (long)ours_s[0], (long)ours_s[1], theirs, (long)theirs_s[0], (long)theirs_s[1]);
}

static void compare_moment(const zone *z, const char *name, const char *line)
{
    int64_t moment_s = 0, theirs_s = 0, next_s = 0;
    skip_number(skip_number(line, &moment_s), &theirs_s);
    int32_t ours_s = zone_offset_at(z, moment_s);
    if (ours_s != theirs_s)
        ck_abort_msg("%s at %ld: %d, for Python %ld", name, (long)moment_s, ours_s, (long)theirs_s);
    if (zone_next_change(z, moment_s, &next_s) &&
        (next_s <= moment_s || zone_offset_at(z, next_s - 1) != ours_s))
        ck_abort_msg("%s after %ld: a change at %ld", name, (long)moment_s, (long)next_s);
}

static bool can_compare(void)
{
    return access("/usr/bin/python3", X_OK) == 0 && access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0;
}

START_TEST(all_zones_are_as_python_reads_them)
{
    if (!can_compare()) {
        fprintf(stderr, "test_zone: skipped: zones beside Python's: python3 or tzdata is not there\n");
        return;
    }
    unsetenv("TZDIR");
    FILE *lines = popen("/usr/bin/python3 tests/zone_moments.py", "r");
    ck_assert_ptr_nonnull(lines);
    char line[256], name[128] = "";
    zone *z = NULL;
    int zones = 0;
    while (fgets(line, sizeof(line), lines)) {
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "zone %127s", name) == 1) {
            zone_free(z);
            z = load(name);
            zones++;
        } else if (strncmp(line, "at ", 3) == 0) {
            compare_moment(z, name, line + 3);
        } else {
            compare_local(z, name, line + 6);
        }
    }
    zone_free(z);
    ck_assert_int_eq(pclose(lines), 0);
    ck_assert_int_gt(zones, 300);
}
END_TEST

/* --- what the system refuses; the linker sends the product's calls here (--wrap) --- */

static int refused_calls = -1; /* how many go well until one and all after it fail; negative: all go well */

static bool is_refused(void)
{
    bool refused = refused_calls == 0;
    refused_calls -= refused_calls > 0;
    return refused;
}

#define WRAP(type, name, parameters, arguments, failure)                                                     \
    type __real_##name parameters; /* the linker's names */                                                  \
    type __wrap_##name parameters;                                                                           \
    type __wrap_##name parameters                                                                            \
    {                                                                                                        \
        return is_refused() ? (failure) : __real_##name arguments;                                           \
    }

WRAP(void *, malloc, (size_t n), (n), NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL)

static int read_errors[] = {0, 0}; /* errno of the next calls; 0: none */

ssize_t __real_read(int fd, void *p, size_t n);
ssize_t __wrap_read(int fd, void *p, size_t n);

ssize_t __wrap_read(int fd, void *p, size_t n)
{
    int err = read_errors[0];
    read_errors[0] = read_errors[1];
    read_errors[1] = 0;
    if (err != 0)
        errno = err;
    return err != 0 ? -1 : __real_read(fd, p, n);
}

/* The same, where the compiler knows how much room there is. */
ssize_t __wrap___read_chk(int fd, void *p, size_t n, size_t room);

ssize_t __wrap___read_chk(int fd, void *p, size_t n, size_t room)
{
    return n <= room ? __wrap_read(fd, p, n) : -1;
}

static int load_refused(const char *name, int allocations)
{
    zone *z = NULL;
    refused_calls = allocations;
    int err = zone_load(str_from(name), &z, error, sizeof(error));
    refused_calls = -1;
    ck_assert((err == 0) == (z != NULL));
    zone_free(z);
    return err;
}

/* --- names --- */

START_TEST(utc_needs_no_file)
{
    setenv("TZDIR", "/nowhere", 1);
    zone *z = load("UTC");
    int64_t moments_s[2] = {0};
    ck_assert_int_eq(zone_offset_at(z, 1700000000), 0);
    ck_assert(!zone_next_change(z, INT64_MIN, moments_s));
    ck_assert_int_eq(zone_from_local(z, 1700000000, moments_s), 1);
    ck_assert_int_eq(moments_s[0], 1700000000);
    zone_free(z);
    zone_free(NULL);
}
END_TEST

static const str bad_names[] = {
    {"", 0},
    {"/etc/passwd", 11},
    {"../etc/passwd", 13},
    {"Europe/../../x", 14},
    {"Europe/.", 8},
    {"Europe//Berlin", 14},
    {"Europe/", 7},
    {"Europe/Berlin\0x", 15},
    {"\0", 1},
    {"Europe Berlin", 13},
    {"B\xc3\xa9rlin", 7},
    {":UTC", 4},
    {"a123456789b123456789c123456789d123456789e123456789f123456789g123456789h123456789i123456789j123456789"
     "k123456789l123456789m123456789",
     130},
};

START_TEST(what_cannot_be_a_name_is_refused)
{
    zone *z = NULL;
    ck_assert_int_eq(zone_load(bad_names[_i], &z, error, sizeof(error)), -EINVAL);
    ck_assert_ptr_null(z);
    ck_assert_ptr_nonnull(strstr(error, "is no name of a time zone"));
    for (const char *p = error; *p; p++)
        ck_assert(*p >= ' ' && *p <= '~');
}
END_TEST

static void assert_not_loaded(const char *name, int err, const char *wanted)
{
    zone *z = NULL;
    ck_assert_int_eq(zone_load(str_from(name), &z, error, sizeof(error)), err);
    ck_assert_ptr_null(z);
    ck_assert_str_eq(error, wanted);
}

static char folder[] = "/tmp/test_zone_XXXXXX";

static void make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("TZDIR", folder, 1);
}

static void in_folder(char *path, size_t size, const char *name)
{
    snprintf(path, size, "%s/%s", folder, name);
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    char path[64];
    in_folder(path, sizeof(path), name);
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(bytes, 1, n, out), n);
    ck_assert_int_eq(fclose(out), 0);
}

static void remove_folder(const char *name)
{
    char path[64];
    in_folder(path, sizeof(path), name);
    ck_assert_int_eq(remove(path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}

START_TEST(files_are_looked_for_in_tzdir)
{
    make_folder();
    file f = make_file(three_offsets_s, 3, "\n\n");
    write_file("Mine", f.bytes, f.n);
    zone *z = load("Mine");
    ck_assert_int_eq(zone_offset_at(z, 2 * HOUR), HOUR);
    zone_free(z);
    remove_folder("Mine");
}
END_TEST

START_TEST(a_missing_zone_is_named_with_its_folder)
{
    char wanted[256];
    make_folder();
    write_file("File", "TZif", 4);
    snprintf(wanted, sizeof(wanted), "there is no time zone \"Europe/Berln\" in %s", folder);
    assert_not_loaded("Europe/Berln", -ENOENT, wanted);
    snprintf(wanted, sizeof(wanted), "there is no time zone \"File/Berlin\" in %s", folder);
    assert_not_loaded("File/Berlin", -ENOENT, wanted);
    snprintf(wanted, sizeof(wanted),
             "time zone \"File\": %s/File is no file of a time zone: it does not begin as such a file does",
             folder);
    assert_not_loaded("File", -EINVAL, wanted);
    remove_folder("File");
    snprintf(wanted, sizeof(wanted),
             "time zone \"Europe/Berlin\": there are no time zones in %s: install tzdata, or set TZDIR",
             folder);
    assert_not_loaded("Europe/Berlin", -ENOENT, wanted);
}
END_TEST

START_TEST(pipes_folders_and_large_files_are_no_zones)
{
    static const char large[(64 << 10) + 1] = "TZif2";
    char path[64], wanted[256];
    make_folder();
    in_folder(path, sizeof(path), "X");
    snprintf(wanted, sizeof(wanted), "time zone \"X\": %s/X: Invalid argument", folder);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    assert_not_loaded("X", -EINVAL, wanted);
    ck_assert_int_eq(remove(path), 0);
    write_file("X", large, sizeof(large));
    assert_not_loaded("X", -EINVAL, wanted);
    ck_assert_int_eq(remove(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(wanted, sizeof(wanted), "there is no time zone \"X\" in %s", folder);
    assert_not_loaded("X", -ENOENT, wanted);
    remove_folder("X");
}
END_TEST

START_TEST(a_folder_with_too_long_a_name_is_an_error)
{
    static char deep[5000];
    memset(deep, 'x', sizeof(deep) - 1);
    deep[0] = '/';
    setenv("TZDIR", deep, 1);
    zone *z = NULL;
    ck_assert_int_eq(zone_load(STR("Europe/Berlin"), &z, error, sizeof(error)), -ENAMETOOLONG);
    ck_assert_ptr_null(z);
}
END_TEST

START_TEST(short_memory_is_told)
{
    make_folder();
    file f = make_file(three_offsets_s, 3, "\n\n");
    write_file("Mine", f.bytes, f.n);
    ck_assert_int_eq(load_refused("UTC", 0), -ENOMEM);
    ck_assert_str_eq(error, "time zone \"UTC\": there is no memory for it");
    ck_assert_int_eq(load_refused("Mine", 0), -ENOMEM);
    ck_assert_ptr_nonnull(strstr(error, "Cannot allocate memory"));
    int err, n = 1;
    while ((err = load_refused("Mine", n)) == -ENOMEM)
        n++;
    ck_assert_int_eq(err, 0);
    ck_assert_int_ge(n, 2);
    remove_folder("Mine");
}
END_TEST

START_TEST(a_read_that_fails_is_told_and_one_that_is_interrupted_goes_on)
{
    char wanted[256];
    make_folder();
    file f = make_file(three_offsets_s, 3, "\n\n");
    write_file("Mine", f.bytes, f.n);
    read_errors[0] = EINTR;
    zone_free(load("Mine"));
    read_errors[0] = EINTR;
    read_errors[1] = EIO;
    snprintf(wanted, sizeof(wanted), "time zone \"Mine\": %s/Mine: Input/output error", folder);
    assert_not_loaded("Mine", -EIO, wanted);
    remove_folder("Mine");
}
END_TEST

/* --- files --- */

START_TEST(a_file_cut_anywhere_is_refused)
{
    file f = make_file(three_offsets_s, 3, "\nXXX-1YYY,M3.5.0,M10.5.0/3\n");
    zone *z = NULL;
    ck_assert_msg(parse(&f, &z) == 0, "%s", error);
    zone_free(z);
    for (size_t n = f.n; n-- > 0;) {
        f.n = n;
        assert_refused(&f, n < 44 ? "begin" : "");
    }
}
END_TEST

START_TEST(a_file_of_version_1_has_times_of_4_bytes_and_no_rule)
{
    file f = {.n = 0};
    put_header(&f, 0, 0, 1, 2);
    put(&f, -1000, 4);
    put(&f, 1, 1);
    put_type(&f, -7200);
    put_type(&f, 7200);
    put_text(&f, "LMT");
    put(&f, 0, 1);
    zone *z = NULL;
    ck_assert_msg(parse(&f, &z) == 0, "%s", error);
    ck_assert_int_eq(zone_offset_at(z, -1001), -7200);
    ck_assert_int_eq(zone_offset_at(z, -1000), 7200);
    ck_assert_int_eq(zone_offset_at(z, INT64_MAX), 7200);
    zone_free(z);
}
END_TEST

START_TEST(a_rule_begins_with_the_last_transition)
{
    file f = make_file(three_offsets_s, 3, "\nXXX5\n");
    zone *z = NULL;
    ck_assert_msg(parse(&f, &z) == 0, "%s", error);
    ck_assert_int_eq(zone_offset_at(z, -1), -HOUR);
    ck_assert_int_eq(zone_offset_at(z, 0), 0);
    ck_assert_int_eq(zone_offset_at(z, HOUR - 1), 0);
    ck_assert_int_eq(zone_offset_at(z, HOUR), -5 * HOUR);
    zone_free(z);
    f = make_file(three_offsets_s, 1, "\nXXX5\n");
    ck_assert_msg(parse(&f, &z) == 0, "%s", error);
    ck_assert_int_eq(zone_offset_at(z, INT64_MIN), -5 * HOUR);
    zone_free(z);
}
END_TEST

enum { FIRST_BLOCK = 44 + 6 + 4, COUNTS = FIRST_BLOCK + 20, TIMES = FIRST_BLOCK + 44, INDEXES = TIMES + 16 };

/* Where one byte is changed, to what, and what is said of it. */
static const struct {
    size_t place;
    unsigned char byte;
    const char *why;
} damages[] = {
    {0, 'X', "begin"},
    {4, '1', "version"},
    {4, '5', "version"},
    {FIRST_BLOCK, 'X', "begin"},
    {32, 0x7f, "cut off"},                /* transitions, of version 1 */
    {COUNTS + 0, 1, "cut off"},           /* flags that are not there */
    {COUNTS + 12, 0xff, "cut off"},       /* transitions */
    {COUNTS + 16, 0xff, "cut off"},       /* types */
    {COUNTS + 19, 0, "what they can be"}, /* no types */
    {COUNTS + 20, 0xff, "cut off"},       /* names */
    {COUNTS + 23, 0, "what they can be"}, /* no names */
    {TIMES, 0x7f, "order"},               /* beyond 2^60 */
    {TIMES, 0x80, "order"},
    {TIMES + 7, 0xff, ""}, /* in order still; see below */
    {TIMES + 8, 0x80, "order"},
    {INDEXES, 3, "not there"},
    {INDEXES + 2, 0x80, "more than a day"},
    {INDEXES + 2, 0x10, "more than a day"},
    {INDEXES + 6, 2, "type of local time"},
    {INDEXES + 7, 4, "type of local time"},
};

START_TEST(damage_is_found)
{
    file f = make_file(three_offsets_s, 3, "\n\n");
    f.bytes[damages[_i].place] = damages[_i].byte;
    if (damages[_i].why[0]) {
        assert_refused(&f, damages[_i].why);
    } else {
        zone *z = NULL;
        ck_assert_int_eq(parse(&f, &z), 0);
        ck_assert_int_eq(zone_offset_at(z, 254), -HOUR);
        ck_assert_int_eq(zone_offset_at(z, 255), 0);
        zone_free(z);
    }
}
END_TEST

START_TEST(counts_that_do_not_fit_are_found)
{
    file f = make_file(three_offsets_s, 3, "\n                    \n");
    f.bytes[COUNTS + 3] = 2;
    assert_refused(&f, "fit each other");
    f.bytes[COUNTS + 3] = 0;
    f.bytes[COUNTS + 7] = 1;
    assert_refused(&f, "fit each other");
    f.bytes[COUNTS + 7] = 0;
    f.bytes[COUNTS + 11] = 1;
    assert_refused(&f, "leap seconds");
}
END_TEST

START_TEST(two_transitions_at_once_are_refused)
{
    file f = make_file(three_offsets_s, 3, "\n\n");
    memcpy(f.bytes + TIMES + 8, f.bytes + TIMES, 8);
    assert_refused(&f, "order");
}
END_TEST

START_TEST(more_transitions_than_any_zone_has_are_refused)
{
    static unsigned char large[44 + 10 + 44 + 2001 * 9 + 10 + 2];
    file f = make_file(three_offsets_s, 1, "");
    memcpy(large, f.bytes, f.n);
    large[COUNTS + 14] = 2001 >> 8;
    large[COUNTS + 15] = 2001 & 0xff;
    zone *z = NULL;
    ck_assert_int_eq(zone_parse((str){(const char *)large, sizeof(large)}, &z, error, sizeof(error)),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(error, "what they can be"));
}
END_TEST

START_TEST(three_times_for_one_local_time_are_two)
{
    static const int32_t backwards_s[] = {3 * HOUR, HOUR, -HOUR, -3 * HOUR};
    int64_t moments_s[2] = {0};
    zone *z = NULL;
    file f = make_file(backwards_s, 4, "\n\n");
    ck_assert_msg(parse(&f, &z) == 0, "%s", error);
    ck_assert_int_eq(zone_from_local(z, HOUR + 1, moments_s), 2);
    ck_assert_int_eq(moments_s[0], -2 * HOUR + 1);
    ck_assert_int_eq(moments_s[1], 1);
    ck_assert_int_eq(zone_reach_local(z, HOUR + 1), -2 * HOUR + 1);
    ck_assert_int_eq(zone_latest_local(z, 3 * HOUR), 3 * HOUR - 1);
    zone_free(z);
}
END_TEST

START_TEST(times_at_the_ends_do_no_harm)
{
    static const int64_t ends[] = {INT64_MIN,       INT64_MAX,       INT64_MIN / 2,   INT64_MAX / 2,
                                   1LL << 60,       -(1LL << 60),    (1LL << 60) + 1, -(1LL << 60) - 1,
                                   1LL << 59,       1LL << 61,       -(1LL << 61),    -(1LL << 59),
                                   (1LL << 59) + 1, -(1LL << 59) - 1};
    file f = make_file(three_offsets_s, 3, "\nXXX-1YYY,M3.5.0,M10.5.0/3\n");
    zone *z = NULL;
    int64_t moments_s[2] = {0};
    ck_assert_msg(parse(&f, &z) == 0, "%s", error);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        int32_t offset_s = zone_offset_at(z, ends[i]);
        ck_assert(offset_s >= -HOUR && offset_s <= 2 * HOUR);
        ck_assert_int_ge(zone_from_local(z, ends[i], moments_s), 0);
        zone_next_change(z, ends[i], moments_s);
        zone_reach_local(z, ends[i]);
        zone_latest_local(z, ends[i]);
    }
    zone_free(z);
}
END_TEST

START_TEST(a_transition_is_at_2_to_the_59_or_before)
{
    static const int64_t last_s = INT64_C(1) << 59;
    file f = make_file(three_offsets_s, 3, "\n\n");
    size_t whole = f.n;
    zone *z = NULL;
    f.n = TIMES + 8;
    put(&f, last_s, 8);
    f.n = whole;
    ck_assert_msg(parse(&f, &z) == 0, "%s", error);
    ck_assert_int_eq(zone_offset_at(z, last_s - 1), 0);
    ck_assert_int_eq(zone_offset_at(z, last_s), HOUR);
    ck_assert_int_eq(zone_reach_local(z, last_s + 1), last_s);
    ck_assert_int_eq(zone_latest_local(z, last_s), last_s + HOUR);
    zone_free(z);
    z = NULL;
    f.n = TIMES + 8;
    put(&f, last_s + 1, 8);
    f.n = whole;
    assert_refused(&f, "order");
}
END_TEST

/* --- rules --- */

static const struct {
    const char *text;
    int64_t moment_s;
    int32_t offset_s;
} rules[] = {
    {"UTC0", 0, 0},
    {"<-03>3", 0, -3 * HOUR},
    {"<+0545>-5:45", 0, 5 * HOUR + 45 * 60},
    {"LMT+0:53:28", 0, -3208},
    {"XXX24:59:59", 0, -89999},
    {"XXX-24:59:59YYY,0/0,J365/25", 0, 93599},
    {"CET-1CEST,M3.5.0,M10.5.0/3", 1774746000 - 1, HOUR}, /* 2026-03-29 01:00 */
    {"CET-1CEST,M3.5.0,M10.5.0/3", 1774746000, 2 * HOUR},
    {"CET-1CEST,M3.5.0,M10.5.0/3", 1792890000 - 1, 2 * HOUR}, /* 2026-10-25 01:00 */
    {"CET-1CEST,M3.5.0,M10.5.0/3", 1792890000, HOUR},
    {"CET-1CEST,M3.5.0,M10.5.0/3", 1774746000 + 1000 * 12622780800, 2 * HOUR}, /* 400,000 years later */
    {"IST-1GMT0,M10.5.0,M3.5.0/1", 1774746000 - 1, 0}, /* Dublin's summer is its standard time */
    {"IST-1GMT0,M10.5.0,M3.5.0/1", 1774746000, HOUR},
    {"EST5EDT,0/0,J365/25", 1767225600 + 4 * HOUR, -4 * HOUR}, /* all year, New Year's Day too */
    {"EST5EDT,0/0,J365/25", 1767225600 + 5 * HOUR, -4 * HOUR},
    {"EST5EDT,0/0,J365/25", 1767225600 + 6 * HOUR, -4 * HOUR},
    {"XXX3EDT4,0/0,J365/23", 1767225600 + 3 * HOUR, -4 * HOUR},
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 1774746000 - 1, -2 * HOUR}, /* Nuuk: an hour before Sunday begins */
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 1774746000, -HOUR},
    {"XXX0YYY,J60/0,J61/0", 1709251200 - 1, 0}, /* 1 March 2024: 29 February is not counted */
    {"XXX0YYY,J60/0,J61/0", 1709251200, HOUR},
    {"XXX0YYY,J59/0,J60/0", 1709078400, HOUR},            /* 28 February 2024 */
    {"XXX0YYY,59/0,60/0", 1709164800, HOUR},              /* 29 February 2024 */
    {"XXX0YYY,59/0,60/0", 1740787200, HOUR},              /* 1 March 2025 */
    {"XXX0YYY,365/0,10/0", 1735603200, HOUR},             /* 31 December 2024 */
    {"XXX0YYY,365/0,10/0", 1767139200, 0},                /* 31 December 2025 is day 364 */
    {"XXX0YYY,365/0,10/0", 1767225600, HOUR},             /* and 1 January 2026 is day 365 of 2025 */
    {"XXX0YYY,M1.1.0/-167,M2.1.0/167", 1735776000, HOUR}, /* from 2024-12-29 01:00 on */
    {"XXX0YYY,M12.5.0/167,M2.1.0", 1735948800 - 1, 0},    /* from 2025-01-04 23:00 on */
    {"XXX0YYY,M12.5.0/167,M2.1.0", 1736031600, HOUR},
    {"XXX0YYY,M1.1.0/-167,M2.1.0/167", 1735516800, HOUR}, /* 30 December 2024: the turn is 2025's */
    {"XXX0YYY,J365/100,J364/100", 1735689600, HOUR}, /* 1 January 2025: 2024's are to come, 2023's counts */
    {"XXX0YYY,M6.4.1/0,M6.5.1/0", 1782086400,
     HOUR}, /* 22 June 2026, the fourth Monday; the last is the 29th */
};

START_TEST(a_rule_gives_its_offset)
{
    zone_rule rule;
    ck_assert_msg(zone_rule_parse(str_from(rules[_i].text), &rule), "%s", rules[_i].text);
    ck_assert_msg(zone_rule_offset_at(&rule, rules[_i].moment_s) == rules[_i].offset_s, "%s at %ld: %d",
                  rules[_i].text, (long)rules[_i].moment_s, zone_rule_offset_at(&rule, rules[_i].moment_s));
}
END_TEST

static const char *const bad_rules[] = {
    "",
    "CET",
    "CE-1",
    "<CET-1",
    "<C>-1",
    "<C.T>-1",
    "C1T-1",
    "CET-",
    "CET-25",
    "CET-1:60",
    "CET-1:",
    "CET-1:00:",
    "CET-1:00:60",
    "CET-1:00:00:00",
    "CET-0001",
    "CET-1CEST",
    "CET-1CEST,M3.5.0",
    "CET-1CEST,M3.5.0,",
    "CET-1CEST,M3.5.0,M10.5.0,",
    "CET-1CEST,M3.5.0,M10.5.0/",
    "CET-1CEST,M3.5.0,M10.5.0/168",
    "CET-1CEST,M3.5.0,M10.5.0/-168",
    "CET-1CEST,M0.5.0,M10.5.0",
    "CET-1CEST,M13.5.0,M10.5.0",
    "CET-1CEST,M3.0.0,M10.5.0",
    "CET-1CEST,M3.6.0,M10.5.0",
    "CET-1CEST,M3.5.7,M10.5.0",
    "CET-1CEST,M3.5,M10.5.0",
    "CET-1CEST,M3,M10.5.0",
    "CET-1CEST,J0,J100",
    "CET-1CEST,J366,J100",
    "CET-1CEST,366,100",
    "CET-1CEST,x,100",
    "CET-1CE,M3.5.0,M10.5.0",
    "CET-1CEST-25,M3.5.0,M10.5.0",
    "CET-1 ",
    ":CET-1",
};

START_TEST(what_is_no_rule_is_refused)
{
    zone_rule rule;
    ck_assert_msg(!zone_rule_parse(str_from(bad_rules[_i]), &rule), "%s", bad_rules[_i]);
    char footer[64];
    if (bad_rules[_i][0] == '\0')
        return; /* as a footer it says that nothing is known */
    snprintf(footer, sizeof(footer), "\n%s\n", bad_rules[_i]);
    file f = make_file(three_offsets_s, 3, footer);
    assert_refused(&f, "no rule");
}
END_TEST

START_TEST(the_next_turn_is_found)
{
    zone_rule rule;
    int64_t next_s = 0;
    ck_assert(zone_rule_parse(STR("CET-1CEST,M3.5.0,M10.5.0/3"), &rule));
    ck_assert(zone_rule_next(&rule, at(2026, 1, 1, 0, 0), &next_s));
    ck_assert_int_eq(next_s, at(2026, 3, 29, 1, 0));
    ck_assert(zone_rule_next(&rule, next_s, &next_s));
    ck_assert_int_eq(next_s, at(2026, 10, 25, 1, 0));
    ck_assert(zone_rule_next(&rule, next_s, &next_s));
    ck_assert_int_eq(next_s, at(2027, 3, 28, 1, 0));
}
END_TEST

START_TEST(the_next_turn_may_be_one_of_the_years_beside)
{
    zone_rule rule;
    int64_t next_s = 0;
    ck_assert(zone_rule_parse(STR("XXX0YYY,M12.5.0/167,M2.1.0"), &rule));
    ck_assert(zone_rule_next(&rule, at(2025, 1, 1, 0, 0), &next_s));
    ck_assert_int_eq(next_s, at(2025, 1, 4, 23, 0)); /* 2024's */
    ck_assert(zone_rule_parse(STR("XXX0YYY,J1/-100,J2/-120"), &rule));
    ck_assert(zone_rule_next(&rule, at(2024, 12, 31, 0, 0), &next_s));
    ck_assert_int_eq(next_s, at(2025, 12, 27, 20, 0)); /* 2026's */
}
END_TEST

/* --- local times, by hand --- */

START_TEST(gap_and_overlap_in_berlin)
{
    if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) != 0) {
        fprintf(stderr, "test_zone: skipped: Berlin: tzdata is not there\n");
        return;
    }
    zone *z = load("Europe/Berlin");
    int64_t moments_s[2] = {0};
    ck_assert_int_eq(zone_from_local(z, at(2026, 3, 29, 2, 30), moments_s), 0);
    ck_assert_int_eq(zone_reach_local(z, at(2026, 3, 29, 2, 30)), at(2026, 3, 29, 1, 0));
    ck_assert_int_eq(zone_from_local(z, at(2026, 3, 29, 3, 0), moments_s), 1);
    ck_assert_int_eq(moments_s[0], at(2026, 3, 29, 1, 0));
    ck_assert_int_eq(zone_from_local(z, at(2026, 10, 25, 2, 30), moments_s), 2);
    ck_assert_int_eq(moments_s[0], at(2026, 10, 25, 0, 30));
    ck_assert_int_eq(moments_s[1], at(2026, 10, 25, 1, 30));
    ck_assert_int_eq(zone_reach_local(z, at(2026, 10, 25, 2, 30)), at(2026, 10, 25, 0, 30));
    ck_assert_int_eq(zone_latest_local(z, at(2026, 10, 25, 1, 30)), at(2026, 10, 25, 3, 0) - 1);
    ck_assert_int_eq(zone_latest_local(z, at(2026, 10, 25, 2, 30)), at(2026, 10, 25, 3, 30));
    zone_free(z);
}
END_TEST

static Suite *zone_suite(void)
{
    Suite *s = suite_create("zone");
    TCase *tc = tcase_create("zone");
    tcase_add_test(tc, utc_needs_no_file);
    tcase_add_loop_test(tc, what_cannot_be_a_name_is_refused, 0, sizeof(bad_names) / sizeof(bad_names[0]));
    tcase_add_test(tc, files_are_looked_for_in_tzdir);
    tcase_add_test(tc, a_missing_zone_is_named_with_its_folder);
    tcase_add_test(tc, pipes_folders_and_large_files_are_no_zones);
    tcase_add_test(tc, short_memory_is_told);
    tcase_add_test(tc, a_read_that_fails_is_told_and_one_that_is_interrupted_goes_on);
    tcase_add_test(tc, a_folder_with_too_long_a_name_is_an_error);
    tcase_add_test(tc, a_file_cut_anywhere_is_refused);
    tcase_add_test(tc, a_file_of_version_1_has_times_of_4_bytes_and_no_rule);
    tcase_add_test(tc, a_rule_begins_with_the_last_transition);
    tcase_add_loop_test(tc, damage_is_found, 0, sizeof(damages) / sizeof(damages[0]));
    tcase_add_test(tc, counts_that_do_not_fit_are_found);
    tcase_add_test(tc, two_transitions_at_once_are_refused);
    tcase_add_test(tc, more_transitions_than_any_zone_has_are_refused);
    tcase_add_test(tc, three_times_for_one_local_time_are_two);
    tcase_add_test(tc, times_at_the_ends_do_no_harm);
    tcase_add_test(tc, a_transition_is_at_2_to_the_59_or_before);
    tcase_add_loop_test(tc, a_rule_gives_its_offset, 0, sizeof(rules) / sizeof(rules[0]));
    tcase_add_loop_test(tc, what_is_no_rule_is_refused, 0, sizeof(bad_rules) / sizeof(bad_rules[0]));
    tcase_add_test(tc, the_next_turn_is_found);
    tcase_add_test(tc, the_next_turn_may_be_one_of_the_years_beside);
    tcase_add_test(tc, gap_and_overlap_in_berlin);
    suite_add_tcase(s, tc);
    TCase *beside = tcase_create("beside Python");
    tcase_set_timeout(beside, 300);
    tcase_add_test(beside, all_zones_are_as_python_reads_them);
    suite_add_tcase(s, beside);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(zone_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
