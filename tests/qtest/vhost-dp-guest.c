/*
 * vhost-dp: qtests, the guest's side of a virtio-net device
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "libqos/malloc-pc.h"
#include "libqos/pci-pc.h"
#include "standard-headers/linux/virtio_pci.h"
#include "vhost-dp-guest.h"

#define RAM_SIZE (64 * MiB)
#define RING_ALIGN 4096

/* ---- The machine ---- */

DpGuest *dp_guest_new_env(const char *var, const char *options)
{
    DpGuest *guest = g_new0(DpGuest, 1);
    g_autofree char *args = NULL;

    /* QEMU inherits the descriptor */
    guest->ram_fd = memfd_create("vhost-dp-qtest", 0);
    g_assert_cmpint(guest->ram_fd, >=, 0);
    g_assert_cmpint(ftruncate(guest->ram_fd, RAM_SIZE), ==, 0);
    guest->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                      guest->ram_fd, 0);
    g_assert(guest->ram != MAP_FAILED);

    args = g_strdup_printf("-M pc,memory-backend=ram -m 64 -nodefaults "
                           "-object memory-backend-file,id=ram,size=64M,"
                           "share=on,mem-path=/proc/self/fd/%d %s",
                           guest->ram_fd, options);
    guest->qts = qtest_init_with_env(var, args, true);
    pc_alloc_init(&guest->alloc, guest->qts, ALLOC_NO_FLAGS);
    guest->bus = qpci_new_pc(guest->qts, &guest->alloc);
    return guest;
}

DpGuest *dp_guest_new(const char *fmt, ...)
{
    g_autofree char *options = NULL;
    va_list ap;

    va_start(ap, fmt);
    options = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return dp_guest_new_env(NULL, options);
}

void dp_guest_free(DpGuest *guest)
{
    qpci_free_pc(guest->bus);
    alloc_destroy(&guest->alloc);
    qtest_quit(guest->qts);
    munmap(guest->ram, RAM_SIZE);
    close(guest->ram_fd);
    g_free(guest);
}

uint64_t dp_alloc(DpGuest *guest, size_t size)
{
    return guest_alloc(&guest->alloc, size);
}

void *dp_host(DpGuest *guest, uint64_t gpa)
{
    g_assert_cmphex(gpa, <, RAM_SIZE);
    return guest->ram + gpa;
}

void dp_guest_was_reset(DpGuest *guest)
{
    qpci_free_pc(guest->bus);
    guest->bus = qpci_new_pc(guest->qts, &guest->alloc);
}

/* ---- The device ---- */

DpNic *dp_nic_probe(DpGuest *guest, unsigned slot)
{
    DpNic *nic = g_new0(DpNic, 1);
    QPCIAddress addr = { .devfn = QPCI_DEVFN(slot, 0) };

    nic->guest = guest;
    nic->slot = slot;
    nic->pci = virtio_pci_new(guest->bus, &addr);
    g_assert_nonnull(nic->pci);
    nic->vdev = &nic->pci->vdev;
    qvirtio_pci_device_enable(nic->pci);
    qvirtio_start_device(nic->vdev);
    return nic;
}

static bool nic_is_modern(const DpNic *nic)
{
    return nic->pci->common_cfg_offset || nic->pci->notify_off_multiplier;
}

/*
 * libqos initialises rings one word at a time, through QEMU, which takes a
 * while; and it does not choose their size.
 */
