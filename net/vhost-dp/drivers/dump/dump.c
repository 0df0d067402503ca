/*
 * vhost-dp-dump: a filter that records frames in a pcapng file
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the IOThread of a queue pair copies the first bytes of
 * each frame, with its metadata and the time, into a ring of the pair's
 * (dump-ring.h), from where another thread writes them to the file
 * (dump-writer.h).  The IOThread waits for nothing: a frame that finds no room
 * is counted, and passes all the same.
 *
 * What the guest sends is copied before the driver below gets it, as the driver
 * may change the frames' structs, and kept if the driver takes it.  Frames that
 * the driver does not take are offered, and copied, again.
 *
 * A recording begins when a netdev uses the filter for the first time, and ends
 * with the object, or when an option is changed meanwhile.  So a filter that is
 * taken out and put in again goes on in the same file.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "net/vhost-dp/drivers/lib/expression.h"
#include "net/vhost-dp/drivers/lib/fds.h"
#include "net/vhost-dp/filter.h"
#include "dump-writer.h"

#define TYPE_VHOST_DP_DUMP "vhost-dp-dump"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPDump, VHOST_DP_DUMP)

/* Longer than any frame, as tcpdump has it */
#define DUMP_MAX_SNAPLEN 262144u

#define DUMP_MAX_FILES 1000
#define DUMP_MIN_FILE_SIZE 65536u

/* Twice the longest frame, with its record, and a power of 2 */
#define DUMP_MIN_BUFFER 262144u
#define DUMP_MAX_BUFFER 1073741824u
#define DUMP_BUFFER (2 * MiB)

typedef struct DumpQueue {
    VhostDPFilterQueue parent;
    VhostDPDumpRing *ring;      /* the writer's; set by open */

    /* The IOThread's own */
    VhostDPDumpMark mark[VHOST_DP_BURST_FRAMES];    /* behind each frame */
    uint8_t head[VHOST_DP_EXPRESSION_BYTES];        /* for the expression */
    struct iovec into[1 + VHOST_DP_INTO_SEGMENTS];
} DumpQueue;

struct VhostDPDump {
    VhostDPFilter parent_obj;

    /* Options; BQL */
    char *file;
    char *fd;
    uint32_t snaplen;
    uint64_t file_size;
    uint32_t files;
    uint64_t buffer_size;
    char *expression;

    /* BQL; constant while open */
    VhostDPFds fds;
    VhostDPExpression *compiled;    /* of expression, or NULL */
    VhostDPDumpWriter *writer;      /* NULL before the first open */
};

static DumpQueue *dump_queue(VhostDPDriver *drv, unsigned pair)
{
    return container_of(vhost_dp_filter_queue(drv, pair), DumpQueue, parent);
}

/* ---- Frames ---- */

static bool dump_matches(const VhostDPDump *d, DumpQueue *q,
                         const VhostDPFrame *frame, const struct iovec *iov,
                         unsigned iovcnt)
{
    uint32_t have = MIN(frame->len, sizeof(q->head));
    const uint8_t *head = iov[0].iov_base;

    if (iov[0].iov_len < have) {
        iov_to_buf(iov, iovcnt, 0, q->head, have);
        head = q->head;
    }
    return vhost_dp_expression_matches(d->compiled, head, have, frame->len);
}

/* @iov: the frame's bytes, and maybe more behind them */
static void dump_add(DumpQueue *q, const VhostDPFrame *frame,
                     const struct iovec *iov, unsigned iovcnt, uint64_t now,
                     bool tx)
{
    const VhostDPDump *d = VHOST_DP_DUMP(q->parent.filter);
    VhostDPDumpRecord record;
    uint8_t *p;

    if (d->compiled && !dump_matches(d, q, frame, iov, iovcnt)) {
        q->ring->now.unmatched++;
        return;
    }
    record = (VhostDPDumpRecord) {
        .time = now,
        .len = frame->len,
        .kept = MIN(frame->len, d->snaplen),
        .gso_size = frame->gso_size,
        .csum_start = frame->csum_start,
        .csum_offset = frame->csum_offset,
        .flags = frame->flags,
        .gso_type = frame->gso_type,
        .tx = tx,
    };
    p = vhost_dp_dump_ring_add(q->ring, &record);
    if (p) {
        iov_to_buf(iov, iovcnt, 0, p, record.kept);
    }
}

