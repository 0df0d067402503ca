/*
 * vhost-dp: qtests of vhost-dp-dump, what it records
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where it is recorded, and what happens when that fails, is dump-files-test's.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "commands.h"
#include "dump-rig.h"

static const size_t lens[] = { 14, 59, 60, 61, 96, 97, 1514 };

/* ---- With each driver ---- */

/* libslirp answers; the guest's address does not matter */
static void ask_slirp(Recording *rec)
{
    static const uint8_t question[] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56,
        0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1,
        0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15,
        0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
    };
    DpRig *r = rec->r;
    size_t len;

    memset(r->frame, 0, 60);
    memcpy(r->frame, question, sizeof(question));
    dp_transmit(r->nic, NULL, r->frame, 60);
    recording_moved(rec, true, 0, 60);
    do {
        dp_post(r->nic, 1, 1600);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    } while (lduw_be_p(r->got + 12) != ETH_P_ARP);
    recording_moved_bytes(rec, false, 0, r->got, len);
}

static void loop_back(Recording *rec, size_t len, unsigned seed)
{
    DpRig *r = rec->r;

    dp_post(r->nic, 1, 2048);
    recording_transmit(rec, 0, len, seed);
    dp_assert_frame(r->got, dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME),
                    r->frame, len);
    recording_moved(rec, false, 0, len);
}

static void test_driver(const void *opaque)
{
    const DpDriver *driver = opaque;
    Recording *rec;
    unsigned i;

    if (!dp_has_driver(driver->type)) {
        return;
    }
    rec = recording_new_on(driver, NULL);
    for (i = 0; i < 4 * ARRAY_SIZE(lens); i++) {
        size_t len = lens[i % ARRAY_SIZE(lens)];

        switch (driver->end) {
        case DP_END_LOOPBACK:
            loop_back(rec, len, i);
            break;
        case DP_END_SLIRP:
            ask_slirp(rec);
            break;
        default:
            recording_transmit(rec, 0, len, i);
            recording_receive(rec, len, i + 1);
        }
    }
    recording_check_all(rec);
    recording_free(rec);
}

/* ---- Frames of all kinds ---- */

static void test_lengths(const void *opaque)
{
    const char *options = opaque;
    Recording *rec = recording_new((DpSetup) {}, options, false);
    unsigned i;

    dp_if_set_mtu("tap0", 65535 - 14);
    for (i = 0; i < 100; i++) {
        size_t len = i % 10 ? lens[i % ARRAY_SIZE(lens)] : 300 + 650 * i;

        recording_transmit(rec, 0, len, i);
        recording_receive(rec, len, i + 1);
    }
    recording_check_all(rec);
    recording_free(rec);
}

/* Frames that go straight to the guest's buffers */
static void test_direct(const void *opaque)
{
    const char *options = opaque;
    Recording *rec = recording_new((DpSetup) {}, options, false);
    DpRig *r = rec->r;
    unsigned i;

    dp_if_set_mtu("tap0", 65535 - 14);
    dp_post(r->nic, 20, DP_MAX_FRAME + r->nic->hdr_len);
    for (i = 0; i < 20; i++) {
        dp_make_frame(r->frame, 60000 + i, i);
        dp_sock_send(r->sock, NULL, r->frame, 60000 + i);
        dp_assert_frame(r->got, dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME),
                        r->frame, 60000 + i);
        recording_moved(rec, false, 0, 60000 + i);
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "direct-packets"), >, 0);
    recording_check_all(rec);
    recording_free(rec);
}

static void test_pairs(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) { .null = true, .pairs = 3 },
                                   NULL, false);
    unsigned i;

    for (i = 0; i < 60; i++) {
        recording_transmit(rec, i % 3, 60 + i, i);
    }
    recording_check_all(rec);
    recording_free(rec);
}

/* Frames in two pieces, of which the first has not even the addresses */
static void test_pieces(const void *opaque)
{
    const char *options = opaque;
    Recording *rec = recording_new((DpSetup) {}, options, false);
    DpRig *r = rec->r;
    uint64_t at = dp_alloc(r->guest, 4096);
    uint8_t *p = dp_host(r->guest, at);
    unsigned i;

    for (i = 1; i < 20; i++) {
        size_t first = r->nic->hdr_len + i;
        DpBuf bufs[] = {
            { .addr = at, .len = first },
            { .addr = at + first, .len = r->nic->hdr_len + 500 - first },
        };

        memset(p, 0, r->nic->hdr_len);
        dp_make_frame(r->frame, 500, i);
        memcpy(p + r->nic->hdr_len, r->frame, 500);
        dp_add(r->tx, bufs, 2);
        dp_publish(r->tx);
        dp_wait_used(r->tx, NULL);
        recording_moved(rec, true, 0, 500);
    }
    recording_check_all(rec);
    recording_free(rec);
}

