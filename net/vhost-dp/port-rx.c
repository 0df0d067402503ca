/*
 * vhost-dp: the engine's bursts from the driver to the guest
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the port's IOThread; see port.c.  The driver
 * lends a burst of frames, which are copied into the guest's buffers, each
 * with a virtio-net header in front.  With mergeable receive buffers
 * (virtio 1.3, 5.1.6.4) a frame may take several chains; they become visible
 * together.  Frames for which there are no buffers stay lent: reception is
 * disabled, the guest is asked to kick when it has posted some, and then the
 * burst goes on.
 *
 * Long frames are received without that copy, if the driver has rx_into and
 * the guest has posted buffers for any frame: the first bytes go to private
 * memory, where nobody can change what is checked there, the rest goes to the
 * guest's buffers at once.  Buffers that were not needed stay in the queue.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "net/eth.h"
#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp/offload/offload.h"
#include "port-int.h"

/* How many chains ahead a buffer is fetched into the cache */
#define RX_PREFETCH 4

/* From this mean length on, frames are received by rx_into (measured) */
#define RX_INTO_MIN 4096

/* Chains to look at for that: with smaller buffers it is not worth it */
#define RX_INTO_CHAINS 256

/* Room for a frame of any length, and for more that may be waiting */
#define RX_WANT_BYTES (VHOST_DP_BURST_BYTES + VHOST_DP_MAX_FRAME)

/* What is left of a frame to copy */
typedef struct RxSource {
    struct iovec cur;
    const struct iovec *next;
    unsigned left;              /* pieces in next */
} RxSource;

static inline void rx_source_read(RxSource *src, uint8_t *buf, size_t len)
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
static inline void rx_fill_chain(const VhostDPChain *chain, size_t len,
                                 RxSource *src)
{
    unsigned i;

    for (i = 0; len; i++) {
        size_t n = MIN(len, chain->iov[i].iov_len);

        rx_source_read(src, chain->iov[i].iov_base, n);
        vhost_dp_memory_dirty(chain->region[i], chain->iov[i].iov_base, n);
        len -= n;
    }
}

/* Virtio 1.3, 5.1.6.4: what the guest learns about a frame */
static void rx_make_hdr(VhostDPEnginePort *port, const VhostDPFrame *frame,
                        unsigned nchains, struct virtio_net_hdr_v1_hash *hdr)
{
    struct virtio_net_hdr_v1 *v1 = &hdr->hdr;

    memset(hdr, 0, sizeof(*hdr));
    v1->flags = frame->flags;
    v1->gso_type = frame->gso_type;
    v1->num_buffers = nchains;
    if (frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        v1->csum_start = frame->csum_start;
        v1->csum_offset = frame->csum_offset;
    }
    if (frame->gso_type) {
        v1->gso_size = frame->gso_size;
        v1->hdr_len = frame->hdr_len;
    }
    if (port->hdr_swap) {
        bswap16s(&v1->num_buffers);
        bswap16s(&v1->csum_start);
        bswap16s(&v1->csum_offset);
        bswap16s(&v1->gso_size);
        bswap16s(&v1->hdr_len);
    }
}

/* The same for a frame without metadata in one chain */
static inline void rx_write_plain_hdr(const VhostDPEnginePort *port,
                                      uint8_t *buf)
{
    uint16_t one = port->hdr_swap ? bswap16(1) : 1;

    memset(buf, 0, sizeof(struct virtio_net_hdr));
    if (port->hdr_len >= sizeof(struct virtio_net_hdr_v1)) {
        stw_he_p(buf + offsetof(struct virtio_net_hdr_v1, num_buffers), one);
    }
    if (port->hdr_len > sizeof(struct virtio_net_hdr_v1)) {
        memset(buf + sizeof(struct virtio_net_hdr_v1), 0,
               sizeof(struct virtio_net_hdr_v1_hash) -
               sizeof(struct virtio_net_hdr_v1));
    }
}

/*
 * How many of the @n chains from @first on does a frame of @len bytes, header
 * included, take?  Returns 0 if they are too few.
 */
