import CMillraceLinux
import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// A group whose loops run on threads of their own, over drivers without a kernel.
@Suite struct GroupThreadTests {
    private struct Refusal: Error {}

    private static func group(
        loops: Int, pinLoops: Bool = false,
        _ sockets: any Sockets = SimulatedSockets(network: SimulatedNetwork(seed: 1)),
        onBoot: @escaping @Sendable (Loop) throws -> Void
    ) -> LoopGroup {
        var configuration = LoopGroup.Configuration()
        configuration.loops = loops
        configuration.reusePort = true
        configuration.pinLoops = pinLoops
        return LoopGroup(
            configuration,
            LoopGroup.Parts(
                sockets: sockets, makeDriver: { ThreadDriver() },
                makeDelegate: { _ in
                    let delegate = RecordingDelegate()
                    delegate.onBoot = onBoot
                    return delegate
                }, report: { _ in }))
    }

    // MARK: Processors

    /// The set of processors that this thread may use.
    private static var processors: [UInt8] {
        var affinity = mr_affinity()
        mr_get_affinity(&affinity)
        return withUnsafeBytes(of: &affinity.bits) { Array($0) }
    }

    /// Like under `taskset -c` with the last processor. In a process of its own, since other tests
    /// share this one's threads.
    @Test("pinned loops run only on processors that the process may use")
    func pinning() async {
        await #expect(processExitsWith: .success) {
            // Threads inherit it.
            #expect(mr_pin_thread(mr_processor(mr_cpu_count() - 1)) == 0)
            let allowed = GroupThreadTests.processors
            let seen = Monitor<[[UInt8]]>([])
            let group = GroupThreadTests.group(loops: 3, pinLoops: true) { _ in
                seen.withLock { $0.append(GroupThreadTests.processors) }
            }
            let listeners = try group.listen(on: [])
            #expect(group.start(listeners) == nil)
            group.stop(.requested, within: 0)
            group.join()
            let found = seen.withLock { $0 }
            #expect(found.count == 3)
            #expect(found.allSatisfy { $0 == allowed })
        }
    }

    /// Binds a further address on a pinned loop, over the kernel's sockets, and returns the
    /// processor that each of its sockets prefers.
    private static func processorsOfAddedListener() throws -> [CInt] {
        let found = Monitor<[CInt]>([])
        let itself = Monitor<LoopGroup?>(nil)
        let address = SocketAddress.v4(IPv4Bytes(UInt32(0x7F00_0001).bigEndian), port: 0)
        let group = group(loops: 2, pinLoops: true, KernelSockets()) { loop in
            guard loop.index == 1, let group = itself.withLock({ $0 }) else { return }
            let added = try group.listen(alsoOn: ListenAddress(address))
            for copy in try group.duplicateListeners([added.place]) {
                var (value, size) = (CInt(-2), socklen_t(MemoryLayout<CInt>.size))
                getsockopt(
                    copy.number, SOL_SOCKET, CInt(MR_SO_INCOMING_CPU), &value, &size)
                close(copy.number)
                found.withLock { $0.append(value) }
            }
        }
        itself.withLock { $0 = group }
        defer { itself.withLock { $0 = nil } }
        if let failure = group.start(try group.listen(on: [])) { throw failure }
        group.stop(.requested, within: 0)
        group.join()
        return found.withLock { $0 }
    }

    /// In a process of its own, which may use all processors, unlike under `taskset`.
    @Test("listeners that a pinned loop adds prefer the processors of all loops")
    func pinnedListeners() async {
        await #expect(processExitsWith: .success) {
            var all = mr_affinity()
            withUnsafeMutableBytes(of: &all.bits) { bits in
                for place in bits.indices { bits[place] = 0xFF }
            }
            all.is_known = true
            mr_set_affinity(&all)
            let expected = (0..<2).map { mr_processor($0) }
            let found = try GroupThreadTests.processorsOfAddedListener()
            #expect(found == expected)
        }
    }

    // MARK: A start that fails

    @Test("waits for the end of a group return when its start fails", arguments: [1, 3])
    func failedStart(loops: Int) throws {
        let told = Monitor(0)
        let group = Self.group(loops: loops) { loop in
            if loop.index == loops - 1 { throw Refusal() }
        }
        group.whenEnded { told.update { $0 += 1 } }
        let listeners = try group.listen(on: [])
        #expect(group.start(listeners) is Refusal)
        let isOver = try returns {
            _ = group.waitUntilEnded()
            group.join()
        }
        #expect(isOver)
        group.whenEnded { told.update { $0 += 1 } }
        #expect(told.withLock { $0 } == 2)
        #expect(!group.waitUntilBooted())
    }
}

/// Runs `body` on its own thread; false if it does not return in time. Then the thread stays.
func returns(
    within limit: Nanoseconds = 30_000_000_000, _ body: @escaping @Sendable () -> Void
) throws -> Bool {
    let isDone = Monitor(false)
    try LoopThread(name: "test") {
        body()
        isDone.update { $0 = true }
    }.detach()
    return isDone.wait(until: MonotonicClock.now + limit) { $0 ? true : nil } ?? false
}
