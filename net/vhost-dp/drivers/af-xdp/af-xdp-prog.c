/*
 * vhost-dp-af-xdp: the program that hands frames to the sockets
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the interface's driver, or the kernel's network stack
 * in its place (mode=skb), runs a program for each frame.  Ours looks the
 * receive queue up in a map (BPF_MAP_TYPE_XSKMAP) of sockets.  Frames of
 * queues without a socket go on to the host.  Where the driver tells the
 * program about VLAN tags that it took off, the program puts them back; see
 * af-xdp-vlan.c.
 *
 * An interface has one program, and objects that use different queues of it
 * share that and its map.  The program is attached by a BPF link, which lives
 * as long as a descriptor of it, and each object has one: so the program stays
 * until the last of them goes, and goes then, however QEMU ends.  Objects of
 * the same QEMU copy each other's descriptors.  That of another QEMU's is found
 * by its number, which takes CAP_SYS_ADMIN.  (A link that is pinned to a file
 * system would need less, and stay after SIGKILL.)
 *
 * The program that libxdp attaches by default has a map that is used the same
 * way, and can be shared, too.  libxdp attaches it by netlink, directly or
 * below a dispatcher, and removes it when it finds no user of its own any more.
 * That is announced as a change of the interface; then we attach ours.
 *
 * Whoever may can take the program off the interface while we have the link
 * ('bpftool link detach').  The kernel tells nobody of that, but the link says
 * where it is attached, so it is asked once a second (af-xdp-link.c).
 *
 * With inhibit=on the program and the map are somebody else's: the sockets
 * were entered already (sock-fds=), or are by us (map-path=).
 */

#include "qemu/osdep.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qapi/error.h"
#include "af-xdp-int.h"
#include "trace.h"

/* Linux 5.18 and 6.3; not in the headers of all C libraries */
#define AFXDP_PROG_HAS_FRAGS (1u << 5)
#define AFXDP_PROG_DEV_BOUND (1u << 6)

/* Entries of our map, one for each queue: others may use more than we do */
#define AFXDP_MAP_ENTRIES 1024u

/* Programs with a map of sockets by queue: their names, and their maps' */
static const struct {
    const char *prog;
    const char *map;
    AfXdpProg kind;
} afxdp_known[] = {
    { "vhost_dp", "vhost_dp_xsks", AFXDP_PROG_PLAIN },
    { "vhost_dp_vlan", "vhost_dp_xsks", AFXDP_PROG_VLAN },
    { "xsk_def_prog", "xsks_map", AFXDP_PROG_LIBXDP },
};

/* Objects of this QEMU that have a link; protects also their map and link */
static QLIST_HEAD(, VhostDPAfXdp) afxdp_attached =
    QLIST_HEAD_INITIALIZER(afxdp_attached);
static QemuMutex afxdp_attached_lock;

static void __attribute__((constructor)) afxdp_attached_init(void)
{
    qemu_mutex_init(&afxdp_attached_lock);
}

/* @errp is guarded */
static void afxdp_no_permission(Error **errp)
{
    error_append_hint(errp, "Give QEMU CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, "
                      "in the host's initial user namespace, or let a "
                      "privileged program open the sockets and pass them "
                      "with inhibit=on,sock-fds=.\n");
}

static const char *afxdp_mode_name(bool native)
{
    return native ? "native" : "skb";
}

/* ---- Our programs ---- */

static bool afxdp_map_create(VhostDPAfXdp *xdp, Error **errp)
{
    ERRP_GUARD();
    uint32_t needed = xdp->start_queue + xdp->nqueues;

    xdp->map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "vhost_dp_xsks",
                              sizeof(uint32_t), sizeof(int),
                              MAX(needed, AFXDP_MAP_ENTRIES), NULL);
    if (xdp->map >= 0) {
        return true;
    }
    if (errno == EPERM) {
        error_setg(errp, "no permission to create a BPF map");
        afxdp_no_permission(errp);
    } else {
        error_setg_errno(errp, errno, "cannot create a BPF map of sockets");
    }
    return false;
}

/* Instructions: @d and @s are registers, 10 is the frame pointer */
#define INSN(c, d, s, o, i) \
    { .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) }
#define MOV(d, s)           INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i)       INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD_IMM(d, i)       INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define TO_BE16(d)          INSN(BPF_ALU | BPF_END | BPF_TO_BE, d, 0, 0, 16)
#define LOAD(size, d, s, o) INSN(BPF_LDX | BPF_MEM | (size), d, s, o, 0)
#define STORE(size, d, o, s) INSN(BPF_STX | BPF_MEM | (size), d, s, o, 0)
#define CALL(function)      INSN(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define CALL_KFUNC(id) \
    INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, id)
