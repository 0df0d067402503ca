/*
 * vhost-dp-vhost-user: the protocol with the peer
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a state machine in the main loop, under the BQL, that
 * waits for nobody.  There is one message under way at a time: it is made,
 * sent, and when it has a reply, that is waited for, with a deadline.  A peer
 * with VHOST_USER_PROTOCOL_F_REPLY_ACK acknowledges each.  What is said is in
 * docs/interop/vhost-user.rst.
 *
 * What a peer refuses is no breach of the protocol: it is told to the user with
 * the option that leads to it.  Only of a virtqueue's size is there less to ask
 * for, so that is halved as often as it takes.
 *
 * The memory table has one region, the set's memory.  It is the same for the
 * peer's "guest" and "user" addresses: no address of QEMU's is told.
 *
 * A peer that says what makes no sense, too much, or nothing, loses its
 * connection.  Its messages are received into a buffer of a fixed size, and
 * their descriptors are closed unless they are expected.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "standard-headers/linux/virtio_net.h"
#include "vhost-user-int.h"
#include "trace.h"

#define VU_FEATURE(bit) (1ULL << (bit))

/* Protocol features that are of use here */
#define VU_PROTOCOL_FEATURES                                          \
    (VU_FEATURE(VHOST_USER_PROTOCOL_F_MQ) |                           \
     VU_FEATURE(VHOST_USER_PROTOCOL_F_REPLY_ACK) |                    \
     VU_FEATURE(VHOST_USER_PROTOCOL_F_NET_MTU))

static bool vu_has(uint64_t features, unsigned bit)
{
    return features & VU_FEATURE(bit);
}

/* ---- The end of a connection ---- */

static void vu_set_pairs(VhostDPVhostUser *vu, VhostDPVqSet *set,
                         const char *reason)
{
    unsigned i;

    for (i = 0; i < vu->npairs; i++) {
        vhost_dp_vqpair_set(vu->pair[i], set, reason);
    }
}

static void vu_fail(VhostDPVhostUser *vu, const char *reason)
{
    if (vu->state == VU_FAILED) {
        return;
    }
    trace_vhost_dp_vu_fail(vu->parent_obj.id, reason);
    vu->state = VU_FAILED;
    vu->failed = true;
    timer_del(vu->deadline);
    vu_set_pairs(vu, NULL, reason);
    qemu_bh_schedule(vu->bh);
}

void vhost_dp_vu_fail(VhostDPVhostUser *vu, const char *fmt, ...)
{
    g_autofree char *reason = NULL;
    va_list ap;

    va_start(ap, fmt);
    reason = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    vu_fail(vu, reason);
}

void vhost_dp_vu_violation(VhostDPVhostUser *vu, VhostDPPeerViolation why,
                           const char *fmt, ...)
{
    g_autofree char *text = NULL;
    g_autofree char *reason = NULL;
    va_list ap;

    if (vu->state == VU_FAILED) {
        return;
    }
    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    reason = g_strdup_printf("the peer broke a rule of vhost-user: %s (%s)",
                             text, VhostDPPeerViolation_str(why));
    vhost_dp_vqpair_count_violation(vu->pair[0], why);
    vu_fail(vu, reason);
}

static const char *vu_request_name(uint32_t request)
{
    static const char *const names[] = {
        [VHOST_USER_GET_FEATURES] = "VHOST_USER_GET_FEATURES",
        [VHOST_USER_SET_FEATURES] = "VHOST_USER_SET_FEATURES",
        [VHOST_USER_SET_OWNER] = "VHOST_USER_SET_OWNER",
        [VHOST_USER_SET_MEM_TABLE] = "VHOST_USER_SET_MEM_TABLE",
        [VHOST_USER_SET_VRING_NUM] = "VHOST_USER_SET_VRING_NUM",
        [VHOST_USER_SET_VRING_ADDR] = "VHOST_USER_SET_VRING_ADDR",
        [VHOST_USER_SET_VRING_BASE] = "VHOST_USER_SET_VRING_BASE",
        [VHOST_USER_SET_VRING_KICK] = "VHOST_USER_SET_VRING_KICK",
        [VHOST_USER_SET_VRING_CALL] = "VHOST_USER_SET_VRING_CALL",
        [VHOST_USER_GET_PROTOCOL_FEATURES] =
            "VHOST_USER_GET_PROTOCOL_FEATURES",
        [VHOST_USER_SET_PROTOCOL_FEATURES] =
            "VHOST_USER_SET_PROTOCOL_FEATURES",
        [VHOST_USER_GET_QUEUE_NUM] = "VHOST_USER_GET_QUEUE_NUM",
        [VHOST_USER_SET_VRING_ENABLE] = "VHOST_USER_SET_VRING_ENABLE",
        [VHOST_USER_NET_SET_MTU] = "VHOST_USER_NET_SET_MTU",
    };

    /* Only of our own */
    assert(request < ARRAY_SIZE(names) && names[request]);
    return names[request];
}

