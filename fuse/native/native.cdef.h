/* What Python sees of fuse/native; cffi compares every struct with the compiler's when the module is imported. */

struct wire_attr {
    uint64_t ino;
    uint64_t size;
    uint64_t blocks;
    uint64_t atime;
    uint64_t mtime;
    uint64_t ctime;
    uint32_t atimensec;
    uint32_t mtimensec;
    uint32_t ctimensec;
    uint32_t mode;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint32_t rdev;
    uint32_t blksize;
    uint32_t flags;
};

#define FOUND_MOUNT_ROOT 1
#define FOUND_SUBMOUNT 2

struct found {
    int32_t fd;
    int32_t error;
    int32_t handle_type;
    uint32_t handle_len;
    uint32_t mode;
    uint32_t flags;
    uint32_t btime_nsec;
    uint32_t btime_known;
    int64_t btime_sec;
    uint64_t dev;
    uint64_t ino;
    uint64_t mnt_id;
    struct wire_attr attr;
    uint8_t handle[128];
};

struct scan_entry {
    struct found found;
    uint64_t off;
    uint64_t ino;
    uint32_t type;
    uint32_t namelen;
    char name[...];
    uint32_t dirent_bytes;
    uint8_t dirent[288];
};

struct inode_info {
    uint64_t nodeid;
    uint64_t nlookup;
    uint64_t dev;
    uint64_t ino;
    uint64_t mnt_id;
    uint32_t mode;
    uint32_t kind;
    int32_t fd;
    int32_t handle_type;
    uint32_t handle_len;
    uint32_t pins;
    uint8_t handle[128];
};

struct handle_info {
    uint64_t fh;
    uint64_t nodeid;
    int32_t fd;
    uint32_t open_flags;
    uint32_t kind;
    uint32_t pins;
    uint64_t reads;
    uint64_t writes;
    uint64_t bytes_read;
    uint64_t bytes_written;
};

struct host_sums {
    uint32_t inodes;
    uint32_t handles;
    uint32_t mounts;
    uint32_t cached_fds;
    uint64_t cache_opens;
};

struct host;

struct record_texts {
    char transitions[...][192];
    char inode_end[...];
    char file_end[...];
    char directory_end[...];
};

void host_set_texts(struct host *h, const struct record_texts *texts);
struct host *host_new(int proc_fd, uint32_t inodes_max, uint32_t handles_max, uint32_t cache_fds_max);
void host_free(struct host *h);
void host_settings(struct host *h, int use_handles, int announce_submounts);
void host_sums(struct host *h, struct host_sums *sums);

int host_stat(struct host *h, int fd, struct found *f);
int host_identify(struct host *h, int path_fd, struct found *f);
int host_open_path(struct host *h, int dir_fd, const char *name, uint64_t parent_mnt_id, struct found *f);
int host_find_file(struct host *h, int fd, struct found *f);
int host_handles_work(struct host *h, const struct found *f);
int host_mount_fd(struct host *h, int path_fd);
int host_pin(struct host *h, uint64_t nodeid);
int host_pin_handle(struct host *h, uint64_t fh, uint64_t nodeid, int kind);
void host_unpin(struct host *h);
void host_let_go(struct host *h, struct found *found, struct scan_entry *entries, uint32_t n);
int host_close(int fd);

