/*
 * vhost-dp: a received frame in the guest's buffers
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copying, the virtio-net header, and whether the guest takes a frame.
 * Lock: the queue pair's.
 */

#ifndef NET_VHOST_DP_PORT_RX_FRAME_H
#define NET_VHOST_DP_PORT_RX_FRAME_H

#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_net.h"
#include "port-int.h"

/* ---- Copying ---- */

/* The part of a frame that is not copied yet */
typedef struct PortRxCopy {
    struct iovec cur;
    const struct iovec *next;
    unsigned left;              /* pieces in next */
} PortRxCopy;

static inline void rx_copy_read(PortRxCopy *src, uint8_t *buf, size_t len)
{
    while (len) {
        size_t n = MIN(len, src->cur.iov_len);

        memcpy(buf, src->cur.iov_base, n);
        buf += n;
        len -= n;
        src->cur.iov_base += n;
        src->cur.iov_len -= n;
        if (!src->cur.iov_len && src->left) {
            src->cur = *src->next++;
            src->left--;
        }
    }
}

/* Write @len bytes to the start of a chain, which has room for them */
static inline void rx_copy_to_chain(PortRxCopy *src, const VhostDPChain *chain,
                                    size_t len)
{
    unsigned i;

    for (i = 0; len; i++) {
        size_t n = MIN(len, chain->iov[i].iov_len);

        rx_copy_read(src, chain->iov[i].iov_base, n);
        vhost_dp_memory_dirty(chain->region[i], chain->iov[i].iov_base, n);
        len -= n;
    }
}

/* Is a frame, and where it goes, in one piece each, as nearly all are? */
static inline bool rx_is_plain(const VhostDPFrame *frame,
                               const VhostDPChain *chain, unsigned nchains)
{
    return nchains == 1 && chain->nsegs == 1 && frame->iovcnt == 1 &&
           !frame->flags && !frame->gso_type;
}

/* ---- The header ---- */

/*
 * Makes the virtio-net header for a frame in @nchains buffers (virtio 1.3,
 * 5.1.6.4).  The guest gets the first conf->hdr_len bytes of @hdr.
 * @hashed: the frame has a hash, or VIRTIO_NET_HASH_REPORT_NONE
 */
void vhost_dp_port_rx_make_hdr(const PortConf *conf, const VhostDPFrame *frame,
                               bool hashed, unsigned nchains,
                               struct virtio_net_hdr_v1_hash *hdr);

/* Writes the end of a header with a hash */
static inline void rx_write_hash(const PortConf *conf,
                                 const VhostDPFrame *frame, bool hashed,
                                 uint8_t *buf)
{
    uint32_t hash = hashed ? frame->hash : 0;
    uint16_t report = hashed ? frame->hash_report : VIRTIO_NET_HASH_REPORT_NONE;

    stl_he_p(buf, conf->hdr_swap ? bswap32(hash) : hash);
    stw_he_p(buf + sizeof(hash), conf->hdr_swap ? bswap16(report) : report);
    stw_he_p(buf + sizeof(hash) + sizeof(report), 0);
}

QEMU_BUILD_BUG_ON(sizeof(struct virtio_net_hdr_v1_hash) !=
                  sizeof(struct virtio_net_hdr_v1) + 2 * sizeof(uint32_t));

/* Writes the header of a frame without metadata in one chain */
static inline void rx_write_plain_hdr(const PortConf *conf,
                                      const VhostDPFrame *frame, bool hashed,
                                      uint8_t *buf)
{
    uint16_t one = conf->hdr_swap ? bswap16(1) : 1;

    memset(buf, 0, sizeof(struct virtio_net_hdr));
    if (conf->hdr_len >= sizeof(struct virtio_net_hdr_v1)) {
        stw_he_p(buf + offsetof(struct virtio_net_hdr_v1, num_buffers), one);
    }
    if (conf->hdr_len > sizeof(struct virtio_net_hdr_v1)) {
        rx_write_hash(conf, frame, hashed,
                      buf + sizeof(struct virtio_net_hdr_v1));
    }
}

/* ---- Whether the guest takes a frame ---- */

/*
 * Do the headers of a GSO frame fit its metadata, and does every Linux accept
 * as many datagrams?  Otherwise the frame is segmented here.  A frame of one of
 * the host's tunnels does not fit: Linux gives it the inner packet's metadata.
 *
 * @head: the first @head_len bytes of the frame, VHOST_DP_HEAD_BYTES or all
 */
bool vhost_dp_port_rx_gso_fits(const VhostDPFrame *frame, const uint8_t *head,
                               size_t head_len);

/*
 * Is a packet longer than the MTU that the guest has negotiated (virtio 1.3,
 * 5.1.4.1)?  The packets of a GSO frame are its segments.  Called only for
 * frames that are longer than conf->rx_safe_len.
 *
 * @head: the first VHOST_DP_HEAD_BYTES bytes of the frame, or all of it
 */
bool vhost_dp_port_rx_exceeds_mtu(const PortConf *conf,
                                  const VhostDPFrame *frame,
                                  const uint8_t *head);

#endif /* NET_VHOST_DP_PORT_RX_FRAME_H */
