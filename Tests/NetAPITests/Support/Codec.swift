/// A way to parse input, with an input and the expected output: one row of a table.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

struct Codec: Sendable, CustomTestStringConvertible {
    let name: String
    let input: [UInt8]
    /// The server's answer to the whole input, for any split.
    let output: [UInt8]
    let traffic: TestHandler.OnConnection

    var testDescription: String { name }

    init(
        _ name: String, _ input: [UInt8], gives output: [UInt8],
        _ traffic: @escaping TestHandler.OnConnection
    ) {
        self.name = name
        self.input = input
        self.output = output
        self.traffic = traffic
    }

    init(
        _ name: String, _ input: String, gives output: String,
        _ traffic: @escaping TestHandler.OnConnection
    ) {
        self.init(name, Array(input.utf8), gives: Array(output.utf8), traffic)
    }

    /// Sends the input with each way of splitting it, and compares the answers.
    func check(_ server: TestServer) throws {
        for chunking in Chunking.all(input.count) {
            let client = try server.connect()
            for piece in chunking.cut(input) {
                try client.send(piece)
                if chunking.pauses { pause(.microseconds(300)) }
            }
            let answer = try client.receive(exactly: output.count)
            #expect(
                answer == output,
                "\(chunking): \(String(decoding: answer, as: UTF8.self).debugDescription)")
            client.shutdownWrite()
            let rest = try client.receiveUntilEnd()
            #expect(rest.bytes.isEmpty && rest.end == .clean, "\(chunking): \(rest)")
        }
    }
}

/// The ways in which a client splits its input.
enum Chunking: CustomStringConvertible {
    case whole
    case drip
    case twoPieces(at: Int)
    case random(seed: UInt64)

    /// Every place for a single cut, if there are not too many.
    static func all(_ count: Int) -> [Chunking] {
        let step = max(1, count / 40)
        let cuts = stride(from: 1, to: count, by: step).map { Chunking.twoPieces(at: $0) }
        return [.whole, .drip] + cuts + (1...5).map { .random(seed: $0) }
    }

    var pauses: Bool {
        if case .whole = self { return false }
        return true
    }

    func cut(_ bytes: [UInt8]) -> [[UInt8]] {
        switch self {
        case .whole: return [bytes]
        case .drip: return bytes.map { [$0] }
        case .twoPieces(let place): return [Array(bytes[..<place]), Array(bytes[place...])]
        case .random(let seed):
            var random = SplitMix64(seed: seed)
            var pieces: [[UInt8]] = []
            var rest = bytes[...]
            while !rest.isEmpty {
                let size = min(rest.count, random.size(1...max(1, bytes.count / 2)))
                pieces.append(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            return pieces
        }
    }

    var description: String {
        switch self {
        case .whole: "in one piece"
        case .drip: "byte by byte"
        case .twoPieces(let place): "cut at \(place)"
        case .random(let seed): "cut by seed \(seed)"
        }
    }
}
