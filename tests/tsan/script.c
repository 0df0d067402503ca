/*
 * vhost-dp stress: a driver that does what the test says
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/module.h"
#include "script.h"

VhostDPFrame script_make_frame(FrameSpec *spec)
{
    static uint8_t data[TX_LEN];

    spec->payload = sizeof(data) - frames_len(spec);
    frames_build(spec, data);
    return (VhostDPFrame) {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_offset = 16,
        .gso_type = spec->gso_type, .gso_size = spec->gso_size,
        .hdr_len = spec->data, .csum_start = spec->l4,
        .len = sizeof(data), .iovcnt = 1, .inl[0] = { data, sizeof(data) },
        .hash = 0x12345678, .hash_report = VIRTIO_NET_HASH_REPORT_TCPv4,
    };
}

static bool script_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    return true;
}

static void script_close(VhostDPDriver *drv)
{
}

static void script_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) {
        .max_queue_pairs = 2,
        .max_frame = VHOST_DP_MAX_FRAME,
        .max_segments = 2,
    };
}

static bool script_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                          AioContext *ctx, Error **errp)
{
    qatomic_set(&STRESS_DRIVER(drv)->ports[pair], port);
    return true;
}

static void script_detach(VhostDPDriver *drv, unsigned pair)
{
    qatomic_set(&STRESS_DRIVER(drv)->ports[pair], NULL);
}

static unsigned script_tx_burst(VhostDPDriver *drv, unsigned pair,
                                VhostDPFrame *frames, unsigned n)
{
    ScriptDriver *s = STRESS_DRIVER(drv);
    unsigned taken = MIN(n, qatomic_read(&s->room));
    unsigned i;

    for (i = 0; i < taken; i++) {
        if (frames[i].len == TX_LEN) {
            qatomic_inc(&s->sent_whole);
        }
    }
    if (taken) {
        qatomic_set(&s->order, qatomic_read(&s->order) * 10 + pair + 1);
    }
    qatomic_sub(&s->room, taken);
    qatomic_add(&s->sent, taken);
    return taken;
}

static unsigned script_rx_burst(VhostDPDriver *drv, unsigned pair,
                                VhostDPFrame *frames, unsigned n)
{
    static uint8_t contents[UINT8_MAX + 1][RX_LEN];
    ScriptDriver *s = STRESS_DRIVER(drv);
    uint8_t *data = contents[qatomic_read(&s->content)];
    unsigned i;

    n = pair == s->pair ? MIN(n, qatomic_read(&s->have)) : 0;
    memset(data, qatomic_read(&s->content), RX_LEN);
    for (i = 0; i < n; i++) {
        frames[i] = s->special ? *s->special : (VhostDPFrame) {
            .len = RX_LEN, .iovcnt = 1, .inl[0] = { data, RX_LEN },
        };
        frames[i].iov = frames[i].inl;
    }
    /* Whoever sees that it has no more, sees that they are lent */
    qatomic_add(&s->lent, n);
    qatomic_sub(&s->have, n);
    return n;
}

static void script_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    qatomic_sub(&STRESS_DRIVER(drv)->lent, n);
}

static void script_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
}

static void script_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->open = script_open;
    dc->close = script_close;
    dc->get_caps = script_get_caps;
    dc->attach = script_attach;
    dc->detach = script_detach;
    dc->tx_burst = script_tx_burst;
    dc->rx_burst = script_rx_burst;
    dc->rx_release = script_rx_release;
    dc->rx_enable = script_rx_enable;
}

static const TypeInfo script_info = {
    .name = TYPE_STRESS_DRIVER,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(ScriptDriver),
    .class_init = script_class_init,
};

static void script_register_types(void)
{
    type_register_static(&script_info);
}

type_init(script_register_types)
