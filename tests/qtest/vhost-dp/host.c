/*
 * vhost-dp: qtests, the host's side of a tap interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "libqtest.h"
#include "host.h"

#define TAP_DEVICE "/dev/net/tun"
/* Set: this process is in a user namespace; or why it is not */
#define NAMESPACE_VARIABLE "VHOST_DP_QTEST_NAMESPACE"

#define WRAPPER_OPTION "--without-net-admin"
#define WRAPPER_VARIABLE "VHOST_DP_QTEST_QEMU_UNPRIVILEGED"
#define URING_OPTION "--without-io-uring"
#define URING_VARIABLE "VHOST_DP_QTEST_QEMU_WITHOUT_IO_URING"
#define SANDBOX_VARIABLE "VHOST_DP_QTEST_QEMU_SANDBOXED"
#define PRIVILEGED_SANDBOX_VARIABLE "VHOST_DP_QTEST_QEMU_SANDBOXED_PRIVILEGED"

/* LeakSanitizer works in a process of its own, and may not start it */
#define SANDBOX_ENVIRONMENT \
    "env ASAN_OPTIONS=\"$ASAN_OPTIONS:detect_leaks=0\""
#define SANDBOX_OPTION \
    "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny," \
    "resourcecontrol=deny"

/* Why tests cannot run here, or NULL */
static char *skip_reason;

/* ---- Namespaces ---- */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == strlen(text);

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* In the child: run the same program as root of a user namespace */
static void run_in_user_namespace(char **argv, const char *uid_map,
                                  const char *gid_map)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0) {
        write_file("/proc/self/setgroups", "deny");
        if (write_file("/proc/self/uid_map", uid_map) &&
            write_file("/proc/self/gid_map", gid_map)) {
            setenv(NAMESPACE_VARIABLE, "", true);
            execv("/proc/self/exe", argv);
        }
    }
    setenv(NAMESPACE_VARIABLE, strerror(errno), true);
    execv("/proc/self/exe", argv);
    _exit(127);
}

/*
 * A process with threads cannot enter a user namespace, and QEMU's library
 * has started one before main(): so another process does.  Returns why there
 * is no network namespace, or NULL.
 */
static const char *enter_user_namespace(char **argv)
{
    g_autofree char *uid_map = g_strdup_printf("0 %d 1", geteuid());
    g_autofree char *gid_map = g_strdup_printf("0 %d 1", getegid());
    const char *tried = getenv(NAMESPACE_VARIABLE);
    int status;
    pid_t pid;

    if (unshare(CLONE_NEWNET) == 0) {
        return NULL;
    }
    if (tried) {
        return *tried ? tried : strerror(errno);
    }
    /* Not fork(), after which QEMU's library starts that thread again */
    pid = _Fork();
    if (pid == 0) {
        run_in_user_namespace(argv, uid_map, gid_map);
    }
    if (pid < 0 || RETRY_ON_EINTR(waitpid(pid, &status, 0)) != pid) {
        return strerror(errno);
    }
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static bool enter_network_namespace(void)
{
    if (unshare(CLONE_NEWNET) < 0) {
        return false;
    }
    /* It would send frames of its own; there may be no IPv6 at all */
    write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    return true;
}

static char *find_skip_reason(char **argv)
{
    const char *no_namespace = enter_user_namespace(argv);
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    char *why = NULL;
    int fd;

    if (no_namespace) {
        return g_strdup_printf("no user and network namespace: %s",
                               no_namespace);
    }
    fd = open(TAP_DEVICE, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return g_strdup_printf("cannot open " TAP_DEVICE ": %s",
                               strerror(errno));
    }
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        why = g_strdup_printf("cannot create a tap interface: %s",
                              strerror(errno));
    }
    close(fd);
    return why;
}