static unsigned rx_count_chains(const VhostDPEnginePort *port, unsigned first,
                                unsigned n, size_t len)
{
    uint64_t room = 0;
    unsigned i;

    for (i = first; i < n; i++) {
        room += port->burst.chain[i].len;
        if (room >= len) {
            return i - first + 1;
        }
    }
    return 0;
}

/* Is a frame, and where it goes, in one piece each, as nearly all are? */
static inline bool rx_is_plain(const VhostDPFrame *frame,
                               const VhostDPChain *chain, unsigned nchains)
{
    return nchains == 1 && chain->nsegs == 1 && frame->iovcnt == 1 &&
           !frame->flags && !frame->gso_type;
}

static inline void rx_copy_plain(VhostDPEnginePort *port, VhostDPVring *vq,
                                 const VhostDPFrame *frame,
                                 const VhostDPChain *chain)
{
    uint8_t *buf = chain->iov[0].iov_base;
    size_t len = port->hdr_len + frame->len;

    rx_write_plain_hdr(port, buf);
    memcpy(buf + port->hdr_len, frame->iov[0].iov_base, frame->len);
    vhost_dp_memory_dirty(chain->region[0], buf, len);
    vhost_dp_vring_push(vq, chain, len);
}

/* Copy a frame into @nchains chains from @first on */
static void rx_copy_frame(VhostDPEnginePort *port, VhostDPVring *vq,
                          const VhostDPFrame *frame, unsigned first,
                          unsigned nchains)
{
    struct virtio_net_hdr_v1_hash hdr;
    size_t len = port->hdr_len + frame->len;
    RxSource src = {
        .cur = { .iov_base = &hdr, .iov_len = port->hdr_len },
        .next = frame->iov,
        .left = frame->iovcnt,
    };
    unsigned i;

    rx_make_hdr(port, frame, nchains, &hdr);
    for (i = first; i < first + nchains; i++) {
        const VhostDPChain *chain = &port->burst.chain[i];
        size_t n = MIN(len, chain->len);

        rx_fill_chain(chain, n, &src);
        vhost_dp_vring_push(vq, chain, n);
        len -= n;
    }
}

/*
 * Is a GSO frame what its metadata says, and does the guest's kernel take it?
 * Its driver gets no metadata that does not fit: what Linux makes of a frame of
 * one of its own tunnels does not, and has to be segmented here.
 */
static bool rx_gso_fits(const VhostDPFrame *frame, const uint8_t *head,
                        size_t head_len)
{
    size_t hdr_len = vhost_dp_offload_fits(frame, head, head_len);

    return hdr_len && !vhost_dp_offload_too_many(frame, hdr_len,
                                                 VHOST_DP_LINUX_DATAGRAMS);
}

static __attribute__((noinline)) bool
rx_lent_gso_fits(VhostDPEnginePort *port, const VhostDPFrame *frame)
{
    size_t head_len = MIN(frame->len, VHOST_DP_HEAD_BYTES);
    const uint8_t *head = frame->iov[0].iov_base;

    if (frame->iov[0].iov_len < head_len) {
        iov_to_buf(frame->iov, frame->iovcnt, 0, port->rx_head, head_len);
        head = port->rx_head;
    }
    return rx_gso_fits(frame, head, head_len);
}

/* Can a lent frame be given to the guest with the metadata that it has? */
static inline bool rx_takes(VhostDPEnginePort *port, const VhostDPFrame *frame)
{
    if (likely(!frame->flags && !frame->gso_type)) {
        return true;
    }
    return vhost_dp_offload_allowed(frame, port->offloads) &&
           (!frame->gso_type || rx_lent_gso_fits(port, frame));
}

/*
 * Virtio 1.3, 5.1.4.1: no packet for the guest is longer than the MTU that it
 * agreed to.  Of a frame with a GSO type, the packets are its segments.
 * @port->rx_head has the first bytes.
 */