static void vu_deadline(void *opaque)
{
    VhostDPVhostUser *vu = opaque;

    vhost_dp_vu_violation(vu, VHOST_DP_PEER_VIOLATION_TIMEOUT,
                          vu->out_pending ? "%s was not read in %d s" :
                                            "no reply to %s in %d s",
                          vu_request_name(vu->out.request),
                          VU_REPLY_MS / 1000);
}

void vhost_dp_vu_gone(VhostDPVhostUser *vu, int err)
{
    g_autofree char *hint = NULL;

    if (vu->state == VU_SETUP && vu->step > VU_SET_NUM &&
        !vu_has(vu->protocol_features, VHOST_USER_PROTOCOL_F_REPLY_ACK)) {
        /* Without REPLY_ACK a peer can refuse a request only by closing */
        hint = g_strdup_printf(", during the setup: it may not accept "
                               "queue-size=%u", vu->num);
    }
    vhost_dp_vu_fail(vu, "the peer has gone%s%s%s", err ? ": " : "",
                     err ? strerror(err) : "", hint ?: "");
}

/* ---- Messages to the peer ---- */

static void vu_message(VhostDPVhostUser *vu, uint32_t request, uint32_t size)
{
    memset(&vu->out, 0, VHOST_USER_HDR_SIZE + sizeof(vu->out.payload));
    vu->out.request = request;
    vu->out.flags = 1;          /* the protocol's version */
    vu->out.size = size;
    vu->out_fd = -1;
    vu->out_pending = true;
    vu->expected = 0;
}

static void vu_get(VhostDPVhostUser *vu, uint32_t request)
{
    vu_message(vu, request, 0);
    vu->expected = request;
}

static void vu_set(VhostDPVhostUser *vu, uint32_t request, uint32_t size)
{
    vu_message(vu, request, size);
    if (vu_has(vu->protocol_features, VHOST_USER_PROTOCOL_F_REPLY_ACK)) {
        vu->out.flags |= VHOST_USER_NEED_REPLY_MASK;
        vu->expected = request;
    }
}

static void vu_set_u64(VhostDPVhostUser *vu, uint32_t request, uint64_t value)
{
    vu_set(vu, request, sizeof(value));
    vu->out.payload.u64 = value;
}

static void vu_set_state(VhostDPVhostUser *vu, uint32_t request,
                         unsigned index, unsigned num)
{
    vu_set(vu, request, sizeof(vu->out.payload.state));
    vu->out.payload.state.index = index;
    vu->out.payload.state.num = num;
}

static void vu_set_fd(VhostDPVhostUser *vu, uint32_t request, unsigned index,
                      const EventNotifier *notifier)
{
    vu_set_u64(vu, request, index);
    vu->out_fd = event_notifier_get_fd(notifier);
}

static void vu_set_mem_table(VhostDPVhostUser *vu)
{
    VhostUserMemory memory = { .nregions = 1 };

    vu_set(vu, VHOST_USER_SET_MEM_TABLE,
           offsetof(VhostUserMemory, regions[1]));
    memory.regions[0].guest_phys_addr = VHOST_DP_VQ_IOVA;
    memory.regions[0].memory_size = vu->set->size;
    memory.regions[0].userspace_addr = VHOST_DP_VQ_IOVA;
    memory.regions[0].mmap_offset = 0;
    memcpy(&vu->out.payload.memory, &memory, vu->out.size);
    vu->out_fd = vu->set->fd;
}

