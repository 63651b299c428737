/// A client that sends bytes unchanged and splits the received bytes into responses.
import TestSupport

final class Client {
    private let raw: StreamSocket
    private var buffer: [UInt8] = []

    init(port: UInt16, receiveBuffer: CInt? = nil) throws {
        raw = try StreamSocket(port: port, receiveBuffer: receiveBuffer)
    }

    func close() { raw.close() }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// Sends bytes. A server that refuses a request may close before it has read all of them; the
    /// rest is then not sent.
    func send(_ bytes: [UInt8]) { try? raw.send(bytes) }

    func flood(_ text: String, most: Int) throws -> Int { try raw.flood(text, most: most) }

    func shutdownWrite() { raw.shutdownWrite() }

    /// Reads some bytes and drops them. Returns their number: 0 at the end, nil after a reset.
    func take(most: Int) throws -> Int? { try raw.receiveSomeUntilReset(most: most)?.count }

    /// Reads more bytes into the buffer. Returns false at the end of the stream; throws after a
    /// reset or if no byte arrives in time.
    private func receive() throws -> Bool {
        let piece = try raw.receiveSome()
        buffer += piece
        return !piece.isEmpty
    }

    /// Returns all text until the end of the stream, without the Date fields.
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
            if end == nil, try !receive() { throw Failure("the end, in a head") }
        }
        let head = String(decoding: buffer[..<end!], as: UTF8.self)
        buffer.removeFirst(end! + 4)
        var response = Response(head)
        let length =
            toHead || response.status == 304 || response.status == 100
            ? 0 : Int(response["content-length"] ?? "") ?? 0
        while buffer.count < length {
            guard try receive() else { throw Failure("the end, in a body") }
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