static void queue_setup(DpNic *nic, unsigned index)
{
    DpQueue *q = &nic->queue[index];
    QVirtQueue *vq = &q->pci.vq;
    QVirtioDevice *d = nic->vdev;
    size_t size;

    memset(q, 0, sizeof(*q));
    q->guest = nic->guest;
    d->bus->queue_select(d, index);
    vq->vdev = d;
    vq->index = index;
    vq->size = d->bus->get_queue_size(d);
    vq->align = RING_ALIGN;
    vq->event = nic->features & DP_FEATURE(VIRTIO_RING_F_EVENT_IDX);
    vq->indirect = nic->features & DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
    q->pci.msix_entry = -1;
    q->pci.msix_data = 0x12345678;
    g_assert_cmpuint(vq->size, >=, DP_RING_SIZE);
    if (nic_is_modern(nic)) {
        vq->size = DP_RING_SIZE;
        qpci_io_writew(nic->pci->pdev, nic->pci->bar,
                       nic->pci->common_cfg_offset +
                       offsetof(struct virtio_pci_common_cfg, queue_size),
                       vq->size);
    }

    size = qvring_size(vq->size, RING_ALIGN);
    vq->desc = dp_alloc(nic->guest, size);
    vq->avail = vq->desc + vq->size * sizeof(struct vring_desc);
    vq->used = ROUND_UP(vq->avail + (3 + vq->size) * sizeof(uint16_t),
                        RING_ALIGN);
    q->desc = dp_host(nic->guest, vq->desc);
    q->avail = dp_host(nic->guest, vq->avail);
    q->used = dp_host(nic->guest, vq->used);
    memset(q->desc, 0, size);
    d->bus->set_queue_address(d, vq);

    if (nic_is_modern(nic)) {
        uint16_t off = qpci_io_readw(nic->pci->pdev, nic->pci->bar,
                                     nic->pci->common_cfg_offset +
                                     offsetof(struct virtio_pci_common_cfg,
                                              queue_notify_off));

        q->pci.notify_offset = nic->pci->notify_cfg_offset +
                               off * nic->pci->notify_off_multiplier;
    }
    if (nic->pci->pdev->msix_enabled) {
        qvirtqueue_pci_msix_setup(nic->pci, &q->pci, &nic->guest->alloc,
                                  1 + index);
        stl_le_p(dp_host(nic->guest, q->pci.msix_addr), 0);
    }
    if (nic_is_modern(nic)) {
        qpci_io_writew(nic->pci->pdev, nic->pci->bar,
                       nic->pci->common_cfg_offset +
                       offsetof(struct virtio_pci_common_cfg, queue_enable),
                       1);
    }
}

void dp_nic_use_msix(DpNic *nic)
{
    qpci_msix_enable(nic->pci->pdev);
}

/* A reset of the device forgets all vectors */
static void config_vector_setup(DpNic *nic)
{
    qvirtio_pci_set_msix_configuration_vector(nic->pci, &nic->guest->alloc, 0);
    stl_le_p(dp_host(nic->guest, nic->pci->config_msix_addr), 0);
}

void dp_nic_start(DpNic *nic, uint64_t features)
{
    uint64_t offered = qvirtio_get_features(nic->vdev);
    unsigned i;

    if (!nic_is_modern(nic)) {
        features &= ~DP_FEATURE(VIRTIO_F_VERSION_1);
    }
    g_assert_cmphex(features & ~offered, ==, 0);
    qvirtio_set_features(nic->vdev, features);
    nic->features = features;
    nic->hdr_len = features & (DP_FEATURE(VIRTIO_F_VERSION_1) |
                               DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF)) ?
                   sizeof(struct virtio_net_hdr_v1) :
                   sizeof(struct virtio_net_hdr);
    if (nic->pci->pdev->msix_enabled) {
        config_vector_setup(nic);
    }
    for (i = 0; i < DP_QUEUES; i++) {
        if (i != DP_CTRL || (features & DP_FEATURE(VIRTIO_NET_F_CTRL_VQ))) {
            queue_setup(nic, i);
        }
    }
    qvirtio_set_driver_ok(nic->vdev);
}

DpNic *dp_nic_new(DpGuest *guest, unsigned slot, uint64_t features)
{
    DpNic *nic = dp_nic_probe(guest, slot);

    dp_nic_start(nic, features);
    return nic;
}

/* Back to where dp_nic_probe() left it */
void dp_nic_reset(DpNic *nic)
{
    qvirtio_start_device(nic->vdev);
}

void dp_nic_free(DpNic *nic)
{
    qvirtio_pci_device_disable(nic->pci);
    g_free(nic->pci->pdev);
    g_free(nic->pci);
    g_free(nic);
}

uint8_t dp_nic_status(DpNic *nic)
{
    return nic->vdev->bus->get_status(nic->vdev);
}

bool dp_nic_link(DpNic *nic)
{
    return qvirtio_config_readw(nic->vdev,
                                offsetof(struct virtio_net_config, status)) &
           VIRTIO_NET_S_LINK_UP;
}

static bool interrupted(DpGuest *guest, uint64_t addr, uint32_t data)
{
    uint32_t *word = dp_host(guest, addr);

    return qatomic_xchg(word, 0) == cpu_to_le32(data);
}

