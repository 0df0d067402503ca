/*
 * vhost-dp: a frame that waits in private memory, behind its metadata
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For port-inbox.c and port-outbox.c, which hand frames from one thread to
 * another one.  Thread: any.  Lock: none.
 */

#ifndef NET_VHOST_DP_PORT_STORED_H
#define NET_VHOST_DP_PORT_STORED_H

#include "qemu/iov.h"
#include "net/vhost-dp.h"

/* Where a stored frame begins, and its data */
#define PORT_STORED_ALIGN 16

typedef struct PortStoredFrame {
    uint32_t len;
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint32_t hash;
    uint8_t hash_report;
    QEMU_ALIGNED(PORT_STORED_ALIGN) uint8_t data[];
} PortStoredFrame;

/* Bytes that a frame of @len bytes takes */
static inline size_t port_stored_size(uint32_t len)
{
    return ROUND_UP(sizeof(PortStoredFrame) + len, PORT_STORED_ALIGN);
}

/* Copy a frame.  There is room for port_stored_size(@frame->len) bytes. */
static inline void port_stored_write(PortStoredFrame *f,
                                     const VhostDPFrame *frame)
{
    f->len = frame->len;
    f->flags = frame->flags;
    f->gso_type = frame->gso_type;
    f->hdr_len = frame->hdr_len;
    f->gso_size = frame->gso_size;
    f->csum_start = frame->csum_start;
    f->csum_offset = frame->csum_offset;
    f->hash = frame->hash;
    f->hash_report = frame->hash_report;
    iov_to_buf(frame->iov, frame->iovcnt, 0, f->data, frame->len);
}

/* Make @frame one of the stored bytes, in one piece; @f stays where it is */
static inline void port_stored_lend(PortStoredFrame *f, VhostDPFrame *frame)
{
    frame->iov = frame->inl;
    frame->inl[0].iov_base = f->data;
    frame->inl[0].iov_len = f->len;
    frame->iovcnt = 1;
    frame->len = f->len;
    frame->flags = f->flags;
    frame->gso_type = f->gso_type;
    frame->hdr_len = f->hdr_len;
    frame->gso_size = f->gso_size;
    frame->csum_start = f->csum_start;
    frame->csum_offset = f->csum_offset;
    frame->hash = f->hash;
    frame->hash_report = f->hash_report;
}

#endif /* NET_VHOST_DP_PORT_STORED_H */