#define IF_EQ(d, i, skip)   INSN(BPF_JMP32 | BPF_JEQ | BPF_K, d, 0, skip, i)
#define IF_NE(d, i, skip)   INSN(BPF_JMP32 | BPF_JNE | BPF_K, d, 0, skip, i)
#define IF_NE64(d, i, skip) INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, skip, i)
#define IF_GT_REG(d, s, skip) INSN(BPF_JMP | BPF_JGT | BPF_X, d, s, skip, 0)
#define EXIT()              INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
/* An instruction of two */
#define MAP(d, fd) \
    INSN(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_FD, 0, fd)
#define MAP_REST()          INSN(0, 0, 0, 0, 0)

static int afxdp_load(const char *name, const struct bpf_insn *insns, size_t n,
                      uint32_t flags, int ifindex)
{
    LIBBPF_OPTS(bpf_prog_load_opts, opts,
                .prog_flags = flags | AFXDP_PROG_HAS_FRAGS,
                .prog_ifindex = ifindex);
    int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, name, "GPL", insns, n, &opts);

    if (fd < 0 && errno == EINVAL) {
        opts.prog_flags = flags;
        fd = bpf_prog_load(BPF_PROG_TYPE_XDP, name, "GPL", insns, n, &opts);
    }
    return fd;
}

/* redirect_map(&map, rx_queue_index, XDP_PASS); returns a descriptor or -1 */
static int afxdp_load_plain(int map)
{
    const struct bpf_insn insns[] = {
        LOAD(BPF_W, 2, 1, offsetof(struct xdp_md, rx_queue_index)),
        MAP(1, map), MAP_REST(),
        MOV_IMM(3, XDP_PASS),
        CALL(BPF_FUNC_redirect_map),
        EXIT(),
    };

    return afxdp_load("vhost_dp", insns, ARRAY_SIZE(insns), 0, 0);
}

/*
 * The same, with the VLAN tag put in its place.  A frame that is not for a
 * socket stays as it is: its tag is still beside it.  If the driver cannot tell
 * whether there is a tag the frame is dropped.
 *
 * @kfunc: int bpf_xdp_metadata_rx_vlan_tag(ctx, __be16 *proto, u16 *tci)
 */
static int afxdp_load_vlan(int map, int kfunc, int ifindex)
{
    const struct bpf_insn insns[] = {
        MOV(6, 1),
        LOAD(BPF_W, 7, 6, offsetof(struct xdp_md, rx_queue_index)),
        MOV_IMM(8, XDP_PASS),
        STORE(BPF_W, 10, -4, 7),
        /* Is there a socket? */
        MAP(1, map), MAP_REST(),
        MOV(2, 10),
        ADD_IMM(2, -4),
        CALL(BPF_FUNC_map_lookup_elem),
        IF_NE64(0, 0, 2),
        MOV_IMM(0, XDP_PASS),
        EXIT(),
        /* Is there a tag?  If not, go to the end. */
        MOV_IMM(1, 0),
        STORE(BPF_DW, 10, -16, 1),
        MOV(1, 6),
        MOV(2, 10),
        ADD_IMM(2, -16),
        MOV(3, 10),
        ADD_IMM(3, -12),
        CALL_KFUNC(kfunc),
        IF_EQ(0, -ENODATA, 25),
        IF_NE(0, 0, 7),
        /* Make room, and move the addresses */
        MOV(1, 6),
        MOV_IMM(2, -4),
        CALL(BPF_FUNC_xdp_adjust_head),
        IF_NE(0, 0, 3),
        LOAD(BPF_W, 2, 6, offsetof(struct xdp_md, data)),
        LOAD(BPF_W, 3, 6, offsetof(struct xdp_md, data_end)),
        INSN(BPF_JMP | BPF_JA, 0, 0, 2, 0),
        MOV_IMM(0, XDP_DROP),
        EXIT(),
        MOV(4, 2),
        ADD_IMM(4, 18),
        IF_GT_REG(4, 3, -5),
        LOAD(BPF_W, 4, 2, 4),
        STORE(BPF_W, 2, 0, 4),
        LOAD(BPF_W, 4, 2, 8),
        STORE(BPF_W, 2, 4, 4),
        LOAD(BPF_W, 4, 2, 12),
        STORE(BPF_W, 2, 8, 4),
        /* The VLAN tag goes behind the addresses */
        LOAD(BPF_H, 4, 10, -16),
        STORE(BPF_H, 2, 12, 4),
        LOAD(BPF_H, 4, 10, -12),
        TO_BE16(4),
        STORE(BPF_H, 2, 14, 4),
        MOV_IMM(8, XDP_DROP),
        /* redirect_map(&map, queue, tagged ? XDP_DROP : XDP_PASS) */
        MAP(1, map), MAP_REST(),
        MOV(2, 7),
        MOV(3, 8),
        CALL(BPF_FUNC_redirect_map),
        EXIT(),
    };

    return afxdp_load("vhost_dp_vlan", insns, ARRAY_SIZE(insns),
                      AFXDP_PROG_DEV_BOUND, ifindex);
}

