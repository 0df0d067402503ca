/*
 * vhost-dp: qtests, a guest that moves to another QEMU while it has traffic
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/userfaultfd.h"
#include "qobject/qdict.h"
#include "migrate.h"

#define PAGE 4096

/* ---- Traffic ---- */

/* Frames that are on their way, for each queue pair and direction, at most */
#define WINDOW 16

/* A frame takes several of these */
#define RX_BUFFER 512
#define TX_BUFFER 2048

#define ETH_LEN 14
#define MIN_LEN (ETH_LEN + 4)
#define MAX_LEN 1514

static size_t frame_len(uint32_t number)
{
    return MIN_LEN + number * 2654435761u % (MAX_LEN - MIN_LEN + 1);
}

/*
 * What a frame has in it follows from its number.  An EtherType for each
 * queue pair makes it a flow: a tap sends a flow to the queue that it came by.
 */
static size_t make_frame(uint8_t *frame, unsigned pair, uint32_t number)
{
    size_t len = frame_len(number);

    dp_make_frame(frame, len, number);
    stw_be_p(frame + 12, DP_ETHERTYPE + pair);
    stl_be_p(frame + ETH_LEN, number);
    return len;
}

/* What the device had, and not the guest, when it was stopped and resumed */
static uint64_t find_lost(DpTraffic *t, unsigned pair)
{
    DpFlow *f = &t->flow[pair];

    f->rx_stopped = dp_counter(t->rig->qts, "vd0", 2 * pair + DP_RX,
                               "drop:stopped");
    return f->rx_stopped - f->rx_skipped;
}

/* Some frames are missing in front of @number: they have to be accounted for */
static void skip_lost(DpTraffic *t, unsigned pair, uint32_t number)
{
    DpFlow *f = &t->flow[pair];
    uint32_t gap = number - f->rx_got;

    if (gap && gap <= find_lost(t, pair)) {
        f->rx_skipped += gap;
        f->rx_got = number;
    }
}

/* The flow of a frame that came, whose number has to be *@next */
static void check_frame(DpTraffic *t, const uint8_t *got, size_t len,
                        unsigned pair, uint32_t *next)
{
    if (ldl_be_p(got + ETH_LEN) != *next) {
        g_error("queue pair %u: frame %u came, and not %u", pair,
                ldl_be_p(got + ETH_LEN), *next);
    }
    dp_assert_frame(got, len, t->rig->frame,
                    make_frame(t->rig->frame, pair, *next));
    (*next)++;
}

static DpQueue *flow_queue(DpTraffic *t, unsigned pair, unsigned dir)
{
    return &t->rig->nic->queue[2 * pair + dir];
}

