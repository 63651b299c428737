/// Tests of datagrams to a `udp://` listener.
import NetAPI
import NetAPITesting
import Testing

@Suite struct DatagramTests {
    private struct Echo: DatagramHandler {
        func onDatagram(_ datagram: Datagram) throws -> Action {
            if datagram.bytes.byteCount == 0 { throw LineHandler.Refused() }
            datagram.reply(datagram.bytes)
            return .none
        }
    }

    @Test("datagrams are answered to their sender", arguments: [1, 2])
    func echo(_ loops: Int) throws {
        let server = try TestServer(Echo(), options: options(loops: loops))
        let one = try server.datagramPeer()
        let other = try server.datagramPeer()
        one.send("a")
        other.send("b")
        one.send("cd")
        #expect(one.take() == ["a", "cd"] && other.received == ["b"])
        #expect(one.senders == ["udp://127.0.0.1:9000", "udp://127.0.0.1:9000"])
        one.send("")
        #expect(one.take().isEmpty && server.statistics.datagramErrors == 1)
        #expect(throws: TestFailure.self) { try server.connect() }
    }

    private struct Both: EventHandler, DatagramHandler {
        func onTraffic(_ connection: Connection) -> Action {
            connection.write(connection.next())
            return .none
        }

        func onDatagram(_ datagram: Datagram) -> Action {
            datagram.reply("datagram")
            return .none
        }
    }

    @Test("a handler can serve connections and datagrams")
    func both() throws {
        let server = try TestServer(
            Both(), listen: ["tcp://127.0.0.1:53", "udp://127.0.0.1:53"])
        let datagrams = try server.datagramPeer()
        datagrams.send("x")
        #expect(try server.reply(to: "tcp") == "tcp" && datagrams.received == ["datagram"])
    }
}