/* Run the command after WRAPPER_OPTION without privileges for networks */
static int run_unprivileged(char **argv)
{
    uint8_t dropped[] = {
        CAP_NET_ADMIN, CAP_NET_RAW, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,
        CAP_IPC_LOCK,
    };
    unsigned n = ARRAY_SIZE(dropped);
    struct __user_cap_header_struct hdr = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct data[2];
    bool ok = syscall(SYS_capget, &hdr, data) == 0;
    struct rlimit memlock;
    unsigned i;

    /* A test that allows no locked memory means it; others keep the last */
    if (getrlimit(RLIMIT_MEMLOCK, &memlock) < 0 || memlock.rlim_cur) {
        n--;
    }
    for (i = 0; ok && i < n; i++) {
        ok = prctl(PR_CAPBSET_DROP, dropped[i]) == 0;
        data[0].inheritable &= ~(1u << dropped[i]);
    }
    if (!ok || syscall(SYS_capset, &hdr, data) < 0) {
        perror("drop CAP_NET_ADMIN");
        return 1;
    }
    execvp(argv[0], argv);
    perror(argv[0]);
    return 1;
}

/* Run the command after URING_OPTION with io_uring_setup() forbidden */
static int run_without_io_uring(char **argv)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { ARRAY_SIZE(code), code };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        perror("forbid io_uring_setup");
        return 1;
    }
    execvp(argv[0], argv);
    perror(argv[0]);
    return 1;
}

/* Does io_uring work in this process? */
bool dp_has_io_uring(void)
{
    /* No memory for the parameters: whoever may try gets EFAULT */
    return syscall(SYS_io_uring_setup, 1, NULL) < 0 && errno == EFAULT;
}

bool dp_has_xdp(void)
{
    union bpf_attr attr = {
        .map_type = BPF_MAP_TYPE_XSKMAP,
        .key_size = sizeof(uint32_t),
        .value_size = sizeof(int),
        .max_entries = 1,
    };
    int fd = syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

void dp_test_init(int *argc, char ***argv)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *command = NULL;

    if (*argc > 2 && !strcmp((*argv)[1], WRAPPER_OPTION)) {
        exit(run_unprivileged(*argv + 2));
    }
    if (*argc > 2 && !strcmp((*argv)[1], URING_OPTION)) {
        exit(run_without_io_uring(*argv + 2));
    }
    skip_reason = find_skip_reason(*argv);
    g_test_init(argc, argv, NULL);
    command = g_strdup_printf("'%s' " WRAPPER_OPTION " %s", self,
                              getenv("QTEST_QEMU_BINARY"));
    g_setenv(WRAPPER_VARIABLE, command, true);
    g_free(command);
    command = g_strdup_printf("'%s' " URING_OPTION " %s", self,
                              getenv("QTEST_QEMU_BINARY"));
    g_setenv(URING_VARIABLE, command, true);
    g_free(command);
    command = g_strdup_printf(SANDBOX_ENVIRONMENT " %s " SANDBOX_OPTION,
                              getenv(WRAPPER_VARIABLE));
    g_setenv(SANDBOX_VARIABLE, command, true);
    g_free(command);
    command = g_strdup_printf(SANDBOX_ENVIRONMENT " %s " SANDBOX_OPTION,
                              getenv("QTEST_QEMU_BINARY"));
    g_setenv(PRIVILEGED_SANDBOX_VARIABLE, command, true);
}

const char *dp_qemu_without_io_uring(void)
{
    return URING_VARIABLE;
}

const char *dp_qemu_unprivileged(void)
{
    return WRAPPER_VARIABLE;
}

typedef struct DpTest {
    const void *data;
    void (*fn)(const void *data);
    bool packed;
} DpTest;

static const DpTest *current_test;

static void run_test(const void *opaque)
{
    const DpTest *test = opaque;

    if (skip_reason) {
        g_test_skip(skip_reason);
        return;
    }
    g_assert_true(enter_network_namespace());
    current_test = test;
    test->fn(test->data);
}

