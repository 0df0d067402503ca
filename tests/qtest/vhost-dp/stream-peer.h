/*
 * vhost-dp: qtests, the other end of a vhost-dp-stream
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VHOST_DP_STREAM_PEER_H
#define TESTS_QTEST_VHOST_DP_STREAM_PEER_H

#include "guest.h"

/* Bytes of a frame's length on the wire */
#define DP_STREAM_HEADER 4

/* A guest on vhost-dp-stream, st0, and what it is connected to */
typedef struct DpStream {
    DpRig *r;                   /* from dp_stream_start() on */
    char *dir;
    char *path;                 /* of a UNIX socket in it */
    int listen_fd;              /* -1: none */
    int fd;                     /* the connection; -1: none */
} DpStream;

DpStream *dp_stream_prepare(void);

/* Start QEMU; @before are more of its options, @options those of the driver */
void dp_stream_start(DpStream *s, const char *before, const char *options);
void dp_stream_free(DpStream *s);

/* The test listens at the path, and takes a connection */
void dp_stream_listen(DpStream *s);
void dp_stream_accept(DpStream *s);

/* A connection within @timeout_us, or -1 */
int dp_stream_try_accept(DpStream *s, int64_t timeout_us);

/* QEMU listens, and has been started */
void dp_stream_connect(DpStream *s);
int dp_stream_connect_another(DpStream *s);

/* The same at a port of 127.0.0.1.  The port that the test listens at. */
unsigned dp_stream_listen_inet(DpStream *s);
void dp_stream_connect_inet(DpStream *s, unsigned port);

void dp_stream_disconnect(DpStream *s);

/* Write and read all of it; blocks, but not for ever */
void dp_stream_write(DpStream *s, const void *buf, size_t len);
void dp_stream_read(DpStream *s, void *buf, size_t len);

/* QEMU has closed the connection, of which nothing is left to read */
bool dp_stream_at_end(DpStream *s);

/* A frame with its length in front */
void dp_stream_send(DpStream *s, const void *frame, size_t len);
size_t dp_stream_recv(DpStream *s, void *frame, size_t size);

/* A made-up frame arrives */
void dp_stream_check_to_peer(DpStream *s, size_t len, unsigned seed);
void dp_stream_check_to_guest(DpStream *s, size_t len, unsigned seed);

/* The link is up, and frames arrive at both ends */
void dp_stream_check_traffic(DpStream *s);

#endif