/* Frames that the driver below does not take at once are recorded once */
static void test_waits(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) { .filter = "tx-pps=100" }, NULL,
                                   false);
    DpRig *r = rec->r;
    size_t size = r->nic->hdr_len + 200;
    uint64_t at = dp_alloc(r->guest, 40 * size);
    unsigned i;

    for (i = 0; i < 40; i++) {
        DpBuf buf = { .addr = at + i * size, .len = size };
        uint8_t *p = dp_host(r->guest, buf.addr);

        memset(p, 0, r->nic->hdr_len);
        dp_make_frame(r->frame, 200, i);
        memcpy(p + r->nic->hdr_len, r->frame, 200);
        recording_moved(rec, true, 0, 200);
        dp_add(r->tx, &buf, 1);
    }
    dp_publish(r->tx);
    for (i = 0; i < 40; i++) {
        dp_wait_used(r->tx, NULL);
    }
    g_assert_cmpuint(dp_filter_counter(r->qts, "vd0", 1, "tx-waits"), >, 1);
    recording_check_all(rec);
    recording_free(rec);
}

/* ---- What is marked ---- */

#define OFFLOADS (DP_FEATURE(VIRTIO_NET_F_CSUM) | \
                  DP_FEATURE(VIRTIO_NET_F_HOST_TSO4) | \
                  DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | \
                  DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4))
#define GSO_LEN 4054
#define CSUM_LEN 500

/* A frame without, with a checksum, and with segments, from and to the guest */
static Recording *record_offloads(void)
{
    Recording *rec = recording_new((DpSetup) { .features = OFFLOADS }, NULL,
                                   true);
    struct virtio_net_hdr csum = dp_make_hdr(IPPROTO_TCP, 0, 0);
    struct virtio_net_hdr gso = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, 1000);
    DpRig *r = rec->r;
    struct virtio_net_hdr hdr;

    dp_make_ip_frame(r->frame, CSUM_LEN, IPPROTO_TCP, 1);
    dp_transmit(r->nic, &csum, r->frame, CSUM_LEN);
    recording_moved(rec, true, 0, CSUM_LEN);
    dp_make_ip_frame(r->frame, GSO_LEN, IPPROTO_TCP, 2);
    dp_transmit(r->nic, &gso, r->frame, GSO_LEN);
    recording_moved(rec, true, 0, GSO_LEN);
    while (dp_sock_recv(r->sock, 0, &hdr, r->got, DP_MAX_FRAME, 0)) {
        ;
    }

    dp_post(r->nic, 2, DP_MAX_FRAME);
    dp_make_ip_frame(r->frame, CSUM_LEN, IPPROTO_TCP, 3);
    dp_sock_send(r->sock, &csum, r->frame, CSUM_LEN);
    dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    recording_moved(rec, false, 0, CSUM_LEN);
    dp_make_ip_frame(r->frame, GSO_LEN, IPPROTO_TCP, 4);
    dp_sock_send(r->sock, &gso, r->frame, GSO_LEN);
    dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    recording_moved(rec, false, 0, GSO_LEN);
    return rec;
}

static void test_offloads(const void *opaque)
{
    Recording *rec = record_offloads();
    DumpFile *file;
    unsigned i, n = 0;

    recording_check_all(rec);
    file = dump_file_read(rec->path);
    for (i = 0; i < file->frames->len; i++) {
        const DumpFrame *frame = dump_frame(file, i);
        uint32_t marks = frame->flags & ~(DUMP_INBOUND | DUMP_OUTBOUND);

        if (frame->len == CSUM_LEN) {
            g_assert_cmphex(marks, ==, DUMP_CHECKSUM_PARTIAL);
            g_assert_cmpstr(frame->comment, ==, "checksum offload: the "
                            "checksum at byte 50 is not computed yet");
            n++;
        } else if (frame->len == GSO_LEN) {
            g_assert_cmphex(marks, ==,
                            DUMP_CHECKSUM_PARTIAL | DUMP_SEGMENTATION);
            g_assert_cmpstr(frame->comment, ==, "TCP segmentation offload: to "
                            "be cut into segments with 1000 bytes of data; "
                            "checksum offload: the checksum at byte 50 is not "
                            "computed yet");
            n++;
        } else {
            g_assert_cmphex(marks & ~DUMP_CHECKSUM_VALID, ==, 0);
            g_assert_null(frame->comment);
        }
    }
    g_assert_cmpuint(n, ==, 4);
    dump_file_free(file);
    recording_free(rec);
}