static int afxdp_link_create(int prog, int ifindex, bool native)
{
    LIBBPF_OPTS(bpf_link_create_opts, opts,
                .flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);

    return bpf_link_create(prog, ifindex, BPF_XDP, &opts);
}

/*
 * The number of the program that @link has, which is attached to interface
 * *@ifindex, or was removed from it if that is 0.  Returns 0 if the kernel does
 * not tell.
 */
static uint32_t afxdp_link_prog(int link, int *ifindex)
{
    struct bpf_link_info info = {};
    uint32_t len = sizeof(info);

    if (bpf_obj_get_info_by_fd(link, &info, &len) < 0) {
        return 0;
    }
    *ifindex = info.xdp.ifindex;
    return info.prog_id;
}

/* Takes @prog, and a failure to load it.  Returns 0 or a negative errno. */
static int afxdp_link(VhostDPAfXdp *xdp, int prog, int ifindex, bool native,
                      AfXdpProg kind)
{
    int err, where;

    if (prog < 0) {
        return -errno;
    }
    xdp->prog_link = afxdp_link_create(prog, ifindex, native);
    err = errno;
    close(prog);                /* the link has it */
    if (xdp->prog_link < 0) {
        return -err;
    }
    xdp->prog = kind;
    xdp->prog_id = afxdp_link_prog(xdp->prog_link, &where);
    xdp->native = native;
    return 0;
}

/* The interface has a program, or it is not for us to say */
static bool afxdp_link_is_final(int r)
{
    return !r || r == -EPERM || r == -EBUSY || r == -EEXIST;
}

static void afxdp_link_failed(bool native, int err, Error **errp)
{
    ERRP_GUARD();

    if (err == EPERM) {
        error_setg(errp, "no permission to load and attach an XDP program");
        afxdp_no_permission(errp);
    } else if (native) {
        error_setg_errno(errp, err, "mode=native: the interface's driver takes "
                         "no XDP program");
        error_append_hint(errp, "Without mode=, and with mode=skb, the network "
                          "stack takes the place of the driver. Or the MTU is "
                          "too large, or the interface has fewer receive "
                          "queues than its peer has transmit queues.\n");
    } else {
        error_setg_errno(errp, err, "cannot attach an XDP program");
        error_append_hint(errp, "Linux 5.9 or later is needed.\n");
    }
}

/*
 * Attach a program of our own.  Returns 0, or a negative errno with @errp set:
 * -EBUSY if the interface has one.
 */
static int afxdp_create(VhostDPAfXdp *xdp, int ifindex, Error **errp)
{
    bool native = !xdp->has_mode || xdp->mode == VHOST_DP_AF_XDP_MODE_NATIVE;
    int r = -EOPNOTSUPP;
    int kfunc;

    if (!afxdp_map_create(xdp, errp)) {
        return -EPERM;
    }
    kfunc = native ? vhost_dp_afxdp_vlan_kfunc(ifindex) : 0;
    if (kfunc) {
        r = afxdp_link(xdp, afxdp_load_vlan(xdp->map, kfunc, ifindex), ifindex,
                       true, AFXDP_PROG_VLAN);
    }
    if (!afxdp_link_is_final(r)) {
        r = afxdp_link(xdp, afxdp_load_plain(xdp->map), ifindex, native,
                       AFXDP_PROG_PLAIN);
    }
    if (!afxdp_link_is_final(r) && !xdp->has_mode) {
        native = false;
        r = afxdp_link(xdp, afxdp_load_plain(xdp->map), ifindex, native,
                       AFXDP_PROG_PLAIN);
    }
    if (r == -EEXIST || r == -EBUSY) {
        error_setg(errp, "the interface has an XDP program already");
        return -EBUSY;
    }
    if (r) {
        afxdp_link_failed(native, -r, errp);
    }
    return r;
}

