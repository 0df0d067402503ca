/*
 * vhost-dp-tap: frames to and from a Linux TAP interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: one file descriptor per queue pair, used only by the
 * pair's IOThread between attach and detach.  Each frame travels with a struct
 * virtio_net_hdr (IFF_VNET_HDR, linux/if_tun.h), which is the frame's offload
 * metadata in little-endian byte order.  Frames are sent from where they are;
 * received frames are packed into one arena, which is reused when the engine
 * has released all of a burst.
 *
 * An interface that exists is attached to, one that does not is created, and
 * goes away with its last descriptor.  No script is run: addresses and bridges
 * are the administrator's business.  With fd=, QEMU needs no privileges.
 */

#include "qemu/osdep.h"
#include <net/if.h>
#include <sys/ioctl.h>
#include "qemu/bswap.h"
#include "qemu/ctype.h"
#include "qemu/cutils.h"
#include "qemu/iov.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qom/object_interfaces.h"
#include "monitor/monitor.h"
#include "net/eth.h"
#include "net/tap-linux.h"
#include "net/tap_int.h"
#include "net/vhost-dp.h"
#include "standard-headers/linux/virtio_net.h"
#include "trace.h"

#define TYPE_VHOST_DP_TAP "vhost-dp-tap"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPTap, VHOST_DP_TAP)

#define TAP_DEVICE "/dev/net/tun"

/* One vector is needed for the header; the kernel takes UIO_MAXIOV = 1024 */
#define TAP_MAX_SEGMENTS (IOV_MAX - 1)

/* Room for a full burst and the frame that crosses its limit */
#define TAP_ARENA_BYTES (VHOST_DP_BURST_BYTES + VHOST_DP_MAX_FRAME)

typedef struct TapQueue {
    int fd;
    VhostDPPort *port;          /* while attached */
    AioContext *ctx;

    /* The IOThread's own */
    bool rx_enabled;
    bool tx_blocked;            /* waits until the fd is writable */
    bool gone;                  /* the interface was deleted */
    struct iovec tx_iov[TAP_MAX_SEGMENTS + 1];  /* of the frame being sent */
    uint8_t *arena;             /* received frames */
    size_t arena_used;
    unsigned lent;
} TapQueue;

struct VhostDPTap {
    VhostDPDriver parent_obj;

    /* Options, as the user wrote them */
    char *ifname;
    char *fd;

    int passed_fd;              /* what fd= named, once found, or -1 */
    uint32_t offloads;          /* that the kernel has */
    char real_ifname[IFNAMSIZ]; /* while open */
    TapQueue queue;
};

static const char *tap_id(const VhostDPTap *tap)
{
    return object_get_canonical_path_component(OBJECT(tap));
}

/* ---- Options ---- */

/* What the kernel's dev_valid_name() accepts; %d asks it for a number */
static bool tap_valid_name(const char *name)
{
    const char *p;

    if (!*name || !strcmp(name, ".") || !strcmp(name, "..")) {
        return false;
    }
    for (p = name; *p; p++) {
        if (*p == '/' || *p == ':' || g_ascii_isspace(*p)) {
            return false;
        }
    }
    return true;
}

static bool tap_check_options(VhostDPDriver *drv, Error **errp)
{
    ERRP_GUARD();
    VhostDPTap *tap = VHOST_DP_TAP(drv);
    const char *id = tap_id(tap);
    const char *name = tap->ifname ?: id;

    if (tap->fd) {
        if (tap->ifname) {
            error_setg(errp, "vhost-dp-tap '%s': ifname=%s and fd=%s exclude "
                       "each other", id, tap->ifname, tap->fd);
            return false;
        }
        return true;
    }
    if (strlen(name) >= IFNAMSIZ) {
        error_setg(errp, "vhost-dp-tap '%s': %s%s is too long for the name of "
                   "an interface: at most %d characters", id,
                   tap->ifname ? "ifname=" : "the default of ifname=, id=",
                   name, IFNAMSIZ - 1);
        error_append_hint(errp, "Give a shorter name with ifname=.\n");
        return false;
    }
    if (!tap_valid_name(name)) {
        error_setg(errp, "vhost-dp-tap '%s': ifname=%s is not a valid name of "
                   "an interface", id, name);
        error_append_hint(errp, "A name has 1 to %d characters other than "
                          "'/', ':' and white space.\n", IFNAMSIZ - 1);
        return false;
    }
    return true;
}

