/*
 * vhost-dp-af-packet: the data side
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the queue pair's IOThread.
 *
 * Received frames are lent from where the kernel put them, in the slots of a
 * TPACKET_V2 ring, and the slots are the kernel's again when they are released
 * (Documentation/networking/packet_mmap.rst).  There is no system call for a
 * frame, only poll when there was none.  V3 would need less memory, but
 * delivers a block when it is full or a timer says so: too late.
 *
 * Frames are sent from where they are with sendmmsg.  A transmit ring would
 * need one more copy; it was no faster.
 *
 * The kernel takes the outer VLAN tag out of a received frame; it is put back
 * in front of the slot's data, where there is room.
 *
 * The state of the interface is af-packet-link.c's business.
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "net/eth.h"
#include "af-packet-int.h"
#include "net/vhost-dp/drivers/lib/vnet-hdr.h"

static AfpQueue *afp_queue(VhostDPDriver *drv, unsigned pair)
{
    return &VHOST_DP_AF_PACKET(drv)->queue[pair];
}

/* ---- Handlers ---- */

static void afp_update_handlers(AfpQueue *q);

static bool afp_has_frame(const AfpQueue *q)
{
    return qatomic_read(&q->slot[q->next]->tp_status) & TP_STATUS_USER;
}

static void afp_readable(void *opaque)
{
    AfpQueue *q = opaque;
    socklen_t len = sizeof(int);
    int err;

    if (afp_has_frame(q)) {
        vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
        return;
    }
    /* The interface went down: the error has to be fetched, or stays */
    getsockopt(q->sock.fd, SOL_SOCKET, SO_ERROR, &err, &len);
    vhost_dp_ifwatch_look(q->afp->link.watch);
}

static void afp_writable(void *opaque)
{
    AfpQueue *q = opaque;

    q->tx_blocked = false;
    afp_update_handlers(q);
    vhost_dp_port_ready(q->port, VHOST_DP_READY_TX);
}

static void afp_update_handlers(AfpQueue *q)
{
    aio_set_fd_handler(q->ctx, q->sock.fd,
                       q->rx_enabled ? afp_readable : NULL,
                       q->tx_blocked ? afp_writable : NULL,
                       NULL, NULL, q);
}

/* Start with a ring of which no slot was looked at */
static void afp_start_ring(AfpQueue *q)
{
    unsigned i;

    for (i = 0; i < AFP_SLOTS; i++) {
        q->slot[i] = afp_slot(&q->sock, i);
    }
    q->next = q->sock.first;
    q->was_full = false;
}

/* ---- The link ---- */

void vhost_dp_afp_set_link(VhostDPDriver *drv, unsigned pair,
                           VhostDPIfState state, const char *reason)
{
    AfpQueue *q = afp_queue(drv, pair);

    q->down = reason != NULL;
    vhost_dp_port_set_link(q->port, !q->down, reason);
    if (q->tx_blocked && q->down) {
        /* Drop the frames that wait: the interface may never come back */
        afp_writable(q);
    }
}

/* Frames for which there was no free slot.  The kernel counts from 0 again. */
static void afp_count_losses(AfpQueue *q, int fd)
{
    struct tpacket_stats stats = {};
    socklen_t len = sizeof(stats);

    if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0 &&
        stats.tp_drops) {
        vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_NO_BUFFER,
                              stats.tp_drops);
    }
}

static void afp_next_slot(AfpQueue *q)
{
    q->next = q->next + 1 == AFP_SLOTS ? 0 : q->next + 1;
}

/* The ring is replaced: what is in it, and not lent, is lost */
static void afp_drop_ring(AfpQueue *q, int fd)
{
    unsigned max = AFP_SLOTS - (q->old.ring ? 0 : q->nlent);
    unsigned n;

    afp_count_losses(q, fd);
    for (n = 0; n < max && afp_has_frame(q); n++) {
        afp_next_slot(q);
    }
    vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_LINK_DOWN, n);
}

