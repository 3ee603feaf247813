/* crash: the last words of a program that has crashed. Threads: one, before there are others. */
#ifndef API_PROGRAM_CRASH_H
#define API_PROGRAM_CRASH_H

/* From now on a crash (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT) of any thread writes to stderr which signal
 * it was, which thread, what that ran (ps_describe_thread) and its C functions. Then the process ends as it
 * would have otherwise, with a core dump where these are wanted. */
void crash_install(void);

#endif
