#include "queue/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STAT_BYTES = 1024, STATE_FIELD = 3, START_FIELD = 22 };

/* The file's text, without what does not fit. Returns: false when it cannot be read. */
static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The field of a line of /proc/PID/stat, from STATE_FIELD on. The name before these is in brackets, and may
 * hold spaces and brackets itself. */
static const char *field(const char *line, int number)
{
    const char *at = strrchr(line, ')');
    for (int i = STATE_FIELD - 1; at && i < number; i++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return at;
}

/* Returns: the moment of its start, 0 when it is not known; `ret_ended` of one that waits for its parent. */
static int64_t start_of(int64_t pid, bool *ret_ended)
{
    char path[64], line[STAT_BYTES];
    snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
    *ret_ended = false;
    if (!read_text(path, line, sizeof(line)))
        return 0;
    const char *state = field(line, STATE_FIELD), *start = field(line, START_FIELD);
    *ret_ended = state && strchr("ZXx", *state);
    return start ? strtoll(start, NULL, 10) : 0;
}

void holder_self(holder *ret)
{
    struct stat space;
    bool ended;
    char boot[48];
    *ret = (holder){.pid = getpid()};
    ret->start = start_of(ret->pid, &ended);
    if (!read_text("/proc/sys/kernel/random/boot_id", boot, sizeof(boot)) ||
        stat("/proc/self/ns/pid", &space))
        return;
    boot[strcspn(boot, "\n")] = '\0';
    snprintf(ret->place, sizeof(ret->place), "%s %llu", boot, (unsigned long long)space.st_ino);
}

holder_state holder_look(const holder *h, const holder *self)
{
    if (!h->place[0] || !self->place[0] || !h->start)
        return HOLDER_LIVES;
    size_t boot = strcspn(self->place, " ");
    if (strncmp(h->place, self->place, boot + 1) != 0)
        return HOLDER_ELSEWHERE;
    if (strcmp(h->place, self->place) != 0)
        return HOLDER_LIVES;
    /* /proc may hide the processes of others; a signal says at least that there is one. */
    if (kill((pid_t)h->pid, 0) < 0 && errno == ESRCH)
        return HOLDER_GONE;
    bool ended;
    int64_t start = start_of(h->pid, &ended);
    return ended || (start && start != h->start) ? HOLDER_GONE : HOLDER_LIVES;
}