/* ---- Programs that are there already ---- */

/* Is what prog_attach found or made still there?  Yes if nobody can tell. */
static bool afxdp_is_attached(const VhostDPAfXdp *xdp, int ifindex)
{
    LIBBPF_OPTS(bpf_xdp_query_opts, query);
    int where = 0;
    uint32_t id;

    if (xdp->ifindex != ifindex) {
        return false;
    }
    if (xdp->prog_link >= 0) {
        id = afxdp_link_prog(xdp->prog_link, &where);
        return !id || (id == xdp->prog_id && where == ifindex);
    }
    return xdp->prog != AFXDP_PROG_LIBXDP ||
           bpf_xdp_query(ifindex, 0, &query) < 0 ||
           query.drv_prog_id == xdp->prog_id ||
           query.skb_prog_id == xdp->prog_id;
}

/* Share that of another object of this QEMU */
static bool afxdp_share(VhostDPAfXdp *xdp, int ifindex)
{
    VhostDPAfXdp *other;

    QLIST_FOREACH(other, &afxdp_attached, next) {
        if (afxdp_is_attached(other, ifindex)) {
            break;
        }
    }
    if (!other) {
        return false;
    }
    xdp->prog_link = qemu_dup(other->prog_link);
    xdp->map = qemu_dup(other->map);
    xdp->prog = other->prog;
    xdp->prog_id = other->prog_id;
    xdp->native = other->native;
    return xdp->prog_link >= 0 && xdp->map >= 0;
}

/* Sets xdp->map to that of program number @id, if we know how to use it */
static AfXdpProg afxdp_find_map(VhostDPAfXdp *xdp, uint32_t id)
{
    uint32_t maps[8];
    struct bpf_prog_info info = {
        .nr_map_ids = ARRAY_SIZE(maps), .map_ids = (uintptr_t)maps,
    };
    uint32_t len = sizeof(info);
    int prog = bpf_prog_get_fd_by_id(id);
    unsigned i, k;

    if (prog < 0) {
        return AFXDP_PROG_NONE;
    }
    if (bpf_obj_get_info_by_fd(prog, &info, &len) < 0) {
        info.nr_map_ids = 0;
    }
    close(prog);
    for (k = 0; k < ARRAY_SIZE(afxdp_known); k++) {
        if (strcmp(info.name, afxdp_known[k].prog)) {
            continue;
        }
        for (i = 0; i < MIN(info.nr_map_ids, ARRAY_SIZE(maps)); i++) {
            struct bpf_map_info map = {};

            xdp->map = bpf_map_get_fd_by_id(maps[i]);
            len = sizeof(map);
            if (xdp->map >= 0 &&
                bpf_obj_get_info_by_fd(xdp->map, &map, &len) == 0 &&
                map.type == BPF_MAP_TYPE_XSKMAP &&
                !strcmp(map.name, afxdp_known[k].map)) {
                return afxdp_known[k].kind;
            }
            if (xdp->map >= 0) {
                close(xdp->map);
            }
            xdp->map = -1;
        }
    }
    return AFXDP_PROG_NONE;
}

/*
 * Look for a program that we know: the attached one itself, which is number
 * @id, or one that a dispatcher calls.  Sets *@linked if @id is attached by a
 * link.  Returns what it is; xdp->prog is set if it can be used.
 */
static AfXdpProg afxdp_find_prog(VhostDPAfXdp *xdp, int ifindex, uint32_t id,
                                 bool *linked)
{
    AfXdpProg kind = afxdp_find_map(xdp, id);
    uint32_t next = 0;

    *linked = false;
    while (bpf_link_get_next_id(next, &next) == 0) {
        struct bpf_link_info info = {};
        uint32_t len = sizeof(info);
        int fd = bpf_link_get_fd_by_id(next);

        if (fd < 0) {
            continue;
        }
        if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0) {
            info.type = BPF_LINK_TYPE_UNSPEC;
        }
        if (info.type == BPF_LINK_TYPE_XDP && info.prog_id == id &&
            info.xdp.ifindex == ifindex) {
            *linked = true;
            if (kind == AFXDP_PROG_PLAIN || kind == AFXDP_PROG_VLAN) {
                xdp->prog_link = fd;
                xdp->prog = kind;
                return kind;
            }
        } else if (info.type == BPF_LINK_TYPE_TRACING &&
                   info.tracing.target_obj_id == id &&
                   kind == AFXDP_PROG_NONE) {
            kind = afxdp_find_map(xdp, info.prog_id);
        }
        close(fd);
    }
    if (kind == AFXDP_PROG_LIBXDP) {
        xdp->prog = kind;
    }
    return kind;
}

