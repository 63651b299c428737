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
        #expect(throws: Overdue.self) {
            try Worker { usleep(300_000) }.join("slow", within: .milliseconds(20))
        }
    }

    @Test("the probe reports processor time, descriptors and resident memory")
    func processorTimeIsSeen() {
        let before = Probe.processorTime
        let deadline = Deadline(.milliseconds(50))
        while !deadline.isPast {}
        #expect(Probe.processorTime - before >= .milliseconds(10))
        #expect(Probe.descriptors >= 3)
        #expect(Probe.residentBytes > 1 << 20)
    }
}