static char *tap_get_ifname(Object *obj, Error **errp)
{
    VhostDPTap *tap = VHOST_DP_TAP(obj);

    if (tap->real_ifname[0]) {
        return g_strdup(tap->real_ifname);
    }
    return g_strdup(tap->ifname ?: tap->fd ? "" : tap_id(tap));
}

static bool tap_may_change(VhostDPTap *tap, const char *option, Error **errp)
{
    if (tap->parent_obj.claimed_by) {
        error_setg(errp, "vhost-dp-tap '%s': %s= cannot be changed while "
                   "netdev '%s' uses the driver", tap_id(tap), option,
                   tap->parent_obj.claimed_by);
        return false;
    }
    return true;
}

static void tap_set_ifname(Object *obj, const char *value, Error **errp)
{
    VhostDPTap *tap = VHOST_DP_TAP(obj);

    if (tap_may_change(tap, "ifname", errp)) {
        g_free(tap->ifname);
        tap->ifname = g_strdup(value);
    }
}

static char *tap_get_fd_option(Object *obj, Error **errp)
{
    return g_strdup(VHOST_DP_TAP(obj)->fd ?: "");
}

static void tap_set_fd_option(Object *obj, const char *value, Error **errp)
{
    VhostDPTap *tap = VHOST_DP_TAP(obj);

    if (tap_may_change(tap, "fd", errp)) {
        if (tap->passed_fd >= 0) {
            close(tap->passed_fd);
            tap->passed_fd = -1;
        }
        g_free(tap->fd);
        tap->fd = g_strdup(value);
    }
}

/* ---- Opening ---- */

/* Attach to interface @name, or create it.  Returns a descriptor, or -1. */
static int tap_attach_by_name(VhostDPTap *tap, const char *name, Error **errp)
{
    ERRP_GUARD();
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    bool exists = if_nametoindex(name) != 0;
    int fd, r;

    fd = RETRY_ON_EINTR(qemu_open_old(TAP_DEVICE, O_RDWR | O_NONBLOCK));
    if (fd < 0) {
        r = errno;
        error_setg_errno(errp, r, "vhost-dp-tap '%s': ifname=%s: cannot open "
                         "%s", tap_id(tap), name, TAP_DEVICE);
        error_append_hint(errp, "%s\n", r == ENOENT || r == ENODEV ?
                          "Load the kernel's driver with: modprobe tun" :
                          "Or pass an open descriptor with fd=.");
        return -1;
    }

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    r = ioctl(fd, TUNSETIFF, &ifr);
    if (r < 0 && errno == EINVAL && exists) {
        /* One that was created with multi_queue wants to hear it again */
        ifr.ifr_flags |= IFF_MULTI_QUEUE;
        r = ioctl(fd, TUNSETIFF, &ifr);
    }
    if (r == 0) {
        return fd;
    }

    r = errno;
    close(fd);
    if (r == EPERM && !exists) {
        error_setg(errp, "vhost-dp-tap '%s': ifname=%s: there is no such "
                   "interface, and no permission to create it", tap_id(tap),
                   name);
        error_append_hint(errp, "Let the administrator create it: "
                          "ip tuntap add mode tap name %s user NAME\n"
                          "or give QEMU CAP_NET_ADMIN, or pass an open "
                          "descriptor with fd=.\n", name);
    } else if (r == EPERM) {
        error_setg(errp, "vhost-dp-tap '%s': ifname=%s: no permission to use "
                   "the interface", tap_id(tap), name);
        error_append_hint(errp, "It belongs to another user: create it with "
                          "'user NAME', give QEMU CAP_NET_ADMIN, or pass an "
                          "open descriptor with fd=.\n");
    } else if (r == EBUSY) {
        error_setg(errp, "vhost-dp-tap '%s': ifname=%s: the interface is in "
                   "use", tap_id(tap), name);
        error_append_hint(errp, "Another program or driver has it open: "
                          "choose another interface.\n");
    } else if (r == EINVAL && exists) {
        error_setg(errp, "vhost-dp-tap '%s': ifname=%s: the interface exists, "
                   "and is not a tap", tap_id(tap), name);
        error_append_hint(errp, "Choose another name with ifname=.\n");
    } else {
        error_setg_errno(errp, r, "vhost-dp-tap '%s': ifname=%s: cannot use "
                         "the interface", tap_id(tap), name);
    }
    return -1;
}

