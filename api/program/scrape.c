#include "api/program/scrape.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct scrape {
    char *text; /* names and values point into it */
    scrape_sample *samples;
    scrape_label *labels;
    size_t count, label_count;
};

static int fail(ps_error *err, int code, const char *address, const char *why)
{
    if (err) {
        err->code = code;
        snprintf(err->message, sizeof err->message, "%.200s: %.600s", address, why);
    }
    return code;
}

/* --- the text format --- */

/* Where reading stands. The text is closed by a NUL, which no rule below steps over. */
typedef struct reader {
    scrape *out;
    char *p;
} reader;

static bool is_name_start(char c)
{
    return isalpha((unsigned char)c) || c == '_' || c == ':';
}

static void skip_blanks(reader *r)
{
    while (*r->p == ' ' || *r->p == '\t')
        r->p++;
}

/* The name that begins here, or NULL. It is not closed yet: *ret_end is where that NUL belongs. */
static const char *read_name(reader *r, char **ret_end)
{
    const char *name = r->p;
    if (!is_name_start(*r->p))
        return NULL;
    while (is_name_start(*r->p) || isdigit((unsigned char)*r->p))
        r->p++;
    *ret_end = r->p;
    return name;
}

/* Put '?' for control characters, those that UTF-8 writes as 0xc2 0x80-0x9f included. */
static void make_printable(char *text)
{
    char *out = text;
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p, next = (unsigned char)p[1];
        bool is_c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;
        *out++ = c < 0x20 || c == 0x7f || is_c1 ? '?' : *p;
        p += is_c1;
    }
    *out = '\0';
}

/* A value between quotes, unescaped where it stands: it only gets shorter. NULL when it does not end. */
static const char *read_quoted(reader *r)
{
    if (*r->p != '"')
        return NULL;
    char *value = ++r->p, *end = value;
    while (*r->p != '"') {
        bool escape = *r->p == '\\';
        r->p += escape;
        if (*r->p == '\n' || *r->p == '\0')
            return NULL;
        *end++ = escape && *r->p == 'n' ? '\n' : *r->p;
        r->p++;
    }
    r->p++;
    *end = '\0';
    make_printable(value);
    return value;
}

static bool read_label(reader *r)
{
    char *end;
    scrape_label *label = &r->out->labels[r->out->label_count];
    label->name = read_name(r, &end);
    if (!label->name)
        return false;
    skip_blanks(r);
    if (*r->p++ != '=')
        return false;
    skip_blanks(r);
    *end = '\0';
    label->value = read_quoted(r);
    if (!label->value)
        return false;
    r->out->label_count++;
    skip_blanks(r);
    return true;
}

/* Behind "{": labels with commas between them, and one behind the last if it likes. */
static bool read_labels(reader *r)
{
    skip_blanks(r);
    while (*r->p != '}') {
        if (!read_label(r))
            return false;
        if (*r->p == ',')
            r->p++;
        else if (*r->p != '}')
            return false;
        skip_blanks(r);
    }
    r->p++;
    return true;
}

/* The value, and a time that nobody asked for. strtod knows +Inf and NaN; a blank in front would let it go to
 * the next line. */
static bool read_value(reader *r, double *ret)
{
    char *end;
    skip_blanks(r);
    if (isspace((unsigned char)*r->p))
        return false;
    *ret = strtod(r->p, &end);
    if (end == r->p)
        return false;
    r->p = end;
    skip_blanks(r);
    if (*r->p == '-' || isdigit((unsigned char)*r->p))
        while (*r->p == '-' || isdigit((unsigned char)*r->p))
            r->p++;
    skip_blanks(r);
    return *r->p == '\n' || *r->p == '\0';
}

static bool read_sample(reader *r)
{
    scrape *s = r->out;
    scrape_sample *sample = &s->samples[s->count];
    size_t labels_before = s->label_count;
    char *end;
    sample->name = read_name(r, &end);
    if (!sample->name)
        return false;
    skip_blanks(r);
    if (*r->p == '{') {
        r->p++;
        if (!read_labels(r))
            return false;
    } else if (r->p == end) {
        return false;
    }
    if (!read_value(r, &sample->value))
        return false;
    *end = '\0'; /* it may have stood where the labels or the blank began: those are read */
    sample->labels = s->labels + labels_before;
    sample->label_count = s->label_count - labels_before;
    s->count++;
    return true;
}

static bool read_line(reader *r)
{
    skip_blanks(r);
    if (*r->p == '#')
        r->p += strcspn(r->p, "\n");
    return *r->p == '\n' || *r->p == '\0' || read_sample(r);
}

/* Room for as many samples as there are lines, and as many labels as there are '='. */
static bool make_room(scrape *s, size_t n)
{
    size_t lines = 1, equals = 0;
    for (size_t i = 0; i < n; i++) {
        lines += s->text[i] == '\n';
        equals += s->text[i] == '=';
    }
    s->samples = calloc(lines, sizeof *s->samples);
    s->labels = calloc(equals + 1, sizeof *s->labels); /* one is written to before its '=' is found missing */
    return s->samples && s->labels;
}

