/* top_table: the routes, or the workers, as rows of a page.
 *
 * The narrower the page, the fewer figures are shown: the route must stay readable. Threads: any; no state.
 */
#ifndef PROGRAM_TOP_TABLE_H
#define PROGRAM_TOP_TABLE_H

#include "api/program/top_model.h"
#include "api/program/top_page.h"

typedef enum top_table { TOP_ROUTES, TOP_WORKERS } top_table;

/* How many rows there are. */
size_t top_table_rows(const top_model *m, top_table which);

/* Write the titles, and `shown` rows from row `from` on. */
void top_table_write(top_page *p, const top_model *m, top_table which, size_t from, size_t shown);

#endif