DpTraffic *dp_traffic_new(DpRig *r)
{
    DpTraffic *t = g_new0(DpTraffic, 1);
    unsigned i;

    g_assert_true(r->features & DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    t->rig = r;
    t->sock = r->sock;
    for (i = 0; i < r->pairs; i++) {
        DpFlow *f = &t->flow[i];

        f->tx_at = dp_alloc(r->guest, WINDOW * TX_BUFFER);
        f->rx_at = dp_post_on(r->nic, i, r->nic->ring_size, RX_BUFFER);
    }
    return t;
}

void dp_traffic_free(DpTraffic *t)
{
    g_free(t);
}

/* Buffers are used in turn: there is nothing to be done with one */
static void guest_reaps(DpTraffic *t, unsigned pair)
{
    bool more;

    do {
        more = dp_get_used(flow_queue(t, pair, DP_TX), NULL, NULL);
    } while (more);
}

static void guest_sends(DpTraffic *t, unsigned pair)
{
    DpFlow *f = &t->flow[pair];
    DpQueue *q = flow_queue(t, pair, DP_TX);

    while (q->pci.vq.size - q->nfree < WINDOW &&
           f->tx_next - f->tx_got < WINDOW) {
        DpBuf buf = { .addr = f->tx_at + f->slot * TX_BUFFER };
        uint8_t *p = dp_host(t->rig->guest, buf.addr);

        memset(p, 0, t->rig->nic->hdr_len);
        buf.len = t->rig->nic->hdr_len +
                  make_frame(p + t->rig->nic->hdr_len, pair, f->tx_next++);
        dp_add(q, &buf, 1);
        f->slot = (f->slot + 1) % WINDOW;
    }
    dp_publish(q);
}

/* Take all that came, and post the buffers again unless @keep */
static void guest_takes(DpTraffic *t, unsigned queue_pair, bool keep)
{
    DpQueue *q = flow_queue(t, queue_pair, DP_RX);
    size_t hdr_len = t->rig->nic->hdr_len;
    uint8_t *got = t->rig->got;

    while (dp_has_used(q)) {
        struct virtio_net_hdr_v1 hdr;
        unsigned pair, left = 1;
        size_t len = 0;
        bool first = true;

        while (left--) {
            uint32_t n;
            uint16_t id;

            /* All of a frame's buffers are used at the same time */
            g_assert_true(dp_get_used(q, &id, &n));
            g_assert_cmpuint(len + n, <=, DP_MAX_FRAME);
            memcpy(got + len, dp_host(t->rig->guest,
                                      dp_first_buf(q, id)->addr), n);
            len += n;
            if (first) {
                memcpy(&hdr, got, hdr_len);
                left = le16_to_cpu(hdr.num_buffers) - 1;
                first = false;
            }
            if (!keep) {
                dp_add_again(q, id);
            }
        }
        g_assert_cmpuint(len, >=, hdr_len + MIN_LEN);
        pair = lduw_be_p(got + hdr_len + 12) - DP_ETHERTYPE;
        g_assert_cmpuint(pair, <, t->rig->pairs);
        skip_lost(t, pair, ldl_be_p(got + hdr_len + ETH_LEN));
        check_frame(t, got + hdr_len, len - hdr_len, pair,
                    &t->flow[pair].rx_got);
    }
    if (!keep) {
        dp_publish(q);
    }
}

static void host_sends(DpTraffic *t, unsigned pair)
{
    DpFlow *f = &t->flow[pair];

    /* What the tap gets before may be overtaken by what follows */
    while (f->learned && f->rx_next - f->rx_got <
                         WINDOW + f->rx_stopped - f->rx_skipped) {
        size_t len = make_frame(t->rig->frame, pair, f->rx_next++);

        dp_sock_send(t->sock, NULL, t->rig->frame, len);
    }
}

/*
 * A tap learns from the guest's frames which queue a flow goes to, but not
 * while it has a single queue, and the others are attached one by one when the
 * guest asks for them.  What counts is a frame that the guest sent after each
 * queue had sent one.
 */
static void host_learns(DpTraffic *t, unsigned pair, uint32_t number)
{
    bool all_seen = true;
    unsigned i;

    for (i = 0; i < t->rig->pairs; i++) {
        all_seen &= t->flow[i].seen;
    }
    if (all_seen) {
        t->flow[pair].learned |= number >= t->flow[pair].learned_by;
        return;
    }
    t->flow[pair].seen = true;
    for (i = 0; i < t->rig->pairs; i++) {
        t->flow[i].learned_by = t->flow[i].tx_next;
    }
}

/* The guest's frames, and not what QEMU announces */
static void host_takes(DpTraffic *t)
{
    uint8_t *got = t->rig->got;
    size_t len;

    while ((len = dp_sock_recv(t->sock, 0, NULL, got, DP_MAX_FRAME, 0))) {
        unsigned pair = lduw_be_p(got + 12) - DP_ETHERTYPE;

        if (pair < t->rig->pairs) {
            host_learns(t, pair, t->flow[pair].tx_got);
            check_frame(t, got, len, pair, &t->flow[pair].tx_got);
        }
    }
}

static void traffic_step(DpTraffic *t, bool send)
{
    unsigned i;

    for (i = 0; i < t->rig->pairs; i++) {
        guest_reaps(t, i);
        if (send) {
            guest_sends(t, i);
            host_sends(t, i);
        }
        guest_takes(t, i, false);
    }
    host_takes(t);
}

void dp_traffic_step(DpTraffic *t)
{
    traffic_step(t, true);
}

static bool traffic_reached(DpTraffic *t, const DpFlow *goal)
{
    unsigned i;

    for (i = 0; i < t->rig->pairs; i++) {
        guest_reaps(t, i);
        if (t->flow[i].tx_got < goal[i].tx_got ||
            t->flow[i].rx_got < goal[i].rx_got) {
            return false;
        }
    }
    return true;
}

static void traffic_until(DpTraffic *t, const DpFlow *goal, bool send)
{
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;

    while (!traffic_reached(t, goal)) {
        traffic_step(t, send);
        if (g_get_monotonic_time() > end) {
            const DpFlow *f = &t->flow[0];

            g_error("traffic has stopped; queue pair 0 sent %u, of which %u "
                    "came, and was sent %u, of which %u came", f->tx_next,
                    f->tx_got, f->rx_next, f->rx_got);
        }
    }
}

void dp_traffic_run(DpTraffic *t, unsigned n)
{
    DpFlow goal[DP_MAX_PAIRS];
    unsigned i;

    memcpy(goal, t->flow, sizeof(goal));
    for (i = 0; i < t->rig->pairs; i++) {
        goal[i].tx_got += n;
        goal[i].rx_got += n;
    }
    traffic_until(t, goal, true);
}

void dp_traffic_finish(DpTraffic *t)
{
    DpFlow goal[DP_MAX_PAIRS];
    unsigned i;

    memcpy(goal, t->flow, sizeof(goal));
    for (i = 0; i < t->rig->pairs; i++) {
        goal[i].tx_got = goal[i].tx_next;
        goal[i].rx_got = goal[i].rx_next;
    }
    traffic_until(t, goal, false);
    for (i = 0; i < t->rig->pairs; i++) {
        DpQueue *q = flow_queue(t, i, DP_TX);

        dp_wait_until((guest_reaps(t, i), q->nfree == q->pci.vq.size));
    }
}

void dp_traffic_stopped(DpTraffic *t)
{
    unsigned i;

    for (i = 0; i < t->rig->pairs; i++) {
        uint64_t sent = dp_counter(t->rig->qts, "vd0", 2 * i + DP_TX,
                                   "packets");

        /* The kernel may take its time */
        dp_wait_until((host_takes(t), t->flow[i].tx_got == sent));
        guest_takes(t, i, false);
    }
    for (i = 0; i < t->rig->pairs; i++) {
        DpFlow *f = &t->flow[i];

        t->rx_lost += f->rx_next - f->rx_got;
        f->rx_got = f->rx_next;
        f->rx_stopped = f->rx_skipped = 0;
    }
}

/* The host's end is @sock, of an interface that may be new */
static void set_sock(DpTraffic *t, int sock)
{
    unsigned i;

    t->sock = t->rig->sock = sock;
    for (i = 0; i < t->rig->pairs; i++) {
        t->flow[i].seen = false;
        t->flow[i].learned = false;
    }
}

void dp_traffic_arrived(DpTraffic *t, int sock)
{
    close(t->sock);
    set_sock(t, sock);
}

uint64_t dp_gpa(const DpGuest *guest, uint64_t addr)
{
    return (uint8_t *)dp_host((DpGuest *)guest, addr) - guest->ram;
}

void dp_traffic_resumed(DpTraffic *t)
{
    unsigned i;

    for (i = 0; i < t->rig->pairs; i++) {
        find_lost(t, i);
    }
}

static void mark(DpGuest *guest, uint64_t addr, size_t len)
{
    uint64_t page;

    for (page = addr & -PAGE; page < addr + len; page += PAGE) {
        g_autofree void *copy = g_memdup2(dp_host(guest, page), PAGE);

        qtest_bufwrite(guest->qts, dp_gpa(guest, page), copy, PAGE);
    }
}

static void fetch(DpGuest *guest, uint64_t addr, size_t len)
{
    uint64_t page;

    for (page = addr & -PAGE; page < addr + len; page += PAGE) {
        qtest_readb(guest->qts, dp_gpa(guest, page));
    }
}

/* A packed ring is written by both; of a split one the driver has two parts */
static size_t driver_part(const DpQueue *q)
{
    const QVirtQueue *vq = &q->pci.vq;

    return q->packed ? vq->used + sizeof(*q->ring.device_event) - vq->desc :
           vq->avail + (3 + vq->size) * sizeof(uint16_t) - vq->desc;
}

typedef void PageFunction(DpGuest *guest, uint64_t addr, size_t len);

static void ring_pages(DpRig *r, PageFunction *fn)
{
    unsigned i;

    for (i = 0; i < DP_MAX_QUEUES; i++) {
        const DpQueue *q = &r->nic->queue[i];

        if (q->chain) {
            fn(r->guest, q->pci.vq.desc, driver_part(q));
        }
    }
}

static void traffic_pages(DpTraffic *t, PageFunction *fn)
{
    unsigned i;

    ring_pages(t->rig, fn);
    for (i = 0; i < t->rig->pairs; i++) {
        fn(t->rig->guest, t->flow[i].tx_at, WINDOW * TX_BUFFER);
    }
}

void dp_rings_mark(DpRig *r)
{
    ring_pages(r, mark);
}

void dp_traffic_mark(DpTraffic *t)
{
    traffic_pages(t, mark);
}

void dp_traffic_fetch(DpTraffic *t)
{
    unsigned i;

    traffic_pages(t, fetch);
    for (i = 0; i < DP_MAX_QUEUES; i++) {
        const DpQueue *q = &t->rig->nic->queue[i];

        if (q->chain && !q->packed) {
            fetch(t->rig->guest, q->pci.vq.used, PAGE);
        }
    }
}

/* ---- Back to where it was ---- */

struct DpMemory {
    uint8_t *ram;
    DpTraffic traffic;
    DpQueue queue[DP_MAX_QUEUES];
};

DpMemory *dp_memory_new(DpTraffic *t)
{
    DpMemory *m = g_new0(DpMemory, 1);
    unsigned i;

    m->ram = g_memdup2(t->rig->guest->ram, DP_RAM_SIZE);
    m->traffic = *t;
    for (i = 0; i < DP_MAX_QUEUES; i++) {
        DpQueue *q = &m->queue[i];

        *q = t->rig->nic->queue[i];
        if (q->chain) {
            q->chain = g_memdup2(q->chain, q->pci.vq.size * sizeof(*q->chain));
            q->order = g_memdup2(q->order, q->pci.vq.size * sizeof(*q->order));
        }
    }
    return m;
}

void dp_memory_restore(const DpMemory *m, DpTraffic *t)
{
    unsigned i;

    *t = m->traffic;
    set_sock(t, t->rig->sock);
    for (i = 0; i < DP_MAX_QUEUES; i++) {
        DpQueue *q = &t->rig->nic->queue[i];
        DpChain *chain = q->chain;
        uint16_t *order = q->order;

        *q = m->queue[i];
        if (chain) {
            memcpy(chain, q->chain, q->pci.vq.size * sizeof(*chain));
            memcpy(order, q->order, q->pci.vq.size * sizeof(*order));
            q->chain = chain;
            q->order = order;
        }
    }
}

void dp_memory_forget_events(DpMemory *m, const DpGuest *guest)
{
    unsigned i;

    for (i = 0; i < DP_MAX_QUEUES; i++) {
        const QVirtQueue *vq = &m->queue[i].pci.vq;
        uint64_t flags = vq->used;
        uint64_t event = vq->used + 4 + 8 * vq->size;

        if (m->queue[i].chain) {
            /* Packed: the whole of the event suppression structure */
            bool packed = m->queue[i].packed;

            memcpy(m->ram + flags, guest->ram + flags, packed ? 4 : 2);
            memcpy(m->ram + event, guest->ram + event, packed ? 0 : 2);
        }
    }
}

void dp_memory_check(const DpMemory *m, const DpGuest *guest)
{
    uint64_t page;

    for (page = 0; page < DP_RAM_SIZE; page += PAGE) {
        if (memcmp(m->ram + page, guest->ram + page, PAGE)) {
            g_error("page 0x%" PRIx64 " is not what it was", page);
        }
    }
}

void dp_memory_free(DpMemory *m)
{
    unsigned i;

    for (i = 0; i < DP_MAX_QUEUES; i++) {
        g_free(m->queue[i].chain);
        g_free(m->queue[i].order);
    }
    g_free(m->ram);
    g_free(m);
}

/* ---- QMP ---- */

void dp_migrate_capability(QTestState *qts, const char *name, bool on)
{
    qtest_qmp_assert_success(qts,
        "{ 'execute': 'migrate-set-capabilities', 'arguments': {"
        " 'capabilities': [ { 'capability': %s, 'state': %i } ] } }",
        name, on);
}

void dp_migrate_enable(QTestState *from, QTestState *to, const char *name)
{
    dp_migrate_capability(from, name, true);
    dp_migrate_capability(to, name, true);
}

void dp_migrate_set(QTestState *qts, const char *parameter, int64_t value)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-set-parameters',"
                             " 'arguments': { %s: %" PRId64 " } }",
                             parameter, value);
}

