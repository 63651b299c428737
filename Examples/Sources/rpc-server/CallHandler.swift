/// Answers calls in the order in which their answers are ready, and not in that of the calls.
import NetAPI
import RPCCodec
import ServerCommand

struct CallHandler: EventHandler {
    /// The calls of one connection that may wait for their answers at once.
    static let most = 64
    /// The longest time of a `Method.wait`, in milliseconds.
    static let longestWait: UInt32 = 10_000

    private let waiting = PerConnection(0)

    func onBoot(_ loop: Loop) -> Action {
        if loop.index == 0 { announce(loop.server) }
        return .none
    }

    func onTraffic(_ connection: Connection) throws -> Action {
        while connection.isWritable, connection[waiting] < Self.most,
            let bytes = try connection.nextFrame(length: UInt32.self, limit: Frame.limit)
        {
            guard let call = Frame(bytes) else { return .close }
            begin(call, connection)
        }
        // At the limit further calls stay in the kernel, and the client notices.
        if connection[waiting] < Self.most {
            connection.resumeReading()
        } else {
            connection.pauseReading()
        }
        // A stop, and the client's end, wait for the answers.
        connection.isBusy = connection[waiting] > 0
        return connection.loop.isStopping && connection[waiting] == 0 ? .close : .none
    }

    func onWritable(_ connection: Connection) throws -> Action {
        try onTraffic(connection)
    }

    private func begin(_ call: Frame, _ connection: Connection) {
        let time = call.body.span.bytes.integer(as: UInt32.self)
        switch (call.code, time) {
        case (Method.echo, _):
            Frame(id: call.id, code: Status.answer, body: call.body).write(to: connection)
        case (Method.wait, let time?) where time <= Self.longestWait:
            answer(call, after: .milliseconds(time), connection)
        default:
            let reason = Array("no such call".utf8)
            Frame(id: call.id, code: Status.refusal, body: reason).write(to: connection)
        }
    }

    private func answer(_ call: Frame, after time: Duration, _ connection: Connection) {
        connection[waiting] += 1
        connection.schedule(after: time) { connection in
            connection[waiting] -= 1
            let body = Array(call.body.dropFirst(4))
            Frame(id: call.id, code: Status.answer, body: body).write(to: connection)
            // The calls that were left unread at the limit.
            if try onTraffic(connection) == .close { connection.close() }
        }
    }
}