/* Is @fd a tap with a virtio-net header?  Sets the interface's name. */
static bool tap_check_fd(VhostDPTap *tap, int fd, Error **errp)
{
    ERRP_GUARD();
    struct ifreq ifr = {};

    if (ioctl(fd, TUNGETIFF, &ifr) < 0 || !(ifr.ifr_flags & IFF_TAP)) {
        error_setg(errp, "vhost-dp-tap '%s': fd=%s is not a descriptor of a "
                   "tap interface", tap_id(tap), tap->fd ?: "none");
        error_append_hint(errp, "Open %s and use TUNSETIFF with IFF_TAP | "
                          "IFF_NO_PI | IFF_VNET_HDR.\n", TAP_DEVICE);
        return false;
    }
    if (!(ifr.ifr_flags & IFF_VNET_HDR)) {
        error_setg(errp, "vhost-dp-tap '%s': fd=%s: interface '%s' was opened "
                   "without a virtio-net header (vnet_hdr)", tap_id(tap),
                   tap->fd ?: "none", ifr.ifr_name);
        error_append_hint(errp, "Use IFF_VNET_HDR with TUNSETIFF.\n");
        return false;
    }
    if (!(ifr.ifr_flags & IFF_NO_PI)) {
        error_setg(errp, "vhost-dp-tap '%s': fd=%s: interface '%s' was opened "
                   "with packet information", tap_id(tap), tap->fd ?: "none",
                   ifr.ifr_name);
        error_append_hint(errp, "Use IFF_NO_PI with TUNSETIFF.\n");
        return false;
    }
    if (ifr.ifr_flags & IFF_DETACH_QUEUE) {
        error_setg(errp, "vhost-dp-tap '%s': fd=%s is a detached queue of "
                   "interface '%s'", tap_id(tap), tap->fd ?: "none",
                   ifr.ifr_name);
        error_append_hint(errp, "Use TUNSETQUEUE with IFF_ATTACH_QUEUE.\n");
        return false;
    }
    pstrcpy(tap->real_ifname, sizeof(tap->real_ifname), ifr.ifr_name);
    return true;
}

/*
 * The descriptor that fd= names.  It is kept until the object goes, so that
 * the driver can be claimed again.
 */
static int tap_find_passed_fd(VhostDPTap *tap, Error **errp)
{
    ERRP_GUARD();
    int fd;

    if (tap->passed_fd >= 0) {
        return tap->passed_fd;
    }
    fd = monitor_fd_param(monitor_cur(), tap->fd, errp);
    if (fd < 0) {
        error_prepend(errp, "vhost-dp-tap '%s': fd=%s: ", tap_id(tap),
                      tap->fd);
        return -1;
    }
    if (!tap_check_fd(tap, fd, errp)) {
        /* A number may be anything, stdin too; only a name gave it to us */
        if (!qemu_isdigit(tap->fd[0])) {
            close(fd);
        }
        return -1;
    }
    tap->passed_fd = fd;
    return fd;
}

static bool tap_configure(VhostDPTap *tap, int fd, Error **errp)
{
    NetdevTapOptions defaults = {};
    int hdr_len = sizeof(struct virtio_net_hdr);
    int little_endian = 1;
    GError *gerr = NULL;

    if (!g_unix_set_fd_nonblocking(fd, true, &gerr)) {
        error_setg(errp, "vhost-dp-tap '%s': %s", tap_id(tap), gerr->message);
        g_error_free(gerr);
        return false;
    }
    /* A persistent tap remembers what its last user set */
    if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_len) < 0) {
        error_setg_errno(errp, errno, "vhost-dp-tap '%s': cannot set the size "
                         "of the virtio-net header", tap_id(tap));
        return false;
    }
    if (ioctl(fd, TUNSETVNETLE, &little_endian) < 0 && HOST_BIG_ENDIAN) {
        error_setg_errno(errp, errno, "vhost-dp-tap '%s': cannot set the byte "
                         "order of the virtio-net header", tap_id(tap));
        return false;
    }
    tap_set_sndbuf(fd, &defaults, NULL);

    tap->offloads = VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_TSO4 |
                    VHOST_DP_OFFLOAD_TSO6 | VHOST_DP_OFFLOAD_ECN;
    if (tap_probe_has_ufo(fd)) {
        tap->offloads |= VHOST_DP_OFFLOAD_UFO;
    }
    if (tap_probe_has_uso(fd)) {
        tap->offloads |= VHOST_DP_OFFLOAD_USO4 | VHOST_DP_OFFLOAD_USO6;
    }
    tap_fd_set_offload(fd, 0, 0, 0, 0, 0, 0, 0);
    return true;
}

