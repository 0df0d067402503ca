/*
 * vhost-dp: qtests, the guest's side of an IOMMU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One interface to intel-iommu and virtio-iommu, for one device behind either,
 * and to amd-iommu as far as mapping and unmapping goes.
 * The test is the guest: it writes the tables, and tells the IOMMU, as the
 * guest's kernel would.  All functions return when the IOMMU is done, so what
 * an unmap forbade the device must not do any more.
 */

#ifndef TESTS_QTEST_VHOST_DP_IOMMU_H
#define TESTS_QTEST_VHOST_DP_IOMMU_H

#include "guest.h"

#define DP_PAGE_SIZE 4096u

typedef enum DpIommuKind {
    DP_VTD,
    DP_VIRTIO_IOMMU,
    DP_IOMMU_KINDS,
    /* Tells nobody what is unmapped: not for tests that rely on that */
    DP_AMD_IOMMU = DP_IOMMU_KINDS,
} DpIommuKind;

/* What the device may do; both may be set */
enum { DP_MAP_READ = 1, DP_MAP_WRITE = 2, DP_MAP_BOTH = 3 };

typedef struct DpIommu DpIommu;

/* The device that is put in front of the NICs on QEMU's command line */
const char *dp_iommu_options(DpIommuKind kind);

/**
 * dp_iommu_new: set the IOMMU up, with nothing mapped, for one device
 * @bdf: the device: its bus in the upper 8 bits, its slot and function
 */
DpIommu *dp_iommu_new(DpGuest *guest, DpIommuKind kind, uint16_t bdf);
void dp_iommu_free(DpIommu *iommu);

/* Another device that has the same mappings */
void dp_iommu_add(DpIommu *iommu, uint16_t bdf);

/**
 * dp_iommu_map: let the device use @size bytes, page by page
 *
 * They must not be mapped yet.  Nothing is invalidated.
 */
void dp_iommu_map(DpIommu *iommu, uint64_t iova, uint64_t gpa, size_t size,
                  unsigned access);

/* The same in one piece, which cannot be changed in part */
void dp_iommu_map_range(DpIommu *iommu, uint64_t iova, uint64_t gpa,
                        size_t size, unsigned access);

/* And forbid it again */
void dp_iommu_unmap(DpIommu *iommu, uint64_t iova, size_t size);

/*
 * Let the page at @iova be another one from now on.  There is no moment
 * without a translation.
 */
void dp_iommu_remap(DpIommu *iommu, uint64_t iova, uint64_t gpa,
                    unsigned access);

/*
 * Forget all translations at once, without a change.  virtio-iommu has
 * nothing of that kind, and does nothing.
 */
void dp_iommu_invalidate_all(DpIommu *iommu);

/* The devices may, or may not, pass: addresses are guest-physical then */
void dp_iommu_set_bypass(DpIommu *iommu, bool bypass);

/* The same by switching the IOMMU as such off and on */
void dp_iommu_set_global_bypass(DpIommu *iommu, bool bypass);

/**
 * dp_iommu_get_fault: take a fault off the IOMMU
 *
 * Returns false if it has reported none since the last call.
 */
bool dp_iommu_get_fault(DpIommu *iommu, uint64_t *iova);

/*
 * intel-iommu: are invalidations for the device's own cache (ATS), for the
 * IOMMU's, or for both?  At first for the IOMMU's.
 */
enum { DP_VTD_IOTLB = 1, DP_VTD_DEVICE_IOTLB = 2 };
void dp_vtd_set_invalidate(DpIommu *iommu, unsigned which);

/* What a kind of IOMMU implements */
typedef struct DpIommuOps {
    void (*init)(DpIommu *iommu);
    void (*fini)(DpIommu *iommu);
    void (*add)(DpIommu *iommu, uint16_t bdf);
    void (*map)(DpIommu *iommu, uint64_t iova, uint64_t gpa, size_t size,
                unsigned access);
    /* One page that is mapped.  @access of 0 unmaps. */
    void (*set)(DpIommu *iommu, uint64_t iova, uint64_t gpa, unsigned access);
    void (*invalidate)(DpIommu *iommu, uint64_t iova);
    void (*invalidate_all)(DpIommu *iommu);
    void (*set_bypass)(DpIommu *iommu, bool bypass);
    void (*set_global_bypass)(DpIommu *iommu, bool bypass);
    bool (*get_fault)(DpIommu *iommu, uint64_t *iova);
} DpIommuOps;

struct DpIommu {
    const DpIommuOps *ops;
    DpGuest *guest;
    GArray *bdf;                /* uint16_t */

    /* intel-iommu; amd-iommu, but for @status, @serial and @which */
    uint64_t root, directory, queue, status;
    unsigned tail;
    uint32_t serial;
    unsigned which;             /* DP_VTD_* */
    uint64_t pool, pool_end;    /* pages for tables */

    /* virtio-iommu */
    DpNic *nic;
    uint64_t request, event;    /* memory for them */
};

extern const DpIommuOps dp_vtd_ops;
extern const DpIommuOps dp_virtio_iommu_ops;
extern const DpIommuOps dp_amd_iommu_ops;

#endif
