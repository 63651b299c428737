import Testing

/// Tests of `CommentSeparator`: the code and the comments that the rules see.
@Suite struct CommentSeparatorTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let text: String
        let code: String
        let comments: String
        var path = "a.swift"

        var testDescription: String { text }
    }

    @Test(
        "comments, strings and code are kept apart",
        arguments: [
            Case(text: "a // b \"c", code: "a", comments: "// b \"c"),
            Case(text: "a /* b /* c */ d */ e", code: "a e", comments: "/* b /* c */ d */"),
            Case(text: "a /* b /* c */ d", code: "a d", comments: "/* b /* c */", path: "a.c"),
            Case(text: "a \"// \\\" b\" c", code: "a c", comments: ""),
            Case(text: "a #\"b \" \\\" c\"# d", code: "a d", comments: ""),
            Case(text: "a \"\"\"\n b \" c // d\n\"\"\" e // f", code: "a e", comments: "// f"),
            Case(text: "a \"\\(b(\"}\", \"\\(c)\"))\" d", code: "a d", comments: ""),
            Case(text: "a #\"\\(b)\\#(c(\")\"))\"# d", code: "a d", comments: ""),
            Case(text: "a '\"' b '\\'' c // d", code: "a b c", comments: "// d", path: "a.h"),
            Case(text: "#if a\n\"open\nb", code: "#if a b", comments: ""),
            Case(text: "a # \"b\" // c", code: "a # \"b\" // c", comments: "", path: "Scripts/a"),
        ])
    func separates(_ example: Case) {
        let file = SourceFile(path: example.path, text: example.text)
        #expect(squeezed(file.code) == example.code)
        #expect(squeezed(file.comments) == example.comments)
        #expect(file.code.count == file.lines.count)
    }

    private func squeezed(_ lines: [String]) -> String {
        lines.joined(separator: " ").split(separator: " ").joined(separator: " ")
    }
}
