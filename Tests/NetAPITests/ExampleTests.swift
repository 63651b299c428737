/// Tests of the examples, started like a user starts them, on each backend.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ExampleTests {
    static let backends = ["epoll", "io_uring"]

    private func start(_ name: String, _ arguments: [String], _ backend: String) throws
        -> ChildProcess
    {
        let path = PackageFiles.root + "/.build/bin/\(name)"
        guard access(path, X_OK) == 0 else {
            throw SystemFailure("\(path), which `make examples` builds", errno)
        }
        return try ChildProcess([path] + arguments, environment: ["MILLRACE_BACKEND": backend])
    }

    private func end(_ process: ChildProcess) throws {
        process.signal(SIGTERM)
        #expect(try process.wait() == .exited(0), "\(process.readErrors())")
    }

    private func connect(_ address: Address) throws -> TestClient {
        var client: TestClient?
        try eventually("\(address) answers") {
            client = try? TestClient(to: address)
            return client != nil
        }
        return client!
    }

    @Test("the proxy forwards streams", arguments: backends)
    func theProxyForwardsStreams(_ backend: String) throws {
        let (front, back) = (anyName(), anyName())
        try withServer(.init(backend: .epoll, loops: 1), listen: [back]) { server in
            let process = try start("proxy", [front.description, back.description], backend)
            for number in 0..<10 {
                let client = try connect(front)
                let pattern = Pattern(stream: number)
                let sender = Worker {
                    try client.send(pattern.bytes(1 << 20))
                }
                try client.receive(pattern, exactly: 1 << 20)
                try sender.join("sending")
                client.close()
            }
            try end(process)
            try server.waitUntilEmpty()
        }
    }

    @Test("the proxy forwards datagrams", arguments: backends)
    func theProxyForwardsDatagrams(_ backend: String) throws {
        try withDatagramServer(.init(backend: .epoll, loops: 1)) { server in
            let front = Address.udp("127.0.0.1", port: try freeDatagramPort())
            let process = try start(
                "proxy", [front.description, server.boundAddresses[0].description], backend)
            let peers = try (0..<5).map { _ in try DatagramPeer(to: front, patience: 1) }
            try eventually("it answers") {
                try? peers[0].send([0])
                return (try? peers[0].receive()) == [0]
            }
            try exchangeRounds(peers, rounds: 9)
            try end(process)
        }
    }

    @Test("blocking-echo serves three clients at the same time", arguments: backends)
    func blockingEchoBlocksNobodyElse(_ backend: String) throws {
        let address = anyName()
        let process = try start("blocking-echo", [address.description], backend)
        let clients = [try connect(address), try connect(address), try connect(address)]
        try promptly("three answers", within: .milliseconds(1900)) {
            let time = try elapsed {
                for client in clients { try client.send("hello\n") }
                for client in clients {
                    let reply = try client.receiveText(exactly: 7)
                    #expect(reply == "HELLO\r\n")
                }
            }
            #expect(time >= .milliseconds(950), "\(time)")
            return time
        }
        for client in clients { client.close() }
        try end(process)
    }

    @Test("udp-echo echoes datagrams", arguments: backends)
    func datagramsAreEchoed(_ backend: String) throws {
        let address = Address.udp("127.0.0.1", port: try freeDatagramPort())
        let process = try start("udp-echo", [address.description], backend)
        let peer = try DatagramPeer(to: address, patience: 1)
        try eventually("it answers") {
            try? peer.send([7])
            return (try? peer.receive()) == [7]
        }
        try end(process)
    }

    /// The port of a socket that is closed again: another socket is unlikely to be assigned it
    /// soon.
    private func freeDatagramPort() throws -> UInt16 {
        let server = try Server(DatagramTestHandler(), listen: "udp://127.0.0.1:0")
        try server.start()
        defer { server.stop() }
        return server.boundAddresses[0].port ?? 0
    }
}
