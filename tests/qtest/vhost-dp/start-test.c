/*
 * vhost-dp: qtests of starts that fail
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Because of the guest, or because QEMU has no descriptor left for a moment.
 */

#include "qemu/osdep.h"
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <glib-unix.h>
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_pci.h"
#include "guest.h"

/* ---- QEMU without descriptors ---- */

typedef struct Fds {
    struct rlimit limit;
    unsigned ngiven;
} Fds;

/* Numbers of QEMU's below the highest that are free */
static unsigned count_holes(pid_t pid, unsigned *highest)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;
    const char *name;

    g_assert_nonnull(dir);
    *highest = 0;
    while ((name = g_dir_read_name(dir))) {
        *highest = MAX(*highest, (unsigned)atoi(name));
        n++;
    }
    g_dir_close(dir);
    return *highest + 1 - n;
}

/* QEMU's monitor has @fd by all these numbers.  Returns the highest in use. */
static unsigned fill_holes(DpRig *r, Fds *fds, int fd)
{
    unsigned highest;

    for (fds->ngiven = 0; count_holes(qtest_pid(r->qts), &highest);
         fds->ngiven++) {
        g_autofree char *name = g_strdup_printf("taken%u", fds->ngiven);

        qtest_qmp_fds_assert_success(r->qts, &fd, 1, "{ 'execute': 'getfd',"
                                     " 'arguments': { 'fdname': %s } }", name);
    }
    return highest;
}

static void free_holes(DpRig *r, Fds *fds)
{
    while (fds->ngiven) {
        g_autofree char *name = g_strdup_printf("taken%u", --fds->ngiven);

        qtest_qmp_assert_success(r->qts, "{ 'execute': 'closefd',"
                                 " 'arguments': { 'fdname': %s } }", name);
    }
}

/* Give QEMU's monitor descriptors for all numbers that QEMU may use */
static void take_fds(DpRig *r, Fds *fds)
{
    pid_t pid = qtest_pid(r->qts);
    int null = open("/dev/null", O_RDONLY);
    struct rlimit low;
    unsigned highest;

    g_assert_cmpint(null, >=, 0);
    highest = fill_holes(r, fds, null);
    close(null);
    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, NULL, &fds->limit), ==, 0);
    low = fds->limit;
    low.rlim_cur = highest + 1;
    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, &low, NULL), ==, 0);
}

static void give_fds(DpRig *r, Fds *fds)
{
    g_assert_cmpint(prlimit(qtest_pid(r->qts), RLIMIT_NOFILE, &fds->limit,
                            NULL), ==, 0);
    free_holes(r, fds);
}

/* ---- What brings the data path back ---- */

static void set_link_of(DpRig *r, const char *nic, bool up)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link', 'arguments':"
                             " { 'name': %s, 'up': %i } }", nic, up);
}

static void set_link(DpRig *r, bool up)
{
    set_link_of(r, "nic", up);
}

static void check_works(DpRig *r)
{
    dp_check_transmit(r->nic, r->sock, 100, 1);
    dp_check_receive(r->nic, r->sock, 100, 2);
}

static void do_nothing(DpRig *r)
{
}

static void do_set_link(DpRig *r)
{
    set_link(r, false);
    set_link(r, true);
}

static void do_stop_cont(DpRig *r)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
}

static void do_reset(DpRig *r)
{
    dp_rig_restart(r);
}

static const struct {
    const char *name;
    void (*act)(DpRig *r);
} ways[] = {
    { "nothing", do_nothing },
    { "set_link", do_set_link },
    { "stop and cont", do_stop_cont },
    { "a reset of the device", do_reset },
};

/* A start that fails for want of descriptors succeeds when there are any */
static void test_no_descriptors(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    unsigned i;

    check_works(r);
    for (i = 0; i < ARRAY_SIZE(ways); i++) {
        g_autofree char *state = NULL;
        Fds fds;

        g_test_message("%s", ways[i].name);
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
        take_fds(r, &fds);
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
        dp_wait_until(!dp_nic_link(r->nic));
        state = dp_queue_state(r->qts, "vd0", DP_RX);
        g_assert_cmpstr(state, ==, "stopped");
        /* What helps later does not help now, and does no harm */
        set_link(r, false);
        set_link(r, true);
        dp_wait_until(!dp_nic_link(r->nic));
        give_fds(r, &fds);
        ways[i].act(r);
        dp_wait_until(dp_nic_link(r->nic));
        check_works(r);
    }
    dp_rig_free(r);
}

