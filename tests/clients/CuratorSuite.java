import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorOp;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Stat;

/**
 * Curator's recipes against one server: CuratorSuite host:port [case...]
 *
 * <p>Every case has a root of its own and clients of its own. Conditions are waited for with a wide limit, never by a
 * fixed sleep. Ends with 0 when all cases passed, and prints one line per case. The server has extended types on.
 */
public final class CuratorSuite {
    private static final long LIMIT_S = 60;
    private static final RetryNTimes RETRY = new RetryNTimes(200, 20);
    private static final ExecutorService THREADS = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    });
    private static final List<AutoCloseable> OPEN = new CopyOnWriteArrayList<>();
    private static String hosts;

    private interface Case {
        void run(String root) throws Exception;
    }

    private static final Object[][] CASES = {
        {"nodes", (Case) CuratorSuite::nodes},
        {"transactions", (Case) CuratorSuite::transactions},
        {"aclAndAuth", (Case) CuratorSuite::aclAndAuth},
        {"mutex", (Case) CuratorSuite::mutex},
        {"readWriteLock", (Case) CuratorSuite::readWriteLock},
        {"semaphore", (Case) CuratorSuite::semaphore},
        {"multiLock", (Case) CuratorSuite::multiLock},
        {"leaderLatch", (Case) CuratorSuite::leaderLatch},
        {"leaderSelector", (Case) CuratorSuite::leaderSelector},
        {"simpleQueue", (Case) CuratorSuite::simpleQueue},
        {"distributedQueue", (Case) CuratorSuite::distributedQueue},
        {"barrier", (Case) CuratorSuite::barrier},
        {"doubleBarrier", (Case) CuratorSuite::doubleBarrier},
        {"sharedCount", (Case) CuratorSuite::sharedCount},
        {"atomicLong", (Case) CuratorSuite::atomicLong},
        {"persistentNode", (Case) CuratorSuite::persistentNode},
        {"ttlNode", (Case) CuratorSuite::ttlNode},
        {"containers", (Case) CuratorSuite::containers},
        {"cache", (Case) CuratorSuite::cache},
        {"groupMember", (Case) CuratorSuite::groupMember},
        {"persistentWatcher", (Case) CuratorSuite::persistentWatcher},
        {"watchesSurviveReconnect", (Case) CuratorSuite::watchesSurviveReconnect},
        {"expiredSession", (Case) CuratorSuite::expiredSession},
        {"namespace", (Case) CuratorSuite::namespace},
    };

    public static void main(String[] arguments) throws Exception {
        hosts = arguments[0];
        Set<String> wanted = new HashSet<>(Arrays.asList(arguments).subList(1, arguments.length));
        List<String> failed = new ArrayList<>();
        for (Object[] entry : CASES) {
            String name = (String) entry[0];
            if (!wanted.isEmpty() && !wanted.contains(name)) continue;
            long began = System.nanoTime();
            try {
                // A hanging case is a failed case: its thread is a daemon and is left behind.
                Future<?> done = THREADS.submit(() -> {
                    ((Case) entry[1]).run("/curator-" + name + "-" + Long.toHexString(began));
                    return null;
                });
                done.get(2 * LIMIT_S, TimeUnit.SECONDS);
                System.out.printf("ok   %s (%.2f s)%n", name, (System.nanoTime() - began) / 1e9);
            } catch (Throwable problem) {
                failed.add(name);
                System.out.println("FAIL " + name);
                problem.printStackTrace(System.out);
            }
            List<AutoCloseable> open = new ArrayList<>(OPEN);
            Collections.reverse(open);
            for (AutoCloseable one : open) close(one);
            OPEN.clear();
        }
        System.out.printf("%d failed %s%n", failed.size(), failed);
        System.exit(failed.isEmpty() ? 0 : 1);
    }

    // --- helpers

    private static void close(AutoCloseable one) {
        try {
            one.close();
        } catch (Exception ignored) {
            // Already closed by its case.
        }
    }

    private static <T extends AutoCloseable> T keep(T one) {
        OPEN.add(one);
        return one;
    }

    private static CuratorFrameworkFactory.Builder builder() {
        return CuratorFrameworkFactory.builder()
                .connectString(hosts)
                .retryPolicy(RETRY)
                .sessionTimeoutMs(20_000)
                .connectionTimeoutMs(20_000);
    }

    private static CuratorFramework client() throws Exception {
        return started(builder());
    }

    private static CuratorFramework started(CuratorFrameworkFactory.Builder builder) throws Exception {
        CuratorFramework client = keep(builder.build());
        client.start();
        check(client.blockUntilConnected((int) LIMIT_S, TimeUnit.SECONDS), "connected");
        return client;
    }

    private static void check(boolean condition, String what) {
        if (!condition) throw new AssertionError("not so: " + what);
    }

    private static void same(Object expected, Object got) {
        if (!expected.equals(got)) throw new AssertionError("expected " + expected + ", got " + got);
    }

    private static void eventually(String what, BooleanSupplier condition) throws Exception {
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_S);
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > until) throw new AssertionError("never happened: " + what);
            Thread.sleep(10);
        }
    }

    private static void fails(Class<?> error, Callable<?> call) {
        Object value;
        try {
            value = call.call();
        } catch (Throwable caught) {
            if (error.isInstance(caught)) return;
            throw new AssertionError("expected " + error + ", got " + caught, caught);
        }
        throw new AssertionError("expected " + error + ", got " + value);
    }

    private static void together(int count, Member member) throws Exception {
        List<Future<?>> running = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int index = i;
            running.add(THREADS.submit(() -> {
                member.run(index, client());
                return null;
            }));
        }
        for (Future<?> one : running) one.get(LIMIT_S, TimeUnit.SECONDS);
    }

    private interface Member {
        void run(int index, CuratorFramework client) throws Exception;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    // --- plain operations

    private static void nodes(String root) throws Exception {
        CuratorFramework client = client();
        same(root + "/a/b", client.create().creatingParentsIfNeeded().forPath(root + "/a/b", bytes("1")));
        fails(KeeperException.NodeExistsException.class, () -> client.create().forPath(root + "/a/b"));
        fails(KeeperException.NoNodeException.class, () -> client.create().forPath(root + "/x/y"));
        Stat stat = new Stat();
        same("1", text(client.getData().storingStatIn(stat).forPath(root + "/a/b")));
        same(0, stat.getVersion());
        same(1, client.setData().withVersion(0).forPath(root + "/a/b", bytes("22")).getVersion());
        fails(KeeperException.BadVersionException.class,
                () -> client.setData().withVersion(0).forPath(root + "/a/b", bytes("3")));
        same(List.of("b"), client.getChildren().forPath(root + "/a"));
        check(client.checkExists().forPath(root + "/nothing") == null, "absent");
        String sequential = client.create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath(root + "/s-");
        same(root + "/s-0000000001", sequential);
        String protectedName = client.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                .forPath(root + "/p-");
        check(protectedName.matches(".*/_c_[0-9a-f-]{36}-p-0000000002"), protectedName);
        Stat created = new Stat();
        client.create().storingStatIn(created).forPath(root + "/with", bytes("xyz"));
        same(3, created.getDataLength());
        client.create().orSetData().forPath(root + "/with", bytes("4444"));
        same("4444", text(client.getData().forPath(root + "/with")));
        byte[] large = new byte[900_000];
        Arrays.fill(large, (byte) 7);
        client.setData().forPath(root + "/with", large);
        check(Arrays.equals(large, client.getData().forPath(root + "/with")), "large value");
        CountDownLatch background = new CountDownLatch(200);
        for (int i = 0; i < 200; i++) {
            client.create().inBackground((c, event) -> {
                same(0, event.getResultCode());
                background.countDown();
            }).forPath(root + "/a/n" + i);
        }
        check(background.await(LIMIT_S, TimeUnit.SECONDS), "background creates");
        same(201, client.getChildren().forPath(root + "/a").size());
        same(201, client.getZookeeperClient().getZooKeeper().getAllChildrenNumber(root + "/a"));
        same(1, client.getZookeeperClient().getZooKeeper().getEphemerals(root).size());
        client.delete().deletingChildrenIfNeeded().forPath(root);
        check(client.checkExists().forPath(root) == null, "all gone");
        client.sync().forPath("/");
    }

    private static void transactions(String root) throws Exception {
        CuratorFramework client = client();
        List<CuratorTransactionResult> results = client.transaction().forOperations(
                client.transactionOp().create().forPath(root, bytes("1")),
                client.transactionOp().create().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath(root + "/e-"),
                client.transactionOp().setData().withVersion(0).forPath(root, bytes("2")),
                client.transactionOp().check().withVersion(1).forPath(root));
        same(4, results.size());
        same(root + "/e-0000000000", results.get(1).getResultPath());
        same(1, results.get(2).getResultStat().getVersion());
        CuratorOp good = client.transactionOp().create().forPath(root + "/x");
        CuratorOp bad = client.transactionOp().check().withVersion(77).forPath(root);
        try {
            client.transaction().forOperations(good, bad, good);
            throw new AssertionError("a failing transaction passed");
        } catch (KeeperException.BadVersionException expected) {
            same(List.of(0, -103, -2), codes(expected));
        }
        check(client.checkExists().forPath(root + "/x") == null, "nothing of it remains");
    }

    private static List<Integer> codes(KeeperException exception) {
        List<Integer> codes = new ArrayList<>();
        for (org.apache.zookeeper.OpResult result : exception.getResults()) {
            codes.add(((org.apache.zookeeper.OpResult.ErrorResult) result).getErr());
        }
        return codes;
    }

    private static void aclAndAuth(String root) throws Exception {
        CuratorFramework bob = started(builder().authorization("digest", bytes("bob:pw")));
        CuratorFramework eve = client();
        bob.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath(root, bytes("1"));
        List<ACL> acl = bob.getACL().forPath(root);
        same("bob:ikIaKsbtGweaHnb/jKn7OHqbunM=", acl.get(0).getId().getId());
        fails(KeeperException.NoAuthException.class, () -> eve.getData().forPath(root));
        fails(KeeperException.InvalidACLException.class,
                () -> eve.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath(root + "x"));
        same(1, bob.setACL().withVersion(0).withACL(ZooDefs.Ids.READ_ACL_UNSAFE).forPath(root).getAversion());
        same("1", text(eve.getData().forPath(root)));
        same(2, bob.getZookeeperClient().getZooKeeper().whoAmI().size());
    }

    // --- locks and leaders

    private static void mutex(String root) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger total = new AtomicInteger();
        together(3, (index, client) -> {
            InterProcessMutex mutex = new InterProcessMutex(client, root);
            for (int i = 0; i < 10; i++) {
                check(mutex.acquire(LIMIT_S, TimeUnit.SECONDS), "acquired");
                check(mutex.acquire(LIMIT_S, TimeUnit.SECONDS), "acquired again");
                same(1, inside.incrementAndGet());
                total.incrementAndGet();
                inside.decrementAndGet();
                mutex.release();
                mutex.release();
            }
        });
        same(30, total.get());
        CuratorFramework holder = client();
        InterProcessMutex held = new InterProcessMutex(holder, root);
        check(held.acquire(LIMIT_S, TimeUnit.SECONDS), "acquired");
        InterProcessSemaphoreMutex notReentrant = new InterProcessSemaphoreMutex(client(), root + "-plain");
        check(notReentrant.acquire(LIMIT_S, TimeUnit.SECONDS), "acquired");
        check(!notReentrant.acquire(50, TimeUnit.MILLISECONDS), "not twice");
        InterProcessMutex waiting = new InterProcessMutex(client(), root);
        check(!waiting.acquire(50, TimeUnit.MILLISECONDS), "held by another");
        holder.close();
        check(waiting.acquire(LIMIT_S, TimeUnit.SECONDS), "free after the holder's end");
        waiting.release();
    }

    private static void readWriteLock(String root) throws Exception {
        InterProcessReadWriteLock first = new InterProcessReadWriteLock(client(), root);
        InterProcessReadWriteLock second = new InterProcessReadWriteLock(client(), root);
        check(first.readLock().acquire(LIMIT_S, TimeUnit.SECONDS), "read");
        check(second.readLock().acquire(LIMIT_S, TimeUnit.SECONDS), "shared read");
        check(!second.writeLock().acquire(50, TimeUnit.MILLISECONDS), "no write beside readers");
        first.readLock().release();
        second.readLock().release();
        check(second.writeLock().acquire(LIMIT_S, TimeUnit.SECONDS), "write");
        check(!first.readLock().acquire(50, TimeUnit.MILLISECONDS), "no read beside a writer");
        check(second.readLock().acquire(LIMIT_S, TimeUnit.SECONDS), "a writer may read");
        second.writeLock().release();
        check(first.readLock().acquire(LIMIT_S, TimeUnit.SECONDS), "downgraded");
        first.readLock().release();
        second.readLock().release();
    }

    private static void semaphore(String root) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger total = new AtomicInteger();
        together(4, (index, client) -> {
            InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, root, 2);
            for (int i = 0; i < 5; i++) {
                Lease lease = semaphore.acquire(LIMIT_S, TimeUnit.SECONDS);
                check(lease != null, "a lease");
                check(inside.incrementAndGet() <= 2, "at most two");
                total.incrementAndGet();
                inside.decrementAndGet();
                semaphore.returnLease(lease);
            }
        });
        same(20, total.get());
    }

    private static void multiLock(String root) throws Exception {
        CuratorFramework client = client();
        InterProcessMultiLock both = new InterProcessMultiLock(client, List.of(root + "/a", root + "/b"));
        check(both.acquire(LIMIT_S, TimeUnit.SECONDS), "both");
        check(!new InterProcessMutex(client(), root + "/b").acquire(50, TimeUnit.MILLISECONDS), "b is held");
        both.release();
        check(new InterProcessMutex(client(), root + "/b").acquire(LIMIT_S, TimeUnit.SECONDS), "b is free");
    }

    private static void leaderLatch(String root) throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            LeaderLatch latch = new LeaderLatch(client(), root, "m" + i);
            latch.start();
            latches.add(latch);
        }
        while (!latches.isEmpty()) {
            eventually("one leader", () -> latches.stream().filter(LeaderLatch::hasLeadership).count() == 1);
            LeaderLatch leader = latches.stream().filter(LeaderLatch::hasLeadership).findFirst().orElseThrow();
            same(leader.getId(), latches.get(0).getLeader().getId());
            same(latches.size(), latches.get(0).getParticipants().size());
            latches.remove(leader);
            leader.close();
        }
    }

    private static void leaderSelector(String root) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        CountDownLatch terms = new CountDownLatch(6);
        Set<String> leaders = Collections.synchronizedSet(new HashSet<>());
        for (int i = 0; i < 3; i++) {
            String name = "m" + i;
            LeaderSelector selector = new LeaderSelector(client(), root, new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework client) {
                    check(inside.incrementAndGet() == 1, "one leader");
                    leaders.add(name);
                    inside.decrementAndGet();
                    terms.countDown();
                }
            });
            selector.setId(name);
            selector.autoRequeue();
            keep(selector);
            selector.start();
        }
        check(terms.await(LIMIT_S, TimeUnit.SECONDS), "six terms");
        eventually("everybody's turn", () -> leaders.size() == 3);
    }

    // --- queues, barriers, counters

    private static void simpleQueue(String root) throws Exception {
        SimpleDistributedQueue queue = new SimpleDistributedQueue(client(), root);
        for (int i = 0; i < 10; i++) check(queue.offer(bytes("i" + i)), "offered");
        same("i0", text(queue.peek()));
        List<String> got = Collections.synchronizedList(new ArrayList<>());
        together(2, (index, client) -> {
            SimpleDistributedQueue mine = new SimpleDistributedQueue(client, root);
            for (byte[] item = mine.poll(); item != null; item = mine.poll()) got.add(text(item));
        });
        same(10, got.size());
        same(10, new HashSet<>(got).size());
        check(queue.poll(50, TimeUnit.MILLISECONDS) == null, "empty");
    }

    private static final QueueSerializer<String> STRINGS = new QueueSerializer<>() {
        @Override
        public byte[] serialize(String item) {
            return bytes(item);
        }

        @Override
        public String deserialize(byte[] item) {
            return text(item);
        }
    };

    private static void distributedQueue(String root) throws Exception {
        List<String> got = new CopyOnWriteArrayList<>();
        QueueConsumer<String> consumer = new QueueConsumer<>() {
            @Override
            public void consumeMessage(String message) {
                got.add(message);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        };
        DistributedQueue<String> source = keep(QueueBuilder.builder(client(), null, STRINGS, root).buildQueue());
        DistributedQueue<String> target =
                keep(QueueBuilder.builder(client(), consumer, STRINGS, root).lockPath(root + "-locks").buildQueue());
        source.start();
        target.start();
        for (int i = 0; i < 30; i++) source.put("i" + i);
        eventually("30 items", () -> got.size() == 30);
        same(30, new HashSet<>(got).size());
    }

    private static void barrier(String root) throws Exception {
        DistributedBarrier barrier = new DistributedBarrier(client(), root);
        barrier.setBarrier();
        DistributedBarrier other = new DistributedBarrier(client(), root);
        check(!other.waitOnBarrier(50, TimeUnit.MILLISECONDS), "closed");
        Future<Boolean> waiting = THREADS.submit(() -> other.waitOnBarrier(LIMIT_S, TimeUnit.SECONDS));
        barrier.removeBarrier();
        check(waiting.get(LIMIT_S, TimeUnit.SECONDS), "opened");
    }

    private static void doubleBarrier(String root) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        together(3, (index, client) -> {
            DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, root, 3);
            inside.incrementAndGet();
            check(barrier.enter(LIMIT_S, TimeUnit.SECONDS), "entered");
            same(3, inside.get());
            check(barrier.leave(LIMIT_S, TimeUnit.SECONDS), "left");
        });
    }

    private static void sharedCount(String root) throws Exception {
        SharedCount first = keep(new SharedCount(client(), root, 7));
        SharedCount second = keep(new SharedCount(client(), root, 0));
        first.start();
        second.start();
        same(7, second.getCount());
        first.setCount(8);
        eventually("the other sees it", () -> second.getCount() == 8);
        check(second.trySetCount(second.getVersionedValue(), 9), "compare and set");
        check(!first.trySetCount(first.getVersionedValue(), 10) || first.getCount() == 10, "at most one wins");
    }

    private static void atomicLong(String root) throws Exception {
        together(3, (index, client) -> {
            DistributedAtomicLong number = new DistributedAtomicLong(client, root, RETRY);
            for (int i = 0; i < 20; i++) {
                AtomicValue<Long> value = number.increment();
                while (!value.succeeded()) value = number.increment();
            }
        });
        same(60L, new DistributedAtomicLong(client(), root, RETRY).get().postValue());
    }

    // --- nodes that stay, caches, watches

    private static void persistentNode(String root) throws Exception {
        CuratorFramework owner = client();
        CuratorFramework other = client();
        PersistentNode node = keep(new PersistentNode(owner, CreateMode.EPHEMERAL, false, root, bytes("x")));
        node.start();
        check(node.waitForInitialCreate(LIMIT_S, TimeUnit.SECONDS), "created");
        other.delete().forPath(root);
        eventually("it comes back", () -> exists(other, root));
        node.close();
        check(!exists(other, root), "gone on close");
    }

    private static boolean exists(CuratorFramework client, String path) {
        try {
            return client.checkExists().forPath(path) != null;
        } catch (Exception problem) {
            throw new AssertionError(problem);
        }
    }

    private static void ttlNode(String root) throws Exception {
        CuratorFramework client = client();
        PersistentTtlNode node = keep(new PersistentTtlNode(client, root, 2_000, bytes("x")));
        node.start();
        check(node.waitForInitialCreate(LIMIT_S, TimeUnit.SECONDS), "created");
        eventually("its touch node", () -> exists(client, root + "/touch"));
        client.create().withTtl(700_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath(root + "-plain");
        Stat stat = client.checkExists().forPath(root + "-plain");
        same(0L, stat.getEphemeralOwner());
        client.create().withTtl(700_000).withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL).forPath(root + "-s-");
    }

    private static void containers(String root) throws Exception {
        CuratorFramework client = client();
        client.create().withMode(CreateMode.CONTAINER).forPath(root);
        client.create().creatingParentContainersIfNeeded().forPath(root + "/a/b/c");
        same(List.of("a"), client.getChildren().forPath(root));
        client.delete().forPath(root + "/a/b/c");
        client.createContainers(root + "/d/e");
        check(exists(client, root + "/d/e"), "made");
    }

    private static void cache(String root) throws Exception {
        CuratorFramework client = client();
        CuratorFramework other = client();
        List<String> events = new CopyOnWriteArrayList<>();
        CountDownLatch initialized = new CountDownLatch(1);
        CuratorCache cache = keep(CuratorCache.build(client, root));
        cache.listenable().addListener(CuratorCacheListener.builder()
                .forAll((type, before, after) -> events.add(type + " " + (after != null ? after : before).getPath()))
                .forInitialized(initialized::countDown)
                .build());
        other.create().forPath(root, bytes("0"));
        cache.start();
        check(initialized.await(LIMIT_S, TimeUnit.SECONDS), "initialised");
        other.create().creatingParentsIfNeeded().forPath(root + "/a/b", bytes("1"));
        eventually("the leaf", () -> cache.get(root + "/a/b").isPresent());
        other.setData().forPath(root + "/a/b", bytes("2"));
        eventually("the change", () -> cache.get(root + "/a/b").map(d -> text(d.getData())).orElse("").equals("2"));
        other.delete().deletingChildrenIfNeeded().forPath(root + "/a");
        eventually("the removal", () -> cache.get(root + "/a").isEmpty());
        check(events.contains("NODE_CREATED " + root + "/a"), events.toString());
        check(events.contains("NODE_CHANGED " + root + "/a/b"), events.toString());
        check(events.contains("NODE_DELETED " + root + "/a/b"), events.toString());
    }

    private static void groupMember(String root) throws Exception {
        CuratorFramework second = client();
        GroupMember a = keep(new GroupMember(client(), root, "a", bytes("1")));
        GroupMember b = new GroupMember(second, root, "b", bytes("2"));
        a.start();
        b.start();
        eventually("both", () -> a.getCurrentMembers().keySet().equals(Set.of("a", "b")));
        b.close();
        eventually("one", () -> a.getCurrentMembers().keySet().equals(Set.of("a")));
    }

    private static void persistentWatcher(String root) throws Exception {
        CuratorFramework client = client();
        CuratorFramework other = client();
        List<String> deep = new CopyOnWriteArrayList<>();
        List<String> flat = new CopyOnWriteArrayList<>();
        PersistentWatcher recursive = keep(new PersistentWatcher(client, root, true));
        PersistentWatcher plain = keep(new PersistentWatcher(client, root, false));
        recursive.getListenable().addListener(event -> note(deep, event));
        plain.getListenable().addListener(event -> note(flat, event));
        CountDownLatch ready = new CountDownLatch(2);
        recursive.getResetListenable().addListener(ready::countDown);
        plain.getResetListenable().addListener(ready::countDown);
        recursive.start();
        plain.start();
        check(ready.await(LIMIT_S, TimeUnit.SECONDS), "both set");
        List<String> expected = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            other.create().forPath(root);
            other.create().forPath(root + "/a");
            other.setData().forPath(root + "/a", bytes("1"));
            other.delete().forPath(root + "/a");
            other.delete().forPath(root);
            expected.addAll(List.of("NodeCreated " + root, "NodeCreated " + root + "/a",
                    "NodeDataChanged " + root + "/a", "NodeDeleted " + root + "/a", "NodeDeleted " + root));
        }
        eventually("ten deep events", () -> deep.size() >= 10);
        eventually("eight flat events", () -> flat.size() >= 8);
        // Curator gives each watcher both streams of one path; what is asserted is what the server sent.
        check(deep.containsAll(expected), deep.toString());
        check(flat.contains("NodeChildrenChanged " + root), flat.toString());
    }

    private static void note(Collection<String> into, WatchedEvent event) {
        if (event.getPath() != null) into.add(event.getType() + " " + event.getPath());
    }

    // --- connections

    private static void watchesSurviveReconnect(String root) throws Exception {
        // The Java client notices a closed socket only after two thirds of its timeout.
        CuratorFramework client = started(builder().sessionTimeoutMs(3_000));
        CuratorFramework other = client();
        other.create().forPath(root, bytes("0"));
        client.create().withMode(CreateMode.EPHEMERAL).forPath(root + "-e");
        List<String> events = new CopyOnWriteArrayList<>();
        client.getData().usingWatcher((org.apache.zookeeper.Watcher) e -> note(events, e)).forPath(root);
        client.getChildren().usingWatcher((org.apache.zookeeper.Watcher) e -> note(events, e)).forPath(root);
        client.checkExists().usingWatcher((org.apache.zookeeper.Watcher) e -> note(events, e)).forPath(root + "/a");
        long session = client.getZookeeperClient().getZooKeeper().getSessionId();
        client.getZookeeperClient().getZooKeeper().getTestable().closeSocket();
        other.setData().forPath(root, bytes("1"));
        other.create().forPath(root + "/a");
        eventually("three events", () -> events.size() >= 3);
        same(Set.of("NodeDataChanged " + root, "NodeChildrenChanged " + root, "NodeCreated " + root + "/a"),
                new HashSet<>(events));
        same(session, client.getZookeeperClient().getZooKeeper().getSessionId());
        same(session, other.checkExists().forPath(root + "-e").getEphemeralOwner());
    }

    private static void expiredSession(String root) throws Exception {
        CuratorFramework client = client();
        CuratorFramework other = client();
        client.create().withMode(CreateMode.EPHEMERAL).forPath(root);
        List<ConnectionState> states = new CopyOnWriteArrayList<>();
        client.getConnectionStateListenable().addListener((c, state) -> states.add(state));
        ZooKeeper original = client.getZookeeperClient().getZooKeeper();
        CountDownLatch taken = new CountDownLatch(1);
        ZooKeeper thief = new ZooKeeper(hosts, 20_000, event -> {
            if (event.getState() == org.apache.zookeeper.Watcher.Event.KeeperState.SyncConnected) taken.countDown();
        }, original.getSessionId(), original.getSessionPasswd());
        check(taken.await(LIMIT_S, TimeUnit.SECONDS), "the session was taken over");
        thief.close();
        eventually("lost", () -> states.contains(ConnectionState.LOST));
        eventually("reconnected", () -> states.contains(ConnectionState.RECONNECTED));
        check(!exists(other, root), "the ephemeral went with its session");
        client.create().withMode(CreateMode.EPHEMERAL).forPath(root);
    }

    private static void namespace(String root) throws Exception {
        CuratorFramework client = started(builder().namespace(root.substring(1)));
        client.create().creatingParentsIfNeeded().forPath("/a/b", bytes("1"));
        same("1", text(client().getData().forPath(root + "/a/b")));
        CuratorFramework jailed = started(builder().connectString(hosts + root));
        same("1", text(jailed.getData().forPath("/a/b")));
    }

    private CuratorSuite() {}
}
