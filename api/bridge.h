/* bridge: where a task of runtime/ becomes a request of vm/: the runner of a server.
 * Threads: see runtime/runner.h. */
#ifndef API_BRIDGE_H
#define API_BRIDGE_H

#include "api/changes.h"
#include "api/vms.h"
#include "runtime/log.h"
#include "runtime/runner.h"

typedef struct bridge {
    vms *vms;
    logger *log;
    bool access_log;
    changes *changes; /* of shared dictionaries, for VMs that begin to serve */
    /* What kept a thread from getting its VM: the first such text. */
    pthread_mutex_t lock;
    char error[1024];
} bridge;

/* Fill in a runner whose `user` is the bridge. */
void bridge_runner(bridge *b, runner *ret_runner);

#endif
