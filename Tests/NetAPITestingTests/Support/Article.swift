/// The code of docs/TESTING.md, compiled.
import NetAPI
import NetAPITesting
import Testing

// example: begin handler
struct Shouting: EventHandler {
    let counts = PerConnection(0)

    func onTraffic(_ connection: Connection) throws -> Action {
        while let line = try connection.nextLine(limit: 1024) {
            connection[counts] += 1
            let text = String(decoding: line)
            if text == "quit" { return .close }
            connection.write("\(connection[counts]) \(text.uppercased())\n")
        }
        return .none
    }
}
// example: end

// example: begin bug
struct Hasty: EventHandler {
    func onTraffic(_ connection: Connection) -> Action {
        let text = String(decoding: connection.next())
        for line in text.split(separator: "\n") { connection.write("\(line.uppercased())\n") }
        return .none
    }
}
// example: end

// example: begin shared
final class Mixing: EventHandler {
    private var rest = ""

    func onTraffic(_ connection: Connection) -> Action {
        rest += String(decoding: connection.next())
        while let end = rest.firstIndex(of: "\n") {
            connection.write("\(rest[..<end].uppercased())\n")
            rest = String(rest[rest.index(after: end)...])
        }
        return .none
    }
}
// example: end

@Suite struct ArticleExamples {
    // example: begin first
    @Test("lines are numbered and answered")
    func lines() throws {
        let server = try TestServer(Shouting())
        let peer = try server.connect()
        peer.send("hello\nworld\n")
        #expect(peer.received == "1 HELLO\n2 WORLD\n")
        peer.send("quit\n")
        #expect(peer.end == .closed)
        #expect(server.closes == [.local])
    }
    // example: end

    // example: begin cuts
    @Test("a request gets the same answer in every cut", arguments: everyCut(of: "hello\nworld\n"))
    func cuts(_ cut: Cut) throws {
        let server = try TestServer(Shouting())
        #expect(try server.reply(to: cut) == "1 HELLO\n2 WORLD\n")
    }
    // example: end

    // example: begin seeds
    @Test("two peers at once get their own lines", arguments: TestSeed.each(1...100))
    func peers(_ seed: TestSeed) throws {
        let network = TestNetwork(seed: seed, faults: .lossless)
        let server = try TestServer(on: network) { Shouting() }
        let peers = try [server.connect(), server.connect()]
        network.together {
            peers[0].send("hello\nhello\n")
            peers[1].send("world\nworld\n")
        }
        #expect(peers[0].received == "1 HELLO\n2 HELLO\n")
        #expect(peers[1].received == "1 WORLD\n2 WORLD\n")
    }
    // example: end

    // example: begin time
    @Test("silent and stalled peers are closed in their time")
    func time() throws {
        let options = Options().with { $0.timeouts.idle = .seconds(60) }
        let server = try TestServer(Shouting(), options: options)
        let silent = try server.connect()
        let stalled = try server.connect()
        stalled.stall()
        stalled.send("hello\n")
        server.advance(by: .seconds(59))
        #expect(stalled.received.isEmpty && server.connectionCount == 2)
        stalled.resume()
        #expect(stalled.received == "1 HELLO\n")
        server.advance(by: .seconds(2))
        #expect(silent.end == .closed && silent.closeReason == .timeout)
        let seconds = try server.stop(within: .seconds(10))
        #expect(server.hasEnded && seconds < .seconds(10))
    }
    // example: end
}