static bool rx_head_exceeds_mtu(const VhostDPEnginePort *port,
                                const VhostDPFrame *frame)
{
    size_t head_len = MIN(frame->len, VHOST_DP_HEAD_BYTES);
    bool ufo = false;
    VhostDPHeaders h;
    size_t packet;

    switch (frame->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_NONE:
        if (likely(frame->len <= port->mtu + sizeof(struct eth_header))) {
            return false;
        }
        /* The MTU says nothing of VLAN tags, of which there may be several */
        vhost_dp_offload_parse(&h, port->rx_head, head_len);
        return frame->len > port->mtu + h.l3;
    case VIRTIO_NET_HDR_GSO_UDP:
        ufo = true;
        break;
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6:
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        break;
    default:
        /* It will be dropped for that, or was looked at before */
        return false;
    }

    packet = ufo ? IP_FRAG_ALIGN_SIZE(frame->gso_size) : frame->gso_size;
    if (frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ?
        vhost_dp_offload_parse_at(&h, port->rx_head, head_len,
                                  frame->csum_start) :
        vhost_dp_offload_parse(&h, port->rx_head, head_len)) {
        packet = MIN(packet + (ufo ? h.fragment : h.payload), frame->len) -
                 (h.tunnel ? h.outer_l3 : h.l3) +
                 (ufo && h.ip6 ? VHOST_DP_FRAGMENT_HEADER : 0);
    }
    return packet > port->mtu;
}

static inline bool rx_exceeds_mtu(VhostDPEnginePort *port,
                                  const VhostDPFrame *frame)
{
    if (likely(frame->len <= port->rx_safe_len)) {
        return false;
    }
    iov_to_buf(frame->iov, frame->iovcnt, 0, port->rx_head,
               VHOST_DP_HEAD_BYTES);
    return rx_head_exceeds_mtu(port, frame);
}

static void rx_count_burst(VhostDPEnginePort *port, uint64_t packets,
                           uint64_t bytes)
{
    if (packets) {
        port->rx_long = bytes >= packets * RX_INTO_MIN;
        port_count_burst(port, VHOST_DP_RX, packets, bytes);
    }
}

typedef struct RxFill {
    unsigned used;              /* chains of the burst */
    unsigned packets;
    uint64_t bytes;
    bool progress;              /* something was delivered or dropped */
} RxFill;

/*
 * Put what the guest gets in place of a frame with metadata that it did not
 * agree to into the burst's @n chains, from @fill->used on.  Returns true if
 * that was all of it.
 */
static bool rx_fill_soft(VhostDPEnginePort *port, VhostDPVring *vq, unsigned n,
                         bool mergeable, RxFill *fill)
{
    VhostDPFrame *lent = &port->rx_frames[port->rx_next];

    do {
        const VhostDPFrame *frame = vhost_dp_port_rx_soft_frame(port, lent);
        unsigned nchains;

        if (!frame) {
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_BAD_HEADER, 1);
            fill->progress = true;
            return true;
        }
        if (fill->used == n || port->rx_soft_work == VHOST_DP_BURST_FRAMES) {
            return false;
        }
        nchains = rx_count_chains(port, fill->used,
                                  mergeable ? n : fill->used + 1,
                                  port->hdr_len + frame->len);
        if (!nchains && mergeable) {
            return false;
        }
        fill->progress = true;
        port->rx_soft_work++;
        if (!nchains) {
            /* Nor do those that follow: they are as long, but for the last */
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_TOO_LARGE, 1);
            vhost_dp_port_rx_soft_end(port);
            return true;
        }
        rx_copy_frame(port, vq, frame, fill->used, nchains);
        fill->used += nchains;
        fill->packets++;
        fill->bytes += frame->len;
        port->rx_soft_left = vhost_dp_port_rx_soft_next(port);
    } while (port->rx_soft_left);
    return true;
}

/*
 * Put lent frames into the @n chains of the burst, until there are no more
 * frames or too few chains.  Returns the number of chains used; *@progress is
 * set if a frame was dealt with.
 */
