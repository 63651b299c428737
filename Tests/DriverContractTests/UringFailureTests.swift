/// Tests of a ring that the kernel refuses to enter. A ring belongs to the thread that has made it,
/// so every entry of another thread fails.
import Glibc
import MillraceEventLoop
import MillraceTestSupport
import MillraceUring
import Testing

@Suite(.enabled(if: UringDriver.unavailability == nil)) struct UringFailureTests {
    // Unchecked: one thread runs at a time, since the other waits for its end.
    private final class Subject: @unchecked Sendable {
        let driver: UringDriver
        private(set) var pairs: [SocketPair] = []
        private(set) var waitError: SystemError?

        init(_ features: UringFeatures) throws {
            driver = try UringDriver(.tiny, features: features)
        }

        /// Submits many more operations than the queue holds, and waits.
        func submit() throws {
            for slot in 0..<200 as Range<UInt32> {
                let pair = try SocketPair()
                pairs.append(pair)
                driver.attach(pair.own, as: Token(slot: slot, generation: 1))
                driver.submit(.receive, for: Token(slot: slot, generation: 1))
            }
            do throws(SystemError) {
                try driver.wait(until: driver.clock)
            } catch {
                waitError = error
            }
        }

        /// Returns how often `body` enters the kernel on another thread.
        func entries(_ body: @escaping @Sendable (Subject) throws -> Void) -> Int {
            let before = driver.counters.kernelEntries.current
            TestThread { #expect(throws: Never.self) { try body(self) } }.join()
            return driver.counters.kernelEntries.current - before
        }
    }

    @Test(
        "a ring that fails is not tried for each operation, and its driver ends them all",
        arguments: [UringFeatures.all, .oldest, .plain])
    func triedOnce(_ features: UringFeatures) throws {
        let (ended, left) = try withOwnDescriptors {
            Result {
                let before = openDescriptorCount()
                let ended = try fail(features)
                return (ended, openDescriptorCount() - before)
            }
        }.get()
        #expect(ended)
        #expect(left == 0)
    }

    /// Returns whether each peer reads its end.
    private func fail(_ features: UringFeatures) throws -> Bool {
        let subject = try Subject(features)
        #expect(subject.entries { try $0.submit() } <= 2)
        #expect(subject.waitError?.call == "io_uring_enter")
        // On the ring's own thread, where it works.
        subject.driver.shutDown()
        let ended = subject.pairs.allSatisfy { $0.readsEnd() }
        for pair in subject.pairs { pair.close() }
        return ended
    }

    /// In a process of its own, since the memory of such a ring is never freed.
    @Test("the end of a driver whose ring has failed for good waits for nothing")
    func failedForGood() async {
        await #expect(processExitsWith: .success) {
            let subject = try Subject(.all)
            let submitted = subject.entries { try $0.submit() }
            let ended = subject.entries { $0.driver.shutDown() }
            let isRight =
                submitted <= 2 && ended <= 2 && subject.pairs.allSatisfy { $0.readsEnd() }
            // Without the checks of a sanitizer, which would find the memory.
            _exit(isRight ? 0 : 1)
        }
    }
}
