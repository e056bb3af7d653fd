/* SPDX-License-Identifier: Apache-2.0
 *
 * GETXATTR and LISTXATTR. Size 0 asks for the length.
 */
#include "fuse/native/data_lane/lane_op.h"
#include "specs/native/limits.h"

#include <errno.h>
#include <linux/limits.h>

/* Small values, the rule, stay on the stack of the queue's thread. */
static enum lane_result answer(struct lane_request *r, int n, uint32_t size, const void *value)
{
    if (n < 0)
        return lane_errno(r, -n);
    if (size != 0)
        return lane_body(r, value, (uint32_t)n);
    struct wire_getxattr_out out = {.size = (uint32_t)n};
    return lane_body(r, &out, sizeof out);
}

/* The name behind the argument: a string that ends within the request, or NULL. */
static const char *name_in(const struct lane_request *r)
{
    uint32_t at = IN_HEAD + (uint32_t)sizeof(struct wire_getxattr_in);
    const char *name = (const char *)r->in + at;
    return memchr(name, 0, r->in_len - at) != NULL ? name : NULL;
}

static enum lane_result ask(struct lane *lane, struct lane_request *r, bool may_block, const char *name)
{
    struct wire_getxattr_in arg = LANE_ARG(r, wire_getxattr_in);
    uint32_t size = arg.size < XATTR_LIST_MAX ? arg.size : XATTR_LIST_MAX;
    struct inode_pin pin;
    int rc = inode_pin(&lane->host->inodes, r->header.nodeid, may_block, &pin);
    if (rc < 0)
        return rc == -EAGAIN ? LANE_BLOCK : lane_errno(r, -rc);
    /* Attributes may stand in blocks of their own on a disk. */
    if (!may_block && pin.fs_class != FS_MEMORY) {
        inode_unpin(&lane->host->inodes, &pin);
        return LANE_BLOCK;
    }
    char value[LIMIT_XATTR_VALUE_MAX_BYTES];
    int n = name != NULL ? host_getxattr(lane->host, pin.fd, name, value, size)
                         : host_listxattr(lane->host, pin.fd, value, size);
    inode_unpin(&lane->host->inodes, &pin);
    return answer(r, n, size, value);
}

enum lane_result op_getxattr(struct lane *lane, struct lane_request *r, bool may_block)
{
    const char *name = name_in(r);
    if (name == NULL)
        return lane_errno(r, EINVAL);
    if (name[0] == 0 || strlen(name) > LIMIT_XATTR_NAME_MAX_BYTES)
        return lane_errno(r, ERANGE);
    return ask(lane, r, may_block, name);
}

enum lane_result op_listxattr(struct lane *lane, struct lane_request *r, bool may_block)
{
    return ask(lane, r, may_block, NULL);
}