static uint64_t vu_ring_addr(const VhostDPVhostUser *vu, const void *part)
{
    return VHOST_DP_VQ_IOVA + vhost_dp_vqset_offset(vu->set, part);
}

static void vu_set_addr(VhostDPVhostUser *vu, unsigned index)
{
    const VhostDPVq *vq = &vu->set->vq[index];
    struct vhost_vring_addr addr = {
        .index = index,
        .desc_user_addr = vu_ring_addr(vu, vq->desc),
        .avail_user_addr = vu_ring_addr(vu, vq->driver),
        .used_user_addr = vu_ring_addr(vu, vq->device),
    };

    vu_set(vu, VHOST_USER_SET_VRING_ADDR, sizeof(addr));
    memcpy(&vu->out.payload.addr, &addr, sizeof(addr));
}

/* Returns false if that failed */
static bool vu_make_set(VhostDPVhostUser *vu)
{
    Error *err = NULL;

    vu->num = vu->queue_size;
    vu->set = vhost_dp_vqset_new(vu->peer_pairs, vu->num,
                                 VHOST_DP_VQ_SMALL_PAGES, &err);
    if (!vu->set || !vhost_dp_vqset_guard(vu->set, &err)) {
        vhost_dp_vu_fail(vu, "%s", error_get_pretty(err));
        error_free(err);
        return false;
    }
    return true;
}

static void vu_set_features(VhostDPVhostUser *vu)
{
    uint64_t offered = vu->peer_features;
    uint64_t extra = offered & VU_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);

    if (vu->mtu) {
        extra |= offered & VU_FEATURE(VIRTIO_NET_F_MTU);
    }
    if (!vu->packed) {
        offered &= ~VU_FEATURE(VIRTIO_F_RING_PACKED);
    }
    if (!vu->parent_obj.offloads) {
        offered &= VHOST_DP_VQ_RING_FEATURES;
    }
    vu->features = vhost_dp_vq_choose_features(offered);
    vu_set_u64(vu, VHOST_USER_SET_FEATURES, vu->features | extra);
}

/* Go on with the next virtqueue, or with what comes after them */
static void vu_next_vring(VhostDPVhostUser *vu, VuStep again)
{
    if (++vu->vring < 2 * vu->peer_pairs) {
        vu->step = again;
    } else {
        vu->vring = 0;
        vu->step++;
    }
}

static void vu_make_vring_message(VhostDPVhostUser *vu)
{
    const VhostDPVq *vq = &vu->set->vq[vu->vring];

    switch (vu->step) {
    case VU_SET_CALL:
        vu_set_fd(vu, VHOST_USER_SET_VRING_CALL, vu->vring, &vq->call);
        vu_next_vring(vu, VU_SET_CALL);
        return;
    case VU_SET_NUM:
        vu_set_state(vu, VHOST_USER_SET_VRING_NUM, vu->vring, vu->num);
        vu_next_vring(vu, VU_SET_NUM);
        return;
    case VU_SET_BASE:
        vu_set_state(vu, VHOST_USER_SET_VRING_BASE, vu->vring,
                     vq->packed ? 0x80008000 : 0);
        vu->step = VU_SET_ADDR;
        return;
    case VU_SET_ADDR:
        vu_set_addr(vu, vu->vring);
        vu->step = VU_SET_KICK;
        return;
    case VU_SET_KICK:
        vu_set_fd(vu, VHOST_USER_SET_VRING_KICK, vu->vring, &vq->kick);
        vu_next_vring(vu, VU_SET_BASE);
        return;
    default:
        /* Rings are enabled from the beginning without protocol features */
        if (vu_has(vu->peer_features, VHOST_USER_F_PROTOCOL_FEATURES)) {
            vu_set_state(vu, VHOST_USER_SET_VRING_ENABLE, vu->vring, 1);
        }
        vu_next_vring(vu, VU_ENABLE);
        return;
    }
}

static bool vu_is_vring_step(VuStep step)
{
    return step == VU_SET_CALL || step == VU_SET_NUM ||
           (step >= VU_SET_BASE && step <= VU_ENABLE);
}

