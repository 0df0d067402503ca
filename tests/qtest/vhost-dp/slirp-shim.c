/*
 * vhost-dp: qtests, who is in libslirp?
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a library for LD_PRELOAD.  Its functions take the place
 * of libslirp's, count who is inside, and stay there for a moment before they
 * call the original, so that two threads that may be there at once will be.
 * A callback that delivers a packet is outside again, as whoever calls libslirp
 * may leave its lock for that.  What it counts is in a file that the
 * environment names, and that the test has mapped as well.
 */

#include "qemu/osdep.h"
#include <dlfcn.h>
#include <libslirp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "qemu/atomic.h"
#include "slirp-shim.h"

#define STAY_US 200

#define MAX_STACKS 8


static DpSlirpUse *use;

/* Stacks, by their opaque, and who gets their packets */
static struct {
    void *opaque;
    SlirpCb cb;
    SlirpWriteCb send_packet;
} stacks[MAX_STACKS];
static uint32_t nstacks;

static void __attribute__((constructor)) shim_init(void)
{
    const char *path = getenv(DP_SLIRP_VARIABLE);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *p;

    if (fd < 0) {
        return;
    }
    p = mmap(NULL, sizeof(*use), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    use = p == MAP_FAILED ? NULL : p;
}

static void note_thread(uint32_t thread)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(use->threads); i++) {
        if (qatomic_cmpxchg(&use->threads[i], 0, thread) == 0 ||
            qatomic_read(&use->threads[i]) == thread) {
            return;
        }
    }
}

static void enter(void)
{
    if (use) {
        qatomic_inc(&use->calls);
        note_thread(syscall(SYS_gettid));
        if (qatomic_fetch_inc(&use->inside)) {
            qatomic_inc(&use->overlaps);
        }
        g_usleep(STAY_US);
    }
}

static void leave(void)
{
    if (use) {
        qatomic_dec(&use->inside);
    }
}

static ssize_t shim_send_packet(const void *buf, size_t len, void *opaque)
{
    SlirpWriteCb send_packet = NULL;
    uint32_t i;
    ssize_t ret;

    for (i = 0; i < qatomic_read(&nstacks); i++) {
        if (stacks[i].opaque == opaque) {
            send_packet = stacks[i].send_packet;
        }
    }
    leave();
    ret = send_packet(buf, len, opaque);
    if (use && qatomic_fetch_inc(&use->inside)) {
        qatomic_inc(&use->overlaps);
    }
    return ret;
}

#define NEXT(name) \
    ({ \
        static typeof(name) *next_; \
        if (!next_) { \
            next_ = (typeof(name) *)dlsym(RTLD_NEXT, #name); \
        } \
        next_; \
    })

Slirp *slirp_new(const SlirpConfig *cfg, const SlirpCb *cb, void *opaque)
{
    uint32_t i = qatomic_read(&nstacks);
    Slirp *slirp;

    enter();
    if (i < MAX_STACKS) {
        stacks[i].opaque = opaque;
        stacks[i].cb = *cb;
        stacks[i].send_packet = cb->send_packet;
        stacks[i].cb.send_packet = shim_send_packet;
        cb = &stacks[i].cb;
        qatomic_set(&nstacks, i + 1);
    }
    slirp = NEXT(slirp_new)(cfg, cb, opaque);
    leave();
    return slirp;
}

#define VOID_CALL(name, params, args) \
    void name params \
    { \
        enter(); \
        NEXT(name) args; \
        leave(); \
    }

#define CALL(type, name, params, args) \
    type name params \
    { \
        type ret; \
        enter(); \
        ret = NEXT(name) args; \
        leave(); \
        return ret; \
    }

VOID_CALL(slirp_cleanup, (Slirp *slirp), (slirp))
VOID_CALL(slirp_input, (Slirp *slirp, const uint8_t *pkt, int len),
          (slirp, pkt, len))
VOID_CALL(slirp_pollfds_fill,
          (Slirp *slirp, uint32_t *timeout, SlirpAddPollCb add, void *opaque),
          (slirp, timeout, add, opaque))
#if SLIRP_CHECK_VERSION(4, 9, 0)
VOID_CALL(slirp_pollfds_fill_socket,
          (Slirp *slirp, uint32_t *timeout, SlirpAddPollSocketCb add,
           void *opaque),
          (slirp, timeout, add, opaque))
#endif
VOID_CALL(slirp_pollfds_poll,
          (Slirp *slirp, int error, SlirpGetREventsCb get, void *opaque),
          (slirp, error, get, opaque))
VOID_CALL(slirp_handle_timer,
          (Slirp *slirp, SlirpTimerId id, void *cb_opaque),
          (slirp, id, cb_opaque))
CALL(int, slirp_add_hostxfwd,
     (Slirp *slirp, const struct sockaddr *haddr, socklen_t haddrlen,
      const struct sockaddr *gaddr, socklen_t gaddrlen, int flags),
     (slirp, haddr, haddrlen, gaddr, gaddrlen, flags))
CALL(int, slirp_remove_hostxfwd,
     (Slirp *slirp, const struct sockaddr *haddr, socklen_t haddrlen,
      int flags),
     (slirp, haddr, haddrlen, flags))
CALL(char *, slirp_connection_info, (Slirp *slirp), (slirp))
