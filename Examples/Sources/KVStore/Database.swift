import Glibc
import RESPCodec
import Synchronization

/// Keys, channels and commands: everything but the network. Any thread may execute requests.
public final class Database: Sendable {
    public let store = Store()
    let hub = Hub()
    let commands = CommandTable()
    let started = Clock.milliseconds()
    let clients = Atomic(0)
    let executed = Atomic(0)

    public init() {}

    /// Executes one request and writes its reply.
    public func execute(
        _ request: Request, _ session: Session, _ reply: ReplyWriter, now: Int
    ) {
        guard request.count > 0 else { return }
        let call = Call(
            database: self, request: request, reply: reply, session: session, now: now)
        reply.version = session.version
        guard let command = commands.find(request[0]) else { return unknown(call) }
        let isCountRight =
            command.arity > 0 ? request.count == command.arity : request.count >= -command.arity
        guard isCountRight else { return call.wrongCount(command.name) }
        if session.isRestricted, !command.isForSubscribers {
            return reply.error(
                "ERR Can't execute '\(command.name)': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / "
                    + "PING / QUIT / RESET are allowed in this context")
        }
        command.run(call)
    }

    /// Counts requests in groups: one shared counter for each would be fought over.
    public func count(executed number: Int) { executed.add(number, ordering: .relaxed) }

    public func opened(_ session: Session) { clients.add(1, ordering: .relaxed) }

    /// Nothing is delivered to it from here on.
    public func closed(_ session: Session) {
        clients.subtract(1, ordering: .relaxed)
        for channel in session.channels {
            channel.withBytes { hub.unsubscribe(session.id, from: [UInt8]($0)) }
        }
        session.channels = []
    }

    /// Redis shows at most 128 bytes of the name and of the arguments together.
    private func unknown(_ call: Call) {
        var shown = ""
        for index in 1..<max(1, call.count) where shown.utf8.count < 128 {
            let room = 128 - shown.utf8.count
            shown += "'\(text(UnsafeRawBufferPointer(rebasing: call[index].prefix(room))))' "
        }
        let name = text(UnsafeRawBufferPointer(rebasing: call[0].prefix(128)))
        call.reply.error("ERR unknown command '\(name)', with args beginning with: \(shown)")
    }
}
