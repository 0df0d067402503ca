/*
 * vhost-dp bench: an AF_XDP socket that sends
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_XDP_H
#define BENCH_XDP_H

#include "frame.h"

typedef struct Xdp Xdp;

/**
 * xdp_open: a socket on queue 0 of @ifname, and @nbuf frames to send
 */
Xdp *xdp_open(const char *ifname, const FrameShape *shape, unsigned nbuf);

/**
 * xdp_send: send @n of the frames, at most 64, in turn; return when the
 *           interface has them
 */
void xdp_send(Xdp *xdp, unsigned n);

#endif
