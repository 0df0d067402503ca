/*
 * vhost-dp: segmentation compared with Linux
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A frame with metadata is given to a tap interface that takes no offloads, so
 * Linux does the work before the frame can be read at the other end.  What is
 * read there has to be, byte by byte, what net/vhost-dp makes of the same
 * frame.  What Linux itself puts into a tunnel is compared, too.  No QEMU runs
 * here; this is no unit test since it needs a network namespace.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "libqtest.h"
#include "net/vhost-dp/offload/offload.h"
#include "tests/vhost-dp/lib/frames.h"
#include "host.h"

#define FRAGMENT_ID 0x1a2b3c4d

typedef struct Rig {
    int tap, sock;
    FrameSpec spec;
    uint8_t frame[DP_MAX_FRAME];
    uint8_t ours[DP_MAX_FRAME];
    uint8_t linux_s[DP_MAX_FRAME];
    unsigned nsegments;
} Rig;

/* Linux gets @frame, and is asked to do what is left to do */
static void give_to_linux(int sock, const FrameSpec *spec, const void *frame)
{
    struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = spec->gso_type,
        .gso_size = cpu_to_le16(spec->gso_size),
        .hdr_len = cpu_to_le16(spec->data),
        .csum_start = cpu_to_le16(spec->l4),
        .csum_offset = cpu_to_le16(spec->tcp ? 16 : 6),
    };

    dp_sock_send(sock, &hdr, frame, spec->len);
}

static Rig *rig_new(void)
{
    Rig *r = g_new0(Rig, 1);

    r->tap = dp_tap_open("wire0", 0);
    dp_if_up("wire0");
    r->sock = dp_sock_open("wire0", true);
    return r;
}

static void rig_free(Rig *r)
{
    close(r->sock);
    close(r->tap);
    g_free(r);
}

/* The next frame that is from the test */
static size_t read_segment(Rig *r)
{
    ssize_t len;

    do {
        dp_wait_until((len = read(r->tap, r->linux_s, DP_MAX_FRAME)) > 0);
    } while (memcmp(r->linux_s, r->frame, 12));
    return len;
}

static void check_segment(Rig *r, const VhostDPFrame *segment)
{
    size_t len = read_segment(r);
    size_t i;

    iov_to_buf(segment->iov, segment->iovcnt, 0, r->ours, segment->len);
    if (r->spec.gso_type == VIRTIO_NET_HDR_GSO_UDP && r->spec.ip6) {
        /* The identification is up to each, and the same in all fragments */
        static uint32_t id;
        size_t at = r->spec.l4 + 4;

        id = r->nsegments ? id : ldl_be_p(r->linux_s + at);
        g_assert_cmphex((uint32_t)ldl_be_p(r->linux_s + at), ==, id);
        g_assert_cmphex((uint32_t)ldl_be_p(r->ours + at), ==, FRAGMENT_ID);
        stl_be_p(r->ours + at, id);
    }
    for (i = 0; i < MIN(len, segment->len); i++) {
        if (r->ours[i] != r->linux_s[i]) {
            g_error("segment %u of %zu bytes, byte %zu (IP at %zu, TCP/UDP at "
                    "%zu): 0x%02x, and Linux has 0x%02x", r->nsegments, len, i,
                    r->spec.l3, r->spec.l4, r->ours[i], r->linux_s[i]);
        }
    }
    g_assert_cmpuint(segment->len, ==, len);
    r->nsegments++;
}

