/*
 * vhost-dp: qtests, a NIC with its netdev, and frames through it
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "guest.h"

/* ---- Frames ---- */

void dp_transmit_on(DpNic *nic, unsigned pair,
                    const struct virtio_net_hdr *hdr, const void *frame,
                    size_t len)
{
    DpQueue *q = &nic->queue[2 * pair + DP_TX];
    DpBuf buf = { .len = nic->hdr_len + len };
    uint8_t *p;
    uint16_t id;

    buf.addr = dp_alloc(nic->guest, buf.len);
    p = dp_host(nic->guest, buf.addr);
    memset(p, 0, nic->hdr_len);
    if (hdr) {
        memcpy(p, hdr, sizeof(*hdr));
    }
    memcpy(p + nic->hdr_len, frame, len);
    id = dp_add(q, &buf, 1);
    dp_publish(q);
    g_assert_cmpuint(dp_wait_used(q, NULL), ==, id);
    guest_free(&nic->guest->alloc, buf.addr);
}

void dp_transmit(DpNic *nic, const struct virtio_net_hdr *hdr,
                 const void *frame, size_t len)
{
    dp_transmit_on(nic, 0, hdr, frame, len);
}

void dp_check_transmit_on(DpNic *nic, unsigned pair, int sock, size_t len,
                          unsigned seed)
{
    g_autofree uint8_t *frame = g_malloc(len);
    g_autofree uint8_t *got = g_malloc(DP_MAX_FRAME);
    size_t got_len;

    dp_make_frame(frame, len, seed);
    dp_transmit_on(nic, pair, NULL, frame, len);
    got_len = dp_sock_recv(sock, DP_ETHERTYPE, NULL, got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
    dp_assert_frame(got, got_len, frame, len);
}

void dp_check_transmit(DpNic *nic, int sock, size_t len, unsigned seed)
{
    dp_check_transmit_on(nic, 0, sock, len, seed);
}

uint64_t dp_post_on(DpNic *nic, unsigned pair, unsigned n, size_t size)
{
    DpQueue *q = &nic->queue[2 * pair + DP_RX];
    uint64_t first = dp_alloc(nic->guest, n * size);
    unsigned i;

    memset(dp_host(nic->guest, first), 0xee, n * size);
    for (i = 0; i < n; i++) {
        DpBuf buf = { .addr = first + i * size, .len = size, .write = true };

        dp_add(q, &buf, 1);
    }
    dp_publish(q);
    return first;
}

uint64_t dp_post(DpNic *nic, unsigned n, size_t size)
{
    return dp_post_on(nic, 0, n, size);
}

size_t dp_receive_on(DpNic *nic, unsigned pair, struct virtio_net_hdr_v1 *hdr,
                     void *frame, size_t size)
{
    DpQueue *q = &nic->queue[2 * pair + DP_RX];
    g_autofree uint8_t *whole = g_malloc(nic->hdr_len + size);
    struct virtio_net_hdr_v1 h = {};
    unsigned left = 1;
    size_t len = 0;
    bool first = true;

    while (left--) {
        uint32_t n;
        const DpBuf *buf = dp_first_buf(q, dp_wait_used(q, &n));

        g_assert_cmpuint(n, <=, buf->len);
        g_assert_cmpuint(len + n, <=, nic->hdr_len + size);
        memcpy(whole + len, dp_host(nic->guest, buf->addr), n);
        len += n;
        if (first) {
            first = false;
            g_assert_cmpuint(n, >=, nic->hdr_len);
            memcpy(&h, whole, MIN(nic->hdr_len, sizeof(h)));
            if (nic->features & DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF)) {
                left = le16_to_cpu(h.num_buffers) - 1;
            } else if (nic->features & DP_FEATURE(VIRTIO_F_VERSION_1)) {
                /* Section 5.1.6.4.1: it is set in any case */
                g_assert_cmpuint(le16_to_cpu(h.num_buffers), ==, 1);
            }
        }
    }
    if (hdr) {
        *hdr = h;
    }
    memcpy(frame, whole + nic->hdr_len, len - nic->hdr_len);
    return len - nic->hdr_len;
}

