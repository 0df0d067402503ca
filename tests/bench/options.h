/*
 * vhost-dp bench: the load generator's options
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "frame.h"

typedef enum Mode {
    MODE_TX,
    MODE_RX,
    MODE_BOTH,
    MODE_LATENCY_TX,
    MODE_LATENCY_RX,
    MODE_LATENCY_ECHO,
    MODE_IDLE,
} Mode;

typedef enum Expect {
    EXPECT_OWN,                 /* frames of our source */
    EXPECT_NULL,                /* frames that vhost-dp-null makes */
    EXPECT_ECHO,                /* our own, with addresses exchanged */
    EXPECT_ANY,                 /* anything of the right length */
} Expect;

typedef struct Options {
    Mode mode;
    FrameShape shape;
    Expect expect;
    bool packed;
    bool event_idx;
    bool indirect;
    bool mergeable;
    unsigned pairs;
    unsigned ring_size;
    unsigned segs;              /* of a frame that is sent */
    unsigned batch;             /* frames made available together */
    unsigned buffers;           /* of each ring, or 0: as many as fit */
    unsigned rx_buffer;         /* bytes, with the header; or 0 */
    uint64_t rate;              /* frames per second, or 0: flat out */
    uint64_t packets;           /* stop after that many, or 0 */
    double seconds;
    double warmup;
    unsigned fill;              /* frames to queue up before each drain */
    unsigned window;            /* frames of the source on their way */
    unsigned samples;           /* of latency */
    unsigned gap_us;            /* between them */
    bool check_all;             /* every byte of every frame */
    bool call;                  /* latency: wait for the interrupt */
    const char *source;         /* interface to send into, or NULL */
    const char *sink;           /* interface to look at, or NULL */
    const char *tap;            /* interface to switch on, or NULL */
    const char *netdev;
    const char *device;         /* more properties of the device, or NULL */
    const char *during;         /* command to run meanwhile, or NULL */
    const char *output;         /* file for the result, or NULL: stdout */
    int cpu;                    /* of the generator, or -1 */
    int data_cpu;               /* of the data-path threads, or -1 */
    bool nap;                   /* leave the CPU to others when idle */
    unsigned memory;            /* guest RAM, MiB */
    GPtrArray *threads;         /* PID:NAME of data-path threads elsewhere */
    char **argv;                /* QEMU and its arguments */
} Options;

/**
 * options_parse: parse the command line; exits when it is wrong
 */
void options_parse(Options *o, int argc, char **argv);

/**
 * options_mode_name: the mode as the user writes it
 */
const char *options_mode_name(const Options *o);

/**
 * options_sends, options_receives: which directions the mode uses
 */
bool options_sends(const Options *o);
bool options_receives(const Options *o);

#endif /* BENCH_OPTIONS_H */
