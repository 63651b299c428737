/// A client that sends bytes as they are and tells responses apart.
import Glibc
import TestSupport

final class Client {
    private var descriptor: CInt
    private var buffer: [UInt8] = []

    init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Program.Failure(what: "connect: \(errno)") }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
        var one: CInt = 1
        setsockopt(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY, &one, 4)
    }

    deinit { close() }

    /// A server that has closed waits for this a while.
    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// A server that refuses may close before it has read all: then the rest is not sent.
    func send(_ bytes: [UInt8]) {
        var start = 0
        while start < bytes.count {
            let count = bytes[start...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            start += count
        }
    }

    /// Sends over and over without reading, until the server takes no more for a while or has taken
    /// `most` bytes. Returns how many.
    func flood(_ text: String, most: Int) -> Int {
        var limit = timeval(tv_sec: 0, tv_usec: 500_000)
        setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let piece = Array(String(repeating: text, count: 65_536 / text.utf8.count).utf8)
        var sent = 0
        while sent < most {
            // A part of a piece is as good as a whole one: nobody reads the replies.
            let start = sent % piece.count
            let count = piece[start...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { break }
            sent += count
        }
        return sent
    }

    func endSending() { shutdown(descriptor, CInt(SHUT_WR)) }

    /// False at the end of the stream; throws for a reset or when nothing comes.
    private func receive() throws -> Bool {
        var piece = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &piece, piece.count, 0)
        guard count >= 0 else { throw Program.Failure(what: "receive: \(errno)") }
        buffer += piece[..<count]
        return count > 0
    }

    /// All until the end of the stream, dates blanked.
    func receiveAll() throws -> String {
        while try receive() {}
        defer { buffer = [] }
        return Response.blankingDates(String(decoding: buffer, as: UTF8.self))
    }

    func isAtEnd() throws -> Bool { try buffer.isEmpty && !receive() }

    func receiveResponse(toHead: Bool = false) throws -> Response {
        let blank = Array("\r\n\r\n".utf8)
        var end: Int?
        while end == nil {
            end = buffer.indices.dropLast(3).first { Array(buffer[$0..<$0 + 4]) == blank }
            if end == nil, try !receive() { throw Program.Failure(what: "the end, in a head") }
        }
        let head = String(decoding: buffer[..<end!], as: UTF8.self)
        buffer.removeFirst(end! + 4)
        var response = Response(head)
        let length =
            toHead || response.status == 304 || response.status == 100
            ? 0 : Int(response["content-length"] ?? "") ?? 0
        while buffer.count < length {
            guard try receive() else { throw Program.Failure(what: "the end, in a body") }
        }
        response.body = Array(buffer[..<length])
        buffer.removeFirst(length)
        return response
    }
}

struct Response {
    let status: Int
    private let fields: [(name: String, value: String)]
    var body: [UInt8] = []

    init(_ head: String) {
        let lines = head.split(separator: "\r\n").map(String.init)
        status = Int(lines[0].split(separator: " ")[1]) ?? 0
        fields = lines.dropFirst().map { line in
            let parts = line.split(separator: ":", maxSplits: 1)
            return (parts[0].lowercased(), String(parts[1].drop { $0 == " " }))
        }
    }

    subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }
    var text: String { String(decoding: body, as: UTF8.self) }

    static func blankingDates(_ text: String) -> String {
        text.split(separator: "\r\n", omittingEmptySubsequences: false)
            .filter { !$0.hasPrefix("Date: ") }.joined(separator: "\n")
    }
}
