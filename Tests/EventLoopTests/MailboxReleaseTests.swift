/// Tests that a message's captured objects are freed with the message, and never under the
/// mailbox's lock: their deinit may post.
import MillraceEventLoop
import Testing

@Suite struct MailboxReleaseTests {
    private typealias Box = Mailbox<@Sendable () -> Void>

    private static func message(_ alive: Alive, to box: Box) -> @Sendable () -> Void {
        let guest = alive.guest { _ = box.post({}) }
        return { guest.use() }
    }

    /// A loop's batch keeps the previous turn's messages until the next `take`.
    @Test("an object may post to the mailbox when a message taken from it is freed")
    func whatWasTakenMayPost() throws {
        let alive = Alive()
        let isDone = try returns {
            let box = Box(capacity: 1000, waker: ConditionWaker())
            var batch: [@Sendable () -> Void] = []
            for _ in 0..<10 {
                for _ in 0..<50 { _ = box.post(Self.message(alive, to: box)) }
                box.take(into: &batch)
                for message in batch { message() }
            }
            // Frees the last batch, whose captured objects post once more.
            box.take(into: &batch)
            batch = []
            _ = box.close()
        }
        #expect(isDone, "the mailbox was asked under its lock")
        #expect(alive.made == 500 && alive.count == 0)
    }

    @Test("an object may post to the mailbox when a refused message is freed")
    func whatIsRefusedMayPost() throws {
        let alive = Alive()
        let isDone = try returns {
            let box = Box(capacity: 1, waker: ConditionWaker())
            _ = box.post {}
            for _ in 0..<50 { _ = box.post(Self.message(alive, to: box)) }
            _ = box.close()
            for _ in 0..<50 { _ = box.post(Self.message(alive, to: box), always: true) }
        }
        #expect(isDone, "the mailbox was asked under its lock")
        #expect(alive.made == 100 && alive.count == 0)
    }

    @Test("an object may post to the mailbox when close drops its message")
    func whatACloseDropsMayPost() throws {
        let alive = Alive()
        let isDone = try returns {
            let box = Box(capacity: 100, waker: ConditionWaker())
            for _ in 0..<50 { _ = box.post(Self.message(alive, to: box)) }
            _ = box.close()
        }
        #expect(isDone, "the mailbox was asked under its lock")
        #expect(alive.made == 50 && alive.count == 0)
    }
}
