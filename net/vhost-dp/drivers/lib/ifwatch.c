/*
 * vhost-dp: the state of the host's network interfaces
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: one thread serves all watches of the process; it exists
 * while there is one.  It is an IOThread, for its event loop.
 *
 * A watch has a netlink socket that is subscribed to RTNLGRP_LINK.  A filter
 * in the kernel (classic BPF) lets pass only what is about the driver's
 * interface, so what happens to other interfaces wakes nobody up.  A message
 * means no more than "look again": messages may be lost when there are too
 * many, and the state of an interface can be had at any time.  Only while the
 * driver waits for an interface of some name messages of all interfaces come
 * through; those of other names are dropped here.
 *
 * An interface can be in another network namespace than QEMU's.  Its messages
 * go to sockets that were made in that namespace, by a thread that enters it
 * and ends.  That takes privileges; without them the watch looks once a
 * second.
 *
 * A watch has two mutexes.  One is held while look() runs, so whoever ends the
 * watch waits for its own look, and not for that of another interface: what is
 * left to do the thread does when it gets there.  The first look happens in the
 * thread that makes the watch, and waits for no other, either.
 *
 * The second guards what is published and who is told of it.  It is never held
 * across a system call, so anybody may take it.
 */

#include "qemu/osdep.h"
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/sockets.h"
#include "qemu/timer.h"
#include "system/iothread.h"
#include "ifwatch.h"

#define IFWATCH_INTERVAL_MS 1000

/* Messages taken at a time; for more the handler is called again */
#define IFWATCH_MESSAGES 64

/* No id of a user's object, and of no port's IOThread, has a colon there */
#define IFWATCH_THREAD "dp:ifwatch"

/* The sockets of one network namespace, or -1 */
typedef struct IfNet {
    int events;                 /* subscribed, and filtered */
    int sock;                   /* for requests */
    VhostDPIfWatch *watch;
} IfNet;

struct VhostDPIfWatch {
    void (*look)(VhostDPIfWatch *watch, void *opaque);
    void *opaque;
    AioContext *ctx;
    QEMUBH *bh;
    QEMUTimer *timer;
    bool asked;                 /* atomic: a queue pair wants to know */

    /* Guarded by look_lock, which is held while look() runs */
    QemuMutex look_lock;
    bool ended;                 /* look() must not run any more */
    IfNet here, there;
    bool away;                  /* the interface is in @there */
    bool by_clock;
    int ifindex;                /* whose messages count, or 0 */
    char ifname[IFNAMSIZ];      /* or its name, or empty */

    /* Guarded by lock */
    QemuMutex lock;
    VhostDPIfState state;
    char name[IFNAMSIZ];
    char *reason;
    unsigned npairs;
    QEMUBH **pair;              /* of each that is attached */
};

/* ---- Messages ---- */

/* With look_lock */
static void ifwatch_run_look(VhostDPIfWatch *watch)
{
    watch->look(watch, watch->opaque);
}

/* The sockets of the namespace that is being watched */
static IfNet *ifwatch_net(VhostDPIfWatch *watch)
{
    return watch->away ? &watch->there : &watch->here;
}

static void ifwatch_readable(void *opaque)
{
    IfNet *net = opaque;
    VhostDPIfWatch *watch = net->watch;
    /* Where they end in the middle of a later attribute does not matter */
    char buf[1024] QEMU_ALIGNED(NLMSG_ALIGNTO);
    struct nlmsghdr *nh = (void *)buf;
    bool meant = false;
    int i;

    QEMU_LOCK_GUARD(&watch->look_lock);
    for (i = 0; i < IFWATCH_MESSAGES && !watch->ended; i++) {
        ssize_t len = recv(net->events, buf, sizeof(buf), MSG_DONTWAIT);

        if (len < 0) {
            /* ENOBUFS: messages were lost */
            meant |= errno != EAGAIN;
            break;
        }
        if (len >= NLMSG_SPACE(sizeof(struct ifinfomsg))) {
            nh->nlmsg_len = MIN(nh->nlmsg_len, len);
            meant |= vhost_dp_if_is_meant(nh, watch->ifindex, watch->ifname);
        }
    }
    /* What QEMU's own namespace said before the watch left it is dropped */
    if (meant && net == ifwatch_net(watch)) {
        ifwatch_run_look(watch);
    }
}