static void afp_close_bh(void *opaque)
{
    g_autofree AfpSocket *s = opaque;

    vhost_dp_afp_socket_close(s);
}

/* Closing it may wait for the kernel: in the watch's thread it may */
static void afp_close(AfpQueue *q, AfpSocket *s)
{
    vhost_dp_ifwatch_run(q->afp->link.watch, afp_close_bh,
                         g_memdup2(s, sizeof(*s)));
    *s = (AfpSocket) { .fd = -1 };
}

/*
 * Take the socket on the interface that came back.  Frames that are lent
 * keep their ring until they are released.
 */
void vhost_dp_afp_take(VhostDPDriver *drv, unsigned pair)
{
    AfpQueue *q = afp_queue(drv, pair);
    AfpSocket old = q->sock;

    aio_set_fd_handler(q->ctx, old.fd, NULL, NULL, NULL, NULL, NULL);
    q->sock = q->new_sock;
    q->new_sock = (AfpSocket) { .fd = -1 };
    afp_drop_ring(q, old.fd);
    if (q->nlent && !q->old.ring) {
        q->old = old;
    } else {
        afp_close(q, &old);
    }
    afp_start_ring(q);
    afp_update_handlers(q);
}

static bool afp_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                       AioContext *ctx, Error **errp)
{
    AfpQueue *q = afp_queue(drv, pair);

    q->port = port;
    q->ctx = ctx;
    q->down = false;
    q->rx_enabled = false;
    q->tx_blocked = false;
    q->old = (AfpSocket) { .fd = -1 };
    q->first_lent = 0;
    q->nlent = 0;
    afp_start_ring(q);
    vhost_dp_link_attach(&q->afp->link, pair, ctx);
    return true;
}

static void afp_detach(VhostDPDriver *drv, unsigned pair)
{
    AfpQueue *q = afp_queue(drv, pair);

    afp_count_losses(q, q->sock.fd);
    vhost_dp_link_detach(&q->afp->link, pair);
    q->rx_enabled = false;
    q->tx_blocked = false;
    afp_update_handlers(q);
    /* Here the kernel goes on, until the pair is attached again */
    q->sock.first = q->next;
    q->port = NULL;
}

static bool afp_set_active(VhostDPDriver *drv, unsigned pair, bool active)
{
    vhost_dp_afp_set_active(VHOST_DP_AF_PACKET(drv), pair, active);
    /* What was steered here before is in the ring: the first pair gets it */
    return false;
}

/* ---- Transmission ---- */

/*
 * Build one msghdr per frame.  Returns the number built: fewer than @n when
 * the I/O vectors are used up.
 */
static unsigned afp_make_messages(AfpQueue *q, const VhostDPFrame *frames,
                                  unsigned n)
{
    unsigned niov = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        struct msghdr *msg = &q->tx_msg[i].msg_hdr;
        struct iovec *iov = &q->tx_iov[niov];

        if (unlikely(niov + 1 + frames[i].iovcnt > AFP_TX_IOV)) {
            break;
        }
        /* Packet sockets have it in the host's byte order */
        vhost_dp_vnet_hdr_put(&q->tx_hdr[i], &frames[i],
                              VHOST_DP_VNET_HDR_HOST);
        iov[0].iov_base = &q->tx_hdr[i];
        iov[0].iov_len = sizeof(q->tx_hdr[i]);
        if (likely(frames[i].iovcnt == 1)) {
            iov[1] = frames[i].iov[0];
        } else {
            memcpy(&iov[1], frames[i].iov, frames[i].iovcnt * sizeof(*iov));
        }
        msg->msg_iov = iov;
        msg->msg_iovlen = 1 + frames[i].iovcnt;
        niov += msg->msg_iovlen;
    }
    return i;
}

