/*
 * Bursts of reads and writes on one file, by io_uring
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: each operation carries RWF_NOWAIT, so the kernel either
 * does it while it is submitted, or answers -EAGAIN; it never arms a poll nor
 * hands it to a worker thread.  So one io_uring_enter() submits a burst and
 * finds all completions there.  (O_NONBLOCK would not do: for a file that
 * supports RWF_NOWAIT it makes io_uring poll and try again later.)
 *
 * The file is not registered, although that would save 60 to 70 ns per
 * operation.  When a process is killed the kernel takes its rings apart later,
 * after an RCU grace period at least: a registered file stays open for 35 ms,
 * or 270 ms on a busy host, and whoever starts the program again finds the
 * interface in use.
 *
 * One thread uses a ring, which the kernel is told where it can make use of it.
 */

#include "qemu/osdep.h"
#include <liburing.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "qapi/error.h"
#include "qemu/uring-burst.h"

/* How often the kernel may be out of something before a burst is given up */
#define URING_BURST_TRIES 1000

struct UringBurst {
    struct io_uring ring;
    int fd;
    unsigned depth;
    uint8_t *fixed;             /* registered buffer, or NULL */
    size_t fixed_len;
};

/* What to ask the kernel for: the best first (Linux 6.1, 5.19, 5.6) */
static const unsigned setup_flags[] = {
#if defined(IORING_SETUP_DEFER_TASKRUN) && \
    defined(IORING_SETUP_SINGLE_ISSUER) && defined(IORING_SETUP_SUBMIT_ALL)
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
        IORING_SETUP_DEFER_TASKRUN,
#endif
#if defined(IORING_SETUP_COOP_TASKRUN) && defined(IORING_SETUP_SUBMIT_ALL)
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
#endif
    0,
};

static int uring_burst_init(UringBurst *ub, unsigned depth)
{
    unsigned i;
    int r = -EINVAL;

    for (i = 0; i < ARRAY_SIZE(setup_flags) && r == -EINVAL; i++) {
        r = io_uring_queue_init(depth, &ub->ring, setup_flags[i]);
    }
    return r;
}

UringBurst *uring_burst_new(int fd, unsigned depth, Error **errp)
{
    UringBurst *ub = g_new0(UringBurst, 1);
    UringBurstOp probe = { .code = URING_BURST_READ, .buf = &probe };
    int r = uring_burst_init(ub, depth);

    if (r < 0) {
        error_setg_errno(errp, -r, "io_uring cannot be set up");
        g_free(ub);
        return NULL;
    }
    ub->fd = fd;
    ub->depth = depth;
    /* Reads nothing, and tells whether the file can be told not to wait */
    if (!uring_burst_run(ub, &probe, 1) || probe.result == -ECANCELED) {
        error_setg(errp, "io_uring cannot be used");
        uring_burst_free(ub);
        return NULL;
    }
    if (probe.result == -EOPNOTSUPP || probe.result == -EINVAL ||
        probe.result == -EBADF) {
        error_setg_errno(errp, -probe.result, "io_uring cannot use the file "
                         "without waiting for it");
        uring_burst_free(ub);
        return NULL;
    }
    return ub;
}

/*
 * Is the calling thread in a user namespace whose IDs are those of the host?
 * Only there its capabilities are what the kernel asks for.
 */
static bool uring_burst_in_host_userns(void)
{
    g_autofree char *map = NULL;
    unsigned inside, outside, n;

    return g_file_get_contents("/proc/self/uid_map", &map, NULL, NULL) &&
           sscanf(map, "%u %u %u", &inside, &outside, &n) == 3 &&
           inside == 0 && outside == 0 && n == UINT32_MAX;
}

/*
 * May the calling thread lock memory without limit?  If not, what it locks is
 * counted for its user, and missing to all other programs of that user:
 * whatever the thread's own RLIMIT_MEMLOCK is.
 */
static bool uring_burst_may_lock(void)
{
    struct __user_cap_header_struct hdr = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

    return syscall(SYS_capget, &hdr, data) == 0 &&
           data[0].effective & (1u << CAP_IPC_LOCK) &&
           uring_burst_in_host_userns();
}

bool uring_burst_register(UringBurst *ub, void *buf, size_t len)
{
    struct iovec iov = { .iov_base = buf, .iov_len = len };

    assert(!ub->fixed);
    if (!uring_burst_may_lock() ||
        io_uring_register_buffers(&ub->ring, &iov, 1) < 0) {
        return false;
    }
    ub->fixed = buf;
    ub->fixed_len = len;
    return true;
}

static bool uring_burst_is_fixed(const UringBurst *ub, const UringBurstOp *op)
{
    uintptr_t offset = (uintptr_t)op->buf - (uintptr_t)ub->fixed;

    return offset < ub->fixed_len && op->len <= ub->fixed_len - offset;
}

static void uring_burst_prepare(UringBurst *ub, const UringBurstOp *op,
                                unsigned index)
{
    /* Two opcodes each: of any memory, and of the registered buffer */
    static const uint8_t opcodes[][2] = {
        [URING_BURST_READ] = { IORING_OP_READ, IORING_OP_READ_FIXED },
        [URING_BURST_WRITE] = { IORING_OP_WRITE, IORING_OP_WRITE_FIXED },
        [URING_BURST_WRITEV] = { IORING_OP_WRITEV, IORING_OP_WRITEV },
    };
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ub->ring);

    /* Offset -1: the file's own position, if it has one */
    io_uring_prep_rw(opcodes[op->code][uring_burst_is_fixed(ub, op)], sqe,
                     ub->fd, op->buf, op->len, -1);
    sqe->rw_flags = RWF_NOWAIT;
    sqe->user_data = index;
}

/* Take what has completed.  Returns the number. */
static unsigned uring_burst_reap(UringBurst *ub, UringBurstOp *ops)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned n = 0;

    io_uring_for_each_cqe(&ub->ring, head, cqe) {
        ops[cqe->user_data].result = cqe->res;
        n++;
    }
    io_uring_cq_advance(&ub->ring, n);
    return n;
}

bool uring_burst_run(UringBurst *ub, UringBurstOp *ops, unsigned n)
{
    unsigned done = 0;
    unsigned tries = 0;
    unsigned i;
    int r;

    assert(n <= ub->depth);
    for (i = 0; i < n; i++) {
        ops[i].result = -ECANCELED;
        uring_burst_prepare(ub, &ops[i], i);
    }
    while (done < n) {
        r = io_uring_submit_and_wait(&ub->ring, n - done);
        done += uring_burst_reap(ub, ops);
        if (unlikely(r < 0 && ((r != -EINTR && r != -EAGAIN && r != -EBUSY) ||
                               ++tries == URING_BURST_TRIES))) {
            /*
             * Forbidden by now (seccomp), or the kernel has no memory: what
             * it took before is done.
             */
            return false;
        }
    }
    return true;
}

void uring_burst_free(UringBurst *ub)
{
    if (ub) {
        io_uring_queue_exit(&ub->ring);
        g_free(ub);
    }
}