/* Runs tshark; returns what it prints, or NULL if there is none */
static char *run_tshark(const char *path, const char *const *more)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autofree char *errors = NULL;
    g_autoptr(GError) err = NULL;
    char *out = NULL;
    int status;

    g_ptr_array_add(argv, (char *)"tshark");
    g_ptr_array_add(argv, (char *)"-r");
    g_ptr_array_add(argv, (char *)path);
    for (; *more; more++) {
        g_ptr_array_add(argv, (char *)*more);
    }
    g_ptr_array_add(argv, NULL);
    if (!g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH,
                      NULL, NULL, &out, &errors, &status, &err)) {
        g_test_skip("there is no tshark");
        return NULL;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        g_error("tshark: status 0x%x: %s", status, errors);
    }
    return out;
}

/* The direction may be in hexadecimal */
static void check_line(const char *line, uint64_t direction, const char *rest)
{
    char *end;

    g_assert_cmpuint(g_ascii_strtoull(line, &end, 0), ==, direction);
    g_assert_true(g_str_has_prefix(end, rest));
}

static void test_tshark(const void *opaque)
{
    static const char *const fields[] = {
        "-Y", "tcp", "-o", "tcp.check_checksum:TRUE", "-T", "fields",
        "-E", "separator=;", "-e", "frame.packet_flags_direction",
        "-e", "frame.interface_queue", "-e", "frame.len", "-e", "ip.src",
        "-e", "tcp.len", "-e", "frame.comment", NULL
    };
    static const char *const bad[] = {
        "-Y", "not tcp and ip or _ws.malformed or ip.checksum_bad.expert", NULL
    };
    Recording *rec = record_offloads();
    g_autofree char *out = NULL;
    g_autofree char *none = NULL;

    recording_end(rec);
    out = run_tshark(rec->path, fields);
    if (out) {
        g_auto(GStrv) lines = g_strsplit(out, "\n", 0);

        g_assert_cmpuint(g_strv_length(lines), ==, 5);
        check_line(lines[0], 2, ";0;500;10.0.0.2;446;checksum");
        check_line(lines[1], 2, ";0;4054;10.0.0.2;4000;TCP");
        check_line(lines[2], 1, ";0;500;10.0.0.2;446;checksum");
        check_line(lines[3], 1, ";0;4054;10.0.0.2;4000;TCP");
        none = run_tshark(rec->path, bad);
        g_assert_cmpstr(none, ==, "");
    }
    recording_free(rec);
}

/* ---- Which frames ---- */

typedef struct Match {
    const char *name;
    const char *expression;
    bool first, second;         /* 60 and 1000 bytes, of the test's EtherType */
} Match;

static const Match matches[] = {
    { "type", "ether proto 0x88b5", true, true },
    { "other-type", "ip", false, false },
    { "length", "greater 500", false, true },
    { "byte", "ether[14] = 14 + 37", true, false },
    { "last-byte", "ether[255] != 1000", false, true },
    /* What is behind the first 256 bytes is not seen */
    { "too-far", "ether[256] != 1000", false, false },
    { "or", "ip or (ether proto 0x88b5 and less 100)", true, false },
};

static void test_expression(const void *opaque)
{
    const Match *m = opaque;
    /* QEMU is started by a shell */
    g_autofree char *option = g_strdup_printf("expression='%s'", m->expression);
    Recording *rec;
    DpRig *r;
    unsigned i;

    if (!dump_has_expressions()) {
        return;
    }
    rec = recording_new((DpSetup) { .null = true }, option, false);
    r = rec->r;
    for (i = 0; i < 20; i++) {
        bool second = i % 2;
        size_t len = second ? 1000 : 60;

        dp_make_frame(r->frame, len, 1 + i % 2);
        dp_transmit(r->nic, NULL, r->frame, len);
        if (second ? m->second : m->first) {
            recording_moved(rec, true, 0, len);
        }
    }
    g_assert_cmpuint(recording_counter(rec, "recorded"), ==, rec->moved->len);
    g_assert_cmpuint(recording_counter(rec, "unmatched"), ==,
                     20 - rec->moved->len);
    recording_check_all(rec);
    recording_free(rec);
}

