/*
 * vhost-dp-af-packet: which queue pair gets a frame
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: several packet sockets are a fanout group, in which each
 * frame goes to one of them.  A program of classic BPF, which the kernel runs
 * for each frame, chooses the socket: a hash of addresses and ports, so that
 * flows stay in order, modulo the number of pairs that the guest uses.  The
 * kernel's own PACKET_FANOUT_HASH cannot leave out the pairs that the guest
 * does not use.  Fragments are hashed by addresses alone, because only the
 * first fragment of a datagram has ports.  The kernel could put fragments
 * together (PACKET_FANOUT_FLAG_DEFRAG), but then the guest would not get what
 * was on the wire.
 *
 * The members of a group keep their order when the interface goes down and up
 * again: the kernel then takes them in the order in which they were made.
 */

#include "qemu/osdep.h"
#include <linux/filter.h>
#include <linux/if_ether.h>
#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "qemu/lockable.h"
#include "qapi/error.h"
#include "af-packet-int.h"
#include "trace.h"

/* Linux 6.2; kernels that do not know it ignore it */
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif

/* ---- A program with labels ---- */

/* Where a jump can go.  All jumps of classic BPF go forward. */
typedef enum FanoutLabel {
    FANOUT_NEXT,                /* the next instruction: no jump */
    FANOUT_IPV4,
    FANOUT_IPV4_PORTS,
    FANOUT_IPV6,
    FANOUT_IPV6_PORTS,
    FANOUT_ADD_PORTS,           /* the ports are in M[1] and A */
    FANOUT_MIX,                 /* the hash is in M[0] */
    FANOUT_UNKNOWN,             /* nothing can be said of the frame */
    FANOUT_LABELS,
} FanoutLabel;

/* Until fanout_link(), jumps have labels in place of distances */
typedef struct FanoutProgram {
    struct sock_filter insn[64];
    uint16_t n;
    uint16_t label[FANOUT_LABELS];      /* number of the instruction there */
} FanoutProgram;

static void fanout_branch(FanoutProgram *p, uint16_t code, uint32_t k,
                          FanoutLabel if_true, FanoutLabel if_false)
{
    assert(p->n < ARRAY_SIZE(p->insn));
    p->insn[p->n++] = (struct sock_filter) BPF_JUMP(code, k, if_true, if_false);
}

static void fanout_emit(FanoutProgram *p, uint16_t code, uint32_t k)
{
    fanout_branch(p, code, k, FANOUT_NEXT, FANOUT_NEXT);
}

static void fanout_goto(FanoutProgram *p, FanoutLabel label)
{
    fanout_emit(p, BPF_JMP | BPF_JA, label);
}

/* The instruction that is emitted next has this label */
static void fanout_place(FanoutProgram *p, FanoutLabel label)
{
    p->label[label] = p->n;
}

static unsigned fanout_distance(const FanoutProgram *p, unsigned from,
                                FanoutLabel label)
{
    if (label == FANOUT_NEXT) {
        return 0;
    }
    assert(p->label[label] > from);
    return p->label[label] - from - 1;
}

static void fanout_link(FanoutProgram *p)
{
    unsigned i;

    for (i = 0; i < p->n; i++) {
        struct sock_filter *insn = &p->insn[i];

        if (insn->code == (BPF_JMP | BPF_JA)) {
            insn->k = fanout_distance(p, i, insn->k);
        } else if (BPF_CLASS(insn->code) == BPF_JMP) {
            insn->jt = fanout_distance(p, i, insn->jt);
            insn->jf = fanout_distance(p, i, insn->jf);
        }
    }
}

/* ---- The program ---- */

/* Offsets from the start of the IP header, and of what the kernel knows */
#define NET(offset) ((uint32_t)SKF_NET_OFF + (offset))
#define AUX(offset) ((uint32_t)SKF_AD_OFF + (offset))

/* Size of a load from a fixed offset, and from one plus X */
#define LOAD(size) (BPF_LD | (size) | BPF_ABS)
#define LOAD_X(size) (BPF_LD | (size) | BPF_IND)

/* M[0] = the sum of @n words of the IP header from @offset on */
static void fanout_sum_words(FanoutProgram *p, unsigned offset, unsigned n)
{
    unsigned i;

    fanout_emit(p, LOAD(BPF_W), NET(offset));
    for (i = 1; i < n; i++) {
        fanout_emit(p, BPF_MISC | BPF_TAX, 0);
        fanout_emit(p, LOAD(BPF_W), NET(offset + 4 * i));
        fanout_emit(p, BPF_ALU | BPF_ADD | BPF_X, 0);
    }
    fanout_emit(p, BPF_ST, 0);
}

/* Protocols whose first words are the ports; @offset: of the protocol */
static void fanout_check_protocol(FanoutProgram *p, unsigned offset,
                                  FanoutLabel ports)
{
    fanout_emit(p, LOAD(BPF_B), NET(offset));
    fanout_branch(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, ports,
                  FANOUT_NEXT);
    fanout_branch(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, ports,
                  FANOUT_MIX);
}

static void fanout_ipv4(FanoutProgram *p)
{
    fanout_place(p, FANOUT_IPV4);
    fanout_sum_words(p, 12, 2);
    fanout_emit(p, LOAD(BPF_H), NET(6));
    fanout_branch(p, BPF_JMP | BPF_JSET | BPF_K, 0x3fff, FANOUT_MIX,
                  FANOUT_NEXT);
    fanout_check_protocol(p, 9, FANOUT_IPV4_PORTS);

    /* X = the length of the header */
    fanout_place(p, FANOUT_IPV4_PORTS);
    fanout_emit(p, BPF_LDX | BPF_B | BPF_MSH, NET(0));
    fanout_emit(p, LOAD_X(BPF_H), NET(0));
    fanout_emit(p, BPF_ST, 1);
    fanout_emit(p, LOAD_X(BPF_H), NET(2));
    fanout_goto(p, FANOUT_ADD_PORTS);
}

