/* warning: what Lua warns of, into the log.
 *
 * Lua warns where an error cannot be raised: when a finalizer fails. Apps warn with warn(). It comes in
 * pieces. Threads: the VM's. Called inside the collector, so nothing here calls Lua. */
#ifndef VM_WARNING_H
#define VM_WARNING_H

struct vm;

/* Take the warnings of v's state from now on. */
void warning_install(struct vm *v);

#endif
