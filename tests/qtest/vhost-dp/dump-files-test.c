/*
 * vhost-dp: qtests of vhost-dp-dump, files
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Files that are full, cannot be written to, or that nobody reads: the guest's
 * frames go on, and what is not recorded is counted.
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "commands.h"
#include "dump-rig.h"

/* ---- Several files, and full ones ---- */

static char *file_name(Recording *rec, unsigned i)
{
    return g_strdup_printf("%s.%u", rec->path, i);
}

static void test_ring(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) { .null = true },
                                   "file-size=64k,files=3", false);
    unsigned n[3], i, first, files, sum = 0;

    for (i = 0; i < 200; i++) {
        recording_transmit(rec, 0, 1400, i);
    }
    dp_wait_until(recording_counter(rec, "bytes") > 200 * 1400);
    files = recording_counter(rec, "files");
    /* 44 frames fit in each */
    g_assert_cmpuint(files, ==, 5);
    recording_end(rec);
    g_assert_false(g_file_test(rec->path, G_FILE_TEST_EXISTS));
    /* The last three, the oldest of which is in number 2 */
    first = 2 * (64 * KiB / 1500);
    for (i = 0; i < 3; i++) {
        g_autofree char *path = file_name(rec, (2 + i) % 3);
        DumpFile *file = dump_file_read(path);

        g_assert_true(file->has_stats);
        g_assert_cmpuint(file->size, <=, 64 * KiB);
        if (i < 2) {
            g_assert_cmpuint(file->size, >, 64 * KiB - 1500 - 200);
            g_assert_cmpuint(file->frames->len, >, 40);
        }
        if (i == 0) {
            /* All files that are full have as many */
            first = 2 * file->frames->len;
        }
        n[i] = recording_check(rec, file, first + sum);
        sum += n[i];
        dump_file_free(file);
    }
    g_assert_cmpuint(first + sum, ==, 200);
    recording_free(rec);
}

/* One file, which is full */
static void test_file_size(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) { .null = true }, "file-size=64k",
                                   false);
    g_autofree char *error = NULL;
    DumpFile *file;
    unsigned i, n, recorded;

    for (i = 0; i < 100; i++) {
        recording_transmit(rec, 0, 1400, i);
    }
    dp_wait_until((g_free(error), error = recording_error(rec)));
    g_assert_cmpstr(error, ==, "the file has file-size=65536 bytes");
    g_assert_cmpuint(recording_counter(rec, "errors"), ==, 0);
    n = recording_counter(rec, "lost");
    recording_transmit(rec, 0, 1400, i);
    g_assert_cmpuint(recording_counter(rec, "lost"), ==, n + 1);
    recorded = recording_counter(rec, "recorded");
    g_assert_cmpuint(recorded + n, ==, 100);
    recording_end(rec);
    file = dump_file_read(rec->path);
    n = recording_check(rec, file, 0);
    g_assert_cmpuint(n, ==, recorded);
    g_assert_cmpuint(n, >, 40);
    g_assert_cmpuint(n, <, 48);
    g_assert_true(file->has_stats);
    g_assert_cmpuint(file->size, <=, 64 * KiB);
    dump_file_free(file);
    recording_free(rec);
}

/* A netdev that comes again goes on in the same file; another file is new */
static void test_again(const void *opaque)
{
    g_autofree char *dir = dump_dir_new();
    g_autofree char *path = g_build_filename(dir, "x", NULL);
    QTestState *qts = qtest_init("-M pc -nodefaults");
    DpUsage before = dp_usage(qts);
    unsigned i;

    dp_run_good(qts, ADD_DRIVER("null", "null0", ""));
    for (i = 0; i < 3; i++) {
        DumpFile *file;

        qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments':"
                                 " { 'qom-type': 'vhost-dp-dump', 'id': 'd0',"
                                 " 'driver': 'null0', 'file': %s } }", path);
        /* The file is made when it is needed */
        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
        dp_run_good(qts, ADD_NETDEV_WITH("vd0", "d0", "'queues': 2"));
        dp_run_good(qts, DEL_NETDEV("vd0"));
        dp_run_good(qts, ADD_NETDEV_WITH("vd1", "d0", "'queues': 4"));
        dp_check_error(qtest_qmp(qts, "{ 'execute': 'qom-set', 'arguments': {"
                                 " 'path': '/objects/d0', 'property': 'file',"
                                 " 'value': 'other' } }"), "file=", "'vd1'",
                       NULL);
        dp_run_good(qts, DEL_NETDEV("vd1"));
        dp_run_good(qts, DEL_OBJECT("d0"));
        file = dump_file_read(path);
        g_assert_nonnull(strstr(file->description, "netdev vd0, above "
                                "vhost-dp-null null0"));
        g_assert_cmpuint(file->frames->len, ==, 0);
        g_assert_true(file->has_stats);
        dump_file_free(file);
        unlink(path);
        dp_check_usage(qts, before);
    }
    qtest_quit(qts);
    rmdir(dir);
}

