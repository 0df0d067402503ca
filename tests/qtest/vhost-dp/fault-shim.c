/*
 * vhost-dp: qtests, making system calls of QEMU fail
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a library for LD_PRELOAD.  Its functions take the place
 * of the C library's, and of liburing's, in QEMU and in the libraries that it
 * uses.  Each asks whether it is to fail, and otherwise does what the original
 * does.  The rule is in a file that the environment names, and that the test
 * has mapped as well; so there is no call for a call.
 *
 * An operation of io_uring is not a call.  One that is to fail is replaced by
 * one that does nothing before the ring is entered, and its completion gets the
 * error after.
 *
 * The names in C differ from those for the linker, as the headers have inline
 * variants and macros of some of them.
 */

#include "qemu/osdep.h"
#include <dlfcn.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include "linux-headers/linux/vhost.h"
#include "qemu/atomic.h"
#include "standard-headers/linux/vhost_types.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_net.h"
#include "fault.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif

/* linux/if_tun.h's device (Documentation/admin-guide/devices.txt) */
#define TUN_MAJOR 10
#define TUN_MINOR 200

/* More operations than that are in no burst */
#define MAX_BURST 256

#define AS(name) __asm__(name)

/* The function that would have been called without us */
#define NEXT(type, name) \
    ({ \
        static typeof(type) *next_; \
        if (!next_) { \
            next_ = (typeof(type) *)dlsym(RTLD_NEXT, name); \
        } \
        next_; \
    })

static DpFault *fault;

static void __attribute__((constructor)) shim_init(void)
{
    const char *path = getenv(DP_FAULT_VARIABLE);
    void *p;
    int fd;

    if (!path) {
        return;
    }
    fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    p = (void *)syscall(SYS_mmap, NULL, sizeof(*fault), PROT_READ | PROT_WRITE,
                        MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    fault = p == MAP_FAILED ? NULL : p;
}

/* ---- What is to fail? ---- */

static uint32_t file_of_domain(int domain)
{
    switch (domain) {
    case AF_PACKET:
        return DP_FILE_PACKET;
    case AF_XDP:
        return DP_FILE_XDP;
    case AF_NETLINK:
        return DP_FILE_NETLINK;
    case AF_INET:
    case AF_INET6:
        return DP_FILE_INET;
    }
    return 0;
}

static uint32_t file_of(int fd)
{
    socklen_t len = sizeof(int);
    struct stat st;
    int domain;

    if (fstat(fd, &st) < 0) {
        return 0;
    }
    if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(TUN_MAJOR, TUN_MINOR)) {
        return DP_FILE_TUN;
    }
    if (S_ISSOCK(st.st_mode) &&
        syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain,
                &len) == 0) {
        return file_of_domain(domain);
    }
    return 0;
}

/* May a call fail?  Cheap: nearly all may not. */
static bool may_fail(uint32_t call)
{
    return fault && qatomic_load_acquire(&fault->armed) &&
           (fault->calls & call);
}

static bool is_meant(uint32_t file, uint64_t arg)
{
    bool main_thread = syscall(SYS_gettid) == syscall(SYS_getpid);

    return (fault->files & file) && (!fault->arg || fault->arg == arg) &&
           (fault->threads & (main_thread ? DP_THREAD_MAIN : DP_THREAD_OTHER));
}

/* The kernel makes the caller wait, as for a lock */
static void wait_while_held(void)
{
    if (qatomic_read(&fault->hold)) {
        qatomic_inc(&fault->held);
        while (qatomic_read(&fault->hold)) {
            usleep(1000);
        }
    }
}

/* One more call that is meant: does it fail?  errno is set then. */
static bool its_turn(const char *what, uint64_t arg)
{
    uint32_t n;

    wait_while_held();
    n = qatomic_fetch_inc(&fault->seen);

    if (n < fault->skip || n - fault->skip >= fault->count) {
        return false;
    }
    snprintf(fault->what, sizeof(fault->what), "%s 0x%" PRIx64, what, arg);
    qatomic_inc(&fault->failed);
    errno = fault->err;
    return true;
}

static bool fails(uint32_t call, uint32_t file, uint64_t arg, const char *what)
{
    return may_fail(call) && is_meant(file, arg) && its_turn(what, arg);
}

static bool fails_on(uint32_t call, int fd, uint64_t arg, const char *what)
{
    int saved = errno;

    if (!may_fail(call) || !is_meant(file_of(fd), arg)) {
        errno = saved;
        return false;
    }
    return its_turn(what, arg);
}

