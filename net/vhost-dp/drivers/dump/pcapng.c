/*
 * vhost-dp-dump: the file format pcapng
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a block is its type, its length, a body, options, and
 * its length again.  An option is a code, a length, and a value that is padded
 * to four bytes, as is the data of a frame.
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/virtio_net.h"
#include "pcapng.h"

/* Types of blocks */
enum {
    BLOCK_SECTION = 0x0a0d0d0a,
    BLOCK_INTERFACE = 1,
    BLOCK_STATISTICS = 5,
    BLOCK_PACKET = 6,
};

/* Codes of options; others than the first two depend on the block */
enum {
    OPTION_END = 0,
    OPTION_COMMENT = 1,
    SECTION_APPLICATION = 4,
    INTERFACE_NAME = 2,
    INTERFACE_DESCRIPTION = 3,
    INTERFACE_TIME_UNIT = 9,
    INTERFACE_EXPRESSION = 11,
    INTERFACE_FCS_LEN = 13,
    PACKET_FLAGS = 2,
    PACKET_QUEUE = 6,
    STATISTICS_START = 2,
    STATISTICS_END = 3,
    STATISTICS_SEEN = 4,
    STATISTICS_LOST = 5,
    STATISTICS_MATCHED = 6,
};

#define SECTION_MAGIC 0x1a2b3c4d
#define SECTION_LENGTH_UNKNOWN UINT64_MAX
#define LINKTYPE_ETHERNET 1
#define TIME_UNIT_NS 9
#define EXPRESSION_IS_TEXT 0

/* Bits of PACKET_FLAGS */
#define FLAG_INBOUND            (1u << 0)
#define FLAG_OUTBOUND           (2u << 0)
#define FLAG_CHECKSUM_PARTIAL   (1u << 9)
#define FLAG_CHECKSUM_VALID     (1u << 10)
#define FLAG_SEGMENTATION       (1u << 11)

/* ---- Blocks ---- */

static void put(GByteArray *out, const void *p, size_t len)
{
    g_byte_array_append(out, p, len);
}

static void put16(GByteArray *out, uint16_t value)
{
    put(out, &value, sizeof(value));
}

static void put32(GByteArray *out, uint32_t value)
{
    put(out, &value, sizeof(value));
}

static void put_padding(GByteArray *out, size_t len)
{
    static const uint8_t zero[3];

    put(out, zero, -len % 4);
}

static void put_option(GByteArray *out, uint16_t code, const void *value,
                       size_t len)
{
    len = MIN(len, UINT16_MAX);
    put16(out, code);
    put16(out, len);
    put(out, value, len);
    put_padding(out, len);
}

static void put_option32(GByteArray *out, uint16_t code, uint32_t value)
{
    put_option(out, code, &value, sizeof(value));
}

static void put_option64(GByteArray *out, uint16_t code, uint64_t value)
{
    put_option(out, code, &value, sizeof(value));
}

/* A time is two words, the upper one first */
static void put_time(GByteArray *out, uint64_t ns)
{
    put32(out, ns >> 32);
    put32(out, ns);
}

static void put_option_time(GByteArray *out, uint16_t code, uint64_t ns)
{
    uint32_t words[] = { ns >> 32, ns };

    put_option(out, code, words, sizeof(words));
}

static void put_option_text(GByteArray *out, uint16_t code, const char *text)
{
    put_option(out, code, text, strlen(text));
}

/* Returns where the block begins, for block_end() */
static size_t block_begin(GByteArray *out, uint32_t type)
{
    size_t at = out->len;

    put32(out, type);
    put32(out, 0);
    return at;
}

static void block_end(GByteArray *out, size_t at)
{
    uint32_t len;

    put_option(out, OPTION_END, NULL, 0);
    len = out->len + sizeof(len) - at;
    put32(out, len);
    memcpy(out->data + at + 4, &len, sizeof(len));
}

size_t vhost_dp_pcapng_whole(const GByteArray *out, size_t len,
                             uint64_t *frames)
{
    uint32_t block[2];          /* its type and length */
    size_t whole = 0;

    *frames = 0;
    while (whole + sizeof(block) <= len) {
        memcpy(block, out->data + whole, sizeof(block));
        if (block[1] > len - whole) {
            break;
        }
        *frames += block[0] == BLOCK_PACKET;
        whole += block[1];
    }
    return whole;
}

