/// The decisions of a connect by name, event by event, in virtual milliseconds. The connect begins
/// at 0 and has until 1,000; attempts are 250 apart.
import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct ConnectRaceTests {
    /// A race, and its commands as words.
    private final class Story {
        private var race: ConnectRace

        init(deadline: Nanoseconds = 1000, delay: Nanoseconds = 250) {
            race = ConnectRace(deadline: ms(deadline), delay: ms(delay))
        }

        /// A race whose first attempt has begun at `now`.
        convenience init(addresses: Int, at now: Nanoseconds = 0) {
            self.init()
            #expect(resolved(addresses, at: now) == ["attempt 0"])
        }

        func resolved(_ count: Int, at now: Nanoseconds) -> [String] {
            let addresses = (0..<count).map { number in
                SocketAddress.v4(IPv4Bytes(UInt32(number + 1).bigEndian), port: 0)
            }
            return words(race.resolved(addresses, at: ms(now)))
        }

        func failed(
            _ attempt: Int, _ number: Int32 = ECONNREFUSED, at now: Nanoseconds
        ) -> [String] {
            words(race.failed(attempt, SystemError(number, "connect"), at: ms(now)))
        }

        func passed(at now: Nanoseconds) -> [String] {
            words(race.timePassed(at: ms(now)))
        }

        func connected(_ attempt: Int) -> [String] { words(race.connected(attempt)) }

        func cancel() -> [String] { words(race.cancel(SystemError(ECANCELED, "x"))) }

        func stop() -> [String] { words(race.stop(SystemError(ECANCELED, "x"))) }

        func opened(_ attempt: Int) -> Bool { race.opened(attempt) }

        func unresolved(at now: Nanoseconds) -> [String] {
            words(race.unresolved(Mishap(), at: ms(now)))
        }

        var isOver: Bool { race.isOver }
        var count: Int { race.addresses.count }

        /// The time of the next check, in milliseconds.
        var next: Nanoseconds? { race.nextTime.map { $0 / 1_000_000 } }
    }

    private static func ms(_ time: Nanoseconds) -> Nanoseconds { time * 1_000_000 }

    private static func words(_ commands: [ConnectRace.Command]) -> [String] {
        commands.map { command in
            switch command {
            case .attempt(let number): "attempt \(number)"
            case .abandon(let number): "abandon \(number)"
            case .fail(let failure): words(failure)
            }
        }
    }

    private static func words(_ failure: ConnectFailure) -> String {
        switch failure {
        case .unresolved(let error): return "unresolved \(error)"
        case .noAddress: return "no address"
        case .resolvingLate: return "resolving late"
        case .unsecured(let address, let error):
            return "unsecured \(address.hostText ?? "") \(error)"
        case .cancelled(let error): return "cancelled \(error.name)"
        case .unconnected(let reports, let untried, let isLate):
            let list = reports.map { $0.error?.name ?? "silent" }.joined(separator: " ")
            return "\(isLate ? "late" : "unconnected"): \(list), \(untried) untried"
        }
    }

    @Test("the attempts begin in order, a delay apart, and none ends an earlier one")
    func stagger() {
        let story = Story(addresses: 3, at: 10)
        #expect(story.next == 260)
        #expect(story.passed(at: 259) == [] && story.next == 260)
        #expect(story.passed(at: 260) == ["attempt 1"] && story.next == 510)
        // A loop that was held up begins one attempt, not those that it missed.
        #expect(story.passed(at: 900) == ["attempt 2"] && story.next == nil)
        #expect(story.connected(0) == ["abandon 1", "abandon 2"])
        #expect(story.opened(0) && story.isOver && story.next == nil)
    }

    @Test("after a failure the next attempt begins at once, and the delay counts from there")
    func failureHurries() {
        let story = Story(addresses: 4)
        #expect(story.failed(0, at: 20) == ["attempt 1"] && story.next == 270)
        #expect(story.passed(at: 270) == ["attempt 2"])
        // The second attempt fails while the third runs.
        #expect(story.failed(1, at: 300) == ["attempt 3"] && story.next == nil)
        #expect(story.failed(3, at: 310) == [])
        #expect(story.connected(2) == [])
        #expect(story.opened(2))
    }

    @Test("the failure of the last running attempt ends the connect, with every reason in order")
    func allFail() {
        let story = Story(addresses: 3)
        #expect(story.passed(at: 250) == ["attempt 1"])
        #expect(story.failed(1, ENETUNREACH, at: 260) == ["attempt 2"])
        #expect(story.failed(2, ETIMEDOUT, at: 270) == [])
        let end = ["unconnected: ECONNREFUSED ENETUNREACH ETIMEDOUT, 0 untried"]
        #expect(story.failed(0, at: 280) == end)
        #expect(story.isOver && story.next == nil)
    }

    @Test("attempts that end at the deadline fail the connect, which names the silent and untried")
    func deadline() {
        let story = Story(addresses: 9)
        #expect(story.failed(0, at: 100) == ["attempt 1"])
        for (time, number) in [(350, 2), (600, 3), (850, 4)] {
            #expect(story.passed(at: Nanoseconds(time)) == ["attempt \(number)"])
        }
        #expect(story.next == nil)
        #expect(story.passed(at: 1000) == [])
        for attempt in 1...3 { #expect(story.failed(attempt, ETIMEDOUT, at: 1000) == []) }
        let end = ["late: ECONNREFUSED silent silent silent silent, 4 untried"]
        #expect(story.failed(4, ETIMEDOUT, at: 1001) == end)
    }

    @Test("an attempt that fails at the deadline does not begin another")
    func failureAtTheDeadline() {
        let story = Story(addresses: 2)
        #expect(story.failed(0, ETIMEDOUT, at: 1000) == ["late: silent, 1 untried"])
        #expect(story.passed(at: 1000) == [])
    }

    /// A long turn can hide an attempt's success until after the deadline.
    @Test("neither the deadline nor the late failure of another attempt ends an attempt")
    func lateSuccess() {
        let story = Story(addresses: 3)
        #expect(story.passed(at: 250) == ["attempt 1"])
        #expect(story.next == 500)
        #expect(story.passed(at: 1000) == [] && story.next == nil)
        #expect(story.failed(0, ETIMEDOUT, at: 1000) == [])
        #expect(story.connected(1) == [])
        #expect(story.opened(1) && story.isOver)
    }

    @Test("the lookup has the same deadline, and an answer at that time is too late")
    func lateLookup() {
        for answer in [true, false] {
            let story = Story()
            #expect(story.next == 1000 && story.passed(at: 999) == [])
            let end = answer ? story.resolved(2, at: 1000) : story.passed(at: 1000)
            #expect(end == ["resolving late"])
            #expect(story.resolved(2, at: 1001) == [])
        }
        let story = Story()
        #expect(story.unresolved(at: 1000) == ["resolving late"])
    }

    @Test("a lookup that fails, or has no address, ends the connect")
    func failedLookup() {
        var story = Story()
        #expect(story.unresolved(at: 0) == ["unresolved Mishap()"])
        #expect(story.resolved(1, at: 0) == [])
        story = Story()
        #expect(story.resolved(0, at: 5) == ["no address"] && story.isOver)
    }

    @Test("of two answers only the first counts")
    func twoAnswers() {
        let story = Story(addresses: 2)
        #expect(story.resolved(5, at: 1) == [])
        #expect(story.unresolved(at: 1) == [])
        #expect(story.count == 2)
    }

    @Test("the first socket that is connected wins, and no event changes that")
    func oneWinner() {
        let story = Story(addresses: 3)
        #expect(story.passed(at: 250) == ["attempt 1"])
        #expect(story.connected(1) == ["abandon 0"])
        #expect(story.connected(0) == [] && story.connected(1) == [])
        #expect(story.failed(0, ECANCELED, at: 251) == [])
        #expect(story.passed(at: 500) == [] && story.next == nil)
        #expect(!story.opened(0) && story.opened(1))
        #expect(!story.opened(1))
        #expect(story.cancel() == [] && story.failed(1, at: 600) == [])
    }

    @Test("a failed handshake of the winner ends the connect, without another address")
    func failedHandshake() {
        let story = Story(addresses: 3)
        #expect(story.connected(0) == [])
        #expect(story.failed(0, EPROTO, at: 20).first?.hasPrefix("unsecured 0.0.0.1 ") == true)
        #expect(story.isOver && story.passed(at: 300) == [])
    }

    @Test("a cancel ends each phase once, with what runs")
    func cancels() {
        var story = Story()
        #expect(story.cancel() == ["cancelled ECANCELED"] && story.cancel() == [])
        story = Story(addresses: 3)
        #expect(story.passed(at: 250) == ["attempt 1"])
        #expect(story.failed(0, at: 251) == ["attempt 2"])
        #expect(story.cancel() == ["abandon 1", "abandon 2", "cancelled ECANCELED"])
        #expect(story.failed(1, ECANCELED, at: 252) == [] && story.connected(2) == [])
        story = Story(addresses: 1)
        #expect(story.connected(0) == [])
        #expect(story.cancel() == ["abandon 0", "cancelled ECANCELED"])
        #expect(!story.opened(0))
    }

    @Test("a stop ends each phase but the handshake of a winner")
    func stops() {
        var story = Story()
        #expect(story.stop() == ["cancelled ECANCELED"])
        story = Story(addresses: 2)
        #expect(story.stop() == ["abandon 0", "cancelled ECANCELED"])
        story = Story(addresses: 1)
        #expect(story.connected(0) == [] && story.stop() == [])
        #expect(story.opened(0))
    }

    @Test("events of attempts that have not begun change nothing")
    func unknownAttempts() {
        let story = Story(addresses: 2)
        #expect(story.failed(1, at: 1) == [] && story.connected(1) == [])
        #expect(story.failed(7, at: 1) == [] && !story.opened(0))
        #expect(story.failed(0, at: 2) == ["attempt 1"] && story.failed(0, at: 2) == [])
    }

    private struct Mishap: Error {}

    /// Every order of a few events: there is exactly one end, each attempt that began is closed,
    /// has failed or wins, and none begins twice or after the end.
    @Test("any order of events has one end", arguments: 0..<500)
    func anyOrder(_ seed: Int) {
        var random = SplitMix64(seed: UInt64(seed))
        let story = Story()
        var (now, ends, open, begun): (Nanoseconds, Int, Set<Int>, Int) = (0, 0, [], 0)
        func note(_ words: [String]) {
            for word in words {
                #expect(ends == 0, "\(word) after the end")
                let number = Int(word.split(separator: " ").last ?? "") ?? -1
                if word.hasPrefix("attempt") {
                    #expect(number == begun)
                    begun += 1
                    open.insert(number)
                } else if word.hasPrefix("abandon") {
                    #expect(open.remove(number) != nil)
                } else {
                    ends += 1
                }
            }
        }
        var winner: Int?
        for _ in 0..<40 {
            let attempt = random.below(5)
            switch random.below(8) {
            case 0: note(story.resolved(random.below(5), at: now))
            case 1, 2:
                if winner == attempt || !story.isOver { open.remove(attempt) }
                note(story.failed(attempt, at: now))
            case 3:
                let isRunning = winner == nil && open.contains(attempt)
                note(story.connected(attempt))
                if isRunning { winner = attempt }
            case 4:
                guard story.opened(attempt) else { break }
                #expect(winner == attempt && ends == 0)
                ends += 1
                open.remove(attempt)
            case 5: if random.below(10) == 0 { note(story.cancel()) }
            default:
                now += Nanoseconds(random.below(300))
                note(story.passed(at: now))
            }
        }
        if let winner, story.opened(winner) {
            ends += 1
            open.remove(winner)
        }
        note(story.passed(at: max(now, 1000)))
        for attempt in open.sorted() {
            open.remove(attempt)
            note(story.failed(attempt, at: max(now, 1000)))
        }
        #expect(ends == 1 && open.isEmpty && story.isOver)
    }
}