static void ifwatch_timer(void *opaque)
{
    VhostDPIfWatch *watch = opaque;

    QEMU_LOCK_GUARD(&watch->look_lock);
    if (watch->ended) {
        return;
    }
    if (watch->by_clock) {
        vhost_dp_ifwatch_look_in(watch, IFWATCH_INTERVAL_MS);
    }
    ifwatch_run_look(watch);
}

/* ---- Sockets ---- */

/*
 * QEMU may have been forbidden netlink sockets: then there are no messages, and
 * ifwatch_set_follow() goes by the clock.
 */
static bool ifnet_is_forbidden(void)
{
    return errno == EAFNOSUPPORT || errno == EPERM || errno == EACCES;
}

static bool ifnet_open(IfNet *net)
{
    struct sockaddr_nl snl = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK,
    };

    net->events = -1;
    net->sock = qemu_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    if (net->sock < 0 && ifnet_is_forbidden()) {
        net->sock = qemu_socket(AF_INET, SOCK_DGRAM, 0);
        return net->sock >= 0;
    }
    if (net->sock >= 0) {
        net->events = qemu_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    }
    return net->events >= 0 &&
           bind(net->events, (struct sockaddr *)&snl, sizeof(snl)) == 0;
}

static void ifnet_close(IfNet *net)
{
    if (net->sock >= 0) {
        close(net->sock);
    }
    if (net->events >= 0) {
        close(net->events);
    }
    net->sock = net->events = -1;
}

/*
 * Let messages of interface @ifindex pass alone, or all if it is 0, or none if
 * it is -1.  A failure costs wake-ups: each message is looked at here, too.
 */
static void ifnet_filter(IfNet *net, int ifindex)
{
    uint32_t otherwise = ifindex ? 0 : UINT32_MAX;
    struct sock_filter insn[] = {
        /* Loads are big-endian, and the message is not */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 NLMSG_HDRLEN + offsetof(struct ifinfomsg, ifi_index)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(ifindex), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, otherwise),
    };
    struct sock_fprog program = { .len = ARRAY_SIZE(insn), .filter = insn };

    if (net->events >= 0) {
        setsockopt(net->events, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                   sizeof(program));
    }
}

static void ifnet_listen(IfNet *net, bool listen)
{
    if (net->events >= 0) {
        aio_set_fd_handler(net->watch->ctx, net->events,
                           listen ? ifwatch_readable : NULL, NULL, NULL, NULL,
                           net);
    }
}

/* Return to QEMU's own namespace, where nothing is followed yet */
static void ifwatch_leave(VhostDPIfWatch *watch)
{
    if (watch->away) {
        watch->away = false;
        ifnet_listen(&watch->there, false);
        ifnet_close(&watch->there);
        watch->ifindex = 0;
        watch->ifname[0] = '\0';
    }
}

/* For a thread that lives for this alone */
typedef struct IfEntry {
    int netns;
    IfNet *net;
    bool ok;
} IfEntry;

static void *ifnet_enter(void *opaque)
{
    IfEntry *entry = opaque;

    entry->ok = setns(entry->netns, CLONE_NEWNET) == 0 &&
                ifnet_open(entry->net);
    return NULL;
}

/* Sockets of namespace @netns */
static bool ifnet_open_there(IfNet *net, int netns)
{
    IfEntry entry = { .netns = netns, .net = net };
    GThread *thread;

    /* QEMU's -sandbox (spawn=deny) ends the thread that calls setns() */
    if (prctl(PR_GET_SECCOMP) != 0) {
        return false;
    }
    thread = g_thread_try_new("dp:netns", ifnet_enter, &entry, NULL);
    if (thread) {
        g_thread_join(thread);
    }
    return entry.ok;
}

