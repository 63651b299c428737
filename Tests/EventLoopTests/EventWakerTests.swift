/// Tests of wake-ups through an eventfd: never lost, never blocking, and never written to another
/// file's descriptor.
import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct EventWakerTests {
    @Test("a wake-up lasts until the waker is reset")
    func aWakeUpLastsUntilItIsReset() throws {
        let waker = try EventWaker()
        #expect(!isReadable(waker.descriptor))
        waker.wake()
        #expect(isReadable(waker.descriptor))
        #expect(isReadable(waker.descriptor), "noticed without a reset")
        waker.reset()
        #expect(!isReadable(waker.descriptor))
    }

    @Test("one reset clears all earlier wake-ups and no later one")
    func oneResetIsForAllWakeUpsBeforeIt() throws {
        let waker = try EventWaker()
        for _ in 0..<100 { waker.wake() }
        waker.reset()
        #expect(!isReadable(waker.descriptor))
        waker.wake()
        #expect(isReadable(waker.descriptor), "a wake-up after the reset is lost")
        waker.reset()
        waker.reset()
        #expect(!isReadable(waker.descriptor))
    }

    @Test("a wake-up with a full counter does not block and is not lost")
    func aFullCounterNeitherBlocksNorForgets() throws {
        let waker = try EventWaker()
        var most = UInt64.max - 1
        #expect(write(waker.descriptor, &most, 8) == 8)
        waker.wake()
        #expect(isReadable(waker.descriptor))
        waker.reset()
        #expect(!isReadable(waker.descriptor))
    }

    @Test("a wake-up ends a wait in progress")
    func endsAWaitInProgress() throws {
        let waker = try EventWaker()
        let team = ThreadTeam(1) { _ in
            usleep(20_000)
            waker.wake()
        }
        #expect(isReadable(waker.descriptor, millisecondsMax: 30_000))
        team.join()
    }

    @Test("the descriptor of a waker is close-on-exec and non-blocking")
    func doesNotPassToOtherPrograms() throws {
        let waker = try EventWaker()
        #expect(fcntl(waker.descriptor, F_GETFD) & FD_CLOEXEC != 0)
        #expect(fcntl(waker.descriptor, F_GETFL) & O_NONBLOCK != 0)
    }

    /// A driver, reduced to its waker.
    private final class Holder {
        let waker: EventWaker
        init() throws { waker = try EventWaker() }
    }

    @Test("a waker keeps its descriptor open until its last reference is released")
    func isHarmlessAfterItsDriverIsGone() throws {
        var driver: Holder? = try Holder()
        let number = try #require(driver?.waker.descriptor)
        let identity = try #require(eventIdentity(number))
        var late: (any Waker)? = driver?.waker
        driver = nil
        late?.wake()
        // Still the same eventfd: no other file can have been assigned its number.
        #expect(eventIdentity(number) == identity)
        #expect(isReadable(number))
        late = nil
        #expect(eventIdentity(number) != identity, "not closed with the last reference")
    }

    /// The kernel's ID of an eventfd, which it does not reuse soon.
    private func eventIdentity(_ descriptor: CInt) -> Substring? {
        readText("/proc/self/fdinfo/\(descriptor)")?
            .split(separator: "\n").first { $0.hasPrefix("eventfd-id") }
    }
}