/* May fail */
static bool is_setting_up(QTestState *qts)
{
    QDict *answer = qtest_qmp_assert_success_ref(qts,
                                                 "{ 'execute': 'query-migrate' }");
    const char *now = qdict_get_try_str(answer, "status");
    bool is = !now || !strcmp(now, "none") || !strcmp(now, "setup");

    qobject_unref(answer);
    return is;
}

static bool qmp_status_is(QTestState *qts, const char *command,
                          const char *status)
{
    QDict *answer = qtest_qmp_assert_success_ref(qts, "{ 'execute': %s }",
                                                 command);
    const char *now = qdict_get_try_str(answer, "status");
    bool is = !g_strcmp0(now, status);

    if (!is && !g_strcmp0(now, "failed")) {
        g_error("migration failed: %s",
                qdict_get_try_str(answer, "error-desc"));
    }
    qobject_unref(answer);
    return is;
}

bool dp_migrate_is(QTestState *qts, const char *status)
{
    return qmp_status_is(qts, "query-migrate", status);
}

bool dp_status_is(QTestState *qts, const char *status)
{
    return qmp_status_is(qts, "query-status", status);
}

int64_t dp_migrate_ram(QTestState *qts, const char *name)
{
    QDict *answer = qtest_qmp_assert_success_ref(qts,
                                                 "{ 'execute': 'query-migrate' }");
    int64_t n = -1;

    if (qdict_haskey(answer, "ram")) {
        n = qdict_get_try_int(qdict_get_qdict(answer, "ram"), name, -1);
    }
    if (qdict_haskey(answer, name)) {
        n = qdict_get_int(answer, name);
    }
    qobject_unref(answer);
    return n;
}