/* In pieces, and to the guest's buffers */
static void test_expression_ways(const void *opaque)
{
#define WAYS "ether[200] = 200 + 37 and less 1000"
    Recording *rec;
    DumpFile *file;

    if (!dump_has_expressions()) {
        return;
    }
    rec = recording_new((DpSetup) {}, "snaplen=60,expression='" WAYS "'",
                        false);
    recording_transmit(rec, 0, 1000, 1);
    recording_receive(rec, 1000, 1);
    recording_end(rec);
    file = dump_file_read(rec->path);
    g_assert_cmpuint(recording_check(rec, file, 0), ==, 2);
    g_assert_cmpstr(file->expression, ==, WAYS);
    g_assert_cmpuint(file->matched, ==, 2);
    g_assert_cmpuint(file->snaplen, ==, 60);
    dump_file_free(file);
    recording_free(rec);
}

static void test_pieces_expression(const void *opaque)
{
    if (dump_has_expressions()) {
        test_pieces(opaque);
    }
}

/* ---- Under way ---- */

/* In and out again: all that passed it is in one file, and nothing else */
static void test_set_driver(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) {}, NULL, false);
    unsigned i;

    for (i = 0; i < dp_rounds(20); i++) {
        recording_transmit(rec, 0, 300, i);
        recording_receive(rec, 300, i);
        dp_set_driver(rec->r->qts, "tap0");
        dp_check_transmit(rec->r->nic, rec->r->sock, 400, i);
        dp_check_receive(rec->r->nic, rec->r->sock, 400, i);
        dp_set_driver(rec->r->qts, "dump0");
    }
    recording_check_all(rec);
    recording_free(rec);
}

static void test_reset(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) {}, NULL, false);
    unsigned i;

    for (i = 0; i < 5; i++) {
        recording_transmit(rec, 0, 300, i);
        dp_rig_restart(rec->r);
        recording_receive(rec, 300, i);
        dp_run_good(rec->r->qts, "{ 'execute': 'stop' }");
        dp_run_good(rec->r->qts, "{ 'execute': 'cont' }");
    }
    recording_check_all(rec);
    recording_free(rec);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < DP_DRIVERS; i++) {
        g_autofree char *path = g_strdup_printf("dump/driver/%s",
                                                dp_drivers[i].name);

        if (dp_drivers[i].end != DP_END_NOBODY &&
            dp_driver_has_node(&dp_drivers[i])) {
            dp_add_test(path, &dp_drivers[i], test_driver);
        }
    }
    dp_add_ring_test("dump/lengths/whole", NULL, test_lengths);
    dp_add_test("dump/lengths/snaplen", "snaplen=96", test_lengths);
    dp_add_test("dump/direct/whole", NULL, test_direct);
    dp_add_test("dump/direct/half", "snaplen=30000", test_direct);
    dp_add_test("dump/direct/snaplen", "snaplen=60", test_direct);
    dp_add_test("dump/pairs", NULL, test_pairs);
    dp_add_test("dump/pieces/whole", NULL, test_pieces);
    dp_add_test("dump/pieces/snaplen", "snaplen=18", test_pieces);
    dp_add_ring_test("dump/waits", NULL, test_waits);
    dp_add_test("dump/offloads", NULL, test_offloads);
    dp_add_test("dump/tshark", NULL, test_tshark);
    for (i = 0; i < ARRAY_SIZE(matches); i++) {
        g_autofree char *path = g_strdup_printf("dump/expression/%s",
                                                matches[i].name);

        dp_add_test(path, &matches[i], test_expression);
    }
    dp_add_test("dump/expression/ways", NULL, test_expression_ways);
    dp_add_test("dump/pieces/expression", "expression='ether proto 0x88b5'",
                test_pieces_expression);
    dp_add_ring_test("dump/set-driver", NULL, test_set_driver);
    dp_add_test("dump/reset", NULL, test_reset);
    return g_test_run();
}
