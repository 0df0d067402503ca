/*
 * vhost-dp: an interface that goes and comes back
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A driver of a host interface has one link while it is open.  The link has the
 * watch of the interface (ifwatch.h), calls the driver's look() in the watch's
 * thread, and reports what look() publishes to the queue pairs.
 *
 * When the interface was deleted and exists again, look() opens it again, and
 * offers each queue pair its new descriptor or socket (vhost_dp_link_offer()).
 * The pair takes it in its IOThread.  A driver whose new socket can be opened
 * only when the old one is closed first asks the pair to leave the old one
 * (vhost_dp_link_ask()).  While a pair has not taken what it was offered,
 * look() is not called.
 */

#ifndef NET_VHOST_DP_DRIVERS_LIB_LINK_H
#define NET_VHOST_DP_DRIVERS_LIB_LINK_H

#include "net/vhost-dp.h"
#include "net/vhost-dp/drivers/lib/ifwatch.h"

typedef struct VhostDPLinkOps {
    /**
     * @look: look at the interface, see vhost_dp_ifwatch_new()
     *
     * Uses VhostDPLink.watch.  Thread: the watch's; for the first time, the
     * one that opens the driver.
     */
    void (*look)(VhostDPDriver *drv);

    /**
     * @taken: queue pairs have taken what they were offered; may be NULL
     *
     * Called before @look.  Thread: the watch's.
     */
    void (*taken)(VhostDPDriver *drv);

    /**
     * @leave: stop to use the old socket, which is the watch's thread's when
     * this function has returned
     *
     * NULL in a driver that never asks.  Thread: the queue pair's IOThread.
     */
    void (*leave)(VhostDPDriver *drv, unsigned pair);

    /**
     * @take: use what was offered from now on
     *
     * Thread: the queue pair's IOThread.
     */
    void (*take)(VhostDPDriver *drv, unsigned pair);

    /**
     * @set_link: the state of the interface, as it was published last
     * @reason: why frames cannot be moved; NULL if they can
     *
     * Called after each change, and possibly without one.
     * Thread: the queue pair's IOThread.
     */
    void (*set_link)(VhostDPDriver *drv, unsigned pair, VhostDPIfState state,
                     const char *reason);
} VhostDPLinkOps;

typedef struct VhostDPLinkPair VhostDPLinkPair;

/* A member of the driver's struct */
typedef struct VhostDPLink {
    VhostDPIfWatch *watch;      /* NULL while the driver is not open */

    /* The link's own */
    const VhostDPLinkOps *ops;
    VhostDPDriver *drv;
    unsigned npairs;
    VhostDPLinkPair *pair;
    bool news;                  /* for queue pairs; the watch's thread */
} VhostDPLink;

/**
 * vhost_dp_link_open: begin to watch the interface, at the end of open
 *
 * Lock: BQL.  Calls @ops->look before it returns.  Returns false with @errp set
 * if there is no thread or descriptor left.
 */
bool vhost_dp_link_open(VhostDPLink *link, VhostDPDriver *drv,
                        unsigned queue_pairs, const VhostDPLinkOps *ops,
                        Error **errp);

/*
 * Stop to watch; no function of the driver is called any more.  What was
 * offered and not taken is the caller's.  @link may be closed.  Lock: BQL; no
 * queue pair is attached.
 */
void vhost_dp_link_close(VhostDPLink *link);

/*
 * Begin to report to a queue pair, at the end of attach: calls @ops->set_link
 * before it returns.  Thread: the pair's IOThread, whose AioContext is @ctx.
 */
void vhost_dp_link_attach(VhostDPLink *link, unsigned pair, AioContext *ctx);

/* Thread: that of vhost_dp_link_attach() */
void vhost_dp_link_detach(VhostDPLink *link, unsigned pair);

/* ---- Called by look() only ---- */

/*
 * Does the watch's thread have the old socket of the pair?  If not, asks the
 * pair to leave it; @ops->look is called again when it has.
 */
bool vhost_dp_link_ask(VhostDPLink *link, unsigned pair);

/* There is something new for the pair to take */
void vhost_dp_link_offer(VhostDPLink *link, unsigned pair);

#endif /* NET_VHOST_DP_DRIVERS_LIB_LINK_H */
