/// Input of the Redis protocol, good and hostile.

/// An input with its expected result: its requests, and perhaps a protocol error after them.
public struct ParserRow: Sendable, CustomStringConvertible {
    public let input: String
    public let requests: [[String]]
    public let error: String?

    init(_ input: String, _ requests: [[String]], error: String? = nil) {
        self.input = input
        self.requests = requests
        self.error = error.map { "ERR Protocol error: " + $0 }
    }

    public var description: String { String(input.debugDescription.prefix(60)) }

    public static let good = [
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
        // Redis checks neither the two bytes after a bulk string nor the byte after the CR of a
        // length.
        ParserRow("*1\r\n$4\r\nPINGxx*1\r\n$1\r\na\r\n", [["PING"], ["a"]]),
        ParserRow("*1\r\n$" + "4\rxPING\r\n", [["PING"]]),
    ]

    /// Inputs around the limits of parsing in one pass: lengths of several digits, many arguments.
    public static let wide = [1, 8, 9, 10, 98, 99, 100, 101, 999, 1000].flatMap { size in
        let word = String(repeating: "w", count: size)
        let words = Array(repeating: "v", count: size)
        return [
            ParserRow("*2\r\n$1\r\na\r\n$\(size)\r\n\(word)\r\nx\n", [["a", word], ["x"]]),
            ParserRow("*\(size)\r\n" + words.map { "$1\r\n\($0)\r\n" }.joined(), [words]),
        ]
    }

    public static let hostile = [
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
