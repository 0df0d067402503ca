/*
 * vhost-dp: qtests, a NIC whose system calls can be made to fail
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "libqos/pci-pc.h"
#include "qobject/qdict.h"
#include "fault-rig.h"

/* Of the host, on the loopback interface */
#define UDP_PORT 7000

/* ---- Rules ---- */

DpFault *fault;

void fault_init(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self);
    g_autofree char *shim = NULL, *command = NULL, *unprivileged = NULL;
    /* Inherited: who has no privileges may not see it here */
    int fd = memfd_create("vhost-dp-qtest-fault", 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, sizeof(*fault)), ==, 0);
    fault = mmap(NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                 0);
    g_assert(fault != MAP_FAILED);
    /* AddressSanitizer wants to be first, and can do without */
    shim = g_strdup_printf("env LD_PRELOAD='%s/fault-shim.so' "
                           "ASAN_OPTIONS=verify_asan_link_order=0:%s "
                           DP_FAULT_VARIABLE "=/proc/self/fd/%d", dir,
                           getenv("ASAN_OPTIONS") ?: "", fd);
    command = g_strdup_printf("%s %s", shim, getenv("QTEST_QEMU_BINARY"));
    g_setenv(FAULT_QEMU, command, true);
    unprivileged = g_strdup_printf("%s %s", shim,
                                   getenv(dp_qemu_unprivileged()));
    g_setenv(FAULT_QEMU_UNPRIVILEGED, unprivileged, true);
}

void fault_arm(DpFault rule)
{
    g_assert_false(fault->armed);
    *fault = rule;
    qatomic_store_release(&fault->armed, 1);
}

unsigned fault_disarm(void)
{
    qatomic_store_release(&fault->armed, 0);
    return qatomic_read(&fault->failed);
}

/* ---- The host ---- */

/* The test's socket wants to be told of checksums */
static bool has_vnet_hdr(const DpDriver *driver)
{
    return driver->end == DP_END_VETH;
}

/* libslirp has no interface: the guest's datagrams end there */
static int udp_socket_new(void)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons(UDP_PORT),
    };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    return fd;
}

/* The driver's interface, and a socket at its other end */
static int host_new(const DpDriver *driver)
{
    dp_driver_host_new(driver, 1);
    if (driver->end == DP_END_SLIRP) {
        return udp_socket_new();
    }
    if (driver->end == DP_END_TAP) {
        dp_if_set_mtu(driver->interface, 60000);
    }
    return dp_sock_open(driver->peer, has_vnet_hdr(driver));
}

/* ---- The guest ---- */

Rig *rig_begin(const DpDriver *driver)
{
    Rig *r = g_new0(Rig, 1);
    g_autofree char *options = NULL;

    r->driver = driver;
    r->sock = host_new(driver);
    options = dp_driver_object(driver, "drv0", "");
    r->guest = dp_guest_new_env(FAULT_QEMU, options);
    r->qts = r->guest->qts;
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    return r;
}

void rig_end(Rig *r)
{
    dp_guest_free(r->guest);
    close(r->sock);
    g_free(r->frame);
    g_free(r->got);
    g_free(r);
}

QDict *rig_netdev_add(Rig *r)
{
    return qtest_qmp(r->qts, "{ 'execute': 'netdev_add', 'arguments': {"
                     " 'type': 'vhost-dp', 'id': 'vd0', 'driver': 'drv0' } }");
}

void rig_nic_add(Rig *r, uint64_t features)
{
    qtest_qmp_device_add(r->qts, "virtio-net-pci", "nic",
                         "{ 'netdev': 'vd0', 'addr': '04.0', 'romfile': '',"
                         " 'disable-legacy': 'on' }");
    r->nic = dp_nic_new(r->guest, DP_SLOT, DP_FEATURES_DEFAULT | features);
}

void rig_nic_del(Rig *r)
{
    qpci_unplug_acpi_device_test(r->qts, "nic", DP_SLOT);
    dp_nic_free(r->nic);
    r->nic = NULL;
}

void rig_netdev_del(Rig *r)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'netdev_del',"
                             " 'arguments': { 'id': 'vd0' } }");
}

Rig *rig_new(const DpDriver *driver, uint64_t features)
{
    Rig *r = rig_begin(driver);
    QDict *response = rig_netdev_add(r);

    g_assert_true(qdict_haskey(response, "return"));
    qobject_unref(response);
    rig_nic_add(r, features);
    return r;
}

void rig_free(Rig *r)
{
    rig_nic_del(r);
    rig_netdev_del(r);
    rig_end(r);
}

/* ---- Frames ---- */

void rig_sock_send(Rig *r, size_t len, unsigned seed)
{
    static const struct virtio_net_hdr no_offload;

    dp_make_frame(r->frame, len, seed);
    dp_sock_send(r->sock, has_vnet_hdr(r->driver) ? &no_offload : NULL,
                 r->frame, len);
}