static void compare(Rig *r)
{
    struct iovec whole = { .iov_base = r->frame, .iov_len = r->spec.len };
    VhostDPFrame frame = {
        .iov = &whole,
        .iovcnt = 1,
        .len = r->spec.len,
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = r->spec.gso_type,
        .gso_size = r->spec.gso_size,
        .csum_start = r->spec.l4,
        .csum_offset = r->spec.tcp ? 16 : 6,
    };
    uint8_t head[VHOST_DP_HEAD_BYTES];
    VhostDPSegmenter seg;
    VhostDPFrame segment;
    struct iovec iov[2];

    give_to_linux(r->sock, &r->spec, r->frame);
    r->nsegments = 0;
    g_assert_true(vhost_dp_offload_check(&frame, r->frame,
                                         MIN(frame.len, VHOST_DP_HEAD_BYTES)));
    if (!frame.gso_type) {
        vhost_dp_offload_finish_checksum(&frame);
        check_segment(r, &frame);
        return;
    }
    vhost_dp_segmenter_init(&seg, &frame, r->frame, FRAGMENT_ID);
    for (; !vhost_dp_segmenter_done(&seg); vhost_dp_segmenter_advance(&seg)) {
        vhost_dp_segmenter_make(&seg, 0, &segment, head, iov);
        check_segment(r, &segment);
    }
}

/* One kind of segmentation, on many frames */
typedef struct Kind {
    const char *name;
    bool tcp;
    bool ip6;
    uint8_t gso_type;
} Kind;

static const Kind kinds[] = {
    { "tso4", true, false, VIRTIO_NET_HDR_GSO_TCPV4 },
    { "tso4-ecn", true, false,
      VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN },
    { "tso6", true, true, VIRTIO_NET_HDR_GSO_TCPV6 },
    { "tso6-ecn", true, true,
      VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN },
    { "ufo4", false, false, VIRTIO_NET_HDR_GSO_UDP },
    { "ufo6", false, true, VIRTIO_NET_HDR_GSO_UDP },
    { "uso4", false, false, VIRTIO_NET_HDR_GSO_UDP_L4 },
    { "uso6", false, true, VIRTIO_NET_HDR_GSO_UDP_L4 },
    { "checksum-tcp4", true, false, VIRTIO_NET_HDR_GSO_NONE },
    { "checksum-tcp6", true, true, VIRTIO_NET_HDR_GSO_NONE },
    { "checksum-udp4", false, false, VIRTIO_NET_HDR_GSO_NONE },
    { "checksum-udp6", false, true, VIRTIO_NET_HDR_GSO_NONE },
};

static void make_spec(FrameSpec *s, const Kind *k, GRand *rand)
{
    bool ufo = k->gso_type == VIRTIO_NET_HDR_GSO_UDP;

    *s = (FrameSpec) {
        .tags = g_rand_int_range(rand, 0, 3),
        .ip6 = k->ip6,
        .tcp = k->tcp,
        .tcp_flags = g_rand_int(rand),
        .ip_id = g_rand_int(rand),
        .dont_fragment = g_rand_boolean(rand),
        .seq = g_rand_int(rand),
        .seed = g_rand_int(rand),
        .gso_type = k->gso_type,
        .tcp_options = k->tcp ? g_rand_int_range(rand, 0, 11) * 4 : 0,
        /* Linux copies all options to all fragments, against RFC 791 */
        .ip_options = k->ip6 || ufo ? 0 : g_rand_int_range(rand, 0, 11) * 4,
    };
    if (!k->gso_type) {
        s->payload = g_rand_int_range(rand, 0, 1300);
        return;
    }
    s->payload = g_rand_int_range(rand, 1, 65000);
    s->gso_size = g_rand_int_range(rand, 500, 1400) & ~(ufo ? 7 : 0);
    if (k->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4) {
        /* Linux takes 128 segments */
        s->payload = MIN(s->payload, s->gso_size * 100);
    }
    if (s->payload + (k->tcp ? 0 : 8) <= s->gso_size) {
        /* Linux sends such a frame as it is, with the type's rules unused */
        s->payload = s->gso_size + 1;
    }
}

static void test_kind(const void *opaque)
{
    const Kind *kind = opaque;
    GRand *rand = g_rand_new_with_seed(g_test_rand_int());
    Rig *r = rig_new();
    unsigned i;

    for (i = 0; i < 50; i++) {
        make_spec(&r->spec, kind, rand);
        frames_build(&r->spec, r->frame);
        compare(r);
    }
    g_rand_free(rand);
    rig_free(r);
}