/* A call takes longer */
static void delay_on(uint32_t call, int fd)
{
    int saved = errno;

    if (may_fail(call) && fault->delay && is_meant(file_of(fd), 0)) {
        usleep(fault->delay * 1000);
    }
    errno = saved;
}

/* ---- The C library's ---- */

/* Calls whose first argument is a descriptor, and that have nothing special */
#define CALL_ON_FD(type, name, call, params, args) \
    static const char name_of_##name[] = #name; \
    type shim_##name params AS(#name); \
    type shim_##name params \
    { \
        type r; \
        if (fails_on(call, fd, 0, name_of_##name)) { \
            return -1; \
        } \
        delay_on(call, fd); \
        r = NEXT(type params, #name) args; \
        delay_on(call, fd); \
        return r; \
    }

CALL_ON_FD(int, bind, DP_CALL_BIND,
           (int fd, const struct sockaddr *addr, socklen_t len),
           (fd, addr, len))
CALL_ON_FD(int, connect, DP_CALL_CONNECT,
           (int fd, const struct sockaddr *addr, socklen_t len),
           (fd, addr, len))
CALL_ON_FD(int, getsockname, DP_CALL_GETSOCKNAME,
           (int fd, struct sockaddr *addr, socklen_t *len),
           (fd, addr, len))
CALL_ON_FD(ssize_t, read, DP_CALL_READ,
           (int fd, void *buf, size_t len),
           (fd, buf, len))
CALL_ON_FD(ssize_t, __read_chk, DP_CALL_READ,
           (int fd, void *buf, size_t len, size_t size),
           (fd, buf, len, size))
CALL_ON_FD(ssize_t, readv, DP_CALL_READV,
           (int fd, const struct iovec *iov, int n),
           (fd, iov, n))
CALL_ON_FD(ssize_t, write, DP_CALL_WRITE,
           (int fd, const void *buf, size_t len),
           (fd, buf, len))
CALL_ON_FD(ssize_t, writev, DP_CALL_WRITEV,
           (int fd, const struct iovec *iov, int n),
           (fd, iov, n))
CALL_ON_FD(ssize_t, send, DP_CALL_SEND,
           (int fd, const void *buf, size_t len, int flags),
           (fd, buf, len, flags))
CALL_ON_FD(ssize_t, sendto, DP_CALL_SEND,
           (int fd, const void *buf, size_t len, int flags,
            const struct sockaddr *addr, socklen_t addrlen),
           (fd, buf, len, flags, addr, addrlen))
CALL_ON_FD(ssize_t, sendmsg, DP_CALL_SEND,
           (int fd, const struct msghdr *msg, int flags),
           (fd, msg, flags))
CALL_ON_FD(int, sendmmsg, DP_CALL_SENDMMSG,
           (int fd, struct mmsghdr *msgs, unsigned n, int flags),
           (fd, msgs, n, flags))
CALL_ON_FD(ssize_t, recv, DP_CALL_RECV,
           (int fd, void *buf, size_t len, int flags),
           (fd, buf, len, flags))
CALL_ON_FD(ssize_t, __recv_chk, DP_CALL_RECV,
           (int fd, void *buf, size_t len, size_t size, int flags),
           (fd, buf, len, size, flags))
CALL_ON_FD(ssize_t, recvfrom, DP_CALL_RECV,
           (int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
            socklen_t *addrlen),
           (fd, buf, len, flags, addr, addrlen))
CALL_ON_FD(ssize_t, recvmsg, DP_CALL_RECV,
           (int fd, struct msghdr *msg, int flags),
           (fd, msg, flags))

int shim_setsockopt(int fd, int level, int name, const void *value,
                    socklen_t len) AS("setsockopt");
int shim_setsockopt(int fd, int level, int name, const void *value,
                    socklen_t len)
{
    if (fails_on(DP_CALL_SETSOCKOPT, fd, name, "setsockopt")) {
        return -1;
    }
    return NEXT(int(int, int, int, const void *, socklen_t),
                "setsockopt")(fd, level, name, value, len);
}

int shim_getsockopt(int fd, int level, int name, void *value,
                    socklen_t *len) AS("getsockopt");
int shim_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    if (fails_on(DP_CALL_GETSOCKOPT, fd, name, "getsockopt")) {
        return -1;
    }
    return NEXT(int(int, int, int, void *, socklen_t *),
                "getsockopt")(fd, level, name, value, len);
}

/*
 * The kernel's vhost-net as far as its ioctls go, for machines without it: it
 * accepts all, and never looks at a virtqueue
 */
static int vhost_net_ioctl(unsigned long request, void *arg)
{
    if (request == VHOST_GET_FEATURES) {
        *(uint64_t *)arg = 1ull << VIRTIO_F_VERSION_1 |
                           1ull << VIRTIO_F_RING_RESET |
                           1ull << VIRTIO_NET_F_MRG_RXBUF |
                           1ull << VHOST_F_LOG_ALL;
    } else if (request == VHOST_GET_BACKEND_FEATURES) {
        *(uint64_t *)arg = 0;
    } else if (request == VHOST_GET_VRING_BASE) {
        ((struct vhost_vring_state *)arg)->num = 0;
    }
    return 0;
}

/* Whatever the third argument is, it is in a register */
int shim_ioctl(int fd, unsigned long request, void *arg) AS("ioctl");
int shim_ioctl(int fd, unsigned long request, void *arg)
{
    if (fails_on(DP_CALL_IOCTL, fd, (uint32_t)request, "ioctl")) {
        return -1;
    }
    if (fault && fault->vhost_net && _IOC_TYPE(request) == VHOST_VIRTIO) {
        return vhost_net_ioctl(request, arg);
    }
    return NEXT(int(int, unsigned long, void *), "ioctl")(fd, request, arg);
}

static bool is_dup(int command)
{
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC;
}

int shim_fcntl(int fd, int command, void *arg) AS("fcntl64");
int shim_fcntl(int fd, int command, void *arg)
{
    if (is_dup(command) ? fails(DP_CALL_DUP, DP_FILE_NONE, 0, "dup") :
                          fails_on(DP_CALL_FCNTL, fd, command, "fcntl")) {
        return -1;
    }
    return NEXT(int(int, int, void *), "fcntl64")(fd, command, arg);
}

int shim_dup3(int fd, int to, int flags) AS("dup3");
int shim_dup3(int fd, int to, int flags)
{
    if (fails(DP_CALL_DUP, DP_FILE_NONE, 0, "dup3")) {
        return -1;
    }
    return NEXT(int(int, int, int), "dup3")(fd, to, flags);
}

int shim_socket(int domain, int type, int protocol) AS("socket");
int shim_socket(int domain, int type, int protocol)
{
    if (fails(DP_CALL_SOCKET, file_of_domain(domain), domain, "socket")) {
        return -1;
    }
    return NEXT(int(int, int, int), "socket")(domain, type, protocol);
}

int shim_open64(const char *path, int flags, mode_t mode) AS("open64");
int shim_open64(const char *path, int flags, mode_t mode)
{
    if (fails(DP_CALL_OPEN, DP_FILE_NONE, 0, path)) {
        return -1;
    }
    if (fault && fault->vhost_net && !strcmp(path, "/dev/vhost-net")) {
        path = "/dev/null";
    }
    return NEXT(int(const char *, int, mode_t), "open64")(path, flags, mode);
}

int shim_open64_2(const char *path, int flags) AS("__open64_2");
int shim_open64_2(const char *path, int flags)
{
    return shim_open64(path, flags, 0);
}

void *shim_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset) AS("mmap64");
void *shim_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset)
{
    if (fd >= 0 && fails_on(DP_CALL_MMAP, fd, 0, "mmap")) {
        return MAP_FAILED;
    }
    return NEXT(void *(void *, size_t, int, int, int, off_t),
                "mmap64")(addr, len, prot, flags, fd, offset);
}

