/*
 * vhost-dp-dump: the thread that writes files
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the thread sleeps until a frame was recorded, waits some
 * milliseconds for more, and empties the rings.  So a queue pair that is busy
 * wakes it up 200 times a second, and not for each burst; without frames nobody
 * is woken up.  A ring that is half full ends the wait.
 *
 * The thread alone uses the files.  They are not blocking: while the reader of
 * a pipe is behind, the thread waits for that and for the end, and frames that
 * find no room in their ring meanwhile are lost.
 *
 * Rings are added, and never removed, while there is a writer.
 */

#include "qemu/osdep.h"
#include <poll.h>
#include <glib-unix.h>
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/event_notifier.h"
#include "qemu/notify.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "system/system.h"
#include "dump-writer.h"
#include "pcapng.h"
#include "trace.h"

/* For how long frames are gathered before they are written */
#define WRITER_GATHER_MS 5

/* How much is written at once */
#define WRITER_BYTES (256 * KiB)

/* What the writer does, and so who wakes it up */
typedef enum WriterState {
    WRITER_WORKS,               /* nobody */
    WRITER_SLEEPS,              /* whoever has a frame */
    WRITER_GATHERS,             /* whose ring is half full */
} WriterState;

struct VhostDPDumpWriter {
    /* Constant */
    VhostDPDumpTarget target;   /* owns its strings */
    uint64_t start;             /* ns since 1970 */
    QemuThread thread;
    Notifier exit;

    /* BQL */
    bool joined;

    /* Between the threads; atomic */
    EventNotifier wake;
    VhostDPDumpRing *rings;     /* a list; the holder of the BQL prepends */
    WriterState state;
    bool stop;
    bool ended;
    char *reason;               /* set once */
    uint64_t frames, bytes, files, errors;  /* written, begun, failed */

    /* The writer's own */
    int fd;                     /* -1: none */
    bool is_regular;
    unsigned index;             /* of the file, if there are several */
    uint64_t file_bytes;        /* written, of this file */
    bool file_has_frames;
    GByteArray *out;            /* whole blocks that are to be written */
};

uint64_t vhost_dp_dump_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * (uint64_t)NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

/* ---- Files ---- */

static char *writer_file_name(const VhostDPDumpWriter *w)
{
    return w->target.files > 1 ?
        g_strdup_printf("%s.%u", w->target.path, w->index) :
        g_strdup(w->target.path);
}

/* What was passed is used as it is, and may have been written to before */
static int writer_open_path(const char *path, Error **errp)
{
    ERRP_GUARD();
    int fd;

    if (g_str_has_prefix(path, "/dev/fdset/")) {
        return qemu_open(path, O_WRONLY | O_NONBLOCK, errp);
    }
    fd = qemu_create(path, O_WRONLY | O_TRUNC | O_NONBLOCK, 0600, errp);
    if (fd < 0 && errno == ENXIO) {
        error_append_hint(errp, "If it is a pipe, its reader has to open it "
                          "first.\n");
    }
    return fd;
}

static bool writer_open_file(VhostDPDumpWriter *w, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *name = writer_file_name(w);
    g_autoptr(GError) gerr = NULL;
    struct stat st;

    if (name) {
        w->fd = writer_open_path(name, errp);
        if (w->fd < 0) {
            error_prepend(errp, "file=%s: ", w->target.path);
            return false;
        }
    } else {
        w->fd = w->target.fd;
        if (!g_unix_set_fd_nonblocking(w->fd, true, &gerr)) {
            error_setg(errp, "fd=%d: %s", w->fd, gerr->message);
            return false;
        }
    }
    w->is_regular = fstat(w->fd, &st) == 0 && S_ISREG(st.st_mode);
    w->file_bytes = 0;
    w->file_has_frames = false;
    qatomic_set(&w->files, w->files + 1);
    trace_vhost_dp_dump_file(w->target.id, name ?: "", w->fd);
    return true;
}

static void writer_close_file(VhostDPDumpWriter *w)
{
    if (w->fd >= 0 && w->target.path) {
        qemu_close(w->fd);
    }
    w->fd = -1;
}

/* ---- The end of a recording ---- */

