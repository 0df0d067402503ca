/*
 * vhost-dp: qtests, the drivers that there are
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What holds for each driver is tested with each row of the table: the features
 * that a guest is offered, limits of the host, migration, system calls that
 * fail, interfaces that come and go.  A new driver gets a row.
 */

#ifndef TESTS_QTEST_VHOST_DP_DRIVER_TABLE_H
#define TESTS_QTEST_VHOST_DP_DRIVER_TABLE_H

enum {
    DP_DRIVER_NULL,
    DP_DRIVER_TAP,
    DP_DRIVER_VHOST_NET,
    DP_DRIVER_AF_PACKET,
    DP_DRIVER_AF_XDP,
    DP_DRIVER_SLIRP,
    DP_DRIVER_VHOST_USER,
    DP_DRIVER_STREAM,
    DP_DRIVERS
};

/* What is at the other end of a driver */
typedef enum DpEnd {
    DP_END_NOBODY,
    DP_END_LOOPBACK,            /* the guest gets its own frames back */
    DP_END_TAP,                 /* the interface itself */
    DP_END_VETH,                /* the peer of the interface */
    DP_END_SLIRP,               /* libslirp answers for 10.0.2.2 */
    DP_END_RELAY,               /* a thread of the test's: host-relay.h */
} DpEnd;

typedef struct DpDriver {
    const char *name;           /* in names of tests */
    const char *type;           /* of QOM */
    const char *options;        /* behind the ID, with a comma in front */
    DpEnd end;
    const char *interface;      /* that it is connected to, or NULL */
    const char *peer;           /* where a test's packet socket is, or NULL */
    bool has_path;              /* of a socket, which becomes an option */
    unsigned pairs;             /* that dp_driver_host_new() has room for */
    const char *node;           /* may be missing: tests/nested has it */
    uint32_t files;             /* DP_FILE_...: their calls can fail; or 0 */
} DpDriver;

extern const DpDriver dp_drivers[DP_DRIVERS];

/*
 * Make the interfaces of the driver, and set them up.  @pairs: how many queue
 * pairs will be used.
 */
void dp_driver_host_new(const DpDriver *driver, unsigned pairs);

/*
 * Returns "-object ..." with the ID @id, and @more options (with a comma in
 * front), for a command line.
 */
char *dp_driver_object(const DpDriver *driver, const char *id,
                       const char *more);

/* Has the host the device node of the driver? */
bool dp_driver_has_node(const DpDriver *driver);

/* Add the test "PREFIX/NAME" for each driver that the host has the node of */
void dp_add_driver_tests(const char *prefix, void (*fn)(const void *driver));

/*
 * Why there can be no driver of QOM type @type, or NULL: QEMU was built without
 * it, or AF_XDP is not allowed.
 */
const char *dp_why_no_driver(const char *type);

/* The same; skips the test and returns false if there is a reason */
bool dp_has_driver(const char *type);

#endif