int shim_poll(struct pollfd *fds, nfds_t n, int timeout) AS("poll");
int shim_poll(struct pollfd *fds, nfds_t n, int timeout)
{
    if (n == 1 && fails_on(DP_CALL_POLL, fds->fd, 0, "poll")) {
        return -1;
    }
    return NEXT(int(struct pollfd *, nfds_t, int), "poll")(fds, n, timeout);
}

int shim_eventfd(unsigned count, int flags) AS("eventfd");
int shim_eventfd(unsigned count, int flags)
{
    if (fails(DP_CALL_EVENTFD, DP_FILE_NONE, 0, "eventfd")) {
        return -1;
    }
    return NEXT(int(unsigned, int), "eventfd")(count, flags);
}

int shim_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                        void *(*start)(void *), void *arg)
    AS("pthread_create");
int shim_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                        void *(*start)(void *), void *arg)
{
    if (fails(DP_CALL_THREAD, DP_FILE_NONE, 0, "pthread_create")) {
        return errno;
    }
    return NEXT(int(pthread_t *, const pthread_attr_t *, void *(*)(void *),
                    void *), "pthread_create")(thread, attr, start, arg);
}

int shim_epoll_create1(int flags) AS("epoll_create1");
int shim_epoll_create1(int flags)
{
    if (fails(DP_CALL_EPOLL_CREATE, DP_FILE_NONE, 0, "epoll_create1")) {
        return -1;
    }
    return NEXT(int(int), "epoll_create1")(flags);
}

