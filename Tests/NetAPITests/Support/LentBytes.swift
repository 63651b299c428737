/// A handler that borrows bytes, makes one call, and checks that the bytes are unchanged.
import Glibc
import MillraceTestSupport
import NetAPI

final class LentBytes: EventHandler {
    /// The call that lends the bytes.
    enum Taking: UInt8, CaseIterable, Sendable {
        case bytes, peek, next, nextCount, pairHead, pairTail, line, delimited, frame
    }

    /// The memory of the lent bytes.
    enum Memory: UInt8, CaseIterable, Sendable {
        case fresh, kept, wrapped
    }

    /// The call that is made meanwhile.
    enum Call: String, CaseIterable, Sendable {
        case discard, discardAll, next, nextCount, nextLine, nextDelimited, nextFrame, readInto
        case readArray, bytes, bytesAndNext, peek, readPair, integers, pointers
        case writeSpan, writeArray, writeSlice, writeText, writeSubstring, writePieces, writeMuch
        case writeInteger, writeDecimal, writeReserving, writeFrame, writeLent
        case flush, writeAndFlush, close, abort, shutdownWrite, pauseReading, resumeReading
        case set, schedule, wakeAndExecute, others, closeOthers, requestNothing
    }

    /// A frame of 200 bytes whose payload has lines and delimiters in it; 204 bytes in all.
    static let payload: [UInt8] = {
        var bytes: [UInt8] = [0, 0, 0, 200]
        for number in 0..<200 { bytes.append(UInt8(number % 23 == 22 ? 10 : 97 + number % 23)) }
        bytes[103] = UInt8(ascii: ";")
        return bytes
    }()

    /// The byte with which the handler requests another piece.
    static let moreByte = UInt8(ascii: "+")

    /// The results that the handlers of all loops report to the test.
    struct Results: Sendable {
        let complaints = Shared<[String]>([])
        let done = Shared(0)
        let buddies = Shared(0)
    }

    private let call: Call
    private let results: Results
    private let order = PerConnection<(Taking, Memory)?>(nil)
    private let isBuddy = PerConnection(false)
    private let pieces = PerConnection(0)

    init(call: Call, results: Results) {
        self.call = call
        self.results = results
    }

    func onTraffic(_ connection: Connection) throws -> Action {
        guard !connection[isBuddy], try findOrder(connection) else { return .none }
        guard case .some(let (taking, memory)) = connection[order] else { return .none }
        connection[pieces] += 1
        guard isReady(connection, memory) else {
            connection.write([Self.moreByte])
            return .none
        }
        connection[isBuddy] = true
        try take(connection, taking, memory)
        results.done.update { $0 += 1 }
        return .none
    }

    /// Reads the client's order; true once that and the first piece have arrived.
    private func findOrder(_ connection: Connection) throws -> Bool {
        if connection[order] != nil { return true }
        guard let first = connection.peekInteger(as: UInt8.self) else { return false }
        if first == 0xFF {
            connection[isBuddy] = true
            results.buddies.update { $0 += 1 }
            return false
        }
        guard connection.buffered >= 2 + Self.payload.count else { return false }
        let second = connection.peekInteger(at: 1, as: UInt8.self) ?? 0
        connection.discard(2)
        connection[order] = (Taking(rawValue: first)!, Memory(rawValue: second)!)
        return true
    }

    /// Brings the unread bytes into the memory that the test selects; true when they are there.
    private func isReady(_ connection: Connection, _ memory: Memory) -> Bool {
        switch memory {
        case .fresh: return true
        case .kept: return connection[pieces] > 1
        case .wrapped:
            if connection.readPair.tail.byteCount > 0 { return true }
            if connection[pieces] > 60 {
                complain("the unread bytes never wrapped")
                return true
            }
            // Discards whole pieces, so that the rest starts with a frame.
            let size = Self.payload.count
            if connection.buffered >= 3 * size { connection.discard(2 * size) }
            return false
        }
    }

    private func take(_ connection: Connection, _ taking: Taking, _ memory: Memory) throws {
        let name = "\(taking) of \(memory)"
        switch taking {
        case .bytes: try watch(connection.bytes, name, connection)
        case .peek: if let lent = connection.peek(150) { try watch(lent, name, connection) }
        case .next: try watch(connection.next(), name, connection)
        case .nextCount:
            if let lent = connection.next(204) { try watch(lent, name, connection) }
        case .pairHead: try watch(connection.readPair.head, name, connection)
        case .pairTail: try watch(connection.readPair.tail, name, connection)
        case .line: if let lent = try connection.nextLine() { try watch(lent, name, connection) }
        case .delimited:
            if let lent = try connection.next(through: ";") { try watch(lent, name, connection) }
        case .frame:
            guard let lent = try connection.nextFrame(length: UInt32.self, limit: 1000) else {
                return complain("no frame in \(name)")
            }
            try watch(lent, name, connection)
        }
    }

    private func watch(_ lent: RawSpan, _ name: String, _ connection: Connection) throws {
        let before = [UInt8](copying: lent)
        try makeCall(connection, lent)
        // Freed memory is likely to be allocated again now.
        let filler = stride(from: 64, through: 16_384, by: 64).map { size in
            [UInt8](repeating: 0xEE, count: size)
        }
        if [UInt8](copying: lent) != before { complain("\(name) changed during \(call)") }
        if filler.isEmpty { complain("no filler") }
    }

    func complain(_ text: String) { results.complaints.update { $0.append(text) } }

    private func makeCall(_ connection: Connection, _ lent: RawSpan) throws {
        try readingCall(call, connection)
        try writingCall(call, connection, lent)
        try controllingCall(call, connection)
    }
}
