"""kazoo's recipes against one server: python kazoo_suite.py host:port

Every function named test_* is a case with a root of its own. Times out nothing by a fixed sleep: conditions are waited
for with a wide limit. Ends with 0 when all cases passed, and prints one line per case.
"""

import logging
import socket
import sys
import threading
import time
import traceback
import uuid

from kazoo import exceptions as errors
from kazoo.client import KazooClient, KazooState
from kazoo.protocol.states import WatchedEvent
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.security import ACL, OPEN_ACL_UNSAFE, make_acl, make_digest_acl

HOSTS = sys.argv[1]
LIMIT = 60.0  # seconds; only a hang gets near it
CLIENTS = []


def client(hosts=None, start=True, **options):
    options.setdefault("timeout", 10.0)
    made = KazooClient(hosts=hosts or HOSTS, **options)
    CLIENTS.append(made)
    if start:
        made.start(timeout=LIMIT)
    return made


def end(zk):
    zk.stop()
    zk.close()
    if zk in CLIENTS:
        CLIENTS.remove(zk)


def eventually(condition, what):
    deadline = time.monotonic() + LIMIT
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("never happened: " + what)
        time.sleep(0.01)


def raises(error, call, *arguments, **options):
    try:
        value = call(*arguments, **options)
    except error as caught:
        return caught
    raise AssertionError("%s expected, got %r" % (error.__name__, value))


