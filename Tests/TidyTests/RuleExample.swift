/// A snippet that breaks a rule in one line, and its neighbour that does not.
struct RuleExample: Sendable, CustomStringConvertible {
    let rule: Rule
    let path: String
    let bad: String
    /// Where the one finding in `bad` is.
    let line: Int
    let good: String

    init(_ rule: Rule, _ path: String, bad: String, at line: Int, good: String) {
        self.rule = rule
        self.path = path
        self.bad = bad
        self.line = line
        self.good = good
    }

    var description: String { "\(rule.name): \(bad.prefix(50).debugDescription)" }

    static let all: [RuleExample] = sizes + wording + comments + trust + rooms

    private static func lines(_ count: Int, of line: String = "    step()") -> String {
        Array(repeating: line, count: count).joined(separator: "\n")
    }

    private static let sizes: [RuleExample] = [
        RuleExample(
            .columns, "Scripts/a", bad: "x\n" + String(repeating: "é", count: 101), at: 2,
            good: "x\n" + String(repeating: "é", count: 100)),
        RuleExample(
            .fileLength, "Benchmarks/Sources/a/a.c", bad: lines(401), at: 401,
            good: lines(400) + "\n"),
        RuleExample(.notEmpty, "Tests/A/A.swift", bad: "\n  \n", at: 1, good: "\nx\n"),
        RuleExample(
            .functionLength, "Sources/A/A.swift", bad: "let a = 1\nfunc f() {\n\(lines(71))\n}",
            at: 2,
            good: "let a = 1\nfunc f() {\n\(lines(70))\n}\n\(lines(9))"),
        // A brace in a string, in a comment or in a default value ends nothing and begins nothing.
        RuleExample(
            .functionLength, "Sources/A/A.swift",
            bad: "init(run: () -> Void = {}) {\n\"}\" // }\n/* } */\n\(lines(69))\n}", at: 1,
            good: "init(a: () -> Void = {}) {\n\"{\" // {\n/* { */\n\(lines(68))\n}\n\(lines(9))"),
        RuleExample(
            .functionLength, "Sources/A/A.swift",
            bad: "protocol P {\nfunc a()\nfunc b() -> Int\n}\nfunc c() {\n\(lines(71))\n}", at: 5,
            good: "protocol P {\nfunc a()\n}\nstruct S {\nlet b = A.init\n\(lines(71))\n}"),
        // Whether longer or not, a type inside a function is part of it.
        RuleExample(
            .functionLength, "Sources/A/A.swift",
            bad: "func f() {\nstruct S { func g() {\n\(lines(69))\n} }\n}", at: 1,
            good: "struct S {\nfunc f() {\n\(lines(69))\n}\nfunc g() {\n\(lines(69))\n}\n}"),
    ]

    private static let wording: [RuleExample] = [
        RuleExample(.words, "Scripts/a", bad: "x\n# TODO later", at: 2, good: "mktemp -d a.XXXXXX"),
        RuleExample(
            .words, "README.md", bad: "It is Simply fast.", at: 1,
            good: "It is simpler: todo lists."),
        RuleExample(
            .plainEnglish, "Sources/A/A.swift", bad: "/// A client\n/// who waits.", at: 2,
            good: "/// A client\n/// that waits: `who`.\nlet who = 1"),
        RuleExample(
            .plainEnglish, "DESIGN.md", bad: "The\nAs of now.\n\nAs it is.", at: 4,
            good: "The\nAs of now.\n\n```\nAs it is.\n```"),
        RuleExample(
            .plainEnglish, "Scripts/a", bad: "x # As\n# It. What is it?", at: 2,
            good: "What=1\n# It is. That is it."),
        RuleExample(
            .testNames, "Tests/A/A.swift", bad: "@Test(\n    \"a b\")\n@Test func a() {}", at: 3,
            good: "@Test(\"a b\", arguments: [1])\n@Test(\n    \"c d\")"),
        RuleExample(
            .pageColumns, "docs/A.md", bad: "x\nx " + String(repeating: "é", count: 99), at: 2,
            good: "| " + String(repeating: "é", count: 101) + "\nx"),
        RuleExample(
            .libraryCalls, "Sources/A/A.swift", bad: "a()\nfatalError(\"no\")", at: 2,
            good: "a()\npreconditionFailure(\"not fatalError(\")"),
        RuleExample(
            .libraryCalls, "Sources/A/A.swift", bad: "let a = try! b()", at: 1,
            good: "let a = try? b() // try! would stop the program"),
        RuleExample(
            .libraryCalls, "Sources/A/A.swift", bad: "  print(1)", at: 1,
            good: "blueprint(1)\nlog.print(2)\n\"\\(print(3))\""),
    ]

