#include "api/notify.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FDS_MAX = 253 /* in one message: SCM_MAX_FD of unix(7) */ };

static bool address_of(struct sockaddr_un *address, socklen_t *ret_bytes)
{
    const char *path = getenv("NOTIFY_SOCKET");
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(address->sun_path))
        return false;
    size_t n = strlen(path);
    memcpy(address->sun_path, path, n);
    if (path[0] == '@')
        address->sun_path[0] = '\0'; /* the abstract namespace */
    *ret_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    return true;
}

static void send_with(const char *state, const int *fds, size_t n)
{
    struct sockaddr_un address;
    socklen_t bytes;
    if (!address_of(&address, &bytes))
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control = {.room = {0}};
    struct iovec text = {(char *)(uintptr_t)state, strlen(state)};
    struct msghdr message = {.msg_name = &address, .msg_namelen = bytes, .msg_iov = &text, .msg_iovlen = 1};
    if (n > 0) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n);
        struct cmsghdr *c = &control.head; /* the first one: CMSG_FIRSTHDR */
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
    }
    sendmsg(fd, &message, MSG_NOSIGNAL);
    close(fd);
}

void notify_service_manager(const char *state)
{
    send_with(state, NULL, 0);
}

void notify_keep(const int *fds, size_t n, const char *name)
{
    char state[64];
    snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=%s", name);
    for (size_t done = 0; done < n; done += FDS_MAX)
        send_with(state, fds + done, n - done < FDS_MAX ? n - done : FDS_MAX);
}
