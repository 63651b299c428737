/// The decisions of a drain, as a table. The drain begins at 1,000 ms and ends at 3,000 ms.
import Testing

@testable import MillraceEventLoop

@Suite struct DrainTests {
    struct Row: CustomTestStringConvertible {
        let testDescription: String
        var state = ConnectionState.open
        var received: Nanoseconds = 500
        var sent: Nanoseconds = 500
        var isWorking = false
        var hasSpoken = true
        var isPiped = false
        var hasUnread = false
        let now: Nanoseconds
        let decision: Drain.Decision
    }

    private static func ms(_ time: Nanoseconds) -> Nanoseconds { time * 1_000_000 }

    static let rows = [
        Row(
            testDescription: "a silent connection waits for the quiet time", now: 1000,
            decision: .wait(until: ms(1020))),
        Row(testDescription: "and closes then", now: 1020, decision: .close),
        Row(
            testDescription: "bytes that moved later put the end off", received: 1010, now: 1020,
            decision: .wait(until: ms(1030))),
        Row(
            testDescription: "unread input waits for another look", hasUnread: true, now: 1020,
            decision: .wait(until: ms(1040))),
        Row(
            testDescription: "but not beyond half of the time", hasUnread: true, now: 2000,
            decision: .close),
        Row(
            testDescription: "a peer that has received no byte has longer", received: 990, sent: 0,
            now: 1020, decision: .wait(until: ms(1090))),
        Row(
            testDescription: "and so has one that was only greeted", received: 900, sent: 990,
            hasSpoken: false, now: 1020, decision: .wait(until: ms(1090))),
        Row(
            testDescription: "but not if that was long ago", received: 500, sent: 510,
            hasSpoken: false, now: 1020, decision: .close),
        Row(
            testDescription: "a pipe may be silent for a second", received: 900, isPiped: true,
            now: 1020, decision: .wait(until: ms(1900))),
        Row(
            testDescription: "which may have passed before", received: 10, sent: 20, isPiped: true,
            now: 1020, decision: .close),
        Row(
            testDescription: "but not beyond half of the time", received: 1900, isPiped: true,
            now: 1950, decision: .wait(until: ms(2000))),
        Row(
            testDescription: "a busy one has half of the time", isWorking: true, now: 1500,
            decision: .wait(until: ms(2000))),
        Row(
            testDescription: "and no more than that", isWorking: true, now: 2000, decision: .close),
        Row(testDescription: "at the deadline all are aborted", now: 3000, decision: .abort),
        Row(
            testDescription: "last bytes have until the deadline", state: .finishing, now: 2999,
            decision: .wait(until: ms(3000))),
        Row(
            testDescription: "and are cut then", state: .finishing, now: 3000, decision: .abort),
        Row(
            testDescription: "a lingering one waits", state: .lingering, now: 1020,
            decision: .wait(until: ms(3000))),
        Row(
            testDescription: "and is not cut: the kernel delivers", state: .lingering, now: 3000,
            decision: .release),
        Row(
            testDescription: "a connect is given up at once", state: .connecting, now: 1000,
            decision: .abort),
        Row(
            testDescription: "a handshake has time for its next bytes", state: .securing,
            received: 990, now: 1020, decision: .wait(until: ms(1100))),
        Row(testDescription: "and is cut then", state: .securing, now: 1100, decision: .abort),
        Row(
            testDescription: "but not while the loop has not read them", state: .securing,
            hasUnread: true, now: 1100, decision: .wait(until: ms(1120))),
        Row(
            testDescription: "nor beyond half of the time", state: .securing, hasUnread: true,
            now: 2000, decision: .abort),
        Row(
            testDescription: "a closing one ends by itself", state: .closing, now: 1020,
            decision: .wait(until: ms(3000))),
    ]

    @Test("each state at each time", arguments: rows)
    func decides(_ row: Row) {
        let drain = Drain(since: Self.ms(1000), deadline: Self.ms(3000))
        let facts = Drain.Facts(
            state: row.state, lastReceived: Self.ms(row.received), lastSent: Self.ms(row.sent),
            isWorking: row.isWorking, hasSpoken: row.hasSpoken,
            isPiped: row.isPiped)
        let decision = drain.decision(
            about: facts, now: Self.ms(row.now), hasUnread: row.hasUnread)
        #expect(decision == row.decision)
    }
}