/* Make the message of this step, if it has one, and go to the next */
static void vu_make_step_message(VhostDPVhostUser *vu)
{
    bool protocol = vu_has(vu->peer_features, VHOST_USER_F_PROTOCOL_FEATURES);

    if (vu_is_vring_step(vu->step)) {
        if (vu->set || vu_make_set(vu)) {
            vu_make_vring_message(vu);
        }
        return;
    }
    switch (vu->step++) {
    case VU_GET_FEATURES:
    case VU_SYNC:
        /* At the end: everything before it was done when the reply comes */
        vu_get(vu, VHOST_USER_GET_FEATURES);
        break;
    case VU_GET_PROTOCOL_FEATURES:
        if (protocol) {
            vu_get(vu, VHOST_USER_GET_PROTOCOL_FEATURES);
        }
        break;
    case VU_SET_PROTOCOL_FEATURES:
        if (protocol) {
            /* Not acknowledged: that is only being agreed on */
            vu_message(vu, VHOST_USER_SET_PROTOCOL_FEATURES, sizeof(uint64_t));
            vu->out.payload.u64 = vu->protocol_features;
        }
        break;
    case VU_GET_QUEUE_NUM:
        vu->peer_pairs = 1;
        if (vu_has(vu->protocol_features, VHOST_USER_PROTOCOL_F_MQ)) {
            vu_get(vu, VHOST_USER_GET_QUEUE_NUM);
        }
        break;
    case VU_SET_OWNER:
        vu_set(vu, VHOST_USER_SET_OWNER, 0);
        break;
    case VU_SET_FEATURES:
        vu_set_features(vu);
        break;
    case VU_SET_MTU:
        if (vu->mtu && vu_has(vu->peer_features, VIRTIO_NET_F_MTU) &&
            vu_has(vu->protocol_features, VHOST_USER_PROTOCOL_F_NET_MTU)) {
            vu_set_u64(vu, VHOST_USER_NET_SET_MTU, vu->mtu);
        }
        break;
    case VU_SET_MEM_TABLE:
        vu_set_mem_table(vu);
        break;
    case VU_START_SET:
        vhost_dp_vqset_set_num(vu->set, vu->num);
        vhost_dp_vqset_start(vu->set, vu->features);
        break;
    default:
        g_assert_not_reached();
    }
}

/* Follow the guest, which uses other queue pairs now: both rings of each */
static void vu_make_active_message(VhostDPVhostUser *vu)
{
    uint64_t differs = (qatomic_read(&vu->active) ^ vu->told_active) &
                       MAKE_64BIT_MASK(0, vu->peer_pairs);

    if (!vu_has(vu->peer_features, VHOST_USER_F_PROTOCOL_FEATURES)) {
        return;
    }
    if (!vu->vring) {
        if (!differs) {
            return;
        }
        vu->told_pair = ctz64(differs);
        vu->told_active ^= 1ULL << vu->told_pair;
    }
    vu_set_state(vu, VHOST_USER_SET_VRING_ENABLE,
                 2 * vu->told_pair + vu->vring,
                 !!(vu->told_active & (1ULL << vu->told_pair)));
    vu->vring ^= 1;
}

/* The peer has all that it needs */
static void vu_run(VhostDPVhostUser *vu)
{
    unsigned i;

    trace_vhost_dp_vu_run(vu->parent_obj.id, vu->set->features,
                          vu->protocol_features);
    vu->state = VU_RUNNING;
    vu->vring = 0;
    vu->running_since = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    vu->connects++;
    vu->failed = false;
    vu->told_active = MAKE_64BIT_MASK(0, vu->peer_pairs);
    /* A ring starts with a kick */
    for (i = 0; i < 2 * vu->peer_pairs; i++) {
        event_notifier_set(&vu->set->vq[i].kick);
    }
    vu_set_pairs(vu, vu->set, NULL);
}

