/*
 * vhost-dp bench: what an interface gives without any virtio
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The shortest loops that send or receive frames through a TAP interface, as
 * the ceiling for drivers: a system call per frame (writev, readv), or io_uring
 * with a registered file and batches of 64; and through a packet socket on any
 * other interface, with sendmmsg and recvmmsg of 64, or an AF_XDP socket
 * (xdp.c).  Frames and buffers are those of the load generator: as many, of the
 * same size, so that caches hold as much.
 *
 * Receiving works in turns: frames are queued up in the interface, and then
 * read flat out; the reading alone is counted.  Their content is checked in
 * the uncounted turns of the warm-up.
 *
 * The reader is in the same situation as a data path under the load generator:
 * the frames come from a thread on another CPU, which does not sleep, and the
 * reader has slept for a moment.  That it wakes up is counted.
 *
 * Where a guest is the receiver, a frame goes to many buffers, which another CPU
 * has just read.  What that costs the kernel is found out with --pieces and
 * --read.
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include <liburing.h>
#include <net/if.h>
#include <sys/uio.h>
#include "qemu/atomic.h"
#include "qemu/iov.h"
#include "qemu/processor.h"
#include "host.h"
#include "util.h"
#include "xdp.h"

#define BATCH 64
#define HDR_LEN sizeof(struct virtio_net_hdr_v1)

/* As long as the load generator's */
#define SETTLE_NS (3 * 1000000LL)

typedef enum Method {
    TX_WRITEV,
    TX_URING,
    TX_URING_WRITEV,
    TX_SENDMMSG,
    TX_XDP,
    RX_READV,
    RX_URING,
    RX_RECVMMSG,
} Method;

static const char *const method_names[] = {
    [TX_WRITEV] = "tx-writev",
    [TX_URING] = "tx-uring",
    [TX_URING_WRITEV] = "tx-uring-writev",
    [TX_SENDMMSG] = "tx-sendmmsg",
    [TX_XDP] = "tx-xdp",
    [RX_READV] = "rx-readv",
    [RX_URING] = "rx-uring",
    [RX_RECVMMSG] = "rx-recvmmsg",
};

static const char usage_text[] =
"usage: vhost-dp-bare [OPTIONS]\n"
"\n"
"Sends frames into a TAP interface, which it makes, or receives them from it;\n"
"with a packet socket, into or from an interface that exists.\n"
"Run it in a network namespace of its own, for instance with unshare -n.\n"
"\n"
"  --method M     tx-writev, tx-uring, tx-uring-writev (header and frame\n"
"                 apart), rx-readv, rx-uring; of a packet socket:\n"
"                 tx-sendmmsg, rx-recvmmsg; of an AF_XDP socket: tx-xdp\n"
"                 [tx-writev]\n"
"  --size N       bytes in a frame, without FCS [60]\n"
"  --gso N        frames are TCP segments to be cut to N bytes of payload\n"
"  --buffers N    frames in different places in memory [256]\n"
"  --fill N       frames to queue up before each receiving [8000]\n"
"  --seconds S, --warmup S   [1, 0.2]\n"
"  --cpu N        pin to a CPU\n"
"  --source-cpu N what sends the frames to be received is another thread, there\n"
"  --read         it also reads all buffers before each receiving, as a guest\n"
"                 has read its; meant for no more to --fill than --buffers\n"
"  --pieces N     rx-readv: into pieces of N bytes, no two of them side by side\n"
"  --ifname NAME  of the interface; %d becomes a number [bare%d]\n"
"  --source NAME  where frames for rx-recvmmsg go in: the veth peer\n";

