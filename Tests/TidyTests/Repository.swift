import Foundation

/// The files that the rules check.
enum Repository {
    static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static let folders = [
        "Sources", "Tests", "Examples/Sources", "Examples/Tests", "Examples/Fuzz",
        "Examples/deploy",
        "Benchmarks/Peers", "Benchmarks/Sources", "Benchmarks/runner", "Benchmarks/tests",
        "Scripts", ".ci", "docs",
    ]
    private static let single = [
        "Makefile", "Benchmarks/bench", "Benchmarks/peers", "Benchmarks/README.md", "OPTIONS.md",
        "README.md", "DESIGN.md", "CONTRIBUTING.md", "WRITING-A-PROTOCOL.md", "SECURITY.md",
        "THREAT-MODEL.md", "PUBLIC-API.md",
    ]

    static let files: [SourceFile] = {
        var paths = single
        for folder in folders {
            let walk = FileManager.default.enumerator(atPath: root.appending(path: folder).path)
            while let inner = walk?.nextObject() as? String { paths.append("\(folder)/\(inner)") }
        }
        return paths.sorted().compactMap(read)
    }()

    /// Returns nil for a folder, for a file that is not text, and for files of a build or an
    /// editor.
    private static func read(_ path: String) -> SourceFile? {
        let names = path.split(separator: "/").dropFirst()
        if names.contains(where: { $0.hasPrefix(".") || $0 == "__pycache__" }) { return nil }
        guard let data = FileManager.default.contents(atPath: root.appending(path: path).path),
            let text = String(data: data, encoding: .utf8)
        else { return nil }
        return SourceFile(path: path, text: text)
    }
}