static void dump_publish(DumpQueue *q, const VhostDPDumpMark *mark)
{
    const VhostDPDump *d = VHOST_DP_DUMP(q->parent.filter);

    vhost_dp_dump_ring_publish(q->ring, mark);
    vhost_dp_dump_writer_notify(d->writer, q->ring);
}

/* The recording has ended */
static void dump_lose(DumpQueue *q, unsigned n)
{
    VhostDPDumpMark mark = q->ring->now;

    mark.lost += n;
    vhost_dp_dump_ring_publish(q->ring, &mark);
}

static unsigned dump_tx_burst(VhostDPDriver *drv, unsigned pair,
                              VhostDPFrame *frames, unsigned n)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);
    DumpQueue *q = dump_queue(drv, pair);
    VhostDPDumpMark before = q->ring->now;
    bool ended = vhost_dp_dump_writer_has_ended(VHOST_DP_DUMP(drv)->writer);
    uint64_t now = vhost_dp_dump_now();
    unsigned i, taken;

    for (i = 0; !ended && i < n; i++) {
        dump_add(q, &frames[i], frames[i].iov, frames[i].iovcnt, now, true);
        q->mark[i] = q->ring->now;
    }
    taken = f->inner_dc->tx_burst(f->inner, pair, frames, n);
    if (unlikely(ended)) {
        dump_lose(q, taken);
    } else {
        dump_publish(q, taken ? &q->mark[taken - 1] : &before);
    }
    return taken;
}

static unsigned dump_rx_burst(VhostDPDriver *drv, unsigned pair,
                              VhostDPFrame *frames, unsigned n)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);
    DumpQueue *q = dump_queue(drv, pair);
    uint64_t now;
    unsigned i;

    n = f->inner_dc->rx_burst(f->inner, pair, frames, n);
    if (!n) {
        return 0;
    }
    if (unlikely(vhost_dp_dump_writer_has_ended(VHOST_DP_DUMP(drv)->writer))) {
        dump_lose(q, n);
        return n;
    }
    now = vhost_dp_dump_now();
    for (i = 0; i < n; i++) {
        dump_add(q, &frames[i], frames[i].iov, frames[i].iovcnt, now, false);
    }
    dump_publish(q, &q->ring->now);
    return n;
}

static int dump_rx_into(VhostDPDriver *drv, unsigned pair, VhostDPFrame *frame,
                        uint8_t *head, const struct iovec *iov,
                        unsigned iovcnt)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);
    DumpQueue *q = dump_queue(drv, pair);
    size_t have = VHOST_DP_HEAD_BYTES;
    size_t kept;
    unsigned n;
    int r = f->inner_dc->rx_into(f->inner, pair, frame, head, iov, iovcnt);

    if (r <= 0) {
        return r;
    }
    if (unlikely(vhost_dp_dump_writer_has_ended(VHOST_DP_DUMP(drv)->writer))) {
        dump_lose(q, 1);
        return r;
    }
    q->into[0] = (struct iovec) { head, VHOST_DP_HEAD_BYTES };
    kept = MIN(frame->len, VHOST_DP_DUMP(drv)->snaplen);
    for (n = 0; n < iovcnt && have < kept; n++) {
        q->into[1 + n] = iov[n];
        have += iov[n].iov_len;
    }
    dump_add(q, frame, q->into, 1 + n, vhost_dp_dump_now(), false);
    dump_publish(q, &q->ring->now);
    return r;
}

/* ---- Options ---- */

/* A property set to "" has no value */
static const char *dump_text(const char *text)
{
    return text && *text ? text : NULL;
}

static bool dump_check_target(const VhostDPDump *d, Error **errp)
{
    ERRP_GUARD();
    const char *file = dump_text(d->file);
    const char *fd = dump_text(d->fd);

    if (file && fd) {
        error_setg(errp, "file=%s and fd=%s exclude each other", file, fd);
        return false;
    }
    if (!file && !fd) {
        error_setg(errp, "file= is missing: the file to record frames in");
        error_append_hint(errp, "Or fd=, a descriptor that can be written "
                          "to.\n");
        return false;
    }
    if (fd && !vhost_dp_fds_count("fd", fd, errp)) {
        return false;
    }
    if (d->files < 1 || d->files > DUMP_MAX_FILES) {
        error_setg(errp, "files=%u is out of range: 1 to %d", d->files,
                   DUMP_MAX_FILES);
        return false;
    }
    if (d->files > 1 && !d->file_size) {
        error_setg(errp, "files=%u needs file-size=: after how many bytes the "
                   "next one is used", d->files);
        return false;
    }
    if (d->files > 1 && (fd || g_str_has_prefix(file, "/dev/fdset/"))) {
        error_setg(errp, "files=%u needs file= with a name: %s%s is one "
                   "descriptor", d->files, fd ? "fd=" : "file=", fd ?: file);
        return false;
    }
    return true;
}