static unsigned rx_fill_burst(VhostDPEnginePort *port, VhostDPVring *vq,
                              unsigned n, bool *progress)
{
    bool mergeable = port->backend.features & (1ULL << VIRTIO_NET_F_MRG_RXBUF);
    uint64_t packets = 0;
    uint64_t bytes = 0;
    unsigned used = 0;

    *progress = false;
    while (port->rx_next < port->rx_lent) {
        const VhostDPFrame *frame = &port->rx_frames[port->rx_next];
        size_t len = port->hdr_len + frame->len;
        unsigned nchains;

        if (unlikely(rx_exceeds_mtu(port, frame))) {
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_EXCEEDS_MTU, 1);
        } else if (unlikely(!rx_takes(port, frame))) {
            RxFill fill = { .used = used };
            bool all = rx_fill_soft(port, vq, n, mergeable, &fill);

            used = fill.used;
            packets += fill.packets;
            bytes += fill.bytes;
            *progress |= fill.progress;
            if (!all) {
                break;
            }
        } else {
            if (used == n) {
                break;
            }
            nchains = rx_count_chains(port, used, mergeable ? n : used + 1,
                                      len);
            if (nchains) {
                const VhostDPChain *chain = &port->burst.chain[used];

                /* The guest has not touched its buffers for long */
                if (used + RX_PREFETCH < n) {
                    __builtin_prefetch(chain[RX_PREFETCH].iov[0].iov_base, 1);
                }
                if (likely(rx_is_plain(frame, chain, nchains))) {
                    rx_copy_plain(port, vq, frame, chain);
                } else {
                    rx_copy_frame(port, vq, frame, used, nchains);
                }
                used += nchains;
                packets++;
                bytes += frame->len;
            } else if (mergeable) {
                break;
            } else {
                port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_TOO_LARGE,
                          1);
            }
        }
        port->rx_next++;
        *progress = true;
    }
    rx_count_burst(port, packets, bytes);
    return used;
}

typedef enum RxResult {
    RX_DONE,                    /* all frames were delivered or dropped */
    RX_AGAIN,                   /* there are new buffers: come again */
    RX_STARVED,                 /* no buffers: wait for a kick, or poll */
    RX_BROKEN,                  /* the guest's driver broke a rule */
} RxResult;

/* Count what was found; @notified: the guest was asked to kick for it */
static void rx_count_pop(VhostDPEnginePort *port, bool notified, unsigned n)
{
    if (n) {
        port->worked = true;
        if (!notified) {
            vhost_dp_count(&port->stats[VHOST_DP_RX].kicks_suppressed, 1);
        }
    }
    if (port->rx_starved) {
        /* The look was for buffers; what follows is no look of its own */
        port_count_look(port, VHOST_DP_RX, n);
        port->poll_look = false;
    }
}

/*
 * The @n chains of the burst are all that there are, and too small for a
 * frame.  Can the guest post more?  Not if the descriptors that are left are
 * fewer than any of these chains took; then waiting would be for ever.
 */
static bool rx_posted_all(const VhostDPEnginePort *port, const VhostDPVring *vq,
                          unsigned n)
{
    unsigned least = vq->num;
    unsigned sum = 0;
    unsigned i;

    if (port->burst.full || n == VHOST_DP_VRING_BURST) {
        return true;
    }
    for (i = 0; i < n; i++) {
        sum += port->burst.chain[i].ndescs;
        least = MIN(least, port->burst.chain[i].ndescs);
    }
    return sum + least > vq->num;
}

/*
 * Deliver the lent frames.  Lock held.  A guest can make each of them need a
 * pop of its own, with more descriptors than a burst has: look at no more than
 * one burst's, and the pop's that goes beyond, at a time.
 */