/* Writer, or the holder of the BQL before it runs */
static void writer_end(VhostDPDumpWriter *w, const char *reason)
{
    qatomic_store_release(&w->reason, g_strdup(reason));
    qatomic_store_release(&w->ended, true);
    trace_vhost_dp_dump_end(w->target.id, reason);
}

static void writer_fail(VhostDPDumpWriter *w, const char *reason)
{
    qatomic_set(&w->errors, w->errors + 1);
    writer_end(w, reason);
    warn_report("vhost-dp-dump '%s': the recording has ended: %s",
                w->target.id, reason);
}

/* ---- Writing ---- */

/* A pipe is full.  Returns false if that is still so when all has to end. */
static bool writer_wait_for_room(VhostDPDumpWriter *w)
{
    struct pollfd fds[] = {
        { .fd = w->fd, .events = POLLOUT },
        { .fd = event_notifier_get_fd(&w->wake), .events = POLLIN },
    };

    do {
        event_notifier_test_and_clear(&w->wake);
        if (qatomic_load_acquire(&w->stop)) {
            return poll(fds, 1, 0) > 0;
        }
    } while (poll(fds, ARRAY_SIZE(fds), -1) <= 0 || !fds[0].revents);
    return true;
}

/*
 * The first @len bytes were written.  A part of a block is not left in a file,
 * as nothing could be read behind it.
 */
static void writer_written(VhostDPDumpWriter *w, size_t len)
{
    uint64_t frames;
    size_t whole = vhost_dp_pcapng_whole(w->out, len, &frames);
    off_t at;

    qatomic_set(&w->frames, w->frames + frames);
    qatomic_set(&w->bytes, w->bytes + len);
    w->file_bytes += len;
    if (whole < len && w->is_regular) {
        /* A recording that begins later in the same open file goes on there */
        at = lseek(w->fd, -(off_t)(len - whole), SEEK_CUR);
        if (at < 0 || ftruncate(w->fd, at) < 0) {
            trace_vhost_dp_dump_cut_failed(w->target.id, errno);
        }
    }
    g_byte_array_set_size(w->out, 0);
}

static bool writer_flush(VhostDPDumpWriter *w)
{
    const char *reason;
    size_t done = 0;

    while (done < w->out->len) {
        ssize_t n = write(w->fd, w->out->data + done, w->out->len - done);

        if (n > 0) {
            done += n;
            continue;
        }
        if (n < 0 && (errno == EINTR ||
                      (errno == EAGAIN && writer_wait_for_room(w)))) {
            continue;
        }
        reason = n < 0 && errno == EAGAIN ?
            "the reader of the pipe has not read all of it" :
            strerror(n < 0 ? errno : EIO);
        writer_written(w, done);
        writer_fail(w, reason);
        return false;
    }
    writer_written(w, done);
    return true;
}

static void writer_begin_file(VhostDPDumpWriter *w)
{
    vhost_dp_pcapng_begin(w->out, &(VhostDPPcapngHeader) {
        .application = "QEMU " QEMU_VERSION,
        .name = w->target.id,
        .description = w->target.description,
        .expression = w->target.expression,
        .snaplen = w->target.snaplen,
    });
}

static bool writer_end_file(VhostDPDumpWriter *w)
{
    VhostDPDumpCounters counters;

    vhost_dp_dump_writer_count(w, &counters);
    vhost_dp_pcapng_end(w->out, &(VhostDPPcapngStats) {
        .start = w->start,
        .end = vhost_dp_dump_now(),
        .seen = counters.frames.recorded + counters.frames.lost +
                counters.frames.unmatched,
        .matched = counters.frames.recorded + counters.frames.lost,
        .lost = counters.frames.lost,
    });
    return writer_flush(w);
}

/* Returns false if the recording has ended */
static bool writer_next_file(VhostDPDumpWriter *w)
{
    g_autofree char *full = NULL;
    Error *err = NULL;

    if (!writer_end_file(w)) {
        return false;
    }
    if (w->target.files == 1) {
        full = g_strdup_printf("the file has file-size=%" PRIu64 " bytes",
                               w->target.file_size);
        writer_end(w, full);
        return false;
    }
    writer_close_file(w);
    w->index = (w->index + 1) % w->target.files;
    if (!writer_open_file(w, &err)) {
        writer_fail(w, error_get_pretty(err));
        error_free(err);
        return false;
    }
    writer_begin_file(w);
    return true;
}

