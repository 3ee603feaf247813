/* top_view: the model as one page: the server, a table, the keys; or the help.
 *
 * Threads: any; no state. */
#ifndef PROGRAM_TOP_VIEW_H
#define PROGRAM_TOP_VIEW_H

#include "api/program/top_model.h"
#include "api/program/top_page.h"
#include "api/program/top_table.h"

/* How it is looked at. */
typedef struct top_look {
    const char *address;
    uint64_t now_ns; /* of the clock that the model's times are of */
    double wall_s;   /* since 1970, for how long the server has been up */
    size_t width, height;
    top_table table;
    bool help;
    size_t scroll; /* rows above the first one shown; put right when there are not as many */
    size_t fit;    /* set: rows that fit at once */
} top_look;

/* Write the page, `height` lines at most.
 * Returns: 0 and the page, which top_page_fini frees; or PS_ENOMEM. */
int top_view_page(const top_model *m, top_look *look, top_page *ret_page);

#endif
