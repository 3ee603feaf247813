#include "runtime/altstack.h"

#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>

/* A report walks stacks and calls libgcc's unwinder; what is not touched costs nothing. */
enum { ALTSTACK_BYTES = 128 * 1024 };

static _Thread_local void *mine;

void altstack_enter(void)
{
    stack_t now;
    if (sigaltstack(NULL, &now) < 0 || !(now.ss_flags & SS_DISABLE))
        return;
    void *p =
        mmap(NULL, ALTSTACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (p == MAP_FAILED)
        return;
    stack_t ours = {.ss_sp = p, .ss_size = ALTSTACK_BYTES};
    if (sigaltstack(&ours, NULL) == 0)
        mine = p;
    else
        munmap(p, ALTSTACK_BYTES);
}

void altstack_leave(void)
{
    if (!mine)
        return;
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    munmap(mine, ALTSTACK_BYTES);
    mine = NULL;
}
