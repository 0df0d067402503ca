/*
 * vhost-dp: differential test: options, and an emulator without a machine
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "system/system.h"
#include "differential.h"

Options options = { .seed = 1, .ops = OPS_PER_CASE };

static G_NORETURN void usage(int status)
{
    printf("usage: vhost-dp-differential --format=split|packed [--seed=N]\n"
           "           [--ops=N] [--verbose]\n"
           "Compare vhost-dp's rings with virtio.c's.\n"
           "--ops is for each of the four cases; default %d.\n",
           OPS_PER_CASE);
    exit(status);
}

static bool parse_number(const char *arg, const char *name, uint64_t *value)
{
    const char *text;

    if (!strstart(arg, name, &text)) {
        return false;
    }
    if (qemu_strtou64(text, NULL, 0, value) < 0) {
        fprintf(stderr, "%s takes a number, not '%s'\n", name, text);
        exit(2);
    }
    return true;
}

void options_parse(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--verbose")) {
            options.verbose = true;
        } else if (!strcmp(argv[i], "--help")) {
            usage(0);
        } else if (!strstart(argv[i], "--format=", &options.format) &&
                   !parse_number(argv[i], "--seed=", &options.seed) &&
                   !parse_number(argv[i], "--ops=", &options.ops)) {
            usage(2);
        }
    }
    if (!options.format || (strcmp(options.format, "split") &&
                            strcmp(options.format, "packed"))) {
        usage(2);
    }
}

/* An emulator without a machine: memory, QOM, threads */
void start_qemu(char *name)
{
    char *argv[] = {
        name, (char *)"-machine", (char *)"none", (char *)"-accel",
        (char *)"qtest", (char *)"-nodefaults", (char *)"-display",
        (char *)"none", NULL
    };

    qemu_init(ARRAY_SIZE(argv) - 1, argv);
    /*
     * virtio.c reports each broken rule, and there are thousands.  Only the
     * stream goes away: sanitizers write to the descriptor.
     */
    stderr = fopen("/dev/null", "w");
}