/* QEMU ends while frames are recorded */
static void test_exit(const void *opaque)
{
    bool killed = opaque;
    Recording *rec = recording_new((DpSetup) { .null = true }, NULL, false);
    DpRig *r = rec->r;
    DumpFile *file;
    unsigned i;

    for (i = 0; i < 20; i++) {
        recording_transmit(rec, 0, 100, i);
    }
    if (killed) {
        kill(qtest_pid(r->qts), SIGTERM);
        qtest_wait_qemu(r->qts);
    } else {
        qtest_qmp_send(r->qts, "{ 'execute': 'quit' }");
        qtest_wait_qemu(r->qts);
    }
    file = dump_file_read(rec->path);
    g_assert_cmpuint(recording_check(rec, file, 0), ==, 20);
    g_assert_true(file->has_stats);
    g_assert_cmpuint(file->matched, ==, 20);
    dump_file_free(file);
    recording_free(rec);
}

/* ---- Descriptors ---- */

static void check_descriptor(Recording *rec, const char *object, int fd)
{
    DpRig *r = rec->r = dp_rig_start(&(DpSetup) { .null = true }, false);
    unsigned i;

    rec->without = "null0";
    if (strstr(object, "fdset")) {
        int one = fd;

        qtest_qmp_fds_assert_success(r->qts, &one, 1, "{ 'execute': 'add-fd',"
                                     " 'arguments': { 'fdset-id': 1 } }");
        close(fd);
    } else {
        dp_send_fds(r->qts, &fd, 1);
    }
    dp_run_good(r->qts, object);
    for (i = 0; i < 3; i++) {
        dp_set_driver(r->qts, "dump0");
        recording_transmit(rec, 0, 500, i);
        dp_set_driver(r->qts, "null0");
    }
    dp_set_driver(r->qts, "dump0");
}

/* What was in the file is in front of the recording */
static void test_descriptor(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) { .null = true }, NULL, false);
    g_autofree char *text = NULL;
    size_t size;
    int fd;

    /* A recording of somebody else's, of no frame */
    recording_end(rec);
    dp_rig_free(rec->r);
    rec->r = NULL;
    g_assert_true(g_file_get_contents(rec->path, &text, &size, NULL));
    fd = open(rec->path, O_WRONLY | O_TRUNC);
    g_assert_cmpint(fd, >=, 0);
    check_descriptor(rec, opaque, fd);
    recording_check_all(rec);
    recording_free(rec);
}

static void test_descriptor_errors(const void *opaque)
{
    QTestState *qts = qtest_init("-M pc -nodefaults");
    DpUsage before;
    int fd = open("/dev/null", O_RDONLY);

    dp_run_good(qts, ADD_DRIVER("null", "null0", ""));
    dp_run_good(qts, ADD_DRIVER("dump", "d0",
                                ", 'driver': 'null0', 'fd': 'a'"));
    dp_run_good(qts, ADD_DRIVER("dump", "d1",
                                ", 'driver': 'null0', 'fd': '977'"));
    dp_run_good(qts, ADD_DRIVER("dump", "d2", ", 'driver': 'null0',"
                                " 'file': '/dev/fdset/7'"));
    before = dp_usage(qts);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "d0")), "'d0'", "fd=a",
                   NULL);
    dp_send_fds(qts, &fd, 1);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "d0")), "'d0'", "fd=a",
                   "written", NULL);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "d1")), "'d1'", "fd=977",
                   NULL);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "d2")), "'d2'",
                   "file=/dev/fdset/7", NULL);
    dp_check_usage(qts, before);
    dp_run_good(qts, ADD_NETDEV("vd0", "null0"));
    qtest_quit(qts);
}

/* ---- Nobody reads ---- */

