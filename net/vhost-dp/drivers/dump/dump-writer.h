/*
 * vhost-dp-dump: the thread that writes files
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A writer is one recording.  It takes frames from the rings of all queue pairs
 * and writes them to a file, or to several in turn.  When a file cannot be
 * written to the recording has ended, and nothing else happens.
 */

#ifndef NET_VHOST_DP_DRIVERS_DUMP_WRITER_H
#define NET_VHOST_DP_DRIVERS_DUMP_WRITER_H

#include "dump-ring.h"

typedef struct VhostDPDumpWriter VhostDPDumpWriter;

/* What to write where; strings are copied */
typedef struct VhostDPDumpTarget {
    const char *id;             /* of the object */
    const char *description;    /* of the interface */
    const char *path;           /* or NULL */
    int fd;                     /* if there is no path; not closed */
    unsigned files;             /* more than one: they are used in turn */
    uint64_t file_size;         /* bytes, 0: no limit */
    uint32_t snaplen;
    const char *expression;     /* or NULL */
} VhostDPDumpTarget;

/**
 * vhost_dp_dump_writer_new: begin a recording
 *
 * Opens the first file, and does not wait for its reader if it has one.
 *
 * Lock: BQL.  Returns NULL with @errp set.
 */
VhostDPDumpWriter *vhost_dp_dump_writer_new(const VhostDPDumpTarget *target,
                                            Error **errp);

/**
 * vhost_dp_dump_writer_free: write what is in the rings, and end
 *
 * Waits for the disk, but not for the reader of a pipe.  The rings are freed.
 * @writer may be NULL.
 *
 * Lock: BQL.  Nobody puts frames into the rings any more.
 */
void vhost_dp_dump_writer_free(VhostDPDumpWriter *writer);

/**
 * vhost_dp_dump_writer_ring: the ring of a queue pair
 * @size: as of vhost_dp_dump_ring_new(), if it is not there yet
 *
 * Lock: BQL.  Returns NULL with @errp set if there is no memory.
 */
VhostDPDumpRing *vhost_dp_dump_writer_ring(VhostDPDumpWriter *writer,
                                           unsigned pair, uint64_t size,
                                           Error **errp);

/**
 * vhost_dp_dump_writer_notify: frames of @ring were published
 *
 * Wakes the writer up if it has to be.  It does not wait.  Thread: IOThread.
 */
void vhost_dp_dump_writer_notify(VhostDPDumpWriter *writer,
                                 const VhostDPDumpRing *ring);

/* Has the recording ended?  Thread: any. */
bool vhost_dp_dump_writer_has_ended(const VhostDPDumpWriter *writer);

/* Why, for people; or NULL while it has not.  Thread: any. */
const char *vhost_dp_dump_writer_reason(const VhostDPDumpWriter *writer);

/* What was counted so far.  @head of @frames has no meaning.  Thread: any. */
typedef struct VhostDPDumpCounters {
    VhostDPDumpMark frames;
    uint64_t bytes;             /* written */
    uint64_t files;             /* begun */
    uint64_t errors;            /* writes that failed */
} VhostDPDumpCounters;

void vhost_dp_dump_writer_count(const VhostDPDumpWriter *writer,
                                VhostDPDumpCounters *counters);

/* ns since 1970, as in records.  Thread: any. */
uint64_t vhost_dp_dump_now(void);

#endif /* NET_VHOST_DP_DRIVERS_DUMP_WRITER_H */
