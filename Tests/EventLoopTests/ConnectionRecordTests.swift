/// Tests of a connection record's memory layout, and of the flags that repeat its state.
import Testing

@testable import MillraceEventLoop

@Suite struct ConnectionRecordTests {
    private func makeRecord() -> ConnectionRecord {
        ConnectionRecord(
            loop: Unmanaged.fromOpaque(UnsafeRawPointer(bitPattern: 8)!), token: Token.none)
    }

    /// The fields that an echo uses are in the first two of three cache lines.
    @Test("a connection record has three cache lines with the busy fields in the first two")
    func theRecordFillsThreeCacheLinesAndTheFirstTwoAreTheBusyOnes() {
        #expect(MemoryLayout<ConnectionRecord>.stride == 192)
        var record = makeRecord()
        withUnsafeMutablePointer(to: &record) { record in
            let start = UnsafeRawPointer(record)
            let firstOfTheThird = withUnsafePointer(to: &record.pointee.details) {
                UnsafeRawPointer($0) - start
            }
            let lastOfTheSecond = withUnsafePointer(to: &record.pointee.lastSent) {
                UnsafeRawPointer($0) - start
            }
            #expect(firstOfTheThird == 128)
            #expect(lastOfTheSecond == 120)
        }
    }

    @Test("the notOpen flag is set in every state except open")
    func everyStateButOpenShowsInTheFlags() {
        var record = makeRecord()
        #expect(record.state == .free && record.flags.contains(.notOpen))
        for state: ConnectionState in [
            .listening, .connecting, .open, .finishing, .lingering, .closing, .free,
        ] {
            record.state = state
            #expect(record.flags.contains(.notOpen) == (state != .open), "\(state)")
        }
    }
}