static bool tap_open_driver(VhostDPDriver *drv, unsigned queue_pairs,
                            Error **errp)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);
    int fd;

    /* The options may have been changed since the object was made */
    if (!tap_check_options(drv, errp)) {
        return false;
    }
    if (tap->fd) {
        fd = tap_find_passed_fd(tap, errp);
    } else {
        fd = tap_attach_by_name(tap, tap->ifname ?: tap_id(tap), errp);
    }
    if (fd < 0) {
        return false;
    }
    if (!tap_check_fd(tap, fd, errp) || !tap_configure(tap, fd, errp)) {
        tap->real_ifname[0] = '\0';
        if (fd != tap->passed_fd) {
            close(fd);
        }
        return false;
    }
    tap->queue.fd = fd;
    trace_vhost_dp_tap_open(tap_id(tap), tap->real_ifname, fd, tap->offloads);
    return true;
}

static void tap_close_driver(VhostDPDriver *drv)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);

    trace_vhost_dp_tap_close(tap_id(tap), tap->real_ifname, tap->queue.fd);
    if (tap->queue.fd != tap->passed_fd) {
        close(tap->queue.fd);
    }
    tap->queue.fd = -1;
    tap->real_ifname[0] = '\0';
}

static void tap_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);

    *caps = (VhostDPCaps) {
        .max_queue_pairs = 1,
        .max_frame = VHOST_DP_MAX_FRAME,
        .max_segments = TAP_MAX_SEGMENTS,
        .tx_offloads = tap->offloads,
        .rx_offloads = tap->offloads,
    };
}

static char *tap_describe(VhostDPDriver *drv)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);

    return tap->fd ? g_strdup_printf("ifname=%s,fd=%d", tap->real_ifname,
                                     tap->queue.fd) :
                     g_strdup_printf("ifname=%s", tap->real_ifname);
}

static void tap_set_offload(VhostDPDriver *drv, uint32_t offloads)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);

    tap_fd_set_offload(tap->queue.fd,
                       !!(offloads & VHOST_DP_OFFLOAD_CSUM),
                       !!(offloads & VHOST_DP_OFFLOAD_TSO4),
                       !!(offloads & VHOST_DP_OFFLOAD_TSO6),
                       !!(offloads & VHOST_DP_OFFLOAD_ECN),
                       !!(offloads & VHOST_DP_OFFLOAD_UFO),
                       !!(offloads & VHOST_DP_OFFLOAD_USO4),
                       !!(offloads & VHOST_DP_OFFLOAD_USO6));
}

/* ---- The data side: the queue pair's IOThread ---- */

static void tap_update_handlers(TapQueue *q);

static void tap_readable(void *opaque)
{
    TapQueue *q = opaque;

    vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
}

static void tap_writable(void *opaque)
{
    TapQueue *q = opaque;

    q->tx_blocked = false;
    tap_update_handlers(q);
    vhost_dp_port_ready(q->port, VHOST_DP_READY_TX);
}

static void tap_update_handlers(TapQueue *q)
{
    aio_set_fd_handler(q->ctx, q->fd,
                       q->rx_enabled && !q->gone ? tap_readable : NULL,
                       q->tx_blocked && !q->gone ? tap_writable : NULL,
                       NULL, NULL, q);
}

