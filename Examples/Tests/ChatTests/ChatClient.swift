/// A WebSocket client of plain system calls, and the program that it connects to.
import TestSupport

final class ChatServer: ServerProgram {
    static let path = ServerProgram.path(of: "chat", or: "MILLRACE_CHAT")

    init(_ form: Form, _ options: [String] = []) throws {
        try super.init(Self.path, form, options)
    }

    /// Returns the exit status after SIGTERM; nil if a signal ended the server.
    func finish() throws -> CInt? { try program.finish().end.status }

    /// Returns a client that speaks HTTP.
    func connect() throws -> StreamSocket { try StreamSocket(port: port) }

    /// Returns a client that has joined under the name, and has read that.
    func join(_ name: String, receiveBuffer: CInt? = nil) throws -> ChatClient {
        let client = try ChatClient(port: port, receiveBuffer: receiveBuffer)
        try client.send(name)
        try client.read(until: Told.joined(name))
        return client
    }
}

final class ChatClient {
    let raw: StreamSocket
    private var events = ServerEvents()

    init(port: UInt16, receiveBuffer: CInt? = nil) throws {
        raw = try StreamSocket(port: port, receiveBuffer: receiveBuffer)
        try raw.send(ServerEvents.upgrade)
        while events.head.isEmpty { try receive() }
    }

    private func receive() throws {
        let bytes = try raw.receiveSome()
        guard !bytes.isEmpty else { throw Failure("the end") }
        try events.take(bytes)
    }

    func send(_ text: String) throws { try raw.send(ServerEvents.text(text)) }

    /// Returns the next event that is no statistics; with `withStatistics`, the next one.
    func next(withStatistics: Bool = false) throws -> String {
        // Statistics come every second, so the client's own time limit never ends this wait.
        let deadline = Deadline()
        while true {
            try deadline.check("an event that is no statistics")
            while let event = events.next() {
                if withStatistics || !event.hasPrefix(Told.statistics) { return event }
            }
            try receive()
        }
    }

    /// Reads events until this one.
    func read(until wanted: String) throws { while try next() != wanted {} }

    /// Returns whether the server has ended the stream.
    func isAtEnd() throws -> Bool { try raw.receiveSome().isEmpty }
}
