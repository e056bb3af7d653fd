/* SPDX-License-Identifier: Apache-2.0
 * What the interpreter sees of device/native, for cffi. Structures are complete: cffi compares them with the compiler's at
 * import. The headers beside this file say what everything means.
 */
#define LANE_IN_BYTES_MAX 131072
#define LANE_IOV_MAX 1024
#define MEMORY_REGIONS_MAX ...
#define VRING_NUM_MAX ...
#define ENGINE_QUEUES_MAX 64
#define SLOT_WITNESS_WORDS 6
#define SLOT_BYTES 128

struct iovec {
    void *iov_base;
    size_t iov_len;
};

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

struct lane_ops; /* the file side's; passed through by address */
struct memory_region_spec {
    uint64_t gpa;
    uint64_t size;
    uint64_t uva;
    uint64_t fd_offset;
    int32_t fd;
};

struct vring_spec {
    uint32_t num;
    uint16_t base;
    bool event_idx;
    bool indirect;
    bool keep_inflight;
    uint64_t desc;
    uint64_t avail;
    uint64_t used;
};

struct vring_counters {
    uint64_t requests;
    uint64_t data;
    uint64_t state;
    uint64_t refused;
    uint64_t silent;
    uint64_t blocked;
    uint64_t oversize;
    uint64_t no_memory;
    uint64_t malformed_range;
    uint64_t malformed_loop;
    uint64_t malformed_order;
    uint64_t malformed_zero;
    uint64_t malformed_indirect;
    uint64_t malformed_long;
    uint64_t malformed_short;
    uint64_t broken;
    uint64_t kicks;
    uint64_t kick_errors;
    uint64_t polled;
    uint64_t sleeps;
    uint64_t published;
    uint64_t written_bytes;
    uint64_t signals;
    uint64_t signals_suppressed;
};

struct engine_config {
    uint32_t queues;
    uint32_t pool_threads;
    uint64_t poll_ns_max;
    const struct lane_ops *ops;
};

struct slot {
    uint64_t state;
    uint64_t epoch;
    uint64_t unique;
    uint64_t counter;
    uint32_t opcode;
    uint16_t queue;
    uint16_t head;
    uint64_t witness[6];
    int32_t result;
    uint32_t result_bytes;
    uint16_t used_at;
    uint8_t reserved[30];
};

struct slots_report {
    uint32_t queues;
    uint32_t slots_per_queue;
    uint64_t generation;
    uint32_t phases[...];
    uint32_t bad;
    uint32_t first_bad_queue;
    uint32_t first_bad_head;
};

struct engine;

int engine_new(const struct engine_config *config, struct engine **out);
int engine_free(struct engine *e, uint64_t timeout_ns);
uint32_t engine_fds(struct engine *e, int32_t *out);

int engine_memory_set(struct engine *e, const struct memory_region_spec *specs, uint32_t n);
int engine_memory_add(struct engine *e, const struct memory_region_spec *spec);
int engine_memory_remove(struct engine *e, uint64_t gpa, uint64_t uva, uint64_t size);
uint64_t memory_lost_pages(void);

int engine_inflight_set(struct engine *e, int fd, uint64_t bytes, uint64_t offset, uint32_t queues,
                        uint32_t queue_size);
int engine_slots_set(struct engine *e, int fd);
void engine_epoch_set(struct engine *e, uint64_t epoch);

int engine_vring_setup(struct engine *e, uint32_t queue, const struct vring_spec *spec);
int engine_kick_set(struct engine *e, uint32_t queue, int fd, uint64_t timeout_ns);
int engine_call_set(struct engine *e, uint32_t queue, int fd);
int engine_err_set(struct engine *e, uint32_t queue, int fd);
int engine_vring_start(struct engine *e, uint32_t queue);
int engine_vring_pause(struct engine *e, uint32_t queue, uint64_t timeout_ns);
int engine_vring_base(struct engine *e, uint32_t queue);
int engine_vring_signal(struct engine *e, uint32_t queue);
int engine_vring_in_flight(struct engine *e, uint32_t queue);
int engine_vring_running(struct engine *e, uint32_t queue);
int engine_vring_broken(struct engine *e, uint32_t queue);
const char *vring_broken_name(int reason);

int engine_doorbell(struct engine *e);
int engine_wait(struct engine *e, uint64_t spin_ns);
struct engine_served {
    uint32_t taken;
    uint32_t executed;
    uint32_t published;
};
typedef uint32_t serve_run_fn(void *ctx, struct lane_request **requests, uint32_t n, _Bool *committed);
struct lane_serve {
    void *ctx;
    serve_run_fn *run;
};
int engine_serve(struct engine *e, const struct lane_serve *serve, struct lane_request **batch, uint32_t max,
                 uint64_t spin_ns, uint32_t enough, struct engine_served *served);
int engine_turn(struct engine *e, struct lane_request **batch, uint32_t n, uint64_t spin_ns, uint32_t max);
uint32_t engine_take(struct engine *e, struct lane_request **out, uint32_t max);
int engine_reply(struct lane_request *r, const char *message, uint32_t bytes);
int engine_executing(struct lane_request *r, const uint64_t *witness, uint32_t words);
int engine_taken_up(struct lane_request *r);
int engine_executed(struct lane_request *r, int32_t error, uint32_t bytes);
int engine_answer(struct lane_request *r, int32_t error, const char *message, uint32_t bytes);
int engine_committed(struct lane_request **batch, uint32_t n);
int engine_publish(struct engine *e, struct lane_request **batch, uint32_t n);

int engine_vring_used_idx(struct engine *e, uint32_t queue);
int engine_slot_scrubbed(struct engine *e, uint32_t queue, uint32_t head);
int engine_vring_ring(struct engine *e, uint32_t queue, uint16_t *avail_idx, uint16_t *avail, uint16_t *used);
int engine_slot_died_with(struct engine *e, uint32_t queue, uint32_t head, uint32_t weight);
int engine_vring_peek(struct engine *e, uint32_t queue, uint32_t head, struct lane_in_header *out);
int engine_resubmit(struct engine *e, uint32_t queue, uint32_t head, int32_t error);
void engine_counter_raise(struct engine *e, uint64_t counter);
int engine_vring_rebase(struct engine *e, uint32_t queue, uint16_t base);
int engine_vring_settle(struct engine *e, uint32_t queue);

int engine_counters(struct engine *e, uint32_t queue, struct vring_counters *out);

uint64_t inflight_queue_bytes(uint16_t num);

uint64_t slots_bytes(uint32_t queues, uint32_t slots_per_queue);
void slots_format(void *map, uint32_t queues, uint32_t slots_per_queue, uint64_t generation);
int slots_geometry(const void *map, size_t bytes, struct slots_report *report);
int slots_validate(const void *map, size_t bytes, struct slots_report *report);
struct slot *slots_at(void *map, uint32_t slots_per_queue, uint16_t queue, uint16_t head);
uint32_t slots_next(const void *map, uint32_t slots, uint32_t from);
int slots_read(const void *map, uint32_t slots_per_queue, uint16_t queue, uint16_t head, struct slot *copy);

struct file_identity {
    uint64_t dev;
    uint64_t ino;
};
int32_t fds_open(int directory, int32_t *out, int32_t room);
void fds_leading_to(const int32_t *fds, uint32_t count, const struct file_identity *files, uint32_t files_count, uint8_t *hits);