static scrape *scrape_new(const char *text, size_t n)
{
    scrape *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->text = malloc(n + 1);
    if (s->text) {
        if (n)
            memcpy(s->text, text, n);
        s->text[n] = '\0';
        if (make_room(s, n))
            return s;
    }
    scrape_free(s);
    return NULL;
}

static int fail_line(ps_error *err, size_t line, const char *why)
{
    char text[80];
    snprintf(text, sizeof text, "line %zu %s", line, why);
    return fail(err, PS_ESYSTEM, "metrics", text);
}

int scrape_parse(const char *text, size_t n, scrape **ret, ps_error *err)
{
    if (n > SCRAPE_BYTES_MAX)
        return fail(err, PS_ESYSTEM, "metrics", "too long");
    scrape *s = scrape_new(text, n);
    if (!s)
        return fail(err, PS_ENOMEM, "metrics", ps_strerror(PS_ENOMEM));
    reader r = {s, s->text};
    for (size_t line = 1;; line++) {
        bool good = read_line(&r);
        bool at_end = good && r.p == s->text + n;
        if (!good || (*r.p == '\0' && !at_end)) {
            scrape_free(s);
            return fail_line(err, line, "is not in Prometheus's text format");
        }
        if (at_end)
            break;
        r.p++;
    }
    *ret = s;
    return 0;
}

void scrape_free(scrape *s)
{
    if (!s)
        return;
    free(s->labels);
    free(s->samples);
    free(s->text);
    free(s);
}

size_t scrape_count(const scrape *s)
{
    return s->count;
}

const scrape_sample *scrape_at(const scrape *s, size_t i)
{
    return &s->samples[i];
}

const char *scrape_label_value(const scrape_sample *sample, const char *name)
{
    for (size_t i = 0; i < sample->label_count; i++)
        if (strcmp(sample->labels[i].name, name) == 0)
            return sample->labels[i].value;
    return "";
}

int scrape_is(const scrape_sample *sample, const char *name)
{
    return strcmp(sample->name, name) == 0;
}

/* --- the address --- */

typedef struct target {
    const char *address; /* as it was given */
    char host[256], port[8], path[512];
} target;

static bool copy(char *out, size_t size, const char *p, size_t n)
{
    if (n >= size)
        return false;
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

static bool is_port(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);
    return isdigit((unsigned char)text[0]) && *end == '\0' && port > 0 && port < 65536;
}

/* "HOST:PORT", where an IPv6 address stands in brackets. */
static bool split_host(target *t, const char *p, size_t n)
{
    const char *colon = memrchr(p, ':', n);
    if (!colon || !copy(t->port, sizeof t->port, colon + 1, (size_t)(p + n - colon) - 1) || !is_port(t->port))
        return false;
    size_t host = (size_t)(colon - p);
    if (host >= 2 && p[0] == '[' && p[host - 1] == ']')
        return copy(t->host, sizeof t->host, p + 1, host - 2);
    return host > 0 && !memchr(p, ':', host) && copy(t->host, sizeof t->host, p, host);
}

/* What goes into the request line: no blanks, nothing that would end the line. */
static bool is_path(const char *p)
{
    for (; *p; p++)
        if (*p <= ' ' || *p == 0x7f)
            return false;
    return true;
}

static int read_address(target *t, const char *address, ps_error *err)
{
    static const char wanted[] = "is no admin address; HOST:PORT or http://HOST:PORT is wanted";
    const char *p = address;
    t->address = address;
    if (strncmp(p, "https://", 8) == 0)
        return fail(err, PS_EINVAL, address, "the admin address speaks http, not https");
    if (strncmp(p, "http://", 7) == 0)
        p += 7;
    size_t n = strcspn(p, "/?#");
    const char *path = p[n] == '\0' || strcmp(p + n, "/") == 0 ? "/metrics" : p + n;
    if (!split_host(t, p, n) || path[0] != '/' || !is_path(path) ||
        !copy(t->path, sizeof t->path, path, strlen(path)))
        return fail(err, PS_EINVAL, address, wanted);
    return 0;
}

/* --- the exchange --- */

typedef struct bytes {
    char *p;
    size_t n, cap;
} bytes;

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait until the socket is ready for `events`. Returns: 0, or -1 with errno. */
static int wait_for(int fd, short events, long long deadline_ms)
{
    for (;;) {
        long long left = deadline_ms - now_ms();
        struct pollfd one = {.fd = fd, .events = events};
        int n = left > 0 ? poll(&one, 1, (int)left) : 0;
        if (n > 0)
            return 0;
        if (n == 0)
            errno = ETIMEDOUT;
        if (n == 0 || errno != EINTR)
            return -1;
    }
}

/* Returns: a connected socket that does not block, or -1 with errno. */
static int connect_one(const struct addrinfo *at, long long deadline_ms)
{
    int problem = 0;
    socklen_t size = sizeof problem;
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol);
    if (fd < 0)
        return -1;
    if (connect(fd, at->ai_addr, at->ai_addrlen) == 0)
        return fd;
    if (errno == EINPROGRESS && wait_for(fd, POLLOUT, deadline_ms) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) == 0) {
        if (problem == 0)
            return fd;
        errno = problem;
    }
    problem = errno;
    close(fd);
    errno = problem;
    return -1;
}

