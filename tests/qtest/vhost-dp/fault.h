/*
 * vhost-dp: qtests, making system calls of QEMU fail
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fault-shim.c is loaded into QEMU with LD_PRELOAD.  The test says in
 * memory that both have mapped which calls are to fail, and when; it may change
 * its mind while QEMU runs.  The product has no code for this.
 */

#ifndef TESTS_QTEST_VHOST_DP_FAULT_H
#define TESTS_QTEST_VHOST_DP_FAULT_H

/* Names the file that has the DpFault, for the shim */
#define DP_FAULT_VARIABLE "VHOST_DP_QTEST_FAULT"

/* The calls; bits of DpFault.calls */
enum {
    DP_CALL_OPEN = 1u << 0,         /* of a path */
    DP_CALL_SOCKET = 1u << 1,
    DP_CALL_BIND = 1u << 2,
    DP_CALL_CONNECT = 1u << 3,
    DP_CALL_GETSOCKNAME = 1u << 4,
    DP_CALL_SETSOCKOPT = 1u << 5,
    DP_CALL_GETSOCKOPT = 1u << 6,
    DP_CALL_IOCTL = 1u << 7,
    DP_CALL_FCNTL = 1u << 8,
    DP_CALL_MMAP = 1u << 9,
    DP_CALL_DUP = 1u << 10,         /* of any descriptor */
    DP_CALL_READ = 1u << 11,
    DP_CALL_READV = 1u << 12,
    DP_CALL_WRITE = 1u << 13,
    DP_CALL_WRITEV = 1u << 14,
    DP_CALL_SEND = 1u << 15,        /* send, sendto, sendmsg */
    DP_CALL_SENDMMSG = 1u << 16,
    DP_CALL_RECV = 1u << 17,        /* recv, recvfrom, recvmsg */
    DP_CALL_POLL = 1u << 18,
    DP_CALL_EPOLL_CREATE = 1u << 19,
    DP_CALL_EPOLL_CTL = 1u << 20,
    DP_CALL_EPOLL_WAIT = 1u << 21,
    DP_CALL_BPF = 1u << 22,
    DP_CALL_URING_INIT = 1u << 23,
    DP_CALL_URING_BUFFERS = 1u << 24,
    DP_CALL_URING_ENTER = 1u << 25, /* with reads or writes to submit */
    DP_CALL_THREAD = 1u << 26,      /* pthread_create */
    /* Not calls, but operations of io_uring: their completion has the error */
    DP_CALL_URING_READ = 1u << 27,
    DP_CALL_URING_WRITE = 1u << 28,
    DP_CALL_URING_WRITEV = 1u << 29,
    DP_CALL_EVENTFD = 1u << 30,
};

#define DP_CALL_ANY (~0u)

/* What they are made on; bits of DpFault.files */
enum {
    DP_FILE_TUN = 1u << 0,
    DP_FILE_PACKET = 1u << 1,       /* sockets */
    DP_FILE_XDP = 1u << 2,
    DP_FILE_NETLINK = 1u << 3,
    DP_FILE_INET = 1u << 4,
    DP_FILE_NONE = 1u << 5,         /* the call is about no such file */
};

#define DP_FILE_ANY (~0u)

/* Who makes them; bits of DpFault.threads */
enum {
    DP_THREAD_MAIN = 1u << 0,
    DP_THREAD_OTHER = 1u << 1,
};

#define DP_THREAD_ANY (~0u)

typedef struct DpFault {
    uint32_t armed;             /* atomic; the rest changes while it is 0 */
    uint32_t calls, files, threads;
    uint64_t arg;               /* of ioctl and the like; 0: any */
    int32_t err;                /* errno */
    uint32_t skip;              /* so many pass, */
    uint32_t count;             /* and so many fail */
    uint32_t delay;             /* ms that each takes before, and after */
    uint32_t hold;              /* atomic: they wait before, while it is set */
    uint32_t vhost_net;         /* there is one, which does nothing */
    /* What happened since it was armed */
    uint32_t held;              /* atomic: calls that have waited, or do */
    uint32_t seen;              /* atomic: calls that were meant */
    uint32_t failed;            /* atomic: calls that failed */
    char what[48];              /* the last of them */
} DpFault;

#endif