/* ---- The file ---- */

void vhost_dp_pcapng_begin(GByteArray *out, const VhostDPPcapngHeader *header)
{
    static const uint8_t time_unit = TIME_UNIT_NS;
    static const uint8_t fcs_len;
    uint64_t length = SECTION_LENGTH_UNKNOWN;
    size_t at = block_begin(out, BLOCK_SECTION);

    put32(out, SECTION_MAGIC);
    put16(out, 1);              /* the version: 1.0 */
    put16(out, 0);
    put(out, &length, sizeof(length));
    put_option_text(out, SECTION_APPLICATION, header->application);
    block_end(out, at);

    at = block_begin(out, BLOCK_INTERFACE);
    put16(out, LINKTYPE_ETHERNET);
    put16(out, 0);
    put32(out, header->snaplen);
    put_option_text(out, INTERFACE_NAME, header->name);
    put_option_text(out, INTERFACE_DESCRIPTION, header->description);
    put_option(out, INTERFACE_TIME_UNIT, &time_unit, 1);
    if (header->expression) {
        g_autofree char *text = g_strdup_printf("%c%s", EXPRESSION_IS_TEXT,
                                                header->expression);

        put_option(out, INTERFACE_EXPRESSION, text,
                   1 + strlen(header->expression));
    }
    put_option(out, INTERFACE_FCS_LEN, &fcs_len, 1);
    block_end(out, at);
}

static const char *segmentation_name(uint8_t gso_type)
{
    switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6:
        return "TCP segmentation";
    case VIRTIO_NET_HDR_GSO_UDP:
        return "UDP fragmentation";
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return "UDP segmentation";
    default:
        return "segmentation";
    }
}

static uint32_t frame_flags(const VhostDPDumpRecord *r)
{
    uint32_t flags = r->tx ? FLAG_OUTBOUND : FLAG_INBOUND;

    if (r->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        flags |= FLAG_CHECKSUM_PARTIAL;
    }
    if (r->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
        flags |= FLAG_CHECKSUM_VALID;
    }
    if (r->gso_type) {
        flags |= FLAG_SEGMENTATION;
    }
    return flags;
}

/* What is not as it would be on a wire */
static void put_comment(GByteArray *out, const VhostDPDumpRecord *r)
{
    char text[160];
    int len = 0;

    if (r->gso_type) {
        len += snprintf(text, sizeof(text), "%s offload: to be cut into "
                        "segments with %u bytes of data",
                        segmentation_name(r->gso_type), r->gso_size);
    }
    if (r->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        len += snprintf(text + len, sizeof(text) - len, "%schecksum offload: "
                        "the checksum at byte %u is not computed yet",
                        len ? "; " : "", r->csum_start + r->csum_offset);
    }
    if (len) {
        put_option(out, OPTION_COMMENT, text, len);
    }
}

void vhost_dp_pcapng_frame(GByteArray *out, const VhostDPDumpRecord *record,
                           unsigned pair)
{
    size_t at = block_begin(out, BLOCK_PACKET);

    put32(out, 0);              /* the interface */
    put_time(out, record->time);
    put32(out, record->kept);
    put32(out, record->len);
    put(out, record + 1, record->kept);
    put_padding(out, record->kept);
    put_option32(out, PACKET_FLAGS, frame_flags(record));
    put_option32(out, PACKET_QUEUE, pair);
    put_comment(out, record);
    block_end(out, at);
}

void vhost_dp_pcapng_end(GByteArray *out, const VhostDPPcapngStats *stats)
{
    size_t at = block_begin(out, BLOCK_STATISTICS);

    put32(out, 0);              /* the interface */
    put_time(out, stats->end);
    put_option_time(out, STATISTICS_START, stats->start);
    put_option_time(out, STATISTICS_END, stats->end);
    put_option64(out, STATISTICS_SEEN, stats->seen);
    put_option64(out, STATISTICS_LOST, stats->lost);
    put_option64(out, STATISTICS_MATCHED, stats->matched);
    block_end(out, at);
    g_assert(out->len - at == VHOST_DP_PCAPNG_END_BYTES);
}
