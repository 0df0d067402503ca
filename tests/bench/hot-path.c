/*
 * vhost-dp bench: bursts through a virtqueue, for counting instructions
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * usage: vhost-dp-hot-path tx|rx TURNS
 *
 * Each turn moves 64 frames through a split virtqueue, from the offer to the
 * used element, with the driver and the memory of the unit tests.  guard.py
 * runs this under callgrind, which counts within hot_path_turns(), and takes
 * what belongs to the ring code.
 */

#include "qemu/osdep.h"
#include "tests/vhost-dp/lib/rig.h"

void hot_path_turns(Rig *rig, unsigned turns);

__attribute__((noinline)) void hot_path_turns(Rig *rig, unsigned turns)
{
    unsigned i;

    for (i = 0; i < turns; i++) {
        rig_turn(rig, 64);
    }
}

int main(int argc, char **argv)
{
    Rig *rig;

    if (argc != 3 || (strcmp(argv[1], "tx") && strcmp(argv[1], "rx"))) {
        fprintf(stderr, "usage: %s tx|rx TURNS\n", argv[0]);
        return 2;
    }
    rig = rig_new((Setup) {
        .num = 256,
        .event_idx = true,
        .writable = strcmp(argv[1], "rx") == 0,
    });
    /* Once through the ring before it counts */
    rig_turn(rig, 64);
    hot_path_turns(rig, atoi(argv[2]));
    rig_free(rig);
    return 0;
}