/* ---- Tunnels ---- */

/*
 * Linux makes frames of its own tunnel as it does for the TCP connections of a
 * host, and sends the same ones twice: whole, and in segments.
 */
typedef struct TunnelRig {
    DpVxlan vxlan;
    int inside;                 /* what is sent here goes into the tunnel ... */
    int outside;                /* ... and comes out of the cable here */
    FrameSpec spec;             /* of the inner frame */
    uint8_t inner[DP_MAX_FRAME];
    uint8_t frame[DP_MAX_FRAME];
    uint8_t ours[DP_MAX_FRAME];
    uint8_t linux_s[DP_MAX_FRAME];
} TunnelRig;

#define OUTER_L3    14
#define OUTER_L4(r) (OUTER_L3 + ((r)->vxlan.ip6 ? 40 : 20))
#define INNER(r)    (OUTER_L4(r) + 8 + 8)

static TunnelRig *tunnel_rig_new(const DpVxlan *vxlan)
{
    TunnelRig *r = g_new0(TunnelRig, 1);

    r->vxlan = *vxlan;
    dp_veth_new("host0", "wire0");
    dp_if_set_mtu("host0", 65535);
    dp_if_set_mtu("wire0", 65535);
    if (!dp_vxlan_new("vxlan0", vxlan, "host0", "wire0")) {
        g_free(r);
        return NULL;
    }
    r->inside = dp_sock_open("vxlan0", true);
    r->outside = dp_sock_open("wire0", true);
    return r;
}

static void tunnel_rig_free(TunnelRig *r)
{
    close(r->inside);
    close(r->outside);
    g_free(r);
}