/* Send what is pending.  Returns false if it has to wait, or failed. */
static bool vu_send(VhostDPVhostUser *vu)
{
    int r = vhost_dp_vu_conn_send(vu, &vu->out,
                                  VHOST_USER_HDR_SIZE + vu->out.size,
                                  vu->out_fd);

    if (r == -EAGAIN) {
        timer_mod(vu->deadline, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                                VU_REPLY_MS);
        return false;
    }
    if (r == -EPIPE || r == -ECONNRESET) {
        vhost_dp_vu_gone(vu, -r);
        return false;
    }
    if (r < 0) {
        vhost_dp_vu_fail(vu, "cannot send to the peer: %s", strerror(-r));
        return false;
    }
    vu->out_pending = false;
    if (vu->expected) {
        timer_mod(vu->deadline, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                                VU_REPLY_MS);
    } else {
        timer_del(vu->deadline);
    }
    return true;
}

void vhost_dp_vu_proto_continue(VhostDPVhostUser *vu)
{
    while (vu->state == VU_SETUP || vu->state == VU_RUNNING) {
        if (!vu->out_pending) {
            if (vu->expected) {
                return;
            }
            if (vu->state == VU_SETUP && vu->step == VU_DONE) {
                vu_run(vu);
            } else if (vu->state == VU_SETUP) {
                vu_make_step_message(vu);
            } else {
                vu_make_active_message(vu);
                if (!vu->out_pending) {
                    return;
                }
            }
        }
        if (vu->out_pending && !vu_send(vu)) {
            return;
        }
    }
}

/* ---- Messages from the peer ---- */

static void vu_check_features(VhostDPVhostUser *vu, uint64_t features)
{
    if ((features & VHOST_DP_VQ_NEEDED_FEATURES) !=
        VHOST_DP_VQ_NEEDED_FEATURES) {
        vhost_dp_vu_fail(vu, "the peer lacks the feature VIRTIO_F_VERSION_1: "
                         "it offers 0x%" PRIx64, features);
        return;
    }
    vu->peer_features = features;
}

static void vu_check_queue_num(VhostDPVhostUser *vu, uint64_t num)
{
    if (!num || num > UINT16_MAX) {
        vhost_dp_vu_violation(vu, VHOST_DP_PEER_VIOLATION_MESSAGE_VALUE,
                              "%" PRIu64 " queue pairs", num);
    } else {
        vu->peer_pairs = MIN(num, vu->npairs);
    }
}

static void vu_take_refusal(VhostDPVhostUser *vu)
{
    const char *name = vu_request_name(vu->expected);

    switch (vu->expected) {
    case VHOST_USER_SET_VRING_NUM:
        if (vu->num > VHOST_DP_VQ_MIN_NUM) {
            vu->num /= 2;
            vu->vring = 0;
            vu->step = VU_SET_NUM;
            return;
        }
        vhost_dp_vu_fail(vu, "the peer refused queue-size=%u, and every "
                         "smaller size down to %u (%s)", vu->queue_size,
                         VHOST_DP_VQ_MIN_NUM, name);
        return;
    case VHOST_USER_NET_SET_MTU:
        vhost_dp_vu_fail(vu, "the peer refused mtu=%u (%s)", vu->mtu, name);
        return;
    case VHOST_USER_SET_FEATURES:
        vhost_dp_vu_fail(vu, "the peer refused the features 0x%" PRIx64
                         ", of those that it offers (%s)",
                         vu->out.payload.u64, name);
        return;
    case VHOST_USER_SET_MEM_TABLE:
        vhost_dp_vu_fail(vu, "the peer refused the %zu KiB of memory that "
                         "queues=%u and queue-size=%u take (%s)",
                         vu->set->size / KiB, vu->peer_pairs, vu->queue_size,
                         name);
        return;
    default:
        vhost_dp_vu_fail(vu, "the peer refused %s", name);
        return;
    }
}

/* A reply that is complete and belongs to the request */
static void vu_take_reply(VhostDPVhostUser *vu, uint64_t value)
{
    switch (vu->expected) {
    case VHOST_USER_GET_FEATURES:
        /* The one that ends the start says nothing new */
        if (vu->step <= VU_SYNC) {
            vu_check_features(vu, value);
        }
        break;
    case VHOST_USER_GET_PROTOCOL_FEATURES:
        vu->protocol_features = value & VU_PROTOCOL_FEATURES;
        break;
    case VHOST_USER_GET_QUEUE_NUM:
        vu_check_queue_num(vu, value);
        break;
    default:
        if (value) {
            vu_take_refusal(vu);
        }
        break;
    }
}