static void add_test(const char *format, const char *path, const void *data,
                     void (*fn)(const void *data), bool packed)
{
    DpTest *test = g_new(DpTest, 1);
    g_autofree char *full = g_strdup_printf("/vhost-dp/%s%s", format, path);

    *test = (DpTest) { .data = data, .fn = fn, .packed = packed };
    qtest_add_data_func_full(full, test, run_test, g_free);
}

void dp_add_test(const char *path, const void *data,
                 void (*fn)(const void *data))
{
    add_test("", path, data, fn, false);
}

#ifndef CONFIG_SECCOMP
static void skip_sandbox(const void *opaque)
{
    g_test_skip("QEMU was built without -sandbox");
}
#endif

static void add_sandbox_test(const char *path, const char *variable,
                             void (*fn)(const void *data))
{
#ifdef CONFIG_SECCOMP
    dp_add_test(path, variable, fn);
#else
    dp_add_test(path, NULL, skip_sandbox);
#endif
}

void dp_add_sandbox_test(const char *path, void (*fn)(const void *data))
{
    add_sandbox_test(path, SANDBOX_VARIABLE, fn);
}

void dp_add_privileged_sandbox_test(const char *path,
                                    void (*fn)(const void *data))
{
    add_sandbox_test(path, PRIVILEGED_SANDBOX_VARIABLE, fn);
}

void dp_skip_all(const char *why)
{
    if (why && !skip_reason) {
        skip_reason = g_strdup(why);
    }
}

void dp_add_split_test(const char *path, const void *data,
                       void (*fn)(const void *data))
{
    add_test("split/", path, data, fn, false);
}

void dp_add_packed_test(const char *path, const void *data,
                        void (*fn)(const void *data))
{
    add_test("packed/", path, data, fn, true);
}

void dp_add_ring_test(const char *path, const void *data,
                      void (*fn)(const void *data))
{
    dp_add_split_test(path, data, fn);
    dp_add_packed_test(path, data, fn);
}

bool dp_test_is_packed(void)
{
    return current_test->packed;
}

/* ---- Interfaces ---- */

int dp_tap_open(const char *name, int flags)
{
    struct ifreq ifr = { .ifr_flags = (IFF_TAP | IFF_NO_PI) ^ flags };
    int fd = open(TAP_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        g_error("TUNSETIFF %s: %s", name, strerror(errno));
    }
    return fd;
}

void dp_tap_set_persistent(int fd, bool persistent)
{
    g_assert_cmpint(ioctl(fd, TUNSETPERSIST, (long)persistent), ==, 0);
}

void dp_tap_new(const char *name, int flags)
{
    int fd = dp_tap_open(name, flags);

    dp_tap_set_persistent(fd, true);
    close(fd);
}

bool dp_if_exists(const char *name)
{
    return if_nametoindex(name) != 0;
}

/* An ioctl on interface @name, which must succeed */
static void if_ioctl(const char *name, unsigned long request, const char *what,
                     struct ifreq *ifr)
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(sock, >=, 0);
    pstrcpy(ifr->ifr_name, sizeof(ifr->ifr_name), name);
    if (ioctl(sock, request, ifr) < 0) {
        g_error("%s %s: %s", what, name, strerror(errno));
    }
    close(sock);
}

#define IF_IOCTL(name, request, ifr) if_ioctl(name, request, #request, ifr)

static void if_set_flag(const char *name, short flag, bool set)
{
    struct ifreq ifr = {};

    IF_IOCTL(name, SIOCGIFFLAGS, &ifr);
    ifr.ifr_flags = set ? ifr.ifr_flags | flag : ifr.ifr_flags & ~flag;
    IF_IOCTL(name, SIOCSIFFLAGS, &ifr);
}

void dp_if_up(const char *name)
{
    if_set_flag(name, IFF_UP, true);
}