void rig_guest_add(Rig *r, unsigned n, size_t len, unsigned seed)
{
    size_t size = r->nic->hdr_len + len;
    uint64_t addr = dp_alloc(r->guest, n * size);
    unsigned i;

    for (i = 0; i < n; i++) {
        DpBuf buf = { .addr = addr + i * size, .len = size };
        uint8_t *p = dp_host(r->guest, buf.addr);

        memset(p, 0, r->nic->hdr_len);
        dp_make_frame(p + r->nic->hdr_len, len, seed + i);
        dp_add(&r->nic->queue[DP_TX], &buf, 1);
    }
}

void rig_wait_sent(Rig *r, unsigned n)
{
    while (n--) {
        dp_wait_used(&r->nic->queue[DP_TX], NULL);
    }
}

unsigned rig_sock_count(Rig *r, unsigned n, unsigned want, size_t len,
                        unsigned seed)
{
    unsigned i, got = 0;

    for (i = 0; i < n; i++) {
        struct virtio_net_hdr hdr;
        size_t got_len = dp_sock_recv(r->sock, DP_ETHERTYPE,
                                      has_vnet_hdr(r->driver) ? &hdr : NULL,
                                      r->got, DP_MAX_FRAME, got < want ?
                                      DP_TIMEOUT_US : DP_QUIET_US);

        if (!got_len) {
            break;
        }
        /* Those that are missing */
        for (;; i++) {
            g_assert_cmpuint(i, <, n);
            dp_make_frame(r->frame, len, seed + i);
            if (got_len == len && !memcmp(r->got, r->frame, len)) {
                break;
            }
        }
        got++;
    }
    return got;
}

/* ---- Datagrams, for libslirp ---- */

void rig_udp_send(Rig *r, uint32_t number)
{
    uint8_t frame[60] = {
        0x52, 0x55, 10, 0, 2, 2, 2, 0, 0, 0, 0, 1, 8, 0,
        0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0x62, 0xbd, 10, 0, 2, 15,
        10, 0, 2, 2, 0x13, 0x88, UDP_PORT >> 8, UDP_PORT & 0xff, 0, 12,
    };

    stl_be_p(frame + 42, number);
    dp_transmit(r->nic, NULL, frame, sizeof(frame));
}

bool rig_udp_answer(Rig *r, uint32_t number)
{
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    bool found = false;
    uint8_t data[4];

    while (recvfrom(r->sock, data, 4, MSG_DONTWAIT, (struct sockaddr *)&from,
                    &len) == 4) {
        sendto(r->sock, data, 4, 0, (struct sockaddr *)&from, len);
        found |= ldl_be_p(data) == number;
    }
    return found;
}

void rig_arp_answer(Rig *r)
{
    uint8_t frame[60] = {
        0x52, 0x55, 10, 0, 2, 2, 2, 0, 0, 0, 0, 1, 8, 6,
        0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 2, 15,
        0x52, 0x55, 10, 0, 2, 2, 10, 0, 2, 2,
    };

    dp_transmit(r->nic, NULL, frame, sizeof(frame));
}

/* Datagrams may be lost, so ask again */
static void check_udp(Rig *r)
{
    static uint32_t number;
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;

    number++;
    rig_arp_answer(r);
    dp_post(r->nic, 1, 2048);
    for (;;) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        rig_udp_send(r, number);
        g_usleep(10 * 1000);
        rig_udp_answer(r, number);
        g_usleep(10 * 1000);
        while (dp_has_used(&r->nic->queue[DP_RX])) {
            size_t len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

            if (len >= 46 && lduw_be_p(r->got + 12) == ETH_P_IP &&
                r->got[23] == IPPROTO_UDP &&
                ldl_be_p(r->got + 42) == number) {
                return;
            }
            dp_post(r->nic, 1, 2048);
        }
    }
}

void rig_check_works(Rig *r)
{
    static unsigned seed;
    size_t len;

    dp_wait_until(dp_nic_link(r->nic));
    if (r->driver == FAULT_SLIRP) {
        check_udp(r);
        return;
    }
    /* A tap has a carrier while QEMU has it open */
    dp_if_wait_running(r->driver->peer);
    /* Lengths that nothing else here has */
    seed++;
    rig_guest_add(r, 1, 333, seed);
    dp_publish(&r->nic->queue[DP_TX]);
    rig_wait_sent(r, 1);
    do {
        struct virtio_net_hdr hdr;

        len = dp_sock_recv(r->sock, DP_ETHERTYPE,
                           has_vnet_hdr(r->driver) ? &hdr : NULL, r->got,
                           DP_MAX_FRAME, DP_TIMEOUT_US);
        g_assert_cmpuint(len, >, 0);
    } while (len != 333);
    dp_make_frame(r->frame, 333, seed);
    dp_assert_frame(r->got, len, r->frame, 333);

    rig_sock_send(r, 334, seed);
    do {
        dp_post(r->nic, 1, 2048);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    } while (len != 334);
    dp_assert_frame(r->got, len, r->frame, 334);
}
