/* top_screen: pages on a terminal, and keys from it.
 *
 * By ncurses: it knows the terminals there are and what their keys send, it sends only what has changed,
 * which matters over a slow line, and it counts the columns of wide characters as terminals do. A page goes
 * out in one write. Between open and close the terminal is changed; whoever ends the process must close
 * first. There is one terminal, so there is one screen, and no object. Threads: one. */
#ifndef PROGRAM_TOP_SCREEN_H
#define PROGRAM_TOP_SCREEN_H

#include <stdbool.h>

#include "api/program/top_page.h"

/* Keys, as top_screen_key tells them; others are their characters. */
enum top_key {
    TOP_KEY_NONE = -1,
    TOP_KEY_UP = 0x110000, /* behind all characters */
    TOP_KEY_DOWN,
    TOP_KEY_PAGE_UP,
    TOP_KEY_PAGE_DOWN,
    TOP_KEY_HOME,
    TOP_KEY_END,
    TOP_KEY_OTHER
};

/* Take over the terminal at stdin and stdout. Returns: whether it is one that pages can be shown on; nothing
 * was changed if not. */
bool top_screen_open(void);

/* Leave the terminal as it was. Fine when it is not open. */
void top_screen_close(void);

/* Take it over once more after top_screen_close, or after somebody else has written to it; everything is to
 * be shown anew. */
void top_screen_resume(void);

/* Take over the size that the terminal has now. */
void top_screen_resize(void);

void top_screen_size(size_t *ret_width, size_t *ret_height);

void top_screen_show(const top_page *page);

/* The next key that was pressed, or TOP_KEY_NONE; does not wait. */
int top_screen_key(void);

#endif