/* The pipe is full, then the buffer is; the guest sends all the same */
static void test_overflow(const void *opaque)
{
    bool read_on = opaque;
    Recording *rec = recording_new((DpSetup) { .null = true }, NULL, false);
    g_autofree char *copy = NULL;
    g_autofree char *pipe = NULL;
    DpRig *r = rec->r;
    unsigned i, lost = 0;
    int fd;

    recording_end(rec);
    pipe = g_build_filename(rec->dir, "pipe", NULL);
    g_assert_cmpint(mkfifo(pipe, 0600), ==, 0);
    fd = open(pipe, O_RDONLY | O_NONBLOCK);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'vhost-dp-dump', 'id': 'dump0',"
                             " 'driver': 'null0', 'buffer-size': %d,"
                             " 'file': %s } }", (int)(256 * KiB), pipe);
    dp_set_driver(r->qts, "dump0");
    for (i = 0; i < 500 || !lost; i++) {
        dp_make_frame(r->frame, 1400, i);
        dp_transmit(r->nic, NULL, r->frame, 1400);
        if (i % 100 == 99) {
            lost = recording_counter(rec, "lost");
        }
        g_assert_cmpuint(i, <, 100000);
    }
    g_assert_cmpuint(recording_counter(rec, "recorded") + lost, ==, i);
    g_assert_null(recording_error(rec));
    if (read_on) {
        GByteArray *got = g_byte_array_new();
        DumpFile *file;
        uint8_t buf[4096];
        ssize_t n;

        /* It goes on, and says how many are missing */
        dp_wait_until(((n = read(fd, buf, sizeof(buf))) > 0 ?
                       (void)g_byte_array_append(got, buf, n) : (void)0,
                       n < 0 && got->len > 256 * KiB));
        dp_transmit(r->nic, NULL, r->frame, 1400);
        i++;
        recording_end(rec);
        while ((n = read(fd, buf, sizeof(buf))) > 0) {
            g_byte_array_append(got, buf, n);
        }
        copy = g_build_filename(rec->dir, "copy", NULL);
        g_assert_true(g_file_set_contents(copy, (char *)got->data, got->len,
                                          NULL));
        file = dump_file_read(copy);
        g_assert_true(file->has_stats);
        g_assert_cmpuint(file->lost, ==, lost);
        g_assert_cmpuint(file->frames->len, ==, i - lost);
        g_assert_cmpuint(file->seen, ==, i);
        dump_file_free(file);
        g_byte_array_free(got, true);
    } else {
        /* That does not wait for the reader */
        recording_end(rec);
    }
    dp_transmit(r->nic, NULL, r->frame, 1400);
    close(fd);
    recording_free(rec);
}

/* The reader goes */
static void test_no_reader(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) { .null = true }, NULL, false);
    g_autofree char *pipe = NULL;
    g_autofree char *error = NULL;
    DpRig *r = rec->r;
    QDict *response;
    int fd;

    recording_end(rec);
    pipe = g_build_filename(rec->dir, "pipe", NULL);
    g_assert_cmpint(mkfifo(pipe, 0600), ==, 0);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'vhost-dp-dump', 'id': 'dump0',"
                             " 'driver': 'null0', 'file': %s } }", pipe);
    /* There was none; QEMU does not wait for one */
    response = dp_try_set_driver(r->qts, "dump0");
    dp_check_error(response, "vhost-dp-dump 'dump0'", "file=", pipe, NULL);
    dp_transmit(r->nic, NULL, r->frame, 100);
    fd = open(pipe, O_RDONLY | O_NONBLOCK);
    dp_set_driver(r->qts, "dump0");
    dp_transmit(r->nic, NULL, r->frame, 100);
    dp_wait_until(recording_counter(rec, "bytes") > 100);
    close(fd);
    dp_transmit(r->nic, NULL, r->frame, 100);
    dp_wait_until((g_free(error), error = recording_error(rec)));
    g_assert_cmpstr(error, ==, strerror(EPIPE));
    dp_transmit(r->nic, NULL, r->frame, 100);
    recording_end(rec);
    recording_free(rec);
}

/* ---- Writes that fail ---- */

static void test_full(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) { .null = true }, NULL, false);
    DpRig *r = rec->r;
    g_autofree char *error = NULL;
    g_autofree char *hmp = NULL;
    unsigned i;

    recording_end(rec);
    dp_run_good(r->qts, ADD_DRIVER("dump", "dump0", ", 'driver': 'null0',"
                                   " 'file': '/dev/full'"));
    dp_set_driver(r->qts, "dump0");
    dp_wait_until((g_free(error), error = recording_error(rec)));
    g_assert_cmpstr(error, ==, strerror(ENOSPC));
    g_assert_cmpuint(recording_counter(rec, "errors"), ==, 1);
    g_assert_cmpuint(recording_counter(rec, "bytes"), ==, 0);
    hmp = qtest_hmp(r->qts, "info vhost-dp");
    g_assert_nonnull(strstr(hmp, strerror(ENOSPC)));
    for (i = 0; i < 100; i++) {
        dp_transmit(r->nic, NULL, r->frame, 1000);
    }
    g_assert_cmpuint(recording_counter(rec, "lost"), ==, 100);
    recording_end(rec);
    recording_free(rec);
}