typedef struct Bare {
    Method method;
    FrameShape shape;
    unsigned nbuf;
    unsigned fill;
    double seconds;
    double warmup;
    int cpu;
    int source_cpu;
    bool read;
    unsigned piece;             /* bytes, or 0: a frame is in one */
    char ifname[IFNAMSIZ];
    char source_ifname[IFNAMSIZ];

    int fd;                     /* the TAP interface, or a packet socket */
    size_t hdr_len;             /* of the virtio-net header it wants */
    size_t room;
    uint8_t *buf;               /* nbuf of @room: header, then frame */
    struct iovec *iov;          /* niov of each buffer: header, and frame */
    unsigned niov;
    struct mmsghdr msg[BATCH];
    struct io_uring ring;
    Xdp *xdp;
    HostSource source;
    bool want_fill;             /* atomic: the source is to fill the queue */
    FrameCheck check;

    unsigned next;              /* buffer */
    uint64_t packets;           /* counted */
    int64_t cpu_ns;
    int64_t wall_ns;
} Bare;

static int64_t thread_cpu(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static bool is_rx(const Bare *b)
{
    return b->method >= RX_READV;
}

static bool is_packet_socket(const Bare *b)
{
    return b->method == TX_SENDMMSG || b->method == RX_RECVMMSG;
}

/* ---- Setting up ---- */

static void init_uring(Bare *b)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
    };
    int r = io_uring_queue_init_params(2 * BATCH, &b->ring, &params);

    if (r == 0) {
        r = io_uring_register_files(&b->ring, &b->fd, 1);
    }
    if (r == 0 && b->method == RX_URING) {
        g_autofree struct iovec *whole = g_new(struct iovec, b->nbuf);
        unsigned i;

        for (i = 0; i < b->nbuf; i++) {
            whole[i].iov_base = b->buf + i * b->room;
            whole[i].iov_len = b->room;
        }
        r = io_uring_register_buffers(&b->ring, whole, b->nbuf);
    }
    if (r < 0) {
        bench_fail("io_uring: %s", strerror(-r));
    }
}

static struct iovec *frame_iov(const Bare *b, unsigned i)
{
    return &b->iov[i * b->niov];
}

/* Header and frame in pieces, the last of which comes first in memory */
static void init_pieces(Bare *b, unsigned i)
{
    size_t len = b->hdr_len + b->shape.size;
    struct iovec *iov = frame_iov(b, i);
    uint8_t *end = b->buf + (i + 1) * b->room;
    unsigned k;

    for (k = 0; k < b->niov; k++) {
        iov[k].iov_base = end - (k + 1) * b->piece;
        iov[k].iov_len = MIN(len, b->piece);
        len -= iov[k].iov_len;
    }
}

static void init_buffers(Bare *b)
{
    unsigned i;

    b->room = ROUND_UP(HDR_LEN + b->shape.size, 64);
    b->niov = 2;
    if (b->piece) {
        b->niov = DIV_ROUND_UP(b->hdr_len + b->shape.size, b->piece);
        b->room = b->niov * b->piece;
    }
    if (posix_memalign((void **)&b->buf, 4096, b->nbuf * b->room)) {
        bench_fail("no memory for %u frames", b->nbuf);
    }
    b->iov = g_new0(struct iovec, b->nbuf * b->niov);
    for (i = 0; i < b->nbuf; i++) {
        uint8_t *hdr = b->buf + i * b->room;
        struct iovec *iov = frame_iov(b, i);

        if (b->piece) {
            init_pieces(b, i);
            continue;
        }
        frame_build_vnet(&b->shape, (struct virtio_net_hdr_v1 *)hdr);
        frame_build(&b->shape, hdr + HDR_LEN, 0, i * 37, true);
        iov[0].iov_base = hdr;
        iov[0].iov_len = b->hdr_len;
        iov[1].iov_base = hdr + HDR_LEN;
        iov[1].iov_len = b->shape.size;
    }
}

static void init_tap(Bare *b)
{
    b->fd = host_tap_open(b->ifname);
    host_tap_offloads(b->fd, b->shape.gso_size);
    host_interface_up(b->ifname, is_rx(b) ? b->fill + 2048 : 0);
    if (is_rx(b)) {
        host_source_open(&b->source, b->ifname, &b->shape, 0);
    }
    if (b->method != TX_WRITEV && b->method != RX_READV) {
        init_uring(b);
    }
}

