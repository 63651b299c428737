/// A server that pipes each client to an upstream and back.
import MillraceTestSupport
import NetAPI
import Testing

func withPipes(
    _ setup: Setup, to target: Address, options: Options? = nil,
    _ body: (TestServer, TestHandler) throws -> Void
) throws {
    var handler = TestHandler(traffic: TestHandler.ignore)
    handler.open = { connection in
        guard connection.isAccepted else { return .none }
        connection.connect(to: target) { front, back in
            front.pipe(to: back)
            back.pipe(to: front)
        }
        return .none
    }
    try withServer(setup, handler, options: options) { try body($0, handler) }
}

/// Returns a client and its far side, piped together.
func connectThrough(
    _ proxy: TestServer, _ upstream: RawListener
) throws -> (client: TestClient, far: TestClient) {
    let client = try proxy.connect()
    let far = try upstream.accept()
    // Until a byte has come through, the pipe may not exist yet.
    try client.send("x")
    _ = try far.receive(exactly: 1)
    return (client, far)
}

/// Sends all bytes from the far side and waits until the proxy's kernel has them. The client reads
/// as little as that needs, since buffers differ between machines. Returns the number of bytes
/// read.
func answer(
    _ pattern: Pattern, _ size: Int, from far: TestClient, to client: TestClient
) throws -> Int {
    let sending = Worker {
        try far.send(pattern.bytes(size))
        try far.waitUntilAcknowledged()
    }
    var taken = 0
    while true {
        pause(.milliseconds(30))
        if sending.isDone { break }
        let count = min(65_536, size - taken)
        try client.receive(pattern, exactly: count, from: taken)
        taken += count
    }
    try sending.join("sending")
    return taken
}