def together(*calls):
    """Runs the calls in threads and gives their results; an exception in one fails the case."""
    results = [None] * len(calls)
    failures = []

    def one(index, call):
        try:
            results[index] = call()
        except BaseException:
            failures.append(traceback.format_exc())

    threads = [threading.Thread(target=one, args=(i, c), daemon=True) for i, c in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "a thread hangs"
    assert not failures, failures[0]
    return results


# --- plain operations


def test_nodes(root):
    zk = client()
    path = root + "/a/b/c"
    zk.ensure_path(root + "/a")
    assert zk.create(root + "/a/b", b"1") == root + "/a/b"
    raises(errors.NodeExistsError, zk.create, root + "/a/b")
    raises(errors.NoNodeError, zk.create, root + "/x/y")
    assert zk.create(path, b"2", makepath=True) == path
    data, stat = zk.get(path)
    assert (data, stat.version, stat.dataLength, stat.numChildren, stat.ephemeralOwner) == (b"2", 0, 1, 0, 0)
    assert stat.czxid == stat.mzxid == stat.pzxid and stat.ctime == stat.mtime
    assert abs(stat.ctime / 1000.0 - time.time()) < 600
    stat = zk.set(path, b"three")
    assert (stat.version, stat.dataLength) == (1, 5) and stat.mzxid > stat.czxid
    raises(errors.BadVersionError, zk.set, path, b"4", version=0)
    raises(errors.BadVersionError, zk.delete, path, version=7)
    raises(errors.NotEmptyError, zk.delete, root + "/a/b")
    assert zk.exists(root + "/nothing") is None
    assert zk.exists(path).version == 1
    assert zk.get_children(root + "/a") == ["b"]
    children, stat = zk.get_children(root + "/a", include_data=True)
    assert children == ["b"] and stat.numChildren == 1 and stat.cversion == 1
    created, stat = zk.create(root + "/with", b"xy", include_data=True)
    assert created == root + "/with" and stat.dataLength == 2
    zk.delete(root, recursive=True)
    assert zk.exists(root) is None
    assert zk.sync("/") == "/"


def test_large_values(root):
    zk = client()
    for size in (0, 1, 1023, 4095, 4096, 4097, 65536, 1000000):
        value = bytes(i * 31 % 251 for i in range(1000)) * (size // 1000 + 1)
        value = value[:size]
        path = zk.create(root + "/v", value)
        assert zk.get(path)[0] == value
        zk.set(path, value[::-1])
        assert zk.get(path)[0] == value[::-1]
        zk.delete(path)


def test_sequential(root):
    zk = client()
    names = [zk.create(root + "/s-", sequence=True) for _ in range(5)]
    assert names == ["%s/s-%010d" % (root, i) for i in range(5)]
    zk.create(root + "/plain")
    assert zk.create(root + "/s-", sequence=True, ephemeral=True).endswith("0000000006")
    others = [client() for _ in range(3)]
    made = together(*[lambda c=c: [c.create(root + "/s-", sequence=True) for _ in range(30)] for c in others])
    flat = [name for names in made for name in names]
    assert sorted(flat) == ["%s/s-%010d" % (root, i) for i in range(7, 97)]
    for names in made:
        assert names == sorted(names), "one client's numbers must rise"


def test_ephemerals_go_on_close(root):
    zk, other = client(), client()
    other.create(root + "/e", b"x", ephemeral=True)
    other.create(root + "/e-", ephemeral=True, sequence=True)
    assert zk.get(root + "/e")[1].owner_session_id == other.client_id[0]
    raises(errors.NoChildrenForEphemeralsError, zk.create, root + "/e/child")
    gone = threading.Event()
    assert zk.exists(root + "/e", watch=lambda event: gone.set())
    end(other)
    assert gone.wait(LIMIT)
    eventually(lambda: zk.get_children(root) == [], "both ephemerals gone")


def test_pipelined_async(root):
    zk = client()
    creates = [zk.create_async("%s/n%03d" % (root, i), b"%d" % i) for i in range(300)]
    reads = [zk.get_async("%s/n%03d" % (root, i)) for i in range(300)]
    assert [c.get(timeout=LIMIT) for c in creates] == ["%s/n%03d" % (root, i) for i in range(300)]
    assert [r.get(timeout=LIMIT)[0] for r in reads] == [b"%d" % i for i in range(300)]
    assert len(zk.get_children(root)) == 300


def test_transactions(root):
    zk = client()
    t = zk.transaction()
    t.create(root + "/t", b"1")
    t.create(root + "/t/s-", b"2", sequence=True)
    t.create(root + "/t/s-", b"3", sequence=True)
    t.set_data(root + "/t", b"4", version=0)
    t.check(root + "/t", version=1)
    t.delete(root + "/t/s-0000000000")
    results = t.commit()
    assert results[:3] == [root + "/t", root + "/t/s-0000000000", root + "/t/s-0000000001"], results
    assert results[3].version == 1 and results[4] is True and results[5] is True, results
    assert zk.get_children(root + "/t") == ["s-0000000001"]
    t = zk.transaction()
    t.create(root + "/u")
    t.check(root + "/t", version=99)
    t.create(root + "/v")
    results = t.commit()
    assert [type(r) for r in results] == [
        errors.RolledBackError,
        errors.BadVersionError,
        errors.RuntimeInconsistency,
    ], results
    assert zk.exists(root + "/u") is None and zk.exists(root + "/v") is None


def test_chroot(root):
    zk = client()
    zk.ensure_path(root + "/jail")
    inside = client(hosts=HOSTS + root + "/jail")
    seen = []
    assert inside.exists("/x", watch=seen.append) is None
    assert inside.create("/x", b"1") == "/x"
    eventually(lambda: seen, "the watch")
    assert seen[0] == WatchedEvent("CREATED", "CONNECTED", "/x"), seen
    assert zk.get(root + "/jail/x")[0] == b"1"
    assert inside.create("/s-", sequence=True) == "/s-0000000001"
    assert sorted(inside.get_children("/")) == ["s-0000000001", "x"]


def test_acl_and_auth(root):
    zk = client()
    bob, eve = client(), client()
    bob.add_auth("digest", "bob:secret")
    creator = [ACL(31, make_acl("auth", "", all=True).id)]
    bob.create(root + "/mine", b"1", acl=creator)
    acls, _ = bob.get_acls(root + "/mine")
    assert acls == [make_digest_acl("bob", "secret", all=True)], acls
    raises(errors.NoAuthError, eve.get, root + "/mine")
    raises(errors.NoAuthError, eve.set, root + "/mine", b"2")
    raises(errors.NoAuthError, eve.get_acls, root + "/mine")
    raises(errors.InvalidACLError, eve.create, root + "/bad", b"", acl=creator)
    eve.add_auth("digest", "bob:secret")
    assert eve.get(root + "/mine")[0] == b"1"
    stat = bob.set_acls(root + "/mine", [make_digest_acl("bob", "secret", admin=True, read=True)] , version=0)
    assert stat.aversion == 1
    raises(errors.NoAuthError, bob.set, root + "/mine", b"3")
    raises(errors.BadVersionError, bob.set_acls, root + "/mine", OPEN_ACL_UNSAFE, version=0)
    bob.set_acls(root + "/mine", OPEN_ACL_UNSAFE)
    assert zk.get(root + "/mine")[0] == b"1"
    automatic = client(auth_data=[("digest", "amy:pw")], default_acl=[make_digest_acl("amy", "pw", all=True)])
    automatic.create(root + "/amy", b"x")
    raises(errors.NoAuthError, zk.get, root + "/amy")


def test_four_letter(root):
    zk = client()
    assert zk.command(b"ruok") == "imok"
    assert any(f"Mode: {mode}" in zk.command(b"srvr") for mode in ("standalone", "leader", "follower"))
    assert zk.server_version()[:2] == (3, 9), zk.server_version()


# --- watches


def test_watches(root):
    zk, other = client(), client()
    seen = []
    zk.ensure_path(root + "/w")
    zk.get(root + "/w", watch=seen.append)
    zk.get_children(root + "/w", watch=seen.append)
    zk.exists(root + "/w/later", watch=seen.append)
    other.set(root + "/w", b"1")
    eventually(lambda: len(seen) == 1, "data event")
    other.set(root + "/w", b"2")
    other.create(root + "/w/later")
    eventually(lambda: len(seen) == 3, "created and children events")
    other.delete(root + "/w/later")
    other.create(root + "/w/fence")
    zk.sync(root)
    assert [(e.type, e.path) for e in seen] == [
        ("CHANGED", root + "/w"),
        ("CREATED", root + "/w/later"),
        ("CHILD", root + "/w"),
    ], seen


def test_data_watch(root):
    zk, other = client(), client()
    seen = []

    @zk.DataWatch(root + "/d")
    def changed(data, stat, event):
        seen.append((data, None if event is None else event.type))

    assert seen == [(None, None)]
    other.create(root + "/d", b"1")
    eventually(lambda: len(seen) == 2, "creation")
    other.set(root + "/d", b"2")
    eventually(lambda: len(seen) == 3, "change")
    other.delete(root + "/d")
    eventually(lambda: len(seen) == 4, "removal")
    other.create(root + "/d", b"3")
    eventually(lambda: len(seen) == 5, "return")
    assert seen[1:] == [(b"1", "CREATED"), (b"2", "CHANGED"), (None, "DELETED"), (b"3", "CREATED")], seen


def test_children_watch(root):
    zk, other = client(), client()
    seen = []

    @zk.ChildrenWatch(root)
    def changed(children):
        seen.append(sorted(children))
        return len(children) < 3

    other.create(root + "/1")
    eventually(lambda: ["1"] in seen, "first child")
    other.create(root + "/2")
    eventually(lambda: ["1", "2"] in seen, "second child")
    other.create(root + "/3")
    eventually(lambda: ["1", "2", "3"] in seen, "third child")
    other.create(root + "/4")
    zk.sync(root)
    assert seen[-1] == ["1", "2", "3"], "the watch ended itself"


def test_tree_cache(root):
    zk, other = client(), client()
    cache = TreeCache(zk, root)
    events = []
    cache.listen(lambda event: events.append((event.event_type, event.event_data and event.event_data.path)))
    cache.start()
    eventually(lambda: (TreeEvent.INITIALIZED, None) in events, "initialisation")
    other.create(root + "/a/b/c", b"deep", makepath=True)
    eventually(lambda: cache.get_data(root + "/a/b/c") is not None, "the new leaf")
    assert cache.get_data(root + "/a/b/c").data == b"deep"
    assert sorted(cache.get_children(root + "/a")) == ["b"]
    other.set(root + "/a/b/c", b"new")
    eventually(lambda: cache.get_data(root + "/a/b/c").data == b"new", "the change")
    other.delete(root + "/a", recursive=True)
    eventually(lambda: cache.get_data(root + "/a") is None, "the removal")
    eventually(lambda: events.count((TreeEvent.NODE_REMOVED, root + "/a")) == 1, "its event")
    cache.close()


# --- recipes


def test_lock(root):
    members = [client() for _ in range(3)]
    inside, order = [], []

    def work(zk, name):
        for _ in range(5):
            with zk.Lock(root + "/lock", name):
                inside.append(name)
                assert len(inside) == 1, "two hold the lock"
                order.append(name)
                time.sleep(0.002)
                inside.pop()

    together(*[lambda c=c, i=i: work(c, "m%d" % i) for i, c in enumerate(members)])
    assert len(order) == 15
    first, second = members[0].Lock(root + "/lock", "first"), members[1].Lock(root + "/lock", "second")
    assert first.acquire(timeout=LIMIT)
    assert not second.acquire(blocking=False)
    raises(errors.LockTimeout, second.acquire, timeout=0.05)
    assert first.contenders() == ["first"]
    end(members[0])
    assert second.acquire(timeout=LIMIT), "the holder's session ended"
    second.release()


def test_read_write_lock(root):
    a, b, c = client(), client(), client()
    readers = [a.ReadLock(root + "/rw", "a"), b.ReadLock(root + "/rw", "b")]
    writer = c.WriteLock(root + "/rw", "c")
    for reader in readers:
        assert reader.acquire(timeout=LIMIT)
    assert not writer.acquire(blocking=False)
    got = threading.Event()

    def write():
        assert writer.acquire(timeout=LIMIT)
        got.set()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    eventually(lambda: len(a.get_children(root + "/rw")) == 3, "the writer waits")
    late = a.ReadLock(root + "/rw", "late")
    assert not late.acquire(blocking=False), "readers behind a writer wait"
    assert not got.is_set()
    for reader in readers:
        reader.release()
    assert got.wait(LIMIT)
    thread.join(LIMIT)
    writer.release()
    assert late.acquire(timeout=LIMIT)
    late.release()


def test_semaphore(root):
    members = [client() for _ in range(4)]
    inside, peak, guard = set(), [0], threading.Lock()

    def work(zk, name):
        semaphore = zk.Semaphore(root + "/semaphore", name, max_leases=2)
        for _ in range(4):
            with semaphore:
                with guard:
                    inside.add(name)
                    peak[0] = max(peak[0], len(inside))
                    assert len(inside) <= 2, "three hold two leases"
                time.sleep(0.002)
                with guard:
                    inside.discard(name)

    together(*[lambda c=c, i=i: work(c, "m%d" % i) for i, c in enumerate(members)])
    assert peak[0] <= 2
    other = members[0].Semaphore(root + "/semaphore", "x", max_leases=3)
    raises(ValueError, other.acquire)


def test_queue(root):
    a, b = client(), client()
    queue = a.Queue(root + "/queue")
    for i in range(10):
        queue.put(b"%d" % i, priority=50 if i else 10)
    assert len(queue) == 10
    assert b.Queue(root + "/queue").get() == b"0"
    got = together(*[lambda c=c: take(c.Queue(root + "/queue")) for c in (a, b)])
    assert sorted(got[0] + got[1]) == [b"%d" % i for i in range(1, 10)]
    assert len(queue) == 0


def take(queue):
    got = []
    while True:
        item = queue.get()
        if item is None:
            return got
        got.append(item)


def test_locking_queue(root):
    a, b = client(), client()
    first, second = a.LockingQueue(root + "/queue"), b.LockingQueue(root + "/queue")
    first.put(b"low")
    first.put(b"high", priority=1)
    first.put_all([b"x", b"y"])
    assert first.get(LIMIT) == b"high"
    assert second.get(LIMIT) == b"low", "a held item is not given twice"
    assert first.holds_lock() and second.holds_lock()
    assert first.consume() and second.consume()
    assert second.get(LIMIT) == b"x"
    end(b)
    assert first.get(LIMIT) in (b"x", b"y")
    assert first.consume()
    rest = first.get(LIMIT)
    assert rest in (b"x", b"y") and first.consume()
    assert first.get(0.05) is None


def test_barrier(root):
    a, b = client(), client()
    a.Barrier(root + "/barrier").create()
    waiting = b.Barrier(root + "/barrier")
    assert waiting.wait(timeout=0.05) is False
    together(lambda: waiting.wait(timeout=LIMIT) or 1 / 0, lambda: (time.sleep(0.05), a.Barrier(root + "/barrier").remove()))
    assert waiting.wait(timeout=0) is True


def test_double_barrier(root):
    members = [client() for _ in range(3)]
    entered, left = [], []

    def work(zk):
        barrier = zk.DoubleBarrier(root + "/double", 3)
        barrier.enter()
        entered.append(1)
        eventually(lambda: len(entered) == 3, "all inside")
        barrier.leave()
        left.append(1)

    together(*[lambda c=c: work(c) for c in members])
    assert len(left) == 3


def test_election(root):
    members = [client() for _ in range(3)]
    leaders, current, guard = [], [], threading.Lock()

    def lead(name):
        with guard:
            current.append(name)
            assert len(current) == 1, "two leaders"
            leaders.append(name)
        time.sleep(0.02)
        with guard:
            current.pop()

    together(*[lambda c=c, i=i: c.Election(root + "/election", "m%d" % i).run(lead, "m%d" % i)
               for i, c in enumerate(members)])
    assert sorted(leaders) == ["m0", "m1", "m2"]


def test_counter(root):
    members = [client() for _ in range(3)]

    def work(zk):
        zk.retry.max_tries = -1
        counter = zk.Counter(root + "/counter")
        for _ in range(20):
            counter += 2
            counter -= 1

    together(*[lambda c=c: work(c) for c in members])
    assert members[0].Counter(root + "/counter").value == 60
    decimals = members[0].Counter(root + "/float", default=1.5)
    decimals += 2.25
    assert decimals.value == 3.75


def test_party(root):
    members = [client() for _ in range(3)]
    parties = [c.Party(root + "/party", "m%d" % i) for i, c in enumerate(members)]
    for party in parties:
        party.join()
    assert set(parties[0]) == {"m0", "m1", "m2"}
    parties[0].leave()
    assert set(parties[1]) == {"m1", "m2"}
    end(members[2])
    eventually(lambda: set(parties[1]) == {"m1"}, "the closed member is gone")
    shallow = members[0].ShallowParty(root + "/shallow", "s")
    shallow.join()
    assert len(members[1].ShallowParty(root + "/shallow", "t")) == 1


def test_lease(root):
    from datetime import timedelta

    a, b = client(), client()
    assert a.NonBlockingLease(root + "/lease", timedelta(seconds=600), "a")
    assert not b.NonBlockingLease(root + "/lease", timedelta(seconds=600), "b")
    assert a.NonBlockingLease(root + "/lease", timedelta(seconds=600), "a"), "its owner may renew it"
    taken = [bool(zk.MultiNonBlockingLease(2, root + "/leases", timedelta(seconds=600), name))
             for zk, name in ((a, "a"), (b, "b"), (a, "c"))]
    assert taken == [True, True, False], taken


def test_set_partitioner(root):
    members = [client() for _ in range(2)]
    items = tuple("i%d" % i for i in range(7))

    def work(zk, name):
        partitioner = zk.SetPartitioner(root + "/partition", set=items, identifier=name, time_boundary=0.2)
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            if partitioner.failed:
                raise AssertionError("partitioning failed")
            if partitioner.release:
                partitioner.release_set()
            elif partitioner.acquired and len(list(partitioner)) < len(items):
                return set(partitioner), partitioner
            else:
                time.sleep(0.01)
        raise AssertionError("never partitioned between two")

    (first, one), (second, two) = together(
        *[lambda c=c, i=i: work(c, "m%d" % i) for i, c in enumerate(members)]
    )
    assert first | second == set(items) and not first & second, (first, second)


# --- connections


def drop(zk):
    """Cuts the TCP connection under a client without closing its session."""
    zk._connection._socket.shutdown(socket.SHUT_RDWR)


def test_reattach_keeps_the_session(root):
    zk, other = client(), client()
    states = []
    zk.add_listener(states.append)
    session = zk.client_id
    zk.create(root + "/e", b"x", ephemeral=True)
    seen = []
    zk.get(root + "/e", watch=seen.append)
    drop(zk)
    eventually(lambda: KazooState.CONNECTED in states, "reconnected")
    assert states[0] == KazooState.SUSPENDED and KazooState.LOST not in states, states
    assert zk.client_id == session
    assert zk.retry(zk.exists, root + "/e").owner_session_id == session[0]
    other.set(root + "/e", b"y")
    assert zk.retry(zk.get, root + "/e")[0] == b"y"


def test_data_watch_survives_a_reconnect(root):
    zk, other = client(), client()
    seen = []
    zk.ensure_path(root + "/d")

    @zk.DataWatch(root + "/d")
    def changed(data, stat):
        seen.append(data)

    states = []
    zk.add_listener(states.append)
    drop(zk)
    other.set(root + "/d", b"while away")
    eventually(lambda: KazooState.CONNECTED in states, "reconnected")
    eventually(lambda: seen[-1] == b"while away", "the missed change")
    other.set(root + "/d", b"after")
    eventually(lambda: seen[-1] == b"after", "the later change")


def test_expired_session_is_told(root):
    zk = client()
    doomed = client(timeout=2.0)
    doomed.create(root + "/e", ephemeral=True)
    session = doomed.client_id
    states = []
    doomed.add_listener(states.append)
    # Another client closes the session behind its back.
    thief = client(client_id=session)
    assert thief.client_id == session
    end(thief)
    eventually(lambda: KazooState.LOST in states, "the loss")
    eventually(lambda: doomed.connected and doomed.client_id != session, "a new session")
    eventually(lambda: zk.exists(root + "/e") is None, "its ephemeral gone")


def test_lock_survives_a_reconnect(root):
    zk, other = client(), client()
    lock = zk.Lock(root + "/lock", "one")
    assert lock.acquire(timeout=LIMIT)
    states = []
    zk.add_listener(states.append)
    drop(zk)
    eventually(lambda: KazooState.CONNECTED in states, "reconnected")
    assert not other.Lock(root + "/lock", "two").acquire(blocking=False)
    zk.retry(lock.release)
    assert other.Lock(root + "/lock", "two").acquire(timeout=LIMIT)


def main():
    logging.basicConfig(level=logging.CRITICAL)
    wanted = sys.argv[2:]
    cases = [(n, f) for n, f in sorted(globals().items()) if n.startswith("test_") and (not wanted or n in wanted)]
    failed = []
    for name, case in cases:
        root = "/kazoo-" + name[5:].replace("_", "-") + "-" + uuid.uuid4().hex[:8]
        began = time.monotonic()
        setup = client()
        setup.ensure_path(root)
        end(setup)
        try:
            case(root)
            print("ok   %s (%.2f s)" % (name, time.monotonic() - began), flush=True)
        except BaseException:
            failed.append(name)
            print("FAIL %s\n%s" % (name, traceback.format_exc()), flush=True)
        for zk in list(CLIENTS):
            try:
                end(zk)
            except BaseException:
                traceback.print_exc()
                CLIENTS.remove(zk)
    print("%d cases, %d failed %s" % (len(cases), len(failed), failed), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
