/* manual TEMPLATE OUTPUT: fill in what a manual page or a shell's completion says about the options.
 *
 * Run at build time, so that the list of options is written down once, in the public header. A template is
 * copied line by line; a line that is one of the marks below becomes what its writer makes of the list, and
 * @VERSION@ inside a line becomes the version. */
#include "api/poolsrv.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A hyphen that is to be typed, and a backslash, are special in a manual page. */
static void put_roff(FILE *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '-')
            fputs("\\-", out);
        else if (*p == '\\')
            fputs("\\e", out);
        else
            fputc(*p, out);
    }
}

static void put_variable(FILE *out, const char *flag)
{
    fputs("POOLSRV_", out);
    for (const char *p = flag; *p; p++)
        fputc(*p == '-' ? '_' : toupper((unsigned char)*p), out);
}

static void write_man_options(FILE *out, const ps_option_info *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fputs(".TP\n\\fB\\-\\-", out);
        put_roff(out, list[i].flag);
        fputs("\\fR", out);
        if (list[i].argument)
            fprintf(out, " \\fI%s\\fR", list[i].argument);
        fputc('\n', out);
        put_roff(out, list[i].help);
        if (list[i].preset)
            fprintf(out, ".\nDefault: %s", list[i].preset);
        fputs(".\n", out);
    }
}

static void write_man_variables(FILE *out, const ps_option_info *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fputs(".B ", out);
        put_variable(out, list[i].flag);
        fputs(i + 1 < n ? "\n.br\n" : "\n", out);
    }
}

/* A branch of a `case` for each option that has words to choose from. */
static void write_bash_choices(FILE *out, const ps_option_info *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].kind != PS_CHOICE)
            continue;
        fprintf(out, "        --%s) words='", list[i].flag);
        for (const char *p = list[i].argument; *p; p++)
            fputc(*p == '|' ? ' ' : *p, out);
        fputs("' ;;\n", out);
    }
}

/* The options whose values cannot be foretold, as one pattern of a `case`. */
static void write_bash_values(FILE *out, const ps_option_info *list, size_t n)
{
    const char *between = "        ";
    for (size_t i = 0; i < n; i++) {
        if (list[i].kind == PS_BOOL || list[i].kind == PS_CHOICE || strcmp(list[i].flag, "unix") == 0)
            continue;
        fprintf(out, "%s--%s", between, list[i].flag);
        between = "|";
    }
    fputs(") return ;;\n", out);
}

static void write_bash_flags(FILE *out, const ps_option_info *list, size_t n)
{
    fputs("            words='--help --version --supervise", out);
    for (size_t i = 0; i < n; i++)
        fprintf(out, list[i].kind == PS_BOOL ? " --%s --no-%s" : " --%s", list[i].flag, list[i].flag);
    fputs("' ;;\n", out);
}

static const struct {
    const char *mark;
    void (*write)(FILE *out, const ps_option_info *list, size_t n);
} writers[] = {
    {"@MAN_OPTIONS@\n", write_man_options},   {"@MAN_VARIABLES@\n", write_man_variables},
    {"@BASH_CHOICES@\n", write_bash_choices}, {"@BASH_VALUES@\n", write_bash_values},
    {"@BASH_FLAGS@\n", write_bash_flags},
};

static void write_line(FILE *out, const char *line)
{
    static const char version[] = "@VERSION@";
    size_t n = 0;
    const ps_option_info *list = ps_option_list(&n);
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
        if (strcmp(line, writers[i].mark) == 0) {
            writers[i].write(out, list, n);
            return;
        }
    }
    const char *at = strstr(line, version);
    if (at)
        fprintf(out, "%.*s%s%s", (int)(at - line), line, ps_version(), at + sizeof version - 1);
    else
        fputs(line, out);
}

static int fail(const char *path)
{
    fprintf(stderr, "manual: %s: %s\n", path, strerror(errno));
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    char line[1024];
    if (argc != 3) {
        fputs("usage: manual TEMPLATE OUTPUT\n", stderr);
        return EXIT_FAILURE;
    }
    FILE *in = fopen(argv[1], "r");
    if (!in)
        return fail(argv[1]);
    FILE *out = fopen(argv[2], "w");
    while (out && fgets(line, sizeof line, in))
        write_line(out, line);
    fclose(in);
    return out && fclose(out) == 0 ? EXIT_SUCCESS : fail(argv[2]);
}
