/*
 * vhost-dp: XDP programs and AF_XDP sockets on an interface of a guest
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *     xdp INTERFACE pass MILLISECONDS
 *     xdp INTERFACE copy|zerocopy MILLISECONDS QUEUES ORDER OWN PEER MAC
 *
 * Runs in the guest, for test_xdp.py.  An XDP program that lets all frames pass
 * is on the interface for so long; or one that gives each queue's UDP datagrams
 * for PORT to a socket of its own, while these sockets send such datagrams from
 * the address OWN to PEER, whose Ethernet address is MAC.  Bit 0 of ORDER: the
 * program is there before the sockets; bit 1: it goes after them.
 *
 * Frames that were in the ring before the guest's driver did without
 * VIRTIO_NET_F_GUEST_CSUM may have checksums that are not finished (Linux before
 * 6.10 lets the program have them).  So it goes on, for up to 20 s, until
 * ENOUGH frames in a row were as they should.
 *
 * Prints "sent N received N in-a-row N damaged N".  Status 3: the interface's
 * driver has no AF_XDP sockets without copies.
 *
 * The image of the guest has no C library, so this is linked statically, and
 * knows BPF as the kernel's system call has it.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PORT        5005
#define MAX_QUEUES  16
#define CHUNK       4096u
#define RING        64u         /* entries of each ring, and frames each way */
#define PAYLOAD_MAX 1400u
#define ENOUGH      20u
#define HEADERS     (sizeof(struct ether_header) + sizeof(struct iphdr) + \
                     sizeof(struct udphdr))

enum { STATUS_NO_ZEROCOPY = 3 };

/* A ring that is shared with the kernel */
typedef struct Ring {
    uint32_t *producer, *consumer;
    void *entries;
} Ring;

typedef struct Socket {
    int fd;
    uint8_t *memory;            /* RING chunks to receive, RING to send */
    Ring fill, completion, rx, tx;
    uint32_t nfree;
    uint64_t free[RING];        /* chunks for sending */
} Socket;

static struct {
    unsigned ifindex;
    struct ether_header eth;    /* of what is sent */
    struct in_addr own, peer;
    uint32_t sequence;
    unsigned sent, received, in_a_row, damaged;
} xdp;

static __attribute__((noreturn, format(printf, 1, 2)))
void fail(const char *fmt, ...)
{
    int error = errno;
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, ": %s\n", strerror(error));
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* ---- The XDP program ---- */

static int bpf(int command, union bpf_attr *attr, const char *what)
{
    int r = syscall(SYS_bpf, command, attr, sizeof(*attr));

    if (r < 0) {
        fail("bpf(), %s", what);
    }
    return r;
}

#define INSN(c, d, s, o, i) \
    ((struct bpf_insn) { .code = (c), .dst_reg = (d), .src_reg = (s), \
                         .off = (o), .imm = (i) })
#define LOAD(size, d, s, o)     INSN(BPF_LDX | BPF_MEM | (size), d, s, o, 0)
#define COPY(d, s)              INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define SET(d, i)               INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD(d, i)               INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define UNLESS(d, i, o)         INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, o, i)
#define END                     INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* @map: sockets by queue; -1: a program that lets all pass */
static int load_program(int map)
{
    static const char license[] = "GPL";
    const struct bpf_insn redirect[] = {
        COPY(6, 1),
        LOAD(BPF_W, 2, 6, offsetof(struct xdp_md, data)),
        LOAD(BPF_W, 3, 6, offsetof(struct xdp_md, data_end)),
        COPY(4, 2),
        ADD(4, HEADERS),
        INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 12, 0),
        LOAD(BPF_H, 4, 2, offsetof(struct ether_header, ether_type)),
        UNLESS(4, htons(ETHERTYPE_IP), 10),
        LOAD(BPF_B, 4, 2, ETHER_HDR_LEN + offsetof(struct iphdr, protocol)),
        UNLESS(4, IPPROTO_UDP, 8),
        LOAD(BPF_H, 4, 2, ETHER_HDR_LEN + sizeof(struct iphdr) +
                          offsetof(struct udphdr, dest)),
        UNLESS(4, htons(PORT), 6),
        LOAD(BPF_W, 2, 6, offsetof(struct xdp_md, rx_queue_index)),
        INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map),
        INSN(0, 0, 0, 0, 0),
        SET(3, XDP_PASS),       /* where there is no socket */
        INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
        END,
        SET(0, XDP_PASS),       /* what is not for PORT */
        END,
    };
    const struct bpf_insn pass[] = { SET(0, XDP_PASS), END };
    union bpf_attr attr = {
        .prog_type = BPF_PROG_TYPE_XDP,
        .insns = (uintptr_t)(map < 0 ? pass : redirect),
        .insn_cnt = map < 0 ? 2 : sizeof(redirect) / sizeof(redirect[0]),
        .license = (uintptr_t)license,
    };

    return bpf(BPF_PROG_LOAD, &attr, "the program");
}

