/*
 * vhost-dp: first inputs for the fuzz target of offloads
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: frames as the unit tests make them, with metadata that
 * fits, in the form that fuzz-offload.c says.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "standard-headers/linux/virtio_net.h"
#include "tests/vhost-dp/lib/frames.h"

#define HEADER          14
#define MAX_PAYLOAD     400

static gsize generate(GRand *rand, uint8_t **data)
{
    FrameSpec spec;
    gsize len;

    frames_random(&spec, rand, g_rand_boolean(rand));
    spec.payload = MIN(spec.payload, MAX_PAYLOAD);
    if (g_rand_boolean(rand)) {
        frames_add_tunnel(&spec, rand,
                          g_rand_int_range(rand, 1, FRAMES_NTUNNELS));
    }
    len = HEADER + frames_len(&spec);
    *data = g_malloc0(len);
    frames_build(&spec, *data + HEADER);

    (*data)[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    (*data)[1] = spec.gso_type;
    stw_le_p(*data + 2, spec.data);
    /* Many segments of few bytes, too */
    stw_le_p(*data + 4, g_rand_boolean(rand) ? spec.gso_size : 40);
    stw_le_p(*data + 6, spec.l4);
    stw_le_p(*data + 8, spec.tcp ? 16 : 6);
    (*data)[10] = g_rand_int(rand);
    stw_le_p(*data + 11, g_rand_int(rand));
    (*data)[13] = g_rand_boolean(rand) ? 0 : g_rand_int(rand);
    return len;
}

int main(int argc, char **argv)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    unsigned i;

    if (argc != 2) {
        error_report("usage: generate-offload DIRECTORY");
        return 2;
    }
    for (i = 0; i < 256; i++) {
        g_autofree char *name = g_strdup_printf("%s/generated-%03u", argv[1],
                                                i);
        g_autofree uint8_t *data = NULL;
        g_autoptr(GError) err = NULL;
        gsize len = generate(rand, &data);

        if (!g_file_set_contents(name, (char *)data, len, &err)) {
            error_report("%s", err->message);
            return 1;
        }
    }
    return 0;
}