void dp_if_down(const char *name)
{
    if_set_flag(name, IFF_UP, false);
}

void dp_if_set_mtu(const char *name, int mtu)
{
    struct ifreq ifr = { .ifr_mtu = mtu };

    IF_IOCTL(name, SIOCSIFMTU, &ifr);
}

void dp_if_get_mac(const char *name, uint8_t mac[6])
{
    struct ifreq ifr = {};

    IF_IOCTL(name, SIOCGIFHWADDR, &ifr);
    memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
}

static void set_sockaddr(struct sockaddr *sa, const char *address)
{
    struct sockaddr_in sin = { .sin_family = AF_INET };

    g_assert_cmpint(inet_pton(AF_INET, address, &sin.sin_addr), ==, 1);
    memcpy(sa, &sin, sizeof(sin));
}

void dp_if_set_address(const char *name, const char *address)
{
    struct ifreq ifr = {};

    set_sockaddr(&ifr.ifr_addr, address);
    IF_IOCTL(name, SIOCSIFADDR, &ifr);
    set_sockaddr(&ifr.ifr_netmask, "255.255.255.0");
    IF_IOCTL(name, SIOCSIFNETMASK, &ifr);
}

void dp_arp_add(const char *name, const char *address, const uint8_t mac[6])
{
    struct arpreq req = { .arp_flags = ATF_COM | ATF_PERM };
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    set_sockaddr(&req.arp_pa, address);
    req.arp_ha.sa_family = ARPHRD_ETHER;
    memcpy(req.arp_ha.sa_data, mac, 6);
    pstrcpy(req.arp_dev, sizeof(req.arp_dev), name);
    g_assert_cmpint(ioctl(sock, SIOCSARP, &req), ==, 0);
    close(sock);
}

void dp_set_ip_forward(void)
{
    g_assert_true(write_file("/proc/sys/net/ipv4/ip_forward", "1"));
}

/* A request to rtnetlink(7), with room for attributes and for the answer */
typedef union LinkMessage {
    struct {
        struct nlmsghdr nh;
        struct ifinfomsg ifi;
    };
    uint8_t bytes[16384];
} LinkMessage;

static void link_init(LinkMessage *m, uint16_t type, uint16_t flags, int index)
{
    memset(m, 0, sizeof(*m));
    m->nh.nlmsg_len = NLMSG_LENGTH(sizeof(m->ifi));
    m->nh.nlmsg_type = type;
    m->nh.nlmsg_flags = NLM_F_REQUEST | flags;
    m->ifi.ifi_index = index;
}

/* Append an attribute; one that is a list is begun with @len 0 */
static struct rtattr *link_add(LinkMessage *m, uint16_t type, const void *data,
                               size_t len)
{
    size_t at = NLMSG_ALIGN(m->nh.nlmsg_len);
    struct rtattr *rta = (void *)&m->bytes[at];

    g_assert_cmpuint(RTA_SPACE(len), <=, sizeof(m->bytes) - at);
    rta->rta_type = type;
    rta->rta_len = RTA_LENGTH(len);
    if (len) {
        memcpy(&m->bytes[at + RTA_LENGTH(0)], data, len);
    }
    m->nh.nlmsg_len = at + RTA_SPACE(len);
    return rta;
}

static void link_end_list(LinkMessage *m, struct rtattr *rta)
{
    rta->rta_len = m->bytes + m->nh.nlmsg_len - (uint8_t *)rta;
}

/*
 * Send a request; the first message of the answer takes its place.  Returns 0
 * or an error.
 */
static int link_try(LinkMessage *m)
{
    int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct nlmsgerr *error = NLMSG_DATA(&m->nh);

    g_assert_cmpint(send(sock, m, m->nh.nlmsg_len, 0), ==, m->nh.nlmsg_len);
    g_assert_cmpint(recv(sock, m, sizeof(*m), 0), >, sizeof(m->nh));
    close(sock);
    return m->nh.nlmsg_type == NLMSG_ERROR ? -error->error : 0;
}