/* Returns false if the recording has ended */
static bool writer_write_frame(VhostDPDumpWriter *w,
                               const VhostDPDumpRecord *record, unsigned pair)
{
    size_t before = w->out->len;

    vhost_dp_pcapng_frame(w->out, record, pair);
    if (w->target.file_size && w->file_has_frames &&
        w->file_bytes + w->out->len + VHOST_DP_PCAPNG_END_BYTES >
        w->target.file_size) {
        g_byte_array_set_size(w->out, before);
        if (!writer_next_file(w)) {
            return false;
        }
        vhost_dp_pcapng_frame(w->out, record, pair);
    }
    w->file_has_frames = true;
    return w->out->len < WRITER_BYTES || writer_flush(w);
}

/* ---- The thread ---- */

/* The ring with the oldest frame, and that; or NULL */
static VhostDPDumpRing *writer_oldest(VhostDPDumpWriter *w,
                                      const VhostDPDumpRecord **oldest)
{
    VhostDPDumpRing *ring = qatomic_load_acquire(&w->rings);
    VhostDPDumpRing *found = NULL;

    for (; ring; ring = ring->next) {
        const VhostDPDumpRecord *record = vhost_dp_dump_ring_peek(ring);

        if (record && (!found || record->time < (*oldest)->time)) {
            found = ring;
            *oldest = record;
        }
    }
    return found;
}

/* Returns false if the recording has ended */
static bool writer_drain(VhostDPDumpWriter *w)
{
    const VhostDPDumpRecord *record = NULL;
    VhostDPDumpRing *ring;

    while ((ring = writer_oldest(w, &record))) {
        if (!writer_write_frame(w, record, ring->pair)) {
            return false;
        }
        vhost_dp_dump_ring_remove(ring);
    }
    return writer_flush(w);
}

static bool writer_has_frames(VhostDPDumpWriter *w)
{
    VhostDPDumpRing *ring = qatomic_load_acquire(&w->rings);

    while (ring && !vhost_dp_dump_ring_has(ring)) {
        ring = ring->next;
    }
    return ring;
}

/* Wait to be woken up, for @ms or, if that is -1, for as long as it takes */
static void writer_wait(VhostDPDumpWriter *w, WriterState state, int ms)
{
    struct pollfd fd = {
        .fd = event_notifier_get_fd(&w->wake), .events = POLLIN,
    };

    /* Pairs with vhost_dp_dump_writer_notify(), and the end */
    qatomic_set_mb(&w->state, state);
    if (!qatomic_read(&w->stop) &&
        (state != WRITER_SLEEPS || !writer_has_frames(w))) {
        poll(&fd, 1, ms);
    }
    qatomic_set(&w->state, WRITER_WORKS);
    event_notifier_test_and_clear(&w->wake);
}

static void *writer_run(void *opaque)
{
    VhostDPDumpWriter *w = opaque;
    bool stop, good;

    writer_begin_file(w);
    do {
        stop = qatomic_load_acquire(&w->stop);
        good = writer_drain(w);
        if (good && !stop) {
            writer_wait(w, WRITER_SLEEPS, -1);
            writer_wait(w, WRITER_GATHERS, WRITER_GATHER_MS);
        }
    } while (good && !stop);
    if (good) {
        writer_end_file(w);
    }
    writer_close_file(w);
    return NULL;
}

void vhost_dp_dump_writer_notify(VhostDPDumpWriter *w,
                                 const VhostDPDumpRing *ring)
{
    WriterState state;

    /* The frames are published before the state is looked at */
    smp_mb();
    state = qatomic_read(&w->state);
    if (likely(state == WRITER_WORKS ||
               (state == WRITER_GATHERS &&
                !vhost_dp_dump_ring_is_busy(ring)))) {
        return;
    }
    if (qatomic_cmpxchg(&w->state, state, WRITER_WORKS) == state) {
        event_notifier_set(&w->wake);
    }
}

/* ---- Its life ---- */

