#include "api/program/top_screen.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <curses.h>

/* What follows an escape may come late over a slow line, and alone an escape means nothing here. */
enum { ESCAPE_WAIT_MS = 200, ALARM_COLOURS = 1 };

/* There is one terminal. */
static SCREEN *screen;
static FILE *out;          /* what ncurses writes to */
static int tty = -1;       /* the terminal, */
static int collected = -1; /* and a file in memory: which of both is behind `out` changes */

/* --- one write a page ---
 *
 * ncurses 6.4 writes out what it has whenever it moves the cursor, dozens of times a page, and a terminal may
 * show each piece. So its descriptor leads into memory while it makes a page, and the page then goes out as
 * one piece. */

static void write_all(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(tty, p, n);
        if (done < 0 && errno != EINTR)
            return; /* the line is cut, which the loop of the keys will see */
        p += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
}

static void send_collected(void)
{
    off_t n = lseek(collected, 0, SEEK_CUR);
    char *p = n > 0 ? mmap(NULL, (size_t)n, PROT_READ, MAP_SHARED, collected, 0) : MAP_FAILED;
    if (p == MAP_FAILED)
        return;
    write_all(p, (size_t)n);
    munmap(p, (size_t)n);
}

static void refresh_at_once(void)
{
    if (lseek(collected, 0, SEEK_SET) < 0 || dup2(collected, fileno(out)) < 0) {
        refresh();
        return;
    }
    refresh();
    dup2(tty, fileno(out));
    send_collected();
}

/* Returns: whether there is all that it takes. */
static bool open_output(void)
{
    int copy = dup(STDOUT_FILENO);
    tty = dup(STDOUT_FILENO);
    collected = memfd_create("page", MFD_CLOEXEC);
    out = copy >= 0 ? fdopen(copy, "w") : NULL;
    if (copy >= 0 && !out)
        close(copy);
    return out && tty >= 0 && collected >= 0;
}

static void close_output(void)
{
    if (out)
        fclose(out);
    close(tty);
    close(collected);
    out = NULL;
    screen = NULL;
}

/* --- taking over, giving back --- */

static void choose_colours(void)
{
    const char *refused = getenv("NO_COLOR");
    if ((refused && *refused) || !has_colors() || start_color() == ERR)
        return;
    use_default_colors();
    init_pair(ALARM_COLOURS, COLOR_RED, -1);
}

/* ncurses puts handlers of its own on some signals, which end the process from inside the handler: the
 * signals are the caller's. */
static SCREEN *new_screen(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
    enum { N = sizeof numbers / sizeof *numbers };
    struct sigaction before[N];
    for (size_t i = 0; i < N; i++)
        sigaction(numbers[i], NULL, &before[i]);
    SCREEN *made = newterm(NULL, out, stdin);
    for (size_t i = 0; i < N; i++)
        sigaction(numbers[i], &before[i], NULL);
    return made;
}

bool top_screen_open(void)
{
    screen = open_output() ? new_screen() : NULL;
    /* A terminal whose cursor cannot be moved shows a page only by printing it. */
    if (!screen || !tigetstr("cup")) {
        top_screen_close();
        close_output();
        return false;
    }
    cbreak();
    noecho();
    nonl();
    curs_set(0);
    leaveok(stdscr, TRUE);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(ESCAPE_WAIT_MS);
    choose_colours();
    return true;
}

void top_screen_close(void)
{
    if (screen && !isendwin())
        endwin();
}

void top_screen_resume(void)
{
    if (!screen)
        return;
    reset_prog_mode();
    clearok(curscr, TRUE);
    top_screen_resize();
    refresh_at_once();
}

void top_screen_resize(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        resize_term(size.ws_row, size.ws_col); /* resizeterm would put a key in front of the user's */
    clearok(curscr, TRUE);
}

void top_screen_size(size_t *ret_width, size_t *ret_height)
{
    *ret_width = COLS > 0 ? (size_t)COLS : 0;
    *ret_height = LINES > 0 ? (size_t)LINES : 0;
}

/* --- pages --- */

static attr_t attributes(top_style style)
{
    switch (style) {
    case TOP_STRONG:
        return A_BOLD;
    case TOP_HEAD:
        return A_REVERSE;
    case TOP_DIM:
        return A_DIM;
    case TOP_ALARM:
        return A_BOLD | A_REVERSE;
    default:
        return A_NORMAL;
    }
}

static short colours(top_style style)
{
    return style == TOP_ALARM ? ALARM_COLOURS : 0;
}

static void show_line(int y, const top_line *line)
{
    attr_set(attributes(line->style), colours(line->style), NULL);
    mvaddstr(y, 0, line->text);
    if (line->mark_columns) {
        attr_t also = line->style == TOP_HEAD ? A_BOLD | A_UNDERLINE : A_BOLD | A_REVERSE;
        mvchgat(y, (int)line->mark_from, (int)line->mark_columns, attributes(line->style) | also,
                line->style == TOP_HEAD ? 0 : ALARM_COLOURS, NULL);
    }
    attr_set(A_NORMAL, 0, NULL);
}

void top_screen_show(const top_page *page)
{
    erase();
    for (size_t i = 0; i < page->count && i < (size_t)LINES; i++)
        show_line((int)i, &page->lines[i]);
    refresh_at_once();
}

/* --- keys --- */

static int named_key(wint_t key)
{
    switch (key) {
    case KEY_UP:
        return TOP_KEY_UP;
    case KEY_DOWN:
        return TOP_KEY_DOWN;
    case KEY_PPAGE:
        return TOP_KEY_PAGE_UP;
    case KEY_NPAGE:
        return TOP_KEY_PAGE_DOWN;
    case KEY_HOME:
        return TOP_KEY_HOME;
    case KEY_END:
        return TOP_KEY_END;
    default:
        return TOP_KEY_OTHER;
    }
}

int top_screen_key(void)
{
    wint_t key;
    switch (get_wch(&key)) {
    case ERR:
        return TOP_KEY_NONE;
    case KEY_CODE_YES:
        return named_key(key);
    default:
        return (int)key;
    }
}
