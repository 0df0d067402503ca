/*
 * vhost-dp: qtests, a guest whose frames are recorded
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test keeps what it has moved, and compares a recording with that.
 */

#ifndef TESTS_QTEST_VHOST_DP_DUMP_RIG_H
#define TESTS_QTEST_VHOST_DP_DUMP_RIG_H

#include "dump-file.h"
#include "guest.h"

/* A NIC on netdev vd0 and vhost-dp-dump, dump0 */
typedef struct Recording {
    DpRig *r;
    const char *without;        /* the driver below dump0 */
    char *dir, *path;           /* of the file */
    uint64_t start;             /* ns since 1970 */
    GPtrArray *moved;           /* what the file should have */
} Recording;

/* A directory for files, and its removal with what is in it */
char *dump_dir_new(void);
void dump_dir_free(char *dir);

/* Skips the test, and returns false, if QEMU has no libpcap */
bool dump_has_expressions(void);

/* @options of dump0, besides its file; or NULL */
Recording *recording_new(DpSetup setup, const char *options, bool vnet_hdr);

/* The same with driver drv0 of a row of the table, or a tap if there is none */
Recording *recording_new_on(const DpDriver *driver, const char *options);

/* Ends QEMU, if that has not been done */
void recording_free(Recording *rec);

/* Note that frame @rec->r->frame has moved, or these bytes */
void recording_moved(Recording *rec, bool tx, unsigned pair, size_t len);
void recording_moved_bytes(Recording *rec, bool tx, unsigned pair,
                           const uint8_t *bytes, size_t len);

/* Move a made-up frame from the guest, or to it, and note that */
void recording_transmit(Recording *rec, unsigned pair, size_t len,
                        unsigned seed);
void recording_receive(Recording *rec, size_t len, unsigned seed);

/* Take the filter out, and delete it */
void recording_end(Recording *rec);

/* A counter of dump0, which is on top */
uint64_t recording_counter(Recording *rec, const char *name);

/* What query-vhost-dp says why it does no more, or NULL */
char *recording_error(Recording *rec);

/*
 * The file has what was noted from number @first on, and nothing else but what
 * the kernel sends by itself.  Returns how many that are.
 */
unsigned recording_check(Recording *rec, const DumpFile *file, unsigned first);

/* End it, and check its one file, which has to be whole */
void recording_check_all(Recording *rec);

#endif