static void fanout_ipv6(FanoutProgram *p)
{
    fanout_place(p, FANOUT_IPV6);
    fanout_sum_words(p, 8, 8);
    fanout_check_protocol(p, 6, FANOUT_IPV6_PORTS);

    fanout_place(p, FANOUT_IPV6_PORTS);
    fanout_emit(p, LOAD(BPF_H), NET(40));
    fanout_emit(p, BPF_ST, 1);
    fanout_emit(p, LOAD(BPF_H), NET(42));
}

/* M[0] += M[1] + A */
static void fanout_add_ports(FanoutProgram *p)
{
    fanout_place(p, FANOUT_ADD_PORTS);
    fanout_emit(p, BPF_LDX | BPF_W | BPF_MEM, 1);
    fanout_emit(p, BPF_ALU | BPF_ADD | BPF_X, 0);
    fanout_emit(p, BPF_LDX | BPF_W | BPF_MEM, 0);
    fanout_emit(p, BPF_ALU | BPF_ADD | BPF_X, 0);
    fanout_emit(p, BPF_ST, 0);
}

/* Return M[0] modulo @npairs, mixed so that neighbours are spread */
static void fanout_return_pair(FanoutProgram *p, unsigned npairs)
{
    fanout_place(p, FANOUT_MIX);
    fanout_emit(p, BPF_LD | BPF_W | BPF_MEM, 0);
    fanout_emit(p, BPF_ALU | BPF_MUL | BPF_K, 0x9e3779b1);
    /* The upper bits are the best */
    fanout_emit(p, BPF_ALU | BPF_RSH | BPF_K, 16);
    fanout_emit(p, BPF_ALU | BPF_MOD | BPF_K, npairs);
    fanout_emit(p, BPF_RET | BPF_A, 0);
}

/*
 * The first pair gets frames of which nothing can be said.  So it does those
 * that are too short: a load beyond the end of a frame ends the program with 0.
 */
static void fanout_make_program(FanoutProgram *p, unsigned npairs)
{
    p->n = 0;
    fanout_emit(p, LOAD(BPF_W), AUX(SKF_AD_PROTOCOL));
    fanout_branch(p, BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, FANOUT_IPV4,
                  FANOUT_NEXT);
    fanout_branch(p, BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, FANOUT_IPV6,
                  FANOUT_UNKNOWN);
    fanout_ipv4(p);
    fanout_ipv6(p);
    fanout_add_ports(p);
    fanout_return_pair(p, npairs);
    fanout_place(p, FANOUT_UNKNOWN);
    fanout_emit(p, BPF_RET | BPF_K, 0);
    fanout_link(p);
}

static bool fanout_set_program(int fd, unsigned npairs, Error **errp)
{
    FanoutProgram p;
    struct sock_fprog program = { .filter = p.insn };

    fanout_make_program(&p, npairs);
    program.len = p.n;
    if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, &program,
                   sizeof(program)) < 0) {
        error_setg_errno(errp, errno, "cannot set PACKET_FANOUT_DATA");
        return false;
    }
    return true;
}

/* ---- The group ---- */

/* How many pairs, from the first on, the guest uses.  Lock: afp->lock. */
static unsigned fanout_active_pairs(const VhostDPAfPacket *afp)
{
    return MAX(1, MIN(afp->nqueues, cto64(afp->active)));
}

static bool fanout_update(VhostDPAfPacket *afp, int fd, Error **errp)
{
    QEMU_LOCK_GUARD(&afp->lock);
    return fanout_set_program(fd, fanout_active_pairs(afp), errp);
}

void vhost_dp_afp_update_pairs(VhostDPAfPacket *afp)
{
    fanout_update(afp, afp->queue[0].sock.fd, NULL);
}

bool vhost_dp_afp_join_fanout(VhostDPAfPacket *afp, const AfpSocket *s,
                              unsigned n, Error **errp)
{
    uint32_t type = PACKET_FANOUT_CBPF | PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
    uint32_t arg = (type | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
    socklen_t len = sizeof(arg);
    unsigned i;

    for (i = 0; i < n; i++) {
        if (setsockopt(s[i].fd, SOL_PACKET, PACKET_FANOUT, &arg,
                       sizeof(arg)) < 0) {
            error_setg_errno(errp, errno, "cannot set PACKET_FANOUT");
            return false;
        }
        if (i == 0) {
            if (getsockopt(s[0].fd, SOL_PACKET, PACKET_FANOUT, &arg,
                           &len) < 0) {
                error_setg_errno(errp, errno, "cannot get PACKET_FANOUT");
                return false;
            }
            arg = (type << 16) | (arg & 0xffff);
        }
    }
    return fanout_update(afp, s[0].fd, errp);
}

void vhost_dp_afp_set_active(VhostDPAfPacket *afp, unsigned pair,
                             bool active)
{
    unsigned before, after;

    QEMU_LOCK_GUARD(&afp->lock);
    before = fanout_active_pairs(afp);
    afp->active = deposit64(afp->active, pair, 1, active);
    after = fanout_active_pairs(afp);
    if (afp->nqueues == 1 || before == after) {
        return;
    }
    trace_vhost_dp_af_packet_pairs(afp->parent_obj.id, after);
    /* A failure leaves the old program: the engine moves what comes by it */
    fanout_set_program(afp->queue[pair].sock.fd, after, NULL);
}
