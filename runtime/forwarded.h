/* forwarded: who a request really comes from, as trusted proxies tell it: in Forwarded (RFC 7239), or in
 * X-Forwarded-For, -Proto and -Host.
 *
 * Each proxy adds at the right what it knows of its own client. So the lists are read from the right, as long
 * as what is read was written by somebody trusted: the first address that is not trusted is the client's, and
 * what stands left of it may be the client's invention and is not even parsed. A list that cannot be read up
 * to there, or two lists that name different clients, were not written by the proxies alone: such a request
 * is not to be answered, or its client could choose to be taken for the proxy. Only what can be an address, a
 * scheme (http, https) and a host is taken.
 *
 * Threads: any; plain data. */
#ifndef RUNTIME_FORWARDED_H
#define RUNTIME_FORWARDED_H

#include "runtime/trust.h"

typedef struct forwarded {
    bool unreadable;    /* all others are 0 then */
    bool has_client;    /* else the request comes from the peer */
    ip_address client;  /* or the last proxy that is known, where that one does not know or tell its client */
    const char *scheme; /* "http", "https", or NULL when nobody said */
    str host;           /* in the headers' memory; p is NULL when nobody said */
} forwarded;

/* Read the headers of a request whose peer is trusted. */
forwarded forwarded_read(const trust *t, const str_pair *headers, uint32_t count);

#endif
