#include "api/options.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/error.h"
#include "api/nearest.h"
#include "api/option_value.h"
#include "runtime/trust.h"

/* A preset as text: numbers are spelled by the preprocessor, the others are text. */
#define PRESET_INT(preset)     #preset
#define PRESET_SIZE(preset)    #preset
#define PRESET_SECONDS(preset) #preset
#define PRESET_BOOL(preset)    ((preset) ? "on" : "off")
#define PRESET_TEXT(preset)    preset
#define PRESET_CHOICE(preset)  preset

static const ps_option_info list[] = {
#define X(kind, field, flag, preset, argument, help)                                                         \
    {PS_##kind, #field, flag, PRESET_##kind(preset), argument, help},
    PS_OPTION_MAP(X)
#undef X
};

static const size_t offsets[] = {
#define X(kind, field, flag, preset, argument, help) offsetof(ps_options, field),
    PS_OPTION_MAP(X)
#undef X
};

enum { COUNT = sizeof list / sizeof *list, NAME_BYTES = 64 };

static_assert((int)COUNT <= 64, "ps_options.given has a bit for each option");

void ps_options_init(ps_options *opt)
{
    *opt = (ps_options){.size = sizeof *opt,
#define X(kind, field, flag, preset, argument, help) .field = preset,
                        PS_OPTION_MAP(X)
#undef X
    };
}

const ps_option_info *ps_option_list(size_t *ret_n)
{
    *ret_n = COUNT;
    return list;
}

const char *ps_version(void)
{
    return POOLSRV_VERSION;
}

/* --- one option --- */

static bool is_text(size_t i)
{
    return list[i].kind == PS_TEXT || list[i].kind == PS_CHOICE;
}

static option_value load(const ps_options *opt, size_t i)
{
    const char *from = (const char *)opt + offsets[i];
    option_value value = {0};
    if (is_text(i))
        memcpy(&value.text, from, sizeof value.text);
    else if (list[i].kind == PS_SIZE)
        memcpy(&value.bytes, from, sizeof value.bytes);
    else if (list[i].kind == PS_SECONDS)
        memcpy(&value.seconds, from, sizeof value.seconds);
    else
        memcpy(&value.number, from, sizeof value.number);
    return value;
}

static void store(ps_options *opt, size_t i, option_value value)
{
    char *to = (char *)opt + offsets[i];
    if (is_text(i))
        memcpy(to, &value.text, sizeof value.text);
    else if (list[i].kind == PS_SIZE)
        memcpy(to, &value.bytes, sizeof value.bytes);
    else if (list[i].kind == PS_SECONDS)
        memcpy(to, &value.seconds, sizeof value.seconds);
    else
        memcpy(to, &value.number, sizeof value.number);
}

static bool is_given(const ps_options *opt, size_t i)
{
    return opt->given >> i & 1;
}

/* `what` is how the value was given, "--port 70000". */
static int not_good(size_t i, const char *what, ps_error *err)
{
    char expected[OPTION_VALUE_BYTES];
    option_value_expected(&list[i], expected);
    return error_set(err, PS_EINVAL, "%s: expected %s", what, expected);
}

static int read_value(size_t i, const char *text, const char *what, option_value *ret, ps_error *err)
{
    if (option_value_read(&list[i], text, ret) != 0 || !option_value_good(&list[i], *ret))
        return not_good(i, what, err);
    return 0;
}

/* Set the option from text, and mark it. */
static int give(ps_options *opt, size_t i, const char *text, const char *what, ps_error *err)
{
    option_value value;
    int code = read_value(i, text, what, &value, err);
    if (code == 0) {
        store(opt, i, value);
        opt->given |= UINT64_C(1) << i;
    }
    return code;
}

/* --- by name --- */

static size_t find_field(const char *name)
{
    size_t i = 0;
    while (i < COUNT && strcmp(list[i].field, name) != 0)
        i++;
    return i;
}

static size_t find_flag(const char *name)
{
    size_t i = 0;
    while (i < COUNT && strcmp(list[i].flag, name) != 0)
        i++;
    return i;
}

/* The option whose flag is most like `name`, or COUNT. Fields differ from flags by a stroke at most. */
static size_t find_similar(const char *name)
{
    size_t best = COUNT, best_distance = nearest_limit(name) + 1;
    for (size_t i = 0; i < COUNT; i++) {
        size_t distance = nearest_distance(list[i].flag, name);
        if (distance < best_distance) {
            best_distance = distance;
            best = i;
        }
    }
    return best;
}

static int unknown_flag(const char *name, ps_error *err)
{
    size_t i = find_similar(name);
    if (i == COUNT)
        return error_set(err, PS_EINVAL, "unknown option --%.200s", name);
    return error_set(err, PS_EINVAL, "unknown option --%.200s; did you mean --%s?", name, list[i].flag);
}

static int unknown_field(const char *name, ps_error *err)
{
    size_t i = find_similar(name);
    if (i == COUNT)
        return error_set(err, PS_EINVAL, "no option is called %.200s", name);
    return error_set(err, PS_EINVAL, "no option is called %.200s; did you mean %s?", name, list[i].field);
}

int ps_option_set(ps_options *opt, const char *name, const char *value, ps_error *err)
{
    size_t i = find_flag(name);
    if (i == COUNT)
        i = find_field(name);
    if (i == COUNT)
        return unknown_flag(name, err);
    char what[OPTION_VALUE_BYTES];
    snprintf(what, sizeof what, "--%s %s", list[i].flag, value ? value : "without a value");
    return value ? give(opt, i, value, what, err) : not_good(i, what, err);
}

/* --- the environment --- */

/* "max-body" as "POOLSRV_MAX_BODY". Not by toupper, which in a Turkish locale leaves the i as it is. */
static void name_variable(const char *flag, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "POOLSRV_%s", flag);
    for (char *p = out; *p; p++)
        *p = *p == '-' ? '_' : *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
}