static void init_packet_socket(Bare *b)
{
    if (is_rx(b)) {
        host_source_open(&b->source, b->source_ifname, &b->shape, 0);
    }
    b->fd = host_packet_open(b->ifname, is_rx(b));
}

static void init(Bare *b)
{
    bench_pin(0, b->cpu);
    b->hdr_len = is_packet_socket(b) ? sizeof(struct virtio_net_hdr) : HDR_LEN;
    init_buffers(b);
    if (is_packet_socket(b)) {
        init_packet_socket(b);
    } else if (b->method == TX_XDP) {
        b->xdp = xdp_open(b->ifname, &b->shape, b->nbuf);
    } else {
        init_tap(b);
    }
}

static unsigned take_buffer(Bare *b)
{
    unsigned i = b->next;

    b->next = i + 1 == b->nbuf ? 0 : i + 1;
    return i;
}

/* ---- Loops ---- */

static void check_result(Bare *b, ssize_t r)
{
    if (unlikely(r != (ssize_t)(b->hdr_len + b->shape.size))) {
        bench_fail("%s: %s", method_names[b->method],
                   r < 0 ? strerror(-r) : "a frame of another length");
    }
}

static void check_frame(Bare *b, unsigned i)
{
    static uint8_t whole[HDR_LEN + FRAME_MAX];
    const uint8_t *hdr = b->buf + i * b->room;

    if (b->piece) {
        iov_to_buf(frame_iov(b, i), b->niov, 0, whole, sizeof(whole));
        hdr = whole;
    }
    frame_check_vnet(&b->shape, &b->check, (const void *)hdr);
    frame_check(&b->shape, &b->check, hdr + HDR_LEN, b->shape.size,
                b->shape.size, 0, false, true);
}

static void system_calls(Bare *b, unsigned n, bool check)
{
    unsigned j;

    for (j = 0; j < n; j++) {
        unsigned i = take_buffer(b);
        ssize_t r = is_rx(b) ? readv(b->fd, frame_iov(b, i), b->niov)
                             : writev(b->fd, frame_iov(b, i), b->niov);

        check_result(b, r < 0 ? -errno : r);
        if (check) {
            check_frame(b, i);
        }
    }
}

static void prepare(Bare *b, struct io_uring_sqe *sqe, unsigned i)
{
    uint8_t *hdr = b->buf + i * b->room;
    unsigned len = HDR_LEN + b->shape.size;

    switch (b->method) {
    case TX_URING:
        io_uring_prep_write(sqe, 0, hdr, len, 0);
        break;
    case TX_URING_WRITEV:
        io_uring_prep_writev(sqe, 0, frame_iov(b, i), 2, 0);
        break;
    default:
        io_uring_prep_read_fixed(sqe, 0, hdr, b->room, 0, i);
        break;
    }
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = i;
}

static void uring_batch(Bare *b, unsigned n, bool check)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned j;
    int r;

    for (j = 0; j < n; j++) {
        prepare(b, io_uring_get_sqe(&b->ring), take_buffer(b));
    }
    r = io_uring_submit_and_wait(&b->ring, n);
    if (r < 0) {
        bench_fail("io_uring_submit_and_wait: %s", strerror(-r));
    }
    j = 0;
    io_uring_for_each_cqe(&b->ring, head, cqe) {
        check_result(b, cqe->res);
        if (check) {
            check_frame(b, cqe->user_data);
        }
        j++;
    }
    io_uring_cq_advance(&b->ring, j);
}