static int make_map(void)
{
    union bpf_attr attr = {
        .map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4,
        .max_entries = MAX_QUEUES,
    };

    return bpf(BPF_MAP_CREATE, &attr, "the map of sockets");
}

static void set_map(int map, uint32_t queue, uint32_t fd)
{
    union bpf_attr attr = {
        .map_fd = map, .key = (uintptr_t)&queue, .value = (uintptr_t)&fd,
    };

    bpf(BPF_MAP_UPDATE_ELEM, &attr, "a socket in the map");
}

/* The program goes with the link, whose descriptor is returned */
static int attach(int program)
{
    union bpf_attr attr = {
        .link_create = {
            .prog_fd = program, .target_ifindex = xdp.ifindex,
            .attach_type = BPF_XDP, .flags = XDP_FLAGS_DRV_MODE,
        },
    };

    return bpf(BPF_LINK_CREATE, &attr, "the program on the interface");
}

/* ---- A socket ---- */

static void ring_open(int fd, Ring *ring, const struct xdp_ring_offset *offset,
                      size_t entry, off_t where)
{
    uint8_t *at = mmap(NULL, offset->desc + RING * entry,
                       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                       where);

    if (at == MAP_FAILED) {
        fail("mmap() of a ring");
    }
    ring->producer = (uint32_t *)(at + offset->producer);
    ring->consumer = (uint32_t *)(at + offset->consumer);
    ring->entries = at + offset->desc;
}

static void set_option(int fd, int name, const void *value, socklen_t len)
{
    if (setsockopt(fd, SOL_XDP, name, value, len) < 0) {
        fail("setsockopt() of an AF_XDP socket, option %d", name);
    }
}

/* Entries that the kernel has put into a ring */
static uint32_t ring_filled(const Ring *ring)
{
    return __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) - *ring->consumer;
}

static void ring_take(Ring *ring, uint32_t n)
{
    __atomic_store_n(ring->consumer, *ring->consumer + n, __ATOMIC_RELEASE);
}

static void ring_put(Ring *ring, uint32_t n)
{
    __atomic_store_n(ring->producer, *ring->producer + n, __ATOMIC_RELEASE);
}

static void fill(Socket *s, uint64_t chunk)
{
    uint64_t *entries = s->fill.entries;

    entries[*s->fill.producer % RING] = chunk;
    ring_put(&s->fill, 1);
}