int host_reopen(struct host *h, int path_fd, int flags);
int host_create(struct host *h, int dir_fd, const char *name, int flags, uint32_t mode);
int host_tmpfile(struct host *h, int dir_fd, int flags, uint32_t mode);
int host_mkdir(struct host *h, int dir_fd, const char *name, uint32_t mode);
int host_mknod(struct host *h, int dir_fd, const char *name, uint32_t mode, uint32_t rdev);
int host_symlink(struct host *h, const char *target, int dir_fd, const char *name);
int host_link(struct host *h, int path_fd, int dir_fd, const char *name);
int host_unlink(struct host *h, int dir_fd, const char *name, int is_dir);
int host_rename(struct host *h, int old_dir, const char *old_name, int new_dir, const char *new_name, uint32_t flags);
int host_readlink(struct host *h, int path_fd, char *target, uint32_t room);
int host_chmod(struct host *h, int path_fd, uint32_t mode);
int host_chown(struct host *h, int path_fd, uint32_t uid, uint32_t gid);
int host_truncate(struct host *h, int path_fd, uint64_t size);
int host_ftruncate(struct host *h, int fd, uint64_t size);
int host_utimens(struct host *h, int path_fd, int64_t atime, int64_t atime_nsec, int64_t mtime, int64_t mtime_nsec);
int host_setxattr(struct host *h, int path_fd, const char *name, const void *value, uint32_t size, int flags);
int host_removexattr(struct host *h, int path_fd, const char *name);
int host_getxattr(struct host *h, int path_fd, const char *name, void *value, uint32_t size);
int host_listxattr(struct host *h, int path_fd, void *list, uint32_t size);
void host_xattr_by_cwd(int on);
int host_get_flags(struct host *h, int fd, uint32_t *flags);
int host_set_flags(struct host *h, int fd, uint32_t flags);
int host_get_fsxattr(struct host *h, int fd, void *fsxattr);
int host_set_fsxattr(struct host *h, int fd, const void *fsxattr);
int host_scan(struct host *h, uint64_t fh, uint64_t offset, uint32_t bytes, int keep_fds, struct scan_entry *entries,
              uint32_t max);

int act_as(uint32_t uid, uint32_t gid, int64_t group, int32_t umask_bits, int keep);
void act_as_daemon(void);
int killpriv_begin(int fd);
void killpriv_end(void);
uint64_t caps_effective(void);

int table_mount_add(struct host *h, uint64_t mnt_id, int fd);
void table_mount_remove(struct host *h, uint64_t mnt_id);
int table_mount_fd(struct host *h, uint64_t mnt_id);
int table_inode_add(struct host *h, const struct inode_info *info);
int table_inode_add_found(struct host *h, uint64_t nodeid, uint64_t nlookup, int kind, struct found *f);
int table_inode_delete(struct host *h, uint64_t nodeid);
int64_t table_inode_nlookup_add(struct host *h, uint64_t nodeid, int64_t n);
uint64_t table_inode_find(struct host *h, const struct found *f);
int64_t table_inode_enter(struct host *h, uint64_t nodeid, struct found *f, int no_meeting, int mandatory);
const char *table_entered(struct host *h);
enum table_load_what { LOAD_INODES, LOAD_HANDLES, ... };
struct table_loaded {
    uint64_t records;
    uint64_t last_key;
    uint32_t fds_n;
    int32_t fds[...];
    ...;
};
struct table_taker {
    struct host *host;
    int what;
    struct table_loaded loaded;
};
int table_load(struct host *h, int what, const char *text, size_t len, struct table_loaded *loaded);
int table_take(void *taker, uint64_t key, const char *text, size_t len);
#define MISSING_QUESTIONS ...
typedef int missing_fetch(void *context, uint64_t nodeid, uint64_t ino);
extern "Python" int fetch_missing(void *context, uint64_t nodeid, uint64_t ino);
void table_missing_begin(struct host *h, missing_fetch *fetch, void *context);
void table_missing_end(struct host *h);
uint32_t table_missing_questions(struct host *h, uint64_t *nodeids);
void table_missing_answered(struct host *h, uint32_t n);
int table_inode_get(struct host *h, uint64_t nodeid, struct inode_info *info);
uint32_t table_inode_list(struct host *h, uint32_t *cursor, struct inode_info *infos, uint32_t max);
int table_handle_add(struct host *h, const struct handle_info *info);
int table_handle_delete(struct host *h, uint64_t fh, int kind, struct handle_info *last);
int table_handle_get(struct host *h, uint64_t fh, struct handle_info *info);
uint32_t table_handle_list(struct host *h, uint32_t *cursor, struct handle_info *infos, uint32_t max);
uint32_t table_inodes(struct host *h);
uint32_t table_handles(struct host *h);
void table_settle(struct host *h);
void table_clear(struct host *h, uint64_t keep_nodeid, uint64_t keep_mnt_id);

struct lane_row {
    uint32_t kind;
    uint32_t op;
    int32_t error;
    uint32_t in_min;
    uint32_t head_bytes;
    uint32_t flags;
};

