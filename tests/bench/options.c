/*
 * vhost-dp bench: the load generator's options
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include <net/if.h>
#include "qemu/host-utils.h"
#include "device.h"
#include "host.h"
#include "options.h"
#include "util.h"

static const char usage_text[] =
"usage: vhost-dp-loadgen [OPTIONS] -- QEMU [QEMU OPTIONS]\n"
"\n"
"Drives a virtio-net device of QEMU as a guest's driver would, at full speed,\n"
"and checks what it receives.  QEMU OPTIONS have a -netdev and what it needs;\n"
"machine, memory and the device are added.  Run it in a network namespace of\n"
"its own, for instance with unshare -n.\n"
"\n"
"What to do\n"
"  --mode MODE       tx, rx, both; latency-tx (kick to the frame's arrival at\n"
"                    --sink, or to its used buffer), latency-rx (from --source\n"
"                    to the used buffer, or the interrupt with --call),\n"
"                    latency-echo (out and back); idle [tx]\n"
"  --size N          bytes in a frame, without FCS [60]\n"
"  --gso N           frames are TCP segments to be cut to N bytes of payload\n"
"  --csum            checksums are left to the other side\n"
"  --rate N          frames per second and queue pair; 0: flat out [0]\n"
"  --seconds S       how long [1]\n"
"  --warmup S        run that long before, uncounted [0.2]\n"
"  --packets N       stop after N frames\n"
"  --samples N       measurements of latency [2000]\n"
"  --gap US          pause before each of these [200]\n"
"  --call            receive by interrupt, not by looking at the ring\n"
"\n"
"The driver\n"
"  --ring FORMAT     split or packed [split]\n"
"  --pairs N         queue pairs [1]\n"
"  --ring-size N     entries in each ring, a power of two [256]\n"
"  --event-idx on|off, --indirect on|off, --mergeable on|off   [on, off, on]\n"
"  --segments N      descriptors of a frame that is sent; 1: with the header [1]\n"
"  --batch N         frames made available together, 1 to 64 [32]\n"
"  --buffers N       buffers in use in each ring [as many as fit]\n"
"  --rx-buffer N     bytes in a receive buffer, header included\n"
"  --device PROPS    more properties of the device, as in -device\n"
"  --netdev ID       the netdev to use [net0]\n"
"  --memory MIB      guest RAM [256]\n"
"\n"
"The other side\n"
"  --tap IFNAME      switch this interface on once QEMU has made it\n"
"  --source IFNAME   send frames into this interface\n"
"  --user            frames are datagrams for the host behind -netdev user or\n"
"                    vhost-dp-slirp, with their default addresses; the\n"
"                    interface lo has to be on\n"
"  --sink IFNAME     look at what comes out of this interface, and check it\n"
"  --window N        frames of the source, or of an echo, on their way [128]\n"
"  --fill N          let N frames queue up, then receive them flat out, again\n"
"                    and again; counts the receiving alone\n"
"  --expect KIND     what is received: own (of --source), null (of\n"
"                    vhost-dp-null), echo (our own, addresses exchanged), any\n"
"  --check-all       compare every byte of every frame\n"
"\n"
"Measuring\n"
"  --cpu N, --data-cpu N   pin the generator, and the data path's threads\n"
"  --nap             sleep a little when there is nothing to do: others need\n"
"                    the generator's CPU, too\n"
"  --thread PID:NAME   the data path's thread is in process PID, and polls\n"
"  --during COMMAND  run it (sh -c) during the run; LOADGEN_PID is QEMU,\n"
"                    LOADGEN_TIDS the data path's threads, by commas; it gets\n"
"                    SIGINT at the end\n"
"  --output FILE     write the result (JSON) there instead of to stdout\n";

static const char *const mode_names[] = {
    [MODE_TX] = "tx",
    [MODE_RX] = "rx",
    [MODE_BOTH] = "both",
    [MODE_LATENCY_TX] = "latency-tx",
    [MODE_LATENCY_RX] = "latency-rx",
    [MODE_LATENCY_ECHO] = "latency-echo",
    [MODE_IDLE] = "idle",
    NULL,
};

static const char *const expect_names[] = {
    [EXPECT_OWN] = "own",
    [EXPECT_NULL] = "null",
    [EXPECT_ECHO] = "echo",
    [EXPECT_ANY] = "any",
    NULL,
};

static const char *const format_names[] = { "split", "packed", NULL };
static const char *const switch_names[] = { "off", "on", NULL };

enum {
    OPT_MODE = 256, OPT_SIZE, OPT_GSO, OPT_CSUM, OPT_RATE, OPT_SECONDS,
    OPT_WARMUP, OPT_PACKETS, OPT_SAMPLES, OPT_GAP, OPT_CALL, OPT_RING,
    OPT_PAIRS, OPT_RING_SIZE, OPT_EVENT_IDX, OPT_INDIRECT, OPT_MERGEABLE,
    OPT_SEGMENTS, OPT_BATCH, OPT_BUFFERS, OPT_RX_BUFFER, OPT_DEVICE,
    OPT_NETDEV, OPT_MEMORY, OPT_TAP, OPT_SOURCE, OPT_SINK, OPT_USER,
    OPT_WINDOW, OPT_FILL, OPT_EXPECT, OPT_CHECK_ALL, OPT_CPU, OPT_DATA_CPU,
    OPT_NAP, OPT_THREAD, OPT_DURING, OPT_OUTPUT,
};

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "mode", required_argument, NULL, OPT_MODE },
    { "size", required_argument, NULL, OPT_SIZE },
    { "gso", required_argument, NULL, OPT_GSO },
    { "csum", no_argument, NULL, OPT_CSUM },
    { "rate", required_argument, NULL, OPT_RATE },
    { "seconds", required_argument, NULL, OPT_SECONDS },
    { "warmup", required_argument, NULL, OPT_WARMUP },
    { "packets", required_argument, NULL, OPT_PACKETS },
    { "samples", required_argument, NULL, OPT_SAMPLES },
    { "gap", required_argument, NULL, OPT_GAP },
    { "call", no_argument, NULL, OPT_CALL },
    { "ring", required_argument, NULL, OPT_RING },
    { "pairs", required_argument, NULL, OPT_PAIRS },
    { "ring-size", required_argument, NULL, OPT_RING_SIZE },
    { "event-idx", required_argument, NULL, OPT_EVENT_IDX },
    { "indirect", required_argument, NULL, OPT_INDIRECT },
    { "mergeable", required_argument, NULL, OPT_MERGEABLE },
    { "segments", required_argument, NULL, OPT_SEGMENTS },
    { "batch", required_argument, NULL, OPT_BATCH },
    { "buffers", required_argument, NULL, OPT_BUFFERS },
    { "rx-buffer", required_argument, NULL, OPT_RX_BUFFER },
    { "device", required_argument, NULL, OPT_DEVICE },
    { "netdev", required_argument, NULL, OPT_NETDEV },
    { "memory", required_argument, NULL, OPT_MEMORY },
    { "tap", required_argument, NULL, OPT_TAP },
    { "source", required_argument, NULL, OPT_SOURCE },
    { "sink", required_argument, NULL, OPT_SINK },
    { "user", no_argument, NULL, OPT_USER },
    { "window", required_argument, NULL, OPT_WINDOW },
    { "fill", required_argument, NULL, OPT_FILL },
    { "expect", required_argument, NULL, OPT_EXPECT },
    { "check-all", no_argument, NULL, OPT_CHECK_ALL },
    { "cpu", required_argument, NULL, OPT_CPU },
    { "data-cpu", required_argument, NULL, OPT_DATA_CPU },
    { "nap", no_argument, NULL, OPT_NAP },
    { "thread", required_argument, NULL, OPT_THREAD },
    { "during", required_argument, NULL, OPT_DURING },
    { "output", required_argument, NULL, OPT_OUTPUT },
    { }
};

static int choose(const char *option, const char *text,
                  const char *const *names)
{
    g_autofree char *list = NULL;
    int i;

    for (i = 0; names[i]; i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    list = g_strjoinv(", ", (char **)names);
    bench_usage("%s %s: choose one of %s", option, text, list);
}

static const char *interface(const char *option, const char *text)
{
    if (!*text || strlen(text) >= IFNAMSIZ) {
        bench_usage("%s %s: an interface name has 1 to %d characters", option,
                    text, IFNAMSIZ - 1);
    }
    return text;
}

static void set_option(Options *o, int c, const char *name, const char *arg)
{
    switch (c) {
    case OPT_MODE: o->mode = choose(name, arg, mode_names); break;
    case OPT_SIZE:
        o->shape.size = bench_parse_u64(name, arg, 60, FRAME_MAX);
        break;
    case OPT_GSO:
        o->shape.gso_size = bench_parse_u64(name, arg, 1, 65495);
        break;
    case OPT_CSUM: o->shape.csum = true; break;
    case OPT_RATE: o->rate = bench_parse_u64(name, arg, 0, 1000000000); break;
    case OPT_SECONDS: o->seconds = bench_parse_seconds(name, arg); break;
    case OPT_WARMUP: o->warmup = bench_parse_seconds(name, arg); break;
    case OPT_PACKETS:
        o->packets = bench_parse_u64(name, arg, 1, INT64_MAX);
        break;
    case OPT_SAMPLES:
        o->samples = bench_parse_u64(name, arg, 1, 10000000);
        break;
    case OPT_GAP: o->gap_us = bench_parse_u64(name, arg, 0, 10000000); break;
    case OPT_CALL: o->call = true; break;
    case OPT_RING: o->packed = choose(name, arg, format_names); break;
    case OPT_PAIRS:
        o->pairs = bench_parse_u64(name, arg, 1, DEVICE_MAX_PAIRS);
        break;
    case OPT_RING_SIZE:
        o->ring_size = bench_parse_u64(name, arg, 2, 1024);
        if (!is_power_of_2(o->ring_size)) {
            bench_usage("%s %s: this is no power of two", name, arg);
        }
        break;
    case OPT_EVENT_IDX: o->event_idx = choose(name, arg, switch_names); break;
    case OPT_INDIRECT: o->indirect = choose(name, arg, switch_names); break;
    case OPT_MERGEABLE: o->mergeable = choose(name, arg, switch_names); break;
    case OPT_SEGMENTS:
        o->segs = bench_parse_u64(name, arg, 1, RING_MAX_SEGS);
        break;
    case OPT_BATCH: o->batch = bench_parse_u64(name, arg, 1, RING_BATCH); break;
    case OPT_BUFFERS: o->buffers = bench_parse_u64(name, arg, 1, 1024); break;
    case OPT_RX_BUFFER:
        o->rx_buffer = bench_parse_u64(name, arg, 64, 65600);
        break;
    case OPT_DEVICE: o->device = arg; break;
    case OPT_NETDEV: o->netdev = arg; break;
    case OPT_MEMORY: o->memory = bench_parse_u64(name, arg, 64, 2048); break;
    case OPT_TAP: o->tap = interface(name, arg); break;
    case OPT_SOURCE: o->source = interface(name, arg); break;
    case OPT_SINK: o->sink = interface(name, arg); break;
    case OPT_USER: o->shape.user = true; break;
    case OPT_WINDOW: o->window = bench_parse_u64(name, arg, 1, 100000); break;
    case OPT_FILL: o->fill = bench_parse_u64(name, arg, 1, 100000); break;
    case OPT_EXPECT: o->expect = choose(name, arg, expect_names); break;
    case OPT_CHECK_ALL: o->check_all = true; break;
    case OPT_CPU: o->cpu = bench_parse_u64(name, arg, 0, 1023); break;
    case OPT_DATA_CPU:
        o->data_cpu = bench_parse_u64(name, arg, 0, 1023);
        break;
    case OPT_NAP: o->nap = true; break;
    case OPT_THREAD: g_ptr_array_add(o->threads, (char *)arg); break;
    case OPT_DURING: o->during = arg; break;
    case OPT_OUTPUT: o->output = arg; break;
    default: g_assert_not_reached();
    }
}

/* What does not go together */
static void check_options(const Options *o)
{
    uint32_t min = frame_min_size(&o->shape);

    if (o->shape.size < min) {
        bench_usage("--size %u is too small: these frames have at least %u "
                    "bytes", o->shape.size, min);
    }
    if (o->shape.size > 1514 && !o->shape.gso_size &&
        (o->source || o->sink || o->tap)) {
        bench_usage("--size %u is more than an interface sends in one piece; "
                    "give --gso", o->shape.size);
    }
    if (o->shape.gso_size && o->shape.size <= 1514 &&
        o->shape.size - 54 <= o->shape.gso_size) {
        bench_usage("--gso %u: a frame of %u bytes would be one segment",
                    o->shape.gso_size, o->shape.size);
    }
    if (options_receives(o) && o->expect == EXPECT_OWN && !o->source &&
        o->mode != MODE_LATENCY_ECHO) {
        bench_usage("--mode %s: nobody sends; give --source, or --expect for "
                    "what the device makes", options_mode_name(o));
    }
    if (o->fill && (o->mode != MODE_RX || !o->source)) {
        bench_usage("--fill is for --mode rx with --source");
    }
    if (o->mode == MODE_LATENCY_RX && !o->source) {
        bench_usage("--mode latency-rx needs --source");
    }
    if (o->mode == MODE_LATENCY_ECHO && !(o->source && o->sink) &&
        o->expect != EXPECT_ECHO) {
        bench_usage("--mode latency-echo needs --source and --sink, or "
                    "--expect echo");
    }
    if (o->sink && o->mode == MODE_TX && !o->rate) {
        bench_usage("--sink: what comes flat out cannot all be checked; give "
                    "--rate");
    }
    if (o->shape.user && (o->mode != MODE_TX || o->pairs > 1 ||
                          o->shape.gso_size || o->sink)) {
        bench_usage("--user is for --mode tx with one queue pair, without "
                    "--gso and --sink");
    }
    if (o->mode >= MODE_LATENCY_TX && o->mode <= MODE_LATENCY_ECHO &&
        o->pairs > 1) {
        bench_usage("--mode %s uses one queue pair", options_mode_name(o));
    }
    if (o->segs > o->ring_size && !o->indirect) {
        bench_usage("--segments %u: a ring of %u entries is too small",
                    o->segs, o->ring_size);
    }
}