static RxResult rx_deliver(VhostDPEnginePort *port, VhostDPVring *vq)
{
    bool notified = vq->notify;
    bool dealt = false;         /* with a frame, or a part of one */
    unsigned looked = 0;        /* at descriptors */
    unsigned want = 0;

    vhost_dp_vring_disable_notify(vq);
    while (port->rx_next < port->rx_lent) {
        unsigned max = MAX(want, port->rx_lent - port->rx_next);
        unsigned n, used;
        bool progress;

        if (unlikely(dealt && looked >= VHOST_DP_VRING_MAX_DESCS)) {
            return RX_AGAIN;
        }
        n = vhost_dp_vring_pop(vq, port->backend.mem, &port->burst, max,
                               want == VHOST_DP_VRING_BURST ? RX_WANT_BYTES :
                                                              UINT32_MAX);
        rx_count_pop(port, notified, n);
        notified = false;
        looked += n + port->burst.ndescs;
        used = rx_fill_burst(port, vq, n, &progress);
        vhost_dp_vring_rewind(vq, &port->burst, n - used);
        vhost_dp_port_flush(port, VHOST_DP_RX);

        if (progress) {
            dealt = true;
            want = MIN(port->rx_soft_left, VHOST_DP_BURST_FRAMES);
            if (unlikely(port->rx_soft_work == VHOST_DP_BURST_FRAMES)) {
                /* That took its time: let others have the lock */
                port->rx_soft_work = 0;
                return RX_AGAIN;
            }
        } else if (vq->broken) {
            return RX_BROKEN;
        } else if (vq->missed) {
            return RX_AGAIN;
        } else if (rx_posted_all(port, vq, n)) {
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_TOO_LARGE, 1);
            vhost_dp_port_rx_soft_end(port);
            port->rx_next++;
            dealt = true;
        } else if (n == max) {
            /* There may be more chains; the frame needs them */
            want = VHOST_DP_VRING_BURST;
        } else if (port->polling) {
            return RX_STARVED;
        } else {
            return vhost_dp_vring_enable_notify(vq) ? RX_AGAIN : RX_STARVED;
        }
    }
    return RX_DONE;
}

/* ---- Long frames, straight into the guest's buffers ---- */

/*
 * The vectors for a frame of any length in the chains of the burst from @first
 * on, up to @end, without their first @skip bytes.  Returns the number, or 0
 * if there is no room for such a frame, or it is in too many places.
 *
 * A guest's buffers often lie side by side.  Each vector costs the kernel some
 * time, and interrupts its copying, so neighbours become one.
 */
static unsigned rx_into_vectors(VhostDPEnginePort *port, unsigned first,
                                unsigned end, size_t skip)
{
    size_t want = port->hdr_len + VHOST_DP_MAX_FRAME;
    struct iovec *last = NULL;
    unsigned niov = 0;
    uint64_t room = 0;
    unsigned i, j;

    for (i = first; i < end && room < want; i++) {
        const VhostDPChain *chain = &port->burst.chain[i];

        room += chain->len;
        for (j = 0; j < chain->nsegs; j++) {
            size_t n = MIN(skip, chain->iov[j].iov_len);
            uint8_t *base = chain->iov[j].iov_base + n;
            size_t len = chain->iov[j].iov_len - n;

            skip -= n;
            if (!len) {
                continue;
            }
            if (last && last->iov_base + last->iov_len == base &&
                port->rx_region[niov - 1] == chain->region[j]) {
                last->iov_len += len;
                continue;
            }
            if (niov == ARRAY_SIZE(port->rx_iov)) {
                return 0;
            }
            port->rx_region[niov] = chain->region[j];
            last = &port->rx_iov[niov++];
            last->iov_base = base;
            last->iov_len = len;
        }
    }
    return room < want ? 0 : niov;
}

/* @len bytes were written to the vectors */
static void rx_into_dirty(VhostDPEnginePort *port, unsigned niov, size_t len)
{
    unsigned i;

    for (i = 0; i < niov && len; i++) {
        const struct iovec *iov = &port->rx_iov[i];
        size_t n = MIN(len, iov->iov_len);

        vhost_dp_memory_dirty(port->rx_region[i], iov->iov_base, n);
        len -= n;
    }
}

/*
 * A frame is in the vectors, but for its head and the header in front, which
 * go to the start of the chains from @first on.  Returns the number of chains
 * that the frame takes.
 */
static unsigned rx_into_finish(VhostDPEnginePort *port, VhostDPVring *vq,
                               const VhostDPFrame *frame, unsigned first,
                               unsigned niov)
{
    const VhostDPChain *chain = &port->burst.chain[first];
    struct virtio_net_hdr_v1_hash hdr;
    struct iovec head = {
        .iov_base = port->rx_head,
        .iov_len = MIN(frame->len, VHOST_DP_HEAD_BYTES),
    };
    RxSource src = {
        .cur = { .iov_base = &hdr, .iov_len = port->hdr_len },
        .next = &head,
        .left = 1,
    };
    size_t len = port->hdr_len + frame->len;
    unsigned nchains;
    unsigned i;

    for (nchains = 0; len; nchains++) {
        size_t n = MIN(len, chain[nchains].len);

        vhost_dp_vring_push(vq, &chain[nchains], n);
        len -= n;
    }
    rx_make_hdr(port, frame, nchains, &hdr);
    len = port->hdr_len + head.iov_len;
    for (i = 0; len; i++) {
        size_t n = MIN(len, chain[i].len);

        rx_fill_chain(&chain[i], n, &src);
        len -= n;
    }
    rx_into_dirty(port, niov, frame->len - head.iov_len);
    return nchains;
}