/* The same by set_link, which is the user's word at once */
static void test_link_up(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    Fds fds;

    set_link(r, false);
    take_fds(r, &fds);
    set_link(r, true);
    dp_wait_until(!dp_nic_link(r->nic));
    give_fds(r, &fds);
    dp_wait_until(dp_nic_link(r->nic));
    check_works(r);

    /* The user's no is not overruled by a try */
    set_link(r, false);
    take_fds(r, &fds);
    set_link(r, true);
    set_link(r, false);
    give_fds(r, &fds);
    g_usleep(1500 * 1000);
    g_assert_false(dp_nic_link(r->nic));
    set_link(r, true);
    dp_wait_until(dp_nic_link(r->nic));
    check_works(r);
    dp_rig_free(r);
}

/* Start with a queue that is not where a queue may be (section 2.7) */
static void start_badly(DpRig *r, unsigned queue)
{
    unsigned i;

    dp_nic_reset(r->nic);
    for (i = DP_RX; i <= DP_TX; i++) {
        r->nic->ring_at[i] = i == queue ?
                             dp_alloc(r->guest, 16 * 1024) + 4 : 0;
    }
    dp_nic_start(r->nic, r->features);
    r->nic->ring_at[queue] = 0;
}

/* The guest's link goes down without a frame being sent */
static void test_bad_ring(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    unsigned queue;

    for (queue = DP_RX; queue <= DP_TX; queue++) {
        check_works(r);
        start_badly(r, queue);
        dp_wait_until(!dp_nic_link(r->nic));
        dp_rig_restart(r);
        dp_wait_until(dp_nic_link(r->nic));
    }
    check_works(r);
    dp_rig_free(r);
}

/* ---- The log ---- */

/* Those that have @text in them, once */
static unsigned count_lines_with(const char *path, const char *text)
{
    g_autofree char *log = NULL;
    unsigned n = 0;
    const char *p;

    g_assert_true(g_file_get_contents(path, &log, NULL, NULL));
    for (p = log; (p = strstr(p, text)); p++) {
        n++;
    }
    g_test_message("%s", log);
    return n;
}

static unsigned count_lines(const char *path)
{
    return count_lines_with(path, "\n");
}

/* However often it is tried, there are a few lines: who is it, and why */
static void test_log(const void *opaque)
{
    g_autofree char *log = NULL;
    g_autofree char *redirect = NULL;
    int fd = g_file_open_tmp("vhost-dp-log-XXXXXX", &log, NULL);
    unsigned lines;
    DpRig *r;
    Fds fds;
    unsigned i;

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    redirect = g_strdup_printf("2>%s", log);
    r = dp_rig_start(&(DpSetup) { .more = redirect }, false);
    for (i = 0; i < 100; i++) {
        start_badly(r, i % 2);
    }
    dp_wait_until(!dp_nic_link(r->nic));
    lines = count_lines(log);
    g_assert_cmpuint(lines, >, 0);
    g_assert_cmpuint(lines, <=, 2);

    dp_rig_restart(r);
    dp_wait_until(dp_nic_link(r->nic));
    check_works(r);
    set_link(r, false);
    take_fds(r, &fds);
    for (i = 0; i < 20; i++) {
        set_link(r, true);
        set_link(r, false);
    }
    give_fds(r, &fds);
    set_link(r, true);
    dp_wait_until(dp_nic_link(r->nic));
    check_works(r);
    /* Each of QEMU's own says something else */
    g_assert_cmpuint(count_lines(log), <=, lines + 4);
    unlink(log);
    dp_rig_free(r);
}

/* What one device says does not hide what another one does */
static void test_log_of_two(const void *opaque)
{
    g_autofree char *log = NULL, *more = NULL;
    int fd = g_file_open_tmp("vhost-dp-log-XXXXXX", &log, NULL);
    DpNic *second;
    DpRig *r;
    Fds fds;
    unsigned i;

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    more = g_strdup_printf("-object vhost-dp-null,id=null1 "
                           "-netdev vhost-dp,id=vd1,driver=null1 "
                           "-device virtio-net-pci,netdev=vd1,id=nic1,"
                           "addr=05.0,romfile= 2>%s", log);
    r = dp_rig_start(&(DpSetup) { .more = more }, false);
    second = dp_nic_new(r->guest, 5, r->features);
    set_link_of(r, "nic", false);
    set_link_of(r, "nic1", false);
    take_fds(r, &fds);
    for (i = 0; i < 10; i++) {
        set_link_of(r, "nic", true);
        set_link_of(r, "nic", false);
    }
    g_assert_cmpuint(count_lines_with(log, "Error binding guest notifier"),
                     ==, 1);
    set_link_of(r, "nic1", true);
    g_assert_cmpuint(count_lines_with(log, "Error binding guest notifier"),
                     ==, 2);
    give_fds(r, &fds);
    unlink(log);
    dp_nic_free(second);
    dp_rig_free(r);
}