    private static let comments: [RuleExample] = [
        RuleExample(
            .opening, "Sources/A/A.swift", bad: "import Glibc\n\nstruct A {}", at: 1,
            good: "import Glibc\n\n/// What has the letter A.\nstruct A {}"),
        RuleExample(
            .opening, "Sources/A/A.swift", bad: "// A.swift\n", at: 1,
            good: "// Two lines\n// say enough.\nimport Glibc\n"),
        RuleExample(
            .documentation, "Sources/NetAPI/A.swift",
            bad: "/// A thing.\npublic struct A {\n    public var b = 1\n}", at: 3,
            good: "/// A thing.\n@frozen\npublic struct A {\n    public init() {}\n    var b = 1\n}"
        ),
        RuleExample(
            .documentation, "Sources/NetAPI/A.swift",
            bad: "/// One.\n@inlinable public func a() {}\npublic func b() {}", at: 3,
            good: "/// One.\n@available(\n  *, deprecated\n)\npublic func a() {}\n// public\n"),
        RuleExample(
            .documentation, "Sources/NetAPI/A.swift",
            bad: "/// One.\npublic protocol P {\n    /// Two.\n    func a()\n    func b()\n}",
            at: 5,
            good: "/// One.\npublic protocol P {\n    /// Two.\n    func a()\n}\nextension P {\n"
                + "    public func a() {}\n    func b() {}\n}\npublic import Logging"),
    ]

    private static let trust: [RuleExample] = [
        RuleExample(
            .trust, "Sources/A/A.swift",
            bad: "/// A box of one thing.\nclass A: @unchecked Sendable {}",
            at: 2, good: "// One thread uses it.\n@frozen\nclass A: @unchecked Sendable {}"),
        RuleExample(
            .trust, "Tests/A/A.swift", bad: "// Fine.\nnonisolated(unsafe) var a = 1", at: 2,
            good: "nonisolated(unsafe) var a = 1  // set before any thread"),
        RuleExample(
            .trust, "Sources/A/A.swift", bad: "\nunowned(unsafe) let a: B", at: 2,
            good:
                "// It is\n// joined.\nunowned(unsafe) let a: B\n@exclusivity(unchecked) let c"
        ),
    ]

    private static let rooms: [RuleExample] = [
        RuleExample(
            .arrows, "Sources/EventLoop/A/A.swift", bad: "import Glibc\nimport MillraceEpoll",
            at: 2,
            good: "import CMillraceLinux\nimport Synchronization\n// import MillraceEpoll"),
        RuleExample(
            .arrows, "Sources/NetAPI/Server.swift", bad: "package import MillraceEpoll", at: 1,
            good: "internal import MillraceEventLoop\npublic import struct Logging.Logger"),
        RuleExample(
            .arrows, "Sources/NetAPI/Backend.swift",
            bad: "import MillraceEpoll\nimport MillraceSimulation", at: 2,
            good: "import MillraceEpoll\n"),
        RuleExample(
            .arrows, "Sources/Epoll/A.swift", bad: "@_exported import Foundation", at: 1,
            good: "internal import MillraceEventLoop\nlet a = \"import Foundation\""),
        RuleExample(
            .noBackendConditions, "Sources/NetAPI/A.swift",
            bad: "#if DEBUG\n#elseif canImport(Uring)\n#endif", at: 2,
            good: "#if DEBUG\n// epoll\n#endif"),
    ]
}