static void link_request(LinkMessage *m)
{
    uint16_t type = m->nh.nlmsg_type;
    int err = link_try(m);

    if (err) {
        g_error("netlink request %u: %s", type, strerror(err));
    }
}

static void link_add_queues(LinkMessage *m, uint32_t queues)
{
    link_add(m, IFLA_NUM_TX_QUEUES, &queues, sizeof(queues));
    link_add(m, IFLA_NUM_RX_QUEUES, &queues, sizeof(queues));
}

void dp_veth_new_queues(const char *name, const char *peer, unsigned queues)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    struct rtattr *info, *data, *other;
    struct ifinfomsg none = {};

    link_init(m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0);
    link_add(m, IFLA_IFNAME, name, strlen(name) + 1);
    link_add_queues(m, queues);
    info = link_add(m, IFLA_LINKINFO, NULL, 0);
    link_add(m, IFLA_INFO_KIND, "veth", 4);
    data = link_add(m, IFLA_INFO_DATA, NULL, 0);
    other = link_add(m, VETH_INFO_PEER, &none, sizeof(none));
    link_add(m, IFLA_IFNAME, peer, strlen(peer) + 1);
    link_add_queues(m, queues);
    link_end_list(m, other);
    link_end_list(m, data);
    link_end_list(m, info);
    link_request(m);
    dp_if_up(name);
    dp_if_up(peer);
    dp_if_wait_running(name);
    dp_if_wait_running(peer);
}

void dp_veth_new(const char *name, const char *peer)
{
    dp_veth_new_queues(name, peer, 1);
}

bool dp_macvtap_new(const char *name, const char *lower)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    uint32_t ifindex = if_nametoindex(lower);
    struct rtattr *info;

    link_init(m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0);
    link_add(m, IFLA_IFNAME, name, strlen(name) + 1);
    link_add(m, IFLA_LINK, &ifindex, sizeof(ifindex));
    info = link_add(m, IFLA_LINKINFO, NULL, 0);
    link_add(m, IFLA_INFO_KIND, "macvtap", 7);
    link_end_list(m, info);
    if (link_try(m)) {
        return false;
    }
    dp_if_up(name);
    return true;
}

/* Where the tunnel goes, into @remote */
static void vxlan_set_addresses(const DpVxlan *vxlan, const char *lower,
                                const char *peer, void *remote)
{
    const char *address = vxlan->ip6 ? "fd00::2" : "192.0.2.2";
    uint8_t mac[6];

    dp_if_get_mac(peer, mac);
    if (vxlan->ip6) {
        dp_if_add_address6(lower, "fd00::1");
        dp_neighbour_add6(lower, address, mac);
    } else {
        dp_if_set_address(lower, "192.0.2.1");
        dp_arp_add(lower, address, mac);
    }
    g_assert_cmpint(inet_pton(vxlan->ip6 ? AF_INET6 : AF_INET, address,
                              remote), ==, 1);
}

bool dp_vxlan_new(const char *name, const DpVxlan *vxlan, const char *lower,
                  const char *peer)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    uint32_t id = 7, ifindex = if_nametoindex(lower);
    uint16_t port = htons(4789);
    uint8_t on = vxlan->checksum, off = !vxlan->checksum;
    struct rtattr *info, *data;
    uint8_t remote[16];

    vxlan_set_addresses(vxlan, lower, peer, remote);
    link_init(m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0);
    link_add(m, IFLA_IFNAME, name, strlen(name) + 1);
    info = link_add(m, IFLA_LINKINFO, NULL, 0);
    link_add(m, IFLA_INFO_KIND, "vxlan", 5);
    data = link_add(m, IFLA_INFO_DATA, NULL, 0);
    link_add(m, IFLA_VXLAN_ID, &id, sizeof(id));
    link_add(m, IFLA_VXLAN_LINK, &ifindex, sizeof(ifindex));
    link_add(m, IFLA_VXLAN_PORT, &port, sizeof(port));
    link_add(m, vxlan->ip6 ? IFLA_VXLAN_GROUP6 : IFLA_VXLAN_GROUP, remote,
             vxlan->ip6 ? 16 : 4);
    link_add(m, IFLA_VXLAN_UDP_CSUM, &on, sizeof(on));
    link_add(m, IFLA_VXLAN_UDP_ZERO_CSUM6_TX, &off, sizeof(off));
    link_end_list(m, data);
    link_end_list(m, info);
    if (link_try(m)) {
        g_test_skip("this kernel has no VXLAN");
        return false;
    }
    dp_if_up(name);
    dp_if_wait_running(name);
    return true;
}