/* The same as rx_takes() of a frame whose head is in rx_head */
static bool rx_into_takes(VhostDPEnginePort *port, const VhostDPFrame *frame)
{
    return vhost_dp_offload_allowed(frame, port->offloads) &&
           (!frame->gso_type ||
            rx_gso_fits(frame, port->rx_head,
                        MIN(frame->len, VHOST_DP_HEAD_BYTES)));
}

/*
 * The guest agreed to less since the host made the frame, or cannot make use of
 * its metadata: copy it, and let it go the way of lent frames, which are
 * processed in software.
 */
static void rx_into_lend(VhostDPEnginePort *port, const VhostDPFrame *frame,
                         unsigned niov)
{
    VhostDPFrame *lent = &port->rx_frames[0];
    size_t n = MIN(frame->len, VHOST_DP_HEAD_BYTES);

    if (!port->rx_copy) {
        port->rx_copy = g_malloc(VHOST_DP_MAX_FRAME);
    }
    memcpy(port->rx_copy, port->rx_head, n);
    iov_to_buf(port->rx_iov, niov, 0, port->rx_copy + n, frame->len - n);
    *lent = *frame;
    lent->inl[0].iov_base = port->rx_copy;
    lent->inl[0].iov_len = frame->len;
    lent->iov = lent->inl;
    lent->iovcnt = 1;
    port->rx_source = PORT_RX_COPY;
    port->rx_lent = 1;
    port->rx_next = 0;
}

/*
 * Receive frames into the @n chains of the burst.  Returns the number of
 * chains used; *@more is cleared if the driver has no more frames, *@tried set
 * if it was asked at all.
 */
static unsigned rx_into_chains(VhostDPEnginePort *port, VhostDPVring *vq,
                               unsigned n, bool *more, bool *tried)
{
    bool mergeable = port->backend.features & (1ULL << VIRTIO_NET_F_MRG_RXBUF);
    size_t skip = port->hdr_len + VHOST_DP_HEAD_BYTES;
    uint64_t packets = 0;
    uint64_t bytes = 0;
    unsigned used = 0;
    unsigned tries;

    for (tries = 0; tries < VHOST_DP_BURST_FRAMES &&
                    bytes < VHOST_DP_BURST_BYTES; tries++) {
        VhostDPFrame frame;
        unsigned niov;
        int r;

        niov = rx_into_vectors(port, used, mergeable ? n : MIN(used + 1, n),
                               skip);
        if (!niov) {
            break;
        }
        *tried = true;
        r = port->dc->rx_into(port->drv, port->index, &frame, port->rx_head,
                              port->rx_iov, niov);
        if (r == 0) {
            *more = false;
            break;
        }
        if (r < 0) {
            rx_into_dirty(port, niov, SIZE_MAX);
        } else if (unlikely(frame.len > VHOST_DP_MAX_FRAME)) {
            rx_into_dirty(port, niov, SIZE_MAX);
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_TOO_LARGE, 1);
        } else if (unlikely(frame.len > port->rx_safe_len) &&
                   rx_head_exceeds_mtu(port, &frame)) {
            rx_into_dirty(port, niov, SIZE_MAX);
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_EXCEEDS_MTU, 1);
        } else if (unlikely(!rx_into_takes(port, &frame))) {
            rx_into_dirty(port, niov, SIZE_MAX);
            rx_into_lend(port, &frame, niov);
            break;
        } else {
            used += rx_into_finish(port, vq, &frame, used, niov);
            packets++;
            bytes += frame.len;
        }
    }
    rx_count_burst(port, packets, bytes);
    vhost_dp_count(&port->stats[VHOST_DP_RX].direct, packets);
    return used;
}

