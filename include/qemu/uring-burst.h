/*
 * Bursts of reads and writes on one file, by io_uring
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A program that reads or writes many small records of one file (a TAP
 * interface, a socket, a pipe) pays more for entering the kernel than for the
 * records.  A UringBurst does a number of them with one system call, in
 * order, none of them waiting for anything, and returns when all are done:
 *
 *     ops[i] = (UringBurstOp) {
 *         .code = URING_BURST_READ, .buf = record[i], .len = sizeof(record[i])
 *     };
 *     ...
 *     if (!uring_burst_run(ub, ops, n)) { ... use system calls from now on }
 *     for each i: ops[i].result is what read() would have returned, or -errno
 *
 * It has nothing to do with the io_uring of an AioContext: it is a private
 * ring, and nothing is in flight when a function returns.
 */

#ifndef QEMU_URING_BURST_H
#define QEMU_URING_BURST_H

typedef struct UringBurst UringBurst;

typedef enum UringBurstCode {
    URING_BURST_READ,
    URING_BURST_WRITE,
    URING_BURST_WRITEV,
} UringBurstCode;

typedef struct UringBurstOp {
    void *buf;                  /* WRITEV: array of struct iovec */
    uint32_t len;               /* bytes; WRITEV: elements */
    int32_t result;             /* set by uring_burst_run() */
    UringBurstCode code;
} UringBurstOp;

/**
 * uring_burst_new: make a ring for bursts on @fd
 * @fd: any file that is open for reading and can be told not to wait
 *      (RWF_NOWAIT), whether it is O_NONBLOCK or not.  It stays open until
 *      uring_burst_free(); the ring has no reference of its own to the file.
 * @depth: most operations in a burst, 1 to 1024
 *
 * Thread: the one that will call all other functions for this ring.
 *
 * Returns NULL with @errp set if io_uring is missing, forbidden (sysctl
 * kernel.io_uring_disabled, seccomp), or of no use for this file.  The caller
 * then uses system calls.
 */
UringBurst *uring_burst_new(int fd, unsigned depth, Error **errp);

/**
 * uring_burst_register: make reads and writes of a buffer cheaper
 * @buf: @len bytes, which stay where they are until uring_burst_free(), and
 *       are locked into memory
 *
 * Once for each ring.  Reads and writes inside the buffer are recognised;
 * others work as before.
 *
 * A thread without CAP_IPC_LOCK registers nothing: the buffer would use up the
 * user's limit of locked memory (RLIMIT_MEMLOCK, which counts for all programs
 * of the user), and others cannot do without that.
 *
 * Returns false if nothing was registered, which only costs time.
 */
bool uring_burst_register(UringBurst *ub, void *buf, size_t len);

/**
 * uring_burst_run: do @n operations
 * @ops: the operations; @result of each is set to the number of bytes or to
 *       -errno, -EAGAIN if it would have had to wait
 * @n: 1 to the depth of the ring
 *
 * The operations are started in order.  One that fails does not keep those
 * behind it from being tried.
 *
 * Returns false if the kernel does not run the ring any more: operations with
 * result -ECANCELED were not tried, and the ring is of no more use than to be
 * freed.
 */
bool uring_burst_run(UringBurst *ub, UringBurstOp *ops, unsigned n);

/**
 * uring_burst_free: free a ring; @ub may be NULL
 */
void uring_burst_free(UringBurst *ub);

#endif /* QEMU_URING_BURST_H */
