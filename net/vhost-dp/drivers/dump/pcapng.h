/*
 * vhost-dp-dump: the file format pcapng
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The format is that of draft-ietf-opsawg-pcapng.  A file is one section, in
 * the host's byte order, of one interface.  Each function appends whole blocks
 * to a buffer.
 */

#ifndef NET_VHOST_DP_DRIVERS_DUMP_PCAPNG_H
#define NET_VHOST_DP_DRIVERS_DUMP_PCAPNG_H

#include "dump-ring.h"

/* What a file says of itself */
typedef struct VhostDPPcapngHeader {
    const char *application;
    const char *name;           /* of the interface */
    const char *description;
    const char *expression;     /* in libpcap's syntax, or NULL */
    uint32_t snaplen;
} VhostDPPcapngHeader;

/* What was counted since the recording began, and when that was */
typedef struct VhostDPPcapngStats {
    uint64_t start, end;        /* ns since 1970 */
    uint64_t seen;
    uint64_t matched;           /* of these, the expression */
    uint64_t lost;              /* of these, for want of room */
} VhostDPPcapngStats;

/* How many bytes vhost_dp_pcapng_end() appends */
#define VHOST_DP_PCAPNG_END_BYTES 88

/* The blocks in front of all frames.  Thread: any. */
void vhost_dp_pcapng_begin(GByteArray *out, const VhostDPPcapngHeader *header);

/**
 * vhost_dp_pcapng_frame: append a frame
 * @record: followed by its bytes
 * @pair: index of the queue pair
 *
 * Thread: any.
 */
void vhost_dp_pcapng_frame(GByteArray *out, const VhostDPDumpRecord *record,
                           unsigned pair);

/* The block behind all frames.  Thread: any. */
void vhost_dp_pcapng_end(GByteArray *out, const VhostDPPcapngStats *stats);

/**
 * vhost_dp_pcapng_whole: how many of the first @len bytes are whole blocks
 * @out: begins with a block
 * @frames: set to how many of them are frames
 *
 * Thread: any.
 */
size_t vhost_dp_pcapng_whole(const GByteArray *out, size_t len,
                             uint64_t *frames);

#endif /* NET_VHOST_DP_DRIVERS_DUMP_PCAPNG_H */