/* A frame could not be sent: @err says why.  Returns true to drop it. */
static bool afp_send_failed(AfpQueue *q, int err)
{
    VhostDPDropReason reason;

    switch (err) {
    case EAGAIN:
        q->tx_blocked = true;
        afp_update_handlers(q);
        return false;
    case ENOBUFS:
    case ENOMEM:
        reason = VHOST_DP_DROP_REASON_NO_BUFFER;
        break;
    case EMSGSIZE:
        /* Longer than the interface's MTU, and not to be segmented */
        reason = VHOST_DP_DROP_REASON_TOO_LARGE;
        break;
    case ENETDOWN:
    case ENXIO:
    case ENODEV:
        /* The watch sees to the link */
        reason = VHOST_DP_DROP_REASON_LINK_DOWN;
        break;
    default:
        reason = VHOST_DP_DROP_REASON_DRIVER_ERROR;
        break;
    }
    vhost_dp_port_drop_tx(q->port, reason, 1);
    return true;
}

/*
 * Returns how many messages it has finished with.  A socket keeps ENETDOWN
 * until a call tells of it, though the interface may be up again by then
 * (net/packet/af_packet.c): that one is no frame's fault.
 */
static unsigned afp_send(AfpQueue *q, unsigned n)
{
    bool told = false;
    unsigned done = 0;

    while (done < n) {
        int r = RETRY_ON_EINTR(sendmmsg(q->sock.fd, q->tx_msg + done, n - done,
                                        MSG_DONTWAIT));

        if (likely(r > 0)) {
            done += r;
        } else if (errno == ENETDOWN && !told) {
            told = true;
        } else if (afp_send_failed(q, errno)) {
            done++;
        } else {
            break;
        }
    }
    return done;
}

static unsigned afp_tx_burst(VhostDPDriver *drv, unsigned pair,
                             VhostDPFrame *frames, unsigned n)
{
    AfpQueue *q = afp_queue(drv, pair);
    unsigned done = 0;

    if (unlikely(q->down)) {
        vhost_dp_port_drop_tx(q->port, VHOST_DP_DROP_REASON_LINK_DOWN, n);
        return n;
    }
    while (done < n) {
        unsigned made = afp_make_messages(q, frames + done, n - done);
        unsigned sent = afp_send(q, made);

        done += sent;
        if (sent < made) {
            break;
        }
    }
    return done;
}

/* ---- Reception ---- */

/*
 * Put the VLAN tag back that the kernel took out.  The header in front of
 * @data, which it overwrites, was read.  Returns the new start of the frame.
 */
static uint8_t *afp_put_vlan(const struct tpacket2_hdr *slot, uint32_t status,
                             uint8_t *data, VhostDPFrame *frame)
{
    uint8_t *start = data - sizeof(struct vlan_header);

    memmove(start, data, 2 * ETH_ALEN);
    stw_be_p(start + 2 * ETH_ALEN, status & TP_STATUS_VLAN_TPID_VALID ?
             slot->tp_vlan_tpid : ETH_P_VLAN);
    stw_be_p(start + 2 * ETH_ALEN + 2, slot->tp_vlan_tci);
    frame->len += sizeof(struct vlan_header);
    frame->csum_start += sizeof(struct vlan_header);
    frame->hdr_len += sizeof(struct vlan_header);
    return start;
}

/*
 * Make a frame of a slot.  Returns false if there is none for the guest; that
 * was counted if need be.
 */
