/*
 * vhost-dp: expressions that say which frames are meant
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The syntax is that of tcpdump, "tcp port 80".  libpcap compiles an expression
 * to classic BPF and runs it, in this process; no interface is opened.
 */

#ifndef NET_VHOST_DP_DRIVERS_LIB_EXPRESSION_H
#define NET_VHOST_DP_DRIVERS_LIB_EXPRESSION_H

/* An expression sees as many bytes of a frame */
#define VHOST_DP_EXPRESSION_BYTES 256

typedef struct VhostDPExpression VhostDPExpression;

/**
 * vhost_dp_expression_set: compile an option's expression, in check_options
 * @expression: replaced, but if it was made of the same text; NULL: none
 * @option: the name of the option, for errors
 * @text: NULL or "" for none
 *
 * Looks up host names that it contains, which may take long.
 *
 * Lock: BQL.  Returns false with @errp set, and no expression, if there is an
 * error in it, or if QEMU was built without libpcap.
 */
bool vhost_dp_expression_set(VhostDPExpression **expression,
                             const char *option, const char *text,
                             Error **errp);

/* Thread: any.  @expression may be NULL. */
void vhost_dp_expression_free(VhostDPExpression *expression);

/**
 * vhost_dp_expression_matches: is it true of a frame?
 * @head: the first bytes of the frame, which others may be changing
 * @have: how many of them: VHOST_DP_EXPRESSION_BYTES, or all
 * @len: length of the frame
 *
 * An expression that comes to a test of bytes further behind is not true.
 *
 * Thread: any.
 */
bool vhost_dp_expression_matches(const VhostDPExpression *expression,
                                 const uint8_t *head, uint32_t have,
                                 uint32_t len);

#endif /* NET_VHOST_DP_DRIVERS_LIB_EXPRESSION_H */