/* ---- Migration ---- */

bool dp_has_userfaultfd(uint64_t features)
{
    g_autofree char *why = NULL;
    uint64_t has;

    if (uffd_query_features(&has)) {
        why = g_strdup_printf("no userfaultfd: %s", strerror(errno));
    } else if (features & ~has) {
        why = g_strdup_printf("the kernel's userfaultfd has features 0x%"
                              PRIx64 ", and not 0x%" PRIx64, has,
                              features & ~has);
    }
    if (why) {
        g_test_skip(why);
    }
    return !why;
}

uint64_t dp_fill_ram(DpGuest *guest, size_t size)
{
    uint64_t addr = dp_alloc(guest, size);
    uint32_t *p = dp_host(guest, addr);
    size_t i;

    for (i = 0; i < size / sizeof(*p); i++) {
        p[i] = g_test_rand_int();
    }
    return addr;
}

char *dp_migrate_tap(const char *name, unsigned pairs)
{
    return g_strdup_printf("-object vhost-dp-tap,id=%s "
                           "-netdev vhost-dp,id=vd0,driver=%s,queues=%u",
                           name, name, pairs);
}

DpGuest *dp_migrate_target(DpRig *r, const char *netdev, const char *more)
{
    return dp_guest_new_oob("%s %s " DP_DEVICE "mq=%s,%s -incoming defer %s",
                            r->options, netdev, r->pairs > 1 ? "on" : "off",
                            r->device, more ?: "");
}

