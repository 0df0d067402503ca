/*
 * vhost-dp: an interface that goes and comes back
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: VhostDPLinkPair.turn says who may use what a queue pair
 * has of the interface, and who changes the turn next.  It is passed on with
 * release and acquire semantics, so no lock is needed, and neither thread waits
 * for the other one.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "net/vhost-dp/drivers/lib/link.h"

typedef enum VhostDPLinkTurn {
    LINK_PAIR,                  /* the queue pair has it */
    LINK_ASKED,                 /* the queue pair has it, and is to leave it */
    LINK_WATCH,                 /* the watch's thread has it */
    LINK_OFFERED,               /* nobody, until the queue pair takes it */
    LINK_TAKEN,                 /* the queue pair; "taken" was not called yet */
} VhostDPLinkTurn;

struct VhostDPLinkPair {
    VhostDPLink *link;
    VhostDPLinkTurn turn;       /* atomic */
};

/* ---- The watch's thread ---- */

bool vhost_dp_link_ask(VhostDPLink *link, unsigned pair)
{
    VhostDPLinkPair *p = &link->pair[pair];
    VhostDPLinkTurn turn = qatomic_load_acquire(&p->turn);

    if (turn == LINK_PAIR) {
        qatomic_set(&p->turn, LINK_ASKED);
        link->news = true;
    }
    return turn == LINK_WATCH;
}

void vhost_dp_link_offer(VhostDPLink *link, unsigned pair)
{
    qatomic_store_release(&link->pair[pair].turn, LINK_OFFERED);
    link->news = true;
}

/* Returns false while a queue pair has not taken what it was offered */
static bool link_end_offers(VhostDPLink *link)
{
    bool taken = false;
    unsigned i;

    for (i = 0; i < link->npairs; i++) {
        if (qatomic_load_acquire(&link->pair[i].turn) == LINK_OFFERED) {
            return false;
        }
    }
    for (i = 0; i < link->npairs; i++) {
        if (qatomic_read(&link->pair[i].turn) == LINK_TAKEN) {
            qatomic_set(&link->pair[i].turn, LINK_PAIR);
            taken = true;
        }
    }
    if (taken && link->ops->taken) {
        link->ops->taken(link->drv);
    }
    return true;
}

static void link_look(VhostDPIfWatch *watch, void *opaque)
{
    VhostDPLink *link = opaque;

    if (!link->watch) {
        /* The first look, within vhost_dp_link_open() */
        link->watch = watch;
    }
    if (!link_end_offers(link)) {
        return;
    }
    link->ops->look(link->drv);
    if (link->news) {
        link->news = false;
        vhost_dp_ifwatch_tell(watch);
    }
}

/* ---- The queue pairs' IOThreads ---- */

static void link_follow(void *opaque)
{
    VhostDPLinkPair *p = opaque;
    VhostDPLink *link = p->link;
    VhostDPLinkTurn turn = qatomic_load_acquire(&p->turn);
    unsigned pair = p - link->pair;
    g_autofree char *reason = NULL;
    VhostDPIfState state;

    if (turn == LINK_ASKED) {
        link->ops->leave(link->drv, pair);
        qatomic_store_release(&p->turn, LINK_WATCH);
        vhost_dp_ifwatch_look(link->watch);
    } else if (turn == LINK_OFFERED) {
        link->ops->take(link->drv, pair);
        qatomic_store_release(&p->turn, LINK_TAKEN);
        /* The interface may have been deleted again */
        vhost_dp_ifwatch_look(link->watch);
    }
    state = vhost_dp_ifwatch_read(link->watch, NULL, &reason);
    link->ops->set_link(link->drv, pair, state, reason);
}

void vhost_dp_link_attach(VhostDPLink *link, unsigned pair, AioContext *ctx)
{
    vhost_dp_ifwatch_attach(link->watch, pair, ctx, link_follow,
                            &link->pair[pair]);
    link_follow(&link->pair[pair]);
}

void vhost_dp_link_detach(VhostDPLink *link, unsigned pair)
{
    vhost_dp_ifwatch_detach(link->watch, pair);
}

/* ---- Life cycle ---- */

bool vhost_dp_link_open(VhostDPLink *link, VhostDPDriver *drv,
                        unsigned queue_pairs, const VhostDPLinkOps *ops,
                        Error **errp)
{
    unsigned i;

    link->ops = ops;
    link->drv = drv;
    link->npairs = queue_pairs;
    link->pair = g_new0(VhostDPLinkPair, queue_pairs);
    for (i = 0; i < queue_pairs; i++) {
        link->pair[i].link = link;
    }
    /* The first look sets @link->watch */
    return vhost_dp_ifwatch_new(queue_pairs, link_look, link, errp) != NULL;
}

void vhost_dp_link_close(VhostDPLink *link)
{
    vhost_dp_ifwatch_free(link->watch);
    g_free(link->pair);
    *link = (VhostDPLink) {};
}