static bool dump_check_sizes(const VhostDPDump *d, Error **errp)
{
    if (d->snaplen < 1 || d->snaplen > DUMP_MAX_SNAPLEN) {
        error_setg(errp, "snaplen=%u is out of range: 1 to %u bytes of each "
                   "frame", d->snaplen, DUMP_MAX_SNAPLEN);
        return false;
    }
    if (d->file_size && d->file_size < DUMP_MIN_FILE_SIZE) {
        error_setg(errp, "file-size=%" PRIu64 " is out of range: at least %u "
                   "bytes, or 0 for no limit", d->file_size,
                   DUMP_MIN_FILE_SIZE);
        return false;
    }
    if (d->buffer_size < DUMP_MIN_BUFFER || d->buffer_size > DUMP_MAX_BUFFER) {
        error_setg(errp, "buffer-size=%" PRIu64 " is out of range: %u to "
                   "%u bytes", d->buffer_size, DUMP_MIN_BUFFER,
                   DUMP_MAX_BUFFER);
        return false;
    }
    return true;
}

static bool dump_check_options(VhostDPDriver *drv, Error **errp)
{
    VhostDPDump *d = VHOST_DP_DUMP(drv);

    return vhost_dp_filter_check_options(drv, errp) &&
           dump_check_target(d, errp) &&
           dump_check_sizes(d, errp) &&
           vhost_dp_expression_set(&d->compiled, "expression", d->expression,
                                   errp);
}

/* Nobody uses the filter: the next recording is another one */
static void dump_changed(VhostDPDriver *drv)
{
    VhostDPDump *d = VHOST_DP_DUMP(drv);

    g_clear_pointer(&d->writer, vhost_dp_dump_writer_free);
}

static void dump_fd_changed(VhostDPDriver *drv)
{
    dump_changed(drv);
    vhost_dp_fds_close(&VHOST_DP_DUMP(drv)->fds);
}

static const VhostDPOption dump_options[] = {
    VHOST_DP_OPTION("file", STR, VhostDPDump, file,
        "path of the pcapng file to record frames in; what was in it is lost",
        .changed = dump_changed),
    VHOST_DP_OPTION("fd", STR, VhostDPDump, fd,
        "descriptor to write to, instead of file=",
        .changed = dump_fd_changed),
    VHOST_DP_OPTION("snaplen", UINT32, VhostDPDump, snaplen,
        "how many bytes of each frame to keep (default: 262144, all)",
        .changed = dump_changed),
    VHOST_DP_OPTION("file-size", SIZE, VhostDPDump, file_size,
        "bytes after which the next file is used, or the recording ends "
        "(default: 0, no limit)",
        .changed = dump_changed),
    VHOST_DP_OPTION("files", UINT32, VhostDPDump, files,
        "how many files of file-size= to use in turn: PATH.0, PATH.1, ... "
        "(default: 1, PATH)",
        .changed = dump_changed),
    VHOST_DP_OPTION("buffer-size", SIZE, VhostDPDump, buffer_size,
        "bytes for each queue pair of frames that are not written yet "
        "(default: 2M)",
        .changed = dump_changed),
    VHOST_DP_OPTION("expression", STR, VhostDPDump, expression,
        "which frames to record, as for tcpdump (default: all)",
        .changed = dump_changed),
    { }
};

/* ---- Control ---- */

static bool dump_find_fd(VhostDPDump *d, Error **errp)
{
    int flags;

    if (!vhost_dp_fds_find(&d->fds, "fd", d->fd, 1, errp)) {
        return false;
    }
    flags = fcntl(d->fds.fd[0], F_GETFL);
    if (flags < 0) {
        error_setg_errno(errp, errno, "fd=%s", d->fd);
    } else if ((flags & O_ACCMODE) == O_RDONLY) {
        error_setg(errp, "fd=%s cannot be written to", d->fd);
    } else {
        return true;
    }
    vhost_dp_fds_reject(&d->fds);
    return false;
}

