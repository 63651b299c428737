/// The calls of `LentBytes`, one for each that a handler may make while it reads lent bytes.
import NetAPI

extension LentBytes {
    func readingCall(_ call: Call, _ connection: Connection) throws {
        switch call {
        case .discard: connection.discard(50)
        case .discardAll: connection.discardAll()
        case .next: _ = connection.next().byteCount
        case .nextCount: _ = connection.next(60)?.byteCount
        case .nextLine: while try connection.nextLine() != nil {}
        case .nextDelimited: while try connection.next(through: ";") != nil {}
        case .nextFrame:
            while connection.buffered > 0 {
                // In the middle of a frame any four bytes may look like a length.
                guard
                    (try? connection.nextFrame(length: UInt32.self, limit: 1000)?.byteCount) != nil
                else { break }
            }
        case .readInto:
            var room = [UInt8](repeating: 0, count: 100)
            var span = room.mutableSpan
            var bytes = span.mutableBytes
            _ = connection.read(into: &bytes)
        case .readArray: _ = connection.readArray()
        case .bytes: _ = connection.bytes.byteCount
        case .bytesAndNext:
            _ = connection.bytes.byteCount
            _ = connection.next().byteCount
        case .peek: _ = connection.peek(connection.buffered)?.byteCount
        case .readPair: _ = connection.readPair.tail.byteCount
        case .integers:
            _ = connection.peekInteger(.little, at: 3, as: UInt64.self)
            while connection.nextInteger(as: UInt64.self) != nil {}
        case .pointers: _ = connection.withUnsafeBytes { $0.count }
        default: break
        }
    }

    func writingCall(_ call: Call, _ connection: Connection, _ lent: RawSpan) throws {
        let bytes = [UInt8](repeating: 0xDD, count: 5000)
        switch call {
        case .writeSpan: connection.write(bytes.span.bytes)
        case .writeArray: connection.write(bytes)
        case .writeSlice: connection.write(bytes[10..<4000])
        case .writeText: connection.write(String(repeating: "text", count: 1000))
        case .writeSubstring: connection.write("a text to cut"[...].dropFirst(2))
        case .writePieces: connection.write([bytes, bytes, []])
        case .writeMuch: for _ in 0..<400 { connection.write(bytes) }
        case .writeInteger: for value in UInt64(0)..<500 { connection.write(integer: value) }
        case .writeDecimal: for value in 0..<500 { connection.write(decimal: value) }
        case .writeReserving:
            connection.write(reserving: 70_000) { room in
                for _ in 0..<70_000 { room.append(0xDD, as: UInt8.self) }
            }
        case .writeFrame: connection.writeFrame(bytes.span.bytes, length: UInt32.self)
        case .writeLent: for _ in 0..<50 { connection.write(lent) }
        case .flush: connection.flush()
        case .writeAndFlush:
            for _ in 0..<20 {
                connection.write(bytes)
                connection.flush()
            }
        default: break
        }
    }

    func controllingCall(_ call: Call, _ connection: Connection) throws {
        switch call {
        case .close:
            connection.close()
            connection.discardAll()
        case .abort:
            connection.write("unsent")
            connection.abort()
            connection.discardAll()
        case .shutdownWrite: connection.shutdownWrite()
        case .pauseReading: connection.pauseReading()
        case .resumeReading:
            connection.pauseReading()
            connection.resumeReading()
        case .set: try connection.set(.receiveBuffer(100_000))
        case .schedule: connection.schedule(after: .zero) { $0.discardAll() }
        case .wakeAndExecute:
            connection.handle.wake()
            connection.handle.execute { $0.discardAll() }
        case .others: useOthers(connection) { _ in }
        case .closeOthers: useOthers(connection) { $0.close() }
        default: break
        }
    }

    private func useOthers(_ connection: Connection, _ body: (Connection) -> Void) {
        for other in connection.loop.connections where other != connection {
            other.write(other.bytes)
            other.write([UInt8](repeating: 0xCC, count: 20_000))
            other.flush()
            other.discard(10)
            _ = other.next(100)?.byteCount
            body(other)
        }
    }
}
