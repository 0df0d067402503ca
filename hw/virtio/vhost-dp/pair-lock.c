/*
 * vhost-dp: the lock of a queue pair, and calls to the guest
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the engine holds the lock for one burst, and a busy
 * engine would take it again before a waiter wakes up.  So a control operation
 * raises @want first, and the engine does not begin a burst while it is raised
 * (vhost_dp_pair_may_run()): it notes that it yielded and returns to its event
 * loop.  Whoever lowers @want to zero resumes it.  tests/models/lock.pml has a
 * model of this.
 *
 * The call fds are signalled under the lock, so that after a stop nobody
 * signals one that virtio has closed.
 */

#include "qemu/osdep.h"
#include <sys/eventfd.h>
#include "pair-int.h"

void vhost_dp_pair_lock(VhostDPPair *pair)
{
    qatomic_inc(&pair->want);
    qemu_mutex_lock(&pair->lock);
}

void vhost_dp_pair_unlock(VhostDPPair *pair)
{
    qemu_mutex_unlock(&pair->lock);
    /* A full barrier: pairs with the one in vhost_dp_pair_may_run() */
    if (qatomic_fetch_dec(&pair->want) == 1 &&
        qatomic_xchg(&pair->yielded, false)) {
        pair->client->resume(pair->opaque);
    }
}

static void lock_signal(int fd)
{
    ssize_t r;

    /*
     * EAGAIN means that the counter is at its limit, so the reader has been
     * told; there is nothing else that a write to an eventfd can answer.
     */
    r = eventfd_write(fd, 1);
    (void)r;
}

void vhost_dp_pair_call(VhostDPPair *pair)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        if (!pair->call_pending[i]) {
            continue;
        }
        pair->call_pending[i] = false;
        if (pair->call_fd[i] >= 0) {
            lock_signal(pair->call_fd[i]);
            vhost_dp_count(&pair->calls[i], 1);
        }
    }
}

void vhost_dp_pair_call_held(VhostDPPair *pair)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        if (pair->vq[i].undecided && vhost_dp_vring_decide(&pair->vq[i])) {
            pair->call_pending[i] = true;
        }
    }
    vhost_dp_pair_call(pair);
}