static bool if_same_file(int a, int b)
{
    struct stat st_a, st_b;

    return fstat(a, &st_a) == 0 && fstat(b, &st_b) == 0 &&
           st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

/* Returns false if that cannot be said, or there are no sockets to be had */
static bool ifwatch_try_enter(VhostDPIfWatch *watch, int netns)
{
    IfNet net = { .events = -1, .sock = -1, .watch = watch };
    int ours = ioctl(watch->here.sock, SIOCGSKNS);
    int current = watch->away ? ioctl(watch->there.sock, SIOCGSKNS) : -1;
    bool ok = ours >= 0;

    if (!ok || if_same_file(netns, ours)) {
        ifwatch_leave(watch);
    } else if (current < 0 || !if_same_file(netns, current)) {
        ifwatch_leave(watch);
        ok = ifnet_open_there(&net, netns);
        if (ok) {
            watch->there = net;
            watch->away = true;
            watch->ifindex = 0;
            watch->ifname[0] = '\0';
            ifnet_listen(&watch->there, true);
            ifnet_filter(&watch->here, -1);
        } else {
            ifnet_close(&net);
        }
    }
    if (ours >= 0) {
        close(ours);
    }
    if (current >= 0) {
        close(current);
    }
    return ok;
}

/* ---- For look() ---- */

bool vhost_dp_ifwatch_enter(VhostDPIfWatch *watch, int netns)
{
    bool ok = true;

    if (netns < 0) {
        ifwatch_leave(watch);
    } else {
        ok = ifwatch_try_enter(watch, netns);
        close(netns);
    }
    return ok;
}

int vhost_dp_ifwatch_sock(VhostDPIfWatch *watch)
{
    return ifwatch_net(watch)->sock;
}

/* Follow @ifindex if it is not 0, or @ifname, or nothing but time */
static void ifwatch_set_follow(VhostDPIfWatch *watch, int ifindex,
                               const char *ifname, bool by_clock)
{
    IfNet *net = ifwatch_net(watch);

    watch->ifindex = ifindex;
    pstrcpy(watch->ifname, sizeof(watch->ifname), ifname);
    ifnet_filter(net, ifname[0] ? 0 : ifindex ?: -1);
    by_clock |= net->events < 0 && (ifindex || ifname[0]);
    if (by_clock && !watch->by_clock) {
        vhost_dp_ifwatch_look_in(watch, IFWATCH_INTERVAL_MS);
    } else if (!by_clock && watch->by_clock) {
        timer_del(watch->timer);
    }
    watch->by_clock = by_clock;
}

void vhost_dp_ifwatch_follow(VhostDPIfWatch *watch, int ifindex)
{
    if (watch->ifindex != ifindex || !ifindex) {
        ifwatch_set_follow(watch, ifindex, "", false);
    }
}

void vhost_dp_ifwatch_follow_name(VhostDPIfWatch *watch, const char *name)
{
    if (strcmp(watch->ifname, name)) {
        ifwatch_set_follow(watch, 0, name, false);
    }
}

void vhost_dp_ifwatch_follow_clock(VhostDPIfWatch *watch)
{
    if (!watch->by_clock || watch->ifindex || watch->ifname[0]) {
        ifwatch_set_follow(watch, 0, "", true);
    }
}

void vhost_dp_ifwatch_look_in(VhostDPIfWatch *watch, int64_t ms)
{
    timer_mod(watch->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + ms);
}

void vhost_dp_ifwatch_tell(VhostDPIfWatch *watch)
{
    unsigned i;

    QEMU_LOCK_GUARD(&watch->lock);
    for (i = 0; i < watch->npairs; i++) {
        if (watch->pair[i]) {
            qemu_bh_schedule(watch->pair[i]);
        }
    }
}

void vhost_dp_ifwatch_publish(VhostDPIfWatch *watch, VhostDPIfState state,
                              const char *name, const char *reason)
{
    bool news;

    WITH_QEMU_LOCK_GUARD(&watch->lock) {
        news = qatomic_xchg(&watch->asked, false) || watch->state != state ||
               g_strcmp0(watch->reason, reason);
        watch->state = state;
        pstrcpy(watch->name, sizeof(watch->name), name);
        if (news) {
            g_free(watch->reason);
            watch->reason = g_strdup(reason);
        }
    }
    if (news) {
        vhost_dp_ifwatch_tell(watch);
    }
}

/* ---- For everybody ---- */

VhostDPIfState vhost_dp_ifwatch_read(VhostDPIfWatch *watch, char *name,
                                     char **reason)
{
    QEMU_LOCK_GUARD(&watch->lock);
    if (name) {
        pstrcpy(name, IFNAMSIZ, watch->name);
    }
    if (reason) {
        *reason = g_strdup(watch->reason);
    }
    return watch->state;
}

void vhost_dp_ifwatch_attach(VhostDPIfWatch *watch, unsigned pair,
                             AioContext *ctx, void (*changed)(void *opaque),
                             void *opaque)
{
    QEMUBH *bh = aio_bh_new(ctx, changed, opaque);

    QEMU_LOCK_GUARD(&watch->lock);
    watch->pair[pair] = bh;
}

void vhost_dp_ifwatch_detach(VhostDPIfWatch *watch, unsigned pair)
{
    QEMUBH *bh;

    WITH_QEMU_LOCK_GUARD(&watch->lock) {
        bh = watch->pair[pair];
        watch->pair[pair] = NULL;
    }
    qemu_bh_delete(bh);
}

void vhost_dp_ifwatch_look(VhostDPIfWatch *watch)
{
    qatomic_set(&watch->asked, true);
    qemu_bh_schedule(watch->bh);
}

void vhost_dp_ifwatch_run(VhostDPIfWatch *watch, void (*fn)(void *opaque),
                          void *opaque)
{
    aio_bh_schedule_oneshot(watch->ctx, fn, opaque);
}

/* ---- The life of a watch ---- */

/* The thread of all watches, and how many there are; BQL */
static IOThread *ifwatch_thread;
static unsigned ifwatch_users;

static bool ifwatch_thread_get(Error **errp)
{
    ERRP_GUARD();

    if (!ifwatch_users) {
        ifwatch_thread = iothread_create(IFWATCH_THREAD, errp);
        if (!ifwatch_thread) {
            error_prepend(errp, "cannot watch the interface: ");
            return false;
        }
        object_ref(OBJECT(ifwatch_thread));
    }
    ifwatch_users++;
    return true;
}

/* Main loop, where an IOThread can be joined */
static void ifwatch_thread_free_bh(void *opaque)
{
    object_unref(OBJECT(opaque));
}

/* The thread has nothing more to do for one of its watches */
static void ifwatch_thread_put_bh(void *opaque)
{
    if (--ifwatch_users == 0) {
        /* Frees its name; the reference that we hold keeps the thread */
        iothread_destroy(ifwatch_thread);
        aio_bh_schedule_oneshot(qemu_get_aio_context(), ifwatch_thread_free_bh,
                                ifwatch_thread);
        ifwatch_thread = NULL;
    }
}

static void ifwatch_free(VhostDPIfWatch *watch)
{
    ifnet_close(&watch->here);
    qemu_mutex_destroy(&watch->look_lock);
    qemu_mutex_destroy(&watch->lock);
    g_free(watch->reason);
    g_free(watch->pair);
    g_free(watch);
}

/* In the thread, after the last look */
static void ifwatch_end(VhostDPIfWatch *watch)
{
    ifwatch_leave(watch);
    ifnet_listen(&watch->here, false);
    timer_free(watch->timer);
    qemu_bh_delete(watch->bh);
    ifwatch_free(watch);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), ifwatch_thread_put_bh,
                            NULL);
}

