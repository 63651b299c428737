/// Tests of the tests' own tools: a check that cannot fail would prove nothing.
import Glibc
import MillraceTestSupport
import Testing

@Suite struct SupportTests {
    @Test("a pattern verifies any part of its bytes at the part's position")
    func aPatternVerifiesItselfAtAnyCut() throws {
        let pattern = Pattern(stream: 7)
        let whole = pattern.bytes(5000)
        for start in [0, 1, 7, 8, 9, 1016, 1023, 1024, 1025, 2047, 4000] {
            for count in [1, 2, 7, 8, 9, 300, 1000] {
                #expect(pattern.bytes(count, from: start) == Array(whole[start..<start + count]))
                try pattern.verify(Array(whole[start..<start + count]), at: start)
            }
        }
    }

    @Test("a pattern detects a lost byte, a wrong stream, a wrong position and a swap")
    func aPatternShowsALostByteAWrongStreamAndASwap() {
        let pattern = Pattern(stream: 7)
        var bytes = pattern.bytes(100_000)
        bytes.remove(at: 54_321)
        #expect(throws: WrongBytes.self) { try pattern.verify(bytes) }
        #expect(throws: WrongBytes.self) { try pattern.verify(Pattern(stream: 8).bytes(16)) }
        #expect(throws: WrongBytes.self) { try pattern.verify(pattern.bytes(16, from: 1024)) }
        #expect(throws: WrongBytes.self) {
            try pattern.verify(pattern.bytes(1024, from: 1024) + pattern.bytes(1024))
        }
    }

    @Test("a wait for an event that never comes fails instead of hanging")
    func whatNeverHappensFailsInsteadOfHanging() {
        #expect(throws: Overdue.self) {
            try eventually("never", within: .milliseconds(20)) { false }
        }
        let gate = Gate()
        defer { gate.open() }
        #expect(throws: Overdue.self) {
            try Worker { gate.wait() }.join("slow", within: .milliseconds(20))
        }
    }

    @Test("a bound of time fails if no round keeps it, and not for one that does not")
    func aBoundOfTimeIsKeptInOneRound() throws {
        var times = [Duration.seconds(2), .seconds(2), .zero]
        try promptly("the third", within: .seconds(1)) { times.removeFirst() }
        #expect(times.isEmpty)
        #expect(throws: Overdue.self) {
            try promptly("none", within: .seconds(1)) { patience }
        }
    }

    @Test("a round that fails is repeated only if it did not keep its pace")
    func onlyARoundWithoutPaceIsRepeated() throws {
        var rounds = 0
        #expect(throws: Unmet.self) {
            try keepingPace(of: patience) { _ in
                rounds += 1
                try must(false, "at once")
            }
        }
        #expect(rounds == 1)
        try keepingPace(of: .milliseconds(5)) { pace in
            rounds += 1
            if rounds == 2 { pause(.milliseconds(10)) }
            pace.mark()
            try must(rounds > 2, "after a pause")
        }
        #expect(rounds == 3)
    }

    @Test("the time of a round grows until the round succeeds, or for as long as the patience")
    func timeGrows() throws {
        var times: [Duration] = []
        try withGrowingTime(from: patience / 20) { time in
            times.append(time)
            try must(times.count == 2, "the first round")
        }
        #expect(times == [patience / 20, patience / 5])
        #expect(throws: Unmet.self) {
            try withGrowingTime(from: patience / 20) { time in
                times.append(time)
                try must(false, "each round")
            }
        }
        #expect(times.count == 5)
    }

    @Test("a count has settled when it no longer grows")
    func aCountSettles() throws {
        var looks = 0
        let count = try settled("looks") {
            looks += 1
            return min(looks, 10)
        }
        #expect(count == 10 && looks >= 30)
    }

    @Test("the probe reports processor time, descriptors and resident memory")
    func processorTimeIsSeen() {
        let before = Probe.processorTime
        let deadline = Deadline()
        while Probe.processorTime - before < .milliseconds(10), !deadline.isPast {}
        #expect(!deadline.isPast)
        #expect(Probe.descriptors >= 3)
        #expect(residentBytes() > 1 << 20)
    }
}