int shim_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
    AS("epoll_ctl");
int shim_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    if (fails_on(DP_CALL_EPOLL_CTL, fd, op, "epoll_ctl")) {
        return -1;
    }
    return NEXT(int(int, int, int, struct epoll_event *),
                "epoll_ctl")(epfd, op, fd, event);
}

int shim_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout)
    AS("epoll_wait");
int shim_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout)
{
    if (fails(DP_CALL_EPOLL_WAIT, DP_FILE_NONE, 0, "epoll_wait")) {
        return -1;
    }
    return NEXT(int(int, struct epoll_event *, int, int),
                "epoll_wait")(epfd, events, n, timeout);
}

/* libbpf's way to bpf(2) */
long shim_syscall(long number, long a, long b, long c, long d, long e, long f)
    AS("syscall");
long shim_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (number == SYS_bpf && fails(DP_CALL_BPF, DP_FILE_NONE, a, "bpf")) {
        return -1;
    }
    return NEXT(long(long, long, long, long, long, long, long),
                "syscall")(number, a, b, c, d, e, f);
}

/* ---- liburing's ---- */

int shim_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
    AS("io_uring_queue_init");
int shim_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    if (fails(DP_CALL_URING_INIT, DP_FILE_NONE, flags, "io_uring_setup")) {
        return -errno;
    }
    return NEXT(int(unsigned, struct io_uring *, unsigned),
                "io_uring_queue_init")(entries, ring, flags);
}

int shim_register_buffers(struct io_uring *ring, const struct iovec *iov,
                          unsigned n) AS("io_uring_register_buffers");
int shim_register_buffers(struct io_uring *ring, const struct iovec *iov,
                          unsigned n)
{
    if (fails(DP_CALL_URING_BUFFERS, DP_FILE_NONE, 0,
              "io_uring_register_buffers")) {
        return -errno;
    }
    return NEXT(int(struct io_uring *, const struct iovec *, unsigned),
                "io_uring_register_buffers")(ring, iov, n);
}

static uint32_t call_of_sqe(const struct io_uring_sqe *sqe)
{
    switch (sqe->opcode) {
    case IORING_OP_READ:
    case IORING_OP_READ_FIXED:
        return DP_CALL_URING_READ;
    case IORING_OP_WRITE:
    case IORING_OP_WRITE_FIXED:
        return DP_CALL_URING_WRITE;
    case IORING_OP_WRITEV:
        return DP_CALL_URING_WRITEV;
    }
    return 0;
}

/* Operations that were taken out, by their user_data */
typedef struct Failing {
    uint64_t user_data[MAX_BURST];
    int error[MAX_BURST];
    unsigned n;
} Failing;

/*
 * Take those that are to fail out of what was prepared.  Returns whether there
 * was any read or write: if not it is the ring of an event loop.
 */
static bool replace_sqes(struct io_uring *ring, Failing *failing)
{
    bool data = false;
    unsigned i;

    failing->n = 0;
    for (i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
        struct io_uring_sqe *sqe = &ring->sq.sqes[i & *ring->sq.kring_mask];
        uint32_t call = call_of_sqe(sqe);
        uint64_t user_data = sqe->user_data;

        data |= call != 0;
        if (call && failing->n < MAX_BURST &&
            fails(call, DP_FILE_NONE, sqe->opcode, "io_uring operation")) {
            failing->user_data[failing->n] = user_data;
            failing->error[failing->n++] = -errno;
            memset(sqe, 0, sizeof(*sqe));
            sqe->opcode = IORING_OP_NOP;
            sqe->user_data = user_data;
        }
    }
    return data;
}

/* An operation that does nothing completes as soon as it is submitted */
static void replace_cqes(struct io_uring *ring, const Failing *failing)
{
    struct io_uring_cqe *cqe;
    unsigned head, i;

    io_uring_for_each_cqe(ring, head, cqe) {
        for (i = 0; i < failing->n; i++) {
            if (cqe->user_data == failing->user_data[i]) {
                cqe->res = failing->error[i];
            }
        }
    }
}

int shim_submit_and_wait(struct io_uring *ring, unsigned n)
    AS("io_uring_submit_and_wait");
int shim_submit_and_wait(struct io_uring *ring, unsigned n)
{
    Failing failing;
    int r;

    if (replace_sqes(ring, &failing) &&
        fails(DP_CALL_URING_ENTER, DP_FILE_NONE, 0, "io_uring_enter")) {
        return -errno;
    }
    r = NEXT(int(struct io_uring *, unsigned),
             "io_uring_submit_and_wait")(ring, n);
    replace_cqes(ring, &failing);
    return r;
}