static void socket_batch(Bare *b, unsigned n, bool check)
{
    unsigned first = b->next;
    unsigned done = 0;
    unsigned j;

    for (j = 0; j < n; j++) {
        b->msg[j].msg_hdr.msg_iov = frame_iov(b, take_buffer(b));
        b->msg[j].msg_hdr.msg_iovlen = 2;
    }
    while (done < n) {
        int r = is_rx(b) ?
            recvmmsg(b->fd, b->msg + done, n - done, MSG_DONTWAIT, NULL) :
            sendmmsg(b->fd, b->msg + done, n - done, 0);

        if (r < 0) {
            bench_fail("%s: %s", method_names[b->method], strerror(errno));
        }
        done += r;
    }
    for (j = 0; j < n; j++) {
        check_result(b, b->msg[j].msg_len);
        if (check) {
            check_frame(b, (first + j) % b->nbuf);
        }
    }
}

static void batch(Bare *b, unsigned n, bool check)
{
    if (is_packet_socket(b)) {
        socket_batch(b, n, check);
    } else if (b->method == TX_XDP) {
        xdp_send(b->xdp, n);
    } else if (b->method == TX_WRITEV || b->method == RX_READV) {
        system_calls(b, n, check);
    } else {
        uring_batch(b, n, check);
    }
}

static void source_fill(Bare *b)
{
    int64_t last = bench_now();
    unsigned sent = 0;

    while (sent < b->fill) {
        unsigned n = host_source_send(&b->source,
                                      MIN(b->fill - sent, HOST_BATCH));

        sent += n;
        if (n) {
            last = bench_now();
        } else if (bench_now() - last > 5000000000LL) {
            bench_fail("the interface takes no more than %u frames", sent);
        }
    }
}

/* Bring the buffers into this CPU's caches: a byte of each line does it */
static void source_read(const Bare *b)
{
    size_t i;

    for (i = 0; i < b->nbuf * b->room; i += 64) {
        (void)qatomic_read(&b->buf[i]);
    }
}

static void *source_run(void *opaque)
{
    Bare *b = opaque;

    bench_pin(0, b->source_cpu);
    for (;;) {
        while (!qatomic_load_acquire(&b->want_fill)) {
            cpu_relax();
        }
        source_fill(b);
        if (b->read) {
            source_read(b);
        }
        qatomic_store_release(&b->want_fill, false);
    }
    return NULL;
}

static void fill(Bare *b)
{
    if (b->source_cpu < 0) {
        source_fill(b);
        return;
    }
    qatomic_store_release(&b->want_fill, true);
    while (qatomic_load_acquire(&b->want_fill)) {
        bench_sleep(100000);
    }
}

static void run(Bare *b, double seconds, bool counted)
{
    int64_t end = bench_now() + seconds * 1e9;
    int64_t cpu, wall;
    unsigned left;

    do {
        bench_check_stop();
        left = 8192;
        if (is_rx(b)) {
            fill(b);
            left = b->fill;
        }
        cpu = thread_cpu();
        if (is_rx(b)) {
            bench_sleep(SETTLE_NS);
        }
        wall = bench_now();
        if (counted) {
            b->packets += left;
        }
        while (left) {
            unsigned n = MIN(left, BATCH);

            batch(b, n, is_rx(b) && !counted);
            left -= n;
        }
        if (counted) {
            b->cpu_ns += thread_cpu() - cpu;
            b->wall_ns += bench_now() - wall;
        }
    } while (bench_now() < end);
}

static void print_result(const Bare *b)
{
    double cpu = b->cpu_ns / 1e9;
    double wall = b->wall_ns / 1e9;

    printf("{\n  \"mode\": \"%s\",\n  \"size\": %u,\n  \"gso\": %u,\n"
           "  \"packets\": %" PRIu64 ",\n  \"seconds\": %.6f,\n"
           "  \"cpu_seconds\": %.6f,\n  \"packets_per_second\": %.1f,\n"
           "  \"gbit_per_second\": %.4f,\n"
           "  \"packets_per_cpu_second\": %.1f\n}\n",
           method_names[b->method], b->shape.size, b->shape.gso_size,
           b->packets, wall, cpu, b->packets / wall,
           b->packets * 8e-9 * b->shape.size / wall, b->packets / cpu);
}

