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
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <net/if.h>
#include "qemu/cutils.h"
#include "af-xdp-host.h"

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

static int load_prog(const char *name, int map)
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
    int prog = bpf_prog_load(BPF_PROG_TYPE_XDP, name, "GPL", insns,
                             ARRAY_SIZE(insns), NULL);

    g_assert_cmpint(prog, >=, 0);
    return prog;
}

int dp_xdp_prog_attach(int map)
{
    LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_SKB_MODE);
    int prog = load_prog("test", map);
    int link = bpf_link_create(prog, if_nametoindex("v0"), BPF_XDP, &opts);

    g_assert_cmpint(link, >=, 0);
    close(prog);
    return link;
}

void dp_xdp_link_detach(const char *name)
{
    uint32_t prog = dp_xdp_prog_id(name);
    bool found = false;
    uint32_t id = 0;

    while (!found && bpf_link_get_next_id(id, &id) == 0) {
        struct bpf_link_info info = {};
        uint32_t len = sizeof(info);
        int link = bpf_link_get_fd_by_id(id);

        if (link < 0) {
            continue;
        }
        if (bpf_obj_get_info_by_fd(link, &info, &len) == 0 &&
            info.type == BPF_LINK_TYPE_XDP && info.prog_id == prog) {
            g_assert_cmpint(bpf_link_detach(link), ==, 0);
            found = true;
        }
        close(link);
    }
    g_assert_true(found);
    g_assert_cmpuint(dp_xdp_prog_id(name), ==, 0);
}

uint32_t dp_xdp_attach_default(void)
{
    int map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "xsks_map", sizeof(uint32_t),
                             sizeof(int), 4, NULL);
    int prog;

    g_assert_cmpint(map, >=, 0);
    prog = load_prog("xsk_def_prog", map);
    g_assert_cmpint(bpf_xdp_attach(if_nametoindex("v0"), prog,
                                   XDP_FLAGS_DRV_MODE, NULL), ==, 0);
    close(prog);
    close(map);
    return dp_xdp_prog_id("v0");
}

void dp_xdp_detach_default(void)
{
    g_assert_cmpint(bpf_xdp_detach(if_nametoindex("v0"), XDP_FLAGS_DRV_MODE,
                                   NULL), ==, 0);
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

/* ---- VLANs ---- */

static void ethtool(const char *name, void *command)
{
    struct ifreq ifr = { .ifr_data = command };
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    /* 1 and 2 say that something else was changed, or not all of it */
    g_assert_cmpint(ioctl(sock, SIOCETHTOOL, &ifr), ==, 0);
    close(sock);
}

void dp_vlan_set_offload(const char *name, bool on)
{
    g_autofree struct ethtool_sset_info *set = NULL;
    g_autofree struct ethtool_gstrings *names = NULL;
    g_autofree struct ethtool_sfeatures *features = NULL;
    unsigned n, i;

    set = g_malloc0(sizeof(*set) + sizeof(uint32_t));
    set->cmd = ETHTOOL_GSSET_INFO;
    set->sset_mask = 1ULL << ETH_SS_FEATURES;
    ethtool(name, set);
    n = set->data[0];

    names = g_malloc0(sizeof(*names) + n * ETH_GSTRING_LEN);
    names->cmd = ETHTOOL_GSTRINGS;
    names->string_set = ETH_SS_FEATURES;
    names->len = n;
    ethtool(name, names);

    features = g_malloc0(sizeof(*features) + DIV_ROUND_UP(n, 32) *
                         sizeof(features->features[0]));
    features->cmd = ETHTOOL_SFEATURES;
    features->size = DIV_ROUND_UP(n, 32);
    for (i = 0; i < n; i++) {
        const char *feature = (char *)names->data + i * ETH_GSTRING_LEN;

        if (!strcmp(feature, "tx-vlan-hw-insert") ||
            !strcmp(feature, "tx-vlan-stag-hw-insert")) {
            features->features[i / 32].valid |= 1u << i % 32;
            features->features[i / 32].requested |= on ? 1u << i % 32 : 0;
        }
    }
    ethtool(name, features);
}

void dp_vlan_push(const char *name, uint16_t proto, uint16_t tci)
{
    struct bpf_insn insns[] = {
        { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2,
          .imm = htons(proto) },
        { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3,
          .imm = tci },
        { .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_vlan_push },
        { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
        { .code = BPF_JMP | BPF_EXIT },
    };
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = if_nametoindex(name),
                .attach_point = BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, opts);

    opts.prog_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "push", "GPL", insns,
                                 ARRAY_SIZE(insns), NULL);
    g_assert_cmpint(opts.prog_fd, >=, 0);
    g_assert_cmpint(bpf_tc_hook_create(&hook), ==, 0);
    g_assert_cmpint(bpf_tc_attach(&hook, &opts), ==, 0);
    close(opts.prog_fd);
}

void dp_bridge_new(const char *name)
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(ioctl(sock, SIOCBRADDBR, name), ==, 0);
    close(sock);
}

/* ---- BPF file systems ---- */

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