void dp_if_set_gso_max_segs(const char *name, uint32_t n)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);

    link_init(m, RTM_NEWLINK, NLM_F_ACK, if_nametoindex(name));
    link_add(m, IFLA_GSO_MAX_SEGS, &n, sizeof(n));
    link_request(m);
}

/* A request about something else, whose header has @len bytes */
static void message_init(LinkMessage *m, uint16_t type, const void *header,
                         size_t len)
{
    link_init(m, type, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, 0);
    m->nh.nlmsg_len = NLMSG_LENGTH(len);
    memcpy(NLMSG_DATA(&m->nh), header, len);
}

void dp_if_add_address6(const char *name, const char *address)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    struct ifaddrmsg ifa = {
        .ifa_family = AF_INET6,
        .ifa_prefixlen = 64,
        .ifa_flags = IFA_F_NODAD,
        .ifa_index = if_nametoindex(name),
    };
    g_autofree char *path =
        g_strdup_printf("/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    struct in6_addr in6;

    /* A host may have IPv6 switched off for interfaces that are new */
    g_assert_true(write_file(path, "0"));
    g_assert_cmpint(inet_pton(AF_INET6, address, &in6), ==, 1);
    message_init(m, RTM_NEWADDR, &ifa, sizeof(ifa));
    link_add(m, IFA_LOCAL, &in6, sizeof(in6));
    link_add(m, IFA_ADDRESS, &in6, sizeof(in6));
    link_request(m);
}

void dp_neighbour_add6(const char *name, const char *address,
                       const uint8_t mac[6])
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    struct ndmsg nd = {
        .ndm_family = AF_INET6,
        .ndm_ifindex = if_nametoindex(name),
        .ndm_state = NUD_PERMANENT,
    };
    struct in6_addr in6;

    g_assert_cmpint(inet_pton(AF_INET6, address, &in6), ==, 1);
    message_init(m, RTM_NEWNEIGH, &nd, sizeof(nd));
    link_add(m, NDA_DST, &in6, sizeof(in6));
    link_add(m, NDA_LLADDR, mac, 6);
    link_request(m);
}

static bool link_is_running(const char *name)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);

    link_init(m, RTM_GETLINK, 0, if_nametoindex(name));
    link_request(m);
    return m->ifi.ifi_flags & IFF_RUNNING;
}

void dp_if_wait_running(const char *name)
{
    dp_wait_until(link_is_running(name));
}

unsigned dp_if_promiscuity(const char *name)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    struct rtattr *rta;
    int left;

    link_init(m, RTM_GETLINK, 0, if_nametoindex(name));
    link_request(m);
    rta = IFLA_RTA(&m->ifi);
    left = IFLA_PAYLOAD(&m->nh);
    while (RTA_OK(rta, left)) {
        if (rta->rta_type == IFLA_PROMISCUITY) {
            return ldl_he_p(RTA_DATA(rta));
        }
        rta = RTA_NEXT(rta, left);
    }
    g_error("%s: no IFLA_PROMISCUITY", name);
}

