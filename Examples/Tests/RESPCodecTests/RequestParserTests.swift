/// The parser against a table of good and hostile inputs, each whole, byte by byte and in pieces.
import RESPCodec
import Testing

/// What an input should come to: its requests, and perhaps a protocol error after them.
struct ParserRow: Sendable, CustomTestStringConvertible {
    let input: String
    let requests: [[String]]
    var error: String?

    init(_ input: String, _ requests: [[String]], error: String? = nil) {
        self.input = input
        self.requests = requests
        self.error = error.map { "ERR Protocol error: " + $0 }
    }

    var testDescription: String { String(input.debugDescription.prefix(60)) }

    static let good = [
        ParserRow("*1\r\n$4\r\nPING\r\n", [["PING"]]),
        ParserRow("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", [["GET", ""]]),
        ParserRow("*2\r\n$4\r\nECHO\r\n$4\r\n\r\n*1\r\n", [["ECHO", "\r\n*1"]]),
        ParserRow("*0\r\n*-1\r\n*-9\r\nPING\r\n", [[], [], [], ["PING"]]),
        ParserRow("PING\r\nGET a\n\r\n\n", [["PING"], ["GET", "a"], [], []]),
        ParserRow("  set \t a   b \r\n", [["set", "a", "b"]]),
        ParserRow(#"SET a "b c\x41\n\"\q\\""# + "\n", [["SET", "a", "b cA\n\"q\\"]]),
        ParserRow(#"SET a 'b "c\' \n' "" ''"# + "\n", [["SET", "a", #"b "c' \n"#, "", ""]]),
        ParserRow(#"a"b"c"# + "\n", [], error: "unbalanced quotes in request"),
        ParserRow(#"a"b" c"# + "\n", [["ab", "c"]]),
        ParserRow(#""\xZZ\x4" x"# + "\n", [["xZZx4", "x"]]),
        // Redis looks at neither of the two bytes that end a bulk string.
        ParserRow("*1\r\n$4\r\nPINGxx*1\r\n$1\r\na\r\n", [["PING"], ["a"]]),
        ParserRow("*1\r\n$" + "4\rxPING\r\n", [["PING"]]),
    ]

    /// Around what is parsed in one pass: lengths of several digits, many arguments.
    static let wide = [1, 8, 9, 10, 98, 99, 100, 101, 999, 1000].flatMap { size in
        let word = String(repeating: "w", count: size)
        let words = Array(repeating: "v", count: size)
        return [
            ParserRow("*2\r\n$1\r\na\r\n$\(size)\r\n\(word)\r\nx\n", [["a", word], ["x"]]),
            ParserRow("*\(size)\r\n" + words.map { "$1\r\n\($0)\r\n" }.joined(), [words]),
        ]
    }

    static let hostile = [
        ParserRow("*1\r\n$01\r\na\r\n", [], error: "invalid bulk length"),
        ParserRow("*1\r\n$00\r\n\r\n", [], error: "invalid bulk length"),
        ParserRow("*1\r\n$9999999999\r\n", [], error: "invalid bulk length"),
        ParserRow("*1\r\n$1x\r\na\r\n", [], error: "invalid bulk length"),
        ParserRow("GET \"a\r\n", [], error: "unbalanced quotes in request"),
        ParserRow("GET 'a\r\n", [], error: "unbalanced quotes in request"),
        ParserRow("GET \"a\\\"\r\n", [], error: "unbalanced quotes in request"),
        ParserRow("GET \"a\"b\r\n", [], error: "unbalanced quotes in request"),
        ParserRow("*3000000000\r\n", [], error: "invalid multibulk length"),
        ParserRow("*20000000000000000000\r\n", [], error: "invalid multibulk length"),
        ParserRow("*\r\n", [], error: "invalid multibulk length"),
        ParserRow("*+1\r\n", [], error: "invalid multibulk length"),
        ParserRow("*01\r\n", [], error: "invalid multibulk length"),
        ParserRow("*1 \r\n", [], error: "invalid multibulk length"),
        ParserRow("*1\r\nxPING\r\n", [], error: "expected '$', got 'x'"),
        ParserRow("*1\r\n\r\n", [], error: "expected '$', got ' '"),
        ParserRow("*2\r\n$3\r\nGET\r\n:1\r\n", [], error: "expected '$', got ':'"),
        ParserRow("*1\r\n$-1\r\n", [], error: "invalid bulk length"),
        ParserRow("*1\r\n$x\r\n", [], error: "invalid bulk length"),
        ParserRow("*1\r\n$\r\n", [], error: "invalid bulk length"),
        ParserRow("*1\r\n$536870913\r\n", [], error: "invalid bulk length"),
        ParserRow("*1\r\n$9223372036854775808\r\n", [], error: "invalid bulk length"),
        ParserRow("PING\r\n*1\r\n$-9\r\n", [["PING"]], error: "invalid bulk length"),
        ParserRow(String(repeating: "a", count: 65_537), [], error: "too big inline request"),
        ParserRow(
            "*" + String(repeating: "1", count: 65_537), [], error: "too big mbulk count string"),
        ParserRow(
            "*1\r\n$" + String(repeating: "1", count: 65_537), [],
            error: "too big bulk count string"),
    ]
}

/// Feeds pieces of the given sizes, as a connection would show them.
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

/// SplitMix64: a failing seed is in the test's arguments.
struct Dice: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct RequestParserTests {
    @Test(arguments: ParserRow.good + ParserRow.wide + ParserRow.hostile)
    func eachInputComesToTheSameHoweverItIsCut(_ row: ParserRow) {
        let input = Array(row.input.utf8)
        var dice = Dice(state: UInt64(input.count))
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

    @Test func aLineMayBeAsLongAsTheLimit() {
        let line = String(repeating: "a", count: 65_536)
        #expect(ParserRun(Array((line + "\n").utf8)) { 1000 }.requests == [[line]])
    }

    /// Quadratic work would take minutes.
    @Test func aLongRequestByteByByteIsLookedAtOnce() {
        let value = String(repeating: "v", count: 200_000)
        let input = "*2\r\n$4\r\nECHO\r\n$200000\r\n\(value)\r\n" + "*1\r\n$4\r\nPING\r\n"
        #expect(ParserRun(Array(input.utf8)) { 1 }.requests == [["ECHO", value], ["PING"]])
    }

    /// A count alone must not make the parser reserve memory.
    @Test func manyArgumentsAreNotBelievedBeforeTheyCome() {
        let run = ParserRun(Array("*2147483647\r\n$1\r\na\r\n".utf8)) { 7 }
        #expect(run.requests.isEmpty && run.error == nil)
    }

    @Test(arguments: 0..<200)
    func noiseNeverTrapsAndNeverDependsOnTheCut(_ seed: Int) {
        var dice = Dice(state: UInt64(seed))
        let alphabet = Array("*$0123-\r\n\r\n\"'\\x GET".utf8)
        let input = (0..<400).map { _ in alphabet.randomElement(using: &dice)! }
        let whole = ParserRun(input) { input.count }
        let bytewise = ParserRun(input) { 1 }
        let pieces = ParserRun(input) { Int.random(in: 1...20, using: &dice) }
        #expect(whole.requests == bytewise.requests && whole.error == bytewise.error)
        #expect(whole.requests == pieces.requests && whole.error == pieces.error)
    }
}