static void afxdp_is_foreign(VhostDPAfXdp *xdp, bool permitted, bool linked,
                             Error **errp)
{
    ERRP_GUARD();
    const char *off = xdp->native ? "xdpdrv" : "xdpgeneric";

    error_setg(errp, "the interface has an XDP program already");
    if (!permitted) {
        error_append_hint(errp, "If that is another QEMU's, for queues of its "
                          "own, this one needs CAP_SYS_ADMIN to share it.\n");
    }
    if (linked || !permitted) {
        error_append_hint(errp, "If it was attached by a BPF link, it goes "
                          "with the process that has the link. 'bpftool link' "
                          "lists them, 'bpftool link detach id ID' removes "
                          "it.\n");
    }
    if (!linked) {
        error_append_hint(errp, "Remove it with 'ip link set dev %s %s off'.\n",
                          xdp->real_ifname, off);
    }
    error_append_hint(errp, "Or use its map of sockets with inhibit=on and "
                      "sock-fds= or map-path=.\n");
}

/*
 * Use the program that the interface has, if it has one: see xdp->prog.
 * Returns 0, or a negative errno with @errp set: -EAGAIN if it is just about to
 * go.
 */
static int afxdp_find(VhostDPAfXdp *xdp, int ifindex, Error **errp)
{
    LIBBPF_OPTS(bpf_xdp_query_opts, query);
    AfXdpProg found = AFXDP_PROG_NONE;
    bool linked = false;
    bool permitted;
    int fd;

    if (bpf_xdp_query(ifindex, 0, &query) < 0 ||
        !(query.drv_prog_id || query.skb_prog_id)) {
        return 0;
    }
    xdp->native = query.drv_prog_id;
    xdp->prog_id = query.drv_prog_id ?: query.skb_prog_id;
    fd = bpf_prog_get_fd_by_id(xdp->prog_id);
    permitted = fd >= 0 || errno == ENOENT;
    if (fd >= 0) {
        close(fd);
        found = afxdp_find_prog(xdp, ifindex, xdp->prog_id, &linked);
    }
    if (xdp->prog != AFXDP_PROG_NONE) {
        return 0;
    }
    afxdp_is_foreign(xdp, permitted, linked, errp);
    /* Ours without its link: that has been closed */
    return (fd < 0 && permitted) || found != AFXDP_PROG_NONE ? -EAGAIN :
                                                               -EBUSY;
}

/* ---- Somebody else's ---- */

static bool afxdp_map_open(VhostDPAfXdp *xdp, Error **errp)
{
    ERRP_GUARD();
    struct bpf_map_info info = {};
    uint32_t len = sizeof(info);

    xdp->map = bpf_obj_get(xdp->map_path);
    if (xdp->map < 0) {
        error_setg_errno(errp, errno, "map-path=%s: cannot open the map",
                         xdp->map_path);
        error_append_hint(errp, "It is the path of a map that was pinned to a "
                          "BPF file system, as in /sys/fs/bpf/xsks_map; to use "
                          "it takes CAP_BPF.\n");
        return false;
    }
    if (bpf_obj_get_info_by_fd(xdp->map, &info, &len) < 0 ||
        info.type != BPF_MAP_TYPE_XSKMAP) {
        error_setg(errp, "map-path=%s: this is not a map of AF_XDP sockets",
                   xdp->map_path);
        error_append_hint(errp, "Its type has to be BPF_MAP_TYPE_XSKMAP.\n");
        return false;
    }
    return true;
}

/* ---- All of them ---- */

static void afxdp_forget(VhostDPAfXdp *xdp)
{
    if (xdp->prog_link >= 0) {
        close(xdp->prog_link);
    }
    if (xdp->map >= 0) {
        close(xdp->map);
    }
    xdp->prog_link = -1;
    xdp->map = -1;
    xdp->prog = AFXDP_PROG_NONE;
    xdp->prog_id = 0;
    xdp->native = false;
}

