/*
 * vhost-dp: qtests, monitor commands for the default driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VHOST_DP_COMMANDS_H
#define TESTS_QTEST_VHOST_DP_COMMANDS_H

/* As JSON.  @options is more of it: "'name': value, ..." */
#define ADD_TAP(id) \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': 'vhost-dp-tap', 'id': '" id "' } }"
#define ADD_TAP_WITH(id, options) \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': 'vhost-dp-tap', 'id': '" id "', " options " } }"
#define ADD_NETDEV(id, driver) \
    "{ 'execute': 'netdev_add', 'arguments': {" \
    " 'type': 'vhost-dp', 'id': '" id "', 'driver': '" driver "' } }"
#define ADD_NETDEV_WITH(id, driver, options) \
    "{ 'execute': 'netdev_add', 'arguments': {" \
    " 'type': 'vhost-dp', 'id': '" id "', 'driver': '" driver "', " \
    options " } }"
#define ADD_DRIVER(type, id, options) \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': 'vhost-dp-" type "', 'id': '" id "' " options " } }"
#define DEL_NETDEV(id) \
    "{ 'execute': 'netdev_del', 'arguments': { 'id': '" id "' } }"
#define DEL_OBJECT(id) \
    "{ 'execute': 'object-del', 'arguments': { 'id': '" id "' } }"

#endif