static bool vu_check_header(VhostDPVhostUser *vu)
{
    const VhostUserMsg *in = &vu->in;

    if (in->request != vu->expected || !vu->expected || vu->out_pending ||
        (in->flags & VHOST_USER_VERSION_MASK) != 1 ||
        !(in->flags & VHOST_USER_REPLY_MASK)) {
        vhost_dp_vu_violation(vu, VHOST_DP_PEER_VIOLATION_MESSAGE_HEADER,
                              "message %u with flags 0x%x, where %s%s is due",
                              in->request, in->flags,
                              vu->expected ? "a reply to " : "none",
                              vu->expected ? vu_request_name(vu->expected) :
                                             "");
        return false;
    }
    if (in->size != sizeof(uint64_t)) {
        vhost_dp_vu_violation(vu, VHOST_DP_PEER_VIOLATION_MESSAGE_SIZE,
                              "reply to %s has %u bytes",
                              vu_request_name(vu->expected), in->size);
        return false;
    }
    return true;
}

size_t vhost_dp_vu_proto_wants(const VhostDPVhostUser *vu)
{
    if (vu->state != VU_SETUP && vu->state != VU_RUNNING) {
        return 0;
    }
    /* The size was checked when the header was complete */
    return (vu->in_have < VHOST_USER_HDR_SIZE ? VHOST_USER_HDR_SIZE :
            VHOST_USER_HDR_SIZE + vu->in.size) - vu->in_have;
}

void vhost_dp_vu_proto_received(VhostDPVhostUser *vu, size_t len)
{
    uint64_t value;

    vu->in_have += len;
    if (vu->in_nfds) {
        vhost_dp_vu_violation(vu, VHOST_DP_PEER_VIOLATION_MESSAGE_FDS,
                              "%u file descriptors came with a message",
                              vu->in_nfds);
        return;
    }
    if (vu->in_have < VHOST_USER_HDR_SIZE) {
        return;
    }
    if (vu->in_have == VHOST_USER_HDR_SIZE) {
        vu_check_header(vu);
        return;
    }
    if (vu->in_have < VHOST_USER_HDR_SIZE + vu->in.size) {
        return;
    }
    vu->in_have = 0;
    value = vu->in.payload.u64;
    timer_del(vu->deadline);
    trace_vhost_dp_vu_reply(vu->parent_obj.id, vu->expected, value);
    vu_take_reply(vu, value);
    vu->expected = 0;
    vhost_dp_vu_proto_continue(vu);
}

/* ---- Life ---- */

void vhost_dp_vu_proto_start(VhostDPVhostUser *vu)
{
    trace_vhost_dp_vu_connected(vu->parent_obj.id);
    vu->state = VU_SETUP;
    vu->step = VU_GET_FEATURES;
    /* After a failure the reason why the last connection ended stays */
    if (!vu->failed) {
        vu_set_pairs(vu, NULL,
                     "the peer is connected, but has not answered yet");
    }
    vhost_dp_vu_proto_continue(vu);
}

void vhost_dp_vu_proto_reset(VhostDPVhostUser *vu)
{
    timer_del(vu->deadline);
    while (vu->in_nfds) {
        close(vu->in_fds[--vu->in_nfds]);
    }
    vu->in_have = 0;
    vu->out_pending = false;
    vu->expected = 0;
    vu->vring = 0;
    vu->num = 0;
    vu->peer_features = 0;
    vu->features = 0;
    vu->protocol_features = 0;
    if (vu->set) {
        vhost_dp_vqset_unref(vu->set);
        vu->set = NULL;
    }
}

void vhost_dp_vu_proto_init(VhostDPVhostUser *vu)
{
    vu->deadline = timer_new_ms(QEMU_CLOCK_REALTIME, vu_deadline, vu);
}

void vhost_dp_vu_proto_cleanup(VhostDPVhostUser *vu)
{
    vhost_dp_vu_proto_reset(vu);
    timer_free(vu->deadline);
    vu->deadline = NULL;
}