static bool tap_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                       AioContext *ctx, Error **errp)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue;

    q->port = port;
    q->ctx = ctx;
    q->rx_enabled = false;
    q->tx_blocked = false;
    q->gone = false;
    q->arena = g_malloc(TAP_ARENA_BYTES);
    q->arena_used = 0;
    q->lent = 0;
    return true;
}

static void tap_detach(VhostDPDriver *drv, unsigned pair)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue;

    q->gone = true;
    tap_update_handlers(q);
    g_free(q->arena);
    q->arena = NULL;
    q->port = NULL;
}

/* The kernel answers EBADFD once the interface is deleted */
static void tap_gone(TapQueue *q)
{
    if (!q->gone) {
        q->gone = true;
        tap_update_handlers(q);
        vhost_dp_port_set_link(q->port, false, "the tap interface was deleted");
    }
}

static void tap_put_hdr(const VhostDPFrame *frame, struct virtio_net_hdr *hdr)
{
    memset(hdr, 0, sizeof(*hdr));
    if (likely(!frame->flags && !frame->gso_type)) {
        return;
    }
    hdr->flags = frame->flags;
    hdr->csum_start = cpu_to_le16(frame->csum_start);
    hdr->csum_offset = cpu_to_le16(frame->csum_offset);
    hdr->gso_type = frame->gso_type;
    hdr->gso_size = cpu_to_le16(frame->gso_size);
    hdr->hdr_len = cpu_to_le16(frame->hdr_len);
}

static ssize_t tap_write(TapQueue *q, const VhostDPFrame *frame)
{
    struct virtio_net_hdr hdr;
    struct iovec *iov = q->tx_iov;

    tap_put_hdr(frame, &hdr);
    iov[0].iov_base = &hdr;
    iov[0].iov_len = sizeof(hdr);
    memcpy(&iov[1], frame->iov, frame->iovcnt * sizeof(iov[0]));
    return RETRY_ON_EINTR(writev(q->fd, iov, frame->iovcnt + 1));
}

/* A frame could not be written: @err says why.  Returns true to drop it. */
static bool tap_write_failed(TapQueue *q, int err)
{
    VhostDPDropReason reason;

    switch (err) {
    case EAGAIN:
        q->tx_blocked = true;
        tap_update_handlers(q);
        return false;
    case ENOBUFS:
    case ENOMEM:
        reason = VHOST_DP_DROP_REASON_NO_BUFFER;
        break;
    case EIO:
        /* The interface is not up (drivers/net/tun.c) */
        reason = VHOST_DP_DROP_REASON_LINK_DOWN;
        break;
    case EBADFD:
        tap_gone(q);
        reason = VHOST_DP_DROP_REASON_LINK_DOWN;
        break;
    default:
        reason = VHOST_DP_DROP_REASON_DRIVER_ERROR;
        break;
    }
    vhost_dp_port_drop(q->port, true, reason, 1);
    return true;
}

static unsigned tap_tx_burst(VhostDPDriver *drv, unsigned pair,
                             VhostDPFrame *frames, unsigned n)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue;
    unsigned i;

    for (i = 0; i < n; i++) {
        if (tap_write(q, &frames[i]) < 0 && !tap_write_failed(q, errno)) {
            break;
        }
    }
    return i;
}

static void tap_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue;

    q->rx_enabled = enable;
    tap_update_handlers(q);
}

static void tap_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue;

    q->lent -= n;
    if (!q->lent) {
        q->arena_used = 0;
    }
}

static bool tap_get_hdr(const struct virtio_net_hdr *hdr, VhostDPFrame *frame)
{
    frame->flags = hdr->flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM |
                                 VIRTIO_NET_HDR_F_DATA_VALID);
    frame->gso_type = hdr->gso_type;
    if (likely(!frame->flags && !frame->gso_type)) {
        return true;
    }
    frame->csum_start = le16_to_cpu(hdr->csum_start);
    frame->csum_offset = le16_to_cpu(hdr->csum_offset);
    frame->gso_size = le16_to_cpu(hdr->gso_size);
    frame->hdr_len = le16_to_cpu(hdr->hdr_len);
    return !(frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
           (uint32_t)frame->csum_start + frame->csum_offset +
           sizeof(uint16_t) <= frame->len;
}