const char *options_mode_name(const Options *o)
{
    return mode_names[o->mode];
}

bool options_sends(const Options *o)
{
    return o->mode == MODE_TX || o->mode == MODE_BOTH ||
           o->mode == MODE_LATENCY_TX || o->mode == MODE_LATENCY_ECHO;
}

bool options_receives(const Options *o)
{
    return o->mode == MODE_RX || o->mode == MODE_BOTH ||
           o->mode == MODE_LATENCY_RX || o->mode == MODE_LATENCY_ECHO;
}

void options_parse(Options *o, int argc, char **argv)
{
    int c, index;

    *o = (Options) {
        .shape = { .size = 60 },
        .event_idx = true,
        .mergeable = true,
        .pairs = 1,
        .ring_size = 256,
        .segs = 1,
        .batch = 32,
        .seconds = 1,
        .warmup = 0.2,
        .window = 128,
        .samples = 2000,
        .gap_us = 200,
        .netdev = "net0",
        .cpu = -1,
        .data_cpu = -1,
        .memory = 256,
        .threads = g_ptr_array_new(),
    };
    while ((c = getopt_long(argc, argv, "+h", long_options, &index)) != -1) {
        if (c == 'h') {
            fputs(usage_text, stdout);
            exit(0);
        } else if (c == '?') {
            /* getopt has said why */
            exit(2);
        } else {
            g_autofree char *name = g_strconcat("--", long_options[index].name,
                                                NULL);

            set_option(o, c, name, optarg);
        }
    }
    o->argv = argv + optind;
    if (!o->argv[0]) {
        bench_usage("give a QEMU and its -netdev behind --");
    }
    check_options(o);
}