/* What was written is whole frames */
static void test_part(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) { .null = true }, NULL, false);
    DpRig *r = rec->r;
    struct rlimit limit = { 100 * 1000, RLIM_INFINITY };
    g_autofree char *error = NULL;
    unsigned i, recorded;
    DumpFile *file;

    g_assert_cmpint(prlimit(qtest_pid(r->qts), RLIMIT_FSIZE, &limit, NULL), ==,
                    0);
    for (i = 0; i < 100; i++) {
        recording_transmit(rec, 0, 1400, i);
    }
    dp_wait_until((g_free(error), error = recording_error(rec)));
    g_assert_cmpstr(error, ==, strerror(EFBIG));
    recorded = recording_counter(rec, "recorded");
    g_assert_cmpuint(recorded + recording_counter(rec, "lost"), ==, 100);
    recording_end(rec);
    file = dump_file_read(rec->path);
    g_assert_cmpuint(file->size, <=, limit.rlim_cur);
    g_assert_cmpuint(file->size, >, limit.rlim_cur - 1500);
    g_assert_cmpuint(recording_check(rec, file, 0), ==, recorded);
    g_assert_false(file->has_stats);
    dump_file_free(file);
    recording_free(rec);
}

/* The next file cannot be made */
static void test_next(const void *opaque)
{
    Recording *rec = recording_new((DpSetup) { .null = true },
                                   "file-size=64k,files=2", false);
    g_autofree char *path = file_name(rec, 0);
    g_autofree char *next = file_name(rec, 1);
    g_autofree char *error = NULL;
    DumpFile *file;
    unsigned i;

    g_assert_cmpint(mkdir(next, 0700), ==, 0);
    for (i = 0; i < 100; i++) {
        recording_transmit(rec, 0, 1400, i);
    }
    dp_wait_until((g_free(error), error = recording_error(rec)));
    g_assert_nonnull(strstr(error, strerror(EISDIR)));
    g_assert_nonnull(strstr(error, next));
    recording_end(rec);
    file = dump_file_read(path);
    g_assert_true(file->has_stats);
    g_assert_cmpuint(recording_check(rec, file, 0), >, 40);
    dump_file_free(file);
    rmdir(next);
    recording_free(rec);
}

/* ---- Errors ---- */

#define ADD_DUMP(options) ADD_DRIVER("dump", "d", options)
#define DUMP_TO_X ", 'driver': 'null0', 'file': '/x'"

static const DpBadCommand errors[] = {
    { "driver", ADD_DUMP(", 'file': '/x'"), { "driver" } },
    { "file/none", ADD_DUMP(", 'driver': 'null0'"),
      { "vhost-dp-dump 'd'", "file=" } },
    { "file/both", ADD_DUMP(DUMP_TO_X ", 'fd': '7'"), { "file=/x", "fd=7" } },
    { "fd/empty", ADD_DUMP(", 'driver': 'null0', 'fd': ':'"), { "fd=:" } },
    { "fd/two", ADD_DUMP(", 'driver': 'null0', 'fd': '7:8'"), { "fd=7:8" } },
    { "snaplen/zero", ADD_DUMP(DUMP_TO_X ", 'snaplen': 0"),
      { "snaplen=0", "1 to 262144" } },
    { "snaplen/large", ADD_DUMP(DUMP_TO_X ", 'snaplen': 262145"),
      { "snaplen=262145", "1 to 262144" } },
    { "file-size", ADD_DUMP(DUMP_TO_X ", 'file-size': 65535"),
      { "file-size=65535", "65536" } },
    { "files/zero", ADD_DUMP(DUMP_TO_X ", 'files': 0"),
      { "files=0", "1 to 1000" } },
    { "files/many", ADD_DUMP(DUMP_TO_X ", 'files': 1001"),
      { "files=1001", "1 to 1000" } },
    { "files/alone", ADD_DUMP(DUMP_TO_X ", 'files': 2"),
      { "files=2", "file-size=" } },
    { "files/fd", ADD_DUMP(", 'driver': 'null0', 'fd': '7',"
                           " 'file-size': 100000, 'files': 2"),
      { "files=2", "fd=7" } },
    { "files/fdset", ADD_DUMP(", 'driver': 'null0', 'file': '/dev/fdset/1',"
                              " 'file-size': 100000, 'files': 2"),
      { "files=2", "file=/dev/fdset/1" } },
    { "buffer-size/small", ADD_DUMP(DUMP_TO_X ", 'buffer-size': 1000"),
      { "buffer-size=1000", "262144 to 1073741824" } },
    { "buffer-size/large", ADD_DUMP(DUMP_TO_X ", 'buffer-size': 1073741825"),
      { "buffer-size=1073741825", "262144 to 1073741824" } },
};