/* What comes out next of what was put in; the kernel has frames of its own */
static size_t tunnel_read(TunnelRig *r, struct virtio_net_hdr *hdr,
                          uint8_t *frame)
{
    size_t len;

    do {
        len = dp_sock_recv(r->outside, 0, hdr, frame, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        g_assert_cmpuint(len, >, 0);
    } while (len < INNER(r) + 14 || memcmp(frame + INNER(r), r->inner, 12));
    return len;
}

/* The numbers of outer packets of IPv4 go on from one frame to the next */
static void take_outer_id(TunnelRig *r, uint16_t *difference, bool first)
{
    uint8_t *ours = r->ours + OUTER_L3;
    const uint8_t *theirs = r->linux_s + OUTER_L3;
    uint16_t d = lduw_be_p(theirs + 4) - lduw_be_p(ours + 4);

    g_assert_cmphex(frames_fold(frames_sum(ours, 20)), ==, 0xffff);
    if (first) {
        *difference = d;
    }
    g_assert_cmphex(d, ==, *difference);
    memcpy(ours + 4, theirs + 4, 2);
    memcpy(ours + 10, theirs + 10, 2);
}

/* RFC 768: for UDP, zero says that there is none */
static void complete_inner(TunnelRig *r, size_t len,
                           const struct virtio_net_hdr *hdr)
{
    uint8_t *field = r->linux_s + le16_to_cpu(hdr->csum_start) +
                     le16_to_cpu(hdr->csum_offset);

    dp_checksum_complete(r->linux_s, len, hdr);
    if (!r->spec.tcp && !lduw_be_p(field)) {
        stw_be_p(field, 0xffff);
    }
}

static void tunnel_compare(TunnelRig *r)
{
    struct iovec whole = { .iov_base = r->frame };
    struct virtio_net_hdr hdr;
    uint8_t head[VHOST_DP_HEAD_BYTES];
    uint16_t difference = 0;
    VhostDPSegmenter seg;
    VhostDPFrame frame, segment;
    struct iovec iov[2];

    dp_if_set_gso_max_segs("host0", 65535);
    give_to_linux(r->inside, &r->spec, r->inner);
    whole.iov_len = tunnel_read(r, &hdr, r->frame);
    frame = (VhostDPFrame) {
        .iov = &whole,
        .iovcnt = 1,
        .len = whole.iov_len,
        .flags = hdr.flags,
        .gso_type = hdr.gso_type,
        .gso_size = le16_to_cpu(hdr.gso_size),
        .csum_start = le16_to_cpu(hdr.csum_start),
        .csum_offset = le16_to_cpu(hdr.csum_offset),
    };
    /* That is what vhost-dp-af-packet receives */
    g_assert_cmpint(frame.gso_type & ~VIRTIO_NET_HDR_GSO_ECN, ==,
                    r->spec.gso_type & ~VIRTIO_NET_HDR_GSO_ECN);
    g_assert_cmpuint(frame.csum_start, ==, INNER(r) + r->spec.l4);
    g_assert_cmpuint(vhost_dp_offload_fits(&frame, r->frame,
                                           VHOST_DP_HEAD_BYTES), ==, 0);
    g_assert_true(vhost_dp_offload_check_received(&frame, r->frame,
                                                  VHOST_DP_HEAD_BYTES));

    dp_if_set_gso_max_segs("host0", 1);
    give_to_linux(r->inside, &r->spec, r->inner);
    vhost_dp_segmenter_init(&seg, &frame, r->frame, FRAGMENT_ID);
    for (; !vhost_dp_segmenter_done(&seg); vhost_dp_segmenter_advance(&seg)) {
        size_t len = tunnel_read(r, &hdr, r->linux_s);

        g_assert_cmpint(hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
        if (hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
            complete_inner(r, len, &hdr);
        }
        vhost_dp_segmenter_make(&seg, 0, &segment, head, iov);
        iov_to_buf(segment.iov, segment.iovcnt, 0, r->ours, segment.len);
        if (!r->vxlan.ip6) {
            take_outer_id(r, &difference, seg.index == 0);
        }
        dp_assert_frame(r->ours, segment.len, r->linux_s, len);
    }
}

typedef struct Tunnel {
    const char *name;
    DpVxlan vxlan;
} Tunnel;

static const Tunnel tunnels[] = {
    { "vxlan4", {} },
    { "vxlan4-checksum", { .checksum = true } },
    { "vxlan6", { .ip6 = true } },
    { "vxlan6-checksum", { .ip6 = true, .checksum = true } },
};

static void test_tunnel(const void *opaque)
{
    const Tunnel *tunnel = opaque;
    GRand *rand = g_rand_new_with_seed(g_test_rand_int());
    TunnelRig *r = tunnel_rig_new(&tunnel->vxlan);
    unsigned i, k;

    for (k = 0; r && k < ARRAY_SIZE(kinds); k++) {
        if (!kinds[k].gso_type || kinds[k].gso_type == VIRTIO_NET_HDR_GSO_UDP) {
            continue;
        }
        for (i = 0; i < 10; i++) {
            make_spec(&r->spec, &kinds[k], rand);
            r->spec.tags = 0;
            /* Linux takes 64 datagrams, and there are more headers */
            r->spec.payload = MIN(r->spec.payload, r->spec.gso_size * 50);
            r->spec.payload = MIN(r->spec.payload, 60000);
            frames_build(&r->spec, r->inner);
            tunnel_compare(r);
        }
    }
    if (r) {
        tunnel_rig_free(r);
    }
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(kinds); i++) {
        g_autofree char *name = g_strdup_printf("segment/%s", kinds[i].name);

        dp_add_test(name, &kinds[i], test_kind);
    }
    for (i = 0; i < ARRAY_SIZE(tunnels); i++) {
        g_autofree char *name = g_strdup_printf("segment/tunnel/%s",
                                                tunnels[i].name);

        dp_add_test(name, &tunnels[i], test_tunnel);
    }
    return g_test_run();
}
