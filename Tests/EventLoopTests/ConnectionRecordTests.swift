/// Tests of a connection record's memory layout, and of the flags that repeat its state.
import Testing

@testable import MillraceEventLoop

@Suite struct ConnectionRecordTests {
    private func makeRecord() -> ConnectionRecord {
        ConnectionRecord(
            loop: Unmanaged.fromOpaque(UnsafeRawPointer(bitPattern: 8)!), token: Token.none)
    }

    @Test("a connection record has two cache lines, and its other fields 24 bytes")
    func theRecordFillsTwoCacheLines() {
        #expect(MemoryLayout<ConnectionRecord>.stride == 128)
        #expect(MemoryLayout<ConnectionRecord.Rest>.stride == 24)
        var record = makeRecord()
        withUnsafeMutablePointer(to: &record) { record in
            let start = UnsafeRawPointer(record)
            let firstOfTheSecond = withUnsafePointer(to: &record.pointee.outbound) {
                UnsafeRawPointer($0) - start
            }
            #expect(firstOfTheSecond == 64, "a queue in two cache lines")
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
