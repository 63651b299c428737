/// How a connection's record lies in memory, and what its flags repeat of its state.
import Testing

@testable import EventLoop

@Suite struct ConnectionRecordTests {
    /// What an echo touches lies in the first two cache lines of three.
    @Test func theRecordFillsThreeCacheLinesAndTheFirstTwoAreTheBusyOnes() throws {
        #expect(MemoryLayout<ConnectionRecord>.stride == 192)
        let firstOfTheThird = try #require(MemoryLayout<ConnectionRecord>.offset(of: \.details))
        #expect(firstOfTheThird == 128)
        #expect(try #require(MemoryLayout<ConnectionRecord>.offset(of: \.lastSent)) == 120)
    }

    @Test func everyStateButOpenShowsInTheFlags() {
        var record = ConnectionRecord(
            loop: Unmanaged.fromOpaque(UnsafeRawPointer(bitPattern: 8)!), token: Token.none)
        #expect(record.flags.contains(.notOpen))
        for state: ConnectionState in [
            .listening, .connecting, .open, .finishing, .lingering, .closing, .free,
        ] {
            record.state = state
            #expect(record.flags.contains(.notOpen) == (state != .open), "\(state)")
        }
    }
}