bool dp_queue_interrupted(DpNic *nic, unsigned queue)
{
    const QVirtQueuePCI *q = &nic->queue[queue].pci;

    return interrupted(nic->guest, q->msix_addr, q->msix_data);
}

bool dp_config_interrupted(DpNic *nic)
{
    return interrupted(nic->guest, nic->pci->config_msix_addr,
                       nic->pci->config_msix_data);
}

/* ---- Rings (virtio 1.3, 2.7) ---- */

void dp_set_desc(struct vring_desc *desc, uint64_t addr, uint32_t len,
                 uint16_t flags, uint16_t next)
{
    desc->addr = cpu_to_le64(addr);
    desc->len = cpu_to_le32(len);
    desc->flags = cpu_to_le16(flags);
    desc->next = cpu_to_le16(next);
}

static uint16_t take_desc(DpQueue *q)
{
    return q->next_desc++ % q->pci.vq.size;
}

void dp_add_head(DpQueue *q, uint16_t head)
{
    q->avail->ring[q->avail_idx++ % q->pci.vq.size] = cpu_to_le16(head);
}

uint16_t dp_add(DpQueue *q, const DpBuf *bufs, unsigned n)
{
    uint16_t head = take_desc(q);
    uint16_t i = head;
    unsigned k;

    for (k = 0; k < n; k++) {
        bool last = k == n - 1;
        uint16_t next = last ? 0 : take_desc(q);

        dp_set_desc(&q->desc[i], bufs[k].addr, bufs[k].len,
                    (bufs[k].write ? VRING_DESC_F_WRITE : 0) |
                    (last ? 0 : VRING_DESC_F_NEXT), next);
        i = next;
    }
    dp_add_head(q, head);
    return head;
}

uint16_t dp_add_indirect(DpQueue *q, const DpBuf *bufs, unsigned n)
{
    uint16_t head = take_desc(q);
    uint64_t table = dp_alloc(q->guest, n * sizeof(struct vring_desc));
    struct vring_desc *desc = dp_host(q->guest, table);
    unsigned k;

    g_assert_true(q->pci.vq.indirect);
    for (k = 0; k < n; k++) {
        bool last = k == n - 1;

        dp_set_desc(&desc[k], bufs[k].addr, bufs[k].len,
                    (bufs[k].write ? VRING_DESC_F_WRITE : 0) |
                    (last ? 0 : VRING_DESC_F_NEXT), last ? 0 : k + 1);
    }
    dp_set_desc(&q->desc[head], table, n * sizeof(*desc),
                VRING_DESC_F_INDIRECT, 0);
    dp_add_head(q, head);
    return head;
}

void dp_kick(DpQueue *q)
{
    q->pci.vq.vdev->bus->virtqueue_kick(q->pci.vq.vdev, &q->pci.vq);
}

/* Section 2.7.13.4: does the device want to be told? */
static bool want_kick(DpQueue *q, uint16_t old)
{
    uint16_t *avail_event = (uint16_t *)&q->used->ring[q->pci.vq.size];

    if (q->pci.vq.event) {
        return vring_need_event(le16_to_cpu(qatomic_read(avail_event)),
                                q->avail_idx, old);
    }
    return !(le16_to_cpu(qatomic_read(&q->used->flags)) &
             VRING_USED_F_NO_NOTIFY);
}

bool dp_publish(DpQueue *q)
{
    uint16_t old = q->published;

    /* The chains and the ring's entries before the index */
    smp_wmb();
    qatomic_set(&q->avail->idx, cpu_to_le16(q->avail_idx));
    q->published = q->avail_idx;
    /* The index before the look at what the device wants */
    smp_mb();
    if (want_kick(q, old)) {
        dp_kick(q);
        return true;
    }
    return false;
}

bool dp_get_used(DpQueue *q, uint16_t *head, uint32_t *len)
{
    const struct vring_used_elem *elem;

    if (le16_to_cpu(qatomic_read(&q->used->idx)) == q->used_idx) {
        return false;
    }
    /* The index before the element */
    smp_rmb();
    elem = &q->used->ring[q->used_idx++ % q->pci.vq.size];
    if (head) {
        *head = le32_to_cpu(elem->id);
    }
    if (len) {
        *len = le32_to_cpu(elem->len);
    }
    return true;
}