typedef enum RxIntoResult {
    RX_INTO_MORE,               /* there may be more frames */
    RX_INTO_NONE,               /* there are none now */
    RX_INTO_UNFIT,              /* not with the buffers that are posted */
} RxIntoResult;

static RxIntoResult rx_into(VhostDPEnginePort *port)
{
    VhostDPBackend *be = &port->backend;
    VhostDPVring *vq = &be->vq[VHOST_DP_RX];
    bool more = true;
    bool tried = false;
    bool notified;
    unsigned n, used;

    QEMU_LOCK_GUARD(&be->lock);

    if (!port_queue_runs(port, VHOST_DP_RX) || !be->enabled || vq->broken) {
        return RX_INTO_UNFIT;
    }
    notified = vq->notify;
    vhost_dp_vring_disable_notify(vq);
    n = vhost_dp_vring_pop(vq, be->mem, &port->burst, RX_INTO_CHAINS,
                           RX_WANT_BYTES);
    used = rx_into_chains(port, vq, n, &more, &tried);
    /* Buffers that stay in the queue were no find */
    rx_count_pop(port, notified, used);
    vhost_dp_vring_rewind(vq, &port->burst, n - used);
    vhost_dp_port_flush(port, VHOST_DP_RX);
    if (unlikely(vq->broken)) {
        vhost_dp_backend_report(be);
    }
    return !tried ? RX_INTO_UNFIT : more ? RX_INTO_MORE : RX_INTO_NONE;
}

/* Returns false if there is nothing to be had that way */
static bool rx_try_into(VhostDPEnginePort *port, bool *more)
{
    if (likely(!port->rx_long) || !port->dc->rx_into || !port->rx_ready ||
        port->rx_discard || port->rx_starved) {
        return false;
    }
    /* The driver may say in rx_into that there are more */
    port->rx_ready = false;
    switch (rx_into(port)) {
    case RX_INTO_MORE:
        port->rx_ready = true;
        *more = true;
        return true;
    case RX_INTO_NONE:
        *more = false;
        return true;
    case RX_INTO_UNFIT:
        break;
    }
    port->rx_ready = true;
    return false;
}

/* Give the frames back that are lent */
static void rx_release(VhostDPEnginePort *port)
{
    if (unlikely(port->rx_source == PORT_RX_INBOX)) {
        vhost_dp_inbox_release(port->inbox);
    } else if (port->rx_source == PORT_RX_DRIVER && port->dc->rx_release) {
        port->dc->rx_release(port->drv, port->index, port->rx_lent);
    }
    port->rx_lent = 0;
    port->rx_next = 0;
}

void vhost_dp_port_rx_drop(VhostDPEnginePort *port, VhostDPDropReason reason)
{
    if (port->rx_lent) {
        port_drop(port, VHOST_DP_RX, reason, port->rx_lent - port->rx_next);
        vhost_dp_port_rx_soft_end(port);
        rx_release(port);
    }
}

void vhost_dp_port_rx_hand_over(VhostDPEnginePort *port,
                                VhostDPDropReason reason)
{
    if (port->rx_soft_left) {
        /* The guest has got a part of it here */
        port_drop(port, VHOST_DP_RX, reason, 1);
        port->rx_next++;
    }
    vhost_dp_port_rx_soft_end(port);
    if (port->first_inbox && port->rx_next < port->rx_lent &&
        vhost_dp_inbox_put(port->first_inbox, &port->rx_frames[port->rx_next],
                           port->rx_lent - port->rx_next)) {
        rx_release(port);
    } else {
        vhost_dp_port_rx_drop(port, reason);
    }
}

void vhost_dp_port_rx_update(VhostDPEnginePort *port)
{
    bool enable = port->attached && !port->rx_starved && !port->parked &&
                  (port->rx_active || port->rx_discard) &&
                  !port_polls_driver(port);

    if (enable != port->rx_enabled) {
        port->rx_enabled = enable;
        port->dc->rx_enable(port->drv, port->index, enable);
    }
}

