/// The examples of the catalogues' pages on tests, compiled.
import NetAPI
import NetAPITesting
import Testing

enum LimitsPage {
    // example: begin limits-request
    struct Requests: EventHandler {
        let deadline = PerConnection<ScheduledTimer?>(nil)

        func onTraffic(_ connection: Connection) throws -> Action {
            while let request = try connection.nextLine(limit: 1024) {
                connection[deadline]?.cancel()
                connection[deadline] = nil
                connection.write(request)
            }
            return limitRequest(connection)
        }

        func onWritable(_ connection: Connection) -> Action { limitRequest(connection) }

        private func limitRequest(_ connection: Connection) -> Action {
            if connection.buffered == 0 || !connection.isWritable {
                connection[deadline]?.cancel()
                connection[deadline] = nil
            } else if connection[deadline] == nil {
                connection[deadline] = connection.schedule(after: .seconds(15)) { $0.close() }
            }
            return .none
        }
    }
    // example: end
}

enum TestingPage {
    // example: begin testing-handler
    struct Lengths: EventHandler {
        func onTraffic(_ connection: Connection) throws -> Action {
            while let line = try connection.nextLine(limit: 1024) {
                connection.write("\(line.byteCount)\n")
            }
            return .none
        }
    }
    // example: end

    @Suite struct Tests {
        // example: begin testing-first
        @Test("each line is answered by its length")
        func lengths() throws {
            let server = try TestServer(Lengths())
            let peer = try server.connect()
            peer.send("hello\n\n")
            #expect(peer.received == "5\n0\n")
            peer.close()
            #expect(server.closes == [.peer])
        }
        // example: end

        // example: begin testing-cuts
        @Test("a request gets the same answer in every cut", arguments: everyCut(of: "hello\n\n"))
        func cuts(_ cut: Cut) throws {
            #expect(try TestServer(Lengths()).reply(to: cut) == "5\n0\n")
        }
        // example: end

        // example: begin testing-seeds
        @Test("two peers get their own answers", arguments: TestSeed.each(1...20))
        func seeds(_ seed: TestSeed) throws {
            let network = TestNetwork(seed: seed, faults: .lossless)
            let server = try TestServer(Lengths(), on: network)
            let peers = try [server.connect(), server.connect()]
            network.together {
                peers[0].send("a\n")
                peers[1].send("bb\n")
            }
            #expect(peers[0].received == "1\n" && peers[1].received == "2\n")
        }
        // example: end

        // example: begin testing-time
        @Test("a silent peer is closed after a minute")
        func silence() throws {
            let options = Options().with { $0.timeouts.idle = .seconds(60) }
            let server = try TestServer(Lengths(), options: options)
            let peer = try server.connect()
            server.advance(by: .seconds(59))
            #expect(server.connectionCount == 1)
            server.advance(by: .seconds(2))
            #expect(peer.closeReason == .timeout)
        }
        // example: end

        // example: begin landing-testing
        @Test("an echo in every cut", arguments: everyCut(of: "hello"))
        func echo(_ cut: Cut) throws {
            let server = try TestServer(EchoHandler())
            #expect(try server.reply(to: cut) == "hello")
        }
        // example: end
    }

    struct EchoHandler: EventHandler {
        func onTraffic(_ connection: Connection) -> Action {
            connection.write(connection.next())
            return .none
        }
    }

    static func sockets() throws -> Address {
        // example: begin testing-sockets
        let server = try Server(
            Lengths(), listen: "tcp://127.0.0.1:0", options: Options(backend: .epoll))
        try server.start()
        let address = server.boundAddresses[0]
        // example: end
        return address
    }
}