uint16_t dp_wait_used(DpQueue *q, uint32_t *len)
{
    uint16_t head;

    dp_wait_until(dp_get_used(q, &head, len));
    return head;
}

void dp_set_no_interrupt(DpQueue *q, bool set)
{
    qatomic_set(&q->avail->flags,
                cpu_to_le16(set ? VRING_AVAIL_F_NO_INTERRUPT : 0));
    /* Before the caller looks at the used ring */
    smp_mb();
}

void dp_set_used_event(DpQueue *q, uint16_t idx)
{
    qatomic_set(&q->avail->ring[q->pci.vq.size], cpu_to_le16(idx));
    /* Before the caller looks at the used ring */
    smp_mb();
}

/* ---- Frames ---- */

void dp_transmit(DpNic *nic, const struct virtio_net_hdr *hdr,
                 const void *frame, size_t len)
{
    DpQueue *q = &nic->queue[DP_TX];
    DpBuf buf = { .len = nic->hdr_len + len };
    uint8_t *p;
    uint16_t head;

    buf.addr = dp_alloc(nic->guest, buf.len);
    p = dp_host(nic->guest, buf.addr);
    memset(p, 0, nic->hdr_len);
    if (hdr) {
        memcpy(p, hdr, sizeof(*hdr));
    }
    memcpy(p + nic->hdr_len, frame, len);
    head = dp_add(q, &buf, 1);
    dp_publish(q);
    g_assert_cmpuint(dp_wait_used(q, NULL), ==, head);
    guest_free(&nic->guest->alloc, buf.addr);
}