/* Receive one frame.  Returns 1, 0 if it was dropped, or -1 if none is there */
static int tap_read(TapQueue *q, VhostDPFrame *frame)
{
    struct virtio_net_hdr hdr;
    uint8_t *buf = q->arena + q->arena_used;
    struct iovec iov[] = {
        { .iov_base = &hdr, .iov_len = sizeof(hdr) },
        { .iov_base = buf, .iov_len = VHOST_DP_MAX_FRAME },
    };
    ssize_t len = RETRY_ON_EINTR(readv(q->fd, iov, ARRAY_SIZE(iov)));
    VhostDPDropReason reason;

    if (likely(len >= (ssize_t)(sizeof(hdr) + sizeof(struct eth_header)))) {
        frame->len = len - sizeof(hdr);
        frame->inl[0].iov_base = buf;
        frame->inl[0].iov_len = frame->len;
        frame->iov = frame->inl;
        frame->iovcnt = 1;
        if (likely(tap_get_hdr(&hdr, frame))) {
            q->arena_used += ROUND_UP(frame->len, 64);
            q->lent++;
            return 1;
        }
        reason = VHOST_DP_DROP_REASON_BAD_HEADER;
    } else if (len >= 0) {
        reason = VHOST_DP_DROP_REASON_TOO_SHORT;
    } else if (errno == EFAULT || errno == EINVAL) {
        /* The kernel drops a frame for which the vectors have no room */
        reason = VHOST_DP_DROP_REASON_TOO_LARGE;
    } else {
        if (errno == EBADFD) {
            tap_gone(q);
        } else if (errno != EAGAIN) {
            vhost_dp_port_drop(q->port, false,
                               VHOST_DP_DROP_REASON_DRIVER_ERROR, 1);
        }
        return -1;
    }
    vhost_dp_port_drop(q->port, false, reason, 1);
    return 0;
}

static unsigned tap_rx_burst(VhostDPDriver *drv, unsigned pair,
                             VhostDPFrame *frames, unsigned n)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue;
    unsigned i = 0;
    unsigned tries;

    /* Bounded by tries, so that dropped frames cannot hold it up */
    for (tries = 0; tries < n && q->arena_used < VHOST_DP_BURST_BYTES;
         tries++) {
        int r = tap_read(q, &frames[i]);

        if (r < 0) {
            break;
        }
        i += r;
    }
    return i;
}

/* ---- The object ---- */

static void tap_instance_init(Object *obj)
{
    VhostDPTap *tap = VHOST_DP_TAP(obj);

    tap->passed_fd = -1;
    tap->queue.fd = -1;
}

static void tap_instance_finalize(Object *obj)
{
    VhostDPTap *tap = VHOST_DP_TAP(obj);

    if (tap->passed_fd >= 0) {
        close(tap->passed_fd);
    }
    g_free(tap->ifname);
    g_free(tap->fd);
}

static void tap_class_init(ObjectClass *oc, void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->check_options = tap_check_options;
    dc->open = tap_open_driver;
    dc->close = tap_close_driver;
    dc->get_caps = tap_get_caps;
    dc->describe = tap_describe;
    dc->set_offload = tap_set_offload;
    dc->attach = tap_attach;
    dc->detach = tap_detach;
    dc->tx_burst = tap_tx_burst;
    dc->rx_burst = tap_rx_burst;
    dc->rx_release = tap_rx_release;
    dc->rx_enable = tap_rx_enable;

    object_class_property_add_str(oc, "ifname", tap_get_ifname,
                                  tap_set_ifname);
    object_class_property_set_description(oc, "ifname",
        "tap interface to attach to, or to create (default: the object's id); "
        "reads back the interface's real name");
    object_class_property_add_str(oc, "fd", tap_get_fd_option,
                                  tap_set_fd_option);
    object_class_property_set_description(oc, "fd",
        "open descriptor of a tap interface, as a number or as the name given "
        "to getfd");
}

static const TypeInfo tap_info = {
    .name = TYPE_VHOST_DP_TAP,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(VhostDPTap),
    .instance_init = tap_instance_init,
    .instance_finalize = tap_instance_finalize,
    .class_init = tap_class_init,
};

static void tap_register_types(void)
{
    type_register_static(&tap_info);
}

type_init(tap_register_types)
