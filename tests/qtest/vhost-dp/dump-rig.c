/*
 * vhost-dp: qtests, a guest whose frames are recorded
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "commands.h"
#include "dump-rig.h"

typedef struct Moved {
    bool tx;
    unsigned pair;
    size_t len;
    uint8_t *bytes;
} Moved;

static void free_moved(void *opaque)
{
    Moved *moved = opaque;

    g_free(moved->bytes);
    g_free(moved);
}

char *dump_dir_new(void)
{
    g_autoptr(GError) err = NULL;
    char *dir = g_dir_make_tmp("vhost-dp-dump-XXXXXX", &err);

    g_assert_no_error(err);
    return dir;
}

void dump_dir_free(char *dir)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(d))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);

        unlink(path);
    }
    g_dir_close(d);
    rmdir(dir);
    g_free(dir);
}

bool dump_has_expressions(void)
{
    QTestState *qts = dp_qemu_new(NULL);
    QDict *response = qtest_qmp(qts, ADD_DRIVER("dump", "d", ", 'driver': 'x',"
                                " 'file': 'x', 'expression': 'ip'"));
    bool has = qdict_haskey(response, "return");

    if (!has) {
        dp_check_error(response, "expression=ip", "built without libpcap",
                       NULL);
        g_test_skip("QEMU was built without libpcap");
    } else {
        qobject_unref(response);
    }
    qtest_quit(qts);
    return has;
}

static uint64_t now_ns(void)
{
    return g_get_real_time() * 1000;
}

static Recording *recording_begin(void)
{
    Recording *rec = g_new0(Recording, 1);

    rec->dir = dump_dir_new();
    rec->path = g_build_filename(rec->dir, "vd0.pcapng", NULL);
    rec->moved = g_ptr_array_new_with_free_func(free_moved);
    rec->start = now_ns();
    return rec;
}

Recording *recording_new(DpSetup setup, const char *options, bool vnet_hdr)
{
    Recording *rec = recording_begin();
    g_autofree char *dump = g_strdup_printf("file=%s%s%s", rec->path,
                                            options ? "," : "", options ?: "");

    setup.dump = dump;
    rec->without = setup.filter ? "lim0" : setup.null ? "null0" : "tap0";
    rec->r = dp_rig_start(&setup, vnet_hdr);
    return rec;
}

Recording *recording_new_on(const DpDriver *driver, const char *options)
{
    Recording *rec = recording_begin();
    g_autofree char *below = dp_driver_object(driver, "drv0", "");
    g_autofree char *more = g_strdup_printf(
        "%s -object vhost-dp-dump,id=dump0,driver=drv0,file=%s%s%s", below,
        rec->path, options ? "," : "", options ?: "");

    dp_driver_host_new(driver, 1);
    rec->without = "drv0";
    rec->r = dp_rig_start(&(DpSetup) { .null = true, .more = more }, false);
    dp_set_driver(rec->r->qts, "dump0");
    if (driver->peer) {
        rec->r->sock = dp_sock_open(driver->peer, false);
    }
    if (driver->interface) {
        dp_if_wait_running(driver->interface);
    }
    dp_wait_until(dp_link_is(rec->r, true, NULL));
    return rec;
}

void recording_free(Recording *rec)
{
    if (rec->r) {
        dp_rig_free(rec->r);
    }
    g_ptr_array_free(rec->moved, true);
    g_free(rec->path);
    dump_dir_free(rec->dir);
    g_free(rec);
}

void recording_moved_bytes(Recording *rec, bool tx, unsigned pair,
                           const uint8_t *bytes, size_t len)
{
    Moved *moved = g_new(Moved, 1);

    *moved = (Moved) {
        .tx = tx, .pair = pair, .len = len, .bytes = g_memdup2(bytes, len),
    };
    g_ptr_array_add(rec->moved, moved);
}

void recording_moved(Recording *rec, bool tx, unsigned pair, size_t len)
{
    recording_moved_bytes(rec, tx, pair, rec->r->frame, len);
}

void recording_transmit(Recording *rec, unsigned pair, size_t len,
                        unsigned seed)
{
    DpRig *r = rec->r;

    dp_make_frame(r->frame, len, seed);
    dp_transmit_on(r->nic, pair, NULL, r->frame, len);
    recording_moved(rec, true, pair, len);
    if (r->sock >= 0) {
        size_t got = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                  DP_MAX_FRAME, DP_TIMEOUT_US);

        dp_assert_frame(r->got, got, r->frame, len);
    }
}

void recording_receive(Recording *rec, size_t len, unsigned seed)
{
    DpRig *r = rec->r;

    dp_check_receive(r->nic, r->sock, len, seed);
    dp_make_frame(r->frame, len, seed);
    recording_moved(rec, false, 0, len);
}

void recording_end(Recording *rec)
{
    dp_set_driver(rec->r->qts, rec->without);
    dp_run_good(rec->r->qts, DEL_OBJECT("dump0"));
}

uint64_t recording_counter(Recording *rec, const char *name)
{
    return dp_filter_counter(rec->r->qts, "vd0", 0, name);
}

char *recording_error(Recording *rec)
{
    QDict *info = dp_query(rec->r->qts, "vd0");
    QDict *filter = qobject_to(QDict,
                               qlist_peek(qdict_get_qlist(info, "filters")));
    char *error = g_strdup(qdict_get_try_str(filter, "error"));

    qobject_unref(info);
    return error;
}

/* The kernel announces addresses of IPv6 */
static bool is_noise(const DumpFrame *frame)
{
    return !(frame->flags & DUMP_OUTBOUND) && frame->kept >= 14 &&
           lduw_be_p(frame->bytes + 12) == ETH_P_IPV6;
}