void dp_check_transmit(DpNic *nic, int sock, size_t len, unsigned seed)
{
    g_autofree uint8_t *frame = g_malloc(len);
    g_autofree uint8_t *got = g_malloc(DP_MAX_FRAME);
    size_t got_len;

    dp_make_frame(frame, len, seed);
    dp_transmit(nic, NULL, frame, len);
    got_len = dp_sock_recv(sock, DP_ETHERTYPE, NULL, got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
    dp_assert_frame(got, got_len, frame, len);
}

uint64_t dp_post(DpNic *nic, unsigned n, size_t size)
{
    uint64_t first = dp_alloc(nic->guest, n * size);
    unsigned i;

    memset(dp_host(nic->guest, first), 0xee, n * size);
    for (i = 0; i < n; i++) {
        DpBuf buf = { .addr = first + i * size, .len = size, .write = true };

        dp_add(&nic->queue[DP_RX], &buf, 1);
    }
    dp_publish(&nic->queue[DP_RX]);
    return first;
}

size_t dp_receive(DpNic *nic, struct virtio_net_hdr_v1 *hdr, void *frame,
                  size_t size)
{
    DpQueue *q = &nic->queue[DP_RX];
    g_autofree uint8_t *whole = g_malloc(nic->hdr_len + size);
    struct virtio_net_hdr_v1 h = {};
    unsigned left = 1;
    size_t len = 0;
    bool first = true;

    while (left--) {
        uint32_t n;
        uint16_t head = dp_wait_used(q, &n);
        const struct vring_desc *desc = &q->desc[head];

        g_assert_cmpuint(n, <=, le32_to_cpu(desc->len));
        g_assert_cmpuint(len + n, <=, nic->hdr_len + size);
        memcpy(whole + len, dp_host(nic->guest, le64_to_cpu(desc->addr)), n);
        len += n;
        if (first) {
            first = false;
            g_assert_cmpuint(n, >=, nic->hdr_len);
            memcpy(&h, whole, nic->hdr_len);
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

DpRig *dp_rig_start(const DpSetup *setup, bool vnet_hdr)
{
    DpRig *r = g_new0(DpRig, 1);

    r->guest = dp_guest_new(DP_NETDEV DP_DEVICE "%s",
                            setup->device ?: "disable-legacy=on");
    r->qts = r->guest->qts;
    r->sock = dp_sock_open("tap0", vnet_hdr);
    r->nic = dp_nic_new(r->guest, DP_SLOT,
                        (setup->bare ? 0 : DP_FEATURES_DEFAULT) |
                        setup->features);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    return r;
}

DpRig *dp_rig_new(uint64_t features)
{
    return dp_rig_start(&(DpSetup) { .features = features }, false);
}

void dp_rig_free(DpRig *r)
{
    dp_nic_free(r->nic);
    dp_guest_free(r->guest);
    close(r->sock);
    g_free(r->frame);
    g_free(r->got);
    g_free(r);
}

/* ---- QMP ---- */

QDict *dp_query(QTestState *qts, const char *id)
{
    QDict *response = qtest_qmp(qts, "{ 'execute': 'query-vhost-dp' }");
    QDict *found = NULL;
    const QListEntry *entry;

    g_assert_true(qdict_haskey(response, "return"));
    QLIST_FOREACH_ENTRY(qdict_get_qlist(response, "return"), entry) {
        QDict *info = qobject_to(QDict, qlist_entry_obj(entry));

        if (!strcmp(qdict_get_str(info, "id"), id)) {
            found = info;
            qobject_ref(found);
        }
    }
    qobject_unref(response);
    return found;
}

static QDict *query_queue(QDict *info, unsigned queue)
{
    QList *queues = qdict_get_qlist(info, "queues");
    QDict *pair = qobject_to(QDict, qlist_peek(queues));

    return qdict_get_qdict(pair, queue == DP_RX ? "rx" : "tx");
}

/* In a list of { @key: name, @value: number } */
static uint64_t find_number(QList *list, const char *key, const char *name,
                            const char *value)
{
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *item = qobject_to(QDict, qlist_entry_obj(entry));

        if (!strcmp(qdict_get_str(item, key), name)) {
            return qdict_get_int(item, value);
        }
    }
    return 0;
}

uint64_t dp_counter(QTestState *qts, const char *id, unsigned queue,
                    const char *name)
{
    QDict *info = dp_query(qts, id);
    QDict *q;
    uint64_t n;

    g_assert_nonnull(info);
    q = query_queue(info, queue);
    if (g_str_has_prefix(name, "drop:")) {
        n = find_number(qdict_get_qlist(q, "drops"), "reason",
                        name + strlen("drop:"), "frames");
    } else if (g_str_has_prefix(name, "violation:")) {
        n = find_number(qdict_get_qlist(q, "violations"), "violation",
                        name + strlen("violation:"), "count");
    } else {
        n = qdict_get_int(q, name);
    }
    qobject_unref(info);
    return n;
}

void dp_wait_counter(QTestState *qts, const char *id, unsigned queue,
                     const char *name, uint64_t value)
{
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;
    uint64_t n;

    while ((n = dp_counter(qts, id, queue, name)) != value) {
        if (g_get_monotonic_time() > end) {
            g_error("netdev %s, %s queue, %s: %" PRIu64 ", should be %" PRIu64,
                    id, queue == DP_RX ? "rx" : "tx", name, n, value);
        }
        g_usleep(500);
    }
}

char *dp_queue_state(QTestState *qts, const char *id, unsigned queue)
{
    QDict *info = dp_query(qts, id);
    char *state;

    g_assert_nonnull(info);
    state = g_strdup(qdict_get_str(query_queue(info, queue), "state"));
    qobject_unref(info);
    return state;
}

void dp_check_error(QDict *response, ...)
{
    const char *text, *want;
    va_list ap;

    if (!qdict_haskey(response, "error")) {
        g_error("the command should have failed");
    }
    text = qdict_get_str(qdict_get_qdict(response, "error"), "desc");
    g_test_message("%s", text);
    va_start(ap, response);
    while ((want = va_arg(ap, const char *))) {
        if (!strstr(text, want)) {
            g_test_message("\"%s\" should be in the error", want);
            g_test_fail();
        }
    }
    va_end(ap);
    qobject_unref(response);
}

static unsigned count_entries(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, name);
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

DpUsage dp_usage(QTestState *qts)
{
    return (DpUsage) {
        .fds = count_entries(qtest_pid(qts), "fd"),
        .threads = count_entries(qtest_pid(qts), "task"),
    };
}

void dp_check_usage(QTestState *qts, DpUsage before)
{
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;
    DpUsage now = dp_usage(qts);

    while (now.fds > before.fds || now.threads > before.threads) {
        if (g_get_monotonic_time() > end) {
            g_error("leak: %u descriptors, before %u; %u threads, before %u",
                    now.fds, before.fds, now.threads, before.threads);
        }
        g_usleep(1000);
        now = dp_usage(qts);
    }
}