void dp_if_delete(const char *name)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);

    link_init(m, RTM_DELLINK, NLM_F_ACK, if_nametoindex(name));
    g_assert_cmpint(m->ifi.ifi_index, !=, 0);
    link_request(m);
}

void dp_if_rename(const char *name, const char *new_name)
{
    struct ifreq ifr = {};

    pstrcpy(ifr.ifr_newname, sizeof(ifr.ifr_newname), new_name);
    IF_IOCTL(name, SIOCSIFNAME, &ifr);
}

void dp_if_move(const char *name, int netns)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    uint32_t fd = netns;

    link_init(m, RTM_NEWLINK, NLM_F_ACK, if_nametoindex(name));
    link_add(m, IFLA_NET_NS_FD, &fd, sizeof(fd));
    link_request(m);
}

int dp_netns_open(void)
{
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

void dp_netns_enter(int netns)
{
    g_assert_cmpint(setns(netns, CLONE_NEWNET), ==, 0);
}

int dp_netns_new(void)
{
    int back = dp_netns_open();
    int netns;

    g_assert_true(enter_network_namespace());
    netns = dp_netns_open();
    dp_netns_enter(back);
    close(back);
    return netns;
}

/* ---- Packet sockets ---- */

int dp_sock_open(const char *name, bool vnet_hdr)
{
    struct sockaddr_ll sll = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
    };
    int on = vnet_hdr;
    int size = 4 * MiB;
    int sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    g_assert_cmpint(sock, >=, 0);
    dp_if_up(name);
    g_assert_cmpint(setsockopt(sock, SOL_PACKET, PACKET_VNET_HDR, &on,
                               sizeof(on)), ==, 0);
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    sll.sll_ifindex = if_nametoindex(name);
    g_assert_cmpint(bind(sock, (struct sockaddr *)&sll, sizeof(sll)), ==, 0);
    return sock;
}

void dp_sock_send(int sock, const struct virtio_net_hdr *hdr,
                  const void *frame, size_t len)
{
    struct iovec iov[] = {
        { .iov_base = (void *)hdr, .iov_len = hdr ? sizeof(*hdr) : 0 },
        { .iov_base = (void *)frame, .iov_len = len },
    };
    ssize_t sent;

    dp_wait_until((sent = writev(sock, iov, 2)) >= 0 ||
                  (errno != EAGAIN && errno != ENOBUFS));
    if (sent != len + iov[0].iov_len) {
        g_error("packet socket: %s", strerror(errno));
    }
}

/* Is it a frame that came from the guest, and of the right type? */
static bool wanted(const struct sockaddr_ll *sll, const uint8_t *frame,
                   size_t len, uint16_t type)
{
    return sll->sll_pkttype != PACKET_OUTGOING && len >= 14 &&
           (!type || lduw_be_p(frame + 12) == type);
}

size_t dp_sock_recv(int sock, uint16_t type, struct virtio_net_hdr *hdr,
                    void *frame, size_t size, int64_t timeout_us)
{
    int64_t end = g_get_monotonic_time() + timeout_us;
    struct virtio_net_hdr unused;
    struct sockaddr_ll sll;
    struct iovec iov[] = {
        { .iov_base = hdr ?: &unused, .iov_len = hdr ? sizeof(*hdr) : 0 },
        { .iov_base = frame, .iov_len = size },
    };

    for (;;) {
        int64_t left = MAX(end - g_get_monotonic_time(), 0);
        struct pollfd pfd = { .fd = sock, .events = POLLIN };
        struct msghdr msg = {
            .msg_name = &sll, .msg_namelen = sizeof(sll),
            .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov),
        };
        ssize_t len;

        /* What is there is looked at, however much time a clock's call took */
        if (poll(&pfd, 1, DIV_ROUND_UP(left, 1000)) == 0) {
            return 0;
        }
        len = recvmsg(sock, &msg, MSG_DONTWAIT);
        if (len < 0) {
            if (pfd.revents & POLLERR) {
                /* ENETDOWN: the interface went down */
                return 0;
            }
            continue;
        }
        len -= iov[0].iov_len;
        if (wanted(&sll, frame, len, type)) {
            return len;
        }
    }
}

