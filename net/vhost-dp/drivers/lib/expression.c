/*
 * vhost-dp: expressions that say which frames are meant
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a program does not change once it was compiled, so all
 * queue pairs can run it at the same time.  It cannot loop, and each of its
 * loads is checked against the length, not against what was read before: so
 * memory that changes meanwhile leads to a wrong answer at worst.
 */

#include "qemu/osdep.h"
#include <pcap/pcap.h>
#include "qapi/error.h"
#include "expression.h"

struct VhostDPExpression {
    char *text;
    struct bpf_program program;
};

/* From here on, loads are not from the frame but ask the kernel about it */
#define BPF_KERNEL_OFFSET 0xfffff000u

static bool asks_kernel(const struct bpf_program *program)
{
    unsigned i;

    for (i = 0; i < program->bf_len; i++) {
        const struct bpf_insn *insn = &program->bf_insns[i];

        if (BPF_CLASS(insn->code) == BPF_LD &&
            BPF_MODE(insn->code) == BPF_ABS && insn->k >= BPF_KERNEL_OFFSET) {
            return true;
        }
    }
    return false;
}

static VhostDPExpression *expression_new(const char *option, const char *text,
                                         Error **errp)
{
    ERRP_GUARD();
    VhostDPExpression *e = g_new0(VhostDPExpression, 1);
    pcap_t *pcap = pcap_open_dead(DLT_EN10MB, VHOST_DP_EXPRESSION_BYTES);

    e->text = g_strdup(text);
    if (!pcap) {
        error_setg(errp, "%s=%s: libpcap has no memory", option, text);
    } else if (pcap_compile(pcap, &e->program, text, true,
                            PCAP_NETMASK_UNKNOWN) < 0) {
        error_setg(errp, "%s=%s: %s", option, text, pcap_geterr(pcap));
        error_append_hint(errp, "The syntax is that of tcpdump: see "
                          "pcap-filter(7).\n");
    } else if (!bpf_validate(e->program.bf_insns, e->program.bf_len)) {
        error_setg(errp, "%s=%s: the program that libpcap made of it is not "
                   "valid", option, text);
    } else if (asks_kernel(&e->program)) {
        error_setg(errp, "%s=%s: 'inbound', 'outbound' and 'ifindex' are not "
                   "in the frame, and cannot be used here", option, text);
    }
    if (pcap) {
        pcap_close(pcap);
    }
    if (*errp) {
        g_clear_pointer(&e, vhost_dp_expression_free);
    }
    return e;
}

bool vhost_dp_expression_set(VhostDPExpression **expression,
                             const char *option, const char *text,
                             Error **errp)
{
    text = text && *text ? text : NULL;
    if (text && *expression && !strcmp((*expression)->text, text)) {
        return true;
    }
    g_clear_pointer(expression, vhost_dp_expression_free);
    if (text) {
        *expression = expression_new(option, text, errp);
    }
    return !text || *expression;
}

void vhost_dp_expression_free(VhostDPExpression *expression)
{
    if (expression) {
        pcap_freecode(&expression->program);
        g_free(expression->text);
        g_free(expression);
    }
}

bool vhost_dp_expression_matches(const VhostDPExpression *expression,
                                 const uint8_t *head, uint32_t have,
                                 uint32_t len)
{
    return bpf_filter(expression->program.bf_insns, head, len, have) != 0;
}