size_t dp_receive(DpNic *nic, struct virtio_net_hdr_v1 *hdr, void *frame,
                  size_t size)
{
    return dp_receive_on(nic, 0, hdr, frame, size);
}

void dp_check_receive(DpNic *nic, int sock, size_t len, unsigned seed)
{
    g_autofree uint8_t *frame = g_malloc(len);
    g_autofree uint8_t *got = g_malloc(DP_MAX_FRAME);
    uint64_t buf = dp_post(nic, 1, nic->hdr_len + len);
    struct virtio_net_hdr_v1 hdr;
    size_t got_len;

    dp_make_frame(frame, len, seed);
    dp_sock_send(sock, NULL, frame, len);
    got_len = dp_receive(nic, &hdr, got, DP_MAX_FRAME);
    dp_assert_frame(got, got_len, frame, len);
    g_assert_cmpint(hdr.flags, ==, 0);
    g_assert_cmpint(hdr.gso_type, ==, 0);
    guest_free(&nic->guest->alloc, buf);
}

/* ---- All together ---- */

/* A filter of the type, unless @options is NULL, which stands on *driver */
static char *rig_filter(const char *type, const char *id, const char **driver,
                        const char *options)
{
    char *object;

    if (!options) {
        return g_strdup("");
    }
    object = g_strdup_printf("-object vhost-dp-%s,id=%s,driver=%s%s%s ", type,
                             id, *driver, *options ? "," : "", options);
    *driver = id;
    return object;
}

static DpGuest *rig_guest_new(const DpSetup *setup, unsigned pairs,
                              const char *device)
{
    const char *driver = setup->null ? "null0" : "tap0";
    g_autofree char *queues = pairs > 1 ? g_strdup_printf(",queues=%u", pairs)
                                        : g_strdup("");
    const char *top = driver;
    g_autofree char *throttle = rig_filter("throttle", "lim0", &top,
                                           setup->filter);
    g_autofree char *dump = rig_filter("dump", "dump0", &top, setup->dump);
    g_autofree char *options = NULL;

    options = g_strdup_printf("%s -object vhost-dp-%s,id=%s%s%s %s%s"
                              "-netdev vhost-dp,id=vd0,driver=%s%s%s%s "
                              "%smq=%s,in_order=%s,%s %s",
                              setup->options ?: "",
                              setup->null ? "null" : "tap", driver,
                              setup->driver ? "," : "", setup->driver ?: "",
                              throttle, dump, top, queues,
                              setup->netdev ? "," : "", setup->netdev ?: "",
                              setup->mmio ? DP_MMIO_DEVICE : DP_DEVICE,
                              pairs > 1 ? "on" : "off",
                              setup->features & DP_FEATURE(VIRTIO_F_IN_ORDER) ?
                              "on" : "off",
                              device, setup->more ?: "");
    return dp_guest_new_on(setup->mmio, setup->qemu, options,
                           setup->split_ram, setup->oob);
}

static void rig_use_nic(DpRig *r)
{
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    if (r->pairs > 1) {
        dp_nic_set_pairs(r->nic, r->pairs);
    }
}

DpRig *dp_rig_start(const DpSetup *setup, bool vnet_hdr)
{
    return dp_rig_start_on(setup, setup->null ? NULL : "tap0", vnet_hdr);
}