/* ---- Frames ---- */

void dp_make_frame(uint8_t *frame, size_t len, unsigned seed)
{
    size_t i;

    g_assert_cmpuint(len, >=, 14);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, "\x02\x00\x00\x00\x00\x01", 6);
    stw_be_p(frame + 12, DP_ETHERTYPE);
    for (i = 14; i < len; i++) {
        frame[i] = seed * 37 + i + (i >> 8);
    }
}

static uint32_t sum_words(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        sum += (uint32_t)p[i] << (i & 1 ? 0 : 8);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint32_t sum_pseudo_header(const uint8_t *ip, size_t l4_len)
{
    return sum_words(ip + 12, 8) + ip[9] + fold(l4_len);
}

size_t dp_make_ip_frame(uint8_t *frame, size_t len, uint8_t proto,
                        unsigned seed)
{
    uint8_t *ip = frame + 14;
    uint8_t *l4 = ip + 20;
    size_t l4_len = len - 34;
    size_t headers = DP_IP_HEADERS(proto);

    dp_make_frame(frame, len, seed);
    stw_be_p(frame + 12, ETH_P_IP);
    memset(ip, 0, headers - 14);
    ip[0] = 0x45;
    stw_be_p(ip + 2, len - 14);
    stw_be_p(ip + 4, seed);
    stw_be_p(ip + 6, 0x4000);       /* don't fragment */
    ip[8] = 64;
    ip[9] = proto;
    memcpy(ip + 12, "\x0a\x00\x00\x02\x0a\x01\x00\x02", 8);
    stw_be_p(ip + 10, ~fold(sum_words(ip, 20)));

    stw_be_p(l4, 4711);
    stw_be_p(l4 + 2, 4712);
    if (proto == IPPROTO_TCP) {
        stl_be_p(l4 + 4, 1000);
        l4[12] = 5 << 4;
        l4[13] = 0x10;              /* ACK */
        stw_be_p(l4 + 14, 0xffff);
        stw_be_p(l4 + 16, fold(sum_pseudo_header(ip, l4_len)));
    } else {
        stw_be_p(l4 + 4, l4_len);
        stw_be_p(l4 + 6, fold(sum_pseudo_header(ip, l4_len)));
    }
    return headers;
}

struct virtio_net_hdr dp_make_hdr(uint8_t proto, uint8_t gso_type,
                                  uint16_t gso_size)
{
    return (struct virtio_net_hdr) {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = gso_type,
        .hdr_len = cpu_to_le16(DP_IP_HEADERS(proto)),
        .gso_size = cpu_to_le16(gso_size),
        .csum_start = cpu_to_le16(34),
        .csum_offset = cpu_to_le16(proto == IPPROTO_TCP ? 16 : 6),
    };
}

bool dp_checksum_ok(const uint8_t *frame, size_t len)
{
    const uint8_t *ip = frame + 14;
    size_t l4_len = lduw_be_p(ip + 2) - 20;

    return len >= l4_len + 34 && fold(sum_words(ip, 20)) == 0xffff &&
           fold(sum_pseudo_header(ip, l4_len) +
                sum_words(ip + 20, l4_len)) == 0xffff;
}

void dp_checksum_complete(uint8_t *frame, size_t len,
                          const struct virtio_net_hdr *hdr)
{
    uint16_t start = le16_to_cpu(hdr->csum_start);
    uint16_t at = start + le16_to_cpu(hdr->csum_offset);

    g_assert_cmpint(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, !=, 0);
    g_assert_cmpuint(at + 2, <=, len);
    stw_be_p(frame + at, ~fold(sum_words(frame + start, len - start)));
}