/* ---- Interrupts ---- */

static void mask(DpRig *r, unsigned entry, bool masked)
{
    QPCIDevice *pdev = r->nic->pci->pdev;

    qpci_io_writel(pdev, pdev->msix_table_bar, pdev->msix_table_off +
                   entry * 16 + 12, masked);
}

static void check_interrupts(DpRig *r)
{
    dp_queue_interrupted(r->nic, DP_RX);
    dp_check_receive(r->nic, r->sock, 100, 1);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
}

/* Masking and unmasking, for which there is no failure, take no descriptor */
static void test_mask(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .msix = true }, false);
    unsigned entry = r->rx->pci.msix_entry;
    Fds fds;

    check_interrupts(r);
    mask(r, entry, true);
    take_fds(r, &fds);
    mask(r, entry, false);
    check_interrupts(r);
    mask(r, entry, true);
    dp_check_receive(r->nic, r->sock, 100, 1);
    g_assert_false(dp_queue_interrupted(r->nic, DP_RX));
    mask(r, entry, false);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    give_fds(r, &fds);
    check_interrupts(r);
    dp_rig_free(r);
}

static void take_vector(DpRig *r, unsigned queue)
{
    QVirtioPCIDevice *pci = r->nic->pci;

    r->nic->vdev->bus->queue_select(r->nic->vdev, queue);
    qpci_io_writew(pci->pdev, pci->bar, pci->common_cfg_offset +
                   VIRTIO_PCI_COMMON_Q_MSIX, VIRTIO_MSI_NO_VECTOR);
}

/* All vectors at once */
static void mask_all(DpRig *r, bool masked)
{
    QPCIDevice *pdev = r->nic->pci->pdev;
    uint8_t at = qpci_find_capability(pdev, PCI_CAP_ID_MSIX, 0);

    qpci_config_writew(pdev, at + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE |
                       (masked ? PCI_MSIX_FLAGS_MASKALL : 0));
}

/*
 * A driver takes the vectors of its queues back, so nobody takes the call fds
 * back before they are closed; and at the next start nobody sets others, as all
 * is masked.  Whatever has these numbers now is left alone.
 */
static void test_masked_start(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .msix = true }, false);
    int fd = eventfd(0, EFD_CLOEXEC);
    eventfd_t value;
    Fds fds;

    g_assert_cmpint(fd, >=, 0);
    check_interrupts(r);
    take_vector(r, DP_RX);
    take_vector(r, DP_TX);
    dp_nic_reset(r->nic);
    fill_holes(r, &fds, fd);
    /* The monitor has changed that */
    g_assert_true(g_unix_set_fd_nonblocking(fd, true, NULL));
    mask_all(r, true);
    dp_nic_start(r->nic, r->features);
    check_works(r);
    g_usleep(DP_QUIET_US);
    g_assert_cmpint(eventfd_read(fd, &value), <, 0);
    g_assert_false(dp_queue_interrupted(r->nic, DP_RX));
    g_assert_false(dp_queue_interrupted(r->nic, DP_TX));
    mask_all(r, false);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    dp_wait_until(dp_queue_interrupted(r->nic, DP_TX));
    free_holes(r, &fds);
    close(fd);
    check_interrupts(r);
    dp_rig_free(r);
}

/* Nor does a queue that is reset and enabled again */
static void test_queue_reset(const void *opaque)
{
    DpRig *r = dp_rig_new(DP_FEATURE(VIRTIO_F_RING_RESET));
    unsigned queue;
    Fds fds;

    take_fds(r, &fds);
    for (queue = DP_RX; queue <= DP_TX; queue++) {
        dp_queue_reset(r->nic, queue);
        dp_queue_restart(r->nic, queue);
    }
    check_works(r);
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    give_fds(r, &fds);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_test("start/no-descriptors", NULL, test_no_descriptors);
    dp_add_test("start/link-up", NULL, test_link_up);
    dp_add_test("start/bad-ring", NULL, test_bad_ring);
    dp_add_test("start/log", NULL, test_log);
    dp_add_test("start/log-of-two", NULL, test_log_of_two);
    dp_add_test("start/mask", NULL, test_mask);
    dp_add_test("start/masked", NULL, test_masked_start);
    dp_add_test("start/queue-reset", NULL, test_queue_reset);
    return g_test_run();
}
