import CMillraceLinux
import MillraceEventLoop
import MillraceSimulation
import Testing

/// A group whose loops run on threads of their own, over drivers that a script answers.
@Suite struct GroupThreadTests {
    private struct Refusal: Error {}

    private static func group(
        loops: Int, pinLoops: Bool = false, onBoot: @escaping @Sendable (Loop) throws -> Void
    ) -> LoopGroup {
        var configuration = LoopGroup.Configuration()
        configuration.loops = loops
        configuration.reusePort = true
        configuration.pinLoops = pinLoops
        let network = SimulatedNetwork(seed: 1)
        return LoopGroup(
            configuration,
            LoopGroup.Parts(
                sockets: SimulatedSockets(network: network), makeDriver: { ScriptedDriver() },
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
    within limit: Nanoseconds = 10_000_000_000, _ body: @escaping @Sendable () -> Void
) throws -> Bool {
    let isDone = Monitor(false)
    try LoopThread(name: "test") {
        body()
        isDone.update { $0 = true }
    }.detach()
    return isDone.wait(until: MonotonicClock.now + limit) { $0 ? true : nil } ?? false
}
