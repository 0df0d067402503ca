/*
 * vhost-dp: qtests, a TAP interface behind a stream socket
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * So what is tested with each driver by a packet socket on an interface is
 * tested with vhost-dp-stream, too.
 */

#ifndef TESTS_QTEST_VHOST_DP_HOST_RELAY_H
#define TESTS_QTEST_VHOST_DP_HOST_RELAY_H

/*
 * Create the interface @ifname in the test's network namespace, and listen at
 * @path.  One peer at a time is connected to the interface.  There is one relay
 * at a time: the last one ends.
 */
void dp_relay_start(const char *path, const char *ifname);

#endif
