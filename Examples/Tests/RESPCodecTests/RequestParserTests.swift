/// The parser against a table of good and hostile inputs, each whole, byte by byte and in pieces.
import RESPCodec
import TestSupport
import Testing

/// A run of the parser over pieces of the given sizes, like those that a connection receives.
struct ParserRun {
    var requests: [[String]] = []
    var error: String?

    init(_ input: [UInt8], sizes: () -> Int) {
        var parser = RequestParser()
        var (start, end) = (0, 0)
        while error == nil, end < input.count {
            end = min(input.count, end + sizes())
            var isHungry = false
            while error == nil, !isHungry {
                input[start..<end].withUnsafeBytes { bytes in
                    switch parser.parse(bytes) {
                    case .incomplete: isHungry = true
                    case .failed(let failure): error = failure.text
                    case .request(let count):
                        requests.append(
                            parser.withRequest(in: bytes) { request in
                                (0..<request.count).map {
                                    String(decoding: request[$0], as: UTF8.self)
                                }
                            })
                        start += count
                    }
                }
            }
        }
    }
}

@Suite struct RequestParserMemoryTests {
    /// The request is an array or an inline request.
    @Test("the parser keeps no large capacity after one long request", arguments: [true, false])
    func oneLongRequestLeavesNoMemoryBehind(_ isArray: Bool) {
        let count = 20_000
        let text =
            isArray
            ? "*\(count)\r\n" + String(repeating: "$1\r\na\r\n", count: count)
            : String(repeating: "a ", count: count) + "\r\n"
        var parser = RequestParser()
        Array(text.utf8).withUnsafeBytes { bytes in
            #expect(parser.parse(bytes) == .request(bytes: bytes.count))
            let found = parser.withRequest(in: bytes) { request in
                (request.count, request[count - 1].elementsEqual("a".utf8))
            }
            #expect(found == (count, true))
        }
        #expect(parser.argumentCapacity <= 1024)
    }
}

@Suite struct RequestParserTests {
    @Test(
        "each input returns the same requests and error however it is cut",
        arguments: ParserRow.good + ParserRow.wide + ParserRow.hostile)
    func eachInputComesToTheSameHoweverItIsCut(_ row: ParserRow) {
        let input = Array(row.input.utf8)
        var dice = SplitMix64(seed: UInt64(input.count))
        let runs =
            [ParserRun(input) { input.count }, ParserRun(input) { 1 }]
            + (0..<20).map { _ in
                ParserRun(input) { Int.random(in: 1...max(2, input.count / 3), using: &dice) }
            }
        for run in runs {
            #expect(run.requests == row.requests)
            #expect(run.error == row.error)
        }
    }

    @Test("the parser accepts a line as long as the limit")
    func aLineMayBeAsLongAsTheLimit() {
        let line = String(repeating: "a", count: 65_536)
        #expect(ParserRun(Array((line + "\n").utf8)) { 1000 }.requests == [[line]])
    }

    /// Quadratic work would take minutes.
    @Test("the parser scans a long request that arrives byte by byte only once")
    func aLongRequestByteByByteIsLookedAtOnce() {
        let value = String(repeating: "v", count: 200_000)
        let input = "*2\r\n$4\r\nECHO\r\n$200000\r\n\(value)\r\n" + "*1\r\n$4\r\nPING\r\n"
        #expect(ParserRun(Array(input.utf8)) { 1 }.requests == [["ECHO", value], ["PING"]])
    }

    /// A count alone must not make the parser reserve memory.
    @Test("the parser waits for the arguments that a large count announces")
    func manyArgumentsAreNotBelievedBeforeTheyCome() {
        let run = ParserRun(Array("*2147483647\r\n$1\r\na\r\n".utf8)) { 7 }
        #expect(run.requests.isEmpty && run.error == nil)
    }

    @Test("random input never traps, and its result never depends on the cuts", arguments: 0..<200)
    func noiseNeverTrapsAndNeverDependsOnTheCut(_ seed: Int) {
        var dice = SplitMix64(seed: UInt64(seed))
        let alphabet = Array("*$0123-\r\n\r\n\"'\\x GET".utf8)
        let input = (0..<400).map { _ in alphabet.randomElement(using: &dice)! }
        let whole = ParserRun(input) { input.count }
        let bytewise = ParserRun(input) { 1 }
        let pieces = ParserRun(input) { Int.random(in: 1...20, using: &dice) }
        #expect(whole.requests == bytewise.requests && whole.error == bytewise.error)
        #expect(whole.requests == pieces.requests && whole.error == pieces.error)
    }
}