void dp_migrate_start(QTestState *from, QTestState *to)
{
    g_autofree char *dir = g_dir_make_tmp("vhost-dp-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/socket", dir);
    g_autofree char *uri = g_strdup_printf("unix:%s", path);

    qtest_qmp_assert_success(to, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s,"
                             " 'exit-on-error': false } }", uri);
    qtest_qmp_assert_success(from, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
    dp_wait_until(!is_setting_up(from));
    unlink(path);
    rmdir(dir);
}

static void compare_queue(QTestState *from, QTestState *to, unsigned queue)
{
    static const char command[] =
        "{ 'execute': 'x-query-virtio-queue-status', 'arguments': {"
        " 'path': '/machine/peripheral/nic/virtio-backend',"
        " 'queue': %u } }";
    static const char *const members[] = {
        "inuse", "vring-num", "vring-desc", "vring-avail", "vring-used",
        "used-idx", "last-avail-idx",
    };
    QDict *a = qtest_qmp_assert_success_ref(from, command, queue);
    QDict *b = qtest_qmp_assert_success_ref(to, command, queue);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(members); i++) {
        uint64_t was = qdict_get_int(a, members[i]);
        uint64_t is = qdict_get_int(b, members[i]);

        if (was != is) {
            g_error("virtqueue %u: %s is %" PRIu64 ", and was %" PRIu64,
                    queue, members[i], is, was);
        }
    }
    qobject_unref(a);
    qobject_unref(b);
}

