/*
 * vhost-dp: expressions, in a QEMU that was built without libpcap
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "expression.h"

bool vhost_dp_expression_set(VhostDPExpression **expression,
                             const char *option, const char *text,
                             Error **errp)
{
    if (text && *text) {
        error_setg(errp, "%s=%s: QEMU was built without libpcap, which it "
                   "takes to understand expressions", option, text);
        return false;
    }
    return true;
}

void vhost_dp_expression_free(VhostDPExpression *expression)
{
}

bool vhost_dp_expression_matches(const VhostDPExpression *expression,
                                 const uint8_t *head, uint32_t have,
                                 uint32_t len)
{
    g_assert_not_reached();
}
