/*
 * rtp_load.c - both ends of many calls in one thread: sends RTP at a fixed rate, and measures what arrives.
 *
 * Standard input has a call a line, "A_LOCAL A_TARGET B_LOCAL B_TARGET", each IP:PORT. From A_LOCAL a stream goes to
 * A_TARGET and must arrive at B_LOCAL, and the other way round. Arguments: seconds, then process ids to watch.
 * One JSON object goes to standard output. The first second is not counted.
 *
 * A packet is 172 bytes: RTP header, then struct stamp. Times are the sender's before sendto and the kernel's at arrival,
 * on one clock, so that the meter's own load does not count as delay.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PACKET = 172, HEADER = 12, PER_SECOND = 50, EVENTS = 256, WATCHED = 8 };
static const int64_t INTERVAL = 1000000000 / PER_SECOND, SECOND = 1000000000;

struct stamp {
    uint32_t run, stream, sequence, counted;
    int64_t sent;
};

struct end { /* stream 2n goes from end 2n to end 2n + 1, and stream 2n + 1 back */
    int fd;
    uint32_t sequence;
    struct sockaddr_in target;
    unsigned char *seen; /* sequence numbers that arrived of the stream that ends here */
    uint32_t latest, arrived;
};

struct slot { /* a stream's place within the 20 ms */
    int64_t phase;
    uint32_t stream;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t clock_ns(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static struct sockaddr_in address(char *text) {
    struct sockaddr_in parsed = {.sin_family = AF_INET};
    char *colon = strrchr(text, ':');
    if (!colon) {
        fprintf(stderr, "rtp_load: %s is not IP:PORT\n", text);
        exit(1);
    }
    *colon = 0;
    parsed.sin_port = htons(atoi(colon + 1));
    if (inet_pton(AF_INET, text, &parsed.sin_addr) != 1) fail(text);
    return parsed;
}

/* user and system time of a process, in clock ticks: fields 14 and 15 of /proc/PID/stat */
static long cpu_ticks(int pid) {
    char path[64], text[1024];
    long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    char *rest = strrchr(text, ')');
    if (rest) sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system);
    return user + system;
}

static int by_phase(const void *a, const void *b) {
    int64_t x = ((const struct slot *)a)->phase, y = ((const struct slot *)b)->phase;
    return x < y ? -1 : x > y;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static struct end *ends;
static uint32_t run, ends_count, sequences;
static uint32_t *delays; /* microseconds */
static uint64_t delays_count, received, duplicates, reordered, misrouted, foreign;

static void receive(uint32_t at) {
    static unsigned char packet[2048];
    struct end *end = &ends[at];
    for (;;) {
        char control[128];
        struct iovec data = {packet, sizeof packet};
        struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t size = recvmsg(end->fd, &message, MSG_DONTWAIT);
        if (size < 0) return; /* nothing more, or an ICMP error: then the packet shows as lost */
        struct stamp stamp;
        memcpy(&stamp, packet + HEADER, sizeof stamp);
        if (size != PACKET || stamp.run != run) {
            foreign++;
            continue;
        }
        if ((stamp.stream ^ 1) != at || stamp.sequence >= sequences) {
            misrouted++;
            continue;
        }
        if (!stamp.counted) continue;
        unsigned char *byte = &end->seen[stamp.sequence >> 3], bit = 1 << (stamp.sequence & 7);
        if (*byte & bit) {
            duplicates++;
            continue;
        }
        *byte |= bit;
        received++;
        end->arrived++;
        if (stamp.sequence < end->latest) reordered++;
        else end->latest = stamp.sequence;
        int64_t arrived = clock_ns(CLOCK_REALTIME);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(header), sizeof t);
            arrived = t.tv_sec * SECOND + t.tv_nsec;
        }
        int64_t delay = (arrived - stamp.sent) / 1000;
        delays[delays_count++] = delay < 0 ? 0 : delay;
    }
}

