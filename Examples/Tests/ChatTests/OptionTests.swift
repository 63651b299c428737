/// Options of the command line that exclude each other or have a wrong form.
import ArgumentParser
import Testing

@testable import chat

@Suite struct OptionTests {
    /// Returns the error of the command line; nil if it is accepted.
    private func error(_ arguments: [String]) -> String? {
        do {
            _ = try Chat.parse(arguments)
            return nil
        } catch { return Chat.message(for: error) }
    }

    @Test("a message limit that does not fit the unread limit is refused, and names both options")
    func limits() throws {
        #expect(error([]) == nil)
        #expect(error(["--message-limit", "65536", "--unread-limit", "1538"]) == nil)
        for options in [
            ["--message-limit", "65536"], ["--unread-limit", "16"],
            ["--message-limit", "65536", "--unread-limit", "1536"],
        ] {
            let text = try #require(error(options))
            #expect(text.contains("--message-limit") && text.contains("--unread-limit"))
        }
        // The error names a limit that fits.
        let text = try #require(error(["--message-limit", "1048576"]))
        let least = String(try #require(text.split(separator: " ").last))
        #expect(error(["--message-limit", "1048576", "--unread-limit", least]) == nil)
        #expect(error(["--member-limit", "10000"]) == nil)
        #expect(error(["--member-limit", "10001"])?.contains("a member limit of 10001") == true)
    }

    @Test("an origin has a scheme and a host in lower case, and no path")
    func origins() {
        for origin in [
            "*", "https://example.org", "http://localhost:9000", "http://[::1]:9000",
            "chrome-extension://abcdef",
        ] {
            #expect(error(["--origin", origin]) == nil, "\(origin)")
        }
        for origin in [
            "", "example.org", "https://example.org/", "https://example.org/chat",
            "https://Example.org", "HTTPS://example.org", "https://", "://example.org", "null",
            "https://example.org:443", "http://example.org:80", "https://example.org:",
            "https://me@example.org", "https://exämple.org", "https://a,https://b",
        ] {
            #expect(error(["--origin", origin])?.contains("no origin: ") == true, "\(origin)")
        }
    }
}
