/* The C client's calls against one server: c_suite host:port
 *
 * Every function named test_* is a case. Conditions are waited for with a wide limit, never by a fixed sleep. Ends with
 * 0 when all cases passed; the first thing that is wrong ends the program with 1 and names its line. */

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#define LIMIT_MS 60000
#define TIMEOUT_MS 20000

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);           \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

#define CHECK_CODE(call, expected)                                                            \
    do {                                                                                      \
        int got_ = (call);                                                                    \
        if (got_ != (expected)) {                                                             \
            fprintf(stderr, "%s:%d: %s gave %d (%s), not %d\n", __FILE__, __LINE__, #call,    \
                    got_, zerror(got_), (expected));                                          \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

static const char *hosts;

/* What the session watcher and the node watches have seen, behind one lock. */
struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int connects;
    int events;
    int type[64];
    char path[64][256];
};

static void seen_init(struct seen *seen) {
    memset(seen, 0, sizeof *seen);
    pthread_mutex_init(&seen->lock, NULL);
    pthread_cond_init(&seen->changed, NULL);
}

static void on_event(zhandle_t *handle, int type, int state, const char *path, void *context) {
    struct seen *seen = context;
    (void)handle;
    if (seen == NULL) return;
    pthread_mutex_lock(&seen->lock);
    if (type == ZOO_SESSION_EVENT) {
        if (state == ZOO_CONNECTED_STATE) seen->connects++;
    } else if (seen->events < 64) {
        seen->type[seen->events] = type;
        snprintf(seen->path[seen->events], sizeof seen->path[0], "%s", path);
        seen->events++;
    }
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static int wait_for(struct seen *seen, int *counter, int at_least) {
    struct timespec until;
    int value;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LIMIT_MS / 1000;
    pthread_mutex_lock(&seen->lock);
    while (*counter < at_least)
        if (pthread_cond_timedwait(&seen->changed, &seen->lock, &until) == ETIMEDOUT) break;
    value = *counter >= at_least;
    pthread_mutex_unlock(&seen->lock);
    return value;
}

static zhandle_t *client(struct seen *seen, const clientid_t *id) {
    zhandle_t *handle;
    seen_init(seen);
    handle = zookeeper_init(hosts, on_event, TIMEOUT_MS, id, seen, 0);
    CHECK(handle != NULL);
    CHECK(wait_for(seen, &seen->connects, 1));
    CHECK(zoo_state(handle) == ZOO_CONNECTED_STATE);
    return handle;
}

static void test_nodes(zhandle_t *handle) {
    char path[256], data[64];
    int length;
    struct Stat stat;
    struct String_vector names;
    CHECK_CODE(zoo_create(handle, "/c", "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path), ZOK);
    CHECK(strcmp(path, "/c") == 0);
    CHECK_CODE(zoo_create(handle, "/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path), ZNODEEXISTS);
    CHECK_CODE(zoo_create(handle, "/c/x/y", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path), ZNONODE);
    length = sizeof data;
    CHECK_CODE(zoo_get(handle, "/c", 0, data, &length, &stat), ZOK);
    CHECK(length == 3 && memcmp(data, "one", 3) == 0 && stat.version == 0 && stat.dataLength == 3);
    CHECK_CODE(zoo_set2(handle, "/c", "three", 5, 0, &stat), ZOK);
    CHECK(stat.version == 1 && stat.dataLength == 5 && stat.mzxid > stat.czxid);
    CHECK_CODE(zoo_set(handle, "/c", "x", 1, 0), ZBADVERSION);
    CHECK_CODE(zoo_create(handle, "/c/null", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path), ZOK);
    length = sizeof data;
    CHECK_CODE(zoo_get(handle, "/c/null", 0, data, &length, &stat), ZOK);
    CHECK(length == -1 && stat.dataLength == 0);
    CHECK_CODE(zoo_create2(handle, "/c/two", "22", 2, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path, &stat), ZOK);
    CHECK(stat.dataLength == 2 && stat.czxid == stat.pzxid);
    CHECK_CODE(zoo_create(handle, "/c/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, path, sizeof path), ZOK);
    CHECK(strcmp(path, "/c/s-0000000002") == 0);
    CHECK_CODE(zoo_get_children2(handle, "/c", 0, &names, &stat), ZOK);
    CHECK(names.count == 3 && stat.numChildren == 3 && stat.cversion == 3);
    deallocate_String_vector(&names);
    CHECK_CODE(zoo_exists(handle, "/nothing", 0, &stat), ZNONODE);
    CHECK_CODE(zoo_delete(handle, "/c", -1), ZNOTEMPTY);
    CHECK_CODE(zoo_delete(handle, "/c/two", 3), ZBADVERSION);
    CHECK_CODE(zoo_delete(handle, "/c/two", 0), ZOK);
    CHECK_CODE(zoo_delete(handle, "/c/null", -1), ZOK);
    CHECK_CODE(zoo_delete(handle, "/c/s-0000000002", -1), ZOK);
    CHECK_CODE(zoo_delete(handle, "/c", -1), ZOK);
    CHECK_CODE(zoo_create(handle, "/container", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, path, sizeof path), ZOK);
    CHECK_CODE(zoo_delete(handle, "/container", -1), ZOK);
    CHECK_CODE(zoo_create_ttl(handle, "/ttl", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 500000, path,
                              sizeof path), ZOK);
    CHECK_CODE(zoo_exists(handle, "/ttl", 0, &stat), ZOK);
    CHECK(stat.ephemeralOwner == 0);
    CHECK_CODE(zoo_delete(handle, "/ttl", -1), ZOK);
}

static void test_multi(zhandle_t *handle) {
    char first[256], second[256];
    struct Stat stat;
    zoo_op_t ops[5];
    zoo_op_result_t results[5];
    zoo_create_op_init(&ops[0], "/m", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, first, sizeof first);
    zoo_create_op_init(&ops[1], "/m/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, second, sizeof second);
    zoo_set_op_init(&ops[2], "/m", "22", 2, 0, &stat);
    zoo_check_op_init(&ops[3], "/m", 1);
    zoo_delete_op_init(&ops[4], "/m/s-0000000000", 0);
    CHECK_CODE(zoo_multi(handle, 5, ops, results), ZOK);
    CHECK(strcmp(first, "/m") == 0 && strcmp(second, "/m/s-0000000000") == 0);
    CHECK(stat.version == 1 && stat.dataLength == 2);
    zoo_set_op_init(&ops[0], "/m", "333", 3, -1, &stat);
    zoo_check_op_init(&ops[1], "/m", 77);
    zoo_delete_op_init(&ops[2], "/m", -1);
    CHECK_CODE(zoo_multi(handle, 3, ops, results), ZBADVERSION);
    CHECK(results[0].err == ZOK && results[1].err == ZBADVERSION && results[2].err == ZRUNTIMEINCONSISTENCY);
    CHECK_CODE(zoo_exists(handle, "/m", 0, &stat), ZOK);
    CHECK(stat.dataLength == 2);
    CHECK_CODE(zoo_delete(handle, "/m", -1), ZOK);
}

static void test_watches(zhandle_t *handle) {
    struct seen seen, other_seen;
    char path[256], data[16];
    int length = sizeof data;
    struct Stat stat;
    struct String_vector names;
    zhandle_t *other = client(&other_seen, NULL);
    seen_init(&seen);
    CHECK_CODE(zoo_create(handle, "/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path), ZOK);
    CHECK_CODE(zoo_wget(handle, "/w", on_event, &seen, data, &length, &stat), ZOK);
    CHECK_CODE(zoo_wexists(handle, "/w/later", on_event, &seen, &stat), ZNONODE);
    CHECK_CODE(zoo_wget_children(handle, "/w", on_event, &seen, &names), ZOK);
    deallocate_String_vector(&names);
    CHECK_CODE(zoo_set(other, "/w", "1", 1, -1), ZOK);
    CHECK(wait_for(&seen, &seen.events, 1));
    CHECK_CODE(zoo_create(other, "/w/later", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path), ZOK);
    CHECK(wait_for(&seen, &seen.events, 3));
    CHECK(seen.type[0] == ZOO_CHANGED_EVENT && strcmp(seen.path[0], "/w") == 0);
    CHECK(seen.type[1] == ZOO_CREATED_EVENT && strcmp(seen.path[1], "/w/later") == 0);
    CHECK(seen.type[2] == ZOO_CHILD_EVENT && strcmp(seen.path[2], "/w") == 0);
    CHECK_CODE(zoo_wexists(handle, "/w/later", on_event, &seen, &stat), ZOK);
    CHECK_CODE(zoo_remove_watches(handle, "/w/later", ZWATCHTYPE_DATA, on_event, &seen, 0), ZOK);
    CHECK_CODE(zoo_remove_watches(handle, "/w/later", ZWATCHTYPE_DATA, on_event, &seen, 0), ZNOWATCHER);
    CHECK_CODE(zoo_delete(other, "/w/later", -1), ZOK);
    CHECK_CODE(zoo_delete(other, "/w", -1), ZOK);
    CHECK_CODE(zookeeper_close(other), ZOK);
}

static void on_auth(int code, const void *context) {
    struct seen *seen = (struct seen *)context;
    pthread_mutex_lock(&seen->lock);
    seen->type[0] = code;
    seen->events++;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void test_auth(zhandle_t *handle) {
    struct seen session, answer;
    char path[256], data[16];
    int length = sizeof data;
    struct Stat stat;
    struct ACL_vector acl;
    zhandle_t *owner = client(&session, NULL);
    seen_init(&answer);
    CHECK_CODE(zoo_add_auth(owner, "digest", "bob:pw", 6, on_auth, &answer), ZOK);
    CHECK(wait_for(&answer, &answer.events, 1));
    CHECK(answer.type[0] == ZOK);
    CHECK_CODE(zoo_create(owner, "/mine", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, path, sizeof path), ZOK);
    CHECK_CODE(zoo_get(handle, "/mine", 0, data, &length, &stat), ZNOAUTH);
    CHECK_CODE(zoo_create(handle, "/bad", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, path, sizeof path), ZINVALIDACL);
    CHECK_CODE(zoo_get_acl(owner, "/mine", &acl, &stat), ZOK);
    CHECK(acl.count == 1 && acl.data[0].perms == ZOO_PERM_ALL && strcmp(acl.data[0].id.scheme, "digest") == 0);
    CHECK(strcmp(acl.data[0].id.id, "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=") == 0);
    deallocate_ACL_vector(&acl);
    CHECK_CODE(zoo_set_acl(owner, "/mine", 0, &ZOO_OPEN_ACL_UNSAFE), ZOK);
    CHECK_CODE(zoo_set_acl(owner, "/mine", 0, &ZOO_OPEN_ACL_UNSAFE), ZBADVERSION);
    length = sizeof data;
    CHECK_CODE(zoo_get(handle, "/mine", 0, data, &length, &stat), ZOK);
    CHECK(stat.aversion == 1);
    CHECK_CODE(zoo_delete(handle, "/mine", -1), ZOK);
    CHECK_CODE(zookeeper_close(owner), ZOK);
}

/* Shuts every socket of this process that is connected to the server: the network failing, not the session. */
static void cut_connections(void) {
    int port = atoi(strrchr(hosts, ':') + 1);
    for (int descriptor = 3; descriptor < 1024; descriptor++) {
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        if (getpeername(descriptor, (struct sockaddr *)&peer, &length) != 0) continue;
        if (peer.sin_family == AF_INET && ntohs(peer.sin_port) == port) shutdown(descriptor, SHUT_RDWR);
    }
}

/* A call that meets the cut answers with a connection loss; the client reconnects by itself. */
static int exists_when_connected(zhandle_t *handle, const char *path, struct Stat *stat) {
    for (int attempt = 0; attempt < LIMIT_MS / 10; attempt++) {
        int code = zoo_exists(handle, path, 0, stat);
        if (code != ZCONNECTIONLOSS && code != ZINVALIDSTATE) return code;
        usleep(10000);
    }
    return ZOPERATIONTIMEOUT;
}

static void test_reconnect(zhandle_t *handle) {
    struct seen session, watched;
    char path[256], data[16];
    int length = sizeof data, connects;
    struct Stat stat;
    const clientid_t *id;
    int64_t before;
    zhandle_t *owner = client(&session, NULL);
    seen_init(&watched);
    before = zoo_client_id(owner)->client_id;
    CHECK_CODE(zoo_create(owner, "/e", "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, path, sizeof path), ZOK);
    CHECK_CODE(zoo_wget(owner, "/e", on_event, &watched, data, &length, &stat), ZOK);
    connects = session.connects;
    cut_connections();
    CHECK(wait_for(&session, &session.connects, connects + 1));
    CHECK_CODE(exists_when_connected(owner, "/e", &stat), ZOK);
    id = zoo_client_id(owner);
    CHECK(id->client_id == before && stat.ephemeralOwner == before);
    CHECK_CODE(exists_when_connected(handle, "/e", &stat), ZOK);
    CHECK_CODE(zoo_set(handle, "/e", "y", 1, -1), ZOK);
    CHECK(wait_for(&watched, &watched.events, 1));
    CHECK(watched.type[0] == ZOO_CHANGED_EVENT);
    CHECK_CODE(zookeeper_close(owner), ZOK);
    CHECK_CODE(zoo_exists(handle, "/e", 0, &stat), ZNONODE);
}

static void on_set(int code, const struct Stat *stat, const void *context) {
    (void)stat;
    (void)context;
    CHECK_CODE(code, ZOK);
}

static void test_pipelined(zhandle_t *handle) {
    char path[256];
    struct Stat stat;
    CHECK_CODE(zoo_create(handle, "/p", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path), ZOK);
    for (int i = 0; i < 500; i++) {
        CHECK_CODE(zoo_aset(handle, "/p", "v", 1, i, on_set, NULL), ZOK);
    }
    CHECK_CODE(zoo_exists(handle, "/p", 0, &stat), ZOK);
    CHECK(stat.version == 500);
    CHECK_CODE(zoo_delete(handle, "/p", 500), ZOK);
}

int main(int count, char **arguments) {
    struct seen seen;
    zhandle_t *handle;
    static const struct {
        const char *name;
        void (*run)(zhandle_t *);
    } cases[] = {
        {"nodes", test_nodes},     {"multi", test_multi},         {"watches", test_watches},
        {"auth", test_auth},       {"reconnect", test_reconnect}, {"pipelined", test_pipelined},
    };
    CHECK(count == 2);
    hosts = arguments[1];
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    handle = client(&seen, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cases[i].run(handle);
        printf("ok   %s\n", cases[i].name);
        fflush(stdout);
    }
    CHECK_CODE(zookeeper_close(handle), ZOK);
    return 0;
}