static const DpBadCommand expression_errors[] = {
    { "expression/syntax", ADD_DUMP(DUMP_TO_X ", 'expression': 'tcp prot 80'"),
      { "expression=tcp prot 80", "syntax error" } },
    { "expression/direction", ADD_DUMP(DUMP_TO_X ", 'expression': 'inbound'"),
      { "expression=inbound", "cannot be used" } },
    { "expression/ifindex", ADD_DUMP(DUMP_TO_X
                                     ", 'expression': 'tcp or ifindex 1'"),
      { "expression=tcp or ifindex 1", "cannot be used" } },
    { "expression/host", ADD_DUMP(DUMP_TO_X
                                  ", 'expression': 'host 300.1.1.1'"),
      { "expression=host 300.1.1.1" } },
    { "expression/never", ADD_DUMP(DUMP_TO_X
                                   ", 'expression': 'ip and not ip'"),
      { "expression=ip and not ip" } },
};

static void test_expression_error(const void *opaque)
{
    if (dump_has_expressions()) {
        dp_check_bad_command(opaque);
    }
}

/* Errors that a netdev brings out */
static void test_open_errors(const void *opaque)
{
    QTestState *qts = qtest_init("-M pc -nodefaults");
    DpUsage before;

    dp_run_good(qts, ADD_DRIVER("null", "null0", ""));
    dp_run_good(qts, ADD_DRIVER("dump", "d0", ", 'driver': 'null0',"
                                " 'file': '/'"));
    dp_run_good(qts, ADD_DRIVER("dump", "d1", ", 'driver': 'null0',"
                                " 'file': '/nosuch/dir/file'"));
    dp_run_good(qts, ADD_DRIVER("dump", "d2", ", 'driver': 'nosuch',"
                                " 'file': '/x'"));
    before = dp_usage(qts);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "d0")),
                   "vhost-dp-dump 'd0'", "file=/", strerror(EISDIR), NULL);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "d1")),
                   "vhost-dp-dump 'd1'", "file=/nosuch/dir/file",
                   strerror(ENOENT), NULL);
    /* The file is not made then */
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "d2")),
                   "vhost-dp-dump 'd2'", "driver=nosuch", NULL);
    g_assert_false(g_file_test("/x", G_FILE_TEST_EXISTS));
    dp_check_usage(qts, before);
    dp_run_good(qts, ADD_NETDEV("vd0", "null0"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    qtest_quit(qts);
}

#define ADD_FD ADD_DRIVER("dump", "dump0", ", 'driver': 'null0', 'fd': 'a'")
#define ADD_FDSET ADD_DRIVER("dump", "dump0", ", 'driver': 'null0'," \
                             " 'file': '/dev/fdset/1'")

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_test("dump-files/ring", NULL, test_ring);
    dp_add_test("dump-files/file-size", NULL, test_file_size);
    dp_add_test("dump-files/again", NULL, test_again);
    dp_add_test("dump-files/exit/quit", NULL, test_exit);
    dp_add_test("dump-files/exit/killed", (void *)1, test_exit);
    dp_add_test("dump-files/descriptor/fd", ADD_FD, test_descriptor);
    dp_add_test("dump-files/descriptor/fdset", ADD_FDSET, test_descriptor);
    dp_add_test("dump-files/descriptor/errors", NULL, test_descriptor_errors);
    dp_add_test("dump-files/overflow/reader-comes", (void *)1, test_overflow);
    dp_add_test("dump-files/overflow/no-reader", NULL, test_overflow);
    dp_add_test("dump-files/no-reader", NULL, test_no_reader);
    dp_add_test("dump-files/full", NULL, test_full);
    dp_add_test("dump-files/part", NULL, test_part);
    dp_add_test("dump-files/next", NULL, test_next);
    dp_add_test("dump-files/open-errors", NULL, test_open_errors);
    dp_add_bad_commands("dump-files/error", errors, ARRAY_SIZE(errors),
                        dp_check_bad_command);
    dp_add_bad_commands("dump-files/error", expression_errors,
                        ARRAY_SIZE(expression_errors), test_expression_error);
    return g_test_run();
}
