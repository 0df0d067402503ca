/*
 * vhost-dp: qtests, who is in libslirp?
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VHOST_DP_SLIRP_SHIM_H
#define TESTS_QTEST_VHOST_DP_SLIRP_SHIM_H

/* Names the file that has the DpSlirpUse, for the shim */
#define DP_SLIRP_VARIABLE "VHOST_DP_QTEST_SLIRP"

typedef struct DpSlirpUse {
    uint32_t inside;            /* atomic: threads that are in libslirp now */
    uint32_t threads[8];        /* atomic: that have been there, 0: none */
    uint32_t calls;             /* atomic */
    uint32_t overlaps;          /* atomic: calls while another was under way */
} DpSlirpUse;

#endif