static bool dump_begin(VhostDPDump *d, Error **errp)
{
    VhostDPFilter *f = VHOST_DP_FILTER(d);
    const char *file = dump_text(d->file);
    g_autofree char *description = NULL;

    if (!file && !dump_find_fd(d, errp)) {
        return false;
    }
    description = g_strdup_printf("netdev %s, above %s %s",
                                  VHOST_DP_DRIVER(d)->claimed_by,
                                  object_get_typename(OBJECT(f->inner)),
                                  f->inner->id);
    d->writer = vhost_dp_dump_writer_new(&(VhostDPDumpTarget) {
        .id = VHOST_DP_DRIVER(d)->id,
        .description = description,
        .path = file,
        .fd = file ? -1 : d->fds.fd[0],
        .files = d->files,
        .file_size = d->file_size,
        .snaplen = d->snaplen,
        .expression = dump_text(d->expression),
    }, errp);
    return d->writer;
}

static bool dump_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    VhostDPDump *d = VHOST_DP_DUMP(drv);
    unsigned i;

    if (!vhost_dp_filter_open(drv, queue_pairs, errp)) {
        return false;
    }
    if (!d->writer && !dump_begin(d, errp)) {
        goto fail;
    }
    for (i = 0; i < queue_pairs; i++) {
        DumpQueue *q = dump_queue(drv, i);

        q->ring = vhost_dp_dump_writer_ring(d->writer, i, d->buffer_size,
                                            errp);
        if (!q->ring) {
            goto fail;
        }
    }
    return true;

fail:
    vhost_dp_filter_close(drv);
    return false;
}

static void dump_add_counters(VhostDPFilter *f, VhostDPCounterList ***tail)
{
    VhostDPDumpCounters c;

    vhost_dp_dump_writer_count(VHOST_DP_DUMP(f)->writer, &c);
    vhost_dp_filter_add_counter(tail, "recorded", c.frames.recorded);
    vhost_dp_filter_add_counter(tail, "lost", c.frames.lost);
    vhost_dp_filter_add_counter(tail, "unmatched", c.frames.unmatched);
    vhost_dp_filter_add_counter(tail, "bytes", c.bytes);
    vhost_dp_filter_add_counter(tail, "files", c.files);
    vhost_dp_filter_add_counter(tail, "errors", c.errors);
}

static const char *dump_get_error(VhostDPFilter *f)
{
    return vhost_dp_dump_writer_reason(VHOST_DP_DUMP(f)->writer);
}

/* ---- The object ---- */

static void dump_instance_init(Object *obj)
{
    VhostDPDump *d = VHOST_DP_DUMP(obj);

    d->snaplen = DUMP_MAX_SNAPLEN;
    d->files = 1;
    d->buffer_size = DUMP_BUFFER;
}

static void dump_instance_finalize(Object *obj)
{
    VhostDPDump *d = VHOST_DP_DUMP(obj);

    vhost_dp_dump_writer_free(d->writer);
    vhost_dp_fds_close(&d->fds);
    vhost_dp_expression_free(d->compiled);
}

static void dump_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);
    VhostDPFilterClass *fc = VHOST_DP_FILTER_CLASS(oc);

    dc->check_options = dump_check_options;
    dc->open = dump_open;
    dc->tx_burst = dump_tx_burst;
    dc->rx_burst = dump_rx_burst;
    dc->rx_into = dump_rx_into;

    fc->queue_size = sizeof(DumpQueue);
    fc->add_counters = dump_add_counters;
    fc->get_error = dump_get_error;

    vhost_dp_driver_add_options(oc, dump_options);
}

static const TypeInfo dump_info = {
    .name = TYPE_VHOST_DP_DUMP,
    .parent = TYPE_VHOST_DP_FILTER,
    .instance_size = sizeof(VhostDPDump),
    .instance_init = dump_instance_init,
    .instance_finalize = dump_instance_finalize,
    .class_init = dump_class_init,
};

static void dump_register_types(void)
{
    type_register_static(&dump_info);
}

type_init(dump_register_types)