/* Ask the driver for frames.  Returns false if there are none. */
static bool rx_fetch(VhostDPEnginePort *port)
{
    bool poll = !port->rx_ready;
    /* What is read ahead of rx_into has to be copied */
    bool one = port->rx_long && port->dc->rx_into;

    if (poll && !port_polls_driver(port)) {
        return false;
    }
    /* The driver may say in rx_burst that there are more */
    port->rx_ready = false;
    port->rx_source = PORT_RX_DRIVER;
    port->rx_next = 0;
    port->rx_lent = port->dc->rx_burst(port->drv, port->index,
                                       port->rx_frames,
                                       one ? 1 : VHOST_DP_BURST_FRAMES);
    if (port->rx_lent) {
        port->rx_ready = true;
        port->worked = true;
    }
    if (poll) {
        port_count_look(port, VHOST_DP_RX, port->rx_lent);
    }
    return port->rx_lent > 0;
}

/* Ask the inbox for frames.  Returns false if there are none. */
static bool rx_fetch_inbox(VhostDPEnginePort *port)
{
    port->rx_source = PORT_RX_INBOX;
    port->rx_next = 0;
    port->rx_lent = vhost_dp_inbox_get(port->inbox, port->rx_frames,
                                       VHOST_DP_BURST_FRAMES);
    vhost_dp_port_inbox_count(port);
    if (port->rx_lent) {
        port->worked = true;
    }
    return port->rx_lent > 0;
}

/*
 * Have frames lent, by the inbox and the driver in turns.  Returns false if
 * there are none, or rx_into took them: then *@more says if to come again.
 */
static bool rx_get(VhostDPEnginePort *port, bool *more)
{
    bool inbox = vhost_dp_inbox_ready(port->inbox);

    if (unlikely(inbox)) {
        if (port->rx_source != PORT_RX_INBOX && rx_fetch_inbox(port)) {
            return true;
        }
        port->rx_source = PORT_RX_DRIVER;
    }
    if (rx_try_into(port, more)) {
        *more |= inbox;
        return false;
    }
    *more = false;
    return rx_fetch(port) || (unlikely(inbox) && rx_fetch_inbox(port));
}

void vhost_dp_port_inbox_count(VhostDPEnginePort *port)
{
    VhostDPInboxLost lost = vhost_dp_inbox_take_lost(port->inbox);

    if (lost.full) {
        port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_QUEUE_FULL,
                  lost.full);
    }
    if (lost.closed) {
        port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_STOPPED,
                  lost.closed);
    }
}

bool vhost_dp_port_rx(VhostDPEnginePort *port)
{
    VhostDPBackend *be = &port->backend;
    VhostDPVring *vq = &be->vq[VHOST_DP_RX];
    RxResult result = RX_DONE;
    bool more;

    if (!port->attached || (port->rx_starved && !port->polling) ||
        !(port->rx_active || port->rx_discard)) {
        return false;
    }
    if (!port->rx_lent && !rx_get(port, &more)) {
        return more;
    }
    if (unlikely(port->rx_discard)) {
        if (port->rx_redirect) {
            vhost_dp_port_rx_hand_over(port, port->rx_discard_reason);
        } else {
            vhost_dp_port_rx_drop(port, port->rx_discard_reason);
        }
        return true;
    }

    WITH_QEMU_LOCK_GUARD(&be->lock) {
        if (unlikely(!port_queue_runs(port, VHOST_DP_RX) || !be->enabled)) {
            /* The reconcile BH is on its way */
            return false;
        }
        result = vq->broken ? RX_BROKEN : rx_deliver(port, vq);
        if (unlikely(vq->broken)) {
            vhost_dp_backend_report(be);
            result = RX_BROKEN;
        }
        port->missed |= vhost_dp_backend_missed(be);
    }

    switch (result) {
    case RX_DONE:
        rx_release(port);
        if (port->rx_starved) {
            port->rx_starved = false;
            vhost_dp_port_rx_update(port);
        }
        return true;
    case RX_AGAIN:
        return true;
    case RX_STARVED:
        port->rx_starved = true;
        break;
    case RX_BROKEN:
        port->rx_active = false;
        vhost_dp_port_rx_drop(port, VHOST_DP_DROP_REASON_STOPPED);
        vhost_dp_inbox_open(port->inbox, false);
        vhost_dp_port_inbox_count(port);
        break;
    }
    vhost_dp_port_rx_update(port);
    return false;
}