/* Share a program, or attach one.  Returns 0 or a negative errno, see attach */
static int afxdp_get(VhostDPAfXdp *xdp, int ifindex, Error **errp)
{
    int r;

    if (afxdp_share(xdp, ifindex)) {
        return 0;
    }
    afxdp_forget(xdp);
    r = afxdp_find(xdp, ifindex, errp);
    if (!r && xdp->prog == AFXDP_PROG_NONE) {
        r = afxdp_create(xdp, ifindex, errp);
        /* Another QEMU was faster: share its program */
        r = r == -EBUSY ? -EAGAIN : r;
    }
    return r;
}

static bool afxdp_check_mode(VhostDPAfXdp *xdp, Error **errp)
{
    ERRP_GUARD();
    bool native = xdp->mode == VHOST_DP_AF_XDP_MODE_NATIVE;

    if (!xdp->has_mode || native == xdp->native) {
        return true;
    }
    error_setg(errp, "mode=%s: the interface has an XDP program already, with "
               "mode=%s", afxdp_mode_name(native),
               afxdp_mode_name(xdp->native));
    error_append_hint(errp, "All users of an interface have the same mode.\n");
    return false;
}

static bool afxdp_check_vlan(VhostDPAfXdp *xdp, int ifindex, Error **errp)
{
    return xdp->prog == AFXDP_PROG_VLAN ||
           vhost_dp_afxdp_vlan_kept(xdp->ctl, ifindex, errp);
}

int vhost_dp_afxdp_prog_attach(VhostDPAfXdp *xdp, int ifindex, Error **errp)
{
    int r = 0;

    if (afxdp_is_attached(xdp, ifindex)) {
        return 0;
    }
    vhost_dp_afxdp_prog_detach(xdp);

    QEMU_LOCK_GUARD(&afxdp_attached_lock);
    if (!xdp->inhibit) {
        r = afxdp_get(xdp, ifindex, errp);
        if (!r && !afxdp_check_mode(xdp, errp)) {
            r = -EINVAL;
        }
    } else {
        xdp->prog = AFXDP_PROG_FOREIGN;
        if (xdp->map_path && !afxdp_map_open(xdp, errp)) {
            r = -EINVAL;
        }
    }
    if (!r && !afxdp_check_vlan(xdp, ifindex, errp)) {
        r = -EINVAL;
    }
    if (r) {
        afxdp_forget(xdp);
        return r;
    }
    xdp->ifindex = ifindex;
    if (xdp->prog_link >= 0) {
        QLIST_INSERT_HEAD(&afxdp_attached, xdp, next);
    }
    trace_vhost_dp_afxdp_attach(xdp->parent_obj.id, ifindex, xdp->prog,
                                xdp->native);
    return 0;
}

void vhost_dp_afxdp_prog_detach(VhostDPAfXdp *xdp)
{
    QEMU_LOCK_GUARD(&afxdp_attached_lock);

    if (xdp->prog_link >= 0) {
        QLIST_REMOVE(xdp, next);
    }
    afxdp_forget(xdp);
    xdp->ifindex = 0;
}

int vhost_dp_afxdp_prog_check(VhostDPAfXdp *xdp, int ifindex, Error **errp)
{
    unsigned i;
    int r;

    QEMU_LOCK_GUARD(&xdp->lock);
    if (!afxdp_is_attached(xdp, ifindex)) {
        r = vhost_dp_afxdp_prog_attach(xdp, ifindex, errp);
        if (r) {
            return r;
        }
    } else if (!afxdp_check_vlan(xdp, ifindex, errp)) {
        return -EINVAL;
    }
    for (i = 0; i < xdp->nqueues && !xdp->inhibit; i++) {
        if (xdp->queue[i].ifindex == ifindex &&
            !vhost_dp_afxdp_prog_add(&xdp->queue[i], errp)) {
            return -EINVAL;
        }
    }
    return 0;
}

bool vhost_dp_afxdp_prog_add(AfXdpQueue *q, Error **errp)
{
    ERRP_GUARD();
    VhostDPAfXdp *xdp = q->xdp;
    uint32_t key = xdp->inhibit ? xdp->map_start_index + q->pair :
                                  afxdp_queue_id(q);

    if (xdp->map < 0 ||
        bpf_map_update_elem(xdp->map, &key, &q->fd, BPF_ANY) == 0) {
        return true;
    }
    if (errno == E2BIG && xdp->map_path) {
        error_setg(errp, "map-path=%s: the map has no entry %u",
                   xdp->map_path, key);
        error_append_hint(errp, "Entries from map-start-index= on are used, "
                          "one for each queue pair.\n");
    } else {
        error_setg_errno(errp, errno, "cannot enter the socket of queue %u "
                         "into the map", afxdp_queue_id(q));
    }
    return false;
}
