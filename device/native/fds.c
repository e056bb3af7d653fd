/* SPDX-License-Identifier: Apache-2.0 */
#include "fds.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

uint32_t fds_open(uint32_t beyond, int32_t *out)
{
    uint32_t count = 0;
    for (uint32_t fd = 0; fd < beyond; fd++)
        if (fcntl((int)fd, F_GETFD) >= 0)
            out[count++] = (int32_t)fd;
    return count;
}

static bool among(const struct stat *found, const struct file_identity *files, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (files[i].dev == found->st_dev && files[i].ino == found->st_ino)
            return true;
    return false;
}

void fds_leading_to(const int32_t *fds, uint32_t count, const struct file_identity *files, uint32_t files_count, uint8_t *hits)
{
    struct stat found;
    for (uint32_t i = 0; i < count; i++)
        hits[i] = fstat(fds[i], &found) == 0 && among(&found, files, files_count);
}