static void ifwatch_bh(void *opaque)
{
    VhostDPIfWatch *watch = opaque;
    bool ended;

    WITH_QEMU_LOCK_GUARD(&watch->look_lock) {
        ended = watch->ended;
        if (!ended) {
            ifwatch_run_look(watch);
        }
    }
    if (ended) {
        ifwatch_end(watch);
    }
}

VhostDPIfWatch *vhost_dp_ifwatch_new(unsigned queue_pairs,
                                     void (*look)(VhostDPIfWatch *watch,
                                                  void *opaque),
                                     void *opaque, Error **errp)
{
    VhostDPIfWatch *watch = g_new0(VhostDPIfWatch, 1);

    watch->look = look;
    watch->opaque = opaque;
    watch->here = watch->there = (IfNet) {
        .events = -1, .sock = -1, .watch = watch,
    };
    watch->state = VHOST_DP_IF_UP;
    watch->npairs = queue_pairs;
    watch->pair = g_new0(QEMUBH *, queue_pairs);
    qemu_mutex_init(&watch->look_lock);
    qemu_mutex_init(&watch->lock);
    if (!ifnet_open(&watch->here)) {
        error_setg_errno(errp, errno, "cannot watch the interface: netlink");
        ifwatch_free(watch);
        return NULL;
    }
    if (!ifwatch_thread_get(errp)) {
        ifwatch_free(watch);
        return NULL;
    }
    ifnet_filter(&watch->here, -1);
    watch->ctx = iothread_get_aio_context(ifwatch_thread);
    watch->bh = aio_bh_new(watch->ctx, ifwatch_bh, watch);
    watch->timer = aio_timer_new(watch->ctx, QEMU_CLOCK_REALTIME, SCALE_MS,
                                 ifwatch_timer, watch);
    WITH_QEMU_LOCK_GUARD(&watch->look_lock) {
        ifnet_listen(&watch->here, true);
        ifwatch_run_look(watch);
    }
    return watch;
}

void vhost_dp_ifwatch_free(VhostDPIfWatch *watch)
{
    if (!watch) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&watch->look_lock) {
        watch->ended = true;
        /* As soon as the lock is free, the watches' thread may free @watch */
        qemu_bh_schedule(watch->bh);
    }
}