static void socket_open(Socket *s, uint32_t queue, bool zerocopy)
{
    const uint32_t entries = RING;
    struct xdp_umem_reg memory = {
        .len = 2 * RING * CHUNK, .chunk_size = CHUNK,
    };
    struct sockaddr_xdp address = {
        .sxdp_family = AF_XDP, .sxdp_ifindex = xdp.ifindex,
        .sxdp_queue_id = queue,
        .sxdp_flags = XDP_USE_NEED_WAKEUP |
                      (zerocopy ? XDP_ZEROCOPY : XDP_COPY),
    };
    struct xdp_mmap_offsets offsets;
    socklen_t len = sizeof(offsets);
    int64_t end = now_ms() + 5000;
    unsigned i;

    s->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        fail("socket(AF_XDP)");
    }
    s->memory = mmap(NULL, memory.len, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (s->memory == MAP_FAILED) {
        fail("mmap() of chunks");
    }
    memory.addr = (uintptr_t)s->memory;
    set_option(s->fd, XDP_UMEM_REG, &memory, sizeof(memory));
    set_option(s->fd, XDP_UMEM_FILL_RING, &entries, sizeof(entries));
    set_option(s->fd, XDP_UMEM_COMPLETION_RING, &entries, sizeof(entries));
    set_option(s->fd, XDP_RX_RING, &entries, sizeof(entries));
    set_option(s->fd, XDP_TX_RING, &entries, sizeof(entries));
    if (getsockopt(s->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &len) < 0) {
        fail("getsockopt(XDP_MMAP_OFFSETS)");
    }
    ring_open(s->fd, &s->fill, &offsets.fr, sizeof(uint64_t),
              XDP_UMEM_PGOFF_FILL_RING);
    ring_open(s->fd, &s->completion, &offsets.cr, sizeof(uint64_t),
              XDP_UMEM_PGOFF_COMPLETION_RING);
    ring_open(s->fd, &s->rx, &offsets.rx, sizeof(struct xdp_desc),
              XDP_PGOFF_RX_RING);
    ring_open(s->fd, &s->tx, &offsets.tx, sizeof(struct xdp_desc),
              XDP_PGOFF_TX_RING);
    for (i = 0; i < RING; i++) {
        fill(s, i * CHUNK);
        s->free[s->nfree++] = (RING + i) * CHUNK;
    }
    /* The kernel lets go of the last socket of a queue some time later */
    while (bind(s->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (errno == EOPNOTSUPP && zerocopy) {
            fprintf(stderr, "no AF_XDP sockets without copies here\n");
            exit(STATUS_NO_ZEROCOPY);
        }
        if (errno != EBUSY || now_ms() > end) {
            fail("bind() of an AF_XDP socket to queue %u", queue);
        }
        usleep(1000);
    }
}

/* ---- Datagrams ---- */

static uint32_t sum_words(uint32_t sum, const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t i;

    for (i = 0; i < len; i++) {
        sum += i % 2 ? p[i] : p[i] << 8;
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

static uint32_t sum_pseudo(const struct iphdr *ip, size_t len)
{
    return sum_words(0, &ip->saddr, 8) + IPPROTO_UDP + len;
}

/* Zero, in one's complement, if the checksum is right */
static uint16_t sum_udp(const struct iphdr *ip, const uint8_t *udp, size_t len)
{
    return ~fold(sum_words(sum_pseudo(ip, len), udp, len));
}

/* The payload is a number and what follows from it; test_xdp.py knows it, too */
static unsigned payload_len(uint32_t number)
{
    return 4 + number * 37 % (PAYLOAD_MAX - 3);
}

static uint8_t payload_byte(uint32_t number, unsigned i)
{
    return number * 7 + i;
}

static unsigned make_frame(uint8_t *frame, unsigned queue)
{
    uint32_t number = xdp.sequence++;
    unsigned len = payload_len(number);
    uint8_t *udp_at = frame + ETHER_HDR_LEN + sizeof(struct iphdr);
    uint8_t *payload = frame + HEADERS;
    struct udphdr udp = {
        .source = htons(PORT + 1 + queue), .dest = htons(PORT),
        .len = htons(sizeof(udp) + len),
    };
    struct iphdr ip = {
        .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
        .tot_len = htons(sizeof(ip) + sizeof(udp) + len),
        .saddr = xdp.own.s_addr, .daddr = xdp.peer.s_addr,
    };
    uint32_t big = htonl(number);
    unsigned i;

    ip.check = htons(~fold(sum_words(0, &ip, sizeof(ip))));
    memcpy(frame, &xdp.eth, ETHER_HDR_LEN);
    memcpy(frame + ETHER_HDR_LEN, &ip, sizeof(ip));
    memcpy(udp_at, &udp, sizeof(udp));
    memcpy(payload, &big, 4);
    for (i = 4; i < len; i++) {
        payload[i] = payload_byte(number, i);
    }
    udp.check = htons(sum_udp(&ip, udp_at, sizeof(udp) + len) ?: 0xffff);
    memcpy(udp_at, &udp, sizeof(udp));
    return HEADERS + len;
}

typedef enum Verdict { RIGHT, UNFINISHED, DAMAGED } Verdict;

static Verdict look_at(const uint8_t *frame, unsigned len)
{
    const uint8_t *udp_at = frame + ETHER_HDR_LEN + sizeof(struct iphdr);
    const uint8_t *payload = frame + HEADERS;
    struct iphdr ip;
    struct udphdr udp;
    uint32_t number;
    unsigned i, n;

    if (len < HEADERS + 4) {
        return DAMAGED;
    }
    memcpy(&ip, frame + ETHER_HDR_LEN, sizeof(ip));
    memcpy(&udp, udp_at, sizeof(udp));
    memcpy(&number, payload, 4);
    number = ntohl(number);
    n = payload_len(number);
    /* A short frame may have been padded */
    if (ntohs(udp.len) != sizeof(udp) + n || len < HEADERS + n) {
        return DAMAGED;
    }
    for (i = 4; i < n; i++) {
        if (payload[i] != payload_byte(number, i)) {
            return DAMAGED;
        }
    }
    if (!udp.check || !sum_udp(&ip, udp_at, sizeof(udp) + n)) {
        return RIGHT;
    }
    return ntohs(udp.check) == fold(sum_pseudo(&ip, sizeof(udp) + n)) ?
           UNFINISHED : DAMAGED;
}

static void receive(Socket *s)
{
    const struct xdp_desc *entries = s->rx.entries;
    uint32_t n = ring_filled(&s->rx);

    while (n--) {
        struct xdp_desc desc = entries[*s->rx.consumer % RING];

        Verdict verdict = desc.addr + desc.len > 2 * RING * CHUNK ? DAMAGED :
                          look_at(s->memory + desc.addr, desc.len);

        xdp.received++;
        xdp.damaged += verdict == DAMAGED;
        xdp.in_a_row = verdict == RIGHT ? xdp.in_a_row + 1 : 0;
        ring_take(&s->rx, 1);
        fill(s, desc.addr / CHUNK * CHUNK);
    }
}

static void send_some(Socket *s, unsigned queue)
{
    const uint64_t *done = s->completion.entries;
    struct xdp_desc *entries = s->tx.entries;
    uint32_t n = ring_filled(&s->completion);
    unsigned i;

    while (n--) {
        s->free[s->nfree++] = done[*s->completion.consumer % RING];
        ring_take(&s->completion, 1);
    }
    for (i = 0; i < 8 && s->nfree; i++) {
        uint64_t chunk = s->free[--s->nfree];

        entries[*s->tx.producer % RING] = (struct xdp_desc) {
            .addr = chunk, .len = make_frame(s->memory + chunk, queue),
        };
        ring_put(&s->tx, 1);
        xdp.sent++;
    }
    /* EAGAIN and others: there will be another try */
    sendto(s->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
}

static void run(Socket *sockets, unsigned n, int64_t milliseconds)
{
    int64_t begin = now_ms();
    struct pollfd fds[MAX_QUEUES];
    unsigned i;

    for (i = 0; i < n; i++) {
        fds[i] = (struct pollfd) { .fd = sockets[i].fd, .events = POLLIN };
    }
    while (now_ms() < begin + (xdp.in_a_row < ENOUGH ? 20000 : milliseconds)) {
        for (i = 0; i < n; i++) {
            send_some(&sockets[i], i);
        }
        if (poll(fds, n, 5) < 0) {
            fail("poll()");
        }
        for (i = 0; i < n; i++) {
            receive(&sockets[i]);
        }
    }
}

/* ---- What the command line wants ---- */

static void find_interface(const char *name)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq req = {};

    xdp.ifindex = if_nametoindex(name);
    strncpy(req.ifr_name, name, sizeof(req.ifr_name) - 1);
    if (!xdp.ifindex || ioctl(fd, SIOCGIFHWADDR, &req) < 0) {
        fail("interface '%s'", name);
    }
    memcpy(xdp.eth.ether_shost, req.ifr_hwaddr.sa_data, ETH_ALEN);
    xdp.eth.ether_type = htons(ETHERTYPE_IP);
    close(fd);
}

static void use_sockets(unsigned queues, bool zerocopy, int64_t milliseconds,
                        unsigned order)
{
    static Socket sockets[MAX_QUEUES];
    int map = make_map();
    int program = load_program(map);
    int link = order & 1 ? attach(program) : -1;
    unsigned i;

    for (i = 0; i < queues; i++) {
        socket_open(&sockets[i], i, zerocopy);
        set_map(map, i, sockets[i].fd);
    }
    if (link < 0) {
        link = attach(program);
    }
    run(sockets, queues, milliseconds);
    if (!(order & 2)) {
        close(link);
    }
    for (i = 0; i < queues; i++) {
        close(sockets[i].fd);
    }
    if (order & 2) {
        close(link);
    }
}

int main(int argc, char **argv)
{
    const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
    bool pass = argc == 4 && !strcmp(argv[2], "pass");
    bool zerocopy = argc == 9 && !strcmp(argv[2], "zerocopy");
    bool copy = argc == 9 && !strcmp(argv[2], "copy");
    struct ether_addr *mac;
    unsigned queues;

    if (!pass && !zerocopy && !copy) {
        fprintf(stderr, "usage: %s INTERFACE pass MILLISECONDS\n"
                "       %s INTERFACE copy|zerocopy MILLISECONDS QUEUES ORDER "
                "OWN-ADDRESS PEER-ADDRESS PEER-MAC\n", argv[0], argv[0]);
        return 2;
    }
    find_interface(argv[1]);
    setrlimit(RLIMIT_MEMLOCK, &all);    /* kernels before 5.11 count maps */
    if (pass) {
        attach(load_program(-1));
        usleep(atoi(argv[3]) * 1000);
        return 0;
    }

    queues = atoi(argv[4]);
    if (!queues || queues > MAX_QUEUES) {
        fprintf(stderr, "queues: 1 to %d, not '%s'\n", MAX_QUEUES, argv[4]);
        return 2;
    }
    mac = ether_aton(argv[8]);
    if (!mac || !inet_aton(argv[6], &xdp.own) ||
        !inet_aton(argv[7], &xdp.peer)) {
        fprintf(stderr, "an address is none: '%s', '%s' or '%s'\n", argv[6],
                argv[7], argv[8]);
        return 2;
    }
    memcpy(xdp.eth.ether_dhost, mac, ETH_ALEN);
    use_sockets(queues, zerocopy, atoi(argv[3]), atoi(argv[5]));
    printf("sent %u received %u in-a-row %u damaged %u\n", xdp.sent,
           xdp.received, xdp.in_a_row, xdp.damaged);
    return 0;
}