static void writer_join(VhostDPDumpWriter *w)
{
    if (!w->joined) {
        w->joined = true;
        qatomic_store_release(&w->stop, true);
        event_notifier_set(&w->wake);
        qemu_thread_join(&w->thread);
    }
}

/* QEMU ends while a netdev uses the filter: no frames are recorded any more */
static void writer_exit(Notifier *notifier, void *data)
{
    VhostDPDumpWriter *w = container_of(notifier, VhostDPDumpWriter, exit);

    qatomic_set(&w->ended, true);
    writer_join(w);
}

static void writer_discard(VhostDPDumpWriter *w)
{
    VhostDPDumpRing *ring;

    writer_close_file(w);
    while ((ring = w->rings)) {
        w->rings = ring->next;
        vhost_dp_dump_ring_free(ring);
    }
    g_byte_array_free(w->out, true);
    g_free((char *)w->target.id);
    g_free((char *)w->target.description);
    g_free((char *)w->target.path);
    g_free((char *)w->target.expression);
    g_free(w->reason);
    g_free(w);
}

VhostDPDumpWriter *vhost_dp_dump_writer_new(const VhostDPDumpTarget *target,
                                            Error **errp)
{
    VhostDPDumpWriter *w = g_new0(VhostDPDumpWriter, 1);
    int ret;

    w->target = *target;
    w->target.id = g_strdup(target->id);
    w->target.description = g_strdup(target->description);
    w->target.path = g_strdup(target->path);
    w->target.expression = g_strdup(target->expression);
    w->start = vhost_dp_dump_now();
    w->fd = -1;
    w->out = g_byte_array_new();
    if (!writer_open_file(w, errp)) {
        goto fail;
    }
    ret = event_notifier_init(&w->wake, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "no descriptor for an event");
        goto fail;
    }
    if (!qemu_thread_try_create(&w->thread, "dp:dump", writer_run, w,
                                QEMU_THREAD_JOINABLE, errp)) {
        event_notifier_cleanup(&w->wake);
        goto fail;
    }
    w->exit.notify = writer_exit;
    qemu_add_exit_notifier(&w->exit);
    return w;

fail:
    writer_discard(w);
    return NULL;
}

void vhost_dp_dump_writer_free(VhostDPDumpWriter *w)
{
    if (!w) {
        return;
    }
    qemu_remove_exit_notifier(&w->exit);
    writer_join(w);
    event_notifier_cleanup(&w->wake);
    writer_discard(w);
}

VhostDPDumpRing *vhost_dp_dump_writer_ring(VhostDPDumpWriter *w, unsigned pair,
                                           uint64_t size, Error **errp)
{
    VhostDPDumpRing *ring;

    for (ring = w->rings; ring; ring = ring->next) {
        if (ring->pair == pair) {
            return ring;
        }
    }
    ring = vhost_dp_dump_ring_new(pair, size);
    if (!ring) {
        error_setg(errp, "buffer-size=%" PRIu64 ": there is not so much memory "
                   "for queue pair %u", size, pair);
        return NULL;
    }
    ring->next = w->rings;
    qatomic_store_release(&w->rings, ring);
    return ring;
}

/* ---- What others ask ---- */

bool vhost_dp_dump_writer_has_ended(const VhostDPDumpWriter *w)
{
    return qatomic_read(&w->ended);
}

const char *vhost_dp_dump_writer_reason(const VhostDPDumpWriter *w)
{
    return qatomic_load_acquire(&w->reason);
}

void vhost_dp_dump_writer_count(const VhostDPDumpWriter *w,
                                VhostDPDumpCounters *counters)
{
    /* From then on as many frames are written, and no more */
    bool ended = qatomic_load_acquire(&w->ended);
    const VhostDPDumpRing *ring;

    *counters = (VhostDPDumpCounters) {
        .bytes = qatomic_read(&w->bytes),
        .files = qatomic_read(&w->files),
        .errors = qatomic_read(&w->errors),
    };
    for (ring = qatomic_load_acquire(&w->rings); ring; ring = ring->next) {
        vhost_dp_dump_ring_count(ring, &counters->frames);
    }
    if (ended) {
        /* What is still in the rings will not be written */
        uint64_t written = qatomic_read(&w->frames);

        counters->frames.lost += counters->frames.recorded - written;
        counters->frames.recorded = written;
    }
}