static int connect_to(const target *t, long long deadline_ms, int *ret_fd, ps_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    int fd = -1, code = getaddrinfo(t->host, t->port, &hints, &list);
    if (code != 0)
        return fail(err, PS_ESYSTEM, t->address, gai_strerror(code));
    for (const struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
        fd = connect_one(at, deadline_ms);
    freeaddrinfo(list);
    if (fd < 0)
        return fail(err, PS_ESYSTEM, t->address, strerror(errno));
    *ret_fd = fd;
    return 0;
}

static int send_all(int fd, const char *p, size_t n, long long deadline_ms)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        } else if (errno != EINTR && (errno != EAGAIN || wait_for(fd, POLLOUT, deadline_ms) < 0)) {
            return -1;
        }
    }
    return 0;
}

static int make_more_room(bytes *b)
{
    size_t cap = b->cap ? b->cap * 2 : 65536;
    char *more = realloc(b->p, cap);
    if (!more)
        return -1;
    b->p = more;
    b->cap = cap;
    return 0;
}

/* Read until the other side closes. Returns: 0, or -1 with errno; EFBIG when it does not end. */
static int receive_all(int fd, bytes *b, long long deadline_ms)
{
    for (;;) {
        if (b->n == b->cap && make_more_room(b) < 0)
            return -1;
        ssize_t n = recv(fd, b->p + b->n, b->cap - b->n, 0);
        if (n == 0)
            return 0;
        if (n > 0)
            b->n += (size_t)n;
        else if (errno != EINTR && (errno != EAGAIN || wait_for(fd, POLLIN, deadline_ms) < 0))
            return -1;
        if (b->n > SCRAPE_BYTES_MAX) {
            errno = EFBIG;
            return -1;
        }
    }
}

/* HTTP/1.0, so that the body ends with the connection and comes in one piece. */
static int exchange(const target *t, int fd, bytes *b, long long deadline_ms, ps_error *err)
{
    char request[1024];
    bool v6 = strchr(t->host, ':') != NULL;
    int n =
        snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: %s%s%s:%s\r\nConnection: close\r\n\r\n",
                 t->path, v6 ? "[" : "", t->host, v6 ? "]" : "", t->port);
    if (send_all(fd, request, (size_t)n, deadline_ms) == 0 && receive_all(fd, b, deadline_ms) == 0)
        return 0;
    return fail(err, PS_ESYSTEM, t->address, errno == EFBIG ? "the reply does not end" : strerror(errno));
}

/* The length that the head announces, or -1. The head is closed by NUL. */
static long long content_length(const char *head)
{
    for (const char *line = head; (line = strchr(line, '\n')) != NULL;) {
        line++;
        if (strncasecmp(line, "content-length:", 15) == 0)
            return strtoll(line + 15, NULL, 10);
    }
    return -1;
}

/* Split head and body; the body is what is left in *b. */
static int check_reply(const target *t, bytes *b, size_t *ret_head, ps_error *err)
{
    char why[128];
    char *end = b->n ? memmem(b->p, b->n, "\r\n\r\n", 4) : NULL;
    if (!end || b->n < 12 || strncmp(b->p, "HTTP/1.", 7) != 0)
        return fail(err, PS_ESYSTEM, t->address, "the reply is not HTTP");
    end[2] = '\0';
    *ret_head = (size_t)(end - b->p) + 4;
    long status = strtol(b->p + 8, NULL, 10);
    if (status != 200) {
        snprintf(why, sizeof why, "the reply to GET %.40s is %ld: is this the address of --admin?", t->path,
                 status);
        return fail(err, PS_ESYSTEM, t->address, why);
    }
    long long length = content_length(b->p);
    if (length >= 0 && (unsigned long long)length != b->n - *ret_head)
        return fail(err, PS_ESYSTEM, t->address, "the reply was cut off");
    return 0;
}

/* Say whose metrics they are. */
static int parse_reply(const target *t, const bytes *b, size_t head, scrape **ret, ps_error *err)
{
    ps_error why = {0};
    int code = scrape_parse(b->p + head, b->n - head, ret, &why);
    return code == 0 ? 0 : fail(err, code, t->address, why.message);
}

int scrape_get(const char *address, int timeout_ms, scrape **ret, ps_error *err)
{
    target t;
    bytes b = {0};
    int fd = -1;
    size_t head = 0;
    long long deadline_ms = now_ms() + timeout_ms;
    int code = read_address(&t, address, err);
    if (code == 0)
        code = connect_to(&t, deadline_ms, &fd, err);
    if (code == 0)
        code = exchange(&t, fd, &b, deadline_ms, err);
    if (code == 0)
        code = check_reply(&t, &b, &head, err);
    if (code == 0)
        code = parse_reply(&t, &b, head, ret, err);
    if (fd >= 0)
        close(fd);
    free(b.p);
    return code;
}
