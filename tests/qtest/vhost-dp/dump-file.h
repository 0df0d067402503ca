/*
 * vhost-dp: qtests, a reader of pcapng files
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It knows as much of draft-ietf-opsawg-pcapng as vhost-dp-dump writes, and the
 * test fails on anything else.
 */

#ifndef TESTS_QTEST_VHOST_DP_DUMP_FILE_H
#define TESTS_QTEST_VHOST_DP_DUMP_FILE_H

/* Bits of the flags of a frame (section 4.3.1) */
#define DUMP_INBOUND            0x001u
#define DUMP_OUTBOUND           0x002u
#define DUMP_CHECKSUM_PARTIAL   0x200u
#define DUMP_CHECKSUM_VALID     0x400u
#define DUMP_SEGMENTATION       0x800u

typedef struct DumpFrame {
    uint64_t time;              /* ns since 1970 */
    uint32_t len;
    uint32_t kept;
    uint8_t *bytes;             /* @kept of them */
    uint32_t flags;
    uint32_t queue;
    char *comment;              /* or NULL */
} DumpFrame;

typedef struct DumpFile {
    char *application, *name, *description;
    char *expression;           /* or NULL */
    uint32_t snaplen;
    GPtrArray *frames;          /* of DumpFrame */

    bool has_stats;             /* at its end */
    uint64_t start, end;        /* ns since 1970 */
    uint64_t seen, lost, matched;

    size_t size;                /* bytes of the file */
} DumpFile;

DumpFile *dump_file_read(const char *path);
void dump_file_free(DumpFile *file);

static inline const DumpFrame *dump_frame(const DumpFile *file, unsigned i)
{
    g_assert_cmpuint(i, <, file->frames->len);
    return g_ptr_array_index(file->frames, i);
}

#endif
