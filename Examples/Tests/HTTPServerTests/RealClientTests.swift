/// Programs that others wrote: curl against the server, and what a request allocates.
import Glibc
import Testing

@Suite struct RealClientTests {
    private func curl(_ server: ServerUnderTest, _ words: [String]) throws -> [UInt8] {
        let result = try Program(["curl", "-sS", "-m", "10"] + words).finish()
        #expect(result.status == 0, "\(words)")
        return result.output
    }

    @Test(arguments: Form.all)
    func curlIsServed(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let base = "http://127.0.0.1:\(server.port)"
        let big = ServerUnderTest.bigFile
        #expect(try curl(server, ["\(base)/big"]) == big)
        #expect(try curl(server, ["-r", "100-199", "\(base)/big"]) == Array(big[100...199]))
        let file = "@\(server.folder)/root/ten.txt"
        let ten = Array("0123456789".utf8)
        let echo = ["--data-binary", file, "\(base)/echo"]
        #expect(try curl(server, echo) == ten)
        #expect(try curl(server, ["-H", "Transfer-Encoding: chunked"] + echo) == ten)
        #expect(try curl(server, ["-0"] + echo) == ten)
        #expect(try curl(server, ["-H", "Expect: 100-continue"] + echo) == ten)
        let code = ["-o", "/dev/null", "-w", "%{http_code}"]
        let large = ["--data-binary", "@\(server.folder)/root/big", "\(base)/echo"]
        #expect(try curl(server, code + large) == Array("413".utf8))
    }

    /// What it accepts, a library that others wrote must read in the same way.
    @Test(arguments: Form.all)
    func h11AgreesOnWhatIsAccepted(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let seed = form.loops + (form.backend == "epoll" ? 0 : 2)
        let script = "\(ServerUnderTest.repository)/Scripts/differential-h11"
        let result = try Program([script, "\(server.port)", "2000", "\(seed)"]).finish()
        #expect(
            result.status == 0, "seed \(seed): \(String(decoding: result.output, as: UTF8.self))")
    }

    @Test(arguments: ["epoll", "io_uring"])
    func aPlaintextRequestAllocatesNothing(_ backend: String) throws {
        let folder = "\(ServerUnderTest.repository)/.build/bin"
        let library = "\(folder)/malloc-count.so"
        let source = "\(ServerUnderTest.repository)/Scripts/malloc-count.c"
        let built = try Program(["cc", "-O2", "-shared", "-fPIC", "-o", library, source]).finish()
        #expect(built.status == 0)
        func allocations(_ rounds: Int) throws -> Int {
            let out = "\(folder)/malloc-count-\(getpid())"
            defer { unlink(out) }
            let server = try ServerUnderTest(
                Form(backend: backend, loops: 1),
                environment: ["LD_PRELOAD=\(library)", "MALLOC_COUNT_FILE=\(out)"])
            let client = try server.client()
            for _ in 0..<rounds {
                client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n")
                _ = try client.receiveResponse()
            }
            client.close()
            #expect(try server.stop() == 0)
            let lines = try Program(["cat", out]).finish().output
            return String(decoding: lines, as: UTF8.self).split(separator: "\n")
                .filter { !$0.hasPrefix("free") }
                .reduce(0) { $0 + (Int($1.split(separator: " ").last ?? "") ?? 0) }
        }
        let (few, many) = (try allocations(100), try allocations(4100))
        #expect(few > 0)
        #expect(Double(many - few) / 4000 < 0.01, "\(few), then \(many)")
    }
}