/* ---- Options ---- */

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "method", required_argument, NULL, 'm' },
    { "size", required_argument, NULL, 's' },
    { "gso", required_argument, NULL, 'g' },
    { "buffers", required_argument, NULL, 'b' },
    { "fill", required_argument, NULL, 'f' },
    { "seconds", required_argument, NULL, 't' },
    { "warmup", required_argument, NULL, 'w' },
    { "cpu", required_argument, NULL, 'c' },
    { "source-cpu", required_argument, NULL, 'C' },
    { "ifname", required_argument, NULL, 'i' },
    { "source", required_argument, NULL, 'S' },
    { "read", no_argument, NULL, 'r' },
    { "pieces", required_argument, NULL, 'p' },
    { }
};

static Method parse_method(const char *text)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(method_names); i++) {
        if (strcmp(text, method_names[i]) == 0) {
            return i;
        }
    }
    bench_usage("--method %s: there is no such method", text);
}

static void parse_ifname(const char *option, char *ifname, const char *text)
{
    if (g_strlcpy(ifname, text, IFNAMSIZ) >= IFNAMSIZ) {
        bench_usage("%s %s: an interface name has up to %d characters",
                    option, text, IFNAMSIZ - 1);
    }
}

static void parse(Bare *b, int argc, char **argv)
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case 'm': b->method = parse_method(optarg); break;
        case 's':
            b->shape.size = bench_parse_u64("--size", optarg, 60, FRAME_MAX);
            break;
        case 'g':
            b->shape.gso_size = bench_parse_u64("--gso", optarg, 1, 65495);
            break;
        case 'b':
            b->nbuf = bench_parse_u64("--buffers", optarg, 64, 1024);
            break;
        case 'f': b->fill = bench_parse_u64("--fill", optarg, 1, 100000); break;
        case 't': b->seconds = bench_parse_seconds("--seconds", optarg); break;
        case 'w': b->warmup = bench_parse_seconds("--warmup", optarg); break;
        case 'c': b->cpu = bench_parse_u64("--cpu", optarg, 0, 1023); break;
        case 'C':
            b->source_cpu = bench_parse_u64("--source-cpu", optarg, 0, 1023);
            break;
        case 'i':
            parse_ifname("--ifname", b->ifname, optarg);
            break;
        case 'S':
            parse_ifname("--source", b->source_ifname, optarg);
            break;
        case 'r': b->read = true; break;
        case 'p':
            b->piece = bench_parse_u64("--pieces", optarg, 128, 65536);
            break;
        case 'h':
            fputs(usage_text, stdout);
            exit(0);
        default:
            exit(2);
        }
    }
    if (optind < argc) {
        bench_usage("%s: what is that?", argv[optind]);
    }
    if (b->shape.size > 1514 && !b->shape.gso_size) {
        bench_usage("--size %u is more than an interface sends in one piece; "
                    "give --gso", b->shape.size);
    }
    if (b->piece && b->method != RX_READV) {
        bench_usage("--pieces is for --method rx-readv");
    }
    if (b->read && (!is_rx(b) || b->source_cpu < 0)) {
        bench_usage("--read is for receiving, with a --source-cpu");
    }
}

int main(int argc, char **argv)
{
    static Bare b = {       /* the source's thread ends after main() */
        .shape = { .size = 60 },
        .nbuf = 256,
        .fill = 8000,
        .seconds = 1,
        .warmup = 0.2,
        .cpu = -1,
        .source_cpu = -1,
        .ifname = "bare%d",
    };

    g_set_prgname("vhost-dp-bare");
    parse(&b, argc, argv);
    bench_catch_signals();
    init(&b);
    if (is_rx(&b) && b.source_cpu >= 0) {
        g_thread_unref(g_thread_new("source", source_run, &b));
    }
    run(&b, b.warmup, false);
    run(&b, b.seconds, true);
    if (b.check.bad || b.check.lost) {
        bench_fail("%" PRIu64 " frames are wrong, %" PRIu64 " were lost: %s",
                   b.check.bad, b.check.lost, b.check.why);
    }
    print_result(&b);
    return 0;
}