DpRig *dp_rig_start_on(const DpSetup *setup, const char *ifname, bool vnet_hdr)
{
    DpRig *r = g_new0(DpRig, 1);

    r->pairs = MAX(setup->pairs, 1);
    r->options = setup->options ?: "";
    r->device = setup->device ?: setup->mmio ? "event_idx=on"
                                             : "disable-legacy=on";
    r->guest = rig_guest_new(setup, r->pairs, r->device);
    r->qts = r->guest->qts;
    dp_wait_settled(r->qts);
    r->sock = ifname ? dp_sock_open(ifname, vnet_hdr) : -1;
    r->features = (setup->bare ? 0 : DP_FEATURES_DEFAULT) | setup->features;
    if (r->pairs > 1) {
        r->features |= DP_FEATURE(VIRTIO_NET_F_MQ) |
                       DP_FEATURE(VIRTIO_NET_F_CTRL_VQ);
    }
    if (setup->prepare) {
        setup->prepare(r->guest, setup->opaque);
    }
    r->nic = dp_nic_probe(r->guest, setup->slot ?: DP_SLOT);
    r->nic->ring_size = setup->ring_size ?: DP_RING_SIZE;
    r->nic->late = setup->late;
    if (setup->msix) {
        dp_nic_use_msix(r->nic);
    }
    dp_nic_start(r->nic, r->features);
    rig_use_nic(r);
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    return r;
}

DpRig *dp_rig_new(uint64_t features)
{
    return dp_rig_start(&(DpSetup) { .features = features }, false);
}

void dp_rig_restart(DpRig *r)
{
    dp_nic_reset(r->nic);
    dp_nic_start(r->nic, r->features);
    rig_use_nic(r);
}

/* Map the RAM of @guest where it has been */
static void map_ram(DpGuest *guest)
{
    g_assert(mmap(guest->ram, DP_RAM_SIZE, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_FIXED, guest->ram_fd, 0) == guest->ram);
}

void dp_rig_swap(DpRig *r, DpGuest *other)
{
    DpGuest *guest = r->guest;
    QTestState *qts = guest->qts;
    int ram_fd = guest->ram_fd;

    guest->qts = guest->bus->qts = r->qts = other->qts;
    guest->ram_fd = other->ram_fd;
    other->qts = other->bus->qts = qts;
    other->ram_fd = ram_fd;
    map_ram(guest);
    map_ram(other);
}

void dp_rig_quit(DpRig *r)
{
    qtest_quit(r->qts);
    r->guest->qts = r->qts = NULL;
}

void dp_rig_free(DpRig *r)
{
    dp_nic_free(r->nic);
    dp_guest_free(r->guest);
    if (r->sock >= 0) {
        close(r->sock);
    }
    g_free(r->frame);
    g_free(r->got);
    g_free(r);
}

/* ---- What becomes of the interface ---- */

typedef struct Change {
    void (*fn)(const char *name);
    const char *name;
} Change;

static gpointer change_soon(gpointer opaque)
{
    const Change *change = opaque;

    g_usleep(10 * 1000);
    change->fn(change->name);
    return NULL;
}

/* Some frames on each queue pair, all of which the device has to use */
static void send_on_all(DpRig *r, const DpBuf *buf)
{
    unsigned i, k;

    for (k = 0; k < r->pairs; k++) {
        DpQueue *tx = &r->nic->queue[2 * k + DP_TX];

        for (i = 0; i < 32; i++) {
            dp_add(tx, buf, 1);
        }
        dp_publish(tx);
        /* Without a link it is virtio-net that takes them, if it is kicked */
        dp_kick(tx);
        for (i = 0; i < 32; i++) {
            dp_wait_used(tx, NULL);
        }
    }
}

void dp_change_under_traffic(DpRig *r, void (*fn)(const char *name),
                             const char *name, const char *word)
{
    DpBuf buf = { .addr = dp_alloc(r->guest, 128),
                  .len = r->nic->hdr_len + 100 };
    uint8_t *p = dp_host(r->guest, buf.addr);
    Change change = { fn, name };
    GThread *thread = g_thread_new("change", change_soon, &change);

    memset(p, 0, r->nic->hdr_len);
    dp_make_frame(p + r->nic->hdr_len, 100, 1);
    dp_wait_until((send_on_all(r, &buf), dp_link_is(r, false, word)));
    g_thread_join(thread);
    guest_free(&r->guest->alloc, buf.addr);
}