void dp_migrate_compare(DpRig *r, DpGuest *to)
{
    uint64_t page;
    unsigned i;

    for (page = 0; page < DP_RAM_SIZE; page += PAGE) {
        if (memcmp(r->guest->ram + page, to->ram + page, PAGE)) {
            g_error("page 0x%" PRIx64 " is not what it was", page);
        }
    }
    for (i = 0; i < DP_MAX_QUEUES; i++) {
        if (r->nic->queue[i].chain) {
            compare_queue(r->qts, to->qts, i);
        }
    }
}

void dp_migrate_by_file(DpRig *r, const char *netdev, bool mapped)
{
    g_autofree char *path = NULL;
    g_autofree char *uri = NULL;
    DpGuest *to;
    int fd = g_file_open_tmp("vhost-dp-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    uri = g_strdup_printf("file:%s", path);
    dp_migrate_capability(r->qts, "mapped-ram", mapped);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
    dp_wait_until_for(DP_LONG_TIMEOUT_US,
                      dp_migrate_is(r->qts, "completed"));
    /* An interface can have one user: the old QEMU ends first */
    dp_rig_quit(r);

    to = dp_migrate_target(r, netdev, NULL);
    dp_migrate_capability(to->qts, "mapped-ram", mapped);
    qtest_qmp_assert_success(to->qts, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s } }", uri);
    dp_wait_until_for(DP_LONG_TIMEOUT_US, dp_status_is(to->qts, "running"));
    unlink(path);
    dp_rig_swap(r, to);
    dp_guest_free(to);
}
