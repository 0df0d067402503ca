/*
 * vhost-dp: qtests of vhost-dp-af-xdp, what others load into the kernel
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <net/if.h>
#include "vhost-dp-af-xdp-host.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif

int dp_xdp_map_new(unsigned entries)
{
    return bpf_map_create(BPF_MAP_TYPE_XSKMAP, "test", sizeof(uint32_t),
                          sizeof(int), entries, NULL);
}

uint32_t dp_xdp_prog_id(const char *name)
{
    uint32_t id = 0;

    g_assert_cmpint(bpf_xdp_query_id(if_nametoindex(name), 0, &id), ==, 0);
    return id;
}

int dp_xdp_prog_attach(int map)
{
    struct bpf_insn insns[] = {
        { .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_2,
          .src_reg = BPF_REG_1,
          .off = offsetof(struct xdp_md, rx_queue_index) },
        { .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = BPF_REG_1,
          .src_reg = BPF_PSEUDO_MAP_FD, .imm = map },
        { },
        { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3,
          .imm = XDP_PASS },
        { .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map },
        { .code = BPF_JMP | BPF_EXIT },
    };
    LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_SKB_MODE);
    int prog = bpf_prog_load(BPF_PROG_TYPE_XDP, "test", "GPL", insns,
                             ARRAY_SIZE(insns), NULL);
    int link;

    g_assert_cmpint(prog, >=, 0);
    link = bpf_link_create(prog, if_nametoindex("v0"), BPF_XDP, &opts);
    g_assert_cmpint(link, >=, 0);
    close(prog);
    return link;
}

int dp_xdp_socket_new(int map, uint32_t key)
{
    int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    if (map >= 0) {
        g_assert_cmpint(bpf_map_update_elem(map, &key, &fd, BPF_ANY), ==, 0);
    }
    return fd;
}

char *dp_bpf_fs_mount(void)
{
    char *dir = g_dir_make_tmp("vhost-dp-bpf-XXXXXX", NULL);

    g_assert_nonnull(dir);
    g_assert_cmpint(mount("bpf", dir, "bpf", 0, NULL), ==, 0);
    return dir;
}

void dp_bpf_fs_unmount(const char *dir)
{
    g_assert_cmpint(umount2(dir, MNT_DETACH), ==, 0);
    g_assert_cmpint(rmdir(dir), ==, 0);
}