static double delay_ms(double share) { return delays_count ? delays[(uint64_t)(share * (delays_count - 1))] / 1000.0 : 0; }

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: rtp_load SECONDS [PID ...] < calls\n");
        return 1;
    }
    double seconds = atof(argv[1]);
    int watched = argc - 2 > WATCHED ? WATCHED : argc - 2, pids[WATCHED];
    for (int n = 0; n < watched; n++) pids[n] = atoi(argv[2 + n]);

    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    run = (uint32_t)clock_ns(CLOCK_REALTIME) ^ getpid();
    sequences = (uint32_t)((seconds + 2) * PER_SECOND) + 8;
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    char text[4][64];
    while (scanf("%63s %63s %63s %63s", text[0], text[1], text[2], text[3]) == 4) {
        ends = realloc(ends, (ends_count + 2) * sizeof *ends);
        for (int side = 0; side < 2; side++) {
            struct end *end = &ends[ends_count];
            struct sockaddr_in local = address(text[2 * side]);
            int on = 1;
            memset(end, 0, sizeof *end);
            end->target = address(text[2 * side + 1]);
            end->seen = calloc(sequences / 8 + 1, 1);
            end->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            if (end->fd < 0) fail("socket");
            setsockopt(end->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
            if (bind(end->fd, (struct sockaddr *)&local, sizeof local) < 0) fail("bind");
            struct epoll_event event = {.events = EPOLLIN, .data.u32 = ends_count++};
            epoll_ctl(epoll, EPOLL_CTL_ADD, end->fd, &event);
        }
    }
    if (!ends_count) {
        fprintf(stderr, "rtp_load: no calls\n");
        return 1;
    }
    delays = malloc(sizeof *delays * ((uint64_t)ends_count * sequences));
    struct slot *slots = malloc(sizeof *slots * ends_count);
    srandom(1);
    for (uint32_t n = 0; n < ends_count; n++) slots[n] = (struct slot){random() % INTERVAL, n};
    qsort(slots, ends_count, sizeof *slots, by_phase);

    unsigned char packet[PACKET];
    memset(packet, 0xd5, sizeof packet);
    uint64_t sent = 0, turn = 0, refused = 0;
    int64_t worst_lag = 0, begin = clock_ns(CLOCK_MONOTONIC) + SECOND / 100, from = begin + SECOND, counted_from = 0, own = 0;
    int64_t until = from + (int64_t)(seconds * SECOND), counted_until = 0;
    long before[WATCHED] = {0}, after[WATCHED] = {0};

    for (;;) {
        int64_t now = clock_ns(CLOCK_MONOTONIC), due = 0;
        if (!counted_from && now >= from) {
            counted_from = now;
            own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
            for (int n = 0; n < watched; n++) before[n] = cpu_ticks(pids[n]);
        }
        if (!counted_until && now >= until) {
            counted_until = now;
            own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
            for (int n = 0; n < watched; n++) after[n] = cpu_ticks(pids[n]);
        }
        if (counted_until && now >= until + SECOND / 2) break;
        for (int burst = 0; burst < 64; burst++) {
            struct slot *slot = &slots[turn % ends_count];
            due = begin + (int64_t)(turn / ends_count) * INTERVAL + slot->phase;
            if (due > now || counted_until) break;
            struct end *end = &ends[slot->stream];
            struct stamp stamp = {run, slot->stream, end->sequence, counted_from != 0, clock_ns(CLOCK_REALTIME)};
            uint16_t sequence = htons(end->sequence);
            uint32_t timestamp = htonl(end->sequence * 160), ssrc = htonl(0x5700000 + slot->stream);
            packet[0] = 0x80, packet[1] = 8;
            memcpy(packet + 2, &sequence, 2);
            memcpy(packet + 4, &timestamp, 4);
            memcpy(packet + 8, &ssrc, 4);
            memcpy(packet + HEADER, &stamp, sizeof stamp);
            end->sequence++;
            turn++;
            if (sendto(end->fd, packet, PACKET, 0, (struct sockaddr *)&end->target, sizeof end->target) < 0) refused++;
            if (!counted_from) continue;
            sent++;
            if (now - due > worst_lag) worst_lag = now - due;
        }
        now = clock_ns(CLOCK_MONOTONIC);
        int64_t wait = counted_until ? SECOND / 100 : due - now;
        if (wait > 0 && wait < 100000) wait = 100000; /* a wake each 100 us at most: else the meter is the load */
        struct timespec timeout = {0, wait < 0 ? 0 : wait};
        struct epoll_event events[EVENTS];
        int ready = epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);
        for (int n = 0; n < ready; n++) receive(events[n].data.u32);
    }

    qsort(delays, delays_count, sizeof *delays, by_size);
    double elapsed = (double)(counted_until - counted_from) / SECOND;
    uint32_t silent = 0;
    for (uint32_t n = 0; n < ends_count; n++) silent += !ends[n].arrived;
    printf("{\"calls\":%u,\"seconds\":%.3f,\"sent\":%lu,\"received\":%lu,\"duplicates\":%lu,\"reordered\":%lu,\"misrouted\":%lu,"
           "\"foreign\":%lu,\"refused\":%lu,\"silent_streams\":%u,",
           ends_count / 2, elapsed, sent, received, duplicates, reordered, misrouted, foreign, refused, silent);
    printf("\"delay_ms\":{\"min\":%.3f,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f},", delay_ms(0), delay_ms(.5),
           delay_ms(.9), delay_ms(.99), delay_ms(1));
    printf("\"meter\":{\"cpu_share\":%.3f,\"worst_lag_ms\":%.3f},\"processes\":[", own / 1e9 / elapsed, worst_lag / 1e6);
    for (int n = 0; n < watched; n++) {
        double cpu_s = (double)(after[n] - before[n]) / sysconf(_SC_CLK_TCK);
        printf("%s{\"pid\":%d,\"cpu_share\":%.4f,\"cpu_us_per_packet\":%.2f}", n ? "," : "", pids[n], cpu_s / elapsed,
               sent ? cpu_s * 1e6 / sent : 0);
    }
    printf("]}\n");
    return 0;
}
