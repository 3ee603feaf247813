#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/zone_internal.h"

/* tzdata's largest has under 4 KiB. */
enum { FILE_BYTES_MAX = 64 << 10, NAME_BYTES_MAX = 128, PATH_BYTES = 4096 };

static const char default_folder[] = "/usr/share/zoneinfo";

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_+-", c));
}

/* Parts of letters, digits and "_+-" with single slashes between them: no dots, so nothing above the folder
 * has a name. */
static bool is_name(str name)
{
    char before = '/';
    if (name.n > NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '/' ? before == '/' : !is_name_byte(name.p[i]))
            return false;
        before = name.p[i];
    }
    return before != '/';
}

static int fail_name(str name, char *error, size_t size)
{
    char shown[NAME_BYTES_MAX + 1];
    size_t n = name.n < NAME_BYTES_MAX ? name.n : NAME_BYTES_MAX;
    for (size_t i = 0; i < n; i++)
        shown[i] = name.p[i] >= ' ' && name.p[i] <= '~' ? name.p[i] : '?';
    shown[n] = '\0';
    snprintf(error, size, "\"%s\" is no name of a time zone: they are like \"Europe/Berlin\" or \"UTC\"",
             shown);
    return -EINVAL;
}

static int fail_open(str name, const char *folder, int err, char *error, size_t size)
{
    if (err != ENOENT && err != ENOTDIR)
        snprintf(error, size, "time zone \"%.*s\": %s/%.*s: %s", (int)name.n, name.p, folder, (int)name.n,
                 name.p, strerror(err));
    else if (access(folder, X_OK) != 0)
        snprintf(error, size,
                 "time zone \"%.*s\": there are no time zones in %s: install tzdata, or set TZDIR",
                 (int)name.n, name.p, folder);
    else
        snprintf(error, size, "there is no time zone \"%.*s\" in %s", (int)name.n, name.p, folder);
    return err == ENOTDIR ? -ENOENT : -err;
}

/* Returns: how many bytes were read, or -errno. */
static ssize_t read_all(int fd, char *bytes, size_t room)
{
    size_t n = 0;
    while (n < room) {
        ssize_t got = read(fd, bytes + n, room - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

/* Without waiting, if somebody has put a pipe there. Returns: a descriptor, or -errno. */
static int open_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    struct stat info;
    int err = fstat(fd, &info) < 0 ? -errno : S_ISDIR(info.st_mode) ? -ENOENT : 0;
    if (err == 0 && (!S_ISREG(info.st_mode) || info.st_size > FILE_BYTES_MAX))
        err = -EINVAL;
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

static int read_file(const char *path, char *bytes, size_t *ret_n)
{
    int fd = open_file(path);
    if (fd < 0)
        return fd;
    ssize_t n = read_all(fd, bytes, FILE_BYTES_MAX);
    close(fd);
    if (n < 0)
        return (int)n;
    *ret_n = (size_t)n;
    return 0;
}

static int make_utc(zone **ret_zone, char *error, size_t size)
{
    zone *z = calloc(1, sizeof(*z));
    if (!z) {
        snprintf(error, size, "time zone \"UTC\": there is no memory for it");
        return -ENOMEM;
    }
    *ret_zone = z;
    return 0;
}

static int parse_file(str name, const char *path, str bytes, zone **ret_zone, char *error, size_t size)
{
    char why[128];
    int err = zone_parse(bytes, ret_zone, why, sizeof(why));
    if (err < 0)
        snprintf(error, size, "time zone \"%.*s\": %s is no file of a time zone: %s", (int)name.n, name.p,
                 path, why);
    return err;
}

int zone_load(str name, zone **ret_zone, char *error, size_t size)
{
    if (str_eq(name, STR("UTC")))
        return make_utc(ret_zone, error, size);
    if (!is_name(name))
        return fail_name(name, error, size);
    const char *folder = getenv("TZDIR");
    if (!folder || folder[0] == '\0')
        folder = default_folder;
    char path[PATH_BYTES];
    int length = snprintf(path, sizeof(path), "%s/%.*s", folder, (int)name.n, name.p);
    if (length >= (int)sizeof(path))
        return fail_open(name, folder, ENAMETOOLONG, error, size);
    char *bytes = malloc(FILE_BYTES_MAX);
    size_t n = 0;
    int err = bytes ? read_file(path, bytes, &n) : -ENOMEM;
    if (err < 0)
        err = fail_open(name, folder, -err, error, size);
    else
        err = parse_file(name, path, (str){bytes, n}, ret_zone, error, size);
    free(bytes);
    return err;
}