/* An empty variable is one that is not set, as a shell's `VAR= command` means it. */
static int set_from_variable(ps_options *opt, size_t i, ps_error *err)
{
    char name[NAME_BYTES];
    name_variable(list[i].flag, name);
    const char *text = getenv(name);
    if (!text || *text == '\0')
        return 0;
    char what[OPTION_VALUE_BYTES];
    snprintf(what, sizeof what, "%s=%s", name, text);
    return give(opt, i, text, what, err);
}

int ps_options_from_environment(ps_options *opt, ps_error *err)
{
    int code = 0;
    for (size_t i = 0; i < COUNT && code == 0; i++) {
        if (!is_given(opt, i))
            code = set_from_variable(opt, i, err);
    }
    return code;
}

/* --- a server's own --- */

int options_check(const ps_options *opt, ps_error *err)
{
    if (opt->size != sizeof *opt)
        return error_set(err, PS_EINVAL, "the options are not those of version %s: call ps_options_init",
                         ps_version());
    for (size_t i = 0; i < COUNT; i++) {
        if (!option_value_good(&list[i], load(opt, i))) {
            char text[OPTION_VALUE_BYTES], what[OPTION_VALUE_BYTES + NAME_BYTES];
            option_value_write(&list[i], load(opt, i), text);
            snprintf(what, sizeof what, "%s = %s", list[i].field, text);
            return not_good(i, what, err);
        }
    }
    if (opt->max_heavy && opt->heavy_threads > opt->max_heavy)
        return error_set(err, PS_EINVAL, "max_heavy = %d: expected at least heavy_threads, which is %d",
                         opt->max_heavy, opt->heavy_threads);
    trust trusted;
    if (opt->trust_proxy && trust_parse(str_from(opt->trust_proxy), &trusted) < 0)
        return error_set(
            err, PS_EINVAL,
            "trust_proxy = %.200s: expected at most %d blocks of addresses without bits behind their "
            "prefix, or unix, such as 10.0.0.0/8,fd00::/8,unix",
            opt->trust_proxy, TRUST_BLOCKS_MAX);
    return 0;
}

/* Put a copy of the text into *own. */
static int store_copy(ps_options *own, size_t i, const char *text, ps_error *err)
{
    option_value copy = {.text = NULL};
    if (text) {
        copy.text = strdup(text);
        if (!copy.text)
            return error_set(err, PS_ENOMEM, "%s", ps_strerror(PS_ENOMEM));
    }
    store(own, i, copy);
    return 0;
}

int options_copy(const ps_options *opt, ps_options *ret_own, ps_error *err)
{
    int code = options_check(opt, err);
    if (code != 0)
        return code;
    ps_options own = *opt;
    for (size_t i = 0; i < COUNT; i++) {
        if (is_text(i))
            store(&own, i, (option_value){.text = NULL});
    }
    for (size_t i = 0; i < COUNT && code == 0; i++) {
        if (is_text(i))
            code = store_copy(&own, i, load(opt, i).text, err);
    }
    if (code == 0)
        *ret_own = own;
    else
        options_fini(&own);
    return code;
}

static void free_text(ps_options *own, size_t i)
{
    free((void *)(uintptr_t)load(own, i).text);
    store(own, i, (option_value){.text = NULL});
}

void options_fini(ps_options *own)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (is_text(i))
            free_text(own, i);
    }
}

int options_config(ps_options *own, const char *field, const char *value, ps_error *err)
{
    size_t i = find_field(field);
    if (i == COUNT)
        return unknown_field(field, err);
    char what[OPTION_VALUE_BYTES];
    option_value parsed = {0};
    snprintf(what, sizeof what, value ? "%s = %s" : "%s", field, value);
    int code = value ? read_value(i, value, what, &parsed, err) : not_good(i, what, err);
    if (code != 0 || is_given(own, i))
        return code;
    if (!is_text(i)) {
        store(own, i, parsed);
        return 0;
    }
    option_value old = load(own, i);
    code = store_copy(own, i, parsed.text, err);
    if (code == 0)
        free((void *)(uintptr_t)old.text);
    return code;
}

bool options_access_log(const ps_options *opt)
{
    return opt->access_log || (opt->dev && !is_given(opt, find_field("access_log")));
}