static bool afp_take(AfpQueue *q, struct tpacket2_hdr *slot, uint32_t status,
                     VhostDPFrame *frame)
{
    const struct sockaddr_ll *sll = (void *)((uint8_t *)slot +
                                             TPACKET_ALIGN(sizeof(*slot)));
    uint32_t mac = slot->tp_mac;
    uint32_t len = slot->tp_len;
    struct virtio_net_hdr hdr;
    uint8_t *data = (uint8_t *)slot + mac;
    VhostDPDropReason reason;

    if (unlikely(sll->sll_pkttype == PACKET_OUTGOING)) {
        /* The host's own; kernels without PACKET_IGNORE_OUTGOING */
        return false;
    }
    if (unlikely(slot->tp_snaplen < len || len > VHOST_DP_MAX_FRAME - 4 ||
                 mac > AFP_SLOT_BYTES - VHOST_DP_MAX_FRAME)) {
        reason = VHOST_DP_DROP_REASON_TOO_LARGE;
    } else if (unlikely(len < sizeof(struct eth_header) ||
                        mac < sizeof(hdr) + TPACKET2_HDRLEN)) {
        reason = VHOST_DP_DROP_REASON_TOO_SHORT;
    } else {
        memcpy(&hdr, data - sizeof(hdr), sizeof(hdr));
        frame->len = len;
        reason = VHOST_DP_DROP_REASON_BAD_HEADER;
        if (likely(vhost_dp_vnet_hdr_get(&hdr, frame,
                                         VHOST_DP_VNET_HDR_HOST))) {
            if (unlikely(status & TP_STATUS_VLAN_VALID)) {
                data = afp_put_vlan(slot, status, data, frame);
            }
            frame->inl[0].iov_base = data;
            frame->inl[0].iov_len = frame->len;
            frame->iov = frame->inl;
            frame->iovcnt = 1;
            return true;
        }
    }
    vhost_dp_port_drop_rx(q->port, reason, 1);
    return false;
}

static void afp_give_back(struct tpacket2_hdr *slot)
{
    qatomic_store_release(&slot->tp_status, TP_STATUS_KERNEL);
}

static unsigned afp_rx_burst(VhostDPDriver *drv, unsigned pair,
                             VhostDPFrame *frames, unsigned n)
{
    AfpQueue *q = afp_queue(drv, pair);
    uint32_t losing = 0;
    size_t bytes = 0;
    unsigned i = 0;
    unsigned tries;

    q->before_lent = q->slot[q->next ? q->next - 1 : AFP_SLOTS - 1];
    /* Bounded by tries, so that dropped frames cannot hold it up */
    for (tries = 0; tries < n && bytes < VHOST_DP_BURST_BYTES; tries++) {
        struct tpacket2_hdr *slot = q->slot[q->next];
        uint32_t status = qatomic_load_acquire(&slot->tp_status);

        if (!(status & TP_STATUS_USER)) {
            break;
        }
        afp_next_slot(q);
        losing |= status & TP_STATUS_LOSING;
        if (likely(afp_take(q, slot, status, &frames[i]))) {
            bytes += frames[i].len;
            q->lent[i++] = slot;
        } else {
            afp_give_back(slot);
        }
    }
    q->first_lent = 0;
    q->nlent = i;
    if (unlikely(losing || (q->was_full && !tries))) {
        q->was_full = false;
        afp_count_losses(q, q->sock.fd);
    }
    if (unlikely(tries && !i)) {
        /* 0 would tell the engine that no frame waits: more may be there */
        vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
    }
    return i;
}

static void afp_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    AfpQueue *q = afp_queue(drv, pair);

    /*
     * A frame tells of losses before it.  For those after the last one this
     * tells: the kernel fills slots in order, and has come round to ours.
     */
    if (unlikely(qatomic_read(&q->before_lent->tp_status) & TP_STATUS_USER)) {
        q->was_full = true;
    }
    q->nlent -= n;
    while (n--) {
        afp_give_back(q->lent[q->first_lent++]);
    }
    if (unlikely(q->old.ring && !q->nlent)) {
        afp_close(q, &q->old);
    }
}

static void afp_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    AfpQueue *q = afp_queue(drv, pair);

    q->rx_enabled = enable;
    afp_update_handlers(q);
}

void vhost_dp_afp_io_class_init(VhostDPDriverClass *dc)
{
    dc->attach = afp_attach;
    dc->detach = afp_detach;
    dc->set_active = afp_set_active;
    dc->tx_burst = afp_tx_burst;
    dc->rx_burst = afp_rx_burst;
    dc->rx_release = afp_rx_release;
    dc->rx_enable = afp_rx_enable;
}
