#include "api/program/top_page.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "api/program/top_text.h"

enum { BETWEEN_ITEMS = 3, ITEM_BYTES = 128 };

void top_page_init(top_page *p, size_t width, size_t lines)
{
    *p = (top_page){.width = width, .room = lines};
    p->lines = calloc(lines + 1, sizeof(*p->lines));
    if (!p->lines) {
        p->room = 0;
        p->failed = true;
    }
}

void top_page_fini(top_page *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->lines[i].text);
    free(p->lines);
    *p = (top_page){0};
}

void top_page_open(top_page *p, top_style style)
{
    p->line = (top_line){.style = style};
    p->column = 0;
    p->out = p->count < p->room ? open_memstream(&p->text, &p->bytes) : NULL;
    p->failed |= !p->out && p->count < p->room;
}

void top_page_close(top_page *p)
{
    if (!p->out)
        return;
    if (fclose(p->out) != 0) {
        p->failed = true;
        free(p->text);
    } else {
        p->line.text = p->text;
        p->lines[p->count++] = p->line;
    }
    p->out = NULL;
}

void top_page_line(top_page *p, top_style style, const char *text)
{
    top_page_open(p, style);
    top_page_put(p, text);
    top_page_close(p);
}

size_t top_page_columns_left(const top_page *p)
{
    return p->column < p->width ? p->width - p->column : 0;
}

size_t top_page_lines_left(const top_page *p)
{
    return p->room - p->count;
}

void top_page_put(top_page *p, const char *text)
{
    if (p->out)
        p->column += top_text_name(p->out, text, top_page_columns_left(p));
}

void top_page_blanks(top_page *p, size_t n)
{
    for (; p->out && n && top_page_columns_left(p); n--, p->column++)
        fputc(' ', p->out);
}

void top_page_left(top_page *p, const char *text, size_t width)
{
    size_t left = top_page_columns_left(p), end = p->column + width;
    if (p->out)
        p->column += top_text_name(p->out, text, width < left ? width : left);
    if (p->column < end)
        top_page_blanks(p, end - p->column);
}

void top_page_right(top_page *p, const char *text, size_t width)
{
    size_t takes = top_text_width(text);
    if (takes < width)
        top_page_blanks(p, width - takes);
    top_page_put(p, text);
}

void top_page_mark(top_page *p, size_t from)
{
    p->line.mark_from = from;
    p->line.mark_columns = p->column - from;
}

void top_page_item(top_page *p, bool alarm, const char *format, ...)
{
    char item[ITEM_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(item, sizeof item, format, args);
    va_end(args);
    if (p->column && top_page_columns_left(p) < BETWEEN_ITEMS + strlen(item)) {
        top_style style = p->line.style;
        top_page_close(p);
        top_page_open(p, style);
    }
    if (p->column)
        top_page_blanks(p, BETWEEN_ITEMS);
    size_t from = p->column;
    top_page_put(p, item);
    if (alarm)
        top_page_mark(p, from);
}