static void check_frame(Recording *rec, const DumpFile *file,
                        const DumpFrame *frame, const Moved *moved)
{
    size_t kept = MIN(moved->len, file->snaplen);

    g_assert_cmpuint(frame->len, ==, moved->len);
    g_assert_cmpmem(frame->bytes, frame->kept, moved->bytes, kept);
    g_assert_cmphex(frame->flags & (DUMP_INBOUND | DUMP_OUTBOUND), ==,
                    moved->tx ? DUMP_OUTBOUND : DUMP_INBOUND);
    g_assert_cmpuint(frame->queue, ==, moved->pair);
    g_assert_cmpuint(frame->time, >=, rec->start);
    g_assert_cmpuint(frame->time, <=, now_ns() + 1000);
}

unsigned recording_check(Recording *rec, const DumpFile *file, unsigned first)
{
    unsigned i, n = 0;

    g_assert_cmpstr(file->name, ==, "dump0");
    g_assert_true(g_str_has_prefix(file->application, "QEMU "));
    g_assert_nonnull(strstr(file->description, "vd0"));
    for (i = 0; i < file->frames->len; i++) {
        const DumpFrame *frame = dump_frame(file, i);

        if (is_noise(frame)) {
            continue;
        }
        g_assert_cmpuint(first + n, <, rec->moved->len);
        check_frame(rec, file, frame,
                    g_ptr_array_index(rec->moved, first + n));
        n++;
    }
    return n;
}

void recording_check_all(Recording *rec)
{
    DumpFile *file;

    recording_end(rec);
    file = dump_file_read(rec->path);
    g_assert_cmpuint(recording_check(rec, file, 0), ==, rec->moved->len);
    g_assert_true(file->has_stats);
    g_assert_cmpuint(file->start, >=, rec->start);
    g_assert_cmpuint(file->end, >=, file->start);
    g_assert_cmpuint(file->matched, ==, file->frames->len);
    g_assert_cmpuint(file->lost, ==, 0);
    dump_file_free(file);
}
