/// Tests of the whole text of errors about addresses: each names the address, the cause and a
/// remedy that fits its kind.
import NetAPI
import NetAPITesting
import Testing

@Suite struct ErrorTextTests {
    private struct Serving: EventHandler, DatagramHandler {
        func onTraffic(_ connection: Connection) -> Action { .close }
        func onDatagram(_ datagram: Datagram) -> Action { .none }
    }

    @Test(
        "an address in use has a remedy for its kind",
        arguments: [
            (
                "tcp://127.0.0.1:80",
                "stop the other server, choose port 0, or set reusePort in both"
            ),
            (
                "udp://127.0.0.1:53",
                "stop the other program, choose port 0, or set udp.reuseAddress in both"
            ),
            ("unix:///run/app.sock", "stop the other server, or choose another path or name"),
            ("unix://@app", "stop the other server, or choose another path or name"),
        ])
    func inUse(_ text: String, _ remedy: String) throws {
        let network = TestNetwork()
        let address = Address(stringLiteral: text)
        let first = try TestServer(Serving(), listen: [address], on: network)
        let error = #expect(throws: NetError.self) {
            try TestServer(Serving(), listen: [address], on: network)
        }
        #expect(error?.code == .addressInUse)
        #expect(error?.cause == "\(text): address already in use (EADDRINUSE)")
        #expect(error?.remedy == remedy)
        #expect(error?.description == "\(text): address already in use (EADDRINUSE); \(remedy)")
        try first.stop()
    }

    @Test(
        "a connect that fails names the address and the cause",
        arguments: [
            (
                "tcp://127.0.0.1:0",
                "nobody can be reached at port 0; give the port on which the other side listens"
            ),
            (
                "udp://127.0.0.1:0",
                "nobody can be reached at port 0; give the port on which the other side listens"
            ),
            ("tcp://10.0.0.9:1", "connection refused (ECONNREFUSED)"),
            (
                "tcp://10.0.0.9:2",
                "did not answer in time; check that it is reachable, or allow more time"
            ),
        ])
    func connects(_ text: String, _ words: String) throws {
        let network = TestNetwork()
        _ = try network.upstream(at: "tcp://10.0.0.9:2", .neverAnswers)
        let client = try network.client(Serving())
        var outcomes: [NetError] = []
        // One thread turns all loops of a network.
        nonisolated(unsafe) let note = { (error: NetError) in outcomes.append(error) }
        client.connect(to: Address(stringLiteral: text), timeout: .seconds(5)) { result in
            if case .failure(let error) = result { note(error) }
        }
        network.advance(by: .seconds(6))
        #expect(outcomes.count == 1)
        let isSentence = words.hasPrefix("did")
        #expect(outcomes.first?.description == "\(text)\(isSentence ? "" : ":") \(words)")
        network.stop(client)
    }
}