struct lane;

struct lane *lane_new(struct host *host);
void lane_free(struct lane *lane);
int lane_op_by_name(const char *name);
int lane_set_row(struct lane *lane, uint32_t opcode, const struct lane_row *row);
void lane_set_config(struct lane *lane, uint64_t attr_timeout_ns, int readonly, int writeback);
void lane_set_ready(struct lane *lane, int ready);
void lane_counts(struct lane *lane, uint32_t opcode, uint64_t *done, uint64_t *errors);
uint64_t lane_ops_address(struct lane *lane);

/* specs/native/lane.h, for tests that play the ring side. */
struct lane_in_header {
    uint32_t len;
    uint32_t opcode;
    uint64_t unique;
    uint64_t nodeid;
    uint32_t uid;
    uint32_t gid;
    uint32_t pid;
    uint16_t total_extlen;
    uint16_t padding;
};

enum lane_kind { LANE_DATA, LANE_STATE, LANE_REFUSE, LANE_SILENT };
enum lane_result { LANE_DONE, LANE_BLOCK };

struct lane_verdict {
    enum lane_kind kind;
    int32_t error;
    uint32_t head_bytes;
};

struct iovec {
    void *iov_base;
    size_t iov_len;
};

struct lane_request {
    struct lane_in_header header;
    const uint8_t *in;
    uint32_t in_len;
    uint32_t in_total;
    struct iovec *src;
    uint32_t src_n;
    struct iovec *dst;
    uint32_t dst_n;
    uint64_t dst_len;
    uint32_t reply_len;
    uint16_t queue;
    uint16_t head;
    int32_t error;
    uint64_t progress;
    uint64_t popped_ns;
    void (*witness)(struct lane_request *request, const uint64_t *words, uint32_t n);
    void (*executed)(struct lane_request *request, int32_t error, uint32_t bytes);
    uint64_t left[6];
    uint32_t left_n;
};

struct lane_ops {
    void *ctx;
    void (*classify)(void *ctx, const struct lane_in_header *header, uint32_t in_total, struct lane_verdict *verdict);
    enum lane_result (*execute)(void *ctx, struct lane_request *request, _Bool may_block);
};

int table_mount_meet(struct host *h, const struct found *f);

/* state_lane.h */
struct state_row {
    char name[24];
    char codes[17];
    uint32_t names;
    uint32_t reply_bytes;
    uint32_t flags;
    uint32_t witness;
    uint32_t steps_n;
    uint32_t steps[16];
    int32_t kinds[9];
    uint32_t arg_bytes;
};

struct state_config {
    uint64_t valid_s;
    uint32_t valid_ns;
    uint32_t writeback;
    uint32_t allow_direct_io;
    uint32_t keep_dac;
    uint32_t mandatory;
    uint32_t readonly;
    uint32_t open_flags;
    uint32_t opendir_flags;
    uint32_t handles_max;
};

struct state_batch {
    char *text;
    uint64_t text_bytes;
    uint64_t text_room;
    int32_t *kinds;
    uint8_t *machines;
    uint64_t *keys;
    uint32_t n;
    uint32_t room;
    uint32_t commits_n;
    uint32_t ends[256];
    uint64_t text_sizes[256];
    uint64_t last_nodeid;
    uint64_t last_fh;
};

struct state_lane;

struct state_lane *state_new(struct host *host);
void state_free(struct state_lane *s);
int state_step_by_name(const char *name);
int state_set_row(struct state_lane *s, uint32_t opcode, const struct state_row *row);
void state_set_config(struct state_lane *s, const struct state_config *config);
struct state_batch *state_batch_of(struct state_lane *s);
uint64_t state_counted(const struct state_lane *s, uint32_t count);
void state_begin(struct state_lane *s);
uint32_t state_run(struct state_lane *s, struct lane_request **requests, uint32_t n);
typedef int state_commit_fn(void *ctx, const char *text, uint64_t bytes, uint32_t transitions);
void state_set_journal(struct state_lane *s, state_commit_fn *commit, void *ctx, uint64_t *noted);
uint32_t state_serve(void *state_lane, struct lane_request **requests, uint32_t n, _Bool *committed);
